"""The few ways in which we touch Deferreds."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from filedropd.deferreds import Gathering, Happening, background, shielded, sleep, within
from filedropd.errors import Unavailable


class Work:
    """Something that waits until it is told to go on, and notes how far it got."""

    def __init__(self) -> None:
        self.gate: Deferred[str] = Deferred()
        self.ended = False

    async def run(self) -> str:
        """Wait, and return what it was told."""
        told = await self.gate
        self.ended = True
        return told

    async def run_silently(self) -> None:
        """Wait."""
        await self.run()


class WithinTests(SynchronousTestCase):
    """Work that is waited for no longer than so long."""

    def setUp(self):
        self.clock, self.work = Clock(), Work()
        self.waiting = Deferred.fromCoroutine(within(self.clock, 3, self.work.run()))

    def test_in_time(self):
        """What comes of it in time comes out, and no timer is left."""
        self.work.gate.callback("done")
        self.assertEqual("done", self.successResultOf(self.waiting))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_late(self):
        """When the time is over that is said, and the work goes on to its end."""
        self.clock.advance(3)
        self.failureResultOf(self.waiting, TimeoutError)
        self.assertFalse(self.work.ended)
        self.work.gate.callback("done")
        self.assertTrue(self.work.ended)

    def test_left(self):
        """Whoever waits may leave before."""
        self.waiting.cancel()
        self.failureResultOf(self.waiting, CancelledError)
        self.assertEqual([], self.clock.getDelayedCalls())


class ShieldedTests(SynchronousTestCase):
    """Work goes on whatever becomes of whoever waits for it."""

    def test_result(self):
        """Its result comes out."""
        work = Work()
        waiting = shielded(work.run())
        self.assertNoResult(waiting)
        work.gate.callback("done")
        self.assertEqual("done", self.successResultOf(waiting))

    def test_at_once(self):
        """Also if it was there at once."""
        work = Work()
        work.gate.callback("done")
        self.assertEqual("done", self.successResultOf(shielded(work.run())))

    def test_failure(self):
        """Its failure comes out, and is not logged."""
        work = Work()
        waiting = shielded(work.run())
        work.gate.errback(ValueError("no"))
        self.failureResultOf(waiting, ValueError)

    def test_cancelled(self):
        """Cancelling ends the waiting at once, and not the work."""
        work = Work()
        waiting = shielded(work.run())
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertFalse(work.ended)
        work.gate.callback("done")
        self.assertTrue(work.ended)

    def test_cancelled_then_failed(self):
        """A failure that has nobody to tell any more is logged."""
        work = Work()
        waiting = shielded(work.run())
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        work.gate.errback(ValueError("no"))
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))

    def test_through_a_coroutine(self):
        """A coroutine that is cancelled while it awaits shielded work is told, and the work is not."""
        work = Work()
        seen: list[str] = []

        async def caller() -> None:
            try:
                await shielded(work.run())
            finally:
                seen.append("left")

        calling = Deferred.fromCoroutine(caller())
        calling.cancel()
        self.failureResultOf(calling, CancelledError)
        self.assertEqual((["left"], False), (seen, work.ended))
        work.gate.callback("")
        self.assertTrue(work.ended)


class BackgroundTests(SynchronousTestCase):
    """Work that nobody waits for."""

    def test_ends(self):
        """It can be known when it has ended."""
        work = Work()
        ended = background(work.run_silently(), "work")
        self.assertNoResult(ended)
        work.gate.callback("")
        self.assertIsNone(self.successResultOf(ended))

    def test_failure(self):
        """Its failure is logged under its name, and goes nowhere else."""
        work = Work()
        ended = background(work.run_silently(), "the work")
        work.gate.errback(ValueError("no"))
        self.assertIsNone(self.successResultOf(ended))
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))

    def test_expected(self):
        """What happens without anybody's fault has a line, and no traceback."""
        background_work, shielded_work = Work(), Work()
        background(background_work.run_silently(), "the work")
        waiting = shielded(shielded_work.run())
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        with capturedLogs() as events:
            for work in (background_work, shielded_work):
                work.gate.errback(Unavailable("away"))
        self.assertEqual([LogLevel.warn] * 2, [event["log_level"] for event in events])

    def test_cancelled(self):
        """To be cancelled is no failure."""
        ended = background(Work().run_silently(), "work")
        ended.cancel()
        self.assertIsNone(self.successResultOf(ended))


class SleepTests(SynchronousTestCase):
    """Waiting for a while."""

    def test_fires(self):
        """It fires after so many seconds, not before."""
        clock = Clock()
        waiting = sleep(clock, 2)
        clock.advance(1.9)
        self.assertNoResult(waiting)
        clock.advance(0.1)
        self.assertIsNone(self.successResultOf(waiting))

    def test_cancelled(self):
        """Cancelled, it leaves no timer."""
        clock = Clock()
        waiting = sleep(clock, 2)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual([], clock.getDelayedCalls())


class HappeningTests(SynchronousTestCase):
    """Something that happens once."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.happening = Happening()

    def wait(self, seconds: float = 2) -> Deferred[bool]:
        """Wait for it."""
        return Deferred.fromCoroutine(self.happening.within(self.clock, seconds))

    def test_happens(self):
        """Everybody who waits is told, and no timer stays."""
        waiting = [self.wait() for _ in range(3)]
        self.happening.happen()
        self.assertEqual([True] * 3, [self.successResultOf(each) for each in waiting])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_happened(self):
        """Who comes later need not wait; that it happens again changes nothing."""
        self.happening.happen()
        self.happening.happen()
        self.assertTrue(self.successResultOf(self.wait(0)))

    def test_late(self):
        """Who waits long enough is told that it did not happen; others still may be told that it did."""
        short, long = self.wait(1), self.wait(2)
        self.clock.advance(1)
        self.assertFalse(self.successResultOf(short))
        self.assertNoResult(long)
        self.happening.happen()
        self.assertTrue(self.successResultOf(long))

    def test_cancelled(self):
        """Who does not want to wait any more leaves nothing."""
        waiting = self.wait()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.happening.happen()

    def test_one_ends_the_waiting_of_another(self):
        """Whoever goes on may cancel others who wait: they are told so, and nothing else breaks."""
        first, second, third = self.wait(), self.wait(), self.wait()
        first.addCallback(lambda _: second.cancel())
        self.happening.happen()
        self.failureResultOf(second, CancelledError)
        self.assertTrue(self.successResultOf(third))
        self.assertIsNone(self.successResultOf(first))


class GatheringTests(SynchronousTestCase):
    """Work that can be waited for."""

    def setUp(self) -> None:
        self.gathering = Gathering()

    def empty(self) -> Deferred[None]:
        """Wait until nothing is under way."""
        return Deferred.fromCoroutine(self.gathering.empty())

    def test_empty(self):
        """Where nothing is under way there is nothing to wait for."""
        self.successResultOf(self.empty())
        self.assertEqual(0, len(self.gathering))

    def test_counts(self):
        """It counts what is under way; who waits is told when the last has ended."""
        with self.gathering:
            with self.gathering:
                waiting = [self.empty(), self.empty()]
                self.assertEqual(2, len(self.gathering))
            self.assertNoResult(waiting[0])
        for each in waiting:
            self.successResultOf(each)

    def test_failed(self):
        """Work that fails has ended too."""
        with self.assertRaises(ValueError), self.gathering:
            raise ValueError
        self.successResultOf(self.empty())

    def test_cancelled(self):
        """Who does not want to wait any more is no trouble to the others."""
        with self.gathering:
            first, second = self.empty(), self.empty()
            first.cancel()
            self.failureResultOf(first, CancelledError)
        self.successResultOf(second)

    def test_again(self):
        """It can be used again."""
        for _ in range(2):
            with self.gathering:
                waiting = self.empty()
                self.assertNoResult(waiting)
            self.successResultOf(waiting)
