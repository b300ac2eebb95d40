"""A cache in the daemon's own memory: a bounded number of entries, the least recently used goes first."""

from __future__ import annotations

from collections import OrderedDict

import attrs
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from filedropd.interfaces import Held, ICache

#: How many entries are kept unless told otherwise.
ENTRIES = 65_536


@attrs.frozen
class _Entry:
    """What is held under a key: what was set, or what was counted."""

    value: bytes | int
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

    async def open(self) -> None:
        """Do nothing: it is there."""

    async def close(self) -> None:
        """Forget everything."""
        self._entries.clear()

    async def get(self, key: bytes) -> bytes | None:
        """Return what was last set under ``key``, unless it is lost or over its time."""
        return self.peek(key)

    def peek(self, key: bytes) -> bytes | None:
        """Return what :meth:`get` does, at once."""
        entry = self._find(key)
        return None if entry is None or isinstance(entry.value, int) else entry.value

    async def held(self, key: bytes) -> Held | None:
        """Return what ``get`` does, and how much of its time is left."""
        entry = self._find(key)
        if entry is None or isinstance(entry.value, int):
            return None
        return Held(entry.value, entry.ends_at - self._clock.seconds())

    async def set(self, key: bytes, value: bytes, ttl: float) -> None:
        """Keep ``value`` for at most ``ttl`` seconds; for none, it is as if it were lost at once."""
        self._keep(key, _Entry(value, self._clock.seconds() + ttl))

    async def add(self, key: bytes, amount: int, ttl: float) -> int:
        """Count ``amount`` more under ``key``, and return the count; the first sets the time to live."""
        entry = self._find(key)
        if entry is None or not isinstance(entry.value, int):
            count, ends_at = amount, self._clock.seconds() + ttl
        else:
            count, ends_at = entry.value + amount, entry.ends_at
        self._keep(key, _Entry(count, ends_at))
        return count

    async def forget(self, key: bytes) -> None:
        """Keep nothing under ``key``, a count neither."""
        self._entries.pop(key, None)

    def _find(self, key: bytes) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.ends_at <= self._clock.seconds():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry

    def _keep(self, key: bytes, entry: _Entry) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)
