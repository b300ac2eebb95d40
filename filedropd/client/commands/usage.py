"""A wrong command line, in a line of words."""

from __future__ import annotations

import click


class Misuse(click.UsageError):
    """The command line, the configuration file or the environment is wrong; the words are ours, and say what to do."""


def told(error: click.ClickException) -> str:
    """Return what is wrong. Where click says it, where to read on is added."""
    words = error.format_message()
    if isinstance(error, Misuse) or not isinstance(error, click.UsageError):
        return words
    end = "" if words.endswith((".", "?", "?)")) else "."
    command = "filedrop" if error.ctx is None else error.ctx.command_path
    return f"{words}{end} See '{command} --help'."
