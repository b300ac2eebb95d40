"""The law: what may become of drops and claims."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from filedropd.model import (
    CLAIM_TRANSITIONS,
    DROP_TRANSITIONS,
    Claim,
    ClaimState,
    Drop,
    DropState,
    Outcome,
    Reason,
    claim_ended,
    covered,
)


def a_claim(first: int = 0, length: int = 10, acknowledged: int = 0) -> Claim:
    """Return a claim."""
    return Claim(id="c", drop=b"", first=first, length=length, opened_at=0, acknowledged=acknowledged)


def a_drop(**changes: object) -> Drop:
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
    return attrs.evolve(drop, **changes)  # type: ignore[arg-type]  # whatever the test says


class TransitionTests(SynchronousTestCase):
    """The two tables."""

    def test_total(self):
        """Every state is in its table."""
        self.assertEqual(set(DropState), set(DROP_TRANSITIONS))
        self.assertEqual(set(ClaimState), set(CLAIM_TRANSITIONS))

    def test_closed(self):
        """Nothing becomes what is not in the table."""
        self.assertLessEqual(set().union(*DROP_TRANSITIONS.values()), set(DROP_TRANSITIONS))
        self.assertLessEqual(set().union(*CLAIM_TRANSITIONS.values()), set(CLAIM_TRANSITIONS))

    def test_drop(self):
        """A drop is available, then gone, then purged; there is no way back."""
        self.assertEqual(
            {
                DropState.AVAILABLE: {DropState.GONE},
                DropState.GONE: {DropState.PURGED},
                DropState.PURGED: set(),
            },
            DROP_TRANSITIONS,
        )

    def test_claim(self):
        """An open claim ends in one of three ways; a part may still come to count as delivered."""
        self.assertEqual(
            {
                ClaimState.OPEN: {ClaimState.PART, ClaimState.DELIVERED, ClaimState.BROKEN},
                ClaimState.PART: {ClaimState.DELIVERED},
                ClaimState.DELIVERED: set(),
                ClaimState.BROKEN: set(),
            },
            CLAIM_TRANSITIONS,
        )

    def test_no_return(self):
        """No state can be come back to."""
        for table in (DROP_TRANSITIONS, CLAIM_TRANSITIONS):
            for state in table:
                seen, ahead = set(), set(table[state])  # type: ignore[index]  # a state of this table
                while ahead:
                    seen |= ahead
                    ahead = set().union(*(table[each] for each in ahead)) - seen  # type: ignore[index]  # likewise
                self.assertNotIn(state, seen)


class ClaimEndedTests(SynchronousTestCase):
    """In which state an outcome leaves a claim."""

    def test_table(self):
        """Only the whole file, complete, is a delivery; anything acknowledged is a part; nothing is nothing."""
        for first, length, acknowledged, complete, size, state in [
            (0, 10, 10, True, 10, ClaimState.DELIVERED),
            (0, 10, 10, False, 10, ClaimState.PART),
            (0, 10, 9, False, 10, ClaimState.PART),
            (0, 10, 1, False, 10, ClaimState.PART),
            (0, 10, 0, False, 10, ClaimState.BROKEN),
            (0, 9, 9, True, 10, ClaimState.PART),
            (1, 9, 9, True, 10, ClaimState.PART),
            (5, 5, 0, False, 10, ClaimState.BROKEN),
            (0, 1, 1, True, 1, ClaimState.DELIVERED),
            (0, 0, 0, True, 0, ClaimState.DELIVERED),
            (0, 0, 0, False, 0, ClaimState.BROKEN),
        ]:
            outcome = Outcome(acknowledged=acknowledged, complete=complete)
            found = claim_ended(a_claim(first, length), outcome, size)
            self.assertEqual(state, found, (first, length, outcome, size))

    @given(st.integers(0, 50), st.integers(0, 50), st.booleans(), st.integers(0, 50))
    def test_lawful(self, length, acknowledged, complete, size):
        """It is always one of the states that an open claim may come to."""
        outcome = Outcome(acknowledged=acknowledged, complete=complete)
        self.assertIn(claim_ended(a_claim(0, length), outcome, size), CLAIM_TRANSITIONS[ClaimState.OPEN])


@st.composite
def files_and_parts(draw: st.DrawFn) -> tuple[int, list[Claim]]:
    """Draw a size, and parts of a file of that size."""
    size = draw(st.integers(0, 12))
    parts = []
    for _ in range(draw(st.integers(0, 6))):
        first = draw(st.integers(0, size))
        length = draw(st.integers(0, size - first))
        parts.append(a_claim(first, length, draw(st.integers(0, length))))
    return size, parts


class CoveredTests(SynchronousTestCase):
    """Whether parts make the whole."""

    @given(files_and_parts())
    def test_bytes(self, drawn):
        """They do if each byte is in one of them."""
        size, parts = drawn
        held = {byte for part in parts for byte in range(part.first, part.first + part.acknowledged)}
        self.assertEqual(held == set(range(size)), covered(parts, size))

    @given(files_and_parts(), st.randoms())
    def test_order(self, drawn, chance):
        """In whatever order they are."""
        size, parts = drawn
        shuffled = chance.sample(parts, len(parts))
        self.assertEqual(covered(parts, size), covered(shuffled, size))

    def test_asked_is_not_acknowledged(self):
        """What was asked for and not acknowledged covers nothing."""
        self.assertFalse(covered([a_claim(0, 10, 9)], 10))

    def test_empty(self):
        """Nothing covers nothing, and covers no byte."""
        self.assertTrue(covered([], 0))
        self.assertFalse(covered([], 1))


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

    def test_etag(self):
        """Its validator is strong, well-formed (RFC 9110 section 8.8.3), its own, and shows no blob."""
        self.assertRegex(a_drop().etag, r'\A"[0-9a-f]{32}"\Z')
        self.assertEqual(a_drop().etag, a_drop(delivered=1).etag)
        self.assertNotEqual(a_drop().etag, a_drop(blob="cd").etag)
        self.assertNotIn("ab" * 16, a_drop(blob="ab" * 16).etag)

    def test_password(self):
        """The hash of its password does not show."""
        self.assertNotIn("argon", repr(a_drop(password="$argon2id$")))
