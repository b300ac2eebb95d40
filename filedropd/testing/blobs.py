"""Blobs in memory."""

from __future__ import annotations

import errno
import os
import secrets
from collections import defaultdict, deque
from collections.abc import AsyncGenerator

from zope.interface import implementer

from filedropd.errors import InsufficientStorage, Unavailable
from filedropd.interfaces import IBlob, IBlobs, IIncomingBlob, Unfinished
from filedropd.tokens import Randomness, random_name

#: Bytes in a piece, as the port has it.
_PIECE = 256 * 1024


class Faults:
    """What is to go wrong, by the name of the port's method, in the order in which it was asked for."""

    def __init__(self) -> None:
        self._next: defaultdict[str, deque[Exception]] = defaultdict(deque)

    def add(self, operation: str, error: Exception) -> None:
        """Let one coming call of ``operation`` raise ``error``."""
        self._next[operation].append(error)

    def check(self, operation: str) -> None:
        """Raise what ``operation`` is to raise now."""
        if errors := self._next.get(operation):
            raise errors.popleft()


@implementer(IIncomingBlob)
class MemoryIncomingBlob:
    """An upload in memory."""

    def __init__(self, store: MemoryBlobs, blob: str) -> None:
        self.blob = blob
        self.size = 0
        self._store = store
        self._sealed = False

    async def write(self, data: bytes) -> None:
        """Append ``data``."""
        self._store.faults.check("write")
        unsealed = self._unsealed()
        self._store.check_room(len(data))
        unsealed.extend(data)
        self.size += len(data)

    async def splice(self, pipe: int, size: int) -> None:
        """Append ``size`` bytes that are in ``pipe``."""
        self._store.faults.check("splice")
        unsealed = self._unsealed()
        self._store.check_room(size)
        try:
            data = _taken(pipe, size)
        except OSError as error:
            raise Unavailable from error
        unsealed.extend(data)
        self.size += size

    async def seal(self) -> None:
        """Take nothing more."""
        self._store.faults.check("seal")
        self._unsealed()
        self._sealed = True

    def _unsealed(self) -> bytearray:
        if self._sealed or self.blob not in self._store.incoming:
            raise ValueError("the blob is sealed or discarded")
        return self._store.incoming[self.blob]

    async def publish(self) -> None:
        """Move the bytes to where ``open`` looks."""
        self._store.faults.check("publish")
        if not self._sealed or self.blob not in self._store.incoming:
            raise ValueError("only a blob that is sealed, and not discarded, can be published")
        self._store.published[self.blob] = bytes(self._store.incoming.pop(self.blob))

    async def discard(self) -> None:
        """Forget the bytes, unless they are published."""
        self._store.faults.check("discard")
        self._store.incoming.pop(self.blob, None)


@implementer(IBlob)
class MemoryBlob:
    """Bytes in memory, open for reading."""

    descriptor: int | None = None

    def __init__(self, store: MemoryBlobs, data: bytes) -> None:
        self.size = len(data)
        self._store = store
        self._data: bytes | None = data
        store.open_blobs += 1

    async def ready(self, first: int, length: int) -> None:
        """Return: they are in memory."""
        self._store.faults.check("ready")
        self._held(first, length)

    async def read(self, first: int, length: int) -> AsyncGenerator[bytes, None]:
        """Iterate over ``length`` bytes from ``first``; a fault for ``read`` comes before a piece."""
        if first < 0 or length < 0:
            raise ValueError("a range of bytes is not negative")
        for start in range(first, first + length, _PIECE):
            self._store.faults.check("read")
            yield self._held(first, length)[start : min(start + _PIECE, first + length)]

    def _held(self, first: int, length: int) -> bytes:
        """Return all bytes, if these are among them."""
        if self._data is None or first + length > self.size:
            raise OSError(errno.EIO, "the blob is closed, or ends too early")
        return self._data

    def close(self) -> None:
        """Give back the bytes."""
        if self._data is not None:
            self._data = None
            self._store.open_blobs -= 1


@implementer(IBlobs)
class MemoryBlobs:
    """Blobs in dictionaries; what it promises, but for durability, is what every store promises.

    :ivar published: the bytes of every published blob.
    :ivar incoming: the bytes of every upload in flight.
    :ivar left: the bytes of what a crash left half-way in.
    :ivar dead: the names of daemons that are known to run no more.
    :ivar open_blobs: how many are open for reading and not closed.
    :ivar room: bytes that may be held, in flight and published; ``None``: any number. At 0 the store is full.
    :ivar faults: what is to go wrong next; see :meth:`fail_next`.
    """

    def __init__(self, randomness: Randomness = secrets.token_bytes) -> None:
        self.room: int | None = None
        self.published: dict[str, bytes] = {}
        self.incoming: dict[str, bytearray] = {}
        self.left: dict[str, bytes] = {}
        self.dead: set[str] = set()
        self.open_blobs = 0
        self.faults = Faults()
        self._randomness = randomness

    def fail_next(self, operation: str, error: Exception) -> None:
        """Let the next call of ``operation`` raise ``error``; asked twice, the next two.

        :param operation: a method of any of the three ports, ``write`` or ``delete`` for example.
        """
        self.faults.add(operation, error)

    def check_room(self, size: int) -> None:
        """Return if ``size`` more bytes fit.

        :raises InsufficientStorage: they do not.
        """
        if self.room is None:
            return
        held = sum(len(data) for data in (*self.published.values(), *self.incoming.values(), *self.left.values()))
        if held + size > self.room:
            raise InsufficientStorage

    def crash(self) -> MemoryBlobs:
        """Return the store as another daemon finds it after this one was killed."""
        successor = MemoryBlobs(self._randomness)
        successor.room = self.room
        successor.published = dict(self.published)
        successor.left = {**self.left, **{blob: bytes(data) for blob, data in self.incoming.items()}}
        return successor

    async def open_store(self) -> None:
        """Nothing is to be prepared."""
        self.faults.check("open_store")

    async def close_store(self) -> None:
        """Nothing is to be given back."""
        self.faults.check("close_store")

    async def ping(self) -> None:
        """Return, unless there is no room for a byte, or a fault is asked for."""
        self.faults.check("ping")
        self.check_room(1)

    async def receive(self) -> MemoryIncomingBlob:
        """Begin a new blob, if there is room for a byte."""
        self.faults.check("receive")
        self.check_room(1)
        blob = random_name(self._randomness)
        self.incoming[blob] = bytearray()
        return MemoryIncomingBlob(self, blob)

    async def receive_whole(self, data: bytes) -> MemoryIncomingBlob:
        """Take a new blob with all its bytes; a fault may be for any of the steps."""
        incoming = await self.receive()
        try:
            await incoming.write(data)
            await incoming.seal()
        except BaseException:
            self.incoming.pop(incoming.blob, None)
            raise
        return incoming

    async def open(self, blob: str) -> MemoryBlob:
        """Open a published blob.

        :raises FileNotFoundError: there is none of that name.
        """
        self.faults.check("open")
        if blob not in self.published:
            raise _absent(blob)
        return MemoryBlob(self, self.published[blob])

    async def delete(self, blob: str) -> None:
        """Delete a published blob."""
        self.faults.check("delete")
        self.published.pop(blob, None)

    async def unfinished(self) -> Unfinished:
        """Return what a crash left."""
        self.faults.check("unfinished")
        return Unfinished(tuple(sorted(self.left)), frozenset(self.dead))

    async def finish(self, blob: str) -> None:
        """Publish what a crash left.

        :raises FileNotFoundError: it is neither left nor published.
        """
        self.faults.check("finish")
        if blob in self.left:
            self.published[blob] = self.left.pop(blob)
        elif blob not in self.published:
            raise _absent(blob)

    async def abandon(self, blob: str) -> None:
        """Delete what a crash left."""
        self.faults.check("abandon")
        self.left.pop(blob, None)


def _taken(pipe: int, size: int) -> bytes:
    """Return ``size`` bytes from a pipe, for which it is not waited."""
    os.set_blocking(pipe, False)
    data = b""
    while len(data) < size:
        more = os.read(pipe, size - len(data))
        if not more:
            raise OSError(errno.EPIPE, "there is less in the pipe than was said")
        data += more
    return data


def _absent(blob: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), blob)
