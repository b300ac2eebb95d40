"""The system's calls by which bytes come to the disk, as a value: a test's disk is full at any of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import attrs

#: Makes what was written to a descriptor durable; :func:`os.fsync`, or nothing.
Sync = Callable[[int], None]


def no_sync(fd: int) -> None:
    """Leave it to the kernel when ``fd`` is written: for stores that need not survive a power cut."""


@attrs.frozen(kw_only=True)
class SystemCalls:
    """What is asked of the system; each is the function of :mod:`os` of that name, and fails as that does.

    :ivar create: :func:`os.open` of a path, with flags and a mode.
    """

    create: Callable[[Path, int, int], int] = os.open
    write: Callable[[int, memoryview], int] = os.write
    sync: Sync = os.fsync
    rename: Callable[[Path, Path], None] = os.rename
    statvfs: Callable[[Path], os.statvfs_result] = os.statvfs


#: The calls of a store that need not survive a power cut.
UNSYNCED = SystemCalls(sync=no_sync)
