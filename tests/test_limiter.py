"""Who must wait, for how long, and who never more than a minute."""

from __future__ import annotations

import random
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from filedropd.cache.front import Fronted
from filedropd.cache.memory import MemoryCache
from filedropd.errors import TooManyRequests
from filedropd.interfaces import Held
from filedropd.limiter import CLIENT, DROP, KNOWN, LONGEST, MEMORY, PATIENCE, Limiter, Tier
from filedropd.rates import Rate, parse_rate
from tests.support import BEGAN, Wall, result_of

T = TypeVar("T")

KEY: Final = b"k" * 32
OTHER_KEY: Final = b"o" * 32


class Slow:
    """A cache in memory that answers a moment later, as one on the network does, so that calls overtake each other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._memory = MemoryCache(clock)

    async def add(self, key: bytes, amount: int, ttl: float) -> int | None:
        """See ICache."""
        await deferLater(self._clock, 0.001)
        return await self._memory.add(key, amount, ttl)

    async def held(self, key: bytes) -> Held | None:
        """See ICache."""
        await deferLater(self._clock, 0.001)
        return await self._memory.held(key)

    async def set(self, key: bytes, value: bytes, ttl: float) -> None:
        """See ICache."""
        await deferLater(self._clock, 0.001)
        await self._memory.set(key, value, ttl)

    async def forget(self, key: bytes) -> None:
        """See ICache."""
        await deferLater(self._clock, 0.001)
        await self._memory.forget(key)


class Away:
    """A cache that is away."""

    async def add(self, key: bytes, amount: int, ttl: float) -> None:
        """See ICache."""

    async def held(self, key: bytes) -> None:
        """See ICache."""

    async def set(self, key: bytes, value: bytes, ttl: float) -> None:
        """See ICache."""

    async def forget(self, key: bytes) -> None:
        """See ICache."""


class LimiterTestCase(SynchronousTestCase):
    """A limiter on a clock that is set by hand."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cache = MemoryCache(self.clock)
        self.refusals: list[str] = []
        self.limiter = self.make(self.cache)

    def make(self, cache: Any, uploads: Rate | None = None) -> Limiter:
        """Return a limiter on ``cache``."""
        return Limiter(cache, Wall(self.clock), uploads=uploads, limited=self.refusals.append)

    def done(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` comes to, which is there at once."""
        return result_of(work)

    def wait(self, client: str | None, key: bytes = KEY) -> int:
        """Try a wrong password: return how long ``client`` is told to wait instead, 0 where it has its try."""
        try:
            self.done(self.limiter.before_password(key, client))
        except TooManyRequests as error:
            return error.retry_after
        return 0

    def tries(self, client: str | None, seconds: int, key: bytes = KEY) -> int:
        """Return how many tries ``client`` has who tries twice in each of so many seconds."""
        count = 0
        for _ in range(seconds):
            count += sum(self.wait(client, key) == 0 for _ in range(2))
            self.clock.advance(1)
        return count

    def make_hot(self, key: bytes = KEY) -> None:
        """Let two hundred clients try, in two minutes, so that everybody waits the longest for an hour."""
        for _ in range(2):
            for number in range(200):
                self.wait(f"203.0.113.{number}", key)
            self.clock.advance(LONGEST)


class TierTests(SynchronousTestCase):
    """Waits."""

    def test_grow(self):
        """They begin with a second, double, and end at a minute."""
        self.assertEqual([0, 0, 1, 2, 4, 8, 16, 32, 60, 60], [Tier(2, 1).wait(tries) for tries in range(10)])

    def test_step(self):
        """They double after so many tries."""
        self.assertEqual([0, 1, 1, 1, 2], [Tier(1, 3).wait(tries) for tries in range(5)])

    def test_never_longer(self):
        """However many tries there were, a minute is the most."""
        self.assertEqual({LONGEST}, {tier.wait(10**9) for tier in (CLIENT, DROP)})


class ClientTests(LimiterTestCase):
    """One client, one drop."""

    def test_free(self):
        """The first tries are free, and the next is told how long to wait."""
        self.assertEqual([0] * CLIENT.free + [1], [self.wait("192.0.2.1") for _ in range(CLIENT.free + 1)])
        self.assertEqual(["client"], self.refusals)

    def test_grow(self):
        """Who waits as long as he is told has a try, and a longer wait before the next."""
        for _ in range(CLIENT.free):
            self.wait("192.0.2.1")
        waits = []
        for _ in range(9):
            waits.append(self.wait("192.0.2.1"))
            self.clock.advance(waits[-1])
            self.assertEqual(0, self.wait("192.0.2.1"))
        self.assertEqual([1, 2, 4, 8, 16, 32, 60, 60, 60], waits)

    def test_impatient(self):
        """Asking too early makes the wait no longer, and what is told is what is left of it."""
        for _ in range(CLIENT.free + 1):
            self.wait("192.0.2.1")
        for seconds in (1, 2, 4, 8, 16, 32):
            self.clock.advance(seconds)
            self.assertEqual(0, self.wait("192.0.2.1"))
        told = []
        for _ in range(60):
            told.append(self.wait("192.0.2.1"))
            self.clock.advance(1)
        self.assertEqual(list(range(60, 0, -1)), told)
        self.assertEqual(0, self.wait("192.0.2.1"))

    def test_an_hour(self):
        """A client that tries all the time has some seventy tries in an hour."""
        self.assertLessEqual(self.tries("192.0.2.1", 3600), 72)

    def test_own(self):
        """What one client does on one drop is nothing to others, nor to the same on another."""
        self.tries("192.0.2.1", 5)
        self.assertEqual((0, 0), (self.wait("192.0.2.2"), self.wait("192.0.2.1", OTHER_KEY)))

    def test_unknown(self):
        """Clients whose address says nothing are one."""
        for _ in range(CLIENT.free):
            self.wait(None)
        self.assertEqual(1, self.wait(None))

    def test_forgotten(self):
        """An hour after the first try counting begins anew."""
        self.tries("192.0.2.1", 60)
        self.clock.advance(MEMORY)
        self.assertEqual([0] * CLIENT.free, [self.wait("192.0.2.1") for _ in range(CLIENT.free)])

    def test_right(self):
        """Who has shown the right password may ask for many parts at once with it, again and again."""
        for _ in range(CLIENT.free):
            self.wait("192.0.2.1")
        for _ in range(3):
            self.done(self.limiter.password_right(KEY, "192.0.2.1"))
            self.assertEqual([0] * KNOWN, [self.wait("192.0.2.1") for _ in range(KNOWN)])

    def test_right_alone(self):
        """He has no tries without end for that."""
        self.wait("192.0.2.1")
        self.done(self.limiter.password_right(KEY, "192.0.2.1"))
        self.assertLessEqual(self.tries("192.0.2.1", 3600), 72 + KNOWN)

    def test_untried(self):
        """A try whose hash could not be computed was none, and the client need not wait before the next."""
        for _ in range(300):
            self.assertEqual(0, self.wait("192.0.2.1"))
            self.done(self.limiter.password_untried(KEY, "192.0.2.1"))
        self.assertEqual(0, self.wait("192.0.2.2"))


class DropTests(LimiterTestCase):
    """Many clients, one drop."""

    def test_free(self):
        """So many tries from anywhere are free; then whoever comes is told to wait first, and has his try then."""
        waits = [self.wait(f"203.0.113.{number}") for number in range(DROP.free + 1)]
        self.assertEqual([0] * DROP.free + [1], waits)
        self.assertEqual(["drop"], self.refusals)
        self.clock.advance(1)
        self.assertEqual(0, self.wait(f"203.0.113.{DROP.free}"))

    def test_grow(self):
        """The wait of those who come grows with the tries, up to a minute."""
        told = set()
        for number in range(150):
            wait = self.wait(f"203.0.113.{number}")
            told.add(wait)
            self.clock.advance(wait)
            self.assertEqual(0, wait and self.wait(f"203.0.113.{number}"))
        self.assertEqual({0, 1, 2, 4, 8, 16, 32, 60}, told)

    def test_one_each(self):
        """Then many clients that try all the time have one try a minute each, and not one more."""
        self.make_hot()
        clients = [f"198.51.100.{number}" for number in range(20)]
        count = 0
        for _ in range(300):
            count += sum(self.wait(client) == 0 for client in clients for _ in range(2))
            self.clock.advance(1)
        self.assertLessEqual(count, 20 * 5)

    def test_others(self):
        """Other drops are open."""
        self.make_hot()
        self.assertEqual(0, self.wait("192.0.2.1", OTHER_KEY))

    def test_patience(self):
        """Who comes back much later than told is new, and waits again."""
        self.make_hot()
        wait = self.wait("192.0.2.1")
        self.clock.advance(wait + PATIENCE)
        self.assertEqual(wait, self.wait("192.0.2.1"))

    def test_right(self):
        """Who has shown the right password does not wait for others: not for the next part, nor for many."""
        self.make_hot()
        self.clock.advance(self.wait("192.0.2.1"))
        self.assertEqual(0, self.wait("192.0.2.1"))
        self.done(self.limiter.password_right(KEY, "192.0.2.1"))
        self.assertEqual([0] * KNOWN, [self.wait("192.0.2.1") for _ in range(KNOWN)])

    def test_right_is_no_guess(self):
        """A drop that thousands may have, and get with its password, makes nobody wait."""
        for number in range(1000):
            client = f"client {number}"
            self.assertEqual(0, self.wait(client))
            self.done(self.limiter.password_right(KEY, client))

    def test_calm(self):
        """An hour after the first try nobody waits."""
        self.make_hot()
        self.clock.advance(MEMORY)
        self.assertEqual(0, self.wait("192.0.2.1"))


class PromiseTests(LimiterTestCase):
    """A client that is not over its own limit has a try a minute after it first asked or sooner, whatever others do."""

    def attack(self, randomness: random.Random) -> None:
        """Let some of many, who are new or have waited, try."""
        for _ in range(randomness.randrange(12)):
            self.wait(f"203.0.113.{randomness.randrange(400)}")
        self.wait(f"new {randomness.random()}")

    def seconds_to_a_try(self, client: str, randomness: random.Random, *, obedient: bool) -> float:
        """Return how long it takes ``client``, who asks when told to or every few seconds, while all others try."""
        began = self.clock.seconds()
        while wait := self.wait(client):
            ends = self.clock.seconds() + (wait if obedient else randomness.uniform(0.1, 5))
            while self.clock.seconds() < ends:
                self.attack(randomness)
                self.clock.advance(min(1, ends - self.clock.seconds()))
        return self.clock.seconds() - began

    def test_a_minute(self):
        """Recipients come at any time of an attack of hours, and come back as told: each has his try in a minute."""
        randomness = random.Random(1)
        taken = []
        for number in range(25):
            for _ in range(randomness.randrange(90)):
                self.attack(randomness)
                self.clock.advance(1)
            taken.append(self.seconds_to_a_try(f"192.0.2.{number}", randomness, obedient=True))
        self.assertLessEqual(max(taken), LONGEST)
        self.assertGreater(max(taken), LONGEST / 2)  # else nobody was slowed down

    def test_impatient(self):
        """One who asks all the time has it as soon: a few seconds later, as he does not ask at the moment itself."""
        randomness = random.Random(2)
        self.make_hot()
        for number in range(10):
            taken = self.seconds_to_a_try(f"192.0.2.{number}", randomness, obedient=False)
            self.assertLessEqual(taken, LONGEST + 5)

    def test_over(self):
        """Even a client over its own limit has a try a minute."""
        randomness = random.Random(3)
        for _ in range(200):
            self.attack(randomness)
            self.wait("192.0.2.1")
            self.clock.advance(1)
        for _ in range(5):
            self.assertLessEqual(self.seconds_to_a_try("192.0.2.1", randomness, obedient=True), LONGEST)

    def test_lost(self):
        """Whatever the cache loses, a client has a try in the minute after it asks again."""
        randomness = random.Random(4)
        self.make_hot()
        clients = [f"192.0.2.{number}" for number in range(20)]
        for client in clients:
            self.wait(client)
        self.clock.advance(LONGEST / 2)
        for key in list(self.cache._entries):
            if randomness.random() < 0.5:
                del self.cache._entries[key]
        for client in clients:
            self.assertLessEqual(self.seconds_to_a_try(client, randomness, obedient=True), LONGEST)


class AtOnceTests(LimiterTestCase):
    """Tries that are made side by side, on a cache that takes its time."""

    def setUp(self) -> None:
        super().setUp()
        self.limiter = self.make(Slow(self.clock))

    def at_once(self, *clients: str) -> int:
        """Return how many of ``clients``, who all try at once, have a try."""
        results: Deferred[Any] = gatherResults([self.tried(client) for client in clients])
        for _ in range(20):
            self.clock.advance(0.001)
        return sum(self.successResultOf(results))

    def tried(self, client: str) -> Deferred[bool]:
        """Begin a try; the result is whether it is one."""

        def refused(failure: Any) -> bool:
            failure.trap(TooManyRequests)
            return False

        trying = Deferred.fromCoroutine(self.limiter.before_password(KEY, client))
        return trying.addCallback(lambda _: True).addErrback(refused)

    def test_client(self):
        """Of a hundred tries of one client as many are free as one after the other, and the others must wait."""
        self.assertEqual(CLIENT.free, self.at_once(*["192.0.2.1"] * 100))

    def test_client_over(self):
        """When its wait is over, a client has one try, however many it makes at once."""
        self.at_once(*["192.0.2.1"] * 100)
        for _ in range(3):
            self.clock.advance(LONGEST)
            self.assertEqual(1, self.at_once(*["192.0.2.1"] * 100))

    def test_drop(self):
        """Of hundreds of clients so many have a try at once, and the others must wait."""
        self.assertEqual(DROP.free, self.at_once(*(f"client {number}" for number in range(300))))

    def test_one_alone(self):
        """One client that tries hundreds of times at once makes nobody else wait."""
        self.at_once(*["192.0.2.1"] * 300)
        self.assertEqual(1, self.at_once("192.0.2.2"))


class CacheTests(LimiterTestCase):
    """What is in the cache, and what becomes of limits when it is away."""

    def test_away(self):
        """Where nothing can be counted, everything is let through."""
        self.limiter = self.make(Away(), Rate(1, 60))
        self.assertEqual({0}, {self.wait("192.0.2.1") for _ in range(100)})
        self.done(self.limiter.password_right(KEY, "192.0.2.1"))
        self.done(self.limiter.password_untried(KEY, "192.0.2.1"))
        for _ in range(10):
            self.done(self.limiter.before_upload("192.0.2.1"))

    def test_fronted(self):
        """With memory in front of a cache that is away, limits hold in this process."""
        self.limiter = self.make(Fronted(MemoryCache(self.clock), Away()), Rate(3, 60))  # type: ignore[arg-type]  # as much of a cache as it takes
        self.assertEqual([0] * CLIENT.free + [1], [self.wait("192.0.2.1") for _ in range(CLIENT.free + 1)])
        for _ in range(3):
            self.done(self.limiter.before_upload("192.0.2.1"))
        self.failureResultOf(Deferred.fromCoroutine(self.limiter.before_upload("192.0.2.1")), TooManyRequests)

    def test_shared(self):
        """Two daemons on one cache count together, and tell both the same."""
        daemons = [self.make(Fronted(MemoryCache(self.clock), self.cache)) for _ in range(2)]
        waits = []
        for number in range(CLIENT.free + 4):
            self.limiter = daemons[number % 2]
            waits.append(self.wait("192.0.2.1"))
        self.assertEqual([0] * CLIENT.free + [1] * 4, waits)
        self.clock.advance(1)
        self.assertEqual(0, self.wait("192.0.2.1"))
        self.limiter = daemons[0]
        self.assertEqual(2, self.wait("192.0.2.1"))

    def test_illegible(self):
        """Neither an address nor a drop's key is in the cache, in any form that leads back to it."""
        self.limiter = self.make(self.cache, Rate(1, 60))
        self.make_hot()
        self.wait("192.0.2.1")
        self.done(self.limiter.before_upload("192.0.2.1"))
        for key, entry in self.cache._entries.items():
            self.assertEqual(32, len(key))
            self.assertNotEqual(KEY, key)
            self.assertIn(entry.value, [b"", *range(-1000, 1000)])

    def test_any_text(self):
        """A client may be called anything."""
        for client in ("", "\udcff", "a\nb", "2001:db8::/64"):
            self.assertEqual(0, self.wait(client, client.encode("utf-8", "replace") + KEY))


class UploadTests(LimiterTestCase):
    """Uploads of a client."""

    def setUp(self) -> None:
        super().setUp()
        self.limiter = self.make(self.cache, Rate(3, 3600))
        self.clock.advance(3200 - BEGAN % 3600)  # 400 s are left of the window

    def leave(self, client: str | None) -> int:
        """Begin an upload; return how long ``client`` is told to wait instead, 0 where it may."""
        try:
            self.done(self.limiter.before_upload(client))
        except TooManyRequests as error:
            self.assertIn("3/h", error.detail)
            return error.retry_after
        return 0

    def test_rate(self):
        """So many are taken, and then it is told when the next window begins."""
        self.assertEqual([0, 0, 0, 400, 400], [self.leave("192.0.2.1") for _ in range(5)])
        self.assertEqual(["uploads", "uploads"], self.refusals)
        self.clock.advance(400)
        self.assertEqual([0, 0, 0, 3600], [self.leave("192.0.2.1") for _ in range(4)])

    def test_own(self):
        """What one client leaves is nothing to others; those whose address says nothing are one."""
        for _ in range(4):
            self.leave("192.0.2.1")
            self.leave(None)
        self.assertEqual(0, self.leave("192.0.2.2"))
        self.assertNotEqual(0, self.leave(None))

    def test_none(self):
        """Without a rate any number is taken, and nothing counted."""
        self.limiter = self.make(self.cache)
        for _ in range(1000):
            self.assertEqual(0, self.leave("192.0.2.1"))
        self.assertEqual(0, len(self.cache))


class RateTests(SynchronousTestCase):
    """What a rate is written as."""

    def test_taken(self):
        """So many in a second, minute, hour or day."""
        for text, rate in (
            ("5/s", Rate(5, 1)),
            ("10/m", Rate(10, 60)),
            ("100/h", Rate(100, 3600)),
            ("1/d", Rate(1, 86400)),
        ):
            self.assertEqual(rate, parse_rate(text))
            self.assertEqual(text, str(rate))

    def test_no_rate(self):
        """None is one, too."""
        self.assertIsNone(parse_rate("none"))

    def test_refused(self):
        """Everything else is refused, with what may be written instead."""
        for text in (
            "",
            "0/h",
            "10",
            "10/",
            "/h",
            "-1/h",
            "1.5/h",
            "10/w",
            "10 /h",
            "10/hour",
            "١/h",
            "None",
            "9" * 10 + "/h",
            "10/h\n",
        ):
            error = self.assertRaises(ValueError, parse_rate, text)
            self.assertIn("100/h", str(error))
