"""How often who may do what: policy over the counters of a cache.

**Passwords.** A try is counted before its hash is computed, so any number of tries at once is counted, too.
Two tiers slow tries down; neither ever ends a drop.

- *Per drop and client*: of one client's tries on one drop five are free. From the fifth on each is followed by
  a wait: a second, then twice as long each time, up to a minute.
- *Per drop*: of everybody's tries on one drop fifty are free. Then whoever comes is told to wait first: a
  second, twice as long for every ten tries more, up to a minute. When his wait is over he has a try, and
  between his tries lies another such wait.

What that promises:

- To a recipient: a client that is not over its own limit, and asks again within ten minutes of the end of its
  wait, has a try a minute after it first asked or sooner, **whatever all others do**. Waits are a client's own:
  nobody can take his turn or make his wait longer, and asking too early costs him nothing. Even over its own
  limit a client has a try a minute. A client that has shown the right password need not wait for others'
  tries in the hour after it.
- To a sender: in an hour one address has some seventy tries. Many have fifty, and then, once some sixty more have
  made the waits as long as they get, one a minute each, the first of them after a wait. Less cannot be had without
  locking out the recipient, whose address is as good as any.

All clients whose address says nothing are one.  What the cache loses is forgotten: a count begins anew, a wait
may, too.  Give the limiter a cache of its own: in one that is shared with what anybody can fill, counts are
pushed out by asking for links that are not there.

**Uploads** are counted per client in windows of the clock: at most so many in each.

Neither addresses nor keys of drops are legible in the cache.  The keys of passwords are made with the drop's key,
which is not in it; an upload's client could be found out by trying all addresses, while its window lasts.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Self

import attrs

from filedropd.errors import TooManyRequests
from filedropd.rates import Rate

if TYPE_CHECKING:
    from filedropd.interfaces import ICache

#: Seconds of the longest wait.
LONGEST: Final = 60.0
#: Seconds after the first try after which counting begins anew.
MEMORY: Final = 3600.0
#: Seconds after a wait in which it counts as waited.
PATIENCE: Final = 600.0
#: Tries that are given to a client in advance that has shown the right password: programs ask for parts side by side.
KNOWN: Final = 32

_DOUBLINGS: Final = 6


@attrs.frozen
class Tier:
    """How tries are slowed down.

    :ivar free: how many are not.
    :ivar step: after how many more the wait doubles.
    """

    free: int
    step: int

    def wait(self, tries: int) -> float:
        """Return the seconds to wait once there were ``tries``."""
        if tries < self.free:
            return 0.0
        return min(LONGEST, 2.0 ** min((tries - self.free) // self.step, _DOUBLINGS))


#: Of one client, on one drop.
CLIENT: Final = Tier(free=5, step=1)
#: Of all clients, on one drop.
DROP: Final = Tier(free=50, step=10)


@attrs.frozen(kw_only=True)
class _Keys:
    """Where is kept what concerns one client's tries on one drop.

    :ivar all: how often everybody tried.
    :ivar mine: how often he did; below zero for one who has shown the right password.
    :ivar turn: there while he has to wait, since his last try or since he was told to.
    :ivar until: lasts as long, to say how long.
    :ivar told: how often he asked since he was first told to wait for others' tries.
    """

    all: bytes
    mine: bytes
    turn: bytes
    until: bytes
    told: bytes

    @classmethod
    def of(cls, drop_key: bytes, client: str | None) -> Self:
        def key(use: str, who: str = "") -> bytes:
            return hmac.digest(drop_key, f"{use}\n{who}".encode("utf-8", "surrogateescape"), "sha256")

        who = client or ""
        return cls(
            all=key("all"), mine=key("mine", who), turn=key("turn", who), until=key("until", who), told=key("told", who)
        )


class Limiter:
    """Refuses what is asked for too often.

    :param cache: where is counted. Where it cannot count, everything is let through.
    :param now: the time on the wall, in seconds since the epoch.
    :param uploads: how many a client may leave; ``None``: any number.
    :param limited: told of each refusal: ``client`` or ``drop``, whichever tier made the wait, or ``uploads``.
    """

    def __init__(
        self,
        cache: ICache,
        now: Callable[[], float],
        *,
        uploads: Rate | None = None,
        limited: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._cache = cache
        self._now = now
        self._uploads = uploads
        self._limited = limited

    # -- passwords --------------------------------------------------------------------------------

    async def before_password(self, drop_key: bytes, client: str | None) -> None:
        """Count a try at a drop's password. Call it before the hash is computed.

        Then call one of the next two, unless the try was wrong: that is what it is taken for.

        :param client: what its address is called; ``None`` where that says nothing.
        :raises TooManyRequests: it is too early for one.
        """
        keys = _Keys.of(drop_key, client)
        mine, everybodys = await self._count(keys.mine, 0), await self._count(keys.all, 0)
        has_turn = await self._in_turn(keys, mine, everybodys)
        # Others may have read the same counts. What each is told when he adds to them is his alone.
        mine = await self._count(keys.mine, 1) - 1
        has_turn = has_turn or await self._in_turn(keys, mine, 0)
        everybodys = await self._count(keys.all, 1) - 1
        if not has_turn:
            await self._in_turn(keys, mine, everybodys)

    async def password_right(self, drop_key: bytes, client: str | None) -> None:
        """Note that a try that was counted was right: it slows nobody down, and its client may have more."""
        keys = _Keys.of(drop_key, client)
        await self._cache.forget(keys.mine)
        await self._count(keys.mine, -KNOWN)
        await self._give_back(keys)

    async def password_untried(self, drop_key: bytes, client: str | None) -> None:
        """Note that a try that was counted was none: its hash could not be computed."""
        keys = _Keys.of(drop_key, client)
        await self._count(keys.mine, -1)
        await self._give_back(keys)

    async def _give_back(self, keys: _Keys) -> None:
        await self._count(keys.all, -1)
        await self._cache.forget(keys.turn)
        await self._cache.forget(keys.until)

    async def _in_turn(self, keys: _Keys, mine: int, everybodys: int) -> bool:
        """Tell whether a client had to wait for his turn, and has it now; it is the only one for a while.

        :param mine: how often he tried before.
        :param everybodys: how often all did.
        :raises TooManyRequests: it is not his turn.
        """
        own, shared = CLIENT.wait(mine + 1), 0.0 if mine < 0 else DROP.wait(everybodys)
        wait = max(own, shared)
        if not wait:
            return False
        early = shared > 0 and await self._cache.add(keys.told, 1, wait + PATIENCE) == 1
        if await self._cache.add(keys.turn, 1, wait) in {1, None}:
            await self._cache.set(keys.until, b"", wait)
            if not early:
                return True
        held = await self._cache.held(keys.until)
        self._limited("drop" if shared > own else "client")
        raise TooManyRequests(
            max(1, math.ceil(wait if held is None else held.left)),
            "Too many passwords were tried for this file. It is still there, and can be had in a while.",
        )

    async def _count(self, key: bytes, amount: int) -> int:
        return await self._cache.add(key, amount, MEMORY) or 0

    # -- uploads ----------------------------------------------------------------------------------

    async def before_upload(self, client: str | None) -> None:
        """Count an upload. Call it before its body is read.

        :param client: what its address is called; ``None`` where that says nothing.
        :raises TooManyRequests: its client has left as many in this window as it may.
        """
        rate = self._uploads
        if rate is None:
            return
        now = self._now()
        window = int(now // rate.seconds)
        who = f"{rate}\n{window}\n{client or ''}".encode("utf-8", "surrogateescape")
        count = await self._cache.add(hmac.digest(b"uploads", who, "sha256"), 1, rate.seconds)
        if count is not None and count > rate.count:
            self._limited("uploads")
            raise TooManyRequests(
                max(1, math.ceil((window + 1) * rate.seconds - now)),
                f"Too many files were left from here ({rate} are taken). Leave this one in a while.",
            )
