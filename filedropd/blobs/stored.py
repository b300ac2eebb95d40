"""A stored file, open for reading."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from filedropd.blobs import pages
from filedropd.blobs.threads import DiskThreads
from filedropd.deferreds import background, shielded
from filedropd.interfaces import IBlob

#: Bytes that are read at a time; up to twice as many are held for each reader.
PIECE = 256 * 1024

#: Bytes that are read while opening, so that a small file is there after one trip to a thread.
HEAD = 64 * 1024

T = TypeVar("T")
P = ParamSpec("P")


@implementer(IBlob)
class DiskBlob:
    """A published file, open for reading: its bytes stay, even when its name is gone."""

    def __init__(self, threads: DiskThreads) -> None:
        self.size = 0
        self._threads = threads
        self._fd: int | None = None
        self._head = b""
        self._whole = False  # all is in the head
        self._users = 0
        self._closed = False

    async def load(self, path: Path) -> None:
        """Open ``path`` and read its head. Nothing stays open when that fails, or when its caller leaves."""
        try:
            await shielded(self._using(self._load, path))
        except BaseException:
            self.close()
            raise

    def _load(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self.size = os.fstat(self._fd).st_size
        self._head = os.pread(self._fd, HEAD, 0)
        if self.size == len(self._head):
            # All of it: nothing is left to be read, or to be closed on another trip.
            self._whole = True
            fd, self._fd = self._fd, None
            os.close(fd)

    @property
    def descriptor(self) -> int | None:
        """The file's descriptor; ``None`` once it is closed."""
        return None if self._closed else self._fd

    async def ready(self, first: int, length: int) -> None:
        """Return when these bytes are in the kernel's memory: at once where they are, after a trip to a thread where not."""
        self._check(first, length)
        if length and self._fd is not None and not pages.resident(self._fd, first, length):
            await shielded(self._using(self._bring_in, first, length))

    def _bring_in(self, first: int, length: int) -> None:
        pages.bring_in(self._open_fd(), first, length)

    async def read(self, first: int, length: int) -> AsyncGenerator[bytes, None]:
        """Iterate over ``length`` bytes from ``first``; the next piece is read while one is consumed.

        It may be left at any point: nothing is waited for then, and nothing is left behind.
        """
        self._check(first, length)
        end = first + length
        piece = self._head[first:end]
        if not self._whole:
            self._head = b""  # who reads on has no more use for it
        first += len(piece)
        ahead = self._fetch(first, end)
        try:
            if piece:
                yield piece
            while ahead is not None:
                waiting, ahead = ahead, None
                piece = await waiting
                first += len(piece)
                ahead = self._fetch(first, end)
                yield piece
        finally:
            # No await here: a generator that is dropped unfinished gets no turn to wait in.
            if ahead is not None:
                ahead.addErrback(lambda _: None)

    def _check(self, first: int, length: int) -> None:
        """Return if these bytes are in the file, and it is open."""
        if first < 0 or length < 0:
            raise ValueError("a range of bytes is not negative")
        if first + length > self.size or self._closed:
            raise OSError(errno.EIO, "the blob is closed" if self._closed else "the range ends behind the file")

    def _fetch(self, first: int, end: int) -> Deferred[bytes] | None:
        if first == end:
            return None
        return shielded(self._using(self._pread, first, min(PIECE, end - first)))

    def _pread(self, first: int, length: int) -> bytes:
        file = self._open_fd()
        data = os.pread(file, length, first)
        while len(data) < length:
            more = os.pread(file, length - len(data), first + len(data))
            if not more:
                raise pages.too_short()
            data += more
        return data

    def _open_fd(self) -> int:
        if self._fd is None:
            raise OSError(errno.EBADF, "the blob is closed")
        return self._fd

    def close(self) -> None:
        """Close the file, once no thread reads it any more. A second call does nothing."""
        self._closed = True
        self._head = b""
        self._close_unused()

    async def _using(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._users += 1
        try:
            return await self._threads.run(call, *args, **kwargs)
        finally:
            self._users -= 1
            self._close_unused()

    def _close_unused(self) -> None:
        if self._closed and self._users == 0 and self._fd is not None:
            fd, self._fd = self._fd, None
            # On a thread: closing the last descriptor of a deleted file frees its blocks.
            background(self._threads.give_back(os.close, fd), "closing a file")
