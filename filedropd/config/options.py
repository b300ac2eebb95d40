"""The options of ``twistd filedropd``, made from the catalogue of settings, and their help."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Callable, Mapping
from typing import ClassVar

from twisted.python import usage

from filedropd.config.loading import Config, load
from filedropd.config.settings import GROUPS, SETTINGS, Setting

# Columns: what the help is wrapped at where there is no terminal, at least, and at most.
_USUAL_WIDTH, _LEAST_WIDTH, _MOST_WIDTH = 80, 60, 100

_INDENT = " " * 8


def _collect(setting: Setting) -> Callable[[Options, str], None]:
    """Return what usage calls for each time that a repeatable option is given."""

    def collect(self: Options, value: str) -> None:
        self.setdefault(setting.name, []).append(value)

    collect.__doc__ = setting.usage
    return collect


def _switch(setting: Setting) -> Callable[[Options], None]:
    """Return what usage calls for an option that has no value."""

    def switch(self: Options) -> None:
        self[setting.name] = "true"

    switch.__doc__ = setting.usage
    return switch


class Options(usage.Options):
    """What stands on the command line after ``twistd filedropd``.

    :ivar configuration: what it says together with the environment and the file; there once
        ``parseOptions`` has returned.
    """

    synopsis = "[options]"
    longdesc = "A one-time file drop: leave a file, hand over a link, it is downloaded once and is gone."
    examples: ClassVar[tuple[tuple[str, str], ...]] = (
        ("Try it, with everything in ./filedropd-data:", "twistd -n filedropd"),
        (
            "Behind a proxy, for files of up to a gigabyte:",
            "twistd -n filedropd --public-url=https://files.example.org --max-file-size=1GiB",
        ),
        (
            "On a UNIX socket and on a port, the rest from a file:",
            "twistd -n filedropd --config=/etc/filedropd.toml --listen=unix:/run/filedropd.sock --listen=tcp:8002",
        ),
    )
    # No defaults here: what is not on the command line must be told from what is, even if it says the same.
    optParameters: ClassVar[list[list[str | None]]] = [
        [setting.name, None, None, setting.usage] for setting in SETTINGS if not (setting.repeatable or setting.flag)
    ]

    configuration: Config

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """:param environ: the environment, if it is not the process's own."""
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has no types here
        self._environ = os.environ if environ is None else environ

    def parseArgs(self, *rest: str) -> None:
        """Refuse what is no option.

        :raises UsageError: there is something.
        """
        if rest:
            raise usage.UsageError(f"{rest[0]!r} is no option; filedropd takes options only")

    def postOptions(self) -> None:
        """Make the configuration.

        :raises ConfigError: it cannot be used.
        """
        self.configuration = load(self, self._environ)

    def getUsage(self, width: int | None = None) -> str:
        """Return the help: what it is, the settings by group, and examples.

        The base class sorts all options by name and wraps the description with its examples into
        one paragraph.
        """
        columns = width or shutil.get_terminal_size((_USUAL_WIDTH, 0)).columns
        columns = min(max(columns, _LEAST_WIDTH), _MOST_WIDTH)
        parts = ["", textwrap.fill(self.longdesc, columns), ""]
        for group in GROUPS:
            parts += [f"{group.title}:", *(_described(setting, columns) for setting in group.settings), ""]
        parts += ["Others:", "  --help", f"{_INDENT}show this and exit", "  --version"]
        parts += [f"{_INDENT}show Twisted's version and exit", "", *_notes(columns), "", "Examples:"]
        for purpose, command in self.examples:
            parts += [f"  {purpose}", *_continued(command, columns)]
        return "\n".join(parts) + "\n"


for _setting in SETTINGS:
    if _setting.repeatable:
        setattr(Options, f"opt_{_setting.key}", _collect(_setting))
    elif _setting.flag:
        setattr(Options, f"opt_{_setting.key}", _switch(_setting))


def _described(setting: Setting, columns: int) -> str:
    # An address or a path that is broken at its hyphen cannot be copied.
    text = textwrap.fill(
        setting.usage,
        columns,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return f"  {setting.written}\n{text}"


def _notes(columns: int) -> list[str]:
    notes = (
        "SIZE is a number of bytes, or one with KiB, MiB, GiB (powers of 1024) or KB, MB, GB (powers of 1000). "
        "TIME is a number of seconds, or one with s, m, h or d.",
        "Each option can also be set in the environment (FILEDROPD_MAX_FILE_SIZE; lists separated by commas) or in "
        "the TOML file (max_file_size). An option beats the environment, which beats the file.",
    )
    return [textwrap.fill(note, columns, break_on_hyphens=False) for note in notes]


def _continued(command: str, columns: int) -> list[str]:
    """Break a command into lines that a shell takes as one."""
    lines = textwrap.wrap(
        command,
        columns - 2,
        initial_indent=" " * 4,
        subsequent_indent=_INDENT,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]
