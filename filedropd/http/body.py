"""The body of a request, as it streams in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred

from filedropd.errors import FiledropError
from filedropd.http.splicing import Sink, Splicing

#: Bytes held for a reader before the connection is read no further.
HIGH_WATER: Final = 256 * 1024
#: Bytes that are read in one piece, unless the reader says otherwise: all that one read of the connection brings.
PIECE: Final = 1024 * 1024
#: Bytes left when reading goes on.
LOW_WATER: Final = 64 * 1024


class Body:
    """A request's body: an async iterator of ``bytes``, or :meth:`read` by :meth:`read`.

    Memory is bounded: when the reader is slower than the client, the connection is not read.  A
    client that waits for ``100 Continue`` is told to go on by the first read, and not at all when
    the request is answered without one (RFC 9110 section 10.1.1).

    :ivar length: in bytes as the client declared it, or ``None`` where it sends chunks.
    :ivar received: bytes that have arrived.
    """

    def __init__(
        self,
        length: int | None,
        *,
        pause: Callable[[], None],
        resume: Callable[[], None],
        invite: Callable[[], None] | None = None,
        splicing: Splicing | None = None,
    ) -> None:
        self.length = length
        self.received = 0
        self._pause = pause
        self._resume = resume
        self._invite = invite
        self._splicing = splicing
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._paused = False
        self._ended = False
        self._discarding = False
        self._failure: FiledropError | None = None
        self._waiter: Deferred[None] | None = None

    # For the one who reads.

    async def read(self, size: int = PIECE) -> bytes:
        """Return between 1 and ``size`` bytes as soon as there are any, ``b""`` at the end.

        :raises ClientGone: the connection was lost before the end.
        :raises ProtocolError: the body is malformed, ends too early or arrives too slowly.
        """
        await self._something()
        if not self._pieces:
            return b""
        piece = self._pieces.popleft()
        if len(piece) > size:
            self._pieces.appendleft(piece[size:])
            piece = piece[:size]
        self._held -= len(piece)
        if self._paused and self._held <= LOW_WATER:
            self._paused = False
            self._resume()
        return piece

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        piece = await self.read()
        if not piece:
            raise StopAsyncIteration
        return piece

    async def copy_to(self, sink: Sink) -> None:
        """Read all of it into ``sink``, past Python where that can be and pays (:mod:`.splicing`).

        What has come and was not given to ``sink`` when that raises is there for another reader.

        :raises ClientGone, ProtocolError: as :meth:`read`.
        """
        if self._splicing is None or self._over or not self._splicing.pays:
            async for piece in self:
                await sink.write(piece)
        else:
            await self._splice(self._splicing, sink)

    async def _splice(self, splicing: Splicing, sink: Sink) -> None:
        splicing.begin()
        try:
            while True:
                await self._something()
                # Behind what is in a pipe nothing comes on another way, until it is taken.
                if self._pieces:
                    await sink.write(await self.read())
                elif splicing.ready:
                    await splicing.drain(sink)
                else:
                    return
        finally:
            splicing.stop()
            self._hold(splicing.rest())

    async def _something(self) -> None:
        """Return when there is something to take, or the end has come.

        :raises FiledropError: nothing more will come.
        """
        while not self._there:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return
            await self._arrival()

    async def _arrival(self) -> None:
        invite, self._invite = self._invite, None
        if invite is not None:
            invite()
        self._waiter = Deferred(canceller=lambda _: self._forget_waiter())
        await self._waiter

    def _forget_waiter(self) -> None:
        self._waiter = None

    # For the channel. A reader is woken by ``wake`` alone, when the channel is done with its input:
    # a reader that runs on the parser's stack could answer, and close, under its feet.

    @property
    def complete(self) -> bool:
        """Whether all of it has arrived."""
        return self._ended

    @property
    def taken(self) -> bool:
        """Whether all of it has arrived and was read."""
        return self._ended and not self._there

    @property
    def invited(self) -> bool:
        """Whether the client may be sending it: it did not ask for ``100 Continue``, or was told to go on."""
        return self._invite is None

    def arrived(self, data: bytes) -> None:
        """Take the next bytes."""
        if not data:
            return
        self._count(len(data))
        if not (self._discarding or self._failure is not None):
            self._hold(data)

    def spliced(self, octets: int) -> None:
        """Note that so many bytes have come into a pipe."""
        self._count(octets)

    def _count(self, octets: int) -> None:
        self.received += octets
        self._invite = None  # RFC 9110 section 10.1.1: no 100 once the body has begun to come

    def _hold(self, data: bytes) -> None:
        if not data:
            return
        self._pieces.append(data)
        self._held += len(data)
        if self._held > HIGH_WATER and not self._paused:
            self._paused = True
            self._pause()

    def end(self) -> None:
        """Note that all of it has arrived."""
        self._ended = True
        self._stop_splicing()

    def fail(self, error: FiledropError) -> None:
        """Note that no more will come, and why. What had arrived can still be read."""
        if not self._ended and self._failure is None:
            self._failure = error
            self._stop_splicing()

    def discard(self) -> None:
        """Drop what is held and all that is still to come."""
        self._discarding = True
        self._stop_splicing()
        if self._splicing is not None:
            self._splicing.drop()
        self._pieces.clear()
        self._held = 0
        if self._paused:
            self._paused = False
            self._resume()

    def wake(self) -> None:
        """Let the reader go on, if it waits and there is something to tell it."""
        if self._waiter is not None and (self._there or self._over):
            waiter, self._waiter = self._waiter, None
            waiter.callback(None)

    @property
    def _there(self) -> bool:
        return bool(self._pieces) or (self._splicing is not None and self._splicing.ready)

    @property
    def _over(self) -> bool:
        return self._ended or self._failure is not None

    def _stop_splicing(self) -> None:
        if self._splicing is not None:
            self._splicing.stop()
