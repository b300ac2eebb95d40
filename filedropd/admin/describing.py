"""Drops in words and in JSON. Nothing here opens anything: no tokens, and no claims' ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from filedropd import spans
from filedropd.claims.ledger import Ledger
from filedropd.model import Claim, Drop, Event
from filedropd.tokens import short

#: What JSON can hold.
JSON: TypeAlias = dict[str, "JSON"] | list["JSON"] | str | int | float | None

HEADING = f"{'KEY':8}  {'STATE':20}  {'COPIES':>7}  {'BYTES':>12}  {'EXPIRES':20}  NAME"


def line(drop: Drop) -> str:
    """Return a drop as one line under :data:`HEADING`."""
    copies = f"{drop.delivered}/{drop.downloads}"
    return (
        f"{short(drop.key):8}  {_state(drop):20}  {copies:>7}  {drop.size:>12}  {_time(drop.expires_at):20}  "
        f"{_plain(drop.name)}"
    )


def drop_json(drop: Drop) -> dict[str, JSON]:
    """Return a drop as JSON has it; ``key`` is what is stored of its link, which does not open it."""
    return {
        "key": drop.key.hex(),
        "state": drop.state.value,
        "reason": None if drop.reason is None else drop.reason.value,
        "name": drop.name,
        "content_type": drop.content_type,
        "size": drop.size,
        "sha256": None if drop.sha256 is None else drop.sha256.hex(),
        "password": "yes" if drop.password else "no",
        "downloads": drop.downloads,
        "delivered": drop.delivered,
        "claimed": drop.live,
        "created_at": _time(drop.created_at),
        "expires_at": _time(drop.expires_at),
        "gone_at": None if drop.gone_at is None else _time(drop.gone_at),
        "blob": drop.blob,
    }


def whole_json(ledger: Ledger, events: Sequence[Event]) -> dict[str, JSON]:
    """Return a drop, its claims and what was noted of it as JSON has it."""
    claims: list[JSON] = [_claim_json(claim) for claim in ledger.claims]
    noted: list[JSON] = [_event_json(event) for event in events]
    return {**drop_json(ledger.drop), "claims": claims, "events": noted}


def whole(ledger: Ledger, events: Sequence[Event]) -> Iterator[str]:
    """Iterate over the lines that tell all of a drop."""
    drop = ledger.drop
    yield f"drop {short(drop.key)}: {_state(drop)}"
    for what, value in (
        ("key", drop.key.hex()),
        ("name", _plain(drop.name)),
        ("type", _plain(drop.content_type)),
        ("size", f"{drop.size} bytes"),
        ("sha256", "-" if drop.sha256 is None else drop.sha256.hex()),
        ("password", "yes" if drop.password else "no"),
        ("copies", f"{drop.delivered} of {drop.downloads} delivered, {drop.live} claimed"),
        ("created", _time(drop.created_at)),
        ("expires", _time(drop.expires_at)),
        ("gone", "-" if drop.gone_at is None else _time(drop.gone_at)),
        ("file", drop.blob),
    ):
        yield f"  {what:9} {value}"
    for claim in ledger.claims:
        handed, confirmed = spans.size(claim.handed), spans.size(claim.confirmed)
        yield (
            f"  claim {claim.number}: {claim.state.value}, opened {_time(claim.opened_at)}, "
            f"{handed} bytes handed out, {confirmed} confirmed"
        )
    for event in events:
        parts = (
            f", {key} {_plain(str(value))}" for key, value in _event_json(event).items() if key not in {"at", "touch"}
        )
        yield f"  {_time(event.at)} {event.touch.value}{''.join(parts)}"


def _claim_json(claim: Claim) -> dict[str, JSON]:
    return {
        "number": claim.number,
        "copy": claim.copy,
        "state": claim.state.value,
        "opened_at": _time(claim.opened_at),
        "until": _time(claim.until),
        "ended_at": None if claim.ended_at is None else _time(claim.ended_at),
        "handed_out": spans.size(claim.handed),
        "confirmed": spans.size(claim.confirmed),
    }


def _event_json(event: Event) -> dict[str, JSON]:
    found: dict[str, JSON] = {"at": _time(event.at), "touch": event.touch.value}
    more = {"claim": event.claim, "byte": event.offset, "who": event.who}
    return found | {name: value for name, value in more.items() if value is not None}


def _state(drop: Drop) -> str:
    return drop.state.value if drop.reason is None else f"{drop.state.value} ({drop.reason.value})"


def _time(at: float) -> str:
    """Return a moment as ISO 8601 has it, in UTC."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(text: str) -> str:
    """Return ``text`` without what a terminal would act on."""
    return text if text.isprintable() else ascii(text)
