"""What every :class:`filedropd.interfaces.ICache` promises. Mix :class:`CacheContract` into a test case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from filedropd.interfaces import ICache

if TYPE_CHECKING:
    _Base = TestCase
else:
    _Base = object

#: Seconds for which entries here are kept; long, for those whose clock goes on by itself as well.
TTL = 600.0


class CacheContract(_Base):
    """The suite. Say how a cache is made, and how time passes for it."""

    async def make(self) -> ICache:
        """Return an empty cache that is open, and is closed after the test."""
        raise NotImplementedError

    async def elapse(self, seconds: float) -> None:
        """Let so much time pass for the cache."""
        raise NotImplementedError

    async def test_port(self):
        """It provides the port."""
        self.assertTrue(verifyObject(ICache, await self.make()))

    async def test_absent(self):
        """What was never set is not there."""
        self.assertIsNone(await (await self.make()).get(b"key"))

    async def test_kept(self):
        """What was set is there, as often as it is asked for."""
        cache = await self.make()
        await cache.set(b"key", b"value", 60)
        self.assertEqual([b"value", b"value"], [await cache.get(b"key"), await cache.get(b"key")])

    async def test_any_bytes(self):
        """Keys and values are bytes of any kind, none at all included."""
        cache = await self.make()
        for key, value in ((b"\x00\xff\r\n *", b"\x00\r\n\xff"), (b"empty", b""), (b"12", b"3.50"), (b"", b"no key")):
            await cache.set(key, value, 60)
            self.assertEqual(value, await cache.get(key))

    async def test_last(self):
        """What was set last counts."""
        cache = await self.make()
        await cache.set(b"key", b"first", 60)
        await cache.set(b"key", b"second", 60)
        self.assertEqual(b"second", await cache.get(b"key"))

    async def test_own(self):
        """Every key has its own value."""
        cache = await self.make()
        await cache.set(b"a", b"1", 60)
        await cache.set(b"b", b"2", 60)
        self.assertEqual([b"1", b"2"], [await cache.get(b"a"), await cache.get(b"b")])

    async def test_over(self):
        """What is over its time is not there."""
        cache = await self.make()
        await cache.set(b"key", b"value", TTL)
        await self.elapse(TTL * 1.5)
        self.assertIsNone(await cache.get(b"key"))

    async def test_each_its_time(self):
        """One entry's end is not another's."""
        cache = await self.make()
        await cache.set(b"short", b"1", TTL)
        await cache.set(b"long", b"2", TTL * 3)
        await self.elapse(TTL * 1.5)
        self.assertEqual([None, b"2"], [await cache.get(b"short"), await cache.get(b"long")])

    async def test_renewed(self):
        """What is set again is kept from then on."""
        cache = await self.make()
        await cache.set(b"key", b"first", TTL)
        await cache.set(b"key", b"second", TTL * 3)
        await self.elapse(TTL * 1.5)
        self.assertEqual(b"second", await cache.get(b"key"))

    async def test_no_longer(self):
        """Reading an entry does not make it last longer."""
        cache = await self.make()
        await cache.set(b"key", b"value", TTL)
        await self.elapse(TTL * 0.75)
        await cache.get(b"key")
        await self.elapse(TTL * 0.75)
        self.assertIsNone(await cache.get(b"key"))

    async def test_no_time(self):
        """What is set for no time at all is not there, and what it replaces neither."""
        cache = await self.make()
        await cache.set(b"key", b"first", 60)
        await cache.set(b"key", b"second", 0)
        await cache.set(b"other", b"third", -1)
        self.assertEqual([None, None], [await cache.get(b"key"), await cache.get(b"other")])

    async def test_for_ever(self):
        """What is to be kept for ever, or nearly, is kept."""
        cache = await self.make()
        for ttl in (1e9, 1e30, float("inf")):
            await cache.set(b"key", b"%g" % ttl, ttl)
            self.assertEqual(b"%g" % ttl, await cache.get(b"key"))

    async def test_held(self):
        """It tells what it holds, and for how long it still will."""
        cache = await self.make()
        await cache.set(b"key", b"value", TTL)
        await self.elapse(TTL / 4)
        held = await cache.held(b"key")
        self.assertEqual(b"value", held and held.value)
        self.assertTrue(held and 0 < held.left <= TTL * 3 / 4, held)

    async def test_nothing_held(self):
        """It holds nothing of what was never set, or is over its time."""
        cache = await self.make()
        await cache.set(b"key", b"value", TTL)
        await self.elapse(TTL * 1.5)
        self.assertEqual([None, None], [await cache.held(b"key"), await cache.held(b"other")])

    async def test_count(self):
        """It counts, from nothing, by any amount."""
        cache = await self.make()
        counts = [await cache.add(b"key", amount, TTL) for amount in (1, 1, 5, 0, 1000)]
        self.assertEqual([1, 2, 7, 7, 1007], counts)

    async def test_own_counts(self):
        """Every key has its own count."""
        cache = await self.make()
        self.assertEqual([1, 2, 3], [await cache.add(key, n, TTL) for n, key in enumerate((b"a", b"b", b""), 1)])

    async def test_counts_of_all(self):
        """Of many who count at once, each is told another count, and none is lost."""
        cache = await self.make()
        counts = await gatherResults(Deferred.fromCoroutine(cache.add(b"key", 1, TTL)) for _ in range(50))
        self.assertEqual(list(range(1, 51)), sorted(counts))

    async def test_count_over(self):
        """A count's time is that of its first addition: later ones do not move its end. Then it begins anew."""
        cache = await self.make()
        await cache.add(b"key", 5, TTL)
        await self.elapse(TTL * 0.75)
        self.assertEqual(6, await cache.add(b"key", 1, TTL))
        await self.elapse(TTL * 0.75)
        self.assertEqual(1, await cache.add(b"key", 1, TTL))
        await self.elapse(TTL * 0.75)
        self.assertEqual(2, await cache.add(b"key", 1, TTL))

    async def test_count_for_no_time(self):
        """What is counted for no time at all begins anew each time."""
        cache = await self.make()
        self.assertEqual([2, 3], [await cache.add(b"key", 2, 0), await cache.add(b"key", 3, -1)])

    async def test_forgotten(self):
        """What is forgotten is not there, be it a value or a count; others are. To forget nothing is nothing."""
        cache = await self.make()
        await cache.set(b"value", b"", TTL)
        await cache.set(b"other", b"there", TTL)
        await cache.add(b"count", 5, TTL)
        for key in (b"value", b"count", b"nothing"):
            await cache.forget(key)
        self.assertEqual([None, b"there"], [await cache.get(b"value"), await cache.get(b"other")])
        self.assertEqual(1, await cache.add(b"count", 1, TTL))

    async def test_mixed(self):
        """A key for a value and a count at once is nobody's mistake to die of."""
        cache = await self.make()
        await cache.set(b"key", b"value", TTL)
        await cache.add(b"key", 1, TTL)
        await cache.get(b"key")
        await cache.held(b"key")
        await cache.set(b"key", b"value", TTL)
        self.assertEqual(b"value", await cache.get(b"key"))

    async def test_closed(self):
        """What is closed has nothing, and can be closed again."""
        cache = await self.make()
        await cache.set(b"key", b"value", TTL)
        await cache.close()
        await cache.close()
        self.assertIsNone(await cache.get(b"key"))
