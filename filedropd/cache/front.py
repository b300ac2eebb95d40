"""A cache of this process in front of one that daemons share."""

from __future__ import annotations

from typing import Final

from zope.interface import implementer

from filedropd.cache.memory import MemoryCache
from filedropd.interfaces import Held, ICache

#: Seconds for which what was found behind is kept in front.
KEPT: Final = 60.0


@implementer(ICache)
class Fronted:
    """What is asked for often is here; what is not here is asked for behind.

    What another process sets or forgets is seen once it is no longer here: in a minute, or, where this process had
    set something else, at the end of its time.

    What is counted is counted behind, for all.  It is counted here as well, so that where nothing can be counted
    behind, the count goes on from what this process has seen and does not begin anew.

    :param kept: seconds for which what was found behind is kept in front, at most.
    """

    def __init__(self, front: MemoryCache, behind: ICache, kept: float = KEPT) -> None:
        self._front = front
        self._behind = behind
        self._kept = kept
        self._changes = 0

    async def open(self) -> None:
        """Open both."""
        await self._front.open()
        await self._behind.open()

    async def close(self) -> None:
        """Close both."""
        await self._behind.close()
        await self._front.close()

    async def get(self, key: bytes) -> bytes | None:
        """Return what was last set under ``key``, unless it is lost or over its time."""
        held = await self.held(key)
        return None if held is None else held.value

    async def held(self, key: bytes) -> Held | None:
        """Return what ``get`` does, and how much of its time is left."""
        held = await self._front.held(key)
        if held is None:
            before = self._changes
            held = await self._behind.held(key)
            if held is not None and self._changes == before:  # else it may be older than what is here by now
                await self._front.set(key, held.value, min(held.left, self._kept))
        return held

    async def set(self, key: bytes, value: bytes, ttl: float) -> None:
        """Keep ``value`` for at most ``ttl`` seconds, here and behind."""
        self._changes += 1
        await self._front.set(key, value, ttl)
        await self._behind.set(key, value, ttl)

    async def add(self, key: bytes, amount: int, ttl: float) -> int:
        """Count ``amount`` more under ``key``, and return the count: of all, or else of this process."""
        ours = await self._front.add(key, amount, ttl)
        everybodys = await self._behind.add(key, amount, ttl)
        return ours if everybodys is None else everybodys

    async def forget(self, key: bytes) -> None:
        """Keep nothing under ``key``, here or behind."""
        self._changes += 1
        await self._front.forget(key)
        await self._behind.forget(key)
