"""A ledger: what follows from a claim's move. The ledgers of the other tests of the rules are made here."""

from __future__ import annotations

from typing import Any, Final

import attrs
from twisted.trial.unittest import SynchronousTestCase

from filedropd import spans
from filedropd.claims import asking
from filedropd.claims.asking import Recipient, Wish
from filedropd.claims.ledger import MOST_EVENTS, Ledger, UnlawfulMove
from filedropd.claims.policy import STRIDE, Policy
from filedropd.model import CLAIM_TRANSITIONS, Claim, ClaimState, Drop, DropState, Reason, Touch, Transfer
from filedropd.spans import Spans
from filedropd.tokens import Token, claim_token, recipient_key

LINK: Final = Token("0" * 32)
#: Three strides.
SIZE: Final = 3 * STRIDE
POLICY: Final = Policy()
WINDOW: Final = POLICY.window
#: When a drop here expires.
EXPIRY: Final = 100_000.0
#: Addresses and programs.
ANNA, BERT = "192.0.2.1\ncurl", "192.0.2.2\ncurl"


def strides(first: int, end: int) -> Spans:
    """Return the bytes of some strides."""
    return spans.of(first * STRIDE, end * STRIDE)


def a_drop(**changes: Any) -> Drop:
    """Return a drop of three strides."""
    drop = Drop(
        key=LINK.key,
        owner_key=b"o" * 32,
        blob="b",
        name="n",
        content_type="t/t",
        size=SIZE,
        created_at=0.0,
        expires_at=EXPIRY,
        due_at=EXPIRY,
    )
    return attrs.evolve(drop, **changes)


def a_claim(
    id: str = "c1",  # noqa: A002 - its name
    state: ClaimState = ClaimState.SUSPENDED,
    handed: Spans = spans.NONE,
    **changes: Any,
) -> Claim:
    """Return a claim of Anna's whose window ends at :data:`WINDOW`."""
    claim = Claim(
        id=id,
        drop=LINK.key,
        number=int(id[1:]),
        copy=int(id[1:]) - 1,
        recipient=recipient_key(LINK, ANNA),
        opened_at=0.0,
        state=state,
        sent=(handed,) if handed else (),
        until=WINDOW,
        ended_at=None if state.live else 0.0,
    )
    return attrs.evolve(claim, **changes)


def of_bert(claim: Claim) -> Claim:
    """Return it as a claim of Bert's."""
    return attrs.evolve(claim, recipient=recipient_key(LINK, BERT))


def a_transfer(
    id: str = "t1",  # noqa: A002 - its name
    claim: str = "c1",
    first: int = 0,
    length: int = SIZE,
    reserved: int = STRIDE,
    **changes: Any,
) -> Transfer:
    """Return a transfer of the whole, of which the first stride is reserved."""
    return attrs.evolve(Transfer(id=id, claim=claim, first=first, length=length, reserved=reserved), **changes)


def a_ledger(*hanging: Claim | Transfer, **drop: Any) -> Ledger:
    """Return a drop with what hangs on it; its counts are right."""
    claims = tuple(each for each in hanging if isinstance(each, Claim))
    counts = {
        "live": sum(claim.state.live for claim in claims),
        "delivered": sum(claim.state.counts for claim in claims),
        "presumed": sum(claim.state is ClaimState.PRESUMED for claim in claims),
        "opened": len(claims),
    }
    transfers = tuple(each for each in hanging if isinstance(each, Transfer))
    return Ledger(drop=a_drop(**counts | drop), claims=claims, transfers=transfers)


def a_wish(
    who: str | None = ANNA,
    *,
    token: str | None = None,
    first: int = 0,
    length: int | None = None,
    transfer: str | None = "t9",
) -> Wish:
    """Return the wish of somebody for bytes to the end of the file, unless ``length`` says otherwise.

    :param token: the id of the claim whose token is shown.
    """
    shown = None if token is None else claim_token(LINK, token)
    return Wish(
        recipient=Recipient(link=LINK, token=shown, source=who),
        claim="c9",
        transfer=transfer,
        first=first,
        length=SIZE - first if length is None else length,
    )


def ask(
    ledger: Ledger, wish: Wish | None = None, now: float = 1.0, policy: Policy = POLICY
) -> tuple[Ledger, asking.Verdict]:
    """Ask, where nothing is known but what is written down."""
    return asking.ask(ledger, a_wish() if wish is None else wish, {}, now, policy)


class MovedTests(SynchronousTestCase):
    """What follows from a claim's move."""

    def test_counts(self):
        """After any lawful move the drop's counts are those of its claims."""
        for before, states in CLAIM_TRANSITIONS.items():
            for after in states:
                ledger = a_ledger(a_claim(state=before), a_claim("c2", ClaimState.OPEN), downloads=3)
                moved = ledger.moved(ledger.claim("c1"), after, 1.0)
                self.assertEqual(a_ledger(*moved.claims, downloads=3).drop.live, moved.drop.live)
                self.assertEqual(sum(claim.state.counts for claim in moved.claims), moved.drop.delivered)
                self.assertEqual(int(after is ClaimState.PRESUMED), moved.drop.presumed)

    def test_unlawful(self):
        """A move that is not in the table is a bug, and said to be one."""
        for before, states in CLAIM_TRANSITIONS.items():
            for after in set(ClaimState) - states:
                ledger = a_ledger(a_claim(state=before))
                with self.assertRaises(UnlawfulMove):
                    ledger.moved(ledger.claim("c1"), after, 1.0)

    def test_ended_at(self):
        """What lives has not ended, and what does not, has."""
        for before, states in CLAIM_TRANSITIONS.items():
            for after in states:
                ledger = a_ledger(a_claim(state=before))
                claim = ledger.moved(ledger.claim("c1"), after, 7.0).claim("c1")
                self.assertEqual(None if after.live else 7.0, claim.ended_at)

    def test_last_copy(self):
        """With its last copy a drop is delivered; not before."""
        ledger = a_ledger(a_claim(state=ClaimState.OPEN), a_claim("c2", ClaimState.OPEN), downloads=2)
        ledger = ledger.moved(ledger.claim("c1"), ClaimState.DELIVERED, 1.0)
        self.assertIs(DropState.AVAILABLE, ledger.drop.state)
        ledger = ledger.moved(ledger.claim("c2"), ClaimState.PRESUMED, 2.0)
        self.assertEqual(
            (DropState.GONE, Reason.DELIVERED, 2.0), (ledger.drop.state, ledger.drop.reason, ledger.drop.gone_at)
        )

    def test_told_once(self):
        """A copy is told to be delivered once, when it comes to count."""
        ledger = a_ledger(a_claim(state=ClaimState.OPEN))
        for state in (ClaimState.PRESUMED, ClaimState.DELIVERED):
            ledger = ledger.moved(ledger.claim("c1"), state, 1.0)
        self.assertEqual([Touch.DELIVERED], [event.touch for event in ledger.events])


class EventTests(SynchronousTestCase):
    """What is noted."""

    def test_numbers(self):
        """Events are numbered from 1, over all that were ever noted."""
        ledger = a_ledger(touches=4).noted(Touch.OPENED, 1.0).noted(Touch.PREVIEWED, 2.0, who="bot")
        self.assertEqual([5, 6], [event.number for event in ledger.events])
        self.assertEqual(6, ledger.drop.touches)

    def test_most(self):
        """Beyond so many only the ends are noted."""
        full = a_ledger(touches=MOST_EVENTS)
        self.assertIs(full, full.noted(Touch.OPENED, 1.0))
        self.assertEqual([Touch.REVOKED], [event.touch for event in full.noted(Touch.REVOKED, 1.0).events])


class ReleasedTests(SynchronousTestCase):
    """A claim that has handed out nothing."""

    def test_released(self):
        """It is as if it had never been, but for its number."""
        ledger = a_ledger(a_claim(state=ClaimState.OPEN))
        after = ledger.released(ledger.claim("c1"))
        self.assertEqual(((), 0, 1, 1), (after.claims, after.drop.live, after.drop.opened, after.drop.free))
