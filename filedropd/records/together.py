"""Several writes in one transaction, each with an answer of its own: group commit. No I/O.

What arrives while the database is busy with others is written together (:mod:`.grouping`): one commit, and one
sync of the disk, for all of it.  The idea is old: see DeWitt et al., Implementation Techniques for Main Memory
Database Systems (SIGMOD 1984), section 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import attrs

from filedropd.claims.ledger import Ledger
from filedropd.interfaces import Rule
from filedropd.model import Drop, Event
from filedropd.records import sql
from filedropd.records.rows import Row, claim_from, drop_from, drop_row, transfer_from
from filedropd.records.transactions import (
    Conflict,
    Deciding,
    Keyed,
    Many,
    Step,
    Transaction,
    change,
    insert,
    kept,
    purged,
    purging,
)
from filedropd.values import evolve


@attrs.frozen
class Insert:
    """Add a new drop."""

    drop: Drop

    @property
    def key(self) -> bytes:
        """The drop's."""
        return self.drop.key


@attrs.frozen
class Change:
    """Do with a drop what a rule says; see :meth:`filedropd.interfaces.IRecords.change`."""

    key: bytes
    rule: Rule[Any]


@attrs.frozen
class Purge:
    """Note that a gone drop's bytes are deleted."""

    key: bytes
    forget_at: float


Write: TypeAlias = Insert | Change | Purge


@attrs.frozen
class Done:
    """What came of one write: a result, or what its rule raised."""

    result: Any = None
    error: BaseException | None = None


@attrs.frozen
class Apart:
    """A write that was not done: it has to be done by itself. There is no such drop, or somebody else has it now."""


def alone(write: Write) -> Transaction[Any]:
    """Do one write, in a transaction of its own."""
    match write:
        case Insert(drop):
            return insert(drop)
        case Change(key, rule):
            return change(key, rule)
        case Purge(key, forget_at):
            return purged(key, forget_at)


@attrs.define
class _Open:
    """A drop that is being changed: as it was read, and as it is by now."""

    before: Ledger
    revision: int
    now: Ledger
    events: list[Event] = attrs.field(factory=list)

    def apply(self, rule: Rule[Any]) -> Any:
        """Let ``rule`` change it; returns the rule's result."""
        after, result = rule(self.now)
        if after is not self.now:
            self.events += after.events
            self.now = _as_read(after)
        return result

    def kept(self) -> list[Step]:
        """Return what writes down what has changed; see :func:`filedropd.records.transactions.kept`."""
        return kept(self.before, evolve(self.now, events=tuple(self.events)), self.revision)


def _as_read(ledger: Ledger) -> Ledger:
    """Return it as whoever reads it once it is written down: without what is not kept, and in its order."""
    transfers = tuple(sorted((each.as_kept for each in ledger.transfers), key=_by_id))
    return evolve(ledger, transfers=transfers, events=())


def _by_id(transfer: Any) -> str:
    return str(transfer.id)


def together(writes: Sequence[Write]) -> Transaction[list[Done | Apart]]:
    """Do ``writes``, of which no two are an insertion or a purge of one drop and another write of it, in their order.

    :raises Conflict: somebody else has changed one of the drops since it was read; nothing is to be kept.
    """
    drops = yield from _read([write.key for write in writes if isinstance(write, Change)])
    outcomes: list[Done | Apart] = []
    steps: list[Step] = []
    for write in writes:
        if isinstance(write, Change):
            outcomes.append(_changed(drops.get(write.key), write.rule))
            continue
        steps += (
            [(sql.INSERT_DROP, drop_row(write.drop))]
            if isinstance(write, Insert)
            else purging(write.key, write.forget_at)
        )
        outcomes.append(Done())
    changed = [drop.kept() for drop in drops.values() if drop.now is not drop.before]
    if changed:
        # These decide whether each is still what was read.
        if not (yield Deciding(sql.CHANGE_DROP, tuple(values for (_, values), *_ in changed))):
            raise Conflict
        steps += [step for _, *others in changed for step in others]
    if steps:
        yield Many(tuple(steps))
    return outcomes


def _changed(drop: _Open | None, rule: Rule[Any]) -> Done | Apart:
    if drop is None:
        return Apart()
    try:
        return Done(drop.apply(rule))
    except Exception as error:  # noqa: BLE001 - it is its caller's, and none of the others'
        return Done(error=error)


def _read(keys: Iterable[bytes]) -> Transaction[dict[bytes, _Open]]:
    """Read and lock the drops with these keys, as far as they are there and nobody else has them."""
    wanted = sorted(set(keys))  # in one order, so that no two of these wait for each other
    if not wanted:
        return {}
    drops = {bytes(rows[0]["key"]): rows[0] for rows in (yield Keyed(sql.TAKE_DROP, tuple(wanted))) if rows}
    # Both lists are most often empty; what there never was need not be asked for.
    claims = yield from _of([key for key, row in drops.items() if row["opened"]], sql.CLAIMS)
    transfers = yield from _of([key for key, rows in claims.items() if rows], sql.TRANSFERS)
    return {key: _opened(row, claims.get(key, ()), transfers.get(key, ())) for key, row in drops.items()}


def _of(keys: Sequence[bytes], statement: str) -> Transaction[dict[bytes, Sequence[Row]]]:
    return dict(zip(keys, (yield Keyed(statement, tuple(keys))), strict=True)) if keys else {}


def _opened(drop: Row, claims: Iterable[Row], transfers: Iterable[Row]) -> _Open:
    ledger = Ledger(
        drop=drop_from(drop), claims=tuple(map(claim_from, claims)), transfers=tuple(map(transfer_from, transfers))
    )
    return _Open(ledger, drop["revision"], ledger)
