"""A connection without sockets: a client's end in memory, and the server's, which behaves as Twisted's do.

    wire = Wire(HTTPFactory(resource, Clock(), refusal=refusal))
    wire.send(request("GET", "/"))
    [answer] = wire.responses()

Nothing happens by itself: each call of the client's goes on until neither side has anything left to
do, and time passes only by :meth:`Wire.advance`.  On a factory whose clock is the real reactor (for
an application that uses threads) the reactor does that instead: ``await wire.answers()``.
"""

# Half of twisted.internet has no annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock

from filedropd.http.server import HTTPFactory
from filedropd.testing.responses import Response, parse_responses
from filedropd.testing.transport import MemoryTransport

#: Where a wire's client and server are (RFC 5737: nowhere).
CLIENT: Final = IPv4Address("TCP", "192.0.2.1", 50_000)
SERVER: Final = IPv4Address("TCP", "192.0.2.2", 80)
#: Bytes that the server's kernel takes beyond what the client's machine has.
SEND_BUFFER: Final = 64 * 1024


def request(
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> bytes:
    """Return a request as it goes over the wire, with a Host, and a Content-Length where there is a body."""
    fields = {"Host": "localhost", **(headers or {})}
    if body is not None:
        fields.setdefault("Content-Length", str(len(body)))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + (body or b"")


class Wire:
    """A client's end of a connection to ``factory``.

    The client takes what comes as it comes, unless it is told to :meth:`stop_reading`; taken is what
    its *machine* has acknowledged.  A client that closes with :meth:`close` has read all that it
    took, one that resets has not: that is how the two differ in TCP.
    """

    def __init__(
        self,
        factory: HTTPFactory,
        *,
        client: IAddress = CLIENT,
        server: IAddress = SERVER,
        send_buffer: int = SEND_BUFFER,
    ) -> None:
        self._clock = factory.clock
        self._waiting: list[Deferred[None]] = []
        self._transport = MemoryTransport(factory.clock, client, server, send_buffer, self._tell)
        protocol = factory.buildProtocol(client)
        self._transport.protocol = protocol
        protocol.makeConnection(self._transport)
        self._transport.startReading()
        self.run()

    # -- what the client does ---------------------------------------------------------------------

    def send(self, *pieces: bytes) -> None:
        """Send ``pieces``, each of which is what one read of the server's returns, if it is not too large."""
        if self._transport.ended:
            self._transport.was_reset = True
        else:
            self._transport.input.extend(piece for piece in pieces if piece)
        self._go()

    def close(self) -> None:
        """Send FIN. What the server still sends is taken."""
        self._transport.fin = True
        self._go()

    def reset(self) -> None:
        """Send RST. What the server has not read yet is lost."""
        self._transport.rst = True
        self._transport.input.clear()
        self._go()

    def stop_reading(self) -> None:
        """Take nothing from here on."""
        self._transport.window = 0

    def take(self, octets: int) -> None:
        """Take so many bytes more, after :meth:`stop_reading`."""
        self._transport.window = (self._transport.window or 0) + octets
        self._transport.deliver()
        self._go()

    def read_on(self) -> None:
        """Take everything again."""
        self._transport.window = None
        self._transport.deliver()
        self._go()

    # -- time -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Let both sides do what they have to do now."""
        if isinstance(self._clock, Clock):
            self._clock.advance(0)

    def advance(self, seconds: float) -> None:
        """Let time pass; what is due meanwhile happens in its order and at its time."""
        clock = self._clock
        if not isinstance(clock, Clock):
            raise TypeError("The time of a real clock passes by itself.")
        ends = clock.seconds() + seconds
        while (due := min((call.getTime() for call in clock.getDelayedCalls()), default=ends)) < ends:
            clock.advance(max(0.0, due - clock.seconds()))
        clock.advance(ends - clock.seconds())

    def _go(self) -> None:
        self._transport.look()
        self.run()

    # -- what the client sees ---------------------------------------------------------------------

    @property
    def received(self) -> bytes:
        """All that the client has taken so far."""
        self.run()
        return bytes(self._transport.output[: self._transport.taken])

    def responses(self, *methods: str) -> list[Response]:
        """Return the answers so far, those of 1xx included, the last one possibly in part.

        :param methods: of the requests, where any was HEAD: its answer has no body, whatever it says.
        :raises ValueError: what came is not HTTP.
        """
        return parse_responses(self.received, methods, ended=self.half_closed)

    async def answers(self, count: int = 1, *methods: str) -> list[Response]:
        """Return ``count`` whole and final answers, or as many as came before the connection ended."""
        while True:
            final = [response for response in self.responses(*methods) if response.status >= 200 and response.complete]
            if len(final) >= count or self.closed:
                return final
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            await waiter

    @property
    def half_closed(self) -> bool:
        """Whether all has come that will ever come: the server sent FIN after it."""
        self.run()
        return self._transport.fin_sent and self._transport.taken == len(self._transport.output)

    @property
    def closed(self) -> bool:
        """Whether the server's side of the connection is gone altogether."""
        self.run()
        return self._transport.ended

    @property
    def was_reset(self) -> bool:
        """Whether the server sent RST: it aborted, closed with input unread, or was sent more after its close."""
        self.run()
        return self._transport.was_reset

    # -- what the client cannot see, but a test must ----------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether the server does not read."""
        self.run()
        return not self._transport.selector.reading

    @property
    def unread(self) -> int:
        """Bytes sent that the server has not read."""
        self.run()
        return sum(map(len, self._transport.input))

    @property
    def unsent(self) -> int:
        """Bytes that the server has written and its kernel has not taken."""
        self.run()
        return self._transport.buffered

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)
