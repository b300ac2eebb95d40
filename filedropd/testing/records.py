"""Records in memory."""

from __future__ import annotations

import attrs
from zope.interface import implementer

from filedropd.errors import Unavailable
from filedropd.interfaces import IRecords
from filedropd.model import Claim, ClaimState, Drop, DropState, Outcome, Reason, covered
from filedropd.records.rows import ended


@attrs.define
class _Tables:
    drops: dict[bytes, Drop] = attrs.field(factory=dict)
    #: In the order in which they were opened.
    claims: dict[str, Claim] = attrs.field(factory=dict)

    def of(self, key: bytes) -> list[Claim]:
        return [claim for claim in self.claims.values() if claim.drop == key]

    def open_claim(self, id: str) -> Claim | None:  # noqa: A002 - the port's word
        claim = self.claims.get(id)
        return claim if claim is not None and claim.state is ClaimState.OPEN else None

    def put(self, drop: Drop) -> Drop:
        self.drops[drop.key] = drop
        return drop


@implementer(IRecords)
class MemoryRecords:
    """Drops and claims that live as long as this object; closing and opening it again keeps them.

    No call ever waits, so each is a transaction.  What a database would refuse as a bug (a key, a blob
    or a claim's id that is there already) is a ``ValueError``.
    """

    def __init__(self) -> None:
        self._kept = _Tables()
        self._open = False

    @property
    def _tables(self) -> _Tables:
        if not self._open:
            raise Unavailable("The records are not open. Try again in a moment.")
        return self._kept

    async def open(self) -> None:
        """See IRecords."""
        self._open = True

    async def close(self) -> None:
        """See IRecords."""
        self._open = False

    async def ping(self) -> None:
        """See IRecords."""
        _ = self._tables

    async def insert(self, drop: Drop) -> None:
        """See IRecords."""
        drops = self._tables.drops
        if drop.key in drops or any(other.blob == drop.blob for other in drops.values()):
            raise ValueError("There is a drop with this key or this blob already.")
        drops[drop.key] = drop

    async def find(self, key: bytes) -> Drop | None:
        """See IRecords."""
        return self._tables.drops.get(key)

    async def has_blob(self, blob: str) -> bool:
        """See IRecords."""
        drops = self._tables.drops.values()
        return any(drop.blob == blob and drop.state is not DropState.PURGED for drop in drops)

    async def claims(self, key: bytes) -> list[Claim]:
        """See IRecords."""
        return self._tables.of(key)

    async def open_claim(self, claim: Claim, now: float) -> Drop | None:
        """See IRecords."""
        tables = self._tables
        drop = tables.drops.get(claim.drop)
        if drop is None or drop.gone(now) or drop.delivered + drop.live >= drop.downloads:
            return None
        if claim.id in tables.claims:
            raise ValueError("There is a claim with this id already.")
        tables.claims[claim.id] = claim
        return tables.put(attrs.evolve(drop, live=drop.live + 1))

    async def end_claim(self, id: str, outcome: Outcome, now: float) -> Drop | None:  # noqa: A002 - the port's word
        """See IRecords."""
        tables = self._tables
        claim = tables.open_claim(id)
        if claim is None:
            return None
        drop = tables.drops[claim.drop]
        claim = tables.claims[id] = ended(claim, outcome, drop.size, now)
        delivery = claim.state is ClaimState.DELIVERED
        # An answer that broke off does not make a delivery, whatever it adds to earlier parts.
        if claim.state is ClaimState.PART and outcome.complete:
            delivery = self._deliver_parts(drop)
        drop = tables.put(attrs.evolve(drop, live=drop.live - 1, delivered=drop.delivered + delivery))
        if drop.delivered < drop.downloads:
            return drop
        return await self.end(drop.key, Reason.DELIVERED, now) or drop

    def _deliver_parts(self, drop: Drop) -> bool:
        """Make the parts of ``drop`` a delivery, and return true, if they cover it."""
        tables = self._tables
        parts = [claim for claim in tables.of(drop.key) if claim.state is ClaimState.PART]
        if not covered(parts, drop.size):
            return False
        tables.claims.update({part.id: attrs.evolve(part, state=ClaimState.DELIVERED) for part in parts})
        return True

    async def release_claim(self, id: str) -> None:  # noqa: A002 - the port's word
        """See IRecords."""
        tables = self._tables
        claim = tables.open_claim(id)
        if claim is not None:
            del tables.claims[id]
            drop = tables.drops[claim.drop]
            tables.put(attrs.evolve(drop, live=drop.live - 1))

    async def end(self, key: bytes, reason: Reason, now: float) -> Drop | None:
        """See IRecords."""
        drop = self._tables.drops.get(key)
        if drop is None or drop.state is not DropState.AVAILABLE:
            return None
        return self._tables.put(attrs.evolve(drop, state=DropState.GONE, reason=reason, gone_at=now, due_at=now))

    async def close_open_claims(self, now: float) -> int:
        """See IRecords."""
        left = [claim for claim in self._tables.claims.values() if claim.state is ClaimState.OPEN]
        for claim in left:
            await self.end_claim(claim.id, Outcome(acknowledged=claim.length, complete=True), now)
        return len(left)

    async def due(self, now: float, limit: int) -> list[Drop]:
        """See IRecords."""
        due = [drop for drop in self._tables.drops.values() if drop.due_at <= now]
        return sorted(due, key=lambda drop: (drop.due_at, drop.key))[:limit]

    async def next_due(self) -> float | None:
        """See IRecords."""
        return min((drop.due_at for drop in self._tables.drops.values()), default=None)

    async def purged(self, key: bytes, forget_at: float) -> None:
        """See IRecords."""
        drop = self._tables.drops.get(key)
        if drop is not None and drop.state is DropState.GONE:
            self._tables.put(attrs.evolve(drop, state=DropState.PURGED, due_at=forget_at))

    async def purge_failed(self, key: bytes, retry_at: float) -> None:
        """See IRecords."""
        drop = self._tables.drops.get(key)
        if drop is not None and drop.state is DropState.GONE:
            self._tables.put(attrs.evolve(drop, due_at=retry_at, purge_attempts=drop.purge_attempts + 1))

    async def forget(self, key: bytes) -> None:
        """See IRecords."""
        tables = self._tables
        drop = tables.drops.get(key)
        if drop is not None and drop.state is DropState.PURGED:
            del tables.drops[key]
            for claim in tables.of(key):
                del tables.claims[claim.id]
