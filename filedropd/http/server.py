"""The factory of connections: what they share, and how they all end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory, IReactorTime
from twisted.internet.protocol import Factory
from twisted.web.resource import IResource
from zope.interface import implementer

from filedropd.deferreds import Happening
from filedropd.http.channel import Channel
from filedropd.http.familiar import FamiliarHeads
from filedropd.http.head import Limits
from filedropd.http.interfaces import AtOnce, Closable, Connection, Refusal, Timeouts
from filedropd.http.pipes import Pipes
from filedropd.http.request import Request
from filedropd.http.sendfile import Shares
from filedropd.http.surplus import Refused, Surplus
from filedropd.http.turns import Turns

#: Seconds within which a connection ends that was broken off.
_BREAKING: Final = 0.5

#: Connections beyond the most that are told so before they are closed.
SURPLUS: Final = 256


@implementer(IProtocolNegotiationFactory)
class HTTPFactory(Factory):
    """Serves ``resource`` to every connection.

    :param max_connections: how many are served at once.
    :param zero_copy: whether bytes may go past Python between a socket and a file.
    :param refusal: what to answer to an exception, the one table of which is not ours.
    :param hot: returns the answer to a request without a body that needs nothing to be asked; most often ``None``.
    :param answered: told of each request when its answer is over, however it ended.
    :param answered_at_once: told of each that was ``hot``, with its status code.
    :param refused: told of each answer that was given to something that was no request.
    """

    noisy = False

    def __init__(
        self,
        resource: IResource,
        clock: IReactorTime,
        *,
        refusal: Callable[[Exception], Refusal],
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        max_connections: int = 16384,
        hot: AtOnce = lambda *_: None,
        zero_copy: bool = True,
        answered: Callable[[Request], None] = lambda _: None,
        answered_at_once: Callable[[int], None] = lambda _: None,
        refused: Callable[[Connection, int], None] = lambda *_: None,
    ) -> None:
        self.resource = resource
        self.clock = clock
        self.refusal = refusal
        self.limits = limits or Limits()
        self.timeouts = timeouts or Timeouts()
        self.hot = hot
        self.zero_copy = zero_copy
        self.answered = answered
        self.answered_at_once = answered_at_once
        self.refused = refused
        self.familiar = FamiliarHeads(self.limits)
        self.turns = Turns(clock)
        self.pipes = Pipes()
        self.shares = Shares()
        self._max_connections = max_connections
        self._connections: set[Closable] = set()
        self._draining = False
        self._drained = Happening()  # there are no connections left, or they have had their time
        self._empty = Happening()  # there are no connections left

    def buildProtocol(self, addr: IAddress | None) -> Channel | Surplus | Refused:
        """Return a protocol for a new connection.

        Beyond ``max_connections`` it is told so; when too many wait to be told, it is closed at once.
        """
        surplus = len(self._connections) - self._max_connections
        if surplus < 0:
            return Channel(self)
        return Surplus(self) if surplus < SURPLUS else Refused()

    def acceptableProtocols(self) -> list[bytes]:
        """Return what TLS may negotiate by ALPN (RFC 7301).

        Without an answer to a client that offers something, the handshake fails.
        """
        return [b"http/1.1"]

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def opened(self, connection: Closable) -> None:
        """Note a new connection."""
        self._connections.add(connection)
        if self._draining:
            connection.shut()

    def closed(self, connection: Closable) -> None:
        """Note the end of a connection."""
        self._connections.discard(connection)
        self._look()

    async def drain(self, seconds: float) -> int:
        """End all connections: idle ones at once, others after their answer, all after ``seconds``.

        Call it when no new ones come.

        :returns: how many were broken off in the middle of a request.
        """
        self._draining = True
        for connection in list(self._connections):
            connection.shut()
        self._look()
        await self._drained.within(self.clock, seconds)
        broken = sum(connection.busy for connection in self._connections)
        self._abort()
        if not await self._empty.within(self.clock, _BREAKING):
            self._abort()  # now without any regard
            await self._empty.within(self.clock, _BREAKING)
        self.pipes.close()
        return broken

    def hurry(self) -> None:
        """Give connections no more time to drain, now or later."""
        self._drained.happen()

    def _abort(self) -> None:
        for connection in list(self._connections):
            connection.abort()

    def _look(self) -> None:
        if self._draining and not self._connections:
            self._drained.happen()
            self._empty.happen()
