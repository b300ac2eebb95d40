"""Somebody asks for bytes: rules R, G, J, O and F, one by one."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from filedropd import spans
from filedropd.claims.asking import Granted, InTheWay, Over, Progress, Recipient, Taken, attempts, reserve, seen
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import STRIDE, STRIDES, Policy, stride
from filedropd.model import ClaimState, DropState, Reason, Touch
from filedropd.tokens import Token, claim_token, recipient_key
from tests.test_claims_ledger import (
    ANNA,
    BERT,
    EXPIRY,
    LINK,
    SIZE,
    a_claim,
    a_ledger,
    a_transfer,
    a_wish,
    ask,
    of_bert,
    strides,
)

STRICT = Policy(max_attempts=1)
COVERED, DELIVERED, LAPSED = ClaimState.COVERED, ClaimState.DELIVERED, ClaimState.LAPSED
OPEN, PRESUMED, SUSPENDED = ClaimState.OPEN, ClaimState.PRESUMED, ClaimState.SUSPENDED


class Asked(SynchronousTestCase):
    """Tests of what comes of asking."""

    def granted(self, ledger: Ledger, *args: object, **kwargs: object) -> str:
        """Return the id of the claim under which it is granted."""
        verdict = ask(ledger, *args, **kwargs)[1]  # type: ignore[arg-type]  # as ask has it
        self.assertIsInstance(verdict, Granted)
        assert isinstance(verdict, Granted)
        return verdict.claim.id

    def refused(self, verdict: object, ledger: Ledger, *args: object, **kwargs: object) -> None:
        """Check that it is refused in this way, and that nothing is changed by it."""
        after, found = ask(ledger, *args, **kwargs)  # type: ignore[arg-type]  # likewise
        self.assertEqual(verdict, found)
        self.assertIs(ledger, after)


class RecipientTests(SynchronousTestCase):
    """Rule R: who asks."""

    def setUp(self) -> None:
        self.ledger = a_ledger(a_claim("c1"), of_bert(a_claim("c2")), a_claim("c3", DELIVERED), downloads=3)

    def own(self, token: str | None, source: str | None) -> list[str]:
        """Return whose claims are whose."""
        shown = None if token is None else claim_token(LINK, token)
        found = Recipient(link=LINK, token=shown, source=source).own(self.ledger)
        return [claim.id for claim in found]

    def test_source(self):
        """Without a token, the same address and program."""
        self.assertEqual((["c1", "c3"], ["c2"]), (self.own(None, ANNA), self.own(None, BERT)))

    def test_token(self):
        """The token decides, wherever it comes from."""
        for source in (ANNA, BERT, None):
            self.assertEqual(["c2"], self.own("c2", source))

    def test_nobody(self):
        """Who has neither has no claim; two of whom nothing is known are not one."""
        self.assertEqual([], self.own(None, None))
        nameless = a_ledger(a_claim(recipient=None))
        self.assertEqual([], Recipient(link=LINK).own(nameless))

    def test_spent(self):
        """The token of a copy that is delivered says nothing any more, nor does one of no claim."""
        for token in ("c3", "c7"):
            self.assertEqual([], self.own(token, None))
            self.assertEqual(["c2"], self.own(token, BERT))

    def test_other_link(self):
        """A token and a source mean something with their link alone."""
        other = Token("1" * 32)
        self.assertFalse(claim_token(other, "c1").same(claim_token(LINK, "c1")))
        self.assertNotEqual(recipient_key(other, ANNA), recipient_key(LINK, ANNA))
        self.assertNotIn("192.0.2.1", repr(Recipient(link=LINK, source=ANNA)))


class OrderTests(Asked):
    """Rule G, from the token on."""

    def test_finished(self):
        """What is gone for everybody is gone before anything else is asked."""
        for reason in Reason:
            ledger = a_ledger(a_claim(state=LAPSED), state=DropState.GONE, reason=reason)
            self.refused(Over(reason), ledger, a_wish(token="c1"))

    def test_revoked(self):
        """What was taken back is gone for those, too, whose transfers are about to be broken off."""
        ledger = a_ledger(a_claim(state=OPEN), a_transfer(), state=DropState.GONE, reason=Reason.REVOKED)
        self.refused(Over(Reason.REVOKED), ledger, a_wish(token="c1", length=1))

    def test_expired(self):
        """After its expiry a drop has nothing for others, and nothing for a claim that lapsed."""
        ledger = a_ledger(a_claim(), state=DropState.GONE, reason=Reason.EXPIRED)
        self.refused(Over(Reason.EXPIRED), ledger, a_wish(BERT))
        self.assertEqual("c1", self.granted(ledger))
        over = a_ledger(a_claim(), a_claim("c2", LAPSED), downloads=2, expires_at=0.5)
        self.refused(Over(Reason.EXPIRED), over, a_wish(token="c2"))

    def test_known_here(self):
        """What is known here of a transfer counts, written down or not, and is kept with what is granted."""
        ledger = a_ledger(a_claim(state=OPEN), a_transfer())
        known = seen(ledger, {"t1": Progress(acknowledged=STRIDE, settling=False)})
        self.assertEqual([STRIDE], [transfer.acknowledged for transfer in known.transfers])
        self.assertIs(ledger.transfers[0], seen(ledger, {}).transfers[0])
        back = seen(known, {"t1": Progress(acknowledged=0, settling=True)})
        self.assertEqual([(STRIDE, True)], [(each.acknowledged, each.settling) for each in back.transfers])

    def test_wanting(self):
        """What a transfer waits to send next is in flight, however much of the rest has arrived; what lies behind is not."""
        ledger = a_ledger(a_claim(state=OPEN), a_transfer())
        for wanting, allowed in ((False, [0, STRIDE, 2 * STRIDE]), (True, [2 * STRIDE])):
            known = seen(ledger, {"t1": Progress(acknowledged=STRIDE, settling=False, wanting=wanting)})
            free = [
                at
                for at in (0, STRIDE, 2 * STRIDE)
                if not spans.common(known.transfers[0].in_flight, strides(at // STRIDE, 3))
            ]
            self.assertEqual(allowed, free)
            self.assertEqual(ledger.transfers[0].reserved, known.transfers[0].as_kept.reserved)
            self.assertEqual(0, known.transfers[0].as_kept.wanted)


class StrictTests(Asked):
    """Rule G, with ``--max-attempts 1``."""

    def test_sent(self):
        """Who shows no token is refused what would send every byte once more than there are copies."""
        ledger = a_ledger(a_claim(handed=strides(0, 3)))
        self.refused(Taken(), ledger, a_wish(), policy=STRICT)
        self.assertEqual("c1", self.granted(ledger, a_wish(token="c1"), policy=STRICT))
        self.assertEqual("c1", self.granted(ledger, a_wish()))

    def test_part(self):
        """A byte that has not gone out so often makes the difference, wherever it is."""
        self.assertEqual("c1", self.granted(a_ledger(a_claim(handed=strides(1, 3))), a_wish(), policy=STRICT))
        whole = a_ledger(a_claim(handed=strides(0, 3)))
        self.assertEqual("c1", self.granted(whole, a_wish(first=1), policy=STRICT))

    def test_running(self):
        """What runs counts as far as it is reserved."""
        running = a_transfer(reserved=SIZE, acknowledged=SIZE)
        self.refused(Taken(), a_ledger(a_claim(state=OPEN), running), a_wish(), policy=STRICT)

    def test_gone(self):
        """Of a drop that is over he is told that."""
        ledger = a_ledger(a_claim(state=PRESUMED, handed=strides(0, 3)), state=DropState.GONE, reason=Reason.DELIVERED)
        self.refused(Over(Reason.DELIVERED), ledger, a_wish(), policy=STRICT)


class JoiningTests(Asked):
    """Rule J: which claim a request goes on with."""

    def test_token(self):
        """The token decides, whatever is asked for."""
        ledger = a_ledger(a_claim("c1"), of_bert(a_claim("c2", handed=strides(0, 1))), downloads=2)
        for first in (0, 2 * STRIDE):
            self.assertEqual("c2", self.granted(ledger, a_wish(ANNA, token="c2", first=first)))

    def test_nearest(self):
        """A range goes to the claim whose end is nearest at or above, else to the nearest below."""
        ends = {"c1": 1, "c2": 3, "c3": 2}
        ledger = a_ledger(*(a_claim(id, handed=strides(0, end)) for id, end in ends.items()), downloads=3)  # noqa: A001 - their names
        for first, claim in ((1, "c1"), (STRIDE, "c1"), (STRIDE + 1, "c3"), (2 * STRIDE, "c3"), (SIZE - 1, "c2")):
            self.assertEqual(claim, self.granted(ledger, a_wish(first=first)))
        short = a_ledger(a_claim(handed=strides(0, 1)), a_claim("c2", handed=spans.of(0, 9)), downloads=2)
        self.assertEqual("c1", self.granted(short, a_wish(first=2 * STRIDE)))

    def test_reserved_counts(self):
        """The end of what is handed out is the end of what may be by now."""
        ledger = a_ledger(a_claim(state=OPEN), a_claim("c2", handed=spans.of(0, STRIDE + 9)), a_transfer(), downloads=2)
        self.assertEqual("c1", self.granted(ledger, a_wish(first=STRIDE)))

    def test_oldest(self):
        """A request for everything goes to the oldest claim whose bytes are not on their way."""
        ledger = a_ledger(a_claim("c1", OPEN), a_claim("c2"), a_claim("c3"), a_transfer(), downloads=3)
        self.assertEqual("c2", self.granted(ledger))

    def test_new(self):
        """If they all are, a new claim is opened where a copy is free, and else it is refused."""
        running = (a_claim(state=OPEN), a_transfer())
        self.assertEqual("c9", self.granted(a_ledger(*running, downloads=2)))
        self.refused(InTheWay((a_transfer(),), token=False), a_ledger(*running))

    def test_range_in_flight(self):
        """A range that meets its own claim's bytes on their way does not open another."""
        ledger = a_ledger(a_claim(state=OPEN), a_transfer(), downloads=2)
        self.refused(InTheWay((a_transfer(),), token=False), ledger, a_wish(first=1))

    def test_others(self):
        """Nobody goes on with another's claim."""
        self.refused(Taken(), a_ledger(a_claim()), a_wish(BERT))
        self.refused(Taken(), a_ledger(a_claim()), a_wish(None))

    def test_covered(self):
        """Under a covered claim nothing new starts, and nothing is broken off for a token's sake."""
        ledger = a_ledger(a_claim(state=COVERED, handed=strides(0, 3)), a_transfer())
        for token in ("c1", None):
            self.refused(InTheWay((a_transfer(),), token=False), ledger, a_wish(token=token, first=2 * STRIDE))

    def test_presumed(self):
        """A presumed copy is there for its own recipient, and gone for everybody else."""
        claim = a_claim(state=PRESUMED, handed=strides(0, 3))
        ledger = a_ledger(claim, state=DropState.GONE, reason=Reason.DELIVERED)
        self.assertEqual("c1", self.granted(ledger))
        self.refused(Over(Reason.DELIVERED), ledger, a_wish(BERT))

    def test_arrived_by_quiet(self):
        """While nothing says otherwise, a copy that settled by quiet is gone for its own recipient, too."""
        claim = a_claim(state=PRESUMED, handed=strides(0, 3))
        lingering = a_transfer(reserved=SIZE, acknowledged=SIZE, settled=True)
        gone = a_ledger(claim, lingering, state=DropState.GONE, reason=Reason.DELIVERED)
        there = a_ledger(claim, of_bert(a_claim("c2")), lingering, downloads=2)
        for token in ("c1", None):
            self.refused(Over(Reason.DELIVERED), gone, a_wish(token=token))
            self.refused(Taken(), there, a_wish(token=token))
        self.assertEqual("c9", self.granted(a_ledger(claim, lingering, downloads=2)))

    def test_lacking_by_quiet(self):
        """A recipient who lacks a part need not wait for the end of the connection on which another settled."""
        claim = a_claim(state=PRESUMED, handed=strides(0, 3))
        lingering = a_transfer(first=STRIDE, length=2 * STRIDE, reserved=2 * STRIDE, settled=True)
        ledger = a_ledger(claim, lingering, state=DropState.GONE, reason=Reason.DELIVERED)
        for token in ("c1", None):
            self.assertEqual("c1", self.granted(ledger, a_wish(token=token, length=STRIDE)))

    def test_claim_only(self):
        """Who wants a claim and no bytes yet gets the one that he has, and nothing changes."""
        for state in (OPEN, SUSPENDED, LAPSED):
            ledger = a_ledger(a_claim(state=state, handed=strides(0, 1)))
            after, verdict = ask(ledger, a_wish(transfer=None))
            self.assertEqual((ledger, Granted(ledger.claims[0], None)), (after, verdict))

    def test_resumed(self):
        """The owner is told of a recipient who comes back, not of one who fetches in parts at once."""
        ledger = a_ledger(a_claim(handed=strides(0, 1)))
        after, _ = ask(ledger, a_wish(first=STRIDE))
        self.assertEqual([(Touch.RESUMED, 1, STRIDE)], [(e.touch, e.claim, e.offset) for e in after.events])
        beside, _ = ask(attrs.evolve(after, events=()), a_wish(first=0, length=1, transfer="t8"))
        self.assertEqual((2, ()), (len(beside.transfers), beside.events))


class TakingUpTests(Asked):
    """Rule J: a recipient comes back to a claim of his that lapsed."""

    def test_coverage(self):
        """He goes on where he was, with what he has."""
        ledger = a_ledger(a_claim(state=LAPSED, handed=strides(0, 2)))
        after, _ = ask(ledger, a_wish(first=2 * STRIDE))
        (claim,) = after.claims
        self.assertEqual((OPEN, strides(0, 2), None), (claim.state, claim.handed, claim.ended_at))
        self.assertEqual((1, 0), (after.drop.live, after.drop.free))

    def test_not_free(self):
        """Not while another has the copy, token or not."""
        ledger = a_ledger(a_claim(state=LAPSED, handed=strides(0, 2)), of_bert(a_claim("c2")))
        for token in ("c1", None):
            self.refused(Taken(), ledger, a_wish(token=token))

    def test_another_copy(self):
        """If another has the copy that was his, he gets one that is free."""
        held = of_bert(a_claim("c2", copy=0))
        after, verdict = ask(a_ledger(a_claim(state=LAPSED, handed=strides(0, 2)), held, downloads=2))
        assert isinstance(verdict, Granted)
        self.assertEqual(("c1", 1), (verdict.claim.id, after.claim("c1").copy))

    def test_one_too_many(self):
        """Not where others can have had the whole between them: one of them may be one recipient with two names."""
        others = [of_bert(a_claim("c2", LAPSED, strides(0, 1))), of_bert(a_claim("c3", LAPSED, strides(1, 3)))]
        mine = a_claim(state=LAPSED, handed=strides(0, 1))
        after, verdict = ask(a_ledger(mine, *others))
        self.assertEqual((Over(Reason.DELIVERED), DropState.GONE), (verdict, after.drop.state))
        self.assertEqual("c1", self.granted(a_ledger(mine, *others, downloads=2)))
        self.assertEqual("c3", self.granted(a_ledger(mine, *others), a_wish(token="c3")))

    def test_attempt(self):
        """Who comes back has not given it up: the attempt is given back."""
        ledger = a_ledger(a_claim(state=LAPSED, handed=strides(0, 2), lapses=1))
        after, _ = ask(ledger)
        self.assertEqual((1, 0), (attempts(ledger, 0), attempts(after, 0)))


class OpeningTests(Asked):
    """Rule O: a claim is opened."""

    def test_opened(self):
        """The claim is there with its first stride, and the copy is taken."""
        after, _ = ask(a_ledger(), a_wish(BERT, first=5))
        (claim,) = after.claims
        self.assertEqual(
            ("c9", OPEN, 1, recipient_key(LINK, BERT)), (claim.id, claim.state, claim.number, claim.recipient)
        )
        self.assertEqual([(5, STRIDE)], [(each.first, each.reserved) for each in after.transfers])
        self.assertEqual((1, 1, 0), (after.drop.live, after.drop.opened, after.drop.free))
        self.assertEqual([(Touch.CLAIMED, 1, 5)], [(e.touch, e.claim, e.offset) for e in after.events])

    def test_strides(self):
        """A short range is reserved at once, a long one a sixteenth of the file at a time."""
        for size, remaining, reserved in [
            (1, 1, 1),
            (STRIDE, STRIDE, STRIDE),
            (SIZE, STRIDE + 1, STRIDE),
            (STRIDES * STRIDE, 9 * STRIDE, STRIDE),
            (2 * STRIDES * STRIDE, 9 * STRIDE, 2 * STRIDE),
            (2 * STRIDES * STRIDE + 1, 9 * STRIDE, 2 * STRIDE + 1),
            (9 * STRIDES * STRIDE, STRIDE + 1, STRIDE + 1),
            (9 * STRIDES * STRIDE, STRIDE, STRIDE),
        ]:
            self.assertEqual(reserved, stride(size, remaining), (size, remaining))

    def test_one_byte(self):
        """Who asks for one byte is handed one byte (trace 9)."""
        after, _ = ask(a_ledger(), a_wish(length=1))
        self.assertEqual([1], [spans.size(transfer.handed) for transfer in after.transfers])

    def test_claim_only(self):
        """A claim that is opened without bytes reserves none, and waits."""
        after, _ = ask(a_ledger(), a_wish(transfer=None))
        self.assertEqual(([SUSPENDED], ()), ([claim.state for claim in after.claims], after.transfers))

    def test_copies(self):
        """There are as many claims as copies, delivered ones included."""
        ledger = a_ledger(of_bert(a_claim("c1", DELIVERED)), of_bert(a_claim("c2")), downloads=3)
        self.assertEqual("c9", self.granted(ledger))
        self.refused(Taken(), ask(ledger)[0], a_wish("somebody else"))

    def test_every_byte_out(self):
        """When each byte went out with as many claims as there are copies, it is over, whoever had what (trace 6)."""
        parts = [of_bert(a_claim("c1", LAPSED, strides(0, 2))), of_bert(a_claim("c2", LAPSED, strides(2, 3)))]
        after, verdict = ask(a_ledger(*parts))
        self.assertEqual((Over(Reason.DELIVERED), Reason.DELIVERED), (verdict, after.drop.reason))
        self.assertEqual("c9", self.granted(a_ledger(*parts, downloads=2)))
        self.assertEqual("c9", self.granted(a_ledger(*parts[:1])))

    def test_may_come_back(self):
        """Not over yet while a live claim may still give its copy back."""
        whole, live = of_bert(a_claim("c1", LAPSED, strides(0, 3))), of_bert(a_claim("c2", OPEN))
        self.refused(Taken(), a_ledger(whole, live, a_transfer(claim="c2"), downloads=2))

    def test_least_given_up(self):
        """Of the copies that are free, the one that was given up the least often is taken."""
        lapsed = [
            of_bert(a_claim("c1", LAPSED, strides(0, 2), lapses=2)),
            of_bert(a_claim("c2", LAPSED, strides(0, 2), lapses=1)),
        ]
        after, _ = ask(a_ledger(*lapsed, downloads=2))
        self.assertEqual(1, after.claim("c9").copy)

    def test_expired(self):
        """At its expiry it is too late."""
        self.assertEqual("c9", self.granted(a_ledger(), now=EXPIRY - 0.1))
        self.refused(Over(Reason.EXPIRED), a_ledger(), now=EXPIRY)


class InFlightTests(Asked):
    """Rule F: no byte is on its way twice."""

    def test_overlap(self):
        """What overlaps is refused as a whole; with the token it is said what it supersedes."""
        running = a_transfer(acknowledged=9)
        ledger = a_ledger(a_claim(state=OPEN), running)
        for token in ("c1", None):
            verdict = InTheWay((running,), token=token is not None)
            self.refused(verdict, ledger, a_wish(token=token))
            self.refused(verdict, ledger, a_wish(token=token, first=STRIDE - 1, length=1))

    def test_beside(self):
        """What has arrived, and what is not reserved yet, is not in flight."""
        ledger = a_ledger(a_claim(state=OPEN), a_transfer(acknowledged=9))
        self.assertEqual("c1", self.granted(ledger, a_wish(length=9)))
        self.assertEqual("c1", self.granted(ledger, a_wish(first=STRIDE)))

    def test_settling(self):
        """All of what settles is in flight until it has; of what settled, nothing is."""
        settling = a_transfer(reserved=SIZE, acknowledged=SIZE, settling=True)
        claim = a_claim(state=OPEN)
        self.refused(InTheWay((settling,), token=False), a_ledger(claim, settling), a_wish(length=1))
        settled = a_transfer(length=STRIDE, acknowledged=STRIDE, settled=True)
        self.assertEqual("c1", self.granted(a_ledger(a_claim(handed=strides(0, 1)), settled)))

    def test_only_those(self):
        """Only the transfers that overlap are in the way."""
        one, other = a_transfer(length=STRIDE), a_transfer("t2", first=2 * STRIDE, length=STRIDE)
        ledger = a_ledger(a_claim(state=OPEN), one, other)
        self.refused(InTheWay((other,), token=True), ledger, a_wish(token="c1", first=STRIDE))


class ReserveTests(SynchronousTestCase):
    """Rule F: the next stride."""

    def test_next(self):
        """It is one stride more, and at the end the rest."""
        ledger = a_ledger(a_claim(state=OPEN), a_transfer(length=SIZE - 9))
        reserved = []
        for _ in range(2):
            ledger, transfer = reserve(ledger, "t1", {})
            reserved.append(transfer and transfer.reserved)
        self.assertEqual([2 * STRIDE, SIZE - 9], reserved)

    def test_progress(self):
        """What is acknowledged by then is written down with it."""
        ledger = a_ledger(a_claim(state=OPEN), a_transfer())
        after, _ = reserve(ledger, "t1", {"t1": Progress(acknowledged=7, settling=False)})
        self.assertEqual([7], [transfer.acknowledged for transfer in after.transfers])

    def test_whole(self):
        """All that is left is reserved at once, as far as nothing is in the way."""
        ledger = a_ledger(a_claim(state=OPEN), a_transfer())
        _, transfer = reserve(ledger, "t1", {}, whole=True)
        self.assertEqual(SIZE, transfer and transfer.reserved)
        ahead = a_transfer("t2", first=3 * STRIDE, length=STRIDE)
        _, transfer = reserve(a_ledger(a_claim(state=OPEN), a_transfer(), ahead), "t1", {}, whole=True)
        self.assertEqual(3 * STRIDE, transfer and transfer.reserved)

    def test_up_to_another(self):
        """It goes up to what another has in flight, and ends there."""
        ahead = a_transfer("t2", first=STRIDE + 9, length=STRIDE)
        ledger = a_ledger(a_claim(state=OPEN), a_transfer(), ahead)
        ledger, transfer = reserve(ledger, "t1", {})
        self.assertEqual(STRIDE + 9, transfer and transfer.reserved)
        after, transfer = reserve(ledger, "t1", {})
        self.assertEqual((ledger, None), (after, transfer))
        _, transfer = reserve(ledger, "t1", {"t2": Progress(acknowledged=9, settling=False)})
        self.assertEqual(STRIDE + 18, transfer and transfer.reserved)

    def test_other_claims(self):
        """Another recipient's transfer is not in the way."""
        ahead = a_transfer("t2", "c2", first=STRIDE, length=STRIDE)
        ledger = a_ledger(a_claim(state=OPEN), of_bert(a_claim("c2", OPEN)), a_transfer(), ahead, downloads=2)
        _, transfer = reserve(ledger, "t1", {})
        self.assertEqual(2 * STRIDE, transfer and transfer.reserved)

    def test_taken_back(self):
        """Nothing more goes out of a drop that was taken back, or under a transfer that was ended."""
        ledger = a_ledger(a_claim(state=OPEN), a_transfer(), state=DropState.GONE, reason=Reason.REVOKED)
        self.assertEqual((ledger, None), reserve(ledger, "t1", {}))
        self.assertEqual((a_ledger(), None), reserve(a_ledger(), "t1", {}))

    def test_expired(self):
        """What began before the expiry goes on."""
        ledger = a_ledger(a_claim(state=OPEN), a_transfer(), state=DropState.GONE, reason=Reason.EXPIRED)
        self.assertIsNotNone(reserve(ledger, "t1", {})[1])
