"""Drops: many at once for one copy, and clients that leave."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from filedropd import awaiting, downloads
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import PROBE_WINDOW, STRIDE
from filedropd.errors import Gone, Locked
from filedropd.http.settling import Settlement
from filedropd.model import ClaimState, Reason
from filedropd.upload import Receipt
from tests.support import OTHER, Core, CoreTestCase, Recipient


def states(core: Core, receipt: Receipt) -> list[ClaimState]:
    """Return the states of a drop's claims."""
    return [claim.state for claim in core.claims(receipt)]


class RaceTests(CoreTestCase):
    """Many at once for one copy."""

    def race(
        self, receipt: Receipt, runners: int = 64, *, settle: bool = False, apart: bool = False
    ) -> tuple[list[Recipient], list[Deferred[Recipient]]]:
        """Let so many ask at once, all held while sending, or while settling; from one address, or from many."""
        recipients = [Recipient(source=f"192.0.2.{number if apart else 1}\ncurl") for number in range(runners)]
        for recipient in recipients:
            _ = recipient.hold_settle() if settle else recipient.hold_sends()
        return recipients, [self.begun(self.core.deliver(receipt, recipient)) for recipient in recipients]

    def test_one_sends(self):
        """Of 64 at once one is given the copy; the others are told at once that somebody has it."""
        receipt = self.done(self.core.upload())
        recipients, results = self.race(receipt, apart=True)
        self.assertEqual([1] + [0] * 63, [recipient.begun for recipient in recipients])
        for result in results[1:]:
            self.assertEqual(downloads.LOCKED_RETRY, self.refused(Locked, result).retry_after)
        recipients[0].go_on()
        self.done(results[0])
        self.assertEqual(b"content", bytes(recipients[0].received))

    def test_one_address(self):
        """Of 64 behind one address one gets the bytes; the others are told that they are on their way, and wait less."""
        receipt = self.done(self.core.upload())
        recipients, results = self.race(receipt)
        self.assertEqual([1] + [0] * 63, [recipient.begun for recipient in recipients])
        for result in results[1:]:
            self.assertEqual(downloads.IN_FLIGHT_RETRY, self.refused(Locked, result).retry_after)
        self.assertEqual(1, len(self.core.claims(receipt)))
        recipients[0].go_on()

    def test_race_to_the_claim(self):
        """Where all 64 ask the records before any has an answer, one is given the copy all the same."""
        for apart in (False, True):
            receipt = self.done(self.core.upload())
            self.core.journal.hold("before records.change")
            recipients, results = self.race(receipt, apart=apart)
            self.assertEqual(64, self.core.journal.held("before records.change"))
            self.core.journal.release("before records.change")
            self.assertEqual(1, sum(recipient.begun for recipient in recipients))
            for result, recipient in zip(results, recipients, strict=True):
                if not recipient.begun:
                    self.refused(Locked, result)
                recipient.go_on()

    def test_settling_then_gone(self):
        """Who meets a copy that settles waits for its outcome: all of it arrived, so the drop is gone."""
        for apart in (False, True):
            receipt = self.done(self.core.upload())
            recipients, results = self.race(receipt, settle=True, apart=apart)
            for result in results:
                self.assertNoResult(result)
            recipients[0].go_on()
            self.done(results[0])
            for result in results[1:]:
                self.assertEqual("delivered", self.refused(Gone, result).reason)
            self.assertEqual(1, sum(recipient.begun for recipient in recipients))

    def test_settling_then_broken(self):
        """If what settled was broken, one of those who waited at the same address is given the bytes."""
        receipt = self.done(self.core.upload())
        recipients, results = self.race(receipt, settle=True)
        recipients[0].leave()
        self.done(results[0])
        self.assertEqual(2, sum(recipient.begun for recipient in recipients))
        (second,) = [recipient for recipient in recipients[1:] if recipient.begun]
        second.go_on()
        self.assertEqual(1, self.core.row(receipt).delivered)
        for result, recipient in zip(results, recipients, strict=True):
            if not recipient.begun:
                self.refused(Gone, result)
        self.assertEqual([], self.core.clock.getDelayedCalls())

    def test_settling_then_kept(self):
        """Those at other addresses are told to come back: a broken copy waits for its own recipient."""
        receipt = self.done(self.core.upload())
        recipients, results = self.race(receipt, settle=True, apart=True)
        recipients[0].leave()
        for result in results[1:]:
            self.assertEqual(downloads.LOCKED_RETRY, self.refused(Locked, result).retry_after)
        self.assertEqual([ClaimState.SUSPENDED], states(self.core, receipt))

    def test_ending(self):
        """A copy whose end is being committed is still one to wait for."""
        for source in (Recipient().source, OTHER):
            receipt = self.done(self.core.upload())
            recipient = Recipient().hold_settle()
            self.begun(self.core.deliver(receipt, recipient))
            self.core.journal.hold("before records.change")
            recipient.go_on()
            go_on = self.core.journal.by_pass("before records.change")
            second = self.begun(self.core.deliver(receipt, Recipient(source=source)))
            self.assertNoResult(second)
            go_on()
            self.refused(Gone, second)

    def test_ended_meanwhile(self):
        """Who was refused for what ended before he was told so asks again."""
        for source in (Recipient().source, OTHER):
            receipt = self.done(self.core.upload())
            recipient = Recipient().hold_sends()
            self.begun(self.core.deliver(receipt, recipient))
            self.core.journal.hold("after records.change")
            second = self.begun(self.core.deliver(receipt, Recipient(source=source)))
            go_on = self.core.journal.by_pass("after records.change")
            recipient.go_on()
            self.assertNoResult(second)
            go_on()
            self.assertEqual("delivered", self.refused(Gone, second).reason)

    def test_freed_meanwhile(self):
        """A copy that is given back before he was told so is his after all."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(receipt, recipient))
        self.core.journal.hold("after records.change")
        second = Recipient(source=OTHER)
        waiting = self.begun(self.core.deliver(receipt, second))
        go_on = self.core.journal.by_pass("after records.change")
        recipient.leave()
        go_on()
        self.done(waiting)
        self.assertEqual(b"content", bytes(second.received))

    def test_patience(self):
        """Nobody waits longer than a copy may take to settle; then he is asked to come back in a second."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_settle()
        first = self.begun(self.core.deliver(receipt, recipient))
        seconds = [
            self.begun(self.core.deliver(receipt, Recipient(source=source))) for source in (OTHER, recipient.source)
        ]
        self.core.clock.advance(awaiting.SETTLING - 0.01)
        for second in seconds:
            self.assertNoResult(second)
        self.core.clock.advance(0.01)
        for second in seconds:
            self.assertEqual(1, self.refused(Locked, second).retry_after)
        recipient.go_on()
        self.done(first)

    def test_several_copies(self):
        """With several copies as many go out at once, to whomever."""
        for apart in (False, True):
            receipt = self.done(self.core.upload(downloads=3))
            recipients, results = self.race(receipt, 10, apart=apart)
            for result in results[3:]:
                self.refused(Locked, result)
            self.assertEqual((3, 3), (sum(recipient.begun for recipient in recipients), self.core.running))
            for recipient in recipients:
                recipient.go_on()
            self.assertEqual((3, 0), (self.core.row(receipt).delivered, self.core.row(receipt).live))

    def test_one_ends(self):
        """When one of several downloads of a drop ends, the others are still known, and can be broken off."""
        receipt = self.done(self.core.upload(downloads=3))
        recipients, results = self.race(receipt, 3)
        recipients[0].go_on()
        self.done(results[0])
        self.assertEqual(2, self.core.running)
        self.done(self.core.drops.revoke(receipt.link, receipt.owner))
        self.assertEqual([False, True, True], [recipient.aborted for recipient in recipients])

    def test_others(self):
        """Drops do not stand in each other's way."""
        held = self.done(self.core.upload(b"one"))
        free = self.done(self.core.upload(b"other"))
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(held, recipient))
        self.assertEqual(b"other", bytes(self.done(self.core.deliver(free, Recipient())).received))
        recipient.go_on()


class FlightTests(CoreTestCase):
    """No byte is in flight twice to one recipient."""

    def setUp(self) -> None:
        super().setUp()
        self.data = bytes(range(250)) * 4
        self.receipt = self.done(self.core.upload(self.data))

    def begin(self, recipient: Recipient, first: int, length: int) -> Deferred[Recipient]:
        """Begin to hand over so many bytes."""
        return self.begun(self.core.deliver(self.receipt, recipient, first, length))

    def test_side_by_side(self):
        """Parts that do not overlap are sent at once, under one claim, and are one delivery together."""
        recipients = [Recipient().hold_sends() for _ in range(4)]
        results = [self.begin(recipient, 250 * n, 250) for n, recipient in enumerate(recipients)]
        self.assertEqual(4, self.core.running)
        for recipient in reversed(recipients):
            recipient.go_on()
        for result in results:
            self.done(result)
        self.assertEqual(self.data, b"".join(bytes(recipient.received) for recipient in recipients))
        self.assertEqual([ClaimState.DELIVERED], states(self.core, self.receipt))

    def test_overlap(self):
        """A part that overlaps another which is on its way is refused whole, and costs that one nothing."""
        recipient = Recipient().hold_sends()
        first = self.begin(recipient, 0, 500)
        late = Recipient()
        self.assertEqual(downloads.IN_FLIGHT_RETRY, self.refused(Locked, self.begin(late, 499, 501)).retry_after)
        self.assertEqual(0, late.begun)
        recipient.go_on()
        self.done(first)
        self.assertEqual(self.data[:500], bytes(recipient.received))

    def test_acknowledged(self):
        """What the recipient's machine has acknowledged is not in flight any more."""
        recipient = Recipient().hold_sends()
        self.begin(recipient, 0, 500)
        recipient.taken = 300
        again = self.done(self.begin(Recipient(), 100, 200))
        self.assertEqual(self.data[100:300], bytes(again.received))
        self.refused(Locked, self.begin(Recipient(), 100, 201))
        recipient.go_on()

    def test_superseded(self):
        """With the claim's token the one that is in the way is broken off, and accounted for first."""
        slow = Recipient().hold_sends()
        slow.outcome = Settlement(acknowledged=0, sent=300, begun=True, complete=False)
        result = self.begin(slow, 0, 1000)
        successor = Recipient(token=slow.claim, source=OTHER)
        seen: list[Ledger] = []
        successor._before = lambda: seen.append(self.core.ledger(self.receipt))
        self.done(self.begin(successor, 200, 800))
        self.done(result)
        self.assertEqual((True, self.data[200:]), (slow.aborted, bytes(successor.received)))
        ((transfer,), (claim,)) = seen[0].transfers, seen[0].claims
        self.assertEqual((200, ((0, 300),)), (transfer.first, claim.handed))
        self.assertEqual([ClaimState.PRESUMED], states(self.core, self.receipt))

    def test_only_what_overlaps(self):
        """Others of the claim go on."""
        early, late = Recipient().hold_sends(), Recipient().hold_sends()
        results = [self.begin(early, 0, 500), self.begin(late, 500, 500)]
        successor = self.done(self.begin(Recipient(token=early.claim), 0, 500))
        self.assertEqual((True, False), (early.aborted, late.aborted))
        late.go_on()
        for result in results:
            self.done(result)
        self.assertEqual(self.data, bytes(successor.received + late.received))
        self.assertEqual([ClaimState.DELIVERED], states(self.core, self.receipt))

    def test_settling_is_not_superseded(self):
        """What settles is waited for even so: its outcome may make the answer needless."""
        recipient = Recipient().hold_settle()
        self.begin(recipient, 0, 1000)
        waiting = self.begin(Recipient(token=recipient.claim), 0, 1000)
        self.assertNoResult(waiting)
        self.assertFalse(recipient.aborted)
        recipient.go_on()
        self.refused(Gone, waiting)

    def test_superseded_for_nothing(self):
        """If what is superseded does not end in time, the one who waits is told to come back."""
        slow = Recipient().hold_sends()
        self.begin(slow, 0, 1000)
        slow.leave = lambda acknowledged=0: None  # type: ignore[method-assign]  # its connection hangs
        waiting = self.begin(Recipient(token=slow.claim), 0, 1000)
        self.core.clock.advance(awaiting.SETTLING)
        self.assertEqual(downloads.IN_FLIGHT_RETRY, self.refused(Locked, waiting).retry_after)
        slow.go_on()

    def test_strides(self):
        """Of a large file only the next stride is in flight, and what lies behind it can be had by another request."""
        receipt = self.done(self.core.upload(b"x" * 900_000))
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(receipt, recipient))
        (transfer,) = self.core.ledger(receipt).transfers
        self.assertEqual(STRIDE, transfer.reserved)
        rest = self.done(self.core.deliver(receipt, Recipient(), first=STRIDE))
        self.assertEqual(900_000 - STRIDE, len(rest.received))
        recipient.go_on()
        self.assertEqual([ClaimState.DELIVERED], states(self.core, receipt))

    def test_runs_into(self):
        """A transfer that reaches bytes which another has in flight is broken off there."""
        receipt = self.done(self.core.upload(b"x" * 900_000))
        ahead, behind = Recipient().hold_sends(), Recipient().hold_sends()
        result = self.begun(self.core.deliver(receipt, behind))
        self.begun(self.core.deliver(receipt, ahead, first=STRIDE))
        behind.go_on()
        self.done(result)
        self.assertEqual((True, STRIDE), (behind.aborted, len(behind.received)))
        ahead.go_on()
        self.assertEqual([ClaimState.PRESUMED], states(self.core, receipt))


class CancellationTests(CoreTestCase):
    """A client that leaves ends its own waiting, at whatever step, and not our work."""

    def left(self, moment: str, *, at_end: bool) -> tuple[Receipt, Recipient]:
        """Return a drop and the recipient that was cancelled while its download was held at ``moment``."""
        receipt = self.done(self.core.upload())
        recipient = Recipient()
        if at_end:
            recipient.hold_settle()
        else:
            self.core.journal.hold(moment)
        waiting = self.begun(self.core.deliver(receipt, recipient))
        if at_end:
            self.core.journal.hold(moment)
            recipient.go_on()
        waiting.cancel()
        self.refused(CancelledError, waiting)
        self.assertEqual(1, self.core.journal.held(moment))
        self.core.journal.release(moment)
        return receipt, recipient

    def ended(self, receipt: Receipt) -> None:
        """Check that nothing of a download is left, and that stopping does not hang."""
        self.done(self.core.drops.stop())
        self.assertEqual((0, 0), (self.core.row(receipt).live, self.core.running))
        self.assertNotIn(ClaimState.OPEN, states(self.core, receipt))
        self.assertEqual(0, self.core.stored.open_blobs)
        self.assertEqual([], self.core.clock.getDelayedCalls())

    def test_every_step(self):
        """Held before or after any step of a download, it goes on and ends its claim."""
        for step, at_end in (("records.change", False), ("blobs.open", False), ("records.change", True)):
            for side in ("before", "after"):
                self.core = Core()
                receipt, recipient = self.left(f"{side} {step}", at_end=at_end)
                self.assertEqual(b"content", bytes(recipient.received), f"{side} {step}")
                self.ended(receipt)

    def test_release(self):
        """A claim is also taken back for somebody who has left."""
        receipt = self.done(self.core.upload())
        self.core.journal.fail("blobs.open", OSError(5, "bad disk"))
        self.core.journal.hold("before blobs.open")
        waiting = self.begun(self.core.deliver(receipt, Recipient()))
        self.core.journal.hold("before records.change")
        self.core.journal.release("before blobs.open")
        waiting.cancel()
        self.refused(CancelledError, waiting)
        self.core.journal.release("before records.change")
        self.ended(receipt)
        self.assertEqual([], states(self.core, receipt))
        self.assertEqual(1, len(self.flushLoggedErrors(OSError)))

    def test_post(self):
        """A claim that was opened for somebody who has left lasts five seconds."""
        self.core.reaper.start()
        receipt = self.done(self.core.upload())
        visit = self.done(self.core.look(receipt))
        self.core.journal.hold("before records.change")
        waiting = self.begun(self.core.drops.claim(visit))
        waiting.cancel()
        self.refused(CancelledError, waiting)
        self.core.journal.release("before records.change")
        self.assertEqual([ClaimState.SUSPENDED], states(self.core, receipt))
        self.core.elapse(PROBE_WINDOW)
        self.assertEqual(([], 0), (states(self.core, receipt), self.core.row(receipt).live))

    def test_sending(self):
        """Cancelled while a piece is out, the claim ends when the connection does."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_sends()
        waiting = self.begun(self.core.deliver(receipt, recipient))
        waiting.cancel()
        self.refused(CancelledError, waiting)
        self.assertEqual(1, self.core.row(receipt).live)
        recipient.leave()
        self.ended(receipt)
        self.assertEqual([], states(self.core, receipt))

    def test_settling(self):
        """Cancelled while it settles, what settles is still recorded."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_settle()
        waiting = self.begun(self.core.deliver(receipt, recipient))
        waiting.cancel()
        self.refused(CancelledError, waiting)
        recipient.go_on()
        self.ended(receipt)
        self.assertEqual(1, self.core.row(receipt).delivered)

    def test_waiting(self):
        """Cancelled while waiting for somebody else's outcome, nothing of the one who waited stays."""
        receipt = self.done(self.core.upload())
        first = Recipient().hold_settle()
        self.begun(self.core.deliver(receipt, first))
        waiting = self.begun(self.core.deliver(receipt, Recipient()))
        waiting.cancel()
        self.refused(CancelledError, waiting)
        first.go_on()
        self.ended(receipt)
        self.flushLoggedErrors(Gone)

    def test_revoke(self):
        """A revocation goes through although its sender has left."""
        for moment in ("before records.change", "after records.change"):
            self.core = Core()
            receipt = self.done(self.core.upload())
            self.core.journal.hold(moment)
            waiting = self.begun(self.core.drops.revoke(receipt.link, receipt.owner))
            waiting.cancel()
            self.refused(CancelledError, waiting)
            self.core.journal.release(moment)
            self.assertEqual(Reason.REVOKED, self.core.row(receipt).reason)
            self.done(self.core.drops.stop())
