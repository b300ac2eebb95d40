"""Bodies of answers, as they come: bounded, with back-pressure, and never for ever."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from filedropd.client.errors import Stalled
from filedropd.client.wire.failures import explained

#: Bytes that wait here at most.
MOST: Final = 4 * 1024 * 1024
#: Seconds without a byte after which a body is given up.
STALL: Final = 60.0


class Body(Protocol):
    """What an answer's body brings.

    :param stall: seconds without a byte, while we would take one, after which it is given up.
    :param host: from where it comes, for words.
    :param most: bytes that wait here at most, and one reading more.
    """

    def __init__(
        self, response: IResponse, clock: IReactorTime, host: str, *, stall: float = STALL, most: int = MOST
    ) -> None:
        self._clock = clock
        self._host = host
        self._stall = stall
        self._most = most
        self._pieces: list[bytes] = []
        self._size = 0
        self._paused = False
        self._over: Failure | None = None
        self._waiting: Deferred[None] | None = None
        self._heard = clock.seconds()
        self._timer: Any = None
        response.deliverBody(self)

    # -- for whoever reads ------------------------------------------------------------------------

    async def take(self) -> list[bytes]:
        """Return all that has come, at least a byte; nothing when the body is at its end.

        :raises Unreachable: the connection broke, or went quiet, before the end.
        """
        while not self._pieces and self._over is None:
            self._resume()
            self._watch()
            self._waiting = Deferred()
            await self._waiting
        if self._pieces:
            pieces, self._pieces, self._size = self._pieces, [], 0
            self._resume()
            return pieces
        assert self._over is not None  # noqa: S101 - or we would wait
        if self._over.check(ResponseDone, PotentialDataLoss) is None:
            error = self._over.value
            raise explained(error if isinstance(error, Exception) else ConnectionError(), self._host) from error
        return []

    async def all(self, most: int) -> bytes:
        """Return the whole, of which only the first ``most`` bytes are wanted; the rest is thrown away.

        :raises Unreachable: see :meth:`take`.
        """
        found = b""
        while pieces := await self.take():
            if len(found) < most:
                found += b"".join(pieces)
        return found[:most]

    def leave(self) -> None:
        """Close the connection: nobody reads on."""
        if self._over is None and self.transport is not None:
            self.transport.loseConnection()  # there is no other way to it; with data unread it is a reset

    def _resume(self) -> None:
        if self._paused and self._over is None and self.transport is not None:
            self._paused = False
            self.transport.resumeProducing()  # type: ignore[attr-defined]

    # -- for Twisted ------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Keep a piece; too much of them stops the reading."""
        self._pieces.append(data)
        self._size += len(data)
        self._heard = self._clock.seconds()
        if self._size >= self._most and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pauseProducing()  # type: ignore[attr-defined]
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note the end, whichever it is."""
        if self._over is None:
            self._over = reason
        self._end_watch()
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    # -- quiet ------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """See to it that somebody looks when there may have been quiet for too long."""
        self._heard = self._clock.seconds()
        if self._timer is None:
            self._timer = self._clock.callLater(self._stall, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiting is None:  # it is us who take nothing
            return
        left = self._heard + self._stall - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._look)
            return
        self.leave()
        self._over = Failure(Stalled(f"{self._host} has gone quiet. Try again later."))
        self._wake()

    def _end_watch(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
