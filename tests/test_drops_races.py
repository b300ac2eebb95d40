"""Drops: many at once for one copy, and clients that leave."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from filedropd import drops
from filedropd.errors import Gone, Locked
from filedropd.model import ClaimState, Reason
from filedropd.upload import Receipt
from tests.support import Core, CoreTestCase, Recipient


def states(core: Core, receipt: Receipt) -> list[ClaimState]:
    """Return the states of a drop's claims."""
    return [claim.state for claim in core.claims(receipt)]


class RaceTests(CoreTestCase):
    """Many at once for one copy."""

    def race(
        self, receipt: Receipt, runners: int = 64, *, settle: bool = False
    ) -> tuple[list[Recipient], list[Deferred[Recipient]]]:
        """Let so many ask at once, all held while sending, or while settling."""
        recipients = [Recipient() for _ in range(runners)]
        for recipient in recipients:
            _ = recipient.hold_settle() if settle else recipient.hold_sends()
        return recipients, [self.begun(self.core.deliver(receipt, recipient)) for recipient in recipients]

    def test_one_sends(self):
        """Of 64 at once one is given the copy; the others are told at once that somebody has it."""
        receipt = self.done(self.core.upload())
        recipients, results = self.race(receipt)
        self.assertEqual([1] + [0] * 63, [recipient.begun for recipient in recipients])
        for result in results[1:]:
            self.assertEqual(drops.LOCKED_RETRY, self.refused(Locked, result).retry_after)
        recipients[0].go_on()
        self.done(results[0])
        self.assertEqual(b"content", bytes(recipients[0].received))

    def test_race_to_the_claim(self):
        """Where all 64 ask the records before any has an answer, one is given the copy all the same."""
        receipt = self.done(self.core.upload())
        self.core.journal.hold("before records.open_claim")
        recipients, results = self.race(receipt)
        self.assertEqual(64, self.core.journal.held("before records.open_claim"))
        self.core.journal.release("before records.open_claim")
        self.assertEqual(1, sum(recipient.begun for recipient in recipients))
        for result, recipient in zip(results, recipients, strict=True):
            if not recipient.begun:
                self.refused(Locked, result)
            recipient.go_on()

    def test_settling_then_gone(self):
        """Who meets a copy that settles waits for its outcome: all of it arrived, so the drop is gone."""
        receipt = self.done(self.core.upload())
        recipients, results = self.race(receipt, settle=True)
        for result in results:
            self.assertNoResult(result)
        recipients[0].go_on()
        self.done(results[0])
        for result in results[1:]:
            self.assertEqual("delivered", self.refused(Gone, result).reason)
        self.assertEqual(1, sum(recipient.begun for recipient in recipients))

    def test_settling_then_broken(self):
        """If what settled was broken, one of those who waited is given the copy."""
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

    def test_ending(self):
        """A copy whose end is being committed is still one to wait for."""
        receipt = self.done(self.core.upload())
        self.core.journal.hold("before records.end_claim")
        self.begun(self.core.deliver(receipt, Recipient()))
        second = self.begun(self.core.deliver(receipt, Recipient()))
        self.assertNoResult(second)
        self.core.journal.release("before records.end_claim")
        self.refused(Gone, second)

    def test_patience(self):
        """Nobody waits longer than a copy may take to settle; then he is asked to come back in a second."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_settle()
        first = self.begun(self.core.deliver(receipt, recipient))
        second = self.begun(self.core.deliver(receipt, Recipient()))
        self.core.clock.advance(drops.SETTLING - 0.01)
        self.assertNoResult(second)
        self.core.clock.advance(0.01)
        self.assertEqual(1, self.refused(Locked, second).retry_after)
        recipient.go_on()
        self.done(first)

    def test_several_copies(self):
        """With several copies as many go out at once."""
        receipt = self.done(self.core.upload(downloads=3))
        recipients, results = self.race(receipt, 10)
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

    def test_freed_meanwhile(self):
        """A copy that is given back between the refused claim and the second look is claimed after all."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(receipt, recipient))
        self.core.journal.hold("after records.open_claim")
        second = Recipient()
        waiting = self.begun(self.core.deliver(receipt, second))
        recipient.leave()
        self.core.journal.release("after records.open_claim")
        self.done(waiting)
        self.assertEqual(b"content", bytes(second.received))

    def test_locked(self):
        """While all copies that are left are out, the drop says that it is locked."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(receipt, recipient))
        self.assertTrue(self.core.drops.locked(self.core.row(receipt)))
        recipient.leave()
        self.assertFalse(self.core.drops.locked(self.core.row(receipt)))


class CancellationTests(CoreTestCase):
    """A client that leaves ends its own waiting, at whatever step, and not our work."""

    def left(self, moment: str) -> tuple[Receipt, Recipient]:
        """Return a drop and the recipient that was cancelled while its download was held at ``moment``."""
        receipt = self.done(self.core.upload())
        self.core.journal.hold(moment)
        recipient = Recipient()
        waiting = self.begun(self.core.deliver(receipt, recipient))
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
        for step in ("records.open_claim", "blobs.open", "records.end_claim"):
            for side in ("before", "after"):
                self.core = Core()
                receipt, recipient = self.left(f"{side} {step}")
                self.assertEqual(b"content", bytes(recipient.received), f"{side} {step}")
                self.ended(receipt)

    def test_release(self):
        """A claim is also taken back for somebody who has left."""
        receipt = self.done(self.core.upload())
        self.core.journal.fail("blobs.open", OSError(5, "bad disk"))
        self.core.journal.hold("before records.release_claim")
        waiting = self.begun(self.core.deliver(receipt, Recipient()))
        waiting.cancel()
        self.refused(CancelledError, waiting)
        self.core.journal.release("before records.release_claim")
        self.ended(receipt)
        self.assertEqual(1, len(self.flushLoggedErrors(OSError)))

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
        self.assertEqual([ClaimState.BROKEN], states(self.core, receipt))

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
        for moment in ("before records.end", "after records.end"):
            self.core = Core()
            receipt = self.done(self.core.upload())
            self.core.journal.hold(moment)
            waiting = self.begun(self.core.drops.revoke(receipt.link, receipt.owner))
            waiting.cancel()
            self.refused(CancelledError, waiting)
            self.core.journal.release(moment)
            self.assertEqual(Reason.REVOKED, self.core.row(receipt).reason)
            self.done(self.core.drops.stop())
