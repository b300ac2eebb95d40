"""Values to rows and back: the one place that knows how a drop and what hangs on it look in a database.

A column is named as the attribute that it holds.  Text is stored as it is given: callers see to it
that it is valid Unicode without NUL (what a client may send as a name is cleaned before it comes
here), which is what both databases can hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from filedropd import spans
from filedropd.model import Claim, ClaimState, Drop, DropState, Event, Reason, Touch, Transfer

#: What a column can hold.
Value = bytes | str | int | float | list[str] | list[bytes] | None

#: A row, by column. Its values are as the driver gives them: bytes may be a memoryview.
Row = Mapping[str, Any]

_DROP = tuple(field.name for field in attrs.fields(Drop))
_CLAIM = tuple(field.name for field in attrs.fields(Claim))
# Whether it settles is known where it runs, and nowhere else.
_TRANSFER = tuple(field.name for field in attrs.fields(Transfer) if field.name not in {"settling", "wanted"})
_EVENT = tuple(field.name for field in attrs.fields(Event))

#: Between the sets of bytes that were handed out once, twice, ….
_LAYERS = ";"


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
    values["sha256"] = None if row["sha256"] is None else bytes(row["sha256"])
    values["state"] = DropState(row["state"])
    values["reason"] = None if row["reason"] is None else Reason(row["reason"])
    return Drop(**values)


def claim_row(claim: Claim) -> dict[str, Value]:
    """Return the columns that hold ``claim``."""
    row = {name: getattr(claim, name) for name in _CLAIM}
    row["state"] = claim.state.value
    row["sent"] = _LAYERS.join(map(spans.written, claim.sent))
    row["confirmed"] = spans.written(claim.confirmed)
    return row


def claim_from(row: Row) -> Claim:
    """Return the claim that ``row`` holds; columns that are not a claim's are left alone."""
    values = {name: row[name] for name in _CLAIM}
    values["drop"] = bytes(row["drop"])
    values["recipient"] = None if row["recipient"] is None else bytes(row["recipient"])
    values["state"] = ClaimState(row["state"])
    values["sent"] = tuple(map(spans.read, row["sent"].split(_LAYERS))) if row["sent"] else ()
    values["confirmed"] = spans.read(row["confirmed"])
    return Claim(**values)


def transfer_row(transfer: Transfer, drop: Drop) -> dict[str, Value]:
    """Return the columns that hold ``transfer``, which is one of ``drop``."""
    row: dict[str, Value] = {name: getattr(transfer, name) for name in _TRANSFER}
    return row | {"drop": drop.key, "settled": int(transfer.settled)}


def transfer_from(row: Row) -> Transfer:
    """Return the transfer that ``row`` holds; columns that are not a transfer's are left alone."""
    values = {name: row[name] for name in _TRANSFER}
    values["settled"] = bool(row["settled"])
    return Transfer(**values)


def event_row(event: Event) -> dict[str, Value]:
    """Return the columns that hold ``event``."""
    row: dict[str, Value] = {name: getattr(event, name) for name in _EVENT}
    return row | {"touch": event.touch.value}


def event_from(row: Row) -> Event:
    """Return the event that ``row`` holds; columns that are not an event's are left alone."""
    values = {name: row[name] for name in _EVENT}
    values["drop"] = bytes(row["drop"])
    values["touch"] = Touch(row["touch"])
    return Event(**values)
