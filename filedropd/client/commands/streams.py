"""The standard streams, which may be closed, full, or read by nobody any more."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import Final

import click

from filedropd.client.errors import Local

#: What stands for a stream that is closed. Reading, and writing on the standard output, fail as they would have there.
_STANDS_FOR: Final = ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY))

#: Why the standard output cannot be written any more.
_lost: list[str] = []


def ready() -> None:
    """See to it that all three are there, and take any name.

    Else the next file that is opened would be the standard output, and what is printed would go into it.
    """
    for descriptor, flags in _STANDS_FOR:
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # the lowest descriptor that is free: this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it stays open
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - likewise
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that is no UTF-8 goes out as it is; one that has no form here is better told in another than not.
        sys.stdout.reconfigure(errors="surrogateescape" if sys.stdout.encoding == "utf-8" else "backslashreplace")
    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
    sys.stderr = _Unfailing(
        open(2, "wb", closefd=False),  # noqa: SIM115 - likewise
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=True,
    )


class _Unfailing(io.TextIOWrapper):
    """The standard error. Where nothing can be said on it, that is no reason to do anything else than was asked."""

    def write(self, text: str) -> int:
        """Write it, if that can be."""
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Likewise."""
        with contextlib.suppress(OSError):
            super().flush()


def say(text: str) -> None:
    """Print a line on the standard output.

    :raises BrokenPipeError: who reads it has had enough.
    :raises Local: it is closed, or what it leads to is full.
    """
    if _lost:
        raise Local(_lost[0])
    try:
        click.echo(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable(error) from error


def unwritable(error: OSError) -> Local:
    """Return in words why the standard output cannot be written, as it is from then on for whoever tries."""
    # Python would write what it has kept at its end, and complain once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
    if isinstance(error, BrokenPipeError):
        why = "nobody reads it"
    else:
        why = "it is closed" if error.errno == errno.EBADF else str(error.strerror)
    _lost.append(f"The standard output cannot be written: {why}.")
    return Local(_lost[0])
