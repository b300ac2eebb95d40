"""Sequences that broke an earlier wording of the rules, each played again: strides 0 to 2, recipients Anna and Bert.

Where a trace begins on the wire, what the wire makes of it is tested where :data:`ELSEWHERE` says, and here what
the claims make of that.
"""

from __future__ import annotations

from typing import Final

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from filedropd.claims.policy import AFTERMATH, PROBE_WINDOW, STRIDE, Policy
from filedropd.errors import Gone, Locked
from filedropd.http.settling import Settlement
from filedropd.model import ClaimState, Reason
from filedropd.upload import Receipt
from tests.support import KEPT, OTHER, Core, CoreTestCase, Recipient

WINDOW: Final = Policy().window
DATA: Final = b"".join(bytes([stride]) * STRIDE for stride in range(3))
SIZE: Final = len(DATA)

#: Traces of which a part is about HTTP, TLS or the kernel, and the tests of that part.
ELSEWHERE: Final = {
    1: ["test_http_settling.SettlingTests.test_reset", "test_http_endpoints.TCPTests.test_reset"],
    11: ["test_http_settling.SettlingTests.test_stall", "test_http_settling.OnTheWireTests.test_stall"],
    12: [
        "test_http_settling.OnTheWireTests.test_nothing_is_sent_before_it_is_settled",
        "test_http_endpoints.TLSTests.test_close_notify",
        "test_http_endpoints.TLSTests.test_reset",
    ],
    13: [
        "test_http_settling.SettlingTests.test_asked_before_all",
        "test_http_settling.OnTheWireTests.test_pipelined_request",
        "test_http_settling.OnTheWireTests.test_pipelined_half_a_request",
    ],
}


def bert(breaks_at: int | None = None) -> Recipient:
    """Return the other recipient."""
    return Recipient(source=OTHER, breaks_at=breaks_at)


def all_sent() -> Recipient:
    """Return Anna, to whom all is sent, and whose connection is reset then."""
    recipient = Recipient()
    recipient.outcome = Settlement(acknowledged=0, sent=SIZE, begun=True, complete=False)
    return recipient


class ElsewhereTests(SynchronousTestCase):
    """What is tested elsewhere."""

    def test_there(self):
        """It is."""
        for names in ELSEWHERE.values():
            for name in names:
                self.assertTrue(callable(namedAny(f"tests.{name}")), name)


class Traces(CoreTestCase):
    """Traces, each on a new drop."""

    def setUp(self) -> None:
        super().setUp()
        self.receipt = self.left()

    def left(self, **terms: object) -> Receipt:
        """Leave the file."""
        self.core.reaper.start()
        return self.done(self.core.upload(DATA, **terms))

    def gets(self, recipient: Recipient, first: int = 0, length: int | None = None) -> bytes:
        """Return what somebody gets."""
        return bytes(self.done(self.core.deliver(self.receipt, recipient, first, length)).received)

    def locked(self, recipient: Recipient, first: int = 0) -> None:
        """Check that somebody is to come back later."""
        self.refused(Locked, self.core.deliver(self.receipt, recipient, first))

    def gone(self, recipient: Recipient, reason: Reason = Reason.DELIVERED) -> None:
        """Check that it is gone for somebody, and why."""
        self.assertEqual(reason.value, self.refused(Gone, self.core.deliver(self.receipt, recipient)).reason)

    @property
    def states(self) -> list[ClaimState]:
        """The states of the drop's claims."""
        return [claim.state for claim in self.core.claims(self.receipt)]

    @property
    def deleted(self) -> bool:
        """Whether the bytes are."""
        return self.receipt.drop.blob not in self.core.stored.published

    def killed(self, recipient: Recipient, length: int = SIZE) -> None:
        """Crash while somebody is sent the first bytes, or all that he wants; and start again."""
        self.begun(self.core.deliver(self.receipt, recipient, 0, length)).addErrback(lambda _: None)
        self.core.killed()
        recipient.leave()
        self.done(self.core.reaper.recover())
        self.core.reaper.start()


class FirstTraceTests(Traces):
    """Of one copy, and who has how much of it."""

    def test_01(self):
        """Trace 1, rule C: Anna reads all, and is reset before that is seen; after her window nobody gets a second copy."""
        self.gets(all_sent())
        self.locked(bert())
        self.core.elapse(WINDOW)
        self.gone(bert())

    def test_02(self):
        """Trace 2: Anna is sent all; crash; she asks again and leaves at once. What had left is not forgotten."""
        self.killed(Recipient().hold_settle())
        self.gets(Recipient(breaks_at=0))
        self.locked(bert())
        self.core.elapse(WINDOW)
        self.gone(bert())

    def test_03(self):
        """Trace 3, rule D: stride 0 is thrown away by a reset, 1 and 2 arrive: it counts, and 0 is there for Anna alone."""
        self.gets(Recipient(breaks_at=STRIDE))
        self.gets(Recipient(), first=STRIDE)
        self.assertEqual([ClaimState.PRESUMED], self.states)
        self.gone(bert())
        self.assertEqual(DATA[:STRIDE], self.gets(Recipient(), 0, STRIDE))
        self.assertTrue(self.deleted)

    def test_04(self):
        """Trace 4, rule W: one byte, or a claim without any, keeps nobody out for longer than five seconds."""
        self.gets(Recipient(), 0, 1)
        self.locked(bert())
        self.core.elapse(PROBE_WINDOW)
        self.assertEqual(DATA, self.gets(bert()))

    def test_04_post(self):
        """Trace 4, the same after a POST without a GET."""
        self.done(self.core.drops.claim(self.done(self.core.look(self.receipt))))
        self.locked(bert())
        self.core.elapse(PROBE_WINDOW)
        self.assertEqual(DATA, self.gets(bert()))
        self.assertEqual([ClaimState.DELIVERED], self.states)

    def test_05(self):
        """Trace 5, rule J: Anna comes back after her claim lapsed, for the rest: it is one claim, and one copy."""
        self.gets(Recipient(breaks_at=2 * STRIDE))
        self.core.elapse(WINDOW)
        self.gets(Recipient(breaks_at=STRIDE // 2), first=2 * STRIDE)
        self.gets(all_sent(), first=2 * STRIDE)
        self.core.elapse(WINDOW)
        self.assertEqual([ClaimState.DELIVERED], self.states)
        self.gone(bert())

    def test_06(self):
        """Trace 6, rule O: one gets 0 and 1, another 2, and both give up: a third does not get all."""
        self.gets(Recipient(breaks_at=2 * STRIDE))
        self.core.elapse(WINDOW)
        self.gets(bert(breaks_at=STRIDE - 1), first=2 * STRIDE)
        self.core.elapse(WINDOW)
        self.assertEqual(DATA[-1:], self.gets(bert(), first=SIZE - 1))
        self.core.elapse(WINDOW)
        self.gone(Recipient(source="192.0.2.99\ncurl"))

    def test_07(self):
        """Trace 7, rule R: two behind one address and name are one recipient."""
        self.gets(all_sent())
        self.assertEqual(DATA, self.gets(Recipient()))

    def test_07_strict(self):
        """Trace 7, with one attempt: who cannot show the token is refused, and who can is not."""
        self.core = Core(policy=Policy(max_attempts=1))
        self.receipt = self.left()
        anna = all_sent()
        self.gets(anna)
        self.locked(Recipient())
        self.assertEqual(DATA, self.gets(Recipient(token=anna.claim)))

    def test_08(self):
        """Trace 8, rule D: it is not gone while a second transfer of the same claim is on its way."""
        whole, again = Recipient().hold_sends(), Recipient().hold_settle()
        first = self.begun(self.core.deliver(self.receipt, whole))
        whole.taken = STRIDE
        second = self.begun(self.core.deliver(self.receipt, again, 0, STRIDE))
        whole.go_on()
        self.done(first)
        self.assertEqual(([ClaimState.COVERED], False), (self.states, self.deleted))
        again.go_on()
        self.done(second)
        self.assertEqual(([ClaimState.DELIVERED], True), (self.states, self.deleted))

    def test_09(self):
        """Trace 9, rule O: one byte is asked for, and then a crash: one byte has left, and not the file."""
        self.killed(Recipient().hold_sends(), 1)
        self.core.elapse(PROBE_WINDOW)
        self.assertEqual(DATA, self.gets(bert()))


class SecondTraceTests(Traces):
    """Of time, of several copies, and of the wire."""

    def test_10(self):
        """Trace 10, rule W: probes, however many, do not abandon a drop."""
        for number in range(5):
            self.gets(Recipient(source=f"192.0.2.{number}\ncurl"), 0, 1)
            self.core.elapse(PROBE_WINDOW)
        self.assertEqual(DATA, self.gets(bert()))

    def test_10_again_and_again(self):
        """Trace 10: a probe every fourteen minutes does not lock everybody out."""
        self.gets(Recipient(breaks_at=STRIDE))
        self.core.elapse(WINDOW - 60)
        self.gets(Recipient(), 0, 1)
        self.locked(bert())
        self.core.elapse(60)
        self.assertEqual(DATA, self.gets(bert()))

    def test_11(self):
        """Trace 11, rules C and E: the expiry waits for a reader that stalls for one window, and no longer."""
        stalled = Recipient().hold_sends()
        result = self.begun(self.core.deliver(self.receipt, stalled))
        self.core.elapse(KEPT + WINDOW - 1)
        self.assertFalse(self.deleted)
        self.core.elapse(1)
        self.done(result)
        self.assertTrue(stalled.aborted and self.deleted)
        self.gone(bert(), Reason.EXPIRED)

    def test_12(self):
        """Trace 12, rule C: where a recipient who has read all is reset all the same, it is not lost for him."""
        self.gets(all_sent())
        self.assertEqual(([ClaimState.SUSPENDED], False), (self.states, self.deleted))
        self.assertEqual(DATA, self.gets(Recipient()))
        self.assertTrue(self.deleted)

    def test_13(self):
        """Trace 13, rule C: what only quiet says can be taken back by a reset, for a minute, and by Anna alone."""
        anna = Recipient(quiet=True)
        self.gets(anna)
        self.gone(bert())
        self.core.elapse(AFTERMATH - 1)
        anna.reset()
        self.assertEqual(DATA, self.gets(Recipient()))
        self.assertTrue(self.deleted)

    def test_14(self):
        """Trace 14, rule W: three who give up one copy do not end the copies of others."""
        self.receipt = self.left(downloads=2)
        running = bert().hold_sends()
        result = self.begun(self.core.deliver(self.receipt, running))
        for number in range(3):
            self.gets(Recipient(source=f"192.0.2.{100 + number}\ncurl", breaks_at=2 * STRIDE))
            self.core.elapse(WINDOW)
        self.gone(Recipient(source="192.0.2.99\ncurl"), Reason.ABANDONED)
        self.assertFalse(running.aborted or self.deleted)
        running.go_on()
        self.done(result)
        self.assertEqual((DATA, True), (bytes(running.received), self.deleted))

    def test_15(self):
        """Trace 15: when one of two transfers breaks, what the other has on its way is not taken back."""
        one = Recipient().hold_sends()
        result = self.begun(self.core.deliver(self.receipt, one))
        self.gets(Recipient(breaks_at=0), STRIDE, 2 * STRIDE)
        (transfer,), (claim,) = self.core.ledger(self.receipt).transfers, self.core.claims(self.receipt)
        self.assertEqual((((0, STRIDE),), ClaimState.OPEN), (transfer.handed, claim.state))
        one.go_on()
        self.done(result)
        self.gone(bert())


class LaterTraceTests(Traces):
    """Sequences that were found by searching the rules as they stand."""

    def test_16(self):
        """Bert has 0 by one address and the rest by another, both lapsed; Anna, with 0, does not get a second copy."""
        self.receipt = self.left(expires=9 * WINDOW)
        moved = Recipient(source=None, breaks_at=2 * STRIDE - 1)
        self.gets(Recipient(breaks_at=STRIDE))
        self.core.elapse(WINDOW)
        self.gets(bert(breaks_at=STRIDE))
        self.core.elapse(WINDOW)
        self.gets(moved, first=STRIDE)
        self.core.elapse(WINDOW)
        self.gets(Recipient(token=moved.claim, breaks_at=1), first=SIZE - 1)
        self.core.elapse(WINDOW)
        self.gone(Recipient())

    def test_17(self):
        """A part was presumed, the rest is quiet on a connection that stands: Anna need not wait for the end of that."""
        self.gets(Recipient(breaks_at=STRIDE))
        self.gets(Recipient(quiet=True), first=STRIDE)
        self.gone(bert())
        self.assertEqual(DATA[:STRIDE], self.gets(Recipient(), 0, STRIDE))

    def test_18(self):
        """Anna, who was sent all, comes back in time, is sent it again for longer than her window, and breaks."""
        self.gets(all_sent())
        self.core.elapse(WINDOW - 60)
        slow = Recipient(breaks_at=STRIDE).hold_sends()
        result = self.begun(self.core.deliver(self.receipt, slow))
        self.core.elapse(2 * 60)
        slow.go_on()
        self.done(result)
        self.locked(bert())
        self.assertEqual(DATA, self.gets(Recipient()))

    def test_19(self):
        """Anna's claim lapsed beyond the half; that she comes back for a byte, and again, does not abandon the drop."""
        self.gets(Recipient(breaks_at=2 * STRIDE))
        self.core.elapse(WINDOW)
        for _ in range(5):
            self.gets(Recipient(), 0, 1)
            self.core.elapse(1)
        self.assertEqual([ClaimState.LAPSED], self.states)
        self.assertEqual(DATA, self.gets(bert()))
