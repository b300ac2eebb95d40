"""Time passes, the owner ends it, the daemon crashed. Rules W (window), E (ends) and X (crash)."""

from __future__ import annotations

from collections.abc import Container

from filedropd import spans
from filedropd.claims.asking import attempts
from filedropd.claims.ending import assured, completed, covered, suspended, window
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import Policy
from filedropd.model import Claim, ClaimState, Drop, DropState, Reason, Touch, Transfer
from filedropd.values import evolve


def elapsed(ledger: Ledger, now: float, policy: Policy) -> Ledger:
    """Return it as it is at ``now``: windows that are over have ended, and so has the time of the drop."""
    drop = ledger.drop
    if drop.state is DropState.PURGED:
        return ledger
    if drop.state is DropState.AVAILABLE and drop.expires_at <= now:
        ledger = ledger.noted(Touch.EXPIRED, now).ended(Reason.EXPIRED, now)
    for claim in ledger.claims:
        if _deadline(ledger, claim, policy) <= now:
            ledger = _over(ledger, claim, now, policy)
    return ledger


def _deadline(ledger: Ledger, claim: Claim, policy: Policy) -> float:
    """Return when ``claim`` ends unless its recipient does something; for one that has ended, never.

    Rule E: the window after the expiry is the last one.
    """
    last = ledger.drop.expires_at + policy.window
    if claim.state is ClaimState.SUSPENDED or (claim.state is ClaimState.PRESUMED and not ledger.running(claim)):
        return min(last, claim.until)
    return last if claim.state.live or claim.state is ClaimState.PRESUMED else float("inf")


def _over(ledger: Ledger, claim: Claim, now: float, policy: Policy) -> Ledger:
    """Rule W: end a claim whose time is over.

    A hole in what was handed out, and the copy is free; no hole, and it is delivered.
    """
    ledger, claim = _accounted(ledger, claim, ledger.of(claim))
    if claim.state in {ClaimState.PRESUMED, ClaimState.COVERED}:
        return ledger.moved(claim, ClaimState.DELIVERED, now)
    if not claim.sent:
        return ledger.released(claim)
    if claim.state is ClaimState.OPEN:
        ledger = ledger.moved(claim, ClaimState.SUSPENDED, now)
        claim = ledger.claim(claim.id)
    if covered(claim, ledger.drop):
        return ledger.moved(claim, ClaimState.DELIVERED, now)
    counts = spans.size(claim.handed) * 2 > ledger.drop.extent
    ledger = ledger.moved(evolve(claim, lapses=claim.lapses + counts), ClaimState.LAPSED, now)
    available = ledger.drop.state is DropState.AVAILABLE
    if counts and available and attempts(ledger, claim.copy) >= policy.max_attempts:
        ledger = ledger.noted(Touch.ABANDONED, now).ended(Reason.ABANDONED, now)
    return ledger


def _accounted(ledger: Ledger, claim: Claim, transfers: tuple[Transfer, ...]) -> tuple[Ledger, Claim]:
    """Take all that these transfers of ``claim`` had reserved for handed out, and end them."""
    for transfer in transfers:
        if not transfer.settled:  # what settled was counted when it did
            claim = evolve(claim, sent=_more(claim, transfer, ledger.drop))
    return ledger.without_transfers(*transfers).with_claim(claim), claim


def _more(claim: Claim, transfer: Transfer, drop: Drop) -> tuple[spans.Spans, ...]:
    return spans.stacked(claim.sent, transfer.handed)[: drop.downloads + 1]


def revoked(ledger: Ledger, now: float) -> Ledger:
    """Return it taken back by its owner: what runs is to be aborted, and nothing is kept for anybody."""
    for claim in ledger.claims:
        if claim.state is ClaimState.SUSPENDED:
            ledger = ledger.moved(claim, ClaimState.LAPSED, now) if claim.sent else ledger.released(claim)
        elif claim.state is ClaimState.PRESUMED:
            ledger = ledger.without_transfers(*ledger.of(claim)).moved(claim, ClaimState.DELIVERED, now)
    if ledger.drop.reason is Reason.DELIVERED:
        return ledger
    return ledger.noted(Touch.REVOKED, now).ended(Reason.REVOKED, now)


def recovered(ledger: Ledger, now: float, policy: Policy, alive: Container[str] = frozenset()) -> Ledger:
    """Rule X: return it after the daemons that ran its transfers were killed, but for those that are ``alive``.

    All that they had reserved is presumed to have left, and each claim has a window of its own to go on in.
    """
    for claim in ledger.claims:
        dead = tuple(transfer for transfer in ledger.of(claim) if transfer.daemon not in alive)
        if not dead:
            continue
        ledger, accounted = _accounted(ledger, claim, dead)
        accounted = evolve(accounted, until=now + window(accounted, ledger.drop, policy))
        ledger = ledger.with_claim(accounted)
        offset = min(ledger.drop.size, max(spans.last(transfer.handed) for transfer in dead))
        if ledger.running(accounted):
            continue
        if claim.state is ClaimState.COVERED:
            ledger = completed(ledger, accounted, now)
        elif claim.state is ClaimState.OPEN:
            ledger = ledger.noted(Touch.BROKEN, now, claim=claim.number, offset=offset)
            ledger = suspended(ledger, accounted, now)
        else:  # its recipient may have had all of it again, and only the dead one's transfer had yet to end
            ledger = assured(ledger, accounted, now)
    return ledger


def due(ledger: Ledger, now: float, policy: Policy) -> Ledger:
    """Return it with the time at which :func:`elapsed` has something to do next, or its bytes are to be deleted.

    Of a drop that is finished already, that is kept: its deletion may be being tried again.
    """
    drop = ledger.drop
    if drop.state is DropState.PURGED:
        return ledger
    if drop.finished:
        at = now
    else:
        ends = [_deadline(ledger, claim, policy) for claim in ledger.claims]
        at = min((drop.expires_at if drop.state is DropState.AVAILABLE else float("inf"), *ends))
    return evolve(ledger, drop=evolve(drop, due_at=at))
