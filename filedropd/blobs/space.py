"""The room on a disk, of which a part is to stay free.

What stays free is for the records: a download can be noted, and a drop deleted, on a disk that takes
no more uploads.  It is also what other programs on that disk may need meanwhile.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

#: Unless the operator says otherwise, this part of a disk is to stay free, and at most so many bytes.
RESERVED_PART: Final = 20
MOST_RESERVED: Final = 2**30

#: Bytes that may be written, by all uploads together, before the disk is looked at again.
MOST_UNSEEN: Final = 4 * 2**20

#: What a new file takes before its first byte: a name, an inode, a block.
NEW_FILE: Final = 4096


class Space:
    """The room on the disk that ``folder`` is on.  Its calls may come from any thread.

    The disk is not asked at each write (that is a trip to the server where it is a network's): once
    asked, it is taken at its word for some bytes, at most a quarter of what is to stay free.

    :param reserve: bytes that are to stay free; ``None``: a twentieth of the disk, at most 1 GiB.
    """

    def __init__(self, folder: Path, reserve: int | None, statvfs: Callable[[Path], os.statvfs_result]) -> None:
        self._folder = folder
        self._reserve = reserve
        self._statvfs = statvfs
        self._lock = threading.Lock()
        self._unseen = 0
        self._writing = 0

    @contextmanager
    def new_file(self) -> Iterator[None]:
        """Make a new file within. Whatever the disk has said before, it is asked again.

        :raises OSError: with ``ENOSPC``, there is no room for one.
        """
        with self._lock:
            self._unseen = 0
        with self.taken(NEW_FILE):
            yield

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Write ``size`` bytes within.

        :raises OSError: with ``ENOSPC``, there is no room for them.
        """
        if self._reserve == 0:
            # Then it is the write itself that tells.
            yield
            return
        self._take(size)
        try:
            yield
        finally:
            with self._lock:
                self._writing -= size

    def _take(self, size: int) -> None:
        with self._lock:
            if self._unseen < size:
                self._unseen = self._look(size)
            if self._unseen < size:
                raise OSError(errno.ENOSPC, "of the disk's free room none is left but what is to stay free (--reserve)")
            self._unseen -= size
            self._writing += size

    def _look(self, size: int) -> int:
        """Return how many bytes may be written until the next look."""
        disk = self._statvfs(self._folder)
        reserve = self._reserve
        if reserve is None:
            reserve = min(disk.f_blocks * disk.f_frsize // RESERVED_PART, MOST_RESERVED)
        # What is being written by others may be on the disk already, or not yet.
        spare = disk.f_bavail * disk.f_frsize - reserve - self._writing
        return min(spare, max(size, min(MOST_UNSEEN, reserve // 4)))
