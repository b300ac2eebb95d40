"""One connection: requests in, answers out, in order.

A request is handed to the application **when its head is complete**; its body streams in behind
(:mod:`.body`).  What comes behind a message that is being answered is not looked at until the answer
is done.

:mod:`.input` is the reading side, :mod:`.output` the writing side, :mod:`.answers` what becomes of what was written,
:mod:`.closing` the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString
from twisted.web.http_headers import Headers
from zope.interface import implementer

from filedropd.errors import ClientGone, MalformedRequest, ProtocolError, RequestTimeout
from filedropd.http.answers import Answers, answer_head, ends_with_connection
from filedropd.http.arrival import Arrival
from filedropd.http.body import Body
from filedropd.http.closing import Closing
from filedropd.http.deadline import Deadline
from filedropd.http.framing import ChunkedFraming, LengthFraming
from filedropd.http.head import Head, HeadReader
from filedropd.http.input import Input
from filedropd.http.output import BUFFER, RESTING, Output
from filedropd.http.request import Request
from filedropd.http.sockets import plain_socket
from filedropd.http.splicing import LEAST, Splicing

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IProducer

    from filedropd.http.interfaces import Server
    from filedropd.http.settling import Settling

_CUT_SHORT: Final = "The body ended before the length that it declared."


@implementer(IHalfCloseableProtocol)
class Channel(Protocol):
    """The protocol. :class:`~filedropd.http.request.Request` calls it as ``twisted.web`` calls its own."""

    # twisted.web.server.Request looks for these.
    site = None
    _disconnected = False

    def __init__(self, server: Server) -> None:
        self.http = server
        self._clock = server.clock
        self._reader: HeadReader | None = None
        self._request: Request | None = None
        self._starting: Request | None = None
        self._arrival: Arrival | None = None  # of the body that is coming in
        self._deadline = Deadline(self._clock)
        self._last = False  # the answer that is being given is this connection's last
        self._shut = False  # likewise, because the server ends
        self._eof = False
        self._running = False

    # -- the connection ---------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Begin to wait for a request."""
        self._input = Input(self._transport, self._clock, self._take_turn)
        self._output = Output(
            self._transport,
            self._clock,
            stall=self.http.timeouts.stall,
            stalled=self._break_off,
            ending=self._about_to_end,
            resumed=self._input.hurry,
            shares=self.http.shares,
        )
        self._answers = Answers(self._clock, self._output, stall=self.http.timeouts.stall, abort=self._break_off)
        self._closing = Closing(self._clock, self._transport, self._output, closed=self._answers.closed_by_us)
        self.http.opened(self)
        self._deadline.set(self.http.timeouts.head, self._head_late)

    @property
    def _transport(self) -> Any:
        """The transport: TCP's, UNIX's, TLS's or memory's. Twisted has no interface for what they share."""
        return self.transport

    def dataReceived(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._between_requests():
            self._answers.client_asked()
            resting = self._request is None and self._reader is None and self._input.turn is None
            if resting and not self._output.paused:
                asked = self.http.familiar.recognise(data)
                if asked is not None and self._answered_at_once(*asked):
                    return
        if self._closing.begun:
            self._closing.drop(len(data))
        elif self._input.turn is not None or (self._request is not None and self._arrival is None):
            self._input.hold(data)
        else:
            self._run(data)

    def readConnectionLost(self) -> None:
        """Take the client's FIN. It may still be waiting for an answer."""
        self._eof = True
        if self._arrival is None:
            self._answers.client_closed()
        if self._input.turn is not None:
            return  # what came before it is still to be answered
        if self._closing.begun or self._request is None:
            self._closing.close()
        elif self._arrival is not None:
            self._break_body(MalformedRequest(_CUT_SHORT))

    def writeConnectionLost(self) -> None:
        """Nothing: it was us who closed this side."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell whoever is still at work here that there is nobody left."""
        self._disconnected = True
        self._input.lost()
        self._deadline.stop()
        self._closing.lost()
        request, self._request = self._request, None
        if request is not None:
            request.connectionLost(reason)
            request.body.fail(ClientGone())
            request.body.wake()
        self._answers.connection_lost(reason)
        self._output.lost()
        self.http.closed(self)

    _cut = False

    @property
    def busy(self) -> bool:
        """Whether a request is being answered whose client does not have the whole answer yet."""
        return self._request is not None and not self._answers.arrived

    def abort(self) -> None:
        """Break the connection off (RST): the client must not take what it has for the whole.

        A client that has the whole has its copy, and keeps it: then the connection ends in order.  A
        second call breaks it off all the same.
        """
        if not self._cut and self._answers.arrived:
            self._cut = True
            self._answers.client_closed()
            self._closing.close()
        else:
            self._answers.aborting()
            self._break_off()

    def _break_off(self) -> None:
        self._closing.abort()

    def _about_to_end(self) -> None:
        self._answers.ending()

    def shut(self) -> None:
        """Take no further request: close when the one that is being answered is done, or at once."""
        self._last = self._shut = True
        if self._request is None and (not self._closing.begun or self._answers.doubt):
            self._input.end_turn()
            self._closing.close()

    def _between_requests(self) -> bool:
        """Tell whether what comes now begins a request, and nothing of one was there before."""
        midway = self._arrival is not None or (self._reader is not None and self._reader.started)
        return not (midway or self._input.held or self._closing.begun)

    # -- requests in ------------------------------------------------------------------------------

    def _run(self, data: bytes) -> None:
        """Read one message from ``data``; what lies behind it waits for its answer, and for the others' turn.

        A client that does not read its answers gets no more of them until it does.
        """
        if self._output.paused and self._request is None and self._reader is None:
            self._input.put_back(data)
            self._input.take_turn(self.http.timeouts.stall)
            self._deadline.clear()  # it is the output that knows when to give it up
            return
        self._running = True
        try:
            self._input.put_back(self._consume(data))
            if self._eof and self._arrival is not None:
                self._break_body(MalformedRequest(_CUT_SHORT))
            self._tell_request()
        finally:
            self._running = False
        if self._closing.begun:
            return
        if self._request is None and self._input.held:
            self._input.take_turn()
        elif self._request is None and self._eof:
            self._closing.close()

    def _take_turn(self) -> None:
        """Go on behind a request that was answered at once, or when the client has read the answers to those before."""
        if not self._closing.begun:
            self._run(self._input.take())

    def _tell_request(self) -> None:
        """Give a request that has just begun to the application, and what came of a body to its reader."""
        request, self._starting = self._starting, None
        if request is not None:
            request.process()
        if self._request is not None:
            self._request.body.wake()

    def _consume(self, data: bytes) -> bytes:
        """Read to the end of the current message; returns what lies behind it."""
        try:
            if self._request is None:
                data = self._read_head(data)
            if self._arrival is not None:
                data = self._read_body(self._arrival, data)
        except ProtocolError as error:
            self._refuse(error)
            return b""
        return data

    def _read_head(self, data: bytes) -> bytes:
        fresh = self._reader is None
        if self._reader is None:
            familiar = self.http.familiar.read(data)
            if familiar is not None:
                self._begin(familiar)
                return b""
            self._reader = HeadReader(self.http.limits)
            self._deadline.set(self.http.timeouts.head, self._head_late)
        found = self._reader.feed(data)
        if found is None:
            return b""
        self._reader = None
        head, rest = found
        if fresh and not rest:
            self.http.familiar.note(data, head)
        self._begin(head)
        return rest

    def _begin(self, head: Head) -> None:
        if head.length == 0 and self._answered_at_once(head.method, head.target, head):
            return
        framing = ChunkedFraming() if head.length is None else LengthFraming(head.length)
        body = Body(
            head.length,
            pause=self._input.pause,
            resume=self._input.resume,
            invite=self._invite if head.expects_continue and head.length != 0 else None,
            splicing=self._splicing(framing) if isinstance(framing, LengthFraming) else None,
        )
        if head.length == 0:
            body.end()
            self._deadline.clear()
        else:
            self._arrival = Arrival(
                body,
                framing,
                output=self._output,
                deadline=self._deadline,
                stall=self.http.timeouts.stall,
                excused=lambda: self._input.paused,
                late=self._body_late,
            )
            self._arrival.watch()
        self._last = self._last or not head.persistent
        self._request = self._starting = Request(self, head, body)

    def _answered_at_once(self, method: bytes, target: bytes, head: Head) -> bool:
        """Answer what is hot; tells whether it was."""
        if not head.persistent or head.version != b"HTTP/1.1" or self._last or self._eof:
            return False
        http = self.http
        prepared = http.hot(method, target, head)
        if prepared is None:
            return False
        self._output.write_now(prepared.head if method == b"HEAD" else prepared.whole)
        self._deadline.set(http.timeouts.idle, self._head_late)
        http.answered_at_once(prepared.code)
        return True

    def _read_body(self, arrival: Arrival, data: bytes) -> bytes:
        rest = arrival.feed(data)
        if rest is None:
            return b""
        self._arrival = None
        return rest

    def _splicing(self, framing: LengthFraming) -> Splicing | None:
        """Return the way past Python for a body, where there may be one."""
        if framing.remaining < LEAST or not self.http.zero_copy:
            return None
        handle = plain_socket(self._transport)
        if handle is None:
            return None
        return Splicing(
            self._transport,
            handle,
            self.http.pipes,
            self._clock,
            remaining=lambda: framing.remaining,
            moved=lambda octets: self._spliced(framing, octets),
            pause=self._input.pause,
            resume=self._input.resume,
        )

    def _spliced(self, framing: LengthFraming, octets: int) -> None:
        """Take note of bytes of the body that went that way."""
        if self._arrival is not None and self._arrival.spliced(framing, octets):
            self._arrival = None
        self._tell_request()

    def _invite(self) -> None:
        request = self._request
        if request is not None and not request.startedWriting:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if self._arrival is not None:
                self._arrival.watch()

    def _refuse(self, error: ProtocolError) -> None:
        """Answer what is not a request, or break off the body of one that is being answered."""
        if self._request is not None and self._starting is None:
            self._break_body(error)
            return
        self._request = self._starting = self._arrival = self._reader = None
        self._last = True
        refusal = self.http.refusal(error)
        refusal.headers.setRawHeaders(b"Date", [datetimeToString()])
        self.http.refused(self, refusal.code)
        self.writeHeaders(b"HTTP/1.1", b"%d" % refusal.code, refusal.reason, refusal.headers)
        self.write(refusal.body)
        self._finish()

    def _break_body(self, error: ProtocolError) -> None:
        """End a body that cannot be trusted any more; its request is still answered, as the last."""
        self._last = True
        if self._arrival is not None:
            self._arrival.spoil(error)
        if self._request is not None and not self._running:
            self._request.body.wake()

    # -- deadlines --------------------------------------------------------------------------------

    def _head_late(self) -> None:
        reader = self._reader
        self.http.turns.add(lambda: self._give_up(reader))

    def _give_up(self, reader: HeadReader | None) -> None:
        """End the wait for a head, or for a next request, unless it came meanwhile."""
        if self._disconnected or self._closing.begun or self._request is not None or self._reader is not reader:
            return
        if reader is not None and reader.started:
            self._refuse(RequestTimeout())
        elif self._answers.doubt:
            self._finish()
        else:
            self._closing.close()

    def _body_late(self) -> None:
        self._break_body(RequestTimeout())

    # -- answers out, as twisted.web.http.Request calls it ----------------------------------------

    def getPeer(self) -> IAddress:
        """Return the client's address."""
        address: IAddress = self._transport.getPeer()
        return address

    def getHost(self) -> IAddress:
        """Return the address that the client connected to."""
        address: IAddress = self._transport.getHost()
        return address

    def isSecure(self) -> bool:
        """Tell whether the connection is under TLS."""
        return self._output.secure

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Write an answer's head. Says so where it is the connection's last."""
        request = self._request
        if request is not None and not (request.body.taken if code >= b"400" else request.body.complete):
            # RFC 9112 section 9.3: without the rest of the body the connection is out of step.  Where a
            # body is refused, that it may have come already, in the same read, makes no difference.
            self._last = True
        no_more = self._eof and not self._input.held
        self._last = self._last or no_more or ends_with_connection(request, code, headers)
        self._answers.head_begins()
        keep_alive = version == b"HTTP/1.0" and request is not None
        self.write(answer_head(code, reason, headers, last=self._last, keep_alive=keep_alive))

    def write(self, data: bytes) -> None:
        """Write bytes of an answer."""
        self._output.write(data)

    def writeSequence(self, pieces: list[bytes]) -> None:
        """Write bytes of an answer."""
        self.write(b"".join(pieces))

    def settling(self) -> Settling:
        """Watch what becomes of the body whose head was just written."""
        self._output.read_at_once(BUFFER)  # and hold as much to be written
        return self._answers.body_begins()

    @property
    def takes_files(self) -> bool:
        """Whether :meth:`send_file` can be used: the kernel can do that here, and is to."""
        return self.http.zero_copy and self._output.takes_files

    async def send_file(self, file: int, first: int, length: int, sent: Callable[[int], None]) -> None:
        """See :meth:`Output.send_file`."""
        await self._output.send_file(file, first, length, sent)

    async def writable(self) -> None:
        """See :meth:`Output.writable`."""
        await self._output.writable()

    async def flushed(self) -> None:
        """See :meth:`Output.flushed`."""
        await self._output.flushed()

    def requestDone(self, request: Request) -> None:
        """Go on to the next request, or close."""
        self._answers.over()
        self._request = None
        self._arrival = None
        self._output.read_at_once(RESTING)
        request.body.discard()
        if self._last or (self._eof and not self._input.held):
            self._finish()
            return
        self._deadline.set(self.http.timeouts.idle, self._head_late)
        if not self._input.held:
            self._output.hand_over()
        elif not self._running:
            self._run(self._input.take())

    def loseConnection(self) -> None:
        """Close when what was written has gone out."""
        self._finish()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let ``producer`` write the body, as IConsumer has it."""
        self._output.lend(producer, streaming=streaming)

    def unregisterProducer(self) -> None:
        """End what :meth:`registerProducer` began."""
        self._output.take_back()

    def _finish(self) -> None:
        self._input.drop()
        self._deadline.clear()
        self._closing.begin(eof=self._eof, patience=0.0 if self._shut else self._answers.doubt)
