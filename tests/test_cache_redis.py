"""The cache in Redis: the contract, and that nobody needs it. On real servers, where it is about servers."""

from __future__ import annotations

import time
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults, succeed
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from filedropd.cache.front import Fronted
from filedropd.cache.memory import MemoryCache
from filedropd.cache.redis import Patience, RedisCache
from filedropd.interfaces import ICache
from filedropd.redis_url import RedisURL
from tests import servers
from tests.contracts import cache as contract
from tests.daemon import PATIENCE
from tests.servers import Redis, free_port

#: For what is not about time, on a machine that has much else to do.
PATIENT = Patience(command=PATIENCE, connect=PATIENCE)
#: For what is about its coming back.
EAGER = Patience(command=PATIENCE, connect=PATIENCE, first=0.05, longest=0.2)
#: For what is about one that does not answer, too.
HASTY = Patience(command=1.0, first=0.05, longest=0.2)

# Takes time off what every entry has left.
_ELAPSE = """
for _, key in ipairs(redis.call('KEYS', '*')) do
    redis.call('PEXPIRE', key, redis.call('PTTL', key) - ARGV[1])
end"""


@implementer(ILogObserver)
class Heard:
    """What the cache says in the log."""

    def __init__(self, test: SynchronousTestCase) -> None:
        self.texts: list[str] = []
        self._awaited: list[tuple[str, Deferred[None]]] = []
        globalLogPublisher.addObserver(self)
        test.addCleanup(globalLogPublisher.removeObserver, self)

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_namespace", "").startswith("filedropd.cache"):
            self.texts.append(formatEvent(event))
            for part, waiting in self._awaited:
                if part in self.texts[-1] and not waiting.called:
                    waiting.callback(None)

    async def until(self, part: str) -> None:
        """Wait until something is said in which ``part`` is."""
        waiting: Deferred[None] = Deferred()
        self._awaited.append((part, waiting))
        if not any(part in text for text in self.texts):
            await waiting.addTimeout(PATIENCE, cast(IReactorTime, reactor))


async def elapse(seconds: float) -> None:
    """Let time pass for the shared server's entries."""
    servers.redis().cli("EVAL", _ELAPSE, "0", str(int(seconds * 1000)))


class RedisCacheTests(contract.CacheContract, TestCase):
    """The contract."""

    async def make(self) -> ICache:
        servers.redis().cli("FLUSHALL")
        cache = RedisCache.at(RedisURL.parse(servers.redis().url()), reactor, PATIENT)
        self.addCleanup(lambda: Deferred.fromCoroutine(cache.close()))
        await cache.open()
        return cache

    async def elapse(self, seconds: float) -> None:
        await elapse(seconds)


class FrontedRedisTests(contract.CacheContract, TestCase):
    """The contract, on memory in front of Redis."""

    async def make(self) -> ICache:
        servers.redis().cli("FLUSHALL")
        self.clock = Clock()
        cache = Fronted(MemoryCache(self.clock), RedisCache.at(RedisURL.parse(servers.redis().url()), reactor, PATIENT))
        self.addCleanup(lambda: Deferred.fromCoroutine(cache.close()))
        await cache.open()
        return cache

    async def elapse(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await elapse(seconds)


class RedisTestCase(TestCase):
    """A test on a Redis of its own."""

    def setUp(self) -> None:
        self.heard = Heard(self)

    def serve(self, *options: str) -> Redis:
        """Start a Redis."""
        self.server = Redis(*options)
        self.addCleanup(self.server.close)
        return self.server.start()

    async def open(self, url: str, patience: Patience = PATIENT) -> RedisCache:
        """Return an open cache, which is closed after the test."""
        cache = RedisCache.at(RedisURL.parse(url), reactor, patience)
        self.addCleanup(lambda: Deferred.fromCoroutine(cache.close()))
        await cache.open()
        return cache

    async def assert_done_without(self, cache: ICache) -> None:
        """Fail unless every command comes to nothing, and to no harm."""
        await cache.set(b"key", b"value", 60)
        await cache.forget(b"key")
        found = [await cache.get(b"key"), await cache.held(b"key"), await cache.add(b"count", 1, 60)]
        self.assertEqual([None] * 3, found)

    async def assert_used(self, cache: ICache) -> None:
        """Fail unless it is there for use."""
        await cache.set(b"used", b"value", 60)
        self.assertEqual(b"value", await cache.get(b"used"))


class AwayTests(RedisTestCase):
    """A Redis that is not there: nobody waits for it, the log says so once, and it is used when it is back."""

    async def test_never_there(self):
        """Opening does not fail for its absence; it is used from when it is started."""
        self.server = Redis()
        self.addCleanup(self.server.close)
        cache = await self.open(self.server.url(), EAGER)
        await self.assert_done_without(cache)
        await self.assert_done_without(cache)
        self.server.start()
        await self.heard.until("there again")
        await self.assert_used(cache)
        away, back = self.heard.texts
        self.assertIn(f"{self.server.url()} is away, going on without: Connection was refused", away)
        self.assertIn(f"{self.server.url()} is there again", back)

    async def test_killed(self):
        """One that is killed in use is done without; one that is started again is used again."""
        cache = await self.open(self.serve().url(), EAGER)
        for _ in range(3):
            await self.assert_used(cache)
            self.server.kill()
            await self.assert_done_without(cache)
            self.assertTrue(cache.away)
            self.heard.texts.clear()
            self.server.start()
            await self.heard.until("there again")
        self.assertEqual(15, cache.failures)

    async def test_killed_with_work(self):
        """Whoever waits for answers when it is killed gets none, all of them."""
        cache = await self.open(self.serve().url())
        self.server.pause()
        waiting = [Deferred.fromCoroutine(cache.get(b"key")) for _ in range(100)]
        self.server.kill()
        self.assertEqual([None] * 100, await gatherResults(waiting))
        self.assertEqual((1, 100), (len(self.heard.texts), cache.failures))

    async def test_paused(self):
        """One that does not answer keeps the first waiting for a moment, and the next for none; then it is back."""
        patience = Patience(first=0.05)
        cache = await self.open(self.serve().url(), patience)
        self.server.pause()
        began = time.monotonic()
        for _ in range(100):
            await self.assert_done_without(cache)
        self.assertLess(time.monotonic() - began, 100 * patience.command)
        self.server.go_on()
        await self.heard.until("there again")
        self.assertIn("is away, going on without: no answer within 0.05 s", self.heard.texts[0])
        self.assertEqual(2, len(self.heard.texts))

    async def test_paused_at_start(self):
        """Opening does not wait for one that takes connections and does not answer."""
        self.serve().pause()
        cache = await self.open(self.server.url(), HASTY)
        await self.assert_done_without(cache)
        self.server.go_on()
        await self.heard.until("there again")

    async def test_greeting(self):
        """One that refuses us at first, as one that is still loading does, is used once it does not."""
        self.serve().cli("CONFIG", "SET", "requirepass", "another")
        cache = await self.open(self.server.url(login=":secret@"), EAGER)
        await self.assert_done_without(cache)
        self.server.cli("CONFIG", "SET", "requirepass", "secret", password="another")
        await self.heard.until("there again")
        await self.assert_used(cache)
        self.assertIn("WRONGPASS", self.heard.texts[0])
        self.assertNotIn("secret", "".join(self.heard.texts))

    async def test_closed(self):
        """Nobody looks any more for one that is away, once the cache is closed."""
        cache = await self.open(f"redis://127.0.0.1:{free_port()}", PATIENT)
        await cache.close()
        await self.assert_done_without(cache)

    async def test_closed_while_looking(self):
        """Closing does not wait for a look for it to end, nor does anything follow that."""
        self.serve().pause()
        cache = RedisCache.at(RedisURL.parse(self.server.url()), reactor, PATIENT)
        opening = Deferred.fromCoroutine(cache.open())
        await cache.close()
        await opening
        self.assertEqual((True, []), (cache.away, self.heard.texts))


class RefusalTests(RedisTestCase):
    """A Redis that answers by errors: each command is done without, and the next is tried."""

    async def test_full(self):
        """One that is full gives what it has and takes nothing; it takes again when it has room."""
        self.serve("--maxmemory", "1mb", "--maxmemory-policy", "noeviction")
        server, clock = RedisURL.parse(self.server.url()), Clock()
        cache = RedisCache(server, server.endpoint(reactor), clock)
        self.addCleanup(lambda: Deferred.fromCoroutine(cache.close()))
        await cache.open()
        await cache.set(b"first", b"value", 60)
        for n in range(100):
            await cache.set(b"%d" % n, bytes(10_000), 60)
        for n in range(10_000):
            if await cache.add(b"count %d" % n, 1, 60) is None:
                break
        self.assertEqual([b"value", False], [await cache.get(b"first"), cache.away])
        self.assertGreater(cache.failures, 0)
        self.server.cli("CONFIG", "SET", "maxmemory", "0")
        clock.advance(5)
        self.assertEqual(1, await cache.add(b"count", 1, 60))
        refuses, back = self.heard.texts
        self.assertIn("refuses what it is told, going on without: OOM", refuses)
        self.assertIn("does what it is told again", back)

    async def test_other_type(self):
        """What somebody else put there, of another type, is not ours, and gives way to what we set."""
        cache = await self.open(self.serve().url())
        self.server.cli("RPUSH", "filedropd:key", "element")
        found = [await cache.get(b"key"), await cache.held(b"key"), await cache.add(b"key", 1, 60)]
        self.assertEqual([None] * 3, found)
        self.assertEqual((3, False), (cache.failures, cache.away))
        self.assertEqual(1, len(self.heard.texts))
        await cache.set(b"key", b"value", 60)
        self.assertEqual(b"value", await cache.get(b"key"))

    async def test_not_over_at_once(self):
        """Refusals now and then are one trouble in the log, however many commands succeed meanwhile."""
        cache = await self.open(self.serve().url(), PATIENT)
        self.server.cli("RPUSH", "filedropd:key", "element")
        for _ in range(3):
            await cache.add(b"key", 1, 60)
            await cache.add(b"other", 1, 60)
        self.assertEqual(1, len(self.heard.texts))

    async def test_too_many(self):
        """A count that Redis cannot hold is none."""
        cache = await self.open(self.serve().url())
        self.assertIsNone(await cache.add(b"key", 2**63, 60))


class UseTests(RedisTestCase):
    """What it does in Redis."""

    async def test_socket(self):
        """A UNIX socket will do, and any of its databases. Our keys begin with our name."""
        self.serve()
        cache = await self.open(f"unix://{self.server.socket}?db=3")
        await self.assert_used(cache)
        self.assertEqual("filedropd:used", self.server.cli("-n", "3", "KEYS", "*"))

    async def test_login(self):
        """Name and password are shown where there are any; they can have any characters."""
        self.serve("--requirepass", "s:e@c/r%t")
        for login in ("default:s%3Ae%40c%2Fr%25t@", ":s%3Ae%40c%2Fr%25t@"):
            await self.assert_used(await self.open(self.server.url(2, login)))

    async def test_count_without_end(self):
        """A count that has no time to live, whyever, gets one."""
        cache = await self.open(self.serve().url())
        self.server.cli("SET", "filedropd:key", "5")
        self.assertEqual(6, await cache.add(b"key", 1, 60))
        self.assertGreater(int(self.server.cli("PTTL", "filedropd:key")), 0)

    async def test_all_end(self):
        """Nothing stays for ever."""
        cache = await self.open(self.serve().url())
        await cache.set(b"value", b"", float("inf"))
        await cache.add(b"count", 1, 60)
        await cache.add(b"count", 1, 60)
        ends = [int(self.server.cli("PTTL", key)) for key in self.server.cli("KEYS", "*").split()]
        self.assertEqual((2, True), (len(ends), min(ends) > 0))

    async def test_shared(self):
        """What one sets and counts, another sees."""
        self.serve()
        one, other = await self.open(self.server.url()), await self.open(self.server.url())
        await one.set(b"key", b"value", 60)
        self.assertEqual(
            [b"value", 1, 2], [await other.get(b"key"), await one.add(b"n", 1, 9), await other.add(b"n", 1, 9)]
        )

    async def test_busy_ourselves(self):
        """Answers that came while this process stood still are not late."""
        cache = await self.open(self.serve().url(), HASTY)
        await self.assert_used(cache)
        waiting = [Deferred.fromCoroutine(cache.get(b"used")) for _ in range(20)]
        time.sleep(1.5)  # noqa: ASYNC251 - the point of it
        self.assertEqual([b"value"] * 20, await gatherResults(waiting))
        self.assertEqual([], self.heard.texts)

    async def test_left(self):
        """Somebody who leaves while he waits leaves; Redis is not blamed for it."""
        cache = await self.open(self.serve().url())
        await self.assert_used(cache)
        waiting = Deferred.fromCoroutine(cache.get(b"used"))
        waiting.cancel()
        await self.assertFailure(waiting, CancelledError)
        await self.assert_used(cache)
        self.assertEqual((False, 0), (cache.away, cache.failures))


class Line(StringTransport):
    """A connection on which nobody answers unless the test does."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self._protocol = protocol

    def abortConnection(self) -> None:
        """See ITCPTransport."""
        super().abortConnection()
        self._protocol.connectionLost(Failure(ConnectError()))


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Takes connections, or refuses them.

    :ivar tried: when it was tried.
    """

    def __init__(self, clock: Clock) -> None:
        self.tried: list[float] = []
        self.refuses = False
        self._clock = clock

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """See IStreamClientEndpoint."""
        self.tried.append(self._clock.seconds())
        if self.refuses:
            return fail(ConnectError())
        protocol = protocolFactory.buildProtocol(None)
        self.line = Line(protocol)
        protocol.makeConnection(self.line)
        self.answer = protocol.dataReceived
        return succeed(protocol)


class TimeTests(SynchronousTestCase):
    """When it does what, on a clock that is set by hand."""

    def setUp(self) -> None:
        self.heard = Heard(self)
        self.clock = Clock()
        self.endpoint = Endpoint(self.clock)
        self.cache = RedisCache(RedisURL(host="redis"), self.endpoint, self.clock)

    def open(self) -> None:
        """Open it."""
        Deferred.fromCoroutine(self.cache.open())
        if not self.endpoint.refuses:
            self.endpoint.answer(b"+PONG\r\n")

    def get(self) -> Deferred[bytes | None]:
        """Ask it for something."""
        return Deferred.fromCoroutine(self.cache.get(b"key"))

    def test_answer(self):
        """An answer within 50 ms is one; how many more there are is nobody's concern."""
        self.open()
        waiting = self.get()
        self.clock.advance(0.049)
        self.endpoint.answer(b"$5\r\nvalue\r\n")
        self.assertEqual(b"value", self.successResultOf(waiting))
        self.clock.advance(60)
        self.assertFalse(self.cache.away)

    def test_no_answer(self):
        """Nobody waits for longer than 50 ms, nor, until it is back, at all."""
        self.open()
        waiting = self.get()
        self.clock.advance(0.049)
        self.assertNoResult(waiting)
        self.clock.advance(0.002)
        self.assertIsNone(self.successResultOf(waiting))
        self.assertIsNone(self.successResultOf(self.get()))
        self.assertEqual(2, self.cache.failures)

    def test_looks(self):
        """It looks after 1 s, and then in steps that double up to 10 s, and says so once."""
        self.endpoint.refuses = True
        self.open()
        for _ in range(400):
            self.clock.advance(0.1)
        self.assertEqual([0, 1, 3, 7, 15, 25, 35], [round(when) for when in self.endpoint.tried])
        self.assertEqual(1, len(self.heard.texts))

    def test_looks_anew(self):
        """After 5 s in use, the steps begin at 1 s again; before, they go on growing: it comes and goes."""
        self.open()
        for used in (0, 0, 6):
            self.clock.advance(used)
            waiting = self.get()
            self.clock.advance(0.05)
            self.assertIsNone(self.successResultOf(waiting))
            for _ in range(100):
                self.clock.advance(0.1)
                if len(self.endpoint.tried) and self.endpoint.line.value().endswith(b"PING\r\n"):
                    self.endpoint.answer(b"+PONG\r\n")
                    self.endpoint.line.clear()
                    break
        steps = [
            round(after - before) for before, after in zip(self.endpoint.tried, self.endpoint.tried[1:], strict=False)
        ]
        self.assertEqual([1, 2, 7], steps)

    def test_opening_ends(self):
        """Opening ends when a connection is not made."""
        self.patch(self.endpoint, "connect", lambda _: Deferred())
        opening = Deferred.fromCoroutine(self.cache.open())
        self.clock.advance(0.99)
        self.assertNoResult(opening)
        self.clock.advance(0.02)
        self.successResultOf(opening)

    def test_opened_once(self):
        """A second opening makes no second connection."""
        self.open()
        self.successResultOf(Deferred.fromCoroutine(self.cache.open()))
        self.assertEqual(1, len(self.endpoint.tried))


class URLTests(SynchronousTestCase):
    """What a URL says."""

    def test_parse(self):
        """Where it is, and who we are."""
        for text, server in {
            "redis://host": RedisURL(host="host"),
            "redis://host:6380/2": RedisURL(host="host", port=6380, database=2),
            "redis://host/?db=2": RedisURL(host="host", database=2),
            "redis://[::1]:6380": RedisURL(host="::1", port=6380),
            "redis://:p%40ss@host": RedisURL(host="host", password="p@ss"),
            "redis://me:pass@host": RedisURL(host="host", username="me", password="pass"),
            "unix:///run/redis.sock": RedisURL(path="/run/redis.sock"),
            "unix://:pass@/run/a%20b?db=7": RedisURL(path="/run/a b", database=7, password="pass"),
            "redis+unix:///run/redis.sock?db=1": RedisURL(path="/run/redis.sock", database=1),
        }.items():
            self.assertEqual(server, RedisURL.parse(text), text)

    def test_refused(self):
        """What is none is refused, with words that tell why."""
        for text, why in {
            "": "not the URL of a Redis",
            "memory:": "not the URL of a Redis",
            "http://host/": "not the URL of a Redis",
            "redis://": "must have a host",
            "redis:///1": "must have a host",
            "redis://host:port": "not a URL",
            "redis://[::1": "not a URL",
            "redis://host/one": "a database that is not a number: one",
            "redis://host/1/2": "a database that is not a number: 1/2",
            "redis://host/-1": "a database that is not a number",
            "redis://host?timeout=1": "an option that is not known, timeout",
            "redis://me@host": "a name and no password",
            "redis://ho st": "a character that cannot stand",
            "unix://": "no path of a socket",
            "unix:///": "no path of a socket",
            "unix://host/run/redis.sock": "none for unix",
            "redis+unix:///run/redis.sock?db=": "a database that is not a number",
        }.items():
            with self.assertRaisesRegex(ValueError, why, msg=text):
                RedisURL.parse(text)

    def test_shown(self):
        """It is shown without name and password."""
        for text, shown in {
            "redis://me:secret@host/1": "redis://host:6379/1",
            "redis://[::1]": "redis://[::1]:6379/0",
            "redis+unix://:secret@/run/redis.sock": "unix:///run/redis.sock?db=0",
        }.items():
            self.assertEqual(shown, str(RedisURL.parse(text)))
            self.assertNotIn("secret", repr(RedisURL.parse(text)))
