"""A cache in Redis, which daemons share: used while it is there, and done without while it is not.

txredisapi speaks the protocol; connecting is ours.  Its pools queue commands for as long as they are empty,
and stop for good at the first greeting that fails, which is what a Redis that is still loading does.
There is one connection: commands go out one behind the other without waiting for answers.

The commands used are AUTH, SELECT, PING, GET, SET, DEL and EVAL (of GET, INCRBY, PTTL and PEXPIRE).
"""

from __future__ import annotations

from typing import Any, Final, Protocol, Self, cast

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import BaseRedisProtocol, RedisError, ResponseError
from zope.interface import implementer

from filedropd.deferreds import Happening, background
from filedropd.interfaces import Held, ICache
from filedropd.redis_url import RedisURL

#: What our keys begin with, there.
PREFIX: Final = b"filedropd:"

# Redis refuses what overflows 64 bits of milliseconds.
_LONGEST_TTL: Final = 10 * 365 * 86_400.0

# A count whose time nobody set, however that came about, gets one: else it would last for ever.
_ADD: Final = b"""\
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return count"""

_HELD: Final = b"""\
local value = redis.call('GET', KEYS[1])
if value then return {value, redis.call('PTTL', KEYS[1])} end
return false"""


@attrs.frozen(kw_only=True)
class Patience:
    """How long what may take, in seconds.

    :ivar command: a command, until it is done without.
    :ivar connect: a connection.
    :ivar first: from when Redis is found to be away until it is looked for again.
    :ivar longest: to which that grows, doubling.
    :ivar calm: without trouble, until the last is taken to be over for good.
    """

    command: float = 0.05
    connect: float = 1.0
    first: float = 1.0
    longest: float = 10.0
    calm: float = 5.0


class _Transport(Protocol):
    def abortConnection(self) -> None: ...


class _Wire(Protocol):
    """What we use of a txredisapi protocol."""

    transport: _Transport

    def execute_command(self, *words: bytes) -> Deferred[Any]: ...

    def whenDisconnected(self) -> Deferred[Any]: ...


class _Wires(Factory):
    """Makes the protocol of a connection."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        # As bytes; else replies become text or numbers, by guess.
        return BaseRedisProtocol(charset=None, convertNumbers=False)


@implementer(ICache)
class RedisCache:
    """What was set in a Redis.

    A command that has no answer in time finds Redis away: until a look for it finds it again, nothing waits for it.
    One that is answered by an error (it is full, it only reads) is done without, and the next is tried.
    The log is told of either when it begins, and when it is over.

    :param server: see :meth:`RedisURL.parse`.
    :param endpoint: how it is connected to.
    :param clock: for waiting.
    :ivar failures: how many commands were not carried out, or may not have been; those not tried included.
    """

    _log = Logger()

    def __init__(
        self, server: RedisURL, endpoint: IStreamClientEndpoint, clock: IReactorTime, patience: Patience | None = None
    ) -> None:
        self.failures = 0
        self._server = server
        self._endpoint = endpoint
        self._clock = clock
        self._patience = patience or Patience()
        self._opened = False
        self._wire: _Wire | None = None
        self._since = 0.0
        self._delay = self._patience.first
        self._timer: IDelayedCall | None = None
        self._looking: Deferred[None] | None = None
        self._looked = Happening()
        self._missed = False
        self._refused_at: float | None = None

    @classmethod
    def at(cls, url: RedisURL, reactor: Any, patience: Patience | None = None) -> Self:
        """Return the cache at ``url``."""
        return cls(url, url.endpoint(reactor), reactor, patience)

    @property
    def away(self) -> bool:
        """Whether Redis is not used now."""
        return self._wire is None

    # -- the port ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Begin to look for Redis; returns when it was found, or was not for once."""
        if not self._opened:
            self._opened = True
            self._look()
        await self._looked.within(self._clock, self._patience.connect + 1)

    async def close(self) -> None:
        """Leave Redis."""
        self._opened = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
        wire, self._wire = self._wire, None
        if wire is not None:
            gone = wire.whenDisconnected()
            wire.transport.abortConnection()
            await gone

    async def get(self, key: bytes) -> bytes | None:
        """Return what was last set under ``key``, unless it is lost or over its time."""
        reply = await self._ask(b"GET", PREFIX + key)
        return reply if isinstance(reply, bytes) else None

    async def held(self, key: bytes) -> Held | None:
        """Return what ``get`` does, and how much of its time is left."""
        reply = await self._ask(b"EVAL", _HELD, b"1", PREFIX + key)
        if not isinstance(reply, list):
            return None
        value, left = reply
        return Held(value, max(0, left) / 1000)

    async def set(self, key: bytes, value: bytes, ttl: float) -> None:
        """Keep ``value`` for at most ``ttl`` seconds."""
        left = _milliseconds(ttl)
        if left > 0:
            await self._ask(b"SET", PREFIX + key, value, b"PX", b"%d" % left, stores=True)
        else:
            await self.forget(key)

    async def add(self, key: bytes, amount: int, ttl: float) -> int | None:
        """Count ``amount`` more under ``key``; the first addition sets the time to live."""
        words = (_ADD, b"1", PREFIX + key, b"%d" % amount, b"%d" % _milliseconds(ttl))
        reply = await self._ask(b"EVAL", *words, stores=True)
        return reply if isinstance(reply, int) else None

    async def forget(self, key: bytes) -> None:
        """Keep nothing under ``key``, a count neither."""
        await self._ask(b"DEL", PREFIX + key)

    # -- a command --------------------------------------------------------------------------------

    async def _ask(self, *words: bytes, stores: bool = False) -> Any:
        """Return the answer to a command; ``None`` where there is none."""
        wire = self._wire
        if wire is not None:
            try:
                reply = await self._answer(wire, *words)
            except ResponseError as error:
                self._refused(error)
            except (RedisError, TimeoutError) as error:
                self._lose(wire, error)
            else:
                self._answered(stores=stores)
                return reply
        self.failures += 1
        return None

    def _answer(self, wire: _Wire, *words: bytes) -> Deferred[Any]:
        """Send a command.

        :returns: a Deferred of its answer; fails with TimeoutError where it does not come in time.
        """
        return _Deadline(self._clock, self._patience.command).put_on(wire.execute_command(*words))

    def _refused(self, error: ResponseError) -> None:
        if self._refused_at is None:
            self._log.warn(
                "the cache {server} refuses what it is told, going on without: {reason}",
                server=str(self._server),
                reason=_reason(error),
            )
        self._refused_at = self._clock.seconds()

    def _answered(self, *, stores: bool) -> None:
        """Note a success. One that only reads does not show that a full Redis has room again."""
        if stores and self._refused_at is not None and self._lasted(self._refused_at):
            self._refused_at = None
            self._log.info("the cache {server} does what it is told again", server=str(self._server))

    def _lasted(self, since: float) -> bool:
        return self._clock.seconds() - since >= self._patience.calm

    # -- the connection ---------------------------------------------------------------------------

    def _look(self) -> None:
        self._looking = background(self._connect(), "looking for Redis")

    async def _connect(self) -> None:
        """Look whether Redis is there, and use it if it is; else look again later."""
        wire: _Wire | None = None
        try:
            reached = _Deadline(self._clock, self._patience.connect).put_on(self._endpoint.connect(_Wires()))
            wire = cast(_Wire, await reached)
            for words in self._server.greeting():
                await self._answer(wire, *words)
        except CancelledError:
            _drop(wire)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is: we go on without it, and look again
            _drop(wire)
            self._miss(error)
        else:
            self._use(wire)
        finally:
            self._looked.happen()

    def _use(self, wire: _Wire) -> None:
        self._wire = wire
        self._since = self._clock.seconds()
        wire.whenDisconnected().addCallback(lambda _: self._lose(wire, "the connection was lost"))
        if self._missed:
            self._missed = False
            self._log.info("the cache {server} is there again", server=str(self._server))

    def _lose(self, wire: _Wire, reason: object) -> None:
        """Do without Redis from now on. Whoever else waits for an answer on that connection does not any more."""
        if wire is self._wire:
            self._wire = None
            _drop(wire)
            if self._lasted(self._since):
                self._delay = self._patience.first
            self._miss(reason)

    def _miss(self, reason: object) -> None:
        if not self._opened:
            return
        if not self._missed:
            self._missed = True
            self._log.warn(
                "the cache {server} is away, going on without: {reason}",
                server=str(self._server),
                reason=_reason(reason),
            )
        self._timer = self._clock.callLater(self._delay, self._look)
        self._delay = min(self._delay * 2, self._patience.longest)


class _Deadline:
    """A time by which a Deferred must fire. Time in which this process itself stood still does not count."""

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._over = False

    def put_on(self, waiting: Deferred[Any]) -> Deferred[Any]:
        """Return ``waiting``, which now fails with TimeoutError when the time is over."""
        self._wait(waiting, self._seconds)
        return waiting.addBoth(self._end)

    def _wait(self, waiting: Deferred[Any], seconds: float) -> None:
        self._due = self._clock.seconds() + seconds
        self._timer = self._clock.callLater(seconds, self._pass, waiting)

    def _pass(self, waiting: Deferred[Any]) -> None:
        grace = self._seconds / 5
        if (
            self._clock.seconds() > self._due + grace
        ):  # timers come before input: the answer may have been here for long
            self._wait(waiting, grace)
        else:
            self._over = True
            waiting.cancel()

    def _end(self, result: Any) -> Any:
        if self._timer.active():
            self._timer.cancel()
        if self._over and isinstance(result, Failure):
            raise TimeoutError(f"no answer within {self._seconds:g} s")
        return result


def _drop(wire: _Wire | None) -> None:
    if wire is not None:
        wire.transport.abortConnection()


def _milliseconds(ttl: float) -> int:
    return int(min(_LONGEST_TTL, ttl) * 1000)


def _reason(error: object) -> str:
    return (str(error) or type(error).__name__)[:200]
