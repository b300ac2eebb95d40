"""Values to rows and back: the one place that knows how a Drop and a Claim look in a database.

A column is named as the attribute that it holds.  Text is stored as it is given: callers see to it
that it is valid Unicode without NUL (what a client may send as a name is cleaned before it comes
here), which is what both databases can hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from filedropd.model import Claim, ClaimState, Drop, DropState, Outcome, Reason, claim_ended

#: What a column can hold.
Value = bytes | str | int | float | None

#: A row, by column. Its values are as the driver gives them: bytes may be a memoryview.
Row = Mapping[str, Any]

_DROP = tuple(field.name for field in attrs.fields(Drop))
_CLAIM = tuple(field.name for field in attrs.fields(Claim))


def drop_row(drop: Drop) -> dict[str, Value]:
    """Return the columns that hold ``drop``."""
    row = {name: getattr(drop, name) for name in _DROP}
    row["state"] = drop.state.value
    row["reason"] = None if drop.reason is None else drop.reason.value
    return row


def drop_from(row: Row) -> Drop:
    """Return the drop that ``row`` holds; columns that are not a drop's are left alone."""
    values = {name: row[name] for name in _DROP}
    values["key"] = bytes(row["key"])
    values["owner_key"] = bytes(row["owner_key"])
    values["state"] = DropState(row["state"])
    values["reason"] = None if row["reason"] is None else Reason(row["reason"])
    return Drop(**values)


def claim_row(claim: Claim) -> dict[str, Value]:
    """Return the columns that hold ``claim``."""
    row = {name: getattr(claim, name) for name in _CLAIM}
    row["state"] = claim.state.value
    return row


def claim_from(row: Row) -> Claim:
    """Return the claim that ``row`` holds; columns that are not a claim's are left alone."""
    values = {name: row[name] for name in _CLAIM}
    values["drop"] = bytes(row["drop"])
    values["state"] = ClaimState(row["state"])
    return Claim(**values)


def ended(claim: Claim, outcome: Outcome, size: int, now: float) -> Claim:
    """Return an open ``claim`` on a file of ``size`` bytes as ``outcome`` leaves it at ``now``.

    Nobody can have acknowledged more than was asked for: what is said beyond that (the kernel counts
    the end of a connection as one byte) is not counted.
    """
    certain = attrs.evolve(outcome, acknowledged=max(0, min(outcome.acknowledged, claim.length)))
    return attrs.evolve(claim, state=claim_ended(claim, certain, size), acknowledged=certain.acknowledged, ended_at=now)
