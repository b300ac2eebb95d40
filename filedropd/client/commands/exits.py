"""Exit statuses: the one table. ``filedrop --help``, the manual and ``docs/client.md`` have it from here."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Final

import attrs

from filedropd.client import errors

DONE: Final = 0
INTERRUPTED: Final = 128 + signal.SIGINT


@attrs.frozen
class Exit:
    """A status.

    :ivar kinds: the errors that end with it.
    :ivar words: what it says to people.
    """

    status: int
    kinds: tuple[type[Exception], ...]
    words: str


TABLE: Final[Sequence[Exit]] = (
    Exit(DONE, (), "done"),
    Exit(1, (errors.Local, OSError), "something on this machine is in the way"),
    Exit(2, (), "the command line, the configuration file or the environment is wrong"),
    Exit(3, (errors.Unreachable,), "the server cannot be reached or trusted, or was away for too long"),
    Exit(4, (errors.Unauthorized,), "the password is missing or wrong"),
    Exit(5, (errors.NotFound,), "there is no such file (404)"),
    Exit(6, (errors.Gone,), "the file is gone (410)"),
    Exit(7, (errors.Locked,), "somebody else has begun to download it (423)"),
    Exit(8, (errors.Later,), "too often, too busy or no room: later (429, 503, 507)"),
    Exit(9, (errors.Refused,), "the server refused it otherwise, or is no filedropd"),
    Exit(10, (errors.Damaged,), "what arrived is not what was sent"),
    Exit(11, (errors.Exists,), "a file of that name exists"),
    Exit(INTERRUPTED, (), "interrupted"),
)

_STATUSES: Final = {kind: each.status for each in TABLE for kind in each.kinds}


def status_of(error: Exception) -> int:
    """Return the status that ``error`` ends with: that of the nearest kind in the table."""
    return next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), 1)


def told() -> str:
    """Return the table as lines of text."""
    return "\n".join(f"{each.status:5}  {each.words}" for each in TABLE)
