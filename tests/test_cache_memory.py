"""The cache in memory: what it promises beyond the contract."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from filedropd.cache.memory import MemoryCache
from filedropd.interfaces import ICache
from tests.contracts import cache as contract


class MemoryCacheTests(contract.CacheContract, TestCase):
    """The contract, on a clock that is set by hand."""

    def setUp(self) -> None:
        self.clock = Clock()

    async def make(self) -> ICache:
        return MemoryCache(self.clock)

    async def elapse(self, seconds: float) -> None:
        self.clock.advance(seconds)


class BoundTests(TestCase):
    """It never holds more than it was told to."""

    async def holding(self, *keys: bytes) -> MemoryCache:
        """Return a cache for three entries in which ``keys`` were set, in that order."""
        cache = MemoryCache(Clock(), 3)
        for key in keys:
            await cache.set(key, b"value of " + key, 60)
        return cache

    async def missing(self, cache: MemoryCache) -> list[bytes]:
        """Return those of four keys that are not there."""
        return [key for key in (b"a", b"b", b"c", b"d") if await cache.get(key) is None]

    async def test_oldest_goes(self):
        """When there is no room, what was not used for longest goes."""
        self.assertEqual([b"a"], await self.missing(await self.holding(b"a", b"b", b"c", b"d")))

    async def test_reading_is_use(self):
        """What was read lately stays."""
        cache = await self.holding(b"a", b"b", b"c")
        await cache.get(b"a")
        await cache.set(b"d", b"", 60)
        self.assertEqual([b"b"], await self.missing(cache))

    async def test_setting_is_use(self):
        """What was set again lately stays, and takes no second place."""
        self.assertEqual([b"b"], await self.missing(await self.holding(b"a", b"b", b"c", b"a", b"d")))

    async def test_counting_is_use(self):
        """What was counted lately stays; counts take places as values do."""
        cache = MemoryCache(Clock(), 2)
        for key in (b"a", b"b", b"a", b"c"):
            await cache.add(key, 1, 60)
        self.assertEqual([3, 1, 2], [await cache.add(b"a", 1, 60), await cache.add(b"b", 1, 60), len(cache)])

    async def test_expired_is_dropped(self):
        """What is found to be over its time is not held any longer."""
        clock = Clock()
        cache = MemoryCache(clock)
        await cache.set(b"key", b"value", 1)
        clock.advance(1)
        await cache.get(b"key")
        self.assertEqual(0, len(cache))

    async def test_default(self):
        """It holds 65,536 entries unless told otherwise."""
        cache = MemoryCache(Clock())
        for n in range(65_537):
            await cache.set(n.to_bytes(4, "big"), b"", 60)
        self.assertEqual(65_536, len(cache))

    def test_no_room_at_all(self):
        """A cache for nothing is refused when it is made."""
        with self.assertRaisesRegex(ValueError, "one entry at least"):
            MemoryCache(Clock(), 0)


class ModelTests(SynchronousTestCase):
    """Whatever is done in whatever order."""

    @given(st.lists(st.tuples(st.sampled_from(["get", "set", "forget", "wait"]), st.integers(0, 5), st.integers(1, 9))))
    def test_model(self, steps):
        """It gives what a dictionary of the three entries used last would give, less those over their time."""
        clock = Clock()
        cache = MemoryCache(clock, 3)
        model: OrderedDict[int, tuple[bytes, float]] = OrderedDict()
        for turn, (step, key, seconds) in enumerate(steps):
            name, value = bytes([key]), str(turn).encode()
            if step == "wait":
                clock.advance(seconds)
            elif step == "forget":
                model.pop(key, None)
                self.successResultOf(Deferred.fromCoroutine(cache.forget(name)))
            elif step == "set":
                self.successResultOf(Deferred.fromCoroutine(cache.set(name, value, seconds)))
                model.pop(key, None)
                model[key] = (value, clock.seconds() + seconds)
                while len(model) > 3:
                    model.popitem(last=False)
            else:
                kept = model.pop(key, None)
                alive = kept is not None and kept[1] > clock.seconds()
                if alive and kept is not None:
                    model[key] = kept
                found = self.successResultOf(Deferred.fromCoroutine(cache.get(name)))
                self.assertEqual(kept[0] if alive and kept else None, found)
