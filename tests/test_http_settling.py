"""What became of an answer's bytes: the rules, on a clock."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from filedropd.deferreds import shielded
from filedropd.http.acknowledgement import Acknowledgements
from filedropd.http.settling import QUIET, Settlement, Settling
from filedropd.testing import Wire, request
from tests.wired import Service

HEAD = 100
BODY = 1000


class Counted(Acknowledgements):
    """A TCP connection whose acknowledgements the test gives."""

    def __init__(self, *, exact: bool = True) -> None:
        self.written = 0
        self.exact = exact
        self.acked: int | None = 0

    def position(self) -> int | None:
        return self.acked

    def handed(self) -> int | None:
        return None if self.acked is None else self.written

    def reached(self, mark: int | None) -> bool:
        return mark is not None and self.acked is not None and self.acked >= mark

    def progress(self) -> int:
        return self.acked or 0

    def lost(self) -> bool:
        return self.acked is None


class Uncounted(Counted):
    """A UNIX socket: nothing is told."""

    def __init__(self) -> None:
        super().__init__(exact=False)
        self.acked = None

    def reached(self, mark: int | None) -> bool:
        return mark is None

    def lost(self) -> bool:
        return False


class Answer:
    """An answer of a head and a body, of which all is written and nothing acknowledged."""

    def __init__(self, counts: Counted | None = None, body: int = BODY) -> None:
        self.clock = Clock()
        self.aborts = 0
        self.counts = counts or Counted()
        self.counts.written = 5000  # earlier answers
        self.counts.acked = None if self.counts.acked is None else 5000
        # The head is written first; a settling begins where the body does.
        self.counts.written += HEAD
        self.settling = Settling(self.clock, self.counts, stall=60.0, abort=self._abort)
        self.settling.sending(body)
        self.counts.written += body

    def _abort(self) -> None:
        self.aborts += 1
        self.settling.connection_lost(clean=False, acknowledged=self.settling.acknowledged())

    def acknowledge(self, octets: int) -> None:
        """Let the client acknowledge the head, and so much of the body."""
        self.counts.acked = 5000 + HEAD + octets

    def happens(self, event: str, *, everything: bool) -> None:
        """Let one of the things happen that a connection can see."""
        match event:
            case "closed":
                self.settling.client_closed()
            case "asked":
                self.settling.client_asked()
            case "lost":
                self.settling.connection_lost(clean=False, acknowledged=everything)
            case _:
                self.pass_time(0.7)

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.01] * round(seconds / 0.01))


class SettlingTests(SynchronousTestCase):
    """On a connection whose acknowledgements are counted."""

    def settled(self, answer: Answer) -> tuple[int, bool] | None:
        """What is known of the answer, or ``None`` where more may be learnt."""
        results: list[Settlement] = []
        answer.settling.finish().addCallback(results.append)
        return (results[0].acknowledged, results[0].complete) if results else None

    def test_fin_after_all(self):
        """A FIN behind the last acknowledgement completes at once."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(BODY)
        answer.settling.client_closed()
        self.assertEqual(Settlement(acknowledged=BODY, complete=True), self.successResultOf(finished))

    def test_no_sign(self):
        """Acknowledged alone is not settled."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(BODY)
        answer.pass_time(0.9)
        self.assertNoResult(finished)

    def test_quiet(self):
        """A second of quiet behind the last acknowledgement completes."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(BODY)
        answer.pass_time(QUIET + 0.2)
        self.assertTrue(self.successResultOf(finished).complete)

    def test_quiet_begins_with_the_last_byte(self):
        """The second does not run while something is not acknowledged."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(BODY - 1)
        answer.pass_time(50)
        answer.acknowledge(BODY)
        answer.pass_time(0.9)
        self.assertNoResult(finished)
        answer.pass_time(0.3)
        self.assertTrue(self.successResultOf(finished).complete)

    def test_asked_after_all(self):
        """A next request behind the last acknowledgement completes at once."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(BODY)
        answer.settling.client_asked()
        self.assertTrue(self.successResultOf(finished).complete)

    def test_asked_before_all(self):
        """A next request that comes earlier says nothing about what it was sent before."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(BODY - 1)
        answer.settling.client_asked()
        self.assertNoResult(finished)

    def test_reset(self):
        """A reset confirms nothing, whatever was acknowledged: unread data is thrown away with it."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(BODY)
        answer.settling.connection_lost(clean=False, acknowledged=True)
        self.assertEqual(Settlement(acknowledged=0, complete=False), self.successResultOf(finished))

    def test_reset_in_the_quiet_second(self):
        """A reset within the second of quiet is still a reset."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(BODY)
        answer.pass_time(0.9)
        answer.settling.connection_lost(clean=False, acknowledged=True)
        self.assertEqual(Settlement(acknowledged=0, complete=False), self.successResultOf(finished))

    def test_fin_before_all(self):
        """A FIN confirms what was acknowledged by then, and a reset behind it does not take that back."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(400)
        answer.settling.client_closed()
        self.assertNoResult(finished)
        answer.settling.connection_lost(clean=False, acknowledged=False)
        self.assertEqual(Settlement(acknowledged=400, complete=False), self.successResultOf(finished))

    def test_fin_before_the_body(self):
        """A FIN before the first byte of the body confirms no byte."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.counts.acked = 5000 + HEAD - 1
        answer.settling.client_closed()
        answer.settling.connection_lost(clean=False, acknowledged=False)
        self.assertEqual(Settlement(acknowledged=0, complete=False), self.successResultOf(finished))

    def test_half_closed_client(self):
        """A client that half-closes before it has all completes by the second of quiet."""
        answer = Answer()
        answer.settling.client_closed()
        finished = answer.settling.finish()
        answer.acknowledge(BODY)
        answer.pass_time(0.9)
        self.assertNoResult(finished)
        answer.pass_time(0.3)
        self.assertTrue(self.successResultOf(finished).complete)

    def test_fin_while_sending(self):
        """A FIN that comes while the last bytes are being written completes when they turn out acknowledged by it."""
        answer = Answer()
        answer.acknowledge(BODY)
        answer.settling.client_closed()
        self.assertEqual((BODY, True), self.settled(answer))

    def test_lost_before_the_end(self):
        """A connection lost while it was sent on confirms nothing, and nobody waits for it."""
        answer = Answer()
        answer.acknowledge(400)
        answer.settling.connection_lost(clean=False, acknowledged=False)
        self.assertEqual((0, False), self.settled(answer))

    def test_empty_body(self):
        """An empty body completes like any other: when its head is acknowledged, and then a sign."""
        answer = Answer(body=0)
        finished = answer.settling.finish()
        answer.settling.client_asked()
        self.assertNoResult(finished)
        answer.acknowledge(0)
        answer.settling.client_closed()
        self.assertEqual(Settlement(acknowledged=0, complete=True), self.successResultOf(finished))

    def test_empty_body_not_acknowledged(self):
        """A FIN before the head of an empty body is acknowledged does not complete it."""
        answer = Answer(body=0)
        finished = answer.settling.finish()
        answer.settling.client_closed()
        answer.settling.connection_lost(clean=False, acknowledged=False)
        self.assertFalse(self.successResultOf(finished).complete)

    def test_stall(self):
        """A client that acknowledges nothing more is aborted after sixty seconds, and confirms nothing."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(400)
        answer.pass_time(59)
        self.assertNoResult(finished)
        answer.pass_time(2)
        self.assertEqual(
            (1, Settlement(acknowledged=0, complete=False)), (answer.aborts, self.successResultOf(finished))
        )

    def test_slow(self):
        """A client that acknowledges something now and then is waited for."""
        answer = Answer()
        finished = answer.settling.finish()
        for octets in range(0, BODY, 100):
            answer.acknowledge(octets)
            answer.pass_time(50)
        self.assertNoResult(finished)
        answer.acknowledge(BODY)
        answer.pass_time(1.2)
        self.assertTrue(self.successResultOf(finished).complete)

    def test_reset_behind_a_fin(self):
        """A reset that nobody is told of, because a FIN came first, is found before a quiet second can pass for one."""
        for acknowledged in (400, BODY):
            answer = Answer()
            answer.settling.client_closed()
            finished = answer.settling.finish()
            answer.acknowledge(acknowledged)
            answer.pass_time(0.2)
            answer.counts.acked = None
            answer.pass_time(QUIET)
            self.assertEqual((1, False), (answer.aborts, self.successResultOf(finished).complete))

    def test_cancelled(self):
        """Nobody waits for a settling that is cancelled, and it leaves no timer."""
        answer = Answer()
        finished = answer.settling.finish()
        finished.cancel()
        self.failureResultOf(finished, CancelledError)
        self.assertEqual([], answer.clock.getDelayedCalls())

    def test_nothing_stays(self):
        """What is settled leaves no timer."""
        answer = Answer()
        answer.settling.finish()
        answer.acknowledge(BODY)
        answer.settling.client_closed()
        self.assertEqual([], answer.clock.getDelayedCalls())

    @given(st.lists(st.sampled_from(["ack", "closed", "asked", "lost", "finish", "wait"]), max_size=20), st.data())
    def test_never_more_than_acknowledged(self, events, data):
        """Whatever happens in whatever order: complete is never said of what was not all acknowledged."""
        answer = Answer()
        finished = None
        acked = 0
        for event in events:
            if event == "ack":
                acked = data.draw(st.integers(acked, BODY))
                answer.acknowledge(acked)
            elif event == "finish":
                finished = finished or answer.settling.finish()
            else:
                answer.happens(event, everything=acked == BODY)
        if finished is not None and finished.called:
            result = self.successResultOf(finished)
            self.assertLessEqual(result.acknowledged, acked)
            self.assertTrue(not result.complete or result.acknowledged == BODY)


class InexactTests(SynchronousTestCase):
    """Where positions on the wire are not positions in the body."""

    def test_tls(self):
        """Under TLS all or nothing is known: a part of it confirms nothing."""
        answer = Answer(Counted(exact=False))
        finished = answer.settling.finish()
        answer.acknowledge(400)
        answer.settling.client_closed()
        answer.settling.connection_lost(clean=False, acknowledged=False)
        self.assertEqual(Settlement(acknowledged=0, complete=False), self.successResultOf(finished))

    def test_tls_close_notify(self):
        """Under TLS an orderly end behind the last acknowledgement completes."""
        answer = Answer(Counted(exact=False))
        finished = answer.settling.finish()
        answer.acknowledge(BODY)
        answer.settling.connection_lost(clean=True, acknowledged=True)
        self.assertEqual(Settlement(acknowledged=BODY, complete=True), self.successResultOf(finished))

    def test_tls_close_notify_too_early(self):
        """Under TLS an orderly end before the last acknowledgement, or the last write, does not."""
        for acknowledged, finish in ((False, True), (True, False)):
            answer = Answer(Counted(exact=False))
            if finish:
                answer.settling.finish()
            answer.settling.connection_lost(clean=True, acknowledged=acknowledged)
            self.assertFalse(self.successResultOf(answer.settling.finish()).complete)

    def test_unix(self):
        """Over a UNIX socket, handed to the kernel and then FIN is settled."""
        answer = Answer(Uncounted())
        finished = answer.settling.finish()
        answer.settling.client_closed()
        self.assertTrue(self.successResultOf(finished).complete)

    def test_unix_reset(self):
        """Over a UNIX socket, a reset confirms nothing."""
        answer = Answer(Uncounted())
        finished = answer.settling.finish()
        answer.settling.connection_lost(clean=False, acknowledged=True)
        self.assertEqual(Settlement(acknowledged=0, complete=False), self.successResultOf(finished))

    def test_unix_quiet(self):
        """Over a UNIX socket, a second of quiet is settled."""
        answer = Answer(Uncounted())
        finished = answer.settling.finish()
        answer.pass_time(QUIET + 0.1)
        self.assertTrue(self.successResultOf(finished).complete)

    def test_unix_fin_before_the_end(self):
        """Over a UNIX socket, an early FIN confirms nothing by itself."""
        answer = Answer(Uncounted())
        answer.settling.client_closed()
        answer.settling.connection_lost(clean=False, acknowledged=True)
        self.assertEqual(0, self.successResultOf(answer.settling.finish()).acknowledged)


class Download:
    """An application that sends ``size`` bytes and settles, and a client that asked for them."""

    def __init__(self, size: int, *, send_buffer: int = 64 * 1024) -> None:
        self.size = size
        self.result: Settlement | None = None
        self.service = Service(lambda request: shielded(self._send(request)))
        self.wire: Wire = self.service.wire(send_buffer=send_buffer)

    async def _send(self, request: Any) -> None:
        request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % self.size])
        for start in range(0, self.size, 65_536):
            await request.send(b"x" * min(65_536, self.size - start))
        self.result = await request.settle()
        request.finish()

    @property
    def head(self) -> int:
        """Bytes of the answer's head that have come."""
        return self.wire.received.index(b"\r\n\r\n") + 4


class OnTheWireTests(SynchronousTestCase):
    """The same rules through the channel."""

    def test_close(self):
        """A client that has read all and closes completes at once."""
        download = Download(1_000_000)
        download.wire.send(request("GET", "/"))
        self.assertIsNone(download.result)
        download.wire.close()
        self.assertEqual(Settlement(acknowledged=1_000_000, complete=True), download.result)
        self.assertEqual((True, False), (download.wire.closed, download.wire.was_reset))

    def test_reset(self):
        """A client that resets has nothing."""
        download = Download(1_000_000)
        download.wire.send(request("GET", "/"))
        download.wire.reset()
        self.assertEqual(Settlement(acknowledged=0, complete=False), download.result)

    def test_next_request(self):
        """A next request completes, and is answered."""
        download = Download(10)
        download.wire.send(request("GET", "/"))
        download.wire.send(request("GET", "/"))
        self.assertEqual(Settlement(acknowledged=10, complete=True), download.result)
        self.assertEqual(2, len(download.service.seen))

    def test_pipelined_request(self):
        """A next request that was there already says nothing; the second of quiet does."""
        download = Download(10)
        download.wire.send(request("GET", "/") * 2)
        self.assertIsNone(download.result)
        download.wire.advance(QUIET + 0.2)
        self.assertEqual(Settlement(acknowledged=10, complete=True), download.result)

    def test_pipelined_half_a_request(self):
        """The rest of a request whose first byte was there already says nothing, either."""
        download = Download(10)
        following = request("GET", "/")
        download.wire.send(request("GET", "/") + following[:10])
        download.wire.send(following[10:])
        self.assertIsNone(download.result)

    def test_body_of_the_request(self):
        """A body that still arrives is no next request."""
        download = Download(10)
        download.wire.send(request("GET", "/", {"Content-Length": "1000"}))
        download.wire.send(b"x" * 500)
        self.assertIsNone(download.result)

    def test_half_close(self):
        """A client that half-closes behind its request completes by the second of quiet."""
        download = Download(10)
        download.wire.stop_reading()
        download.wire.send(request("GET", "/"))
        download.wire.close()
        download.wire.read_on()
        self.assertIsNone(download.result)
        download.wire.advance(QUIET + 0.2)
        self.assertEqual((Settlement(acknowledged=10, complete=True), True), (download.result, download.wire.closed))

    def test_fin_then_reset(self):
        """A FIN half-way confirms what the client's machine has, and the reset behind it no more."""
        download = Download(1000)
        download.wire.stop_reading()
        download.wire.send(request("GET", "/"))
        download.wire.take(download_head())
        download.wire.take(400)
        download.wire.close()
        download.wire.reset()
        download.wire.advance(0.2)  # nobody is told of a RST behind a FIN: it is looked for
        self.assertEqual(Settlement(acknowledged=400, complete=False), download.result)

    def test_stall(self):
        """Row 85: a client that takes nothing behind the head is aborted after a minute without progress."""
        download = Download(1000)
        download.wire.stop_reading()
        download.wire.send(request("GET", "/"))
        download.wire.take(download_head())
        download.wire.advance(59)
        self.assertIsNone(download.result)
        download.wire.advance(2)
        self.assertEqual((Settlement(acknowledged=0, complete=False), True), (download.result, download.wire.was_reset))

    def test_nothing_is_sent_before_it_is_settled(self):
        """No FIN of ours comes before the body is settled, even on a connection that ends with it."""
        download = Download(10)
        download.wire.send(request("GET", "/", {"Connection": "close"}))
        self.assertFalse(download.wire.half_closed)
        download.wire.advance(QUIET + 0.2)
        self.assertTrue(download.wire.half_closed)

    def test_unsent(self):
        """A body that was not sent at all is settled as nothing."""
        results = []

        async def handler(request):
            request.abort()
            results.append(await request.settle())

        Service(lambda request: shielded(handler(request))).wire().send(request("GET", "/"))
        self.assertEqual([Settlement(acknowledged=0, complete=False)], results)

    def test_empty(self):
        """An empty body settles, too."""
        download = Download(0)
        download.wire.send(request("GET", "/"))
        self.assertIsNone(download.result)
        download.wire.close()
        self.assertEqual(Settlement(acknowledged=0, complete=True), download.result)

    def test_second_answer(self):
        """Each answer of a connection is settled on its own: the bytes of the ones before do not count."""
        results: list[Settlement] = []

        async def handler(request):
            request.responseHeaders.setRawHeaders(b"Content-Length", [b"1000"])
            await request.send(b"x" * 1000)
            results.append(await request.settle())
            request.finish()

        wire = Service(lambda request: shielded(handler(request))).wire()
        wire.send(request("GET", "/"))
        wire.stop_reading()
        wire.send(request("GET", "/"))
        wire.take(download_head())
        wire.take(300)
        wire.close()
        wire.reset()
        wire.advance(0.2)
        self.assertEqual([(1000, True), (300, False)], [(one.acknowledged, one.complete) for one in results])


def download_head() -> int:
    """Bytes of the head of an answer whose Content-Length has four digits."""
    download = Download(1000)
    download.wire.send(request("GET", "/"))
    return download.head
