"""The system's calls by which bytes come to the disk, as a value: a test's disk is full at any of them."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs

#: Makes what was written to a descriptor durable; :func:`os.fsync`, or nothing.
Sync = Callable[[int], None]

# linux/fs.h
_SYNC_FILE_RANGE_WRITE: Final = 2
#: Bytes that go at once from a pipe to a file that takes no pages.
_COPIED: Final = 256 * 1024


def no_sync(fd: int) -> None:
    """Leave it to the kernel when ``fd`` is written: for stores that need not survive a power cut."""


def splice(pipe: int, file: int, size: int) -> int:
    """Append up to ``size`` bytes from a pipe to a file, at its position; returns how many.

    It waits for the disk, and never for the pipe.

    :raises BlockingIOError: the pipe is empty.
    """
    try:
        return os.splice(pipe, file, size, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    # A file system that knows nothing of it.
    data = memoryview(os.read(pipe, min(size, _COPIED)))
    written = 0
    while written < len(data):
        written += os.write(file, data[written:])
    return written


def _sync_file_range() -> Any:
    """Return the system's call, which :mod:`os` does not have; ``None`` where there is none."""
    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


_write_back: Final = _sync_file_range()


def write_back(fd: int, first: int, length: int) -> None:
    """Let the disk begin to write these bytes, so that less is left to the sync. Does nothing where that cannot be asked."""
    if _write_back is not None:
        # Its result is of no interest: what fails here is told by the sync, which looks at all.
        _write_back(fd, first, length, _SYNC_FILE_RANGE_WRITE)


def no_write_back(fd: int, first: int, length: int) -> None:
    """Leave it to the kernel when these bytes are written."""


@attrs.frozen(kw_only=True)
class SystemCalls:
    """What is asked of the system; each is the function of :mod:`os` of that name, or of this module, and fails as that does.

    :ivar create: :func:`os.open` of a path, with flags and a mode.
    """

    create: Callable[[Path, int, int], int] = os.open
    write: Callable[[int, memoryview], int] = os.write
    splice: Callable[[int, int, int], int] = splice
    write_back: Callable[[int, int, int], None] = write_back
    sync: Sync = os.fsync
    rename: Callable[[Path, Path], None] = os.rename
    statvfs: Callable[[Path], os.statvfs_result] = os.statvfs

    def unsynced(self) -> SystemCalls:
        """Return these calls for a store that need not survive a power cut."""
        return attrs.evolve(self, sync=no_sync, write_back=no_write_back)


#: The calls of a store that need not survive a power cut.
UNSYNCED = SystemCalls().unsynced()
