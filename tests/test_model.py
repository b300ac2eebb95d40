"""The law: what may become of drops and claims, and what each tells of itself."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs
from twisted.trial.unittest import SynchronousTestCase

from filedropd import spans
from filedropd.model import (
    CLAIM_TRANSITIONS,
    DROP_TRANSITIONS,
    NOTHING_SENT,
    Claim,
    ClaimState,
    Drop,
    DropState,
    Reason,
    Transfer,
)

State = TypeVar("State", bound=enum.Enum)


def a_drop(**changes: Any) -> Drop:
    """Return a drop that expires at 100."""
    drop = Drop(
        key=b"k",
        owner_key=b"o",
        blob="ab",
        name="n",
        content_type="t/t",
        size=1,
        created_at=0,
        expires_at=100,
        due_at=100,
    )
    return attrs.evolve(drop, **changes)


def a_transfer(**changes: Any) -> Transfer:
    """Return a transfer of the bytes from 10 to 19, of which the first six are reserved."""
    return attrs.evolve(Transfer(id="t", claim="c", first=10, length=10, reserved=6), **changes)


def reached(table: Mapping[State, frozenset[State]], state: State) -> set[State]:
    """Return all that a state may come to."""
    found: set[State] = set()
    ahead = set(table[state])
    while ahead:
        found |= ahead
        ahead = {following for each in ahead for following in table[each]} - found
    return found


class TransitionTests(SynchronousTestCase):
    """The two tables."""

    def test_total(self):
        """Every state is in its table."""
        self.assertEqual(set(DropState), set(DROP_TRANSITIONS))
        self.assertEqual(set(ClaimState), set(CLAIM_TRANSITIONS))

    def test_closed(self):
        """Nothing becomes what is not in the table, nor what it is."""
        for table in (DROP_TRANSITIONS, CLAIM_TRANSITIONS):
            for state, following in table.items():
                self.assertLessEqual(set(following), set(table))
                self.assertNotIn(state, following)

    def test_drop(self):
        """A drop is available, then gone, then purged; there is no way back."""
        ahead = {state: reached(DROP_TRANSITIONS, state) for state in DropState}
        self.assertEqual({DropState.GONE, DropState.PURGED}, ahead[DropState.AVAILABLE])
        self.assertEqual({DropState.PURGED}, ahead[DropState.GONE])
        self.assertEqual(set(), ahead[DropState.PURGED])

    def test_claim_reached(self):
        """A claim begins open or suspended, and may come to every state."""
        for state in (ClaimState.OPEN, ClaimState.SUSPENDED):
            self.assertEqual(set(ClaimState), reached(CLAIM_TRANSITIONS, state))

    def test_claim_return(self):
        """A recipient may return to a claim that waits or lapsed; from covered on, no copy becomes free again."""
        returned = {state for state in ClaimState if state in reached(CLAIM_TRANSITIONS, state)}
        self.assertEqual({ClaimState.OPEN, ClaimState.SUSPENDED, ClaimState.LAPSED}, returned)
        for state in set(ClaimState) - returned:
            ahead = {state} | reached(CLAIM_TRANSITIONS, state)
            self.assertLessEqual(ahead, {ClaimState.COVERED, ClaimState.PRESUMED, ClaimState.DELIVERED})

    def test_counts_for_good(self):
        """A copy that counts as delivered always will."""
        for state in ClaimState:
            if state.counts:
                self.assertTrue(all(following.counts for following in reached(CLAIM_TRANSITIONS, state)))

    def test_delivered_is_the_end(self):
        """Every claim can end delivered, and what is delivered ends there."""
        self.assertEqual(frozenset(), CLAIM_TRANSITIONS[ClaimState.DELIVERED])
        for state in set(ClaimState) - {ClaimState.DELIVERED}:
            self.assertIn(ClaimState.DELIVERED, reached(CLAIM_TRANSITIONS, state))

    def test_live_or_counts(self):
        """A claim holds a copy, or is one, or lapsed; never two of these."""
        held = {state: (state.live, state.counts) for state in ClaimState}
        self.assertEqual([ClaimState.LAPSED], [state for state in ClaimState if held[state] == (False, False)])
        self.assertNotIn((True, True), held.values())


class DropTests(SynchronousTestCase):
    """What a drop tells of itself."""

    def test_gone(self):
        """It is gone when its state says so, with its reason, or from its expiry on."""
        self.assertIsNone(a_drop().gone(99.9))
        self.assertEqual(Reason.EXPIRED, a_drop().gone(100))
        for state in (DropState.GONE, DropState.PURGED):
            for reason in Reason:
                self.assertEqual(reason, a_drop(state=state, reason=reason).gone(1))
                self.assertEqual(reason, a_drop(state=state, reason=reason).gone(1000))

    def test_extent(self):
        """An empty file has one byte to hand over, its head."""
        self.assertEqual([1, 1, 2], [a_drop(size=size).extent for size in (0, 1, 2)])
        self.assertEqual([((0, 1),), ((0, 2),)], [a_drop(size=size).whole for size in (0, 2)])

    def test_free(self):
        """Copies that are delivered, and those on their way, are not free; a presumed one is counted once."""
        self.assertEqual(4, a_drop(downloads=9, delivered=3, live=2, presumed=1).free)

    def test_finished(self):
        """It is gone for everybody when it is gone and nobody may come back, or when it was taken back."""
        gone = {"state": DropState.GONE, "reason": Reason.EXPIRED}
        self.assertFalse(a_drop().finished)
        self.assertTrue(a_drop(**gone).finished)
        self.assertFalse(a_drop(**gone, live=1).finished)
        self.assertFalse(a_drop(**gone, delivered=1, presumed=1).finished)
        self.assertTrue(a_drop(state=DropState.GONE, reason=Reason.REVOKED, live=1).finished)

    def test_etag(self):
        """Its validator is strong, well-formed (RFC 9110 section 8.8.3), its own, and shows no blob."""
        self.assertRegex(a_drop().etag, r'\A"[0-9a-f]{32}"\Z')
        self.assertEqual(a_drop().etag, a_drop(delivered=1).etag)
        self.assertNotEqual(a_drop().etag, a_drop(blob="cd").etag)
        self.assertNotIn("ab" * 16, a_drop(blob="ab" * 16).etag)

    def test_password(self):
        """The hash of its password does not show."""
        self.assertNotIn("argon", repr(a_drop(password="$argon2id$")))


class ClaimTests(SynchronousTestCase):
    """What a claim tells of itself."""

    def test_handed(self):
        """What was handed out at all is what was handed out once or more often."""
        claim = Claim(id="c", drop=b"", number=1, opened_at=0, until=0)
        self.assertEqual(spans.NONE, claim.handed)
        self.assertEqual(((0, 9),), attrs.evolve(claim, sent=(((0, 9),), ((3, 4),))).handed)


class TransferTests(SynchronousTestCase):
    """What a transfer tells of itself."""

    def test_bytes(self):
        """What was asked for, what may have left, and what is on its way."""
        transfer = a_transfer(acknowledged=2)
        self.assertEqual((((10, 20),), ((10, 16),), ((12, 16),)), (transfer.asked, transfer.handed, transfer.in_flight))

    def test_arrived(self):
        """Of what is acknowledged as far as it is reserved, nothing is on its way."""
        self.assertEqual(spans.NONE, a_transfer(acknowledged=6).in_flight)

    def test_settling(self):
        """All of what settles is on its way until it has settled, and nothing of it after."""
        self.assertEqual(((10, 20),), a_transfer(acknowledged=6, settling=True).in_flight)
        self.assertEqual(spans.NONE, a_transfer(settling=True, settled=True).in_flight)


class OutcomeTests(SynchronousTestCase):
    """What became of an answer."""

    def test_nothing_sent(self):
        """Of an answer that was never begun nothing was sent, kept or completed."""
        found = (NOTHING_SENT.sent, NOTHING_SENT.acknowledged, NOTHING_SENT.begun, NOTHING_SENT.complete)
        self.assertEqual((0, 0, False, False), found)
