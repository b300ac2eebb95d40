"""What is left with a server: files, paths, bytes, and whatever yields bytes."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final, Protocol, TypeAlias

from twisted.internet.defer import Deferred

from filedropd.client.errors import NotReadable
from filedropd.client.threads import Thread

#: Bytes that are read at once, and so many times ahead of what is sent. The fewer the pieces, the fewer the turns that
#: two threads and the server wait for each other: 4 MiB at once came to 1.3 times the rate of 1 MiB, on a busy machine.
PIECE: Final = 4 * 1024 * 1024
AHEAD: Final = 2

#: What can be left: a path, a file open for reading bytes, bytes, or an asynchronous iterator of bytes.
Leavable: TypeAlias = "str | Path | IO[bytes] | bytes | AsyncIterable[bytes] | Blocking | Flowing"


class Source(Protocol):
    """Bytes that go out, once or, where that can be, again.

    :ivar name: what they are called, if they are called anything.
    :ivar length: how many bytes there are; ``None`` where that is not known before the end.
    :ivar hashing: whether to work out what they hash to.
    """

    name: str | None
    length: int | None
    hashing: bool

    async def read(self) -> bytes:
        """Return some more; nothing at the end.

        :raises NotReadable: it cannot be read.
        """

    async def rewind(self) -> bool:
        """Begin anew; returns whether that can be."""

    async def close(self) -> None:
        """Give up what is held. The last call."""

    def digest(self) -> bytes:
        """Return the SHA-256 of all, once all was read."""


def opened(source: Leavable, reactor: Any) -> Source:
    """Return ``source`` as something to read from.

    :raises NotReadable: there is no such file, or it is none.
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        return Blocking(Thread(reactor), lambda: _open(path), path.name, _size(path), again=True)
    if isinstance(source, bytes):
        return Blocking(Thread(reactor), lambda: io.BytesIO(source), None, len(source), again=True)
    if isinstance(source, AsyncIterable):
        return Flowing(source)
    if isinstance(source, (Blocking, Flowing)):
        return source
    return _of_file(source, reactor)


def _of_file(file: IO[bytes], reactor: Any) -> Source:
    """Return what a file of the caller's has from where it stands; it stays open."""
    name = getattr(file, "name", None)
    name = Path(name).name if isinstance(name, str) and not name.startswith("<") else None
    start = file.tell() if file.seekable() and not _is_device(file) else None
    length = None
    if start is not None:
        length = file.seek(0, os.SEEK_END) - start
        file.seek(start)

    def begin() -> _Kept:
        if start is not None:
            file.seek(start)
        return _Kept(file)

    return Blocking(Thread(reactor), begin, name, length, again=start is not None)


def _is_device(file: IO[bytes]) -> bool:
    """Tell whether ``file`` has no size although it can be sought in, as ``/dev/zero`` can."""
    try:
        return stat.S_ISCHR(os.fstat(file.fileno()).st_mode)
    except OSError:  # of a file in memory: io.UnsupportedOperation
        return False


class _Kept:
    """A file that is not ours to close."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read = file.read

    def close(self) -> None:
        """Leave it open."""


def _size(path: Path) -> int | None:
    """Return how many bytes there are at ``path``; ``None`` where it is no plain file, as with a FIFO."""
    try:
        found = path.stat()
    except OSError as error:
        raise NotReadable(f"{path} cannot be read: {error.strerror}.") from error
    if path.is_dir():
        raise NotReadable(f"{path} is a folder. Add --zip to leave it as one file.")
    return found.st_size if path.is_file() else None


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise NotReadable(f"{path} cannot be read: {error.strerror}.") from error


class Blocking:
    """What is read by calls that block, on a thread.

    :param begin: opens it, at its beginning.
    :param again: it can be begun more than once.
    """

    def __init__(
        self, thread: Thread, begin: Callable[[], Any], name: str | None, length: int | None, *, again: bool
    ) -> None:
        self.name = name
        self.length = length
        self.hashing = True
        self._thread = thread
        self._begin = begin
        self._again = again
        self._file: Any = None
        self._ended = False
        self._ahead: deque[Deferred[bytes]] = deque()
        self._unread = 0
        self._hash = hashlib.sha256()

    async def read(self) -> bytes:
        """See Source."""
        while len(self._ahead) < AHEAD:
            self._unread += 1
            self._ahead.append(self._thread.run(self._read))
        return await self._ahead.popleft()

    def _read(self) -> bytes:
        if self._ended:  # a terminal would be asked again
            self._unread -= 1
            return b""
        if self._file is None:
            self._file = self._begin()
        try:
            piece: bytes = self._file.read(PIECE)
        except OSError as error:
            raise NotReadable(f"{self.name or 'What is to be left'} cannot be read: {error.strerror}.") from error
        if self.hashing:
            self._hash.update(piece)
        self._ended = not piece
        self._unread -= 1
        return piece

    async def rewind(self) -> bool:
        """See Source."""
        self._forget()
        if self._again:
            await self._thread.run(self._close)
        return self._again or self._file is None

    async def close(self) -> None:
        """See Source.

        A pipe that says nothing may never do so: whoever reads it is left there.
        """
        self._forget()
        if self._again or not self._unread:
            await self._thread.stop(self._close)

    def _forget(self) -> None:
        """Want nothing of what was read ahead, nor to know how that went."""
        while self._ahead:
            self._ahead.popleft().addErrback(lambda _: b"")

    def _close(self) -> None:
        file, self._file = self._file, None
        self._ended = False
        self._hash = hashlib.sha256()
        if file is not None:
            file.close()

    def digest(self) -> bytes:
        """See Source."""
        return self._hash.digest()


class Pieces:
    """Reads an iterator of bytes as if it were a file."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)

    def read(self, size: int) -> bytes:
        """Return about ``size`` bytes, less only at the end."""
        found = bytearray()
        for piece in self._pieces:
            found += piece
            if len(found) >= size:
                break
        return bytes(found)

    def close(self) -> None:
        """End the iterator."""
        if hasattr(self._pieces, "close"):
            self._pieces.close()


class Flowing:
    """An asynchronous iterator of bytes. It is read once."""

    def __init__(self, pieces: AsyncIterable[bytes]) -> None:
        self.name: str | None = None
        self.length: int | None = None
        self.hashing = True
        self._pieces: AsyncIterator[bytes] = aiter(pieces)
        self._begun = False
        self._hash = hashlib.sha256()

    async def read(self) -> bytes:
        """See Source."""
        self._begun = True
        async for piece in self._pieces:
            if piece:
                if self.hashing:
                    self._hash.update(piece)
                return piece
        return b""

    async def rewind(self) -> bool:
        """See Source."""
        return not self._begun

    async def close(self) -> None:
        """See Source."""
        if hasattr(self._pieces, "aclose"):
            await self._pieces.aclose()

    def digest(self) -> bytes:
        """See Source."""
        return self._hash.digest()
