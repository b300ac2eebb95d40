"""Somebody asks for bytes: whose claim it is, and whether they are to be had now.

Rules R (recipient), G (order), J (joining), O (opening) and F (in flight).  What comes before them in the
order of G is not here: whether the drop was ever there, its password, conditional requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import attrs

from filedropd import spans
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import PROBE_WINDOW, Policy, stride
from filedropd.model import Claim, ClaimState, Reason, Touch, Transfer
from filedropd.spans import Spans
from filedropd.tokens import Token, claim_token, recipient_key
from filedropd.values import evolve

#: States in which a claim can be joined.
_JOINABLE = frozenset({ClaimState.OPEN, ClaimState.COVERED, ClaimState.SUSPENDED, ClaimState.PRESUMED})


@attrs.frozen(kw_only=True)
class Recipient:
    """Rule R: who asks.

    :ivar link: the token of the drop.
    :ivar token: a claim's token, where one was shown.
    :ivar source: address and program; ``None`` where they say nothing.
    """

    link: Token
    token: Token | None = None
    source: str | None = attrs.field(default=None, repr=False)

    def named(self, ledger: Ledger) -> Claim | None:
        """Return the claim whose token was shown, whatever became of it."""
        if self.token is None:
            return None
        for claim in ledger.claims:
            if claim_token(self.link, claim.id).same(self.token):
                return claim
        return None

    def shown(self, ledger: Ledger) -> Claim | None:
        """Return the claim whose token was shown. The token of a copy that is delivered says nothing any more."""
        claim = self.named(ledger)
        return None if claim is None or claim.state is ClaimState.DELIVERED else claim

    @property
    def key(self) -> bytes | None:
        """What is stored of the source."""
        return None if self.source is None else recipient_key(self.link, self.source)

    def own(self, ledger: Ledger) -> list[Claim]:
        """Return the claims that are this recipient's: the one whose token was shown, else those from this source."""
        shown = self.shown(ledger)
        if shown is not None:
            return [shown]
        key = self.key
        return [] if key is None else [claim for claim in ledger.claims if claim.recipient == key]


@attrs.frozen(kw_only=True)
class Wish:
    """What is asked for.

    :ivar claim: the id of a claim that is opened for it.
    :ivar transfer: the id of the transfer that it becomes; ``None``: a claim is wanted, and no bytes yet.
    :ivar daemon: the name of the daemon that is asked.
    :ivar first: the first byte.
    :ivar length: how many, from there.
    """

    recipient: Recipient
    claim: str
    transfer: str | None
    daemon: str = ""
    first: int
    length: int

    @property
    def asked(self) -> Spans:
        """The bytes."""
        return spans.of(self.first, self.first + self.length)


@attrs.frozen
class Granted:
    """They can be sent, as far as they are reserved."""

    claim: Claim
    transfer: Transfer | None


@attrs.frozen
class InTheWay:
    """They, or some of them, are being sent to the same recipient (rule F).

    :ivar transfers: those that send them.
    :ivar token: the claim's token was shown: these transfers are superseded.
    """

    transfers: tuple[Transfer, ...]
    token: bool


@attrs.frozen
class Taken:
    """Others have all the copies that there are for now."""


@attrs.frozen
class Over:
    """The drop is gone."""

    reason: Reason


Verdict: TypeAlias = Granted | InTheWay | Taken | Over


@attrs.frozen
class Progress:
    """How far a transfer is that runs in this daemon.

    :ivar acknowledged: bytes, from its first.
    :ivar settling: all is sent.
    :ivar wanting: all that is reserved is sent, and it waits for the next stride.
    """

    acknowledged: int
    settling: bool
    wanting: bool = False


def seen(ledger: Ledger, progress: Mapping[str, Progress]) -> Ledger:
    """Return it with what is known here, and not yet written down, of the transfers that run here."""
    if not progress:
        return ledger
    extent = ledger.drop.extent
    transfers = tuple(
        _seen(transfer, progress[transfer.id], extent) if transfer.id in progress else transfer
        for transfer in ledger.transfers
    )
    return evolve(ledger, transfers=transfers)


def _seen(transfer: Transfer, progress: Progress, extent: int) -> Transfer:
    return evolve(
        transfer,
        acknowledged=max(transfer.acknowledged, progress.acknowledged),
        settling=progress.settling,
        # Else nothing of it would be in flight for a moment, and whoever asks then would break it off.
        wanted=stride(extent, transfer.length - transfer.reserved) if progress.wanting else 0,
    )


def ask(
    ledger: Ledger, wish: Wish, progress: Mapping[str, Progress], now: float, policy: Policy
) -> tuple[Ledger, Verdict]:
    """Rule G, from the token on: answer ``wish``.

    Where nothing is granted nothing changes, but for what is closed.
    """
    after, verdict = _answered(seen(ledger, progress), wish, now, policy)
    return (after if isinstance(verdict, Granted) or after.drop != ledger.drop else ledger), verdict


def _answered(ledger: Ledger, wish: Wish, now: float, policy: Policy) -> tuple[Ledger, Verdict]:
    drop = ledger.drop
    shown = wish.recipient.shown(ledger)
    if drop.finished or drop.reason is Reason.REVOKED:
        return ledger, Over(drop.reason or Reason.DELIVERED)
    if shown is None and policy.max_attempts == 1 and _worn_out(ledger, wish):
        return ledger, _none(ledger, now)
    if shown is not None and shown.state in _JOINABLE:
        return (ledger, _none(ledger, now)) if _arrived(ledger, shown) else _join(ledger, shown, wish, now, token=True)
    return _without_token(ledger, wish, now)


def _none(ledger: Ledger, now: float) -> Taken | Over:
    """Return what somebody is told for whom there is nothing: not now, or not any more."""
    reason = ledger.drop.gone(now)
    return Taken() if reason is None else Over(reason)


def _arrived(ledger: Ledger, claim: Claim) -> bool:
    """Tell whether all that ``claim`` is for has arrived, by the quiet of its connections, which still stand."""
    lingering = [transfer.asked for transfer in ledger.of(claim) if transfer.settled]
    presumed = claim.state is ClaimState.PRESUMED
    return presumed and bool(lingering) and spans.union(claim.confirmed, *lingering) == ledger.drop.whole


# -- J: joining ------------------------------------------------------------------------------------


def _without_token(ledger: Ledger, wish: Wish, now: float) -> tuple[Ledger, Verdict]:
    """Rule J: let a recipient go on with a claim of his, take up one that lapsed, or open one."""
    own = wish.recipient.own(ledger)
    verdict: Verdict | None = None
    joinable = [claim for claim in own if claim.state in _JOINABLE and not _arrived(ledger, claim)]
    for claim in _in_order(ledger, wish, joinable):
        joined, verdict = _join(ledger, claim, wish, now, token=False)
        if isinstance(verdict, Granted):
            return joined, verdict
        if wish.first > 0:
            return ledger, verdict
    if ledger.drop.gone(now) is not None or ledger.drop.free < 1:
        return ledger, verdict or _none(ledger, now)
    for claim in _in_order(ledger, wish, [claim for claim in own if claim.state is ClaimState.LAPSED]):
        if _is_left(ledger, besides=claim):
            return _take_up(ledger, claim, wish, now)
    return _open(ledger, wish, now)


def _in_order(ledger: Ledger, wish: Wish, own: list[Claim]) -> Iterable[Claim]:
    """Return a recipient's claims, the one to join first.

    A range that begins behind the file's first byte continues something: the claim whose handed-out end is
    nearest at or above is the one, and where there is none (segments that are fetched in parallel, in any
    order) the one that is nearest below.
    """
    if wish.first == 0:
        return own

    def distance(claim: Claim) -> tuple[bool, int]:
        end = spans.last(_handed(ledger, claim))
        return end < wish.first, abs(end - wish.first)

    return sorted(own, key=distance)


def _handed(ledger: Ledger, claim: Claim) -> Spans:
    """Return the bytes that may have left this machine under ``claim``, or may any moment."""
    return spans.union(claim.handed, *(transfer.handed for transfer in ledger.of(claim)))


def _join(ledger: Ledger, claim: Claim, wish: Wish, now: float, *, token: bool) -> tuple[Ledger, Verdict]:
    running = ledger.running(claim)
    if claim.state is ClaimState.COVERED:
        return ledger, InTheWay(running, token=False)
    if wish.transfer is None:
        return ledger, Granted(claim, None)
    in_the_way = tuple(other for other in running if spans.common(other.in_flight, wish.asked))
    if in_the_way:
        return ledger, InTheWay(in_the_way, token=token)
    return _begin(ledger, claim, wish, now)


def _take_up(ledger: Ledger, claim: Claim, wish: Wish, now: float) -> tuple[Ledger, Verdict]:
    """Let a recipient go on with a claim of his that lapsed, as far as he was."""
    if wish.transfer is None:
        return ledger, Granted(claim, None)  # it is taken up by the request that asks for bytes
    copy = claim.copy if claim.copy in _free_copies(ledger) else _free_copies(ledger)[0]
    # He has not given it up, after all: the attempt is given back, and counted again if he leaves it again.
    return _begin(ledger, evolve(claim, copy=copy, lapses=0), wish, now)


def _begin(ledger: Ledger, claim: Claim, wish: Wish, now: float) -> tuple[Ledger, Verdict]:
    """Begin a transfer under ``claim``, of which the first stride is reserved."""
    transfer = Transfer(
        id=wish.transfer or "",
        claim=claim.id,
        daemon=wish.daemon,
        first=wish.first,
        length=wish.length,
        reserved=stride(ledger.drop.extent, wish.length),
    )
    if claim.state in {ClaimState.SUSPENDED, ClaimState.LAPSED}:
        ledger = ledger.moved(claim, ClaimState.OPEN, now)
    if claim.sent and not ledger.of(claim):
        ledger = ledger.noted(Touch.RESUMED, now, claim=claim.number, offset=wish.first)
    return ledger.with_transfer(transfer), Granted(ledger.claim(claim.id), transfer)


# -- O: opening ------------------------------------------------------------------------------------


def _open(ledger: Ledger, wish: Wish, now: float) -> tuple[Ledger, Verdict]:
    """Rule O: open a claim on a copy that is free, if a byte is left that makes one claim more harmless."""
    drop = ledger.drop
    if not _is_left(ledger):
        # Each byte went out with as many claims as there are copies; those that live may still give theirs back.
        if _handed_out(ledger.claims, ledger, whole=False) < drop.downloads:
            return ledger, Taken()
        return ledger.noted(Touch.DELIVERED, now).ended(Reason.DELIVERED, now), Over(Reason.DELIVERED)
    claim = Claim(
        id=wish.claim,
        drop=drop.key,
        number=drop.opened + 1,
        copy=_free_copies(ledger)[0],
        recipient=wish.recipient.key,
        opened_at=now,
        state=ClaimState.OPEN if wish.transfer else ClaimState.SUSPENDED,
        until=now + PROBE_WINDOW,
    )
    ledger = ledger.opened(claim).noted(Touch.CLAIMED, now, claim=claim.number, offset=wish.first)
    if wish.transfer is None:
        return ledger, Granted(claim, None)
    return _begin(ledger, claim, wish, now)


def _is_left(ledger: Ledger, besides: Claim | None = None) -> bool:
    """Tell whether some byte went out with fewer claims than there are copies, live ones counted as whole.

    Then, and only then, one claim more cannot make one complete copy too many, in whatever way the recipients of
    the others put together what they have.

    :param besides: a claim that lapsed and is to be taken up: it is counted as that one more.
    """
    others = [claim for claim in ledger.claims if besides is None or claim.id != besides.id]
    return _handed_out(others, ledger, whole=True) < ledger.drop.downloads


def _handed_out(claims: Iterable[Claim], ledger: Ledger, *, whole: bool) -> int:
    """Return with how many of ``claims`` the byte went out that went out with the fewest.

    :param whole: a live claim counts as if it had handed out everything.
    """
    handed = [
        ledger.drop.whole if claim.state.counts or (whole and claim.state.live) else _handed(ledger, claim)
        for claim in claims
    ]
    return spans.fewest([[each] for each in handed], ledger.drop.extent)


def _free_copies(ledger: Ledger) -> list[int]:
    """Return the copies that are free, those first that were given up the least often."""
    held = {claim.copy for claim in ledger.claims if claim.state.live or claim.state.counts}
    free = [copy for copy in range(ledger.drop.downloads) if copy not in held]
    given_up = Counter[int]()
    for claim in ledger.claims:
        given_up[claim.copy] += claim.lapses
    return sorted(free, key=lambda copy: given_up[copy])


def attempts(ledger: Ledger, copy: int) -> int:
    """Return how often ``copy`` was given up after more than half of it."""
    return sum(claim.lapses for claim in ledger.claims if claim.copy == copy)


def _worn_out(ledger: Ledger, wish: Wish) -> bool:
    """Tell whether, after ``wish``, every byte would have gone out more often than there are copies (strict)."""
    counted = [list(claim.sent) for claim in ledger.claims]
    counted += [[transfer.handed] for transfer in ledger.transfers if not transfer.settled]
    counted.append([wish.asked])
    return spans.fewest(counted, ledger.drop.extent) > ledger.drop.downloads


# -- F: in flight ----------------------------------------------------------------------------------


def reserve(
    ledger: Ledger,
    id: str,  # noqa: A002 - its name
    progress: Mapping[str, Progress],
    *,
    whole: bool = False,
) -> tuple[Ledger, Transfer | None]:
    """Rule F: reserve the next stride of the transfer with this id; ``whole``: all that is left of it.

    It goes up to the bytes that another transfer under the same claim has in flight.

    :returns: the transfer with more reserved; ``None`` where it must be aborted: it has reached them, or its drop
        was taken back, or its time is over.
    """
    current = seen(ledger, progress)
    transfer = current.transfer(id)
    if transfer is None or ledger.drop.reason is Reason.REVOKED:
        return ledger, None
    first = transfer.first + transfer.reserved
    left = transfer.length - transfer.reserved
    end = first + (left if whole else stride(ledger.drop.extent, left))
    for other in current.of(current.claim(transfer.claim)):
        taken = spans.common(other.unacknowledged, spans.of(first, end)) if other.id != id else spans.NONE
        end = min((end, *(start for start, _ in taken)))
    if end <= first:
        return ledger, None
    transfer = evolve(transfer, reserved=end - transfer.first)
    return current.with_transfer(transfer), transfer
