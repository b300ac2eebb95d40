"""How long is gone on trying, by a clock that is set by hand."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from filedropd.client.errors import Later, Locked, Unavailable, Unreachable
from filedropd.client.pace import Pace
from filedropd.client.resuming import FIRST, LONGEST, Patience


class PatienceTests(SynchronousTestCase):
    """Pauses grow, are bounded, and end."""

    def setUp(self):
        self.clock = Clock()

    def patience(self, seconds: float = 100.0, chance: Callable[[], float] = lambda: 0.0) -> Patience:
        """Return patience for so long."""
        return Patience(self.clock, seconds, chance)

    def paused(self, patience: Patience, error: Unreachable | Later | None = None) -> float:
        """Return for how long it pauses."""
        began = self.clock.seconds()
        pausing = Deferred.fromCoroutine(patience.pause(error or Unreachable()))
        while not pausing.called:
            (call,) = self.clock.getDelayedCalls()
            self.clock.advance(call.getTime() - self.clock.seconds())
        self.successResultOf(pausing)
        return self.clock.seconds() - began

    def test_growing(self):
        """Each pause is twice the one before, up to the longest."""
        patience = self.patience(1e9)
        self.assertEqual([FIRST, 2 * FIRST, 4 * FIRST], [self.paused(patience) for _ in range(3)])
        self.assertEqual(LONGEST, [self.paused(patience) for _ in range(100)][-1])

    def test_chance(self):
        """Chance takes up to a half of it."""
        self.assertAlmostEqual(FIRST * 0.505, self.paused(self.patience(chance=lambda: 0.99)))

    def test_over(self):
        """When the time without progress is over, what went wrong is raised."""
        patience, error = self.patience(10.0), Unreachable()
        for _ in range(5):
            self.paused(patience, error)
        failure = self.failureResultOf(Deferred.fromCoroutine(patience.pause(error)), Unreachable)
        self.assertIs(error, failure.value)
        self.assertLessEqual(self.clock.seconds(), 10.0)

    def test_progress(self):
        """Progress makes it all anew."""
        patience = self.patience(10.0)
        for _ in range(100):
            self.clock.advance(9.0)
            patience.progress()
            self.assertEqual(FIRST, self.paused(patience))

    def test_retry_after(self):
        """A server's Retry-After is the least; one beyond all patience is raised at once."""
        patience = self.patience(100.0)
        self.assertEqual(30.0, self.paused(patience, Unavailable(retry_after=30.0)))
        self.assertEqual(2 * FIRST, self.paused(patience, Unavailable(retry_after=0.0)))
        self.failureResultOf(Deferred.fromCoroutine(patience.pause(Locked(retry_after=900.0))), Locked)

    def test_cancel(self):
        """Who waits can be cancelled, and no timer is left."""
        Deferred.fromCoroutine(self.patience().pause(Unreachable())).addErrback(lambda _: None).cancel()
        self.assertEqual([], self.clock.getDelayedCalls())


class PaceTests(SynchronousTestCase):
    """So many bytes a second."""

    def test_rate(self):
        """Over some time it is the rate, however the pieces come."""
        clock = Clock()
        pace = Pace(clock, 1000.0)
        for size in (10, 500, 3000, 1, 490) * 5:
            clock.advance(pace.after(size))
        self.assertAlmostEqual(4001 * 5 / 1000, clock.seconds(), delta=1.1)

    def test_unlimited(self):
        """Without a rate there is nothing to wait for."""
        self.assertEqual(0.0, Pace(Clock(), None).after(10**12))

    def test_ahead(self):
        """Of what is to be slow little is read ahead: the sender would take it for delivered."""
        self.assertEqual(10**6, Pace(Clock(), None).ahead(10**6))
        self.assertEqual(10**6, Pace(Clock(), 10.0**9).ahead(10**6))
        self.assertEqual(200_000, Pace(Clock(), 100_000.0).ahead(10**6))
        self.assertEqual(65_536, Pace(Clock(), 1.0).ahead(10**6))
