"""One connection: what goes in, what comes out, in which order, and how it ends."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource

from filedropd.deferreds import shielded
from filedropd.errors import ClientGone, ProtocolError
from filedropd.http.body import HIGH_WATER
from filedropd.http.closing import LINGER_BYTES, LINGER_SECONDS
from filedropd.http.input import PIPELINED
from filedropd.http.interfaces import Timeouts
from filedropd.http.output import BUFFER
from filedropd.testing import Wire, parse_responses, request
from filedropd.testing.wire import CLIENT
from tests.wired import Held, Service, answer, echoed, measured, split


def statuses(wire: Wire, *methods: str) -> list[int]:
    """The status codes of the whole answers so far."""
    return [response.status for response in wire.responses(*methods) if response.complete]


def bodies(wire: Wire) -> list[bytes]:
    return [response.body for response in wire.responses() if response.complete]


def put(length: int, headers: dict[str, str] | None = None) -> bytes:
    """The head of an upload."""
    return request("PUT", "/", {"Content-Length": str(length), **(headers or {})})


class RequestTests(SynchronousTestCase):
    """From the wire to Klein."""

    def test_before_the_body(self):
        """A request reaches Klein when its head is complete, before a byte of its body has come."""
        service = Service(Held())
        service.wire().send(put(1000))
        self.assertEqual([b"PUT /"], service.seen)

    def test_not_before_the_head(self):
        """A request does not reach Klein before its head is complete."""
        service = Service(Held())
        wire = service.wire()
        wire.send(put(1000)[:-1])
        self.assertEqual([], service.seen)

    def test_streams(self):
        """A reader gets the bytes of a body as they come."""
        pieces = []

        async def handler(request):
            async for piece in request.body:
                pieces.append(piece)  # noqa: PERF401 - what is there while it runs is the point

        wire = Service(handler).wire()
        wire.send(put(6))
        wire.send(b"abc")
        self.assertEqual([b"abc"], pieces)
        wire.send(b"def")
        self.assertEqual([b"abc", b"def"], pieces)

    def test_what_klein_sees(self):
        """Path, query, fields and addresses are as twisted.web has them."""
        held = Held()
        Service(held).wire().send(request("GET", "/a%20b/c?x=1&x=2&y=", {"X-A": "b"}))
        [seen] = held.requests
        self.assertEqual(
            (b"/a%20b/c", {b"x": [b"1", b"2"], b"y": [b""]}, "b", b"localhost", CLIENT),
            (seen.path, seen.args, seen.getHeader("x-a"), seen.getRequestHostname(), seen.peer),
        )

    def test_body_of_none(self):
        """A request without a body has one that ends at once."""
        wire = Service(measured).wire()
        wire.send(request("GET", "/"))
        self.assertEqual([b"0"], bodies(wire))

    @settings(deadline=None)
    @given(st.lists(st.integers(1, 60), max_size=30), st.booleans())
    def test_any_split(self, sizes, chunked):
        """However the bytes of several requests come, the answers are those to the whole."""
        body = bytes(range(256)) * 2
        if chunked:
            data = b"PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            data += b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in split(body, 100)) + b"0\r\n\r\n"
        else:
            data = request("PUT", "/a", body=body)
        data += request("GET", "/b") + request("PUT", "/c", body=b"xyz")
        pieces = []
        for size in sizes:
            pieces.append(data[:size])
            data = data[size:]
        wire = Service(echoed).wire()
        wire.send(*pieces, *split(data, 100))
        self.assertEqual([body, b"", b"xyz"], bodies(wire))

    def test_byte_by_byte(self):
        """A chunked body that comes byte by byte is the one that comes at once."""
        data = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x\r\nabc\r\n0\r\n\r\n"
        wire = Service(echoed).wire()
        wire.send(*split(data, 1))
        self.assertEqual([b"helloabc"], bodies(wire))


class BackPressureTests(SynchronousTestCase):
    """How much is held for a slow side."""

    def test_slow_reader_of_a_body(self):
        """When nobody reads a body, the connection is not read beyond the high-water mark."""
        held = Held()
        wire = Service(held).wire()
        wire.send(put(10 * HIGH_WATER), *split(b"x" * (10 * HIGH_WATER), 65_536))
        [seen] = held.requests
        self.assertTrue(wire.paused)
        self.assertLessEqual(seen.body.received, HIGH_WATER + BUFFER)

    def test_reading_goes_on(self):
        """When the body is read, the connection is, and nothing is lost."""
        gate: Deferred[None] = Deferred()

        async def handler(request):
            await gate
            await measured(request)

        wire = Service(handler).wire()
        wire.send(put(10 * HIGH_WATER), *split(b"x" * (10 * HIGH_WATER), 65_536))
        gate.callback(None)
        self.assertEqual([b"%d" % (10 * HIGH_WATER)], bodies(wire))
        self.assertFalse(wire.paused)

    def test_slow_client(self):
        """When the client takes nothing, a sender is stopped after a buffer; when it does, it goes on."""
        sent = []

        async def handler(request):
            request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % (40 * 65_536)])
            for _ in range(40):
                await request.send(b"x" * 65_536)
                sent.append(65_536)
            request.finish()

        wire = Service(handler).wire()
        wire.stop_reading()
        wire.send(request("GET", "/"))
        self.assertLess(sum(sent), BUFFER + 3 * 65_536)
        wire.take(1_000_000)
        self.assertLess(sum(sent), 1_000_000 + BUFFER + 3 * 65_536)
        wire.read_on()
        self.assertEqual([200], statuses(wire))

    def test_pipelined_requests_are_bounded(self):
        """Reading stops when enough requests wait behind the one that is being answered."""
        service = Service(Held())
        wire = service.wire()
        wire.send(*[request("GET", "/") * 100] * 100)
        self.assertTrue(wire.paused)
        self.assertGreater(wire.unread, 100 * 100 * len(request("GET", "/")) - PIPELINED - BUFFER)
        self.assertEqual(1, len(service.seen))

    def test_pipelined_requests_go_on(self):
        """Those that waited, read or not, are all answered."""
        held = Held()
        service = Service(held)
        wire = service.wire()
        wire.send(*[request("GET", "/") * 100] * 50)
        while held.waiting:
            held.let_go()
            wire.run()
        self.assertEqual(([200] * 5000, False), (statuses(wire), wire.paused))


class ContinueTests(SynchronousTestCase):
    """100 Continue (RFC 9110 section 10.1.1)."""

    expecting = put(5, {"Expect": "100-continue"})

    def test_when_read(self):
        """The client is told to go on when somebody reads."""
        wire = Service(echoed).wire()
        wire.send(self.expecting)
        self.assertEqual([100], statuses(wire))
        wire.send(b"hello")
        self.assertEqual([b"", b"hello"], bodies(wire))

    def test_not_before(self):
        """The client is not told to go on while nobody reads."""
        wire = Service(Held()).wire()
        wire.send(self.expecting)
        self.assertEqual(b"", wire.received)

    def test_early_answer(self):
        """A request that is answered without its body gets the answer alone, and the connection ends."""
        wire = Service(lambda request: answer(request, b"no")).wire()
        wire.send(self.expecting)
        self.assertEqual(([200], True), (statuses(wire), wire.half_closed))

    def test_not_after_an_answer(self):
        """A handler that answers first and reads then does not invite."""

        async def handler(request):
            request.write(b"no")
            await request.body.read()

        wire = Service(handler).wire()
        wire.send(self.expecting)
        self.assertNotIn(b"100 Continue", wire.received)

    def test_impatient_client(self):
        """A client that sends its body without waiting is not told to go on."""
        wire = Service(echoed).wire()
        wire.send(self.expecting + b"hello")
        self.assertEqual([b"hello"], bodies(wire))

    def test_old_client(self):
        """An HTTP/1.0 client is never told to go on."""
        wire = Service(echoed).wire()
        wire.send(self.expecting.replace(b"HTTP/1.1", b"HTTP/1.0"))
        self.assertEqual(b"", wire.received)
        wire.send(b"hello")
        self.assertEqual([b"hello"], bodies(wire))

    def test_no_body(self):
        """A client that announces no body is not told to send it."""
        wire = Service(echoed).wire()
        wire.send(put(0, {"Expect": "100-continue"}))
        self.assertEqual([200], statuses(wire))


class AnswerTests(SynchronousTestCase):
    """From the application to the wire."""

    def test_keeps_alive(self):
        """A connection carries one request after the other."""
        wire = Service(measured).wire()
        for _ in range(3):
            wire.send(request("GET", "/"))
        self.assertEqual(([200] * 3, False), (statuses(wire), wire.half_closed))

    def test_pipelining(self):
        """A hundred pipelined requests are answered in their order."""

        async def handler(request):
            answer(request, request.path)

        wire = Service(handler).wire()
        wire.send(b"".join(request("GET", f"/{number}") for number in range(100)))
        self.assertEqual([b"/%d" % number for number in range(100)], bodies(wire))

    def test_one_at_a_time(self):
        """A pipelined request waits until the one before it is answered."""
        held = Held()
        service = Service(held)
        wire = service.wire()
        wire.send(request("GET", "/a") + request("GET", "/b"))
        self.assertEqual([b"GET /a"], service.seen)
        held.let_go(b"first")
        self.assertEqual([b"GET /a", b"GET /b"], service.seen)
        held.let_go(b"second")
        self.assertEqual([b"first", b"second"], bodies(wire))

    def test_pipelined_bodies(self):
        """Uploads can be pipelined, too."""
        wire = Service(echoed).wire()
        wire.send(request("PUT", "/", body=b"first") + request("PUT", "/", body=b"second"))
        self.assertEqual([b"first", b"second"], bodies(wire))

    def test_unknown_length(self):
        """An answer without a length is sent in chunks."""

        async def handler(request):
            request.write(b"abc")
            request.write(b"def")
            request.finish()

        wire = Service(handler).wire()
        wire.send(request("GET", "/"))
        [response] = wire.responses()
        self.assertEqual(("chunked", b"abcdef"), (response.header("Transfer-Encoding"), response.body))

    def test_head(self):
        """An answer to HEAD has the fields of the one to GET, and no body, and the connection stays in step."""
        service = Service(lambda request: answer(request, b"hello"))
        wire = service.wire()
        wire.send(request("HEAD", "/") + request("GET", "/"))
        first, second = wire.responses("HEAD", "GET")
        self.assertEqual(("5", b"", b"hello"), (first.header("Content-Length"), first.body, second.body))

    def test_no_body(self):
        """204 and 304 have no body, whatever the application writes, and the connection stays in step."""
        for code in (204, 304):

            def handler(request, code=code):
                request.setResponseCode(code)
                return b"nothing of this"

            wire = Service(handler).wire()
            wire.send(request("GET", "/") * 2)
            self.assertEqual(([code] * 2, False), (statuses(wire), wire.half_closed))
            self.assertNotIn(b"nothing", wire.received)

    def test_old_client(self):
        """HTTP/1.0 gets no chunks: the end of the connection ends the answer."""
        wire = Service(lambda _: b"hello").wire()
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        [response] = wire.responses()
        self.assertEqual(
            (b"hello", None, True), (response.body, response.header("Transfer-Encoding"), response.complete)
        )

    def test_old_client_that_stays(self):
        """An HTTP/1.0 client that asks for it keeps its connection, if the answer has a length."""
        wire = Service(measured).wire()
        for _ in range(2):
            wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.assertEqual(["keep-alive"] * 2, [response.header("Connection") for response in wire.responses()])

    def test_raises(self):
        """A handler that raises before it answers is answered for, and the connection goes on."""

        async def handler(request):
            if request.path == b"/bad":
                raise ProtocolError("no")
            answer(request, b"yes")

        service = Service(handler)
        wire = service.wire()
        wire.send(request("GET", "/bad"), request("GET", "/good"))
        self.assertEqual([500, 200], statuses(wire))
        self.assertEqual(1, len(self.flushLoggedErrors(ProtocolError)))

    def test_raises_half_way(self):
        """After an exception behind the first byte the connection is aborted, and nothing is appended."""

        async def handler(request):
            request.responseHeaders.setRawHeaders(b"Content-Length", [b"100"])
            request.write(b"half")
            raise ValueError("no")

        service = Service(handler)
        wire = service.wire()
        wire.send(request("GET", "/") * 2)
        self.assertTrue(wire.was_reset)
        self.assertNotIn(b"error", wire.received)
        self.assertEqual((1, [200]), (len(service.seen), service.answered))

    def test_raises_later_half_way(self):
        """The same in a later turn."""
        held = Held()
        wire = Service(held).wire()
        wire.send(request("GET", "/"))
        held.requests[0].write(b"half")
        held.let_go(ValueError("no"))
        self.assertEqual((True, []), (wire.was_reset, statuses(wire)))

    def test_abort(self):
        """An answer that is broken off ends in RST: nobody takes it for whole."""
        held = Held()
        wire = Service(held).wire()
        wire.send(request("GET", "/"))
        held.requests[0].write(b"half")
        held.requests[0].abort()
        self.assertTrue(wire.was_reset)

    def test_app_that_raises_at_once(self):
        """A resource that raises instead of rendering is answered for."""
        service = Service(measured)

        class Broken(Resource):
            isLeaf = True

            def render(self, request):
                raise ProtocolError("no")

        service.factory.resource = Broken()
        wire = service.wire()
        wire.send(request("GET", "/"))
        self.assertEqual([500], statuses(wire))
        self.assertEqual(1, len(self.flushLoggedErrors(ProtocolError)))

    def test_producer(self):
        """A resource of twisted.web that writes by a producer works as it does there."""

        class Producer:
            def __init__(self, request):
                self.request, self.left = request, 50

            def resumeProducing(self):
                self.left -= 1
                self.request.write(b"x" * 10_000)
                if not self.left:
                    self.request.unregisterProducer()
                    self.request.finish()

            def stopProducing(self):
                pass

        def handler(request):
            request.registerProducer(Producer(request), False)
            return Deferred()

        wire = Service(handler).wire()
        wire.send(request("GET", "/"))
        wire.send(request("GET", "/"))
        self.assertEqual([b"x" * 500_000] * 2, bodies(wire))


class ClosingTests(SynchronousTestCase):
    """Who closes, when, and how."""

    def test_asked_to(self):
        """A client that says close gets its answer, our FIN, and nothing it sends behind is looked at."""
        service = Service(measured)
        wire = service.wire()
        wire.send(request("GET", "/", {"Connection": "close"}) + b"\x00garbage" + request("GET", "/b"))
        wire.send(b"\x00more garbage")
        [response] = wire.responses()
        self.assertEqual(("close", True, 1), (response.header("Connection"), wire.half_closed, len(service.seen)))

    def test_early_answer(self):
        """An answer before the end of the body says close and half-closes; the connection itself stays for a while."""
        wire = Service(lambda request: answer(request, b"no")).wire()
        wire.send(put(1_000_000), b"x" * 1000)
        [response] = wire.responses()
        self.assertEqual(("close", True, False), (response.header("Connection"), wire.half_closed, wire.closed))

    def test_lingers(self):
        """What a client still sends behind an early answer is read and dropped, so that no RST destroys the answer."""
        service = Service(lambda request: answer(request, b"no"))
        wire = service.wire()
        wire.send(put(4_000_000), *split(b"x" * 4_000_000, 65_536))
        self.assertEqual((0, False), (wire.unread, wire.closed))
        wire.close()
        self.assertEqual((True, False, 1), (wire.closed, wire.was_reset, len(service.seen)))

    def test_lingers_until_quiet(self):
        """A client that goes quiet behind its last answer is closed on after a second."""
        wire = Service(measured).wire()
        wire.send(request("GET", "/", {"Connection": "close"}))
        wire.advance(0.9)
        self.assertFalse(wire.closed)
        wire.advance(0.2)
        self.assertEqual((True, False), (wire.closed, wire.was_reset))

    def test_lingers_no_longer(self):
        """A client that sends on and on behind its last answer is cut off after ten seconds."""
        wire = Service(lambda request: answer(request, b"no")).wire()
        wire.send(put(10**9))
        for _ in range(int(LINGER_SECONDS * 2) - 1):
            wire.advance(0.5)
            wire.send(b"x" * 1000)
        self.assertFalse(wire.closed)
        wire.advance(0.5)
        wire.send(b"x" * 1000)
        self.assertTrue(wire.was_reset)

    def test_lingers_for_no_more(self):
        """A client that sends too much behind its last answer is cut off."""
        wire = Service(lambda request: answer(request, b"no")).wire()
        wire.send(put(10**9))
        piece = b"x" * BUFFER
        wire.send(*[piece] * (LINGER_BYTES // BUFFER - 1))
        self.assertFalse(wire.closed)
        wire.send(piece)
        self.assertTrue(wire.was_reset)

    def test_unread_body(self):
        """Lingering begins where a body was paused for want of a reader."""
        held = Held()
        wire = Service(held).wire()
        wire.send(put(10**7), *split(b"x" * 10**6, 65_536))
        paused = wire.paused
        held.let_go()
        self.assertEqual((True, 0, [200]), (paused, wire.unread, statuses(wire)))

    def test_slow_reader_gets_the_end(self):
        """A client that has not taken the last answer when the connection ends still gets all of it."""
        wire = Service(lambda request: answer(request, b"x" * 200_000)).wire()
        wire.stop_reading()
        wire.send(request("GET", "/", {"Connection": "close"}))
        wire.advance(5)
        wire.read_on()
        self.assertEqual(([200], True, False), (statuses(wire), wire.closed, wire.was_reset))

    def test_large_last_answer(self):
        """A last answer that is more than the transport buffers is followed by our FIN like any other."""
        wire = Service(lambda request: answer(request, b"x" * 4 * BUFFER)).wire()
        wire.stop_reading()
        wire.send(request("GET", "/", {"Connection": "close"}))
        wire.read_on()
        self.assertEqual(([200], True, False), (statuses(wire), wire.half_closed, wire.closed))

    def test_half_closed_client(self):
        """A client that half-closes behind its request is answered, and then closed on."""
        held = Held()
        wire = Service(held).wire()
        wire.send(request("GET", "/"))
        wire.close()
        self.assertFalse(wire.closed)
        held.let_go(b"late")
        self.assertEqual(([b"late"], True, False), (bodies(wire), wire.closed, wire.was_reset))

    def test_half_closed_client_that_pipelined(self):
        """All that was asked before the FIN is answered; only the last answer says close."""
        held = Held()
        wire = Service(held).wire()
        wire.send(request("GET", "/") * 3)
        wire.close()
        for _ in range(3):
            held.let_go()
        self.assertEqual([None, None, "close"], [response.header("Connection") for response in wire.responses()])
        self.assertEqual((True, False), (wire.closed, wire.was_reset))

    def test_half_closed_client_that_stopped_half_way(self):
        """Half a request behind the last whole one is not waited for."""
        held = Held()
        service = Service(held)
        wire = service.wire()
        wire.send(request("GET", "/") + b"GET /half")
        wire.close()
        held.let_go()
        self.assertEqual(([200], True, 1), (statuses(wire), wire.closed, len(service.seen)))

    def test_half_closed_client_with_half_a_body(self):
        """A pipelined upload that was cut short is refused by whoever reads it."""
        held = Held()

        async def handler(request):
            if request.method == b"GET":
                return await held(request)
            return await measured(request)

        wire = Service(handler).wire()
        wire.send(request("GET", "/") + put(100) + b"x" * 50)
        wire.close()
        held.let_go()
        self.assertEqual(([200, 400], True), (statuses(wire), wire.closed))

    def test_idle_client_leaves(self):
        """A client that closes between requests is closed on."""
        wire = Service(measured).wire()
        wire.send(request("GET", "/"))
        wire.close()
        self.assertEqual((True, False), (wire.closed, wire.was_reset))


class LeavingTests(SynchronousTestCase):
    """Clients that leave."""

    def test_handler_is_cancelled(self):
        """When the client leaves, Klein cancels the handler that waits."""
        held = Held()
        wire = Service(held).wire()
        wire.send(request("GET", "/"))
        wire.reset()
        self.assertEqual(1, held.cancelled)

    def test_read_fails(self):
        """A read that nobody may cancel fails with ClientGone."""
        raised: list[BaseException] = []

        async def reading(body):
            try:
                await body.read()
            except ClientGone as error:
                raised.append(error)

        wire = Service(lambda request: shielded(reading(request.body))).wire()
        wire.send(put(5), b"")
        wire.reset()
        self.assertEqual([ClientGone], [type(error) for error in raised])

    def test_cancelled_read(self):
        """A read in Klein's own handler ends with the handler."""
        raised: list[BaseException] = []

        async def handler(request):
            try:
                await request.body.read()
            except (ClientGone, CancelledError) as error:
                raised.append(error)
                raise

        wire = Service(handler).wire()
        wire.send(put(5))
        wire.reset()
        self.assertEqual(1, len(raised))

    def test_send_fails(self):
        """A send to a client that has left fails with ClientGone, at once or while it waits."""
        raised: list[BaseException] = []

        async def sending(request):
            try:
                while True:
                    await request.send(b"x" * 65_536)
            except ClientGone as error:
                raised.append(error)
            try:
                await request.send(b"x")
            except ClientGone as error:
                raised.append(error)

        wire = Service(lambda request: shielded(sending(request))).wire()
        wire.stop_reading()
        wire.send(request("GET", "/"))
        wire.reset()
        self.assertEqual(2, len(raised))

    def test_answer_to_nobody(self):
        """An answer to a client that has left does nothing."""
        requests: list[Any] = []
        service = Service(lambda request: shielded(self.forgetful(request, requests)))
        wire = service.wire()
        wire.send(request("GET", "/"))
        wire.reset()
        answer(requests[0], b"late")
        self.assertEqual((b"", [200]), (wire.received, service.answered))

    async def forgetful(self, request: Any, requests: list[Any]) -> None:
        requests.append(request)
        await Deferred()

    def test_notify_finish(self):
        """notifyFinish fires when the answer is given, and fails when the client leaves first."""
        for leave in (False, True):
            held = Held()
            wire = Service(held).wire()
            wire.send(request("GET", "/"))
            finished = held.requests[0].notifyFinish()
            self.assertNoResult(finished)
            if leave:
                wire.reset()
                self.failureResultOf(finished)
            else:
                held.let_go()
                self.assertIsNone(self.successResultOf(finished))


class AnsweredTests(SynchronousTestCase):
    """Each request is reported once, however it ends."""

    def ended(self, end: Any, handler: Any = None) -> list[int]:
        """Send one request, let ``end`` end it, and the client leave; return what was reported."""
        held = Held()
        service = Service(handler or held)
        wire = service.wire()
        wire.send(request("GET", "/"))
        end(wire, held)
        wire.close()
        wire.advance(100)
        if not wire.closed:
            raise AssertionError("The connection must be closed by now.")
        return service.answered

    def test_answered(self):
        """An answer."""
        self.assertEqual([200], self.ended(lambda _, held: held.let_go()))

    def test_at_once(self):
        """An answer in the handler itself."""
        self.assertEqual([200], self.ended(lambda *_: None, lambda request: answer(request, b"")))

    def test_raised(self):
        """An exception."""
        self.assertEqual([500], self.ended(lambda _, held: held.let_go(ValueError("no"))))
        self.flushLoggedErrors(ValueError)

    def test_reset(self):
        """A client that leaves."""
        self.assertEqual([200], self.ended(lambda wire, _: wire.reset()))

    def test_aborted(self):
        """An answer that is broken off, and then finished."""

        def end(_, held):
            held.requests[0].write(b"half")
            held.requests[0].abort()
            held.let_go()

        self.assertEqual([200], self.ended(end))

    def test_finished_twice(self):
        """An answer that is finished twice."""

        def end(_, held):
            answer(held.requests[0], b"")
            held.let_go(None)

        self.assertEqual([200], self.ended(end))


class DeadlineTests(SynchronousTestCase):
    """Everything that may take long has a limit."""

    def test_no_request(self):
        """A connection on which nothing is asked is closed, without an answer to nothing."""
        wire = Service(measured).wire()
        wire.advance(9.9)
        self.assertFalse(wire.closed)
        wire.advance(0.2)
        self.assertEqual((True, b""), (wire.closed, wire.received))

    def test_slow_head(self):
        """Row 84: a head that drips in is refused with 408 ten seconds after its first byte."""
        wire = Service(measured).wire()
        data = iter(split(request("GET", "/"), 1))
        wire.send(next(data))
        for _ in range(9):
            wire.advance(1)
            wire.send(next(data))
        self.assertEqual([], statuses(wire))
        wire.advance(1)
        self.assertEqual(([408], True), (statuses(wire), wire.half_closed))

    def test_slow_second_head(self):
        """The clock of a head starts with its own first byte."""
        wire = Service(measured).wire()
        wire.send(request("GET", "/"))
        wire.advance(70)
        wire.send(b"G")
        wire.advance(9)
        self.assertEqual([200], statuses(wire))
        wire.advance(2)
        self.assertEqual([200, 408], statuses(wire))

    def test_idle(self):
        """A connection without a next request is closed in order after a while."""
        wire = Service(measured).wire()
        wire.send(request("GET", "/"))
        wire.advance(74)
        self.assertFalse(wire.closed)
        wire.advance(2)
        self.assertEqual((True, False), (wire.closed, wire.was_reset))

    def test_slow_handler(self):
        """A handler may take as long as it likes."""
        held = Held()
        wire = Service(held).wire()
        wire.send(request("GET", "/"))
        wire.advance(1000)
        held.let_go()
        self.assertEqual([200], statuses(wire))

    def test_slow_body(self):
        """Row 84: a body that drips in is given up after thirty seconds, with 408."""
        wire = Service(measured).wire()
        wire.send(put(10**6))
        for _ in range(6):
            self.assertEqual([], statuses(wire))
            wire.send(b"x")
            wire.advance(5)
        self.assertEqual(([408], True), (statuses(wire), wire.half_closed))

    def test_steady_body(self):
        """A slow body that keeps the rate is taken, however long it takes."""
        wire = Service(measured).wire()
        wire.send(put(40 * 10 * 1024))
        for _ in range(40):
            wire.advance(9)
            wire.send(b"x" * 10 * 1024)
        self.assertEqual([200], statuses(wire))

    def test_our_fault(self):
        """A body is not late while it is us who do not read."""
        gate: Deferred[None] = Deferred()

        async def handler(request):
            await gate
            await measured(request)

        wire = Service(handler).wire()
        wire.send(put(10 * HIGH_WATER), *split(b"x" * (10 * HIGH_WATER), 65_536))
        wire.advance(1000)
        gate.callback(None)
        self.assertEqual([200], statuses(wire))

    def test_not_invited(self):
        """A body is not late before the client was told to send it, and is afterwards."""
        gate: Deferred[None] = Deferred()

        async def handler(request):
            await gate
            await measured(request)

        wire = Service(handler).wire()
        wire.send(put(5, {"Expect": "100-continue"}))
        wire.advance(1000)
        gate.callback(None)
        wire.advance(29)
        self.assertEqual([100], statuses(wire))
        wire.advance(2)
        self.assertEqual([100, 408], statuses(wire))

    def test_stalled_reader(self):
        """Row 85: a client that takes nothing of its answer is aborted after sixty seconds."""
        wire = Service(self.endless).wire()
        wire.stop_reading()
        wire.send(request("GET", "/"))
        wire.advance(59)
        self.assertFalse(wire.closed)
        wire.advance(2)
        self.assertTrue(wire.was_reset)

    def test_slow_reader(self):
        """A client that takes a little of its answer now and then is served on."""
        wire = Service(self.endless).wire()
        wire.stop_reading()
        wire.send(request("GET", "/"))
        for _ in range(10):
            wire.advance(50)
            wire.take(10)
        self.assertFalse(wire.closed)

    async def endless(self, request: Any) -> None:
        request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % 10**9])
        while True:
            await request.send(b"x" * 65_536)

    def test_configured(self):
        """The deadlines are those that were set."""
        service = Service(measured, timeouts=Timeouts(head=1, idle=2, stall=3))
        slow, idle, body = service.wire(), service.wire(), service.wire()
        slow.send(b"G")
        idle.send(request("GET", "/"))
        body.send(put(100))
        slow.advance(1.1)
        self.assertEqual(([408], [200], []), (statuses(slow), statuses(idle), statuses(body)))
        slow.advance(1)
        self.assertEqual((True, []), (idle.closed, statuses(body)))
        slow.advance(1)
        self.assertEqual([408], statuses(body))

    def test_nothing_stays(self):
        """A connection that has ended leaves no timer behind."""
        clock = Clock()
        service = Service(measured, clock=clock)
        wire = service.wire()
        wire.send(request("PUT", "/", body=b"x" * 1000) + put(100))
        wire.reset()
        self.assertEqual([], clock.getDelayedCalls())


class DrainTests(SynchronousTestCase):
    """How all connections end."""

    def test_idle(self):
        """Idle connections, asked on or not, are closed at once, in order."""
        service = Service(measured)
        fresh, used = service.wire(), service.wire()
        used.send(request("GET", "/"))
        drained = Deferred.fromCoroutine(service.factory.drain(10))
        self.assertEqual((True, True, False), (fresh.closed, used.closed, used.was_reset))
        used.advance(0.1)
        self.successResultOf(drained)

    def test_busy(self):
        """A connection that is answering ends with that answer, and takes no request behind it."""
        held = Held()
        service = Service(held)
        wire = service.wire()
        wire.send(request("GET", "/") * 2)
        drained = Deferred.fromCoroutine(service.factory.drain(10))
        wire.advance(5)
        self.assertNoResult(drained)
        held.let_go()
        self.assertEqual((["close"], 1), ([r.header("Connection") for r in wire.responses()], len(service.seen)))
        wire.advance(2)
        self.successResultOf(drained)

    def test_late(self):
        """What is not done in time is aborted, and then draining is over."""
        held = Held()
        service = Service(held)
        wire = service.wire()
        wire.send(request("GET", "/"))
        drained = Deferred.fromCoroutine(service.factory.drain(10))
        wire.advance(10.1)
        self.assertTrue(wire.was_reset)
        self.successResultOf(drained)

    def test_nothing(self):
        """Without connections there is nothing to wait for."""
        self.successResultOf(Deferred.fromCoroutine(Service(measured).factory.drain(10)))


class WireTests(TestCase):
    """What the wire itself promises to tests."""

    async def test_real_clock(self):
        """Where the application needs the real reactor, a test waits for the answers."""

        async def handler(request):
            answer(request, await deferToThread(request.path.upper))

        wire = Service(handler, clock=cast(IReactorTime, reactor)).wire()
        wire.send(request("GET", "/a") + request("GET", "/b"))
        answers = await wire.answers(2)
        wire.close()
        await wire.answers(3)  # the end of the connection ends the waiting
        self.assertEqual([b"/A", b"/B"], [one.body for one in answers])

    def test_waits(self):
        """Waiting ends when the answer is whole, and not before."""
        held = Held()
        wire = Service(held).wire()
        wire.send(request("GET", "/"))
        waiting = Deferred.fromCoroutine(wire.answers())
        held.requests[0].write(b"half")
        wire.run()
        self.assertNoResult(waiting)
        held.let_go(b"whole")
        wire.run()
        self.assertEqual([b"halfwhole"], [one.body for one in self.successResultOf(waiting)])

    def test_close_with_data_unread(self):
        """A server that closes with input unread resets, as a kernel does."""
        held = Held()
        wire = Service(held).wire()
        wire.send(put(10 * HIGH_WATER), *split(b"x" * (10 * HIGH_WATER), 65_536))
        transport: Any = held.requests[0].transport
        transport.loseConnection()
        transport.unregisterProducer()
        self.assertTrue(wire.was_reset)

    def test_not_http(self):
        """What is not an answer is not taken for one."""
        for data in (b"hello", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX"):
            with self.assertRaises(ValueError):
                parse_responses(data)

    def test_until_the_end(self):
        """An answer without a length is whole when the connection has ended, and not before."""
        data = b"HTTP/1.1 200 OK\r\n\r\nhello"
        whole = [parse_responses(data, ended=ended)[0].complete for ended in (False, True)]
        self.assertEqual([False, True], whole)
