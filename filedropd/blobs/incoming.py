"""One upload as the disk has it, from its first byte until it has its name among the blobs.  All here blocks."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from filedropd.blobs.space import Space
from filedropd.blobs.system import SystemCalls

#: What folders and files are made with, less the process's umask: a group may be let in to read.
FOLDER_MODE = 0o750
FILE_MODE = 0o640

#: Bytes of an upload that come in before the disk is told to begin with them.
WRITE_BACK = 8 * 2**20


class IncomingFile:
    """The file of one upload.  Its calls come one at a time; whoever makes them sees to that.

    :ivar path: where it is until it is published.
    """

    def __init__(self, path: Path, calls: SystemCalls, space: Space) -> None:
        self.path = path
        self._calls = calls
        self._space = space
        self._fd: int | None = None
        self._size = 0
        self._begun = 0  # of it, what the disk was told to write
        self._there = False
        self._sealed = False

    def create(self) -> None:
        """Make the file, which must not be there yet."""
        with self._space.new_file():
            self._fd = self._calls.create(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        self._there = True

    def write(self, data: bytes) -> None:
        """Append all of ``data``, however many calls it takes."""
        fd = self._open()
        left = memoryview(data)
        with self._space.taken(len(data)):
            while left:
                left = left[self._calls.write(fd, left) :]
        self._grown(fd, len(data))

    def splice(self, pipe: int, size: int) -> None:
        """Append ``size`` bytes that are in ``pipe``, however many calls it takes."""
        fd = self._open()
        left = size
        with self._space.taken(size):
            while left:
                moved = self._calls.splice(pipe, fd, left)
                if not moved:
                    raise OSError(errno.EPIPE, "there is less in the pipe than was said")
                left -= moved
        self._grown(fd, size)

    def _open(self) -> int:
        if self._fd is None:
            raise ValueError("nothing can be written to a blob that is sealed or discarded")
        return self._fd

    def _grown(self, fd: int, octets: int) -> None:
        """Count what was written, and let the disk begin with it while more comes in."""
        self._size += octets
        if self._size - self._begun >= WRITE_BACK:
            self._calls.write_back(fd, self._begun, self._size - self._begun)
            self._begun = self._size

    def seal(self) -> None:
        """Sync the file, and close it. Its name is durable once :meth:`Journal.sync` has synced its folder."""
        if self._fd is None:
            raise ValueError("a blob can be sealed once, unless it is discarded")
        self._calls.sync(self._fd)
        self._close()
        self._sealed = True

    def keep(self, data: bytes) -> None:
        """Make the file of all its bytes, and seal it."""
        self.create()
        self.write(data)
        self.seal()

    def publish(self, target: Path) -> None:
        """Rename a sealed file to ``target``."""
        if not (self._there and self._sealed):
            raise ValueError("only a blob that is sealed, and not discarded, can be published")
        move(self.path, target, self._calls)
        self._there = False

    def discard(self) -> None:
        """Close and delete the file, if it is there and not published. It may be tried again when it fails."""
        if not self._there:
            return
        try:
            self._close()
        finally:
            self.path.unlink(missing_ok=True)
        self._there = False

    def _close(self) -> None:
        # A close that fails has closed all the same (Linux): never try one number twice.
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def move(source: Path, target: Path, calls: SystemCalls) -> None:
    """Rename ``source`` to ``target``, whose folder is made where it is missing.

    The folders are not synced.  If a power cut undoes the rename, the synced journal still has the
    file, its row is committed, and recovery makes this call again.
    """
    try:
        calls.rename(source, target)
    except FileNotFoundError:  # most often the folder is there
        target.parent.mkdir(FOLDER_MODE, exist_ok=True)
        calls.rename(source, target)
