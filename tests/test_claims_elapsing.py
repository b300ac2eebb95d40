"""Time passes, the owner ends it, the machine crashes: rules W, E and X, one by one."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from filedropd import spans
from filedropd.claims.elapsing import due, elapsed, recovered, revoked
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import AFTERMATH, PROBE_WINDOW, STRIDE
from filedropd.model import Claim, ClaimState, DropState, Reason, Touch, Transfer
from filedropd.spans import Spans
from tests.test_claims_ledger import EXPIRY, POLICY, SIZE, WINDOW, a_claim, a_ledger, a_transfer, of_bert, strides

COVERED, DELIVERED, LAPSED = ClaimState.COVERED, ClaimState.DELIVERED, ClaimState.LAPSED
OPEN, PRESUMED, SUSPENDED = ClaimState.OPEN, ClaimState.PRESUMED, ClaimState.SUSPENDED

ALL = strides(0, 3)
#: The end of everything: one window behind the expiry.
LAST = EXPIRY + WINDOW
ABANDONED = {"state": DropState.GONE, "reason": Reason.ABANDONED}


def at(now: float, *hanging: Claim | Transfer, **drop: Any) -> Ledger:
    """Return a drop as it is then."""
    return elapsed(a_ledger(*hanging, **drop), now, POLICY)


def states(ledger: Ledger) -> list[ClaimState]:
    """Return the states of its claims."""
    return [claim.state for claim in ledger.claims]


def touches(ledger: Ledger) -> list[Touch]:
    """Return what was noted."""
    return [event.touch for event in ledger.events]


class WindowTests(SynchronousTestCase):
    """Rule W: the window of a claim ends."""

    def test_hole(self):
        """With a hole in what was handed out it lapses, and its copy is free."""
        claim = a_claim(handed=strides(0, 2))
        self.assertEqual([SUSPENDED], states(at(WINDOW - 0.1, claim)))
        after = at(WINDOW, claim)
        self.assertEqual(([LAPSED], 1, DropState.AVAILABLE), (states(after), after.drop.free, after.drop.state))

    def test_no_hole(self):
        """Without one it is delivered: it may be."""
        after = at(WINDOW, a_claim(handed=ALL))
        self.assertEqual(([DELIVERED], Reason.DELIVERED), (states(after), after.drop.reason))

    def test_nothing_sent(self):
        """If nothing was sent it is released, with no attempt and no word (trace 4)."""
        after = at(PROBE_WINDOW, a_claim(until=PROBE_WINDOW))
        self.assertEqual(((), 1, ()), (after.claims, after.drop.free, after.events))

    def test_presumed(self):
        """A presumed copy stays delivered, and is kept no longer."""
        after = at(WINDOW, a_claim(state=PRESUMED, handed=ALL), state=DropState.GONE, reason=Reason.DELIVERED)
        self.assertEqual(([DELIVERED], True), (states(after), after.drop.finished))

    def test_quiet(self):
        """So does one that settled by quiet, whose connection still stands: nobody waits for it any more."""
        lingering = a_transfer(reserved=SIZE, settled=True)
        after = at(AFTERMATH, a_claim(state=PRESUMED, handed=ALL, until=AFTERMATH), lingering)
        self.assertEqual(([DELIVERED], ()), (states(after), after.transfers))
        self.assertEqual((ALL,), after.claims[0].sent)

    def test_running(self):
        """A claim of which a transfer runs has no window."""
        for state in (OPEN, COVERED, PRESUMED):
            ledger = a_ledger(a_claim(state=state, handed=ALL), a_transfer())
            self.assertIs(ledger, elapsed(ledger, WINDOW, POLICY))

    def lapsed(self, handed: Spans, *others: Claim, lapses: int = 0, **drop: Any) -> Ledger:
        """Let a claim lapse that has handed out so much."""
        return at(WINDOW, a_claim(handed=handed, lapses=lapses), *others, **drop)

    def test_attempt(self):
        """It counts as an attempt if more than half of the file was handed out."""
        half = SIZE // 2
        for handed, lapses in ((half, 0), (half + 1, 1)):
            self.assertEqual(lapses, self.lapsed(spans.of(0, handed)).claims[0].lapses)

    def test_abandoned(self):
        """At the last attempt of a copy, whoever made them, the drop is abandoned."""
        before = of_bert(a_claim("c2", LAPSED, strides(0, 2), copy=0, lapses=1))
        third = of_bert(a_claim("c3", LAPSED, strides(0, 2), copy=0, lapses=1))
        self.assertEqual(DropState.AVAILABLE, self.lapsed(strides(0, 2), before).drop.state)
        after = self.lapsed(strides(0, 2), before, third)
        self.assertEqual((Reason.ABANDONED, True), (after.drop.reason, after.drop.finished))
        self.assertEqual([Touch.LAPSED, Touch.ABANDONED], touches(after))

    def test_probes(self):
        """Probes do not abandon it, however many (trace 10)."""
        probes = [of_bert(a_claim(f"c{n}", LAPSED, spans.of(0, 1), copy=0)) for n in range(2, 9)]
        self.assertEqual(DropState.AVAILABLE, self.lapsed(spans.of(0, 1), *probes).drop.state)

    def test_other_copies(self):
        """The attempts of one copy are not another's, and those who have the others go on (trace 14)."""
        worn = a_claim("c2", LAPSED, strides(0, 2), copy=1, lapses=2)
        self.assertEqual(DropState.AVAILABLE, self.lapsed(strides(0, 2), worn, downloads=3).drop.state)
        running = (of_bert(a_claim("c3", OPEN)), a_transfer(claim="c3"))
        after = at(WINDOW, a_claim(handed=strides(0, 2), lapses=2), *running, downloads=3)
        self.assertEqual(
            (Reason.ABANDONED, [LAPSED, OPEN], False), (after.drop.reason, states(after), after.drop.finished)
        )
        self.assertEqual([running[1]], list(after.transfers))


class ExpiryTests(SynchronousTestCase):
    """Rule E: the time of a drop is over."""

    def test_nobody(self):
        """If nobody is getting it, it is gone."""
        after = at(EXPIRY, a_claim(state=LAPSED, handed=strides(0, 1)))
        self.assertEqual((Reason.EXPIRED, EXPIRY, True), (after.drop.reason, after.drop.gone_at, after.drop.finished))

    def test_live(self):
        """Claims that live end as they may."""
        claims = (a_claim(handed=strides(0, 2), until=EXPIRY + 9), of_bert(a_claim("c2", OPEN)), a_transfer(claim="c2"))
        after = at(EXPIRY, *claims, downloads=2)
        self.assertEqual(([SUSPENDED, OPEN], False), (states(after), after.drop.finished))
        self.assertEqual([LAPSED, OPEN], states(elapsed(after, EXPIRY + 9, POLICY)))

    def test_last(self):
        """One window behind it everything ends, and what was reserved counts as handed out (trace 11)."""
        over = {"state": DropState.GONE, "reason": Reason.EXPIRED}
        rows: list[tuple[ClaimState, Claim, *tuple[Transfer, ...]]] = [
            (DELIVERED, a_claim(state=OPEN), a_transfer(reserved=SIZE)),
            (LAPSED, a_claim(state=OPEN), a_transfer()),
            (DELIVERED, a_claim(state=COVERED, handed=ALL), a_transfer()),
            (DELIVERED, a_claim(state=PRESUMED, handed=ALL), a_transfer()),
            (LAPSED, a_claim(handed=strides(0, 1), until=LAST + 9)),
        ]
        for state, claim, *transfers in rows:
            ledger = a_ledger(claim, *transfers, **over)
            self.assertIs(ledger, elapsed(ledger, LAST - 0.1, POLICY))
            after = elapsed(ledger, LAST, POLICY)
            self.assertEqual(([state], (), True), (states(after), after.transfers, after.drop.finished))

    def test_reason(self):
        """It was delivered, if it was; else the first that happened."""
        over = {"state": DropState.GONE, "reason": Reason.EXPIRED}
        self.assertEqual(Reason.DELIVERED, at(LAST, a_claim(handed=ALL), **over).drop.reason)
        self.assertEqual(Reason.EXPIRED, at(LAST, a_claim(handed=ALL), **over, downloads=2).drop.reason)
        self.assertEqual(Reason.ABANDONED, at(LAST, a_claim(handed=strides(0, 2)), **ABANDONED).drop.reason)

    def test_purged(self):
        """What is purged does not change any more."""
        ledger = a_ledger(a_claim(state=PRESUMED), state=DropState.PURGED, reason=Reason.REVOKED)
        self.assertIs(ledger, elapsed(ledger, 2 * LAST, POLICY))
        self.assertIs(ledger, due(ledger, 2 * LAST, POLICY))

    def test_nothing(self):
        """Where time has brought nothing, nothing is new."""
        ledger = a_ledger(a_claim(), a_claim("c2", OPEN), a_transfer(claim="c2"), downloads=2)
        self.assertIs(ledger, elapsed(ledger, 1.0, POLICY))


class RevokedTests(SynchronousTestCase):
    """Rule E: its owner takes it back."""

    def test_at_once(self):
        """It is finished at once, whatever runs or waits."""
        ledger = a_ledger(
            a_claim("c1", handed=strides(0, 1)),
            a_claim("c2"),
            a_claim("c3", OPEN),
            a_claim("c4", PRESUMED, ALL),
            a_transfer(claim="c3"),
            a_transfer("t2", "c4", settled=True),
            downloads=9,
        )
        after = revoked(ledger, 7.0)
        self.assertEqual([LAPSED, OPEN, DELIVERED], states(after))
        self.assertEqual((Reason.REVOKED, 7.0, True), (after.drop.reason, after.drop.gone_at, after.drop.finished))
        self.assertEqual(["c3"], [transfer.claim for transfer in after.transfers])
        self.assertEqual([Touch.LAPSED, Touch.REVOKED], touches(after))

    def test_delivered(self):
        """A drop that was delivered stays that; only what was kept of it for a recipient goes."""
        ledger = a_ledger(a_claim(state=PRESUMED, handed=ALL), state=DropState.GONE, reason=Reason.DELIVERED)
        after = revoked(ledger, 7.0)
        self.assertEqual((Reason.DELIVERED, True, ()), (after.drop.reason, after.drop.finished, after.events))

    def test_expired(self):
        """One that has expired, and still has live claims, can be taken back."""
        ledger = a_ledger(a_claim(state=OPEN), a_transfer(), state=DropState.GONE, reason=Reason.EXPIRED)
        self.assertTrue(revoked(ledger, 7.0).drop.finished)


class CrashTests(SynchronousTestCase):
    """Rule X: the machine crashed, and starts again."""

    def test_open(self):
        """An open claim waits, with a fresh window; what was reserved has left (traces 2 and 9)."""
        ledger = a_ledger(a_claim(state=OPEN, handed=strides(2, 3), until=1.0), a_transfer(reserved=2 * STRIDE))
        after = recovered(ledger, 1000.0, POLICY)
        (claim,) = after.claims
        self.assertEqual(
            (SUSPENDED, 1000.0 + WINDOW, ALL, ()), (claim.state, claim.until, claim.handed, after.transfers)
        )
        self.assertEqual([(Touch.BROKEN, 2 * STRIDE)], [(event.touch, event.offset) for event in after.events])

    def test_probe(self):
        """Of one byte that was asked for, one byte has left, and a probe is not waited for long."""
        ledger = a_ledger(a_claim(state=OPEN), a_transfer(length=1, reserved=1))
        (claim,) = recovered(ledger, 1000.0, POLICY).claims
        self.assertEqual((spans.of(0, 1), 1000.0 + PROBE_WINDOW), (claim.handed, claim.until))

    def test_confirmed(self):
        """What was acknowledged is not confirmed: nobody knows what became of it."""
        ledger = a_ledger(a_claim(state=OPEN), a_transfer(reserved=SIZE, acknowledged=SIZE))
        self.assertEqual(spans.NONE, recovered(ledger, 1.0, POLICY).claims[0].confirmed)

    def test_covered(self):
        """A covered claim is completed: a transfer of its had settled."""
        for confirmed, state in ((ALL, DELIVERED), (strides(0, 2), PRESUMED)):
            ledger = a_ledger(a_claim(state=COVERED, handed=ALL, confirmed=confirmed, until=0.0), a_transfer())
            (claim,) = recovered(ledger, 1000.0, POLICY).claims
            self.assertEqual((state, 1000.0 + WINDOW), (claim.state, claim.until))

    def test_presumed(self):
        """A presumed copy is kept for its recipient for a window more, quiet or not."""
        for settled in (True, False):
            claim = a_claim(state=PRESUMED, handed=ALL, until=1.0)
            after = recovered(a_ledger(claim, a_transfer(settled=settled)), 1000.0, POLICY)
            self.assertEqual(([PRESUMED], 1000.0 + WINDOW), (states(after), after.claims[0].until))

    def test_presumed_and_confirmed(self):
        """One that its recipient has had again, whole, meanwhile is delivered, and kept no longer."""
        claim = a_claim(state=PRESUMED, handed=ALL, confirmed=ALL, until=1.0)
        gone = {"state": DropState.GONE, "reason": Reason.DELIVERED}
        for settled in (True, False):
            after = recovered(a_ledger(claim, a_transfer(settled=settled), **gone), 1000.0, POLICY)
            self.assertEqual(([DELIVERED], True), (states(after), after.drop.finished))

    def test_counted_once(self):
        """What had settled by quiet was counted then, and is not again."""
        ledger = a_ledger(a_claim(handed=strides(0, 1)), a_transfer(length=STRIDE, settled=True))
        self.assertEqual((strides(0, 1),), recovered(ledger, 1.0, POLICY).claims[0].sent)

    def test_others(self):
        """A claim without a transfer is left as it is."""
        claims = (a_claim(), of_bert(a_claim("c2", LAPSED)), of_bert(a_claim("c3", DELIVERED)))
        self.assertEqual(a_ledger(*claims, downloads=3), recovered(a_ledger(*claims, downloads=3), 1.0, POLICY))

    def test_revoked(self):
        """Of a drop that was taken back nothing waits."""
        gone = {"state": DropState.GONE, "reason": Reason.REVOKED}
        self.assertEqual([LAPSED], states(recovered(a_ledger(a_claim(state=OPEN), a_transfer(), **gone), 1.0, POLICY)))


class DueTests(SynchronousTestCase):
    """Rules W and E: when somebody must look again."""

    def test_table(self):
        """At the first window that ends, else at the expiry, else one window behind it; at once if it is finished."""
        expired = {"state": DropState.GONE, "reason": Reason.EXPIRED}
        for hanging, drop, when in [
            ((), {}, EXPIRY),
            ((a_claim(),), {}, WINDOW),
            ((a_claim(state=LAPSED),), {}, EXPIRY),
            ((a_claim(state=OPEN), a_transfer()), {}, EXPIRY),
            ((a_claim(state=OPEN), a_transfer()), expired, LAST),
            ((a_claim(until=LAST + 9),), expired, LAST),
            ((a_claim(state=LAPSED),), expired, 1.0),
            ((a_claim(state=PRESUMED, until=9.0),), {"state": DropState.GONE, "reason": Reason.DELIVERED}, 9.0),
        ]:
            self.assertEqual(when, due(a_ledger(*hanging, **drop), 1.0, POLICY).drop.due_at, (hanging, drop))

    def test_enough(self):
        """Then something has changed, and not before."""
        ledger = due(a_ledger(a_claim(handed=strides(0, 1))), 1.0, POLICY)
        when = ledger.drop.due_at
        self.assertIs(ledger, elapsed(ledger, when - 0.1, POLICY))
        self.assertNotEqual(attrs.evolve(ledger, events=()), elapsed(ledger, when, POLICY))
