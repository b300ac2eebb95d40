"""A drop with its claims and its transfers: all that a rule needs to know, and all that it may change."""

from __future__ import annotations

from typing import Final

import attrs

from filedropd.model import (
    CLAIM_TRANSITIONS,
    DROP_TRANSITIONS,
    Claim,
    ClaimState,
    Drop,
    DropState,
    Event,
    Reason,
    Touch,
    Transfer,
)
from filedropd.values import evolve

#: Events that are kept of one drop; beyond, only those that end something are.
MOST_EVENTS: Final = 500

_ENDS: Final = frozenset({Touch.DELIVERED, Touch.EXPIRED, Touch.REVOKED, Touch.ABANDONED})


class UnlawfulMove(Exception):
    """A rule tried what the tables of :mod:`filedropd.model` do not have: a bug."""


@attrs.frozen(kw_only=True)
class Ledger:
    """One drop and what hangs on it.

    :ivar claims: in the order in which they were opened.
    :ivar transfers: those that run, and those that settled by quiet alone and whose connection still stands.
    :ivar events: those that were noted since it was read.
    """

    drop: Drop
    claims: tuple[Claim, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    events: tuple[Event, ...] = ()

    # -- looking ----------------------------------------------------------------------------------

    def claim(self, id: str) -> Claim:  # noqa: A002 - its name
        """Return the claim with this id.

        :raises KeyError: there is none.
        """
        for claim in self.claims:
            if claim.id == id:
                return claim
        raise KeyError(id)

    def transfer(self, id: str) -> Transfer | None:  # noqa: A002 - its name
        """Return the transfer with this id, unless it has ended."""
        return next((transfer for transfer in self.transfers if transfer.id == id), None)

    def of(self, claim: Claim) -> tuple[Transfer, ...]:
        """Return the transfers of ``claim``."""
        return tuple(transfer for transfer in self.transfers if transfer.claim == claim.id)

    def running(self, claim: Claim) -> tuple[Transfer, ...]:
        """Return those of them that still send, or whose end is awaited."""
        return tuple(transfer for transfer in self.of(claim) if not transfer.settled)

    # -- changing ---------------------------------------------------------------------------------

    def with_claim(self, claim: Claim) -> Ledger:
        """Return it with ``claim`` as given, in the place of the one with its id or as a new one."""
        others = tuple(claim if other.id == claim.id else other for other in self.claims)
        return evolve(self, claims=others if claim in others else (*others, claim))

    def with_transfer(self, transfer: Transfer) -> Ledger:
        """Return it with ``transfer`` as given."""
        others = tuple(other for other in self.transfers if other.id != transfer.id)
        return evolve(self, transfers=(*others, transfer))

    def without_transfers(self, *ended: Transfer) -> Ledger:
        """Return it without these transfers."""
        ids = {transfer.id for transfer in ended}
        return evolve(self, transfers=tuple(other for other in self.transfers if other.id not in ids))

    def opened(self, claim: Claim) -> Ledger:
        """Return it with a new claim, whose copy is taken."""
        drop = evolve(self.drop, opened=self.drop.opened + 1, live=self.drop.live + 1)
        return evolve(self, drop=drop, claims=(*self.claims, claim))

    def released(self, claim: Claim) -> Ledger:
        """Return it as if ``claim``, which is live, had never been opened."""
        left = tuple(other for other in self.claims if other.id != claim.id)
        return evolve(self, drop=evolve(self.drop, live=self.drop.live - 1), claims=left)

    def moved(self, claim: Claim, state: ClaimState, now: float) -> Ledger:
        """Return it with ``claim`` in ``state``, and the drop's counts and state after that.

        :raises UnlawfulMove: the table does not have it.
        """
        before = claim.state
        if state not in CLAIM_TRANSITIONS[before]:
            raise UnlawfulMove(f"A claim that is {before.value} does not become {state.value}.")
        claim = evolve(claim, state=state, ended_at=None if state.live else now)
        drop = self.drop
        drop = evolve(
            drop,
            live=drop.live + state.live - before.live,
            delivered=drop.delivered + state.counts - before.counts,
            presumed=drop.presumed + (state is ClaimState.PRESUMED) - (before is ClaimState.PRESUMED),
        )
        ledger = evolve(self, drop=drop).with_claim(claim)
        if state.counts and not before.counts:
            ledger = ledger.noted(Touch.DELIVERED, now, claim=claim.number)
            if drop.delivered >= drop.downloads:
                ledger = ledger.ended(Reason.DELIVERED, now)
        elif state is ClaimState.LAPSED:
            ledger = ledger.noted(Touch.LAPSED, now, claim=claim.number)
        return ledger

    def ended(self, reason: Reason, now: float) -> Ledger:
        """Return it with its drop gone. One that was delivered is that, whatever else it was before (rule E)."""
        drop = self.drop
        if drop.state is not DropState.AVAILABLE:
            return evolve(self, drop=evolve(drop, reason=reason))
        if DropState.GONE not in DROP_TRANSITIONS[drop.state]:
            raise UnlawfulMove(f"A drop that is {drop.state.value} does not become gone.")
        return evolve(self, drop=evolve(drop, state=DropState.GONE, reason=reason, gone_at=now))

    def noted(
        self,
        touch: Touch,
        now: float,
        *,
        claim: int | None = None,
        offset: int | None = None,
        who: str | None = None,
    ) -> Ledger:
        """Return it with one event more, unless there are too many."""
        if self.drop.touches >= MOST_EVENTS and touch not in _ENDS:
            return self
        drop = evolve(self.drop, touches=self.drop.touches + 1)
        event = Event(drop=drop.key, number=drop.touches, at=now, touch=touch, claim=claim, offset=offset, who=who)
        return evolve(self, drop=drop, events=(*self.events, event))
