"""The manual page of ``filedrop``, from the text of its ``--help``: ``python -m filedropd.client.manual > filedrop.1``.

One page for all commands, in the macros of man(7). ``click-man`` would make one page for each and drop the examples'
lines into one.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from filedropd.client.command import EPILOG, main

#: What click has for "leave the lines of this paragraph as they are".
_AS_IT_IS = "\b"
_TITLE = re.compile(r"([A-Z][a-z ]+):$")


def page() -> str:
    """Return the page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield '.TH FILEDROP 1 "" "filedropd" "User Commands"'
    yield ".SH NAME"
    yield f"filedrop \\- {_escaped(_first(main))}"
    yield ".SH SYNOPSIS"
    yield r".B filedrop"
    yield r"[\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]"
    yield ".SH DESCRIPTION"
    yield from _text(main.help or "")
    yield ".SH OPTIONS"
    yield from _options(main)
    yield ".SH COMMANDS"
    for name, command in main.commands.items():
        yield f".SS {name}"
        yield f".B filedrop {name}"
        yield _escaped(" ".join(command.collect_usage_pieces(click.Context(command, info_name=name))))
        yield ".PP"
        yield from _text(command.help or "")
        yield from _options(command)
    yield from _text(EPILOG, sections=True)


def _options(command: click.Command) -> Iterator[str]:
    for parameter in command.get_params(click.Context(command)):
        record = parameter.get_help_record(click.Context(command))
        if record is not None and isinstance(parameter, click.Option):
            names, words = record
            yield ".TP"
            yield f"\\fB{_escaped(names)}\\fR"
            yield _escaped(words)


def _text(text: str, *, sections: bool = False) -> Iterator[str]:
    """Yield paragraphs.

    :param sections: a paragraph whose first line is a title is a section.
    """
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        lines = paragraph.splitlines()
        if lines[0].strip() != _AS_IT_IS:
            yield _escaped(" ".join(line.strip() for line in lines))
            yield ".PP"
            continue
        title = _TITLE.match(lines[1])
        if title is not None:
            yield f".SH {title[1].upper()}" if sections else f"{_escaped(title[1])}:"
            lines = lines[1:]
        yield from (".PP", ".nf", *(_escaped(line) for line in lines[1:]), ".fi", ".PP")


def _first(command: click.Command) -> str:
    """Return the first sentence, as the name of a page wants it."""
    words = (command.help or "").split(".")[0]
    return words[:1].lower() + words[1:]


def _escaped(text: str) -> str:
    """Return ``text`` with nothing in it that troff would act on."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    click.echo(page(), nl=False)
