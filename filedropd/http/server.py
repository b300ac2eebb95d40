"""The factory of connections: what they share, and how they all end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory, IReactorTime
from twisted.internet.protocol import Factory
from twisted.web.resource import IResource
from zope.interface import implementer

from filedropd.deferreds import sleep
from filedropd.http.channel import Channel
from filedropd.http.head import Limits
from filedropd.http.interfaces import Closable, Connection, Refusal, Timeouts
from filedropd.http.request import Request

_DRAIN_STEP: Final = 0.05


@implementer(IProtocolNegotiationFactory)
class HTTPFactory(Factory):
    """Serves ``resource`` to every connection.

    :param refusal: what to answer to an exception, the one table of which is not ours.
    :param answered: told of each request when its answer is over, however it ended.
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
        answered: Callable[[Request], None] = lambda _: None,
        refused: Callable[[Connection, int], None] = lambda *_: None,
    ) -> None:
        self.resource = resource
        self.clock = clock
        self.refusal = refusal
        self.limits = limits or Limits()
        self.timeouts = timeouts or Timeouts()
        self.answered = answered
        self.refused = refused
        self._connections: set[Closable] = set()

    def buildProtocol(self, addr: IAddress | None) -> Channel:
        """Return a protocol for a new connection."""
        return Channel(self)

    def acceptableProtocols(self) -> list[bytes]:
        """Return what TLS may negotiate by ALPN (RFC 7301).

        Without an answer to a client that offers something, the handshake fails.
        """
        return [b"http/1.1"]

    def opened(self, connection: Closable) -> None:
        """Note a new connection."""
        self._connections.add(connection)

    def closed(self, connection: Closable) -> None:
        """Note the end of a connection."""
        self._connections.discard(connection)

    async def drain(self, seconds: float) -> None:
        """End all connections: idle ones at once, others after their answer, all after ``seconds``.

        Call it when no new ones come.
        """
        for connection in list(self._connections):
            connection.shut()
        ends = self.clock.seconds() + seconds
        while self._connections and self.clock.seconds() < ends:
            await sleep(self.clock, _DRAIN_STEP)
        for connection in list(self._connections):
            connection.abort()
        while self._connections:
            await sleep(self.clock, 0)
