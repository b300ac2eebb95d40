"""Memory in front of a cache that is shared, and what becomes of both when that is away."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from filedropd.cache.front import Fronted
from filedropd.cache.memory import MemoryCache
from filedropd.interfaces import Held, ICache
from tests.contracts import cache as contract
from tests.support import result_of

T = TypeVar("T")


@implementer(ICache)
class Behind:
    """A cache in memory that can be away, and can be slow.

    :ivar asked: how often it was asked for anything.
    """

    def __init__(self, clock: Clock) -> None:
        self.asked = 0
        self.away = False
        self.gate: Deferred[None] | None = None
        self._memory = MemoryCache(clock)

    async def open(self) -> None:
        """See ICache."""

    async def close(self) -> None:
        """See ICache."""
        await self._memory.close()

    async def get(self, key: bytes) -> bytes | None:
        """See ICache."""
        raise NotImplementedError

    async def held(self, key: bytes) -> Held | None:
        """See ICache. The answer is as of now, and comes when it may."""
        self.asked += 1
        found = None if self.away else await self._memory.held(key)
        if self.gate is not None:
            await self.gate
        return found

    async def set(self, key: bytes, value: bytes, ttl: float) -> None:
        """See ICache."""
        if not self.away:
            await self._memory.set(key, value, ttl)

    async def add(self, key: bytes, amount: int, ttl: float) -> int | None:
        """See ICache."""
        return None if self.away else await self._memory.add(key, amount, ttl)

    async def forget(self, key: bytes) -> None:
        """See ICache."""
        if not self.away:
            await self._memory.forget(key)


class FrontedCacheTests(contract.CacheContract, TestCase):
    """The contract, on a clock that is set by hand."""

    def setUp(self) -> None:
        self.clock = Clock()

    async def make(self) -> ICache:
        return Fronted(MemoryCache(self.clock), MemoryCache(self.clock))

    async def elapse(self, seconds: float) -> None:
        self.clock.advance(seconds)


class NoneBehindTests(FrontedCacheTests):
    """The contract, with nothing behind."""

    async def make(self) -> ICache:
        behind = Behind(self.clock)
        behind.away = True
        return Fronted(MemoryCache(self.clock), behind)


class FrontTests(SynchronousTestCase):
    """What is asked of whom. There are two processes, which share what is behind."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.behind = Behind(self.clock)
        self.ours = Fronted(MemoryCache(self.clock), self.behind)
        self.theirs = Fronted(MemoryCache(self.clock), self.behind)

    def do(self, *work: Coroutine[Any, Any, T]) -> list[T]:
        """Do one thing after the other, and return what came of it."""
        return [result_of(each) for each in work]

    def test_in_front(self):
        """What was set here is not asked for behind, and outlives it."""
        self.do(self.ours.set(b"key", b"value", 600))
        self.behind.away = True
        self.clock.advance(599)
        self.assertEqual([b"value"], self.do(self.ours.get(b"key")))
        self.assertEqual(0, self.behind.asked)

    def test_found_behind(self):
        """What another set is found behind, once a minute."""
        self.do(self.theirs.set(b"key", b"value", 600))
        for _ in range(5):
            self.assertEqual([b"value"], self.do(self.ours.get(b"key")))
        self.assertEqual(1, self.behind.asked)
        self.clock.advance(60)
        self.assertEqual([b"value"], self.do(self.ours.get(b"key")))
        self.assertEqual(2, self.behind.asked)

    def test_no_longer_than_behind(self):
        """What is found behind is not kept beyond its time."""
        self.do(self.theirs.set(b"key", b"value", 7))
        self.clock.advance(5)
        self.do(self.ours.get(b"key"))
        self.clock.advance(2)
        self.assertEqual([None], self.do(self.ours.get(b"key")))

    def test_changed_meanwhile(self):
        """An answer from behind does not undo what happened here while it was on its way."""
        for change in (self.ours.set(b"key", b"new", 600), self.ours.forget(b"key")):
            self.do(self.theirs.set(b"key", b"old", 600))
            gate: Deferred[None] = Deferred()
            self.behind.gate = gate
            asking = Deferred.fromCoroutine(self.ours.get(b"key"))
            self.do(change)
            self.behind.gate = None
            gate.callback(None)
            self.assertEqual(b"old", self.successResultOf(asking))
            self.assertNotEqual([b"old"], self.do(self.ours.get(b"key")))
            self.do(self.ours.forget(b"key"))

    def test_count_of_all(self):
        """The count is that of all processes, also after another forgot it."""
        self.do(self.ours.add(b"key", 5, 600))
        self.assertEqual([6, 7], self.do(self.theirs.add(b"key", 1, 600), self.ours.add(b"key", 1, 600)))
        self.do(self.theirs.forget(b"key"))
        self.assertEqual([1], self.do(self.ours.add(b"key", 1, 600)))

    def test_count_goes_on(self):
        """When what is behind goes away, the count goes on from what was counted here; then all count together."""
        self.do(self.ours.add(b"key", 5, 600), self.theirs.add(b"key", 1, 600))
        self.behind.away = True
        self.assertEqual([6, 2], self.do(self.ours.add(b"key", 1, 600), self.theirs.add(b"key", 1, 600)))
        self.behind.away = False
        self.assertEqual([7], self.do(self.ours.add(b"key", 1, 600)))

    def test_opens_and_closes(self):
        """Both are opened, and closed."""
        calls: list[str] = []
        for part, cache in (("front", self.ours._front), ("behind", self.behind)):
            for verb in ("open", "close"):
                self.patch(cache, verb, _noting(calls, f"{part} {verb}"))
        self.do(self.ours.open(), self.ours.close())
        self.assertEqual(["front open", "behind open", "behind close", "front close"], calls)


def _noting(calls: list[str], what: str) -> Any:
    async def note() -> None:
        calls.append(what)

    return note
