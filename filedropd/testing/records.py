"""Records in memory."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import TypeVar

import attrs
from zope.interface import implementer

from filedropd.claims.ledger import Ledger
from filedropd.errors import Unavailable
from filedropd.interfaces import IRecords, Rule
from filedropd.model import Drop, DropState, Event, Transfer

T = TypeVar("T")


@attrs.define
class _Tables:
    #: By the keys of the drops; without events.
    ledgers: dict[bytes, Ledger] = attrs.field(factory=dict)
    events: dict[bytes, list[Event]] = attrs.field(factory=dict)
    #: Of daemons, by their names.
    leases: dict[str, float] = attrs.field(factory=dict)

    @property
    def drops(self) -> list[Drop]:
        return [ledger.drop for ledger in self.ledgers.values()]

    def put(self, drop: Drop) -> None:
        self.ledgers[drop.key] = attrs.evolve(self.ledgers[drop.key], drop=drop)


@implementer(IRecords)
class MemoryRecords:
    """Drops and claims that live as long as this object; closing and opening it again keeps them.

    No call ever waits, so each is a transaction.  What a database would refuse as a bug (a key or a
    blob that is there already) is a ``ValueError``.
    """

    def __init__(self) -> None:
        self._kept = _Tables()
        self._open = False
        self._listeners: list[Callable[[str], None]] = []

    @property
    def _tables(self) -> _Tables:
        if not self._open:
            raise Unavailable("The records are not open. Try again in a moment.")
        return self._kept

    async def open(self) -> None:
        """See IRecords."""
        self._open = True
        self._kept.leases.clear()  # one daemon at a time

    async def close(self) -> None:
        """See IRecords."""
        self._open = False
        self._listeners.clear()

    async def ping(self) -> None:
        """See IRecords."""
        _ = self._tables

    async def insert(self, drop: Drop) -> None:
        """See IRecords."""
        tables = self._tables
        if drop.key in tables.ledgers or any(other.blob == drop.blob for other in tables.drops):
            raise ValueError("There is a drop with this key or this blob already.")
        tables.ledgers[drop.key] = Ledger(drop=drop)
        tables.events[drop.key] = []

    async def find(self, key: bytes) -> Drop | None:
        """See IRecords."""
        ledger = self._tables.ledgers.get(key)
        return None if ledger is None else ledger.drop

    async def page(self, after: bytes, limit: int) -> list[Drop]:
        """See IRecords."""
        return sorted((drop for drop in self._tables.drops if drop.key > after), key=_by_key)[:limit]

    async def has_blob(self, blob: str) -> bool:
        """See IRecords."""
        return any(drop.blob == blob and drop.state is not DropState.PURGED for drop in self._tables.drops)

    async def ledger(self, key: bytes) -> Ledger | None:
        """See IRecords."""
        return self._tables.ledgers.get(key)

    async def events(self, key: bytes) -> list[Event]:
        """See IRecords."""
        return list(self._tables.events.get(key, ()))

    async def change(self, key: bytes, rule: Rule[T]) -> T | None:
        """See IRecords."""
        tables = self._tables
        before = tables.ledgers.get(key)
        if before is None:
            return None
        after, result = rule(before)
        tables.events[key] += after.events
        # What settles is known where it runs, and is not kept.
        transfers = tuple(transfer.as_kept for transfer in sorted(after.transfers, key=_by_id))
        tables.ledgers[key] = attrs.evolve(after, transfers=transfers, events=())
        return result

    async def change_all(self, keys: Sequence[bytes], rule: Rule[T]) -> list[T | None]:
        """See IRecords."""
        tables = self._tables
        before = dict(tables.ledgers), {key: list(events) for key, events in tables.events.items()}
        try:
            results = {key: await self.change(key, rule) for key in sorted(set(keys))}
        except BaseException:
            tables.ledgers, tables.events = before
            raise
        return [results[key] for key in keys]

    async def restore(self, ledger: Ledger, events: Sequence[Event]) -> None:
        """See IRecords."""
        await self.insert(ledger.drop)
        await self.change(ledger.drop.key, lambda _: (attrs.evolve(ledger, events=tuple(events)), None))

    async def interrupted(self, alive: Container[str] = ()) -> list[bytes]:
        """See IRecords."""
        ledgers = self._tables.ledgers.items()
        return sorted(key for key, ledger in ledgers if any(each.daemon not in alive for each in ledger.transfers))

    async def lease(self, daemon: str, until: float) -> None:
        """See IRecords."""
        self._tables.leases[daemon] = until

    async def release(self, daemon: str) -> None:
        """See IRecords."""
        self._tables.leases.pop(daemon, None)

    async def alive(self, now: float) -> frozenset[str]:
        """See IRecords."""
        return frozenset(daemon for daemon, until in self._tables.leases.items() if until > now)

    async def take_due(self, now: float, limit: int, until: float) -> list[Drop]:
        """See IRecords."""
        due = sorted(
            (drop for drop in self._tables.drops if drop.due_at <= now), key=lambda drop: (drop.due_at, drop.key)
        )
        taken = [attrs.evolve(drop, due_at=until) for drop in due[:limit]]
        for drop in taken:
            self._tables.put(drop)
        return taken

    async def next_due(self) -> float | None:
        """See IRecords."""
        return min((drop.due_at for drop in self._tables.drops), default=None)

    async def purged(self, key: bytes, forget_at: float) -> None:
        """See IRecords."""
        ledger = self._tables.ledgers.get(key)
        if ledger is not None and ledger.drop.state is DropState.GONE:
            claims = tuple(attrs.evolve(claim, recipient=None) for claim in ledger.claims)
            drop = attrs.evolve(ledger.drop, state=DropState.PURGED, due_at=forget_at)
            self._tables.ledgers[key] = attrs.evolve(ledger, drop=drop, claims=claims)

    async def purge_failed(self, key: bytes, retry_at: float) -> None:
        """See IRecords."""
        drop = await self.find(key)
        if drop is not None and drop.state is DropState.GONE:
            self._tables.put(attrs.evolve(drop, due_at=retry_at, purge_attempts=drop.purge_attempts + 1))

    async def forget(self, key: bytes) -> None:
        """See IRecords."""
        drop = await self.find(key)
        if drop is not None and drop.state is DropState.PURGED:
            del self._tables.ledgers[key], self._tables.events[key]

    async def notify(self, words: Sequence[str]) -> None:
        """See IRecords; whoever has the same object and listens is told."""
        for word in words:
            for heard in list(self._listeners):
                heard(word)

    async def listen(self, heard: Callable[[str], None], missed: Callable[[], None]) -> None:
        """See IRecords; nothing is ever missed."""
        self._listeners.append(heard)


def _by_key(drop: Drop) -> bytes:
    return drop.key


def _by_id(transfer: Transfer) -> str:
    return transfer.id
