"""One connection too many: it is told so and closed; one far too many is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from filedropd.errors import Unavailable
from filedropd.http.closing import Closing
from filedropd.http.output import Output

if TYPE_CHECKING:
    from filedropd.http.interfaces import Server


@implementer(IHalfCloseableProtocol)
class Surplus(Protocol):
    """Answers 503 without waiting for a request, and closes so that the client sees it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def connectionMade(self) -> None:
        """Answer."""
        transport, clock, stall = self.transport, self._server.clock, self._server.timeouts.stall
        self._output = Output(transport, clock, stall=stall, stalled=self.abort, ending=lambda: None)
        self._closing = Closing(clock, transport, self._output)
        self._server.opened(self)
        refusal = self._server.refusal(Unavailable("There are too many connections. Try again in a moment."))
        lines = [b"HTTP/1.1 %d %s" % (refusal.code, refusal.reason), b"Connection: close"]
        lines += [b"%s: %s" % (name, value) for name, values in refusal.headers.getAllRawHeaders() for value in values]
        self._output.write(b"\r\n".join([*lines, b"", refusal.body]))
        self._closing.begin(eof=False)

    def dataReceived(self, data: bytes) -> None:
        """Drop what the client asks: it is not read here."""
        self._closing.drop(len(data))

    def readConnectionLost(self) -> None:
        """Take the client's FIN."""
        self._closing.close()

    def writeConnectionLost(self) -> None:
        """Nothing: it was us who closed this side."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End."""
        self._closing.lost()
        self._output.lost()
        self._server.closed(self)

    busy = False

    def shut(self) -> None:
        """Nothing: it is closing already."""

    def abort(self) -> None:
        """Break the connection off (RST)."""
        self._closing.abort()


class Refused(Protocol):
    """Closes at once. (A factory that returns no protocol at all does not get along with TLS.)"""

    def connectionMade(self) -> None:
        """Break the connection off (RST)."""
        transport: Any = self.transport
        transport.abortConnection()
