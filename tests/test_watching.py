"""Who watches a drop is told that something happened, and forgotten when he does not watch any more."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from filedropd.errors import TooManyRequests
from filedropd.model import Drop
from filedropd.watching import MOST, Watch, Watches


def drop(key: bytes) -> Drop:
    """Return a drop."""
    return Drop(
        key=key,
        owner_key=b"o" * 32,
        blob=key.hex(),
        name="name",
        content_type="text/plain",
        size=1,
        created_at=0,
        expires_at=1,
        due_at=1,
    )


ONE, OTHER = drop(b"1" * 32), drop(b"2" * 32)


class WatchingTestCase(SynchronousTestCase):
    """What these tests share."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.watches = Watches()

    def waits(self, watch: Watch, seconds: float = 10) -> Deferred[bool]:
        """Wait for something to happen."""
        return Deferred.fromCoroutine(watch.changed(self.clock, seconds))


class WatchTests(WatchingTestCase):
    """One who watches."""

    def test_told(self):
        """Who waits is told when something happens to his drop, and not when it is another's."""
        watch = self.watches.open(ONE.key)
        waiting = self.waits(watch)
        self.watches.tell(OTHER)
        self.assertNoResult(waiting)
        self.watches.tell(ONE)
        self.assertTrue(self.successResultOf(waiting))

    def test_not_lost(self):
        """What happens while he looks elsewhere he is told when he looks again, however much it was once."""
        watch = self.watches.open(ONE.key)
        self.watches.tell(ONE)
        self.watches.tell(ONE)
        self.assertTrue(self.successResultOf(self.waits(watch)))
        self.assertNoResult(self.waits(watch))

    def test_before(self):
        """What happened before he came is nothing to him."""
        self.watches.tell(ONE)
        self.assertNoResult(self.waits(self.watches.open(ONE.key)))

    def test_time(self):
        """He is told that nothing happened when his time is over, and no timer stays."""
        watch = self.watches.open(ONE.key)
        waiting = self.waits(watch)
        self.clock.advance(10)
        self.assertFalse(self.successResultOf(waiting))
        waiting = self.waits(watch)
        self.watches.tell(ONE)
        self.assertTrue(self.successResultOf(waiting))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_cancelled(self):
        """Who is cancelled while he waits leaves no timer, and can wait again."""
        watch = self.watches.open(ONE.key)
        waiting = self.waits(watch)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.watches.tell(ONE)
        self.assertTrue(self.successResultOf(self.waits(watch)))


class MostTests(WatchingTestCase):
    """How many may watch."""

    def test_bounded(self):
        """So many watch one drop, and others others; when one leaves another may come."""
        watches = [self.watches.open(ONE.key) for _ in range(MOST)]
        self.assertRaises(TooManyRequests, self.watches.open, ONE.key)
        self.watches.open(OTHER.key)
        self.watches.close(ONE.key, watches[0])
        self.watches.open(ONE.key)
        self.assertEqual(MOST + 1, len(self.watches))


class WatchesTests(WatchingTestCase):
    """All who watch."""

    def test_several(self):
        """Each of several is told."""
        waiting = [self.waits(self.watches.open(ONE.key)) for _ in range(3)]
        self.watches.tell(ONE)
        self.assertEqual([True] * 3, [self.successResultOf(each) for each in waiting])

    def test_forgotten(self):
        """Of whoever does not watch any more nothing is kept, and the others go on."""
        first, second = (self.watches.open(ONE.key) for _ in range(2))
        self.watches.close(ONE.key, first)
        waiting = [self.waits(each) for each in (first, second)]
        self.watches.tell(ONE)
        self.assertNoResult(waiting[0])
        self.assertTrue(self.successResultOf(waiting[1]))
        self.watches.close(ONE.key, second)
        self.watches.close(ONE.key, second)
        self.assertEqual((0, {}), (len(self.watches), self.watches._of))

    def test_closes_when_told(self):
        """Who stops watching when he is told spares nobody, and nobody else."""
        watches = [self.watches.open(ONE.key) for _ in range(3)]
        waiting = [self.waits(watch) for watch in watches]
        for each, watch in zip(waiting, watches, strict=True):
            each.addCallback(self._closed, watch)
        self.watches.tell(ONE)
        self.assertEqual([True] * 3, [self.successResultOf(each) for each in waiting])
        self.assertEqual(0, len(self.watches))

    def _closed(self, told: bool, watch: Watch) -> bool:
        self.watches.close(ONE.key, watch)
        return told

    def test_end(self):
        """At the end all are told that nothing more comes, whatever they watch and whatever they do then."""
        watches = [(each.key, self.watches.open(each.key)) for each in (ONE, ONE, OTHER)]
        waiting = [self.waits(watch) for _, watch in watches]
        for each, (key, watch) in zip(waiting, watches, strict=True):
            each.addCallback(self._ended, key, watch)
        self.watches.end()
        self.assertEqual([True] * 3, [self.successResultOf(each) for each in waiting])

    def _ended(self, told: bool, key: bytes, watch: Watch) -> bool:
        self.watches.close(key, watch)
        return told and watch.over

    def test_after_the_end(self):
        """Who comes later never waits."""
        self.watches.end()
        watch = self.watches.open(ONE.key)
        self.assertTrue(watch.over)
        for _ in range(2):
            self.assertTrue(self.successResultOf(self.waits(watch)))
