"""What each operation of :class:`filedropd.interfaces.IRecords` does in its transaction. No I/O.

A :data:`Transaction` is a generator: it yields a statement of :mod:`filedropd.records.sql` with its
values, is sent the rows that came of it, and returns the result.  A database's own module only has to
run it between BEGIN and COMMIT, waiting as that database wants it; the order of the steps is here for
all of them.  A transaction that finds nothing to do has changed nothing when it returns.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from filedropd.model import Claim, ClaimState, Drop, Outcome, Reason, covered
from filedropd.records import sql
from filedropd.records.rows import Row, Value, claim_from, claim_row, drop_from, drop_row, ended

T = TypeVar("T")

#: A statement and its values.
Step: TypeAlias = tuple[str, Mapping[str, Value]]

#: Yields steps, is sent their rows, returns the result.
Transaction: TypeAlias = Generator[Step, Sequence[Row], T]


def _the_drop(rows: Iterable[Row]) -> Drop | None:
    return next(map(drop_from, rows), None)


def ping() -> Transaction[None]:
    """Write what is there already: to answer is not enough, a claim must be committed."""
    yield sql.TOUCH_VERSION, {}


# -- reading ---------------------------------------------------------------------------------------


def find(key: bytes) -> Transaction[Drop | None]:
    """Return the drop stored as ``key``."""
    return _the_drop((yield sql.FIND_DROP, {"key": key}))


def has_blob(blob: str) -> Transaction[bool]:
    """Tell whether a drop that is not purged has its bytes in ``blob``."""
    return bool((yield sql.HAS_BLOB, {"blob": blob}))


def claims(key: bytes) -> Transaction[list[Claim]]:
    """Return a drop's claims in the order in which they were opened."""
    return list(map(claim_from, (yield sql.CLAIMS, {"key": key})))


def due(now: float, limit: int) -> Transaction[list[Drop]]:
    """Return up to ``limit`` drops that are due, the most overdue first."""
    return list(map(drop_from, (yield sql.DUE, {"now": now, "limit": limit})))


def next_due() -> Transaction[float | None]:
    """Return when the next drop is due."""
    (row,) = yield sql.NEXT_DUE, {}
    found: float | None = row["due_at"]
    return found


# -- claims ----------------------------------------------------------------------------------------


def open_claim(claim: Claim, now: float) -> Transaction[Drop | None]:
    """Take a copy for ``claim`` if one is free."""
    taken = yield sql.TAKE_COPY, {"key": claim.drop, "now": now}
    if not taken:
        return None
    yield sql.INSERT_CLAIM, {**claim_row(claim), "number": taken[0]["opened"]}
    return drop_from(taken[0])


def end_claim(id: str, outcome: Outcome, now: float) -> Transaction[Drop | None]:  # noqa: A002 - the port's word
    """End an open claim, and count the delivery that it makes."""
    drop, claim = yield from _locked(id)
    if drop is None or claim is None:
        return None
    claim = ended(claim, outcome, drop.size, now)
    yield sql.END_CLAIM, claim_row(claim)
    delivery = claim.state is ClaimState.DELIVERED
    # An answer that broke off does not make a delivery, whatever it adds to earlier parts.
    if claim.state is ClaimState.PART and outcome.complete:
        delivery = yield from _deliver_parts(drop)
    # TAKE_COPY keeps delivered + live within downloads, so a copy is always left to count; if that
    # were ever wrong, a claim that cannot end would be worse than a count that stands still.
    copies = int(delivery and drop.delivered < drop.downloads)
    return _the_drop((yield sql.FREE_COPY, {"key": drop.key, "copies": copies, "now": now}))


def _locked(claim_id: str) -> Transaction[tuple[Drop | None, Claim | None]]:
    """Return an open claim and its drop, whose row nobody else changes until the transaction ends.

    The claim is read once the lock is there: another transaction may have ended it meanwhile.
    """
    drop = _the_drop((yield sql.LOCK_DROP_OF, {"id": claim_id}))
    found = yield sql.OPEN_CLAIM, {"id": claim_id}
    return drop, next(map(claim_from, found), None)


def _deliver_parts(drop: Drop) -> Transaction[bool]:
    """Make the parts of ``drop`` a delivery, and return true, if they cover it."""
    parts = map(claim_from, (yield sql.PARTS, {"key": drop.key}))
    if not covered(parts, drop.size):
        return False
    yield sql.DELIVER_PARTS, {"key": drop.key}
    return True


def release_claim(id: str) -> Transaction[None]:  # noqa: A002 - the port's word
    """Take back an open claim as if it had never been opened."""
    drop, claim = yield from _locked(id)
    if drop is not None and claim is not None:
        yield sql.RELEASE_CLAIM, {"id": id}
        yield sql.RETURN_COPY, {"key": drop.key}


def close_open_claims(now: float) -> Transaction[int]:
    """End every open claim as if all that it asked for had arrived."""
    left = list(map(claim_from, (yield sql.OPEN_CLAIMS, {})))
    for claim in left:
        yield from end_claim(claim.id, Outcome(acknowledged=claim.length, complete=True), now)
    return len(left)


# -- drops -----------------------------------------------------------------------------------------


def insert(drop: Drop) -> Transaction[None]:
    """Add a new drop."""
    yield sql.INSERT_DROP, drop_row(drop)


def end(key: bytes, reason: Reason, now: float) -> Transaction[Drop | None]:
    """Make an available drop gone."""
    return _the_drop((yield sql.END_DROP, {"key": key, "reason": reason.value, "now": now}))


def purged(key: bytes, forget_at: float) -> Transaction[None]:
    """Note that a gone drop's bytes are deleted."""
    yield sql.PURGED, {"key": key, "forget_at": forget_at}


def purge_failed(key: bytes, retry_at: float) -> Transaction[None]:
    """Note that deleting a gone drop's bytes failed."""
    yield sql.PURGE_FAILED, {"key": key, "retry_at": retry_at}


def forget(key: bytes) -> Transaction[None]:
    """Delete a purged drop and its claims."""
    yield sql.FORGET_CLAIMS, {"key": key}
    yield sql.FORGET_DROP, {"key": key}
