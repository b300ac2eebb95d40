"""The answers of one connection of whose bytes more may be learnt, and how they are told of what happens on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from filedropd.http.output import Output
from filedropd.http.settling import Settling

if TYPE_CHECKING:
    from filedropd.http.request import Request


class Answers:
    """The one that is being given, and those before it that were settled by quiet alone.

    :param stall: seconds after which a client that acknowledges nothing is given up.
    :param abort: ends the connection then.
    """

    def __init__(self, clock: IReactorTime, output: Output, *, stall: float, abort: Callable[[], None]) -> None:
        self._clock = clock
        self._output = output
        self._stall = stall
        self._abort = abort
        self._current: Settling | None = None
        self._doubtful: list[Settling] = []
        self._head = 0
        self._fin_at_end = False

    # What the connection does.

    def head_begins(self) -> None:
        """Note that the head of an answer is about to be written."""
        self._head = self._output.acknowledgements.written

    def body_begins(self) -> Settling:
        """Watch what becomes of the body whose head was just written."""
        self._current = Settling(
            self._clock, self._output.acknowledgements, head=self._head, stall=self._stall, abort=self._abort
        )
        return self._current

    def over(self) -> None:
        """Note that the answer is over, and the connection goes on."""
        current, self._current = self._current, None
        if current is not None:
            self._doubtful.append(current)
        self._doubtful = [settling for settling in self._doubtful if settling.doubt > 0]

    def aborting(self) -> None:
        """Note that we are about to break the connection off."""
        for settling in self._all():
            settling.aborting()

    def closed_by_us(self) -> None:
        """Note that we close the connection in order."""
        for settling in self._all():
            settling.closed_by_us()

    # What the client does.

    def client_closed(self) -> None:
        """Note the client's FIN, while the socket is still open."""
        for settling in self._all():
            settling.client_closed()

    def client_asked(self) -> None:
        """Note the first byte of the client's next request."""
        if self._current is not None or self._doubtful:
            for settling in self._all():
                settling.client_asked()

    def ending(self) -> None:
        """Note that the connection is about to be lost, while the socket can still be asked."""
        self._fin_at_end = self._output.acknowledgements.fin_received()
        for settling in self._all():
            settling.ending(fin=self._output.secure and self._fin_at_end)

    def connection_lost(self, reason: Failure) -> None:
        """Note the end of the connection."""
        in_order = self._in_order(reason)
        for settling in self._all():
            settling.connection_lost(clean=in_order and self._output.secure, kept=in_order)

    # What is known.

    @property
    def settling(self) -> bool:
        """Whether a body is being sent whose fate somebody wants to know."""
        return self._current is not None

    @property
    def arrived(self) -> bool:
        """Whether the client has the whole of the answer that is being given."""
        return self._current is not None and self._current.arrived()

    @property
    def doubt(self) -> float:
        """Seconds for which more may be learnt of what was settled by quiet alone."""
        return max((settling.doubt for settling in self._all()), default=0.0)

    def _all(self) -> list[Settling]:
        return [*self._doubtful, self._current] if self._current is not None else self._doubtful[:]

    def _in_order(self, reason: Failure) -> bool:
        """Tell whether the connection was closed in order: by the client where that is told in no other way (TLS)."""
        if reason.check(ConnectionDone) is not None:
            return True
        # Many clients (all of Python's) send FIN without close_notify; Twisted calls that lost.
        return self._output.secure and reason.check(ConnectionLost) is not None and self._fin_at_end


def answer_head(code: bytes, reason: bytes, headers: Headers, *, last: bool, keep_alive: bool) -> bytes:
    """Return the head of an answer as it is written.

    :param last: it is the connection's last, and says so.
    :param keep_alive: if it is not, that is said to a client that would not expect it.
    """
    lines = [b"HTTP/1.1 ", code, b" ", reason, b"\r\n"]
    for name, values in headers.getAllRawHeaders():
        for value in values:
            lines += (name, b": ", value, b"\r\n")
    if last:
        lines.append(b"Connection: close\r\n")
    elif keep_alive:
        lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def ends_with_connection(request: Request | None, code: bytes, headers: Headers) -> bool:
    """Tell whether an answer's end can be told by the connection's end alone (RFC 9112 section 6.3)."""
    if request is None or request.method == b"HEAD" or code in {b"204", b"304"}:
        return False
    return not (headers.hasHeader(b"Content-Length") or headers.hasHeader(b"Transfer-Encoding"))
