"""What each operation of :class:`filedropd.interfaces.IRecords` does in its transaction. No I/O.

A :data:`Transaction` is a generator: it yields a statement of :mod:`filedropd.records.sql` with its
values (or several of them together), is sent the rows that came of it, and returns the result.  A database's own module only has to
run it between BEGIN and COMMIT, waiting as that database wants it; the order of the steps is here for
all of them.  A transaction that finds nothing to do has changed nothing when it returns.
"""

from __future__ import annotations

from collections.abc import Container, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import attrs

from filedropd.claims.ledger import Ledger
from filedropd.interfaces import Rule
from filedropd.model import Drop, Event
from filedropd.records import sql
from filedropd.records.rows import (
    Row,
    Value,
    claim_from,
    claim_row,
    drop_from,
    drop_row,
    event_from,
    event_row,
    transfer_from,
    transfer_row,
)

T = TypeVar("T")

#: A statement and its values.
Step: TypeAlias = tuple[str, Mapping[str, Value]]


@attrs.frozen
class Keyed:
    """One statement on each of several keys, ``:key`` in it; the rows of each are sent back, in the order of the keys."""

    statement: str
    keys: tuple[bytes, ...]


@attrs.frozen
class Many:
    """Several steps, of each drop in their order; nothing is sent back."""

    steps: tuple[Step, ...]


@attrs.frozen
class Deciding:
    """One statement on several rows, which returns each that it changed; whether it did all of them is sent back."""

    statement: str
    values: tuple[Mapping[str, Value], ...]


#: What a transaction asks of a database at a time.
Asked: TypeAlias = Step | Keyed | Many | Deciding

#: Yields steps, is sent their rows, returns the result.
Transaction: TypeAlias = Generator[Asked, Any, T]


class Conflict(Exception):
    """What a transaction read was changed before it wrote: it has to be run again."""


def _the_drop(rows: Iterable[Row]) -> Drop | None:
    return next(map(drop_from, rows), None)


def ping() -> Transaction[None]:
    """Write what is there already: to answer is not enough, a claim must be committed."""
    yield sql.TOUCH_VERSION, {}


# -- reading ---------------------------------------------------------------------------------------


def find(key: bytes) -> Transaction[Drop | None]:
    """Return the drop stored as ``key``."""
    return _the_drop((yield sql.FIND_DROP, {"key": key}))


def page(after: bytes, limit: int) -> Transaction[list[Drop]]:
    """Return up to ``limit`` drops whose keys come after ``after``, in order."""
    return list(map(drop_from, (yield sql.PAGE, {"after": after, "limit": limit})))


def has_blob(blob: str) -> Transaction[bool]:
    """Tell whether a drop that is not purged has its bytes in ``blob``."""
    return bool((yield sql.HAS_BLOB, {"blob": blob}))


def next_due() -> Transaction[float | None]:
    """Return when the next drop is due."""
    (row,) = yield sql.NEXT_DUE, {}
    found: float | None = row["due_at"]
    return found


# -- a drop with its claims and transfers ----------------------------------------------------------


def ledger(key: bytes) -> Transaction[Ledger | None]:
    """Return a drop with its claims and transfers."""
    return (yield from _read(key, sql.FIND_DROP))[0]


def events(key: bytes) -> Transaction[list[Event]]:
    """Return what happened to a drop, in order."""
    return list(map(event_from, (yield sql.EVENTS, {"key": key})))


def interrupted(alive: Container[str]) -> Transaction[list[bytes]]:
    """Return the keys of the drops that have transfers of daemons which are not ``alive``."""
    rows = yield sql.INTERRUPTED, {}
    return list(dict.fromkeys(bytes(row["drop"]) for row in rows if row["daemon"] not in alive))


def change(key: bytes, rule: Rule[T]) -> Transaction[T | None]:
    """Do what ``rule`` says with a drop.

    :raises Conflict: somebody else has changed it since it was read; to be run again.
    """
    before, revision = yield from _read(key, sql.LOCK_DROP)
    if before is None:
        return None
    after, result = rule(before)
    if after is not before:
        yield from _keep(before, after, revision)
    return result


def change_all(keys: Sequence[bytes], rule: Rule[T]) -> Transaction[list[T | None]]:
    """Do what ``rule`` says with several drops, as :func:`change` does."""
    results: dict[bytes, T | None] = {}
    for key in sorted(set(keys)):  # in one order, so that no two of these wait for each other
        results[key] = yield from change(key, rule)
    return [results[key] for key in keys]


def _read(key: bytes, find: str) -> Transaction[tuple[Ledger | None, int]]:
    rows = yield find, {"key": key}
    if not rows:
        return None, 0
    # Both lists are most often empty; what there never was need not be asked for.
    claims = (yield sql.CLAIMS, {"key": key}) if rows[0]["opened"] else ()
    transfers = (yield sql.TRANSFERS, {"key": key}) if claims else ()
    found = Ledger(
        drop=drop_from(rows[0]),
        claims=tuple(map(claim_from, claims)),
        transfers=tuple(map(transfer_from, transfers)),
    )
    return found, rows[0]["revision"]


def _keep(before: Ledger, after: Ledger, revision: int) -> Transaction[None]:
    """Write down in what ``after`` differs."""
    first, *others = kept(before, after, revision)
    if not (yield first):
        raise Conflict
    yield from _all(others)


def kept(before: Ledger, after: Ledger, revision: int) -> list[Step]:
    """Return what writes down in what ``after`` differs; the first decides whether it is still what was read."""
    return [(sql.CHANGE_DROP, {**drop_row(after.drop), "revision": revision}), *_hanging(before, after)]


def _hanging(before: Ledger, after: Ledger) -> Iterator[Step]:
    """Return what writes down in what that differs which hangs on a drop."""
    yield from _claims(before, after)
    for transfer in after.transfers:
        known = before.transfer(transfer.id)
        if known is None:
            yield sql.INSERT_TRANSFER, transfer_row(transfer, after.drop)
        elif known != transfer:
            yield sql.CHANGE_TRANSFER, transfer_row(transfer, after.drop)
    for event in after.events:
        yield sql.INSERT_EVENT, event_row(event)


def _claims(before: Ledger, after: Ledger) -> Iterator[Step]:
    left = {claim.id: claim for claim in before.claims}
    for claim in after.claims:
        known = left.pop(claim.id, None)
        if known is None:
            yield sql.INSERT_CLAIM, claim_row(claim)
        elif known != claim:
            yield sql.CHANGE_CLAIM, claim_row(claim)
    # Their transfers refer to them, and go before.
    for transfer in before.transfers:
        if after.transfer(transfer.id) is None:
            yield sql.DELETE_TRANSFER, {"id": transfer.id}
    for claim_id in left:
        yield sql.DELETE_CLAIM, {"id": claim_id}


def _all(steps: Iterable[Step]) -> Transaction[None]:
    for step in steps:  # noqa: UP028 - rows are sent back, which a list cannot take
        yield step


# -- daemons ---------------------------------------------------------------------------------------


def lease(name: str, until: float) -> Transaction[None]:
    """Note that a daemon lives, until then at least."""
    yield sql.LEASE_DAEMON, {"name": name, "until": until}


def release(name: str) -> Transaction[None]:
    """Note that a daemon has stopped."""
    yield sql.RELEASE_DAEMON, {"name": name}


def alive(now: float) -> Transaction[frozenset[str]]:
    """Return the names of the daemons that live, and forget those that do not."""
    yield sql.FORGET_DAEMONS, {"now": now}
    return frozenset(row["name"] for row in (yield sql.DAEMONS_ALIVE, {"now": now}))


def notify(words: Sequence[str]) -> Transaction[None]:
    """Tell words to whoever listens."""
    yield sql.NOTIFY, {"words": list(words)}


# -- drops -----------------------------------------------------------------------------------------


def insert(drop: Drop) -> Transaction[None]:
    """Add a new drop."""
    yield sql.INSERT_DROP, drop_row(drop)


def restore(ledger: Ledger, events: Sequence[Event]) -> Transaction[None]:
    """Add a drop that other records had, and what hangs on it."""
    yield sql.INSERT_DROP, drop_row(ledger.drop)
    yield from _all(_hanging(Ledger(drop=ledger.drop), attrs.evolve(ledger, events=tuple(events))))


def take_due(now: float, limit: int, until: float) -> Transaction[list[Drop]]:
    """Return up to ``limit`` drops that are due, and make them due at ``until``."""
    return list(map(drop_from, (yield sql.TAKE_DUE, {"now": now, "limit": limit, "until": until})))


def purged(key: bytes, forget_at: float) -> Transaction[None]:
    """Note that a gone drop's bytes are deleted, and erase who had them."""
    first, *others = purging(key, forget_at)
    if (yield first):
        yield from _all(others)


def purging(key: bytes, forget_at: float) -> list[Step]:
    """Return what notes that a gone drop's bytes are deleted, and erases who had them."""
    return [(sql.PURGED, {"key": key, "forget_at": forget_at}), (sql.ERASE_RECIPIENTS, {"key": key})]


def purge_failed(key: bytes, retry_at: float) -> Transaction[None]:
    """Note that deleting a gone drop's bytes failed."""
    yield sql.PURGE_FAILED, {"key": key, "retry_at": retry_at}


def forget(key: bytes) -> Transaction[None]:
    """Delete a purged drop and what hangs on it."""
    yield sql.LOCK_DROP, {"key": key}  # nobody adds to it meanwhile
    for statement in sql.FORGET:
        yield statement, {"key": key}
    yield sql.FORGET_DROP, {"key": key}
