"""A transfer ends: what of it counts, and what becomes of its claim. Rules C (confirming) and D (done)."""

from __future__ import annotations

from filedropd import spans
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import AFTERMATH, PROBE, PROBE_WINDOW, STRIDES, Policy
from filedropd.model import Claim, ClaimState, Drop, Outcome, Reason, Touch, Transfer
from filedropd.values import evolve

#: States of a claim one of whose transfers was taken for dead, and of which its end may still tell something.
_OPEN_TO_NEWS = frozenset({ClaimState.OPEN, ClaimState.COVERED, ClaimState.SUSPENDED, ClaimState.PRESUMED})


def end(
    ledger: Ledger,
    id: str,  # noqa: A002 - its name
    outcome: Outcome,
    now: float,
    policy: Policy,
    *,
    begun: Transfer | None = None,
) -> Ledger:
    """End the transfer with this id; a second time, it says nothing new.

    Rule C: what may have left stays handed out; what settled is confirmed, and of what broke off what was
    acknowledged before the client's FIN.  What settled by quiet alone is confirmed once its connection has
    ended: see :func:`confirm`.

    :param begun: the transfer as it was begun: with it, one that was accounted for as a dead daemon's (rule X),
        although that daemon lived, still confirms what it confirms.
    """
    transfer = ledger.transfer(id)
    if transfer is None:
        return ledger if begun is None else _ended_late(ledger, begun, outcome, now, policy)
    if transfer.settled:
        return ledger
    claim = ledger.claim(transfer.claim)
    sent = outcome.sent if ledger.drop.size else int(outcome.begun)
    handed = spans.of(transfer.first, transfer.first + min(sent, transfer.reserved))
    fresh = spans.less(handed, claim.handed)
    claim = evolve(claim, sent=spans.stacked(claim.sent, handed)[: ledger.drop.downloads + 1])
    claim = _confirming(claim, transfer, outcome, ledger.drop)
    if fresh or covered(claim, ledger.drop):  # a copy without a hole keeps nobody out: only he can lose by its end
        claim = evolve(claim, until=now + window(claim, ledger.drop, policy))
    return _accounted(ledger, claim, transfer, outcome, now)


def _ended_late(ledger: Ledger, transfer: Transfer, outcome: Outcome, now: float, policy: Policy) -> Ledger:
    """End a transfer all of which was presumed to have left: what is confirmed by it is all that is new."""
    claim = _open_to_news(ledger, transfer)
    if claim is None:
        return ledger
    after = _confirming(claim, transfer, outcome, ledger.drop)
    if after == claim and not outcome.quiet:
        return ledger
    if not outcome.complete:
        return assured(ledger.with_claim(after), after, now)
    if claim.state is ClaimState.SUSPENDED:
        ledger = ledger.moved(after, ClaimState.OPEN, now)
        after = ledger.claim(claim.id)
    if covered(after, ledger.drop):
        after = evolve(after, until=now + window(after, ledger.drop, policy))
    return _accounted(ledger, after, transfer, outcome, now)


def _accounted(ledger: Ledger, claim: Claim, transfer: Transfer, outcome: Outcome, now: float) -> Ledger:
    """End a transfer, of which ``claim`` says already what was sent and what that confirms."""
    ledger = ledger.with_claim(claim)
    if outcome.quiet:
        ledger = ledger.with_transfer(
            evolve(transfer, settled=True, reserved=transfer.length, acknowledged=transfer.length)
        )
    else:
        ledger = ledger.without_transfers(transfer)
    return _concluded(ledger, claim, transfer, now, settled=outcome.complete)


def _confirming(claim: Claim, transfer: Transfer, outcome: Outcome, drop: Drop) -> Claim:
    """Return ``claim`` with what ``outcome`` confirms by itself."""
    if outcome.quiet:
        return claim
    acknowledged = outcome.acknowledged if drop.size else int(outcome.complete)
    confirmed = spans.of(transfer.first, transfer.first + min(acknowledged, transfer.length))
    return evolve(claim, confirmed=spans.union(claim.confirmed, spans.common(confirmed, claim.handed)))


def _open_to_news(ledger: Ledger, transfer: Transfer) -> Claim | None:
    """Return the claim of a transfer that was accounted for by others, if it may still tell something of it."""
    return next((each for each in ledger.claims if each.id == transfer.claim and each.state in _OPEN_TO_NEWS), None)


def confirm(
    ledger: Ledger,
    id: str,  # noqa: A002 - its name
    now: float,
    policy: Policy,
    *,
    kept: bool,
    begun: Transfer | None = None,
) -> Ledger:
    """End what :func:`end` left open of a transfer that settled by quiet alone.

    :param kept: its connection ended in order, or went on to a next request; not by a reset.
    :param begun: as :func:`end` has it.
    """
    transfer = ledger.transfer(id)
    if transfer is None:
        news = _open_to_news(ledger, begun) if begun is not None and kept else None
        if begun is None or news is None:
            return ledger
        news = evolve(news, confirmed=spans.union(news.confirmed, spans.common(begun.asked, news.handed)))
        return assured(ledger.with_claim(news), news, now)
    claim = ledger.claim(transfer.claim)
    ledger = ledger.without_transfers(transfer)
    if kept:
        claim = evolve(claim, confirmed=spans.union(claim.confirmed, transfer.asked))
    elif claim.state is ClaimState.PRESUMED:
        claim = evolve(claim, until=now + policy.window)
        ledger = ledger.noted(
            Touch.BROKEN, now, claim=claim.number, offset=_offset(ledger.drop, transfer, transfer.length)
        )
    return assured(ledger.with_claim(claim), claim, now)


def assured(ledger: Ledger, claim: Claim, now: float) -> Ledger:
    """Let a presumed ``claim`` be delivered, if its recipient has all for certain and nothing more can be learnt."""
    if claim.state is ClaimState.PRESUMED and not ledger.of(claim) and claim.confirmed == ledger.drop.whole:
        return ledger.moved(claim, ClaimState.DELIVERED, now)
    return ledger


def covered(claim: Claim, drop: Drop) -> bool:
    """Tell whether what was handed out, confirmed or presumed, is the whole file: there is no hole in it."""
    return claim.handed == drop.whole


# -- D: done ---------------------------------------------------------------------------------------


def _concluded(ledger: Ledger, claim: Claim, transfer: Transfer, now: float, *, settled: bool) -> Ledger:
    """Rule D: move ``claim`` on after one of its transfers has ended."""
    drop = ledger.drop
    if ledger.running(claim):
        if settled and covered(claim, drop) and claim.state is ClaimState.OPEN:
            return ledger.moved(claim, ClaimState.COVERED, now)
        return ledger
    if claim.state is ClaimState.PRESUMED:
        return assured(ledger, claim, now)
    if claim.state is ClaimState.COVERED or (settled and covered(claim, drop)):
        return completed(ledger, claim, now)
    if not claim.sent:
        return ledger.released(claim)
    ledger = ledger.noted(
        Touch.RECEIVED if settled else Touch.BROKEN,
        now,
        claim=claim.number,
        offset=_offset(drop, transfer, spans.last(claim.handed) - transfer.first),
    )
    return suspended(ledger, claim, now)


def completed(ledger: Ledger, claim: Claim, now: float) -> Ledger:
    """Count a copy: for everybody else at once, and for its recipient when he has it for certain."""
    if ledger.drop.reason is Reason.REVOKED:
        return ledger.moved(claim, ClaimState.DELIVERED, now)  # nothing is kept for anybody
    lingering = [transfer.asked for transfer in ledger.of(claim)]
    if spans.union(claim.confirmed, *lingering) == ledger.drop.whole:
        if not lingering:
            return ledger.moved(claim, ClaimState.DELIVERED, now)
        claim = evolve(claim, until=now + AFTERMATH)
    return ledger.moved(claim, ClaimState.PRESUMED, now)


def suspended(ledger: Ledger, claim: Claim, now: float) -> Ledger:
    """Let ``claim``, of which nothing runs, wait for its recipient; not on a drop that was taken back."""
    ledger = ledger.moved(claim, ClaimState.SUSPENDED, now)
    if ledger.drop.reason is Reason.REVOKED:
        return ledger.moved(ledger.claim(claim.id), ClaimState.LAPSED, now)
    return ledger


def window(claim: Claim, drop: Drop, policy: Policy) -> float:
    """Return for how many seconds ``claim`` is waited for (rule W): not long where it was a probe."""
    handed = spans.size(claim.handed)
    probe = handed < PROBE and handed * STRIDES < drop.size
    return PROBE_WINDOW if probe else policy.window


def _offset(drop: Drop, transfer: Transfer, sent: int) -> int:
    return min(drop.size, transfer.first + max(0, min(sent, transfer.length)))
