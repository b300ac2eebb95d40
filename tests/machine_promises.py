"""What was promised of a drop, looked at from outside, with the account of what its recipients really have."""

from __future__ import annotations

import itertools
from typing import Final

from filedropd import spans
from filedropd.claims import asking
from filedropd.claims.elapsing import elapsed
from filedropd.claims.ledger import Ledger
from filedropd.downloads import Visit
from filedropd.errors import Gone, Locked
from filedropd.model import Claim, Drop, DropState, Reason
from filedropd.spans import Spans
from filedropd.tokens import Token, claim_token
from tests.machine_account import Account, Copy
from tests.machine_world import World
from tests.support import result_of

#: Somebody who was never here.
STRANGER: Final = "203.0.113.9\nstranger"


class Promises:
    """All that must hold of one drop at any moment.

    :param ledger: as the records have it; ``None`` where it is forgotten.
    """

    def __init__(self, world: World, account: Account, ledger: Ledger | None) -> None:
        self._world = world
        self._account = account
        # What time has brought is written down within a minute; what is asked is answered as if it were.
        self._ledger = None if ledger is None else elapsed(ledger, world.wall(), account.policy)
        self._to_be_reaped = self._ledger is not ledger
        self._there = account.receipt.drop.blob in world.stored.published

    def check(self) -> None:
        """Look at all of them."""
        self._copies()
        self._in_flight()
        self._bytes()
        if self._ledger is not None:
            self._ends(self._ledger.drop)
            self._recoverable(self._ledger.drop)
            self._nobody_locked_out(self._ledger.drop)

    def _ask(self, drop: Drop, source: str | None, token: Token | None, wanted: Spans) -> Exception | None:
        """Return what somebody is told who asks now, without asking."""
        who = asking.Recipient(link=self._account.receipt.link, token=token, source=source)
        first, end = wanted[0]
        length = end - first if drop.size else 0
        try:
            result_of(self._world.drops.peek(Visit(drop=drop, recipient=who, claimed=False), first, length))
        except (Gone, Locked) as error:
            return error
        return None

    # -- never more than allowed ------------------------------------------------------------------

    def _copies(self) -> None:
        """Never more complete copies than were allowed: by recipient, by claim, and whoever joins his parts with others'."""
        allowed = self._account.receipt.drop.downloads
        assert self._account.most_complete() <= allowed, "more recipients have the whole file than were allowed"
        assert self._account.most_together() <= allowed, "put together, there are more whole files than were allowed"
        assert self._account.most_copies() <= allowed, "more claims gave somebody the whole file than were allowed"

    def _in_flight(self) -> None:
        """No byte is on its way to one recipient twice."""
        for copy in self._account.copies.values():
            for one, other in itertools.combinations(copy.running, 2):
                assert not spans.common(one.in_flight, other.in_flight), "a byte is in flight twice"

    # -- nothing is lost --------------------------------------------------------------------------

    def _recoverable(self, drop: Drop) -> None:
        """Whoever lacks something comes back within his window, and the bytes are there for him."""
        account = self._account
        strict = account.policy.max_attempts == 1
        for copy in account.returning():
            wanted = spans.less(account.whole, copy.kept)
            error = self._ask(drop, None, Token(copy.name), wanted)
            assert error is None, f"a recipient who lacks bytes {wanted} is told {error!r}"
            assert self._there, "a recipient lacks bytes that are deleted"
            alone = [other.source for other in account.copies.values()].count(copy.source) == 1
            if copy.source is not None and alone and not strict:
                error = self._ask(drop, copy.source, None, wanted)
                assert error is None, f"a recipient without his token, who lacks bytes {wanted}, is told {error!r}"

    def _nobody_locked_out(self, drop: Drop) -> None:
        """A stranger is refused only where others have, or may still take, all copies, or the drop is over."""
        account, now = self._account, self._world.wall()
        error = self._ask(drop, STRANGER, None, account.whole)
        if error is None:
            assert now < account.receipt.drop.expires_at, "something new may start after the expiry"
            assert not account.revoked, "something new may start on what was taken back"
            return
        over = account.revoked or account.expired or drop.reason is Reason.ABANDONED
        taken = account.fewest(whole=True) >= account.receipt.drop.downloads
        worn = account.policy.max_attempts == 1 and account.worn_out()
        assert over or taken or worn, f"nobody has a copy or can still take one, and a stranger is told {error!r}"

    # -- ends -------------------------------------------------------------------------------------

    def _ends(self, drop: Drop) -> None:
        """A drop is gone for the reason that it tells, and when there is one."""
        account = self._account
        if account.revoked:
            assert drop.finished, "it was taken back, and is not gone"
        if drop.reason is Reason.DELIVERED:
            assert account.fewest(whole=False) >= drop.downloads, "it is over as delivered, and some byte never left"
        elif drop.reason is Reason.EXPIRED:
            assert account.expired, "it is over as expired before its time"
        elif drop.reason is Reason.REVOKED:
            assert account.revoked, "it is over as revoked, and nobody did that"
        if sum(copy.complete and copy.kept == account.whole for copy in account.copies.values()) >= drop.downloads:
            assert drop.finished, "all copies are complete beyond doubt, and it is not gone"
        if self._world.wall() >= account.last:
            assert drop.finished, "a window after its expiry it is not gone"

    def _bytes(self) -> None:
        """The bytes of what is gone for everybody are deleted, of all else they are there."""
        drop = None if self._ledger is None else self._ledger.drop
        if drop is None or drop.state is DropState.PURGED:
            assert not self._there, "bytes of a drop that is purged are there"
        elif not drop.finished:
            assert self._there, "the bytes of a drop that is not gone for everybody are not there"
        elif self._there and not self._to_be_reaped:
            assert drop.purge_attempts, "bytes of a gone drop are there, and nobody has tried to delete them"


# -- within ----------------------------------------------------------------------------------------


class Written:
    """What must be on record at any moment. It finds at once what a promise is broken by later."""

    def __init__(self, account: Account, ledger: Ledger) -> None:
        self._account = account
        self._ledger = ledger
        self._claims = {claim_token(account.receipt.link, claim.id).text: claim for claim in ledger.claims}

    def check(self) -> None:
        """Look at all of it."""
        for copy in self._account.copies.values():
            self._before_sent(copy)
        self._counted()
        for claim in self._ledger.claims:
            self._lawful(claim)

    def _before_sent(self, copy: Copy) -> None:
        """Nothing leaves that is not on record as handed out."""
        if copy.left:
            claim = self._claims.get(copy.name)
            assert claim is not None, "bytes left under a claim that is not on record"
            running = (transfer.handed for transfer in self._ledger.of(claim))
            handed = spans.union(claim.handed, *running)
            if self._ledger.drop.reason is not Reason.REVOKED:
                assert not spans.less(copy.left, handed), "bytes left that are not on record as handed out"

    def _counted(self) -> None:
        """The drop's counts are those of its claims, and no two hold one copy."""
        drop, claims = self._ledger.drop, self._ledger.claims
        holding = [claim.copy for claim in claims if claim.state.live or claim.state.counts]
        assert drop.live == sum(claim.state.live for claim in claims)
        assert drop.delivered == sum(claim.state.counts for claim in claims)
        assert len(holding) == len(set(holding)) <= drop.downloads
        assert all(0 <= copy < drop.downloads for copy in holding)

    def _lawful(self, claim: Claim) -> None:
        """What is confirmed was handed out; what was handed out often, was less often, too."""
        transfers = [transfer.handed for transfer in self._ledger.of(claim)]
        assert not spans.less(claim.confirmed, spans.union(claim.handed, *transfers))
        for often, oftener in zip(claim.sent, claim.sent[1:], strict=False):
            assert not spans.less(oftener, often)
        if claim.state.live and not self._ledger.running(claim):
            assert self._known(claim), "a claim holds a copy, and nobody has it"

    def _known(self, claim: Claim) -> bool:
        """Tell whether the account has it: under its token, or as one of those that a crash left unknown."""
        copies = self._account.copies
        return claim_token(self._account.receipt.link, claim.id).text in copies or any(
            name.startswith("unknown") for name in copies
        )
