"""A transfer ends: rules C and D, and how long rule W then waits, one by one."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from filedropd import spans
from filedropd.claims.ending import completed, confirm, covered, end, suspended, window
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import AFTERMATH, PROBE, PROBE_WINDOW, STRIDE
from filedropd.model import NOTHING_SENT, Claim, ClaimState, DropState, Outcome, Reason, Touch
from filedropd.spans import Spans
from tests.test_claims_ledger import POLICY, SIZE, WINDOW, a_claim, a_drop, a_ledger, a_transfer, strides

COVERED, DELIVERED, LAPSED = ClaimState.COVERED, ClaimState.DELIVERED, ClaimState.LAPSED
OPEN, PRESUMED, SUSPENDED = ClaimState.OPEN, ClaimState.PRESUMED, ClaimState.SUSPENDED

#: All of a drop's bytes, and none of them.
ALL = strides(0, 3)
NONE = spans.NONE
#: When things happen here.
NOW = 50.0


def reset(sent: int) -> Outcome:
    """The client broke off: nothing is confirmed, whatever was acknowledged."""
    return Outcome(sent=sent, acknowledged=0, complete=False)


def fin(sent: int, acknowledged: int) -> Outcome:
    """The client closed in order before it had all."""
    return Outcome(sent=sent, acknowledged=acknowledged, complete=False)


def settled(length: int, *, quiet: bool = False) -> Outcome:
    """All is there, and the client said so, or said nothing."""
    return Outcome(sent=length, acknowledged=length, complete=True, quiet=quiet)


def ended(outcome: Outcome, claim: Claim | None = None, **transfer: Any) -> Ledger:
    """End the one transfer of a claim that is open."""
    transfer = {"reserved": SIZE} | transfer
    return end(a_ledger(claim or a_claim(state=OPEN), a_transfer(**transfer)), "t1", outcome, NOW, POLICY)


class ConfirmingTests(SynchronousTestCase):
    """Rule C: what stays handed out, and what is confirmed."""

    def test_table(self):
        """A reset confirms nothing, a FIN what was acknowledged before it, a settlement all; what left, left."""
        for outcome, handed, confirmed in [
            (reset(0), NONE, NONE),
            (reset(STRIDE), strides(0, 1), NONE),
            (reset(SIZE), ALL, NONE),
            (fin(SIZE, 2 * STRIDE), ALL, strides(0, 2)),
            (fin(SIZE, 0), ALL, NONE),
            (settled(SIZE), ALL, ALL),
            (settled(SIZE, quiet=True), ALL, NONE),
        ]:
            after = ended(outcome, a_claim(state=OPEN, handed=spans.of(0, 1)))
            (claim,) = after.claims
            self.assertEqual((handed or spans.of(0, 1), confirmed), (claim.handed, claim.confirmed), outcome)

    @settings(deadline=None)
    @given(*(st.integers(0, 2 * SIZE) for _ in range(2)), st.integers(1, SIZE), st.booleans())
    def test_never_shrinks(self, sent, acknowledged, reserved, complete):
        """What is handed out never shrinks, nor grows beyond what was reserved; confirmed is never more than that."""
        before = a_claim(state=OPEN, handed=strides(1, 2), confirmed=strides(1, 2))
        outcome = Outcome(sent=sent, acknowledged=acknowledged, complete=complete)
        after = ended(outcome, before, reserved=reserved)
        (claim,) = after.claims
        self.assertEqual(spans.union(before.handed, spans.of(0, min(sent, reserved))), claim.handed)
        self.assertEqual(NONE, spans.less(claim.confirmed, claim.handed))
        self.assertEqual(NONE, spans.less(before.confirmed, claim.confirmed))

    def test_sibling(self):
        """What another transfer of the claim has in flight is not taken back with one that breaks (trace 15)."""
        ledger = a_ledger(a_claim(state=OPEN), a_transfer(), a_transfer("t2", first=STRIDE, length=STRIDE))
        after = end(ledger, "t1", NOTHING_SENT, NOW, POLICY)
        self.assertEqual((OPEN, [strides(1, 2)]), (after.claims[0].state, [each.handed for each in after.transfers]))

    def test_how_often(self):
        """It is counted how often a byte went out, up to once more than there are copies."""
        claim = a_claim(state=OPEN, handed=strides(0, 2))
        self.assertEqual((ALL, strides(0, 2)), ended(reset(SIZE), claim).claims[0].sent)
        often = a_claim(state=OPEN, sent=(ALL, ALL))
        self.assertEqual((ALL, ALL), ended(reset(SIZE), often).claims[0].sent)

    def test_twice(self):
        """What has ended, or was accounted for by others, does not end again."""
        ledger = a_ledger(a_claim())
        self.assertIs(ledger, end(ledger, "t1", settled(SIZE), NOW, POLICY))
        self.assertIs(ledger, confirm(ledger, "t1", NOW, POLICY, kept=True))

    def test_empty(self):
        """An empty file has one byte, its head: out when it is begun, confirmed when it settles."""
        for outcome, handed, confirmed in [
            (Outcome(sent=0, acknowledged=0, complete=True), 1, 1),
            (Outcome(sent=0, acknowledged=0, complete=False), 1, 0),
        ]:
            ledger = a_ledger(a_claim(state=OPEN), a_transfer(length=1, reserved=1), size=0)
            (claim,) = end(ledger, "t1", outcome, NOW, POLICY).claims
            self.assertEqual((handed, confirmed), (spans.size(claim.handed), spans.size(claim.confirmed)))
        ledger = a_ledger(a_claim(state=OPEN), a_transfer(length=1, reserved=1), size=0)
        self.assertEqual((), end(ledger, "t1", NOTHING_SENT, NOW, POLICY).claims)


class LateTests(SynchronousTestCase):
    """Rule X: the end of a transfer that was taken for a dead daemon's, and lived."""

    def late(self, outcome: Outcome, claim: Claim | None = None, *others: Any, **drop: Any) -> Ledger:
        """End the transfer of all, of which nobody knows any more."""
        self.ledger = a_ledger(claim or a_claim(state=SUSPENDED, handed=ALL, until=NOW + 9), *others, **drop)
        return end(self.ledger, "t1", outcome, NOW, POLICY, begun=a_transfer(reserved=STRIDE))

    def test_settled(self):
        """What settled is delivered after all, counted once."""
        after = self.late(settled(SIZE))
        (claim,) = after.claims
        self.assertEqual((DELIVERED, (ALL,), True), (claim.state, claim.sent, after.drop.finished))

    def test_quiet(self):
        """What settled by quiet is, too, and kept until that is certain; also where it is taken for dead again."""
        after = self.late(settled(SIZE, quiet=True))
        self.assertEqual((PRESUMED, [True]), (after.claims[0].state, [each.settled for each in after.transfers]))
        known = after.transfers[0]
        self.assertEqual(DELIVERED, confirm(after, "t1", NOW, POLICY, kept=True).claims[0].state)
        again = after.without_transfers(known)
        self.assertEqual(DELIVERED, confirm(again, "t1", NOW, POLICY, kept=True, begun=known).claims[0].state)
        self.assertIs(again, confirm(again, "t1", NOW, POLICY, kept=False, begun=known))

    def test_broken(self):
        """Of what broke off, that is confirmed which was acknowledged before a FIN; nothing else changes."""
        after = self.late(reset(SIZE))
        self.assertIs(self.ledger, after)
        (claim,) = self.late(fin(SIZE, STRIDE)).claims
        self.assertEqual((SUSPENDED, strides(0, 1), NOW + 9), (claim.state, claim.confirmed, claim.until))

    def test_resumed(self):
        """If its recipient has come back meanwhile, his copy is covered, and done when that ends."""
        claim = a_claim(state=OPEN, handed=ALL)
        after = self.late(settled(SIZE), claim, a_transfer("t2", first=STRIDE, length=STRIDE))
        self.assertEqual(COVERED, after.claims[0].state)
        self.assertEqual(DELIVERED, end(after, "t2", reset(0), NOW, POLICY).claims[0].state)

    def test_over(self):
        """Where the claim has ended, or was released, it is too late."""
        for state in (LAPSED, DELIVERED):
            self.assertIs(self.late(settled(SIZE), a_claim(state=state, handed=strides(0, 2))), self.ledger)
        released = a_ledger()
        self.assertIs(released, end(released, "t1", settled(SIZE), NOW, POLICY, begun=a_transfer()))

    def test_answer_lost(self):
        """A second end, because the first one's answer was lost, changes nothing: not what was counted, either."""
        transfer = a_transfer(reserved=SIZE)
        for outcome in (settled(SIZE), settled(SIZE, quiet=True), reset(SIZE), fin(SIZE, STRIDE)):
            once = end(a_ledger(a_claim(state=OPEN), transfer), "t1", outcome, NOW, POLICY, begun=transfer)
            self.assertIs(once, end(once, "t1", outcome, NOW + 1, POLICY, begun=transfer), outcome)


class QuietTests(SynchronousTestCase):
    """Rule C: what settled by quiet alone."""

    def setUp(self) -> None:
        self.ledger = ended(settled(SIZE, quiet=True))

    def test_kept_for_now(self):
        """It counts for everybody else; the bytes stay for a minute, or until its connection has ended."""
        (claim,) = self.ledger.claims
        self.assertEqual(
            (PRESUMED, NOW + AFTERMATH, Reason.DELIVERED), (claim.state, claim.until, self.ledger.drop.reason)
        )
        self.assertEqual([True], [transfer.settled for transfer in self.ledger.transfers])
        self.assertFalse(self.ledger.drop.finished)

    def test_in_order(self):
        """Its connection ends in order: it is delivered."""
        after = confirm(self.ledger, "t1", NOW + 9, POLICY, kept=True)
        self.assertEqual((DELIVERED, (), True), (after.claims[0].state, after.transfers, after.drop.finished))

    def test_reset(self):
        """It is reset: the copy is its own recipient's for a window more."""
        after = confirm(self.ledger, "t1", NOW + 9, POLICY, kept=False)
        (claim,) = after.claims
        self.assertEqual((PRESUMED, NOW + 9 + WINDOW, NONE), (claim.state, claim.until, claim.confirmed))
        self.assertEqual(Touch.BROKEN, after.events[-1].touch)

    def test_of_a_part(self):
        """Of a part, a reset takes nothing more than its confirmation."""
        ledger = ended(settled(STRIDE, quiet=True), length=STRIDE, reserved=STRIDE)
        self.assertEqual((SUSPENDED, 1), (ledger.claims[0].state, len(ledger.transfers)))
        for kept, confirmed in ((True, strides(0, 1)), (False, NONE)):
            after = confirm(ledger, "t1", NOW + 9, POLICY, kept=kept)
            self.assertEqual(
                (SUSPENDED, NOW + WINDOW, confirmed, ()),
                (after.claims[0].state, after.claims[0].until, after.claims[0].confirmed, after.transfers),
            )

    def test_the_last_of_two(self):
        """Of parts that settled by quiet, the last that is kept completes, if all are; one that was reset is lacking."""
        first, rest = a_transfer(length=STRIDE, settled=True), a_transfer("t2", first=STRIDE, settled=True)
        ledger = a_ledger(a_claim(state=PRESUMED, handed=ALL), first, attrs.evolve(rest, length=2 * STRIDE))
        for kept, state in ((True, DELIVERED), (False, PRESUMED)):
            after = confirm(ledger, "t1", NOW, POLICY, kept=kept)
            self.assertEqual(PRESUMED, after.claims[0].state)
            self.assertEqual(state, confirm(after, "t2", NOW, POLICY, kept=True).claims[0].state)


class DoneTests(SynchronousTestCase):
    """Rule D: when a claim completes."""

    def state(self, outcome: Outcome, handed: Spans = NONE, confirmed: Spans = NONE, **transfer: int) -> ClaimState:
        """Return what becomes of an open claim."""
        claim = a_claim(state=OPEN, handed=handed, confirmed=confirmed)
        return ended(outcome, claim, **transfer).claims[0].state

    def test_table(self):
        """A settlement completes what is covered; confirmed alone is delivered, what was presumed is kept for him."""
        rest = {"first": STRIDE, "length": 2 * STRIDE, "reserved": 2 * STRIDE}
        for outcome, handed, confirmed, transfer, state in [
            (settled(SIZE), NONE, NONE, {}, DELIVERED),
            (settled(2 * STRIDE), strides(0, 1), strides(0, 1), rest, DELIVERED),
            (settled(2 * STRIDE), strides(0, 1), NONE, rest, PRESUMED),  # trace 3
            (settled(2 * STRIDE), NONE, NONE, rest, SUSPENDED),
            (settled(SIZE, quiet=True), NONE, NONE, {}, PRESUMED),
            (reset(SIZE), NONE, NONE, {}, SUSPENDED),  # trace 1
            (fin(SIZE, STRIDE), strides(1, 3), strides(1, 3), {}, SUSPENDED),
        ]:
            self.assertEqual(state, self.state(outcome, handed, confirmed, **transfer), (outcome, handed, confirmed))

    def test_none_runs(self):
        """It does not complete while another of its transfers runs; nor when that one breaks, lose a byte (trace 8)."""
        ledger = a_ledger(a_claim(state=OPEN), a_transfer(reserved=SIZE), a_transfer("t2", length=1, reserved=1))
        ledger = end(ledger, "t1", settled(SIZE), NOW, POLICY)
        self.assertEqual((COVERED, DropState.AVAILABLE), (ledger.claims[0].state, ledger.drop.state))
        after = end(ledger, "t2", reset(1), NOW, POLICY)
        self.assertEqual((DELIVERED, Reason.DELIVERED), (after.claims[0].state, after.drop.reason))

    def test_parts_beside_each_other(self):
        """Parts that are fetched at once complete it with the last of them."""
        parts = [
            a_transfer("t1", length=STRIDE),
            a_transfer("t2", first=STRIDE, length=2 * STRIDE, reserved=2 * STRIDE),
        ]
        ledger = end(a_ledger(a_claim(state=OPEN), *parts), "t2", settled(2 * STRIDE), NOW, POLICY)
        self.assertEqual(OPEN, ledger.claims[0].state)
        self.assertEqual(DELIVERED, end(ledger, "t1", settled(STRIDE), NOW, POLICY).claims[0].state)

    def test_presumed(self):
        """A presumed copy is delivered when its recipient has confirmed the rest, in whatever way."""
        claim = a_claim(state=PRESUMED, handed=ALL, confirmed=strides(1, 3))
        for outcome in (settled(STRIDE), fin(2 * STRIDE, STRIDE)):
            after = ended(outcome, claim, length=2 * STRIDE, reserved=2 * STRIDE)
            self.assertEqual(DELIVERED, after.claims[0].state)
        self.assertEqual(PRESUMED, ended(reset(STRIDE), claim).claims[0].state)

    def test_for_everybody_else(self):
        """A presumed copy counts, at once."""
        after = ended(settled(2 * STRIDE), a_claim(state=OPEN, handed=strides(0, 1)), first=STRIDE, length=2 * STRIDE)
        self.assertEqual(
            (1, 1, 0, Reason.DELIVERED, False),
            (after.drop.delivered, after.drop.presumed, after.drop.live, after.drop.reason, after.drop.finished),
        )

    def test_released(self):
        """A claim that has sent nothing is released, with no attempt (rule W)."""
        after = ended(NOTHING_SENT)
        self.assertEqual(((), 0, ()), (after.claims, after.drop.live, after.events))

    def test_told(self):
        """The owner is told of a part that came, and of a break, at which byte."""
        for outcome, touch, offset in [
            (settled(STRIDE), Touch.RECEIVED, 2 * STRIDE),
            (reset(7), Touch.BROKEN, STRIDE + 7),
        ]:
            after = ended(outcome, first=STRIDE, length=STRIDE, reserved=STRIDE)
            self.assertEqual([(touch, offset)], [(event.touch, event.offset) for event in after.events])

    def test_revoked(self):
        """Of a drop that was taken back nothing is kept for anybody."""
        gone = {"state": DropState.GONE, "reason": Reason.REVOKED}
        ledger = a_ledger(a_claim(state=OPEN, handed=strides(0, 1)), a_transfer(), **gone)
        self.assertEqual(LAPSED, end(ledger, "t1", reset(SIZE), NOW, POLICY).claims[0].state)
        ledger = a_ledger(a_claim(state=COVERED, handed=ALL), a_transfer(), **gone)
        after = end(ledger, "t1", reset(9), NOW, POLICY)
        self.assertEqual((DELIVERED, True), (after.claims[0].state, after.drop.finished))
        ledger = a_ledger(a_claim(state=OPEN), **gone)
        self.assertEqual(LAPSED, suspended(ledger, ledger.claims[0], NOW).claims[0].state)

    def test_completed(self):
        """What is confirmed is delivered, and what is not, presumed."""
        for confirmed, state in ((ALL, DELIVERED), (strides(0, 2), PRESUMED)):
            ledger = a_ledger(a_claim(state=OPEN, handed=ALL, confirmed=confirmed))
            self.assertEqual(state, completed(ledger, ledger.claims[0], NOW).claims[0].state)


class WindowTests(SynchronousTestCase):
    """Rule W: how long a claim is waited for when a transfer has ended."""

    def test_probe(self):
        """Not long where little was handed out, of a file of which it is little."""
        for size, handed, seconds in [
            (16 * PROBE, PROBE - 1, PROBE_WINDOW),
            (16 * PROBE, PROBE, WINDOW),
            (1600, 99, PROBE_WINDOW),
            (1600, 100, WINDOW),
            (10, 1, WINDOW),
            (0, 1, WINDOW),
        ]:
            claim = a_claim(handed=spans.of(0, handed))
            self.assertEqual(seconds, window(claim, a_drop(size=size), POLICY), (size, handed))

    def until(self, claim: Claim, outcome: Outcome) -> float:
        """Return when the window ends after a transfer of the first stride."""
        return ended(outcome, claim, length=STRIDE, reserved=STRIDE).claims[0].until

    def test_renewed(self):
        """It begins anew when bytes went out that had not before, and not otherwise (trace 10)."""
        self.assertEqual(NOW + WINDOW, self.until(a_claim(state=OPEN, handed=strides(1, 2)), reset(1)))
        self.assertEqual(WINDOW, self.until(a_claim(state=OPEN, handed=strides(0, 2)), reset(STRIDE)))

    def test_without_a_hole(self):
        """And whenever no hole is left: it keeps nobody out, and its end would take the file from its recipient."""
        self.assertEqual(NOW + WINDOW, self.until(a_claim(state=OPEN, handed=ALL, until=1.0), reset(1)))
        late = a_claim(state=OPEN, handed=ALL, until=1.0)
        after = ended(settled(STRIDE), late, length=STRIDE, reserved=STRIDE)
        self.assertEqual((PRESUMED, NOW + WINDOW), (after.claims[0].state, after.claims[0].until))

    def test_covered(self):
        """No hole is no hole in what may have left, confirmed or not."""
        self.assertTrue(covered(a_claim(handed=ALL), a_drop()))
        self.assertFalse(covered(a_claim(handed=spans.of(0, SIZE - 1)), a_drop()))
        self.assertTrue(covered(a_claim(handed=spans.of(0, 1)), a_drop(size=0)))
