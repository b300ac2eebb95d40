"""What became of an answer's bytes: the rules, on a clock."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from filedropd.deferreds import shielded
from filedropd.errors import ClientGone
from filedropd.http.acknowledgement import Acknowledgements
from filedropd.http.closing import LINGER_QUIET
from filedropd.http.interfaces import Timeouts
from filedropd.http.settling import AFTERMATH, QUIET, Settlement, Settling
from filedropd.testing import Wire, request
from tests.wired import Service, answer

HEAD = 100
BODY = 1000


def fate(settlement: Settlement | None) -> tuple[int, bool] | None:
    """How much of the body is confirmed, and whether it is all."""
    return None if settlement is None else (settlement.acknowledged, settlement.complete)


class Counted(Acknowledgements):
    """A TCP connection whose acknowledgements the test gives.

    :ivar acked: up to where the peer has acknowledged; ``None`` once it is reset.
    :ivar left: up to where bytes have left; ``None``: all that was written.
    :ivar took: up to where the kernel took them; ``None``: likewise.
    """

    def __init__(self) -> None:
        self.written = 0
        self.acked: int | None = 0
        self.left: int | None = None
        self.took: int | None = None

    def position(self) -> int | None:
        return self.acked

    def departed(self, *, queued: bool) -> int:
        known = self.took if queued else self.left
        return self.written if known is None else known

    def mark(self) -> int | None:
        return None if self.acked is None else self.written

    def reached(self, mark: int | None) -> bool:
        return mark is not None and self.acked is not None and self.acked >= mark

    def progress(self) -> int:
        return self.acked or 0

    def lost(self) -> bool:
        return self.acked is None

    def reset(self) -> bool:
        return self.lost()


class Coarse(Counted):
    """One under TLS, all of whose body is in one record."""

    def position(self) -> int | None:
        return 5000 if self.acked is None or self.acked < self.written else self.written


class Uncounted(Counted):
    """A UNIX socket: nothing is told."""

    def __init__(self) -> None:
        super().__init__()
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
        self.settling = Settling(self.clock, self.counts, head=5000, stall=60.0, abort=self._abort)
        self.settling.sending(body)
        self.counts.written += body

    def _abort(self) -> None:
        self.aborts += 1
        self.end()

    def end(self, *, clean: bool = False, kept: bool = False, fin: bool = False) -> None:
        """Let the connection be lost."""
        self.settling.ending(fin=fin)
        self.settling.connection_lost(clean=clean, kept=kept)

    def acknowledge(self, octets: int) -> None:
        """Let the client acknowledge the head, and so much of the body, where that is counted."""
        if not isinstance(self.counts, Uncounted):
            self.counts.acked = 5000 + HEAD + octets

    def happens(self, event: str) -> None:
        """Let one of the things happen that a connection can see."""
        match event:
            case "closed":
                self.settling.client_closed()
            case "asked":
                self.settling.client_asked()
            case "lost":
                self.end()
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
        return fate(results[0]) if results else None

    def test_fin_after_all(self):
        """A FIN behind the last acknowledgement completes at once."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(BODY)
        answer.settling.client_closed()
        self.assertEqual((BODY, True), fate(self.successResultOf(finished)))

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
        answer.end()
        self.assertEqual((0, False), fate(self.successResultOf(finished)))

    def test_asked_midway(self):
        """One that comes when all that was sent by then is acknowledged says that it was kept if no more is sent."""
        for more, outcome in ((0, (BODY, True)), (10, (0, False))):
            answer = Answer()
            answer.acknowledge(BODY)
            answer.settling.client_asked()
            if more:
                answer.settling.sending(more)
                answer.counts.written += more
            finished = answer.settling.finish()
            answer.end()
            self.assertEqual(outcome, fate(self.successResultOf(finished)))

    def test_reset(self):
        """A reset confirms nothing, whatever was acknowledged: unread data is thrown away with it."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(BODY)
        answer.end()
        self.assertEqual((0, False), fate(self.successResultOf(finished)))

    def test_reset_in_the_quiet_second(self):
        """A reset within the second of quiet is still a reset."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(BODY)
        answer.pass_time(0.9)
        answer.end()
        self.assertEqual((0, False), fate(self.successResultOf(finished)))

    def test_fin_before_all(self):
        """A FIN confirms what was acknowledged by then, and a reset behind it does not take that back."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(400)
        answer.settling.client_closed()
        self.assertNoResult(finished)
        answer.end()
        self.assertEqual((400, False), fate(self.successResultOf(finished)))

    def test_fin_before_the_body(self):
        """A FIN before the first byte of the body confirms no byte."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.counts.acked = 5000 + HEAD - 1
        answer.settling.client_closed()
        answer.end()
        self.assertEqual((0, False), fate(self.successResultOf(finished)))

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
        answer.end()
        self.assertEqual((0, False), self.settled(answer))

    def test_empty_body(self):
        """An empty body completes like any other: when its head is acknowledged, and then a sign."""
        answer = Answer(body=0)
        finished = answer.settling.finish()
        answer.settling.client_asked()
        self.assertNoResult(finished)
        answer.acknowledge(0)
        answer.settling.client_closed()
        self.assertEqual((0, True), fate(self.successResultOf(finished)))

    def test_empty_body_not_acknowledged(self):
        """A FIN before the head of an empty body is acknowledged does not complete it."""
        answer = Answer(body=0)
        finished = answer.settling.finish()
        answer.settling.client_closed()
        answer.end()
        self.assertFalse(self.successResultOf(finished).complete)

    def test_stall(self):
        """A client that acknowledges nothing more is aborted after sixty seconds, and confirms nothing."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(400)
        answer.pass_time(59)
        self.assertNoResult(finished)
        answer.pass_time(2)
        self.assertEqual((1, (0, False)), (answer.aborts, fate(self.successResultOf(finished))))

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

    @settings(deadline=None)
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
                answer.happens(event)
        if finished is not None and finished.called:
            result = self.successResultOf(finished)
            self.assertLessEqual(result.acknowledged, acked)
            self.assertTrue(not result.complete or result.acknowledged == BODY)


class SentTests(SynchronousTestCase):
    """How much of a body that did not settle may have left."""

    def broken(self, answer: Answer) -> tuple[int, bool]:
        """Break the connection; returns how much of the body was sent, and whether any of the answer was."""
        answer.end()
        settlement = self.successResultOf(answer.settling.finish())
        return settlement.sent, settlement.begun

    def test_reset(self):
        """At a reset: what the kernel has sent, without what it still holds."""
        answer = Answer()
        answer.counts.left, answer.counts.took = 5000 + HEAD + 300, 5000 + HEAD + 700
        self.assertEqual((300, True), self.broken(answer))

    def test_aborted(self):
        """At our own abort: all that the kernel took, since it goes on sending until then."""
        answer = Answer()
        answer.counts.left, answer.counts.took = 5000 + HEAD + 300, 5000 + HEAD + 700
        answer.settling.aborting()
        self.assertEqual((700, True), self.broken(answer))

    def test_stalled(self):
        """At a time-out, the same as at a reset."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(200)
        answer.counts.left, answer.counts.took = 5000 + HEAD + 300, 5000 + HEAD + 700
        answer.pass_time(61)
        self.assertEqual((1, 300), (answer.aborts, self.successResultOf(finished).sent))

    def test_not_known(self):
        """Where the kernel does not tell: all that was written."""
        for counts in (Counted(), Uncounted()):
            self.assertEqual((BODY, True), self.broken(Answer(counts)))

    def test_not_measured(self):
        """A socket that was closed before it could be asked tells nothing, either."""
        answer = Answer()
        answer.counts.left = 5000
        answer.settling.connection_lost(clean=False, kept=False)
        self.assertEqual(BODY, self.successResultOf(answer.settling.finish()).sent)

    def test_never_less_than_acknowledged(self):
        """What is confirmed was sent, whatever the kernel said."""
        answer = Answer()
        answer.acknowledge(400)
        answer.settling.client_closed()
        answer.counts.left = 5000
        self.assertEqual((400, True), self.broken(answer))

    def test_complete(self):
        """Of a whole body all was sent."""
        answer = Answer()
        finished = answer.settling.finish()
        answer.acknowledge(BODY)
        answer.settling.client_closed()
        self.assertEqual(BODY, self.successResultOf(finished).sent)

    def test_begun(self):
        """One byte of the head is a beginning."""
        for left, begun in ((5000, False), (5001, True), (5000 + HEAD, True)):
            answer = Answer()
            answer.counts.left = left
            self.assertEqual((0, begun), self.broken(answer))

    def test_begun_without_a_body(self):
        """So it is of an answer that is nothing but its head."""
        for left, begun in ((5000, False), (5001, True)):
            answer = Answer(body=0)
            answer.counts.left = left
            self.assertEqual((0, begun), self.broken(answer))

    def test_acknowledged_by_now(self):
        """While it is sent, and until it is settled, one may ask how much is acknowledged."""
        answer = Answer()
        seen = [answer.settling.acknowledged()]
        for octets in (-HEAD, 0, 400, BODY):
            answer.acknowledge(octets)
            seen.append(answer.settling.acknowledged())
        answer.end()
        seen.append(answer.settling.acknowledged())
        self.assertEqual([0, 0, 0, 400, BODY, 0], seen)


class AftermathTests(SynchronousTestCase):
    """A body that was settled by quiet alone, and what the client does then."""

    def quiet(self, answer: Answer | None = None) -> tuple[Answer, Deferred[bool]]:
        """An answer that was, and what will be confirmed of it."""
        answer = answer or Answer()
        finished = answer.settling.finish()
        answer.acknowledge(BODY)
        answer.pass_time(QUIET + 0.2)
        self.assertTrue(self.successResultOf(finished).quiet)
        return answer, Deferred.fromCoroutine(answer.settling.confirmed())

    def test_in_doubt(self):
        """Nothing is confirmed by quiet alone."""
        answer, confirmed = self.quiet()
        answer.pass_time(AFTERMATH - 2)
        self.assertNoResult(confirmed)
        self.assertTrue(0 < answer.settling.doubt < 2)

    def test_signs(self):
        """A FIN, a next request, and an end in order confirm it; any other end does not."""
        signs: list[tuple[Callable[[Answer], None], bool]] = [
            (lambda answer: answer.settling.client_closed(), True),
            (lambda answer: answer.settling.client_asked(), True),
            (lambda answer: answer.settling.closed_by_us(), True),
            (lambda answer: answer.end(kept=True), True),
            (lambda answer: answer.end(), False),
        ]
        for happens, kept in signs:
            answer, confirmed = self.quiet()
            happens(answer)
            self.assertEqual(kept, self.successResultOf(confirmed))
            self.assertEqual(([], 0.0), (answer.clock.getDelayedCalls(), answer.settling.doubt))

    def test_first_sign(self):
        """The first sign counts: what comes behind a FIN takes nothing back."""
        answer, confirmed = self.quiet()
        answer.settling.client_closed()
        answer.end()
        self.assertTrue(self.successResultOf(confirmed))

    def test_a_minute(self):
        """A minute without any sign confirms it."""
        answer, confirmed = self.quiet()
        answer.pass_time(AFTERMATH)
        self.assertTrue(self.successResultOf(confirmed))
        self.assertEqual([], answer.clock.getDelayedCalls())

    def test_unnoticed_reset(self):
        """A reset that nobody is told of is found within a second, and ends the connection."""
        answer, confirmed = self.quiet()
        answer.counts.acked = None
        answer.pass_time(1.1)
        self.assertEqual((False, 1), (self.successResultOf(confirmed), answer.aborts))

    def test_unnoticed_reset_before_we_close(self):
        """So it is when we close before the second is over."""
        answer, confirmed = self.quiet()
        answer.counts.acked = None
        answer.settling.closed_by_us()
        self.assertFalse(self.successResultOf(confirmed))

    def test_asked_late(self):
        """Whoever asks when it is over is told."""
        answer, _ = self.quiet()
        answer.end()
        self.assertFalse(self.successResultOf(Deferred.fromCoroutine(answer.settling.confirmed())))

    def test_cancelled(self):
        """One who does not want to know any more is forgotten, and others are not."""
        answer, confirmed = self.quiet()
        other = Deferred.fromCoroutine(answer.settling.confirmed())
        confirmed.cancel()
        self.failureResultOf(confirmed, CancelledError)
        answer.settling.client_closed()
        self.assertTrue(self.successResultOf(other))

    def test_not_quiet(self):
        """What settled by a sign, or not at all, is confirmed or not at once."""
        for end, kept in ((Answer.end, False), (lambda answer: answer.settling.client_closed(), True)):
            answer = Answer()
            finished = answer.settling.finish()
            answer.acknowledge(BODY)
            end(answer)
            self.assertFalse(self.successResultOf(finished).quiet)
            self.assertEqual(kept, self.successResultOf(Deferred.fromCoroutine(answer.settling.confirmed())))

    def test_half_closed(self):
        """A client that has closed its side before can give no other sign: its second of quiet is all there is."""
        answer = Answer()
        answer.settling.client_closed()
        finished = answer.settling.finish()
        answer.acknowledge(BODY)
        answer.pass_time(QUIET + 0.2)
        self.assertEqual(
            Settlement(acknowledged=BODY, sent=BODY, begun=True, complete=True, quiet=False),
            self.successResultOf(finished),
        )

    def test_unix(self):
        """Over a UNIX socket, too, a reset says that it was not kept."""
        answer, confirmed = self.quiet(Answer(Uncounted()))
        answer.pass_time(5)
        answer.end()
        self.assertFalse(self.successResultOf(confirmed))


class InexactTests(SynchronousTestCase):
    """Where positions on the wire are not positions in the body."""

    def test_tls(self):
        """Under TLS all or nothing is known: a part of it confirms nothing."""
        answer = Answer(Coarse())
        finished = answer.settling.finish()
        answer.acknowledge(400)
        answer.settling.client_closed()
        answer.end()
        self.assertEqual((0, False), fate(self.successResultOf(finished)))

    def test_tls_close_notify(self):
        """Under TLS an orderly end behind the last acknowledgement completes."""
        answer = Answer(Coarse())
        finished = answer.settling.finish()
        answer.acknowledge(BODY)
        answer.end(clean=True, kept=True)
        self.assertEqual((BODY, True), fate(self.successResultOf(finished)))

    def test_tls_fin(self):
        """Under TLS a FIN confirms what was acknowledged, by records, although nobody is told of it before the end."""
        answer = Answer()
        answer.acknowledge(400)
        answer.end(fin=True)
        self.assertEqual((400, False), fate(self.successResultOf(answer.settling.finish())))

    def test_tls_close_notify_too_early(self):
        """Under TLS an orderly end before the last acknowledgement, or the last write, does not."""
        for acknowledged, finish in ((400, True), (BODY, False)):
            answer = Answer(Coarse())
            if finish:
                answer.settling.finish()
            answer.acknowledge(acknowledged)
            answer.end(clean=True, kept=True)
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
        answer.end()
        self.assertEqual((0, False), fate(self.successResultOf(finished)))

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
        answer.end()
        self.assertEqual(0, self.successResultOf(answer.settling.finish()).acknowledged)


class Download:
    """An application that sends ``size`` bytes and settles, and a client that asked for them."""

    def __init__(self, size: int, *, send_buffer: int = 64 * 1024, timeouts: Timeouts | None = None) -> None:
        self.size = size
        self.result: Settlement | None = None
        self.confirmed: bool | None = None
        self.request: Any = None
        self.service = Service(lambda request: shielded(self._send(request)), timeouts=timeouts)
        self.wire: Wire = self.service.wire(send_buffer=send_buffer)

    async def _send(self, request: Any) -> None:
        self.request = request
        request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % self.size])
        with contextlib.suppress(ClientGone):
            for start in range(0, self.size, 65_536):
                await request.send(b"x" * min(65_536, self.size - start))
        self.result = await request.settle()
        request.finish()
        if self.confirmed is None:
            self.confirmed = await request.confirmed()

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
        self.assertEqual((1_000_000, True), fate(download.result))
        self.assertEqual((True, False), (download.wire.closed, download.wire.was_reset))

    def test_reset(self):
        """A client that resets has nothing."""
        download = Download(1_000_000)
        download.wire.send(request("GET", "/"))
        download.wire.reset()
        self.assertEqual((0, False), fate(download.result))

    def test_next_request(self):
        """A next request completes, and is answered."""
        download = Download(10)
        download.wire.send(request("GET", "/"))
        download.wire.send(request("GET", "/"))
        self.assertEqual((10, True), fate(download.result))
        self.assertEqual(2, len(download.service.seen))

    def test_pipelined_request(self):
        """A next request that was there already says nothing; the second of quiet does."""
        download = Download(10)
        download.wire.send(request("GET", "/") * 2)
        self.assertIsNone(download.result)
        download.wire.advance(QUIET + 0.2)
        self.assertEqual((10, True), fate(download.result))

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
        self.assertEqual(((10, True), True), (fate(download.result), download.wire.closed))

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
        self.assertEqual((400, False), fate(download.result))

    def test_stall(self):
        """Row 85: a client that takes nothing behind the head is aborted after a minute without progress."""
        download = Download(1000)
        download.wire.stop_reading()
        download.wire.send(request("GET", "/"))
        download.wire.take(download_head())
        download.wire.advance(59)
        self.assertIsNone(download.result)
        download.wire.advance(2)
        self.assertEqual(((0, False), True), (fate(download.result), download.wire.was_reset))

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
        self.assertEqual([(0, False)], [fate(result) for result in results])

    def test_empty(self):
        """An empty body settles, too."""
        download = Download(0)
        download.wire.send(request("GET", "/"))
        self.assertIsNone(download.result)
        download.wire.close()
        self.assertEqual((0, True), fate(download.result))

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
        self.assertEqual([(1000, True), (300, False)], [fate(one) for one in results])


class SentOnTheWireTests(SynchronousTestCase):
    """What was sent, through the channel."""

    def test_reset(self):
        """A reset half-way leaves what the kernel took, and nothing of what was only written."""
        download = Download(1_000_000)
        download.wire.stop_reading()
        download.wire.send(request("GET", "/"))
        download.wire.take(download_head())
        download.wire.reset()
        download.wire.run()
        self.assertTrue(download.result is not None and 64_000 < download.result.sent <= 65_536 + download_head())

    def test_aborted(self):
        """So does our own abort."""
        download = Download(1_000_000)
        download.wire.stop_reading()
        download.wire.send(request("GET", "/"))
        download.request.abort()
        self.assertTrue(download.wire.was_reset)
        self.assertTrue(download.result is not None and 64_000 < download.result.sent <= 65_536)

    def test_not_begun(self):
        """An answer of which the kernel took nothing has not begun."""
        results = []

        async def handler(request):
            request.responseHeaders.setRawHeaders(b"Content-Length", [b"1000"])
            await request.send(b"x" * 1000)
            request.abort()
            results.append(await request.settle())

        wire = Service(lambda request: shielded(handler(request))).wire()
        wire.send(request("GET", "/"))
        wire.run()
        self.assertEqual([Settlement(acknowledged=0, sent=0, begun=False, complete=False)], results)

    def test_acknowledged(self):
        """While it is sent, the request tells how much has arrived."""
        download = Download(1000)
        download.wire.stop_reading()
        download.wire.send(request("GET", "/"))
        seen = [download.request.acknowledged()]
        for octets in (download_head(), 400, 600):
            download.wire.take(octets)
            seen.append(download.request.acknowledged())
        self.assertEqual([0, 0, 400, 1000], seen)

    def test_nothing_acknowledged_before_the_body(self):
        """Before its body has begun, nothing of an answer is acknowledged, and it is not confirmed."""
        seen = []

        async def handler(request):
            seen.append((request.acknowledged(), await request.confirmed()))
            answer(request, b"")

        Service(lambda request: shielded(handler(request))).wire().send(request("GET", "/"))
        self.assertEqual([(0, False)], seen)


class AftermathOnTheWireTests(SynchronousTestCase):
    """What comes after a body that was settled by quiet alone, through the channel."""

    def quiet(self, fields: dict[str, str] | None = None) -> Download:
        """A download that was."""
        download = Download(1000)
        download.wire.send(request("GET", "/", fields))
        download.wire.advance(QUIET + 0.2)
        self.assertEqual((True, None), (download.result is not None and download.result.quiet, download.confirmed))
        return download

    def test_each_end(self):
        """On a connection that goes on and on one that ends: FIN confirms, RST does not."""
        for fields in ({}, {"Connection": "close"}):
            closed, reset = self.quiet(fields), self.quiet(fields)
            for download in (closed, reset):
                download.wire.advance(30)
                self.assertFalse(download.wire.closed)
            closed.wire.close()
            reset.wire.reset()
            self.assertEqual((True, False), (closed.confirmed, reset.confirmed))
            self.assertEqual((True, True), (closed.wire.closed, reset.wire.closed))

    def test_asked(self):
        """The first byte of a next request confirms."""
        download = self.quiet()
        download.wire.send(b"G")
        self.assertTrue(download.confirmed)

    def test_pipelined(self):
        """The rest of a request that had begun before says nothing; one behind it does."""
        download = Download(1000)
        following = request("GET", "/")
        download.wire.send(request("GET", "/") + following[:10])
        download.wire.advance(QUIET + 0.2)
        download.wire.send(following[10:])
        self.assertIsNone(download.confirmed)
        download.wire.send(following)
        self.assertTrue(download.confirmed)

    def test_a_minute(self):
        """A minute confirms, and ends a connection that was waiting for nothing else."""
        for fields, closed in (({}, False), ({"Connection": "close"}, True)):
            download = self.quiet(fields)
            download.wire.advance(AFTERMATH + 0.1)
            self.assertEqual((True, closed), (download.confirmed, download.wire.closed))
            self.assertFalse(download.wire.was_reset)

    def test_idle(self):
        """A connection that is idle for too long before the minute is over is closed on our side, and waited for."""
        download = self.quiet_with(Timeouts(idle=10.0))
        download.wire.advance(11)
        self.assertEqual((True, False, None), (download.wire.half_closed, download.wire.closed, download.confirmed))
        download.wire.reset()
        self.assertFalse(download.confirmed)

    def quiet_with(self, timeouts: Timeouts) -> Download:
        download = Download(1000, timeouts=timeouts)
        download.wire.send(request("GET", "/"))
        download.wire.advance(QUIET + 0.2)
        return download

    def test_drained(self):
        """At the server's end connections that wait for a sign are closed in order, at once, and that confirms."""
        for fields in ({}, {"Connection": "close"}):
            download = self.quiet(fields)
            drained = Deferred.fromCoroutine(download.service.factory.drain(10))
            download.wire.run()
            self.assertEqual((0, True, True), (self.successResultOf(drained), download.confirmed, download.wire.closed))
            self.assertFalse(download.wire.was_reset)

    def test_draining(self):
        """An answer that settles by quiet while the server ends is not waited for longer than any other."""
        download = Download(1000)
        download.wire.send(request("GET", "/"))
        drained = Deferred.fromCoroutine(download.service.factory.drain(10))
        download.wire.advance(QUIET + 0.2)
        self.assertNoResult(drained)
        download.wire.advance(LINGER_QUIET + 0.2)
        self.assertEqual((0, True), (self.successResultOf(drained), download.confirmed))

    def test_nothing_stays(self):
        """A connection that has ended leaves no timer behind."""
        download = self.quiet()
        download.wire.close()
        self.assertEqual([], download.service.factory.clock.getDelayedCalls())


def download_head() -> int:
    """Bytes of the head of an answer whose Content-Length has four digits."""
    download = Download(1000)
    download.wire.send(request("GET", "/"))
    return download.head
