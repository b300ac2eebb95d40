"""What every :class:`filedropd.interfaces.ICache` promises. Mix :class:`CacheContract` into a test case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from filedropd.interfaces import ICache

if TYPE_CHECKING:
    _Base = TestCase
else:
    _Base = object

#: Seconds for which entries here are kept; short, for those whose clock cannot be set.
TTL = 0.5


class CacheContract(_Base):
    """The suite. Say how a cache is made, and how time passes for it."""

    async def make(self) -> ICache:
        """Return an empty cache, which the test case closes."""
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
        await cache.set(b"long", b"2", 60)
        await self.elapse(TTL * 1.5)
        self.assertEqual([None, b"2"], [await cache.get(b"short"), await cache.get(b"long")])

    async def test_renewed(self):
        """What is set again is kept from then on."""
        cache = await self.make()
        await cache.set(b"key", b"first", TTL)
        await cache.set(b"key", b"second", 60)
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
