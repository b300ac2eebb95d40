"""A cache in the daemon's own memory: a bounded number of entries, the least recently used goes first."""

from __future__ import annotations

from collections import OrderedDict

import attrs
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from filedropd.interfaces import ICache

#: How many entries are kept unless told otherwise.
ENTRIES = 65_536


@attrs.frozen
class _Entry:
    value: bytes
    ends_at: float


@implementer(ICache)
class MemoryCache:
    """What was set in this process.

    :param clock: says when an entry's time is over; its seconds need not be those of the day.
    :param entries: how many are kept at most. What an entry weighs is for its caller to bound.
    :raises ValueError: ``entries`` is less than 1.
    """

    def __init__(self, clock: IReactorTime, entries: int = ENTRIES) -> None:
        if entries < 1:
            raise ValueError("A cache must have room for one entry at least.")
        self._clock = clock
        self._limit = entries
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def __len__(self) -> int:
        """Return how many entries are held, over their time or not."""
        return len(self._entries)

    async def get(self, key: bytes) -> bytes | None:
        """Return what was last set under ``key``, unless it is lost or over its time."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.ends_at <= self._clock.seconds():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry.value

    async def set(self, key: bytes, value: bytes, ttl: float) -> None:
        """Keep ``value`` for at most ``ttl`` seconds; for none, it is as if it were lost at once."""
        self._entries[key] = _Entry(value, self._clock.seconds() + ttl)
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)
