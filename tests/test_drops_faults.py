"""Drops: downloads that break, stores that fail, a process that is killed, and what is remembered."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from filedropd import finding
from filedropd.claims import asking
from filedropd.claims.policy import AFTERMATH, PROBE_WINDOW, STRIDE, Policy
from filedropd.errors import Gone, Locked, NotFound, Unavailable
from filedropd.http.settling import Settlement
from filedropd.model import ClaimState, DropState, Reason
from filedropd.recording import LONGEST
from filedropd.tokens import Token
from filedropd.upload import Receipt
from tests.journal import KilledError
from tests.support import KEPT, OTHER, Core, CoreTestCase, Recipient

PIECE = 256 * 1024
WINDOW = Policy().window


def states(core: Core, receipt: Receipt) -> list[ClaimState]:
    """Return the states of a drop's claims."""
    return [claim.state for claim in core.claims(receipt)]


class BrokenTests(CoreTestCase):
    """What is left after a download that did not arrive."""

    def test_reset(self):
        """After a connection that broke, the file waits for its own recipient, who can have all of it again."""
        receipt = self.done(self.core.upload())
        self.done(self.core.deliver(receipt, Recipient(breaks_at=3)))
        self.assertEqual([ClaimState.SUSPENDED], states(self.core, receipt))
        self.assertEqual(5, self.refused(Locked, self.core.deliver(receipt, Recipient(source=OTHER))).retry_after)
        self.assertEqual(b"content", bytes(self.done(self.core.deliver(receipt, Recipient())).received))
        self.refused(Gone, self.core.look(receipt))

    def test_lapsed(self):
        """When the recipient does not come back in a quarter of an hour, anybody can have the file."""
        receipt = self.done(self.core.upload())
        self.done(self.core.deliver(receipt, Recipient(breaks_at=3)))
        self.core.elapse(WINDOW - 1)
        self.refused(Locked, self.core.deliver(receipt, Recipient(source=OTHER)))
        self.core.elapse(1)
        self.done(self.core.deliver(receipt, Recipient(source=OTHER)))
        self.assertEqual([ClaimState.LAPSED, ClaimState.DELIVERED], states(self.core, receipt))

    def test_taken_up(self):
        """A recipient who comes back later than that goes on with what he has, if nobody else came."""
        receipt = self.done(self.core.upload())
        self.done(self.core.deliver(receipt, Recipient(breaks_at=3, acknowledged=3)))
        self.core.elapse(WINDOW)
        self.assertEqual(b"tent", bytes(self.done(self.core.deliver(receipt, Recipient(), first=3)).received))
        self.assertEqual([ClaimState.DELIVERED], states(self.core, receipt))

    def test_abandoned(self):
        """A copy that was given up after more than half of it, three times, is not given out again."""
        receipt = self.done(self.core.upload())
        for number in range(3):
            self.done(self.core.deliver(receipt, Recipient(breaks_at=4, source=f"192.0.2.{number}\ncurl")))
            self.core.elapse(WINDOW)
        self.assertEqual("abandoned", self.refused(Gone, self.core.deliver(receipt, Recipient())).reason)
        self.assertEqual(["claimed", "broken", "lapsed"] * 3 + ["abandoned"], self.core.touches(receipt))

    def test_taken_for_dead(self):
        """A download that another daemon took for a dead one's is delivered all the same when it has arrived."""
        for quiet in (False, True):
            receipt = self.done(self.core.upload())
            recipient = Recipient(quiet=quiet).hold_settle()
            self.begun(self.core.deliver(receipt, recipient))
            self.done(self.core.reaper.take_over())  # nobody said that this daemon lives
            self.assertEqual([ClaimState.SUSPENDED], states(self.core, receipt))
            recipient.go_on()
            if quiet:
                self.assertEqual([ClaimState.PRESUMED], states(self.core, receipt))
                self.done(self.core.reaper.take_over())
                recipient.close()
            self.assertEqual([ClaimState.DELIVERED], states(self.core, receipt))
            self.refused(Gone, self.core.deliver(receipt, Recipient()))

    @staticmethod
    def all_sent() -> Recipient:
        """Return a recipient to whom all is sent, and whose connection then breaks."""
        recipient = Recipient()
        recipient.outcome = Settlement(acknowledged=0, sent=7, begun=True, complete=False)
        return recipient

    def test_all_sent(self):
        """Of a copy of which all was sent nobody else gets another; its own recipient can have it again until the end."""
        self.core.reaper.start()
        receipt = self.done(self.core.upload())
        for _ in range(2):
            self.done(self.core.deliver(receipt, self.all_sent()))
            self.refused(Locked, self.core.deliver(receipt, Recipient(source=OTHER)))
        self.core.elapse(WINDOW)
        self.assertEqual("delivered", self.refused(Gone, self.core.look(receipt, Recipient())).reason)
        self.assertEqual({}, self.core.stored.published)

    def test_read_then_left(self):
        """Who has acknowledged a part and leaves has that part, and the rest waits for him."""
        receipt = self.done(self.core.upload())
        self.done(self.core.deliver(receipt, Recipient(breaks_at=3, acknowledged=3)))
        (claim,) = self.core.claims(receipt)
        self.assertEqual((ClaimState.SUSPENDED, ((0, 3),), ((0, 3),)), (claim.state, claim.handed, claim.confirmed))
        self.done(self.core.look(receipt))

    def test_resumed(self):
        """A part, and the rest of it, are one delivery under one claim."""
        receipt = self.done(self.core.upload())
        self.done(self.core.deliver(receipt, Recipient(breaks_at=3, acknowledged=3)))
        rest = self.done(self.core.deliver(receipt, Recipient(), first=3))
        self.assertEqual(b"tent", bytes(rest.received))
        self.assertEqual([ClaimState.DELIVERED], states(self.core, receipt))
        self.refused(Gone, self.core.look(receipt))

    def test_hole(self):
        """Parts with a hole between them are no delivery, until the hole is filled."""
        receipt = self.done(self.core.upload())
        self.done(self.core.deliver(receipt, Recipient(), 0, 2))
        self.done(self.core.deliver(receipt, Recipient(), 4, 3))
        self.assertEqual(0, self.core.row(receipt).delivered)
        self.done(self.core.deliver(receipt, Recipient(), 2, 2))
        self.assertEqual((1, Reason.DELIVERED), (self.core.row(receipt).delivered, self.core.row(receipt).reason))

    def test_probe(self):
        """The first byte alone is no download, and keeps others out for five seconds, however often it is asked for."""
        receipt = self.done(self.core.upload(b"x" * 1000))
        for _ in range(5):
            self.done(self.core.deliver(receipt, Recipient(), 0, 1))
            self.core.clock.advance(0.9)
        self.refused(Locked, self.core.deliver(receipt, Recipient(source=OTHER)))
        self.core.clock.advance(0.5)
        self.done(self.core.deliver(receipt, Recipient(source=OTHER)))
        self.assertEqual([ClaimState.LAPSED, ClaimState.DELIVERED], states(self.core, receipt))

    def test_said_complete_of_less(self):
        """A recipient of less than was asked for has not got it all, whatever the connection says."""
        receipt = self.done(self.core.upload())
        recipient = Recipient(breaks_at=3)
        recipient.outcome = Settlement(acknowledged=3, sent=3, begun=True, complete=True)
        self.done(self.core.deliver(receipt, recipient))
        self.assertEqual([ClaimState.SUSPENDED], states(self.core, receipt))

    def test_no_blob(self):
        """If the bytes cannot be opened, the claim is taken back as if it had never been."""
        receipt = self.done(self.core.upload())
        self.core.journal.fail("blobs.open", OSError(5, "bad disk"))
        recipient = Recipient()
        self.refused(OSError, self.core.deliver(receipt, recipient))
        self.assertEqual(([], 0, 0), (self.core.claims(receipt), self.core.row(receipt).live, recipient.begun))
        self.core.journal.mend()
        self.done(self.core.deliver(receipt, recipient))

    def test_deleted_meanwhile(self):
        """If the drop ends between claim and opening, and its bytes are deleted, the answer is that it is gone."""
        self.core.reaper.start()
        receipt = self.done(self.core.upload())
        self.core.journal.hold("before blobs.open")
        waiting = self.begun(self.core.deliver(receipt, Recipient()))
        self.done(self.core.drops.revoke(receipt.link, receipt.owner))
        self.assertEqual(DropState.PURGED, self.core.row(receipt).state)
        self.core.journal.release("before blobs.open")
        self.assertEqual("revoked", self.refused(Gone, waiting).reason)
        self.assertEqual((0, 0), (self.core.row(receipt).live, self.core.running))

    def test_bytes_lost(self):
        """If the bytes are missing under an available drop, that is said and not hidden; no claim stays."""
        receipt = self.done(self.core.upload())
        self.core.stored.published.clear()
        self.refused(FileNotFoundError, self.core.deliver(receipt, Recipient()))
        self.assertEqual((0, 0), (self.core.row(receipt).live, self.core.running))

    def test_read_error(self):
        """If the bytes cannot be read in the middle, the error comes out and the claim waits for its recipient."""
        receipt = self.done(self.core.upload(b"x" * (PIECE + 1)))
        # The first piece is read before the recipient waits; the fault meets the second.
        fault = OSError(5, "bad disk")
        recipient = Recipient(before=lambda: self.core.stored.fail_next("read", fault))
        self.assertIs(fault, self.refused(OSError, self.core.deliver(receipt, recipient)))
        self.assertEqual(PIECE, len(recipient.received))
        self.assertEqual([ClaimState.SUSPENDED], states(self.core, receipt))
        self.assertEqual((0, 0), (self.core.running, self.core.stored.open_blobs))
        self.done(self.core.deliver(receipt, Recipient()))

    def test_no_head(self):
        """If the head cannot be written, the claim ends."""
        receipt = self.done(self.core.upload())

        def begin(claim: Token) -> None:
            raise ValueError("no head")

        visit = self.done(self.core.look(receipt))
        self.refused(ValueError, self.core.drops.deliver(visit, 0, 7, Recipient(), begin))
        self.assertEqual((0, 0, 0), (self.core.row(receipt).live, self.core.running, self.core.stored.open_blobs))


class RecordsAwayTests(CoreTestCase):
    """The records fail, at each of their calls."""

    def setUp(self) -> None:
        super().setUp()
        self.away = Unavailable("away")

    def test_looking(self):
        """Who looks is told, and nothing is remembered of it."""
        receipt = self.done(self.core.upload())
        self.core.journal.fail("records.find", self.away)
        self.refused(Unavailable, self.core.look(receipt))
        self.refused(Unavailable, self.core.drops.status(receipt.link, receipt.owner))
        self.core.journal.mend()
        self.done(self.core.look(receipt))

    def test_status(self):
        """Who asks what became of a drop is told."""
        receipt = self.done(self.core.upload())
        for step in ("records.ledger", "records.events"):
            self.core.journal.fail(step, self.away)
            self.refused(Unavailable, self.core.drops.status(receipt.link, receipt.owner))
            self.core.journal.mend()

    def test_peek(self):
        """Who asks whether the bytes are to be had is told."""
        receipt = self.done(self.core.upload())
        visit = self.done(self.core.look(receipt))
        self.core.journal.fail("records.ledger", self.away)
        self.refused(Unavailable, self.core.drops.peek(visit, 0, 7))

    def test_insert(self):
        """No bytes stay of an upload whose row could not be committed."""
        self.core.journal.fail("records.insert", self.away)
        self.refused(Unavailable, self.core.upload())
        self.assertEqual(({}, {}), (self.core.stored.incoming, self.core.stored.published))

    def test_claim(self):
        """Who would download is told before anything is sent."""
        receipt = self.done(self.core.upload())
        self.core.journal.fail("records.change", self.away)
        recipient = Recipient()
        self.refused(Unavailable, self.core.deliver(receipt, recipient))
        self.assertEqual((0, 0), (recipient.begun, self.core.running))
        self.core.journal.mend()
        self.done(self.core.deliver(receipt, recipient))

    def test_stride(self):
        """While no more can be reserved, no more is sent; what has begun goes on when the records are back."""
        receipt, recipient, result = self.begun_without_records()
        self.assertNoResult(result)
        self.assertEqual(STRIDE, len(recipient.received))
        (transfer,) = self.core.ledger(receipt).transfers
        self.assertEqual(STRIDE, transfer.reserved)
        self.back()
        self.done(result)
        self.assertEqual((3 * STRIDE, False), (len(recipient.received), recipient.aborted))
        self.assertEqual([ClaimState.DELIVERED], states(self.core, receipt))

    def test_stride_stopped(self):
        """A daemon that stops waits no longer: the error comes out, and the claim waits for its recipient."""
        receipt, recipient, result = self.begun_without_records()
        stopped = self.begun(self.core.drops.stop())
        self.core.elapse(LONGEST)
        self.refused(Unavailable, result)
        self.done(stopped)
        self.assertEqual(STRIDE, len(recipient.received))
        self.core.journal.mend()
        self.core.killed()
        self.done(self.core.reaper.recover())
        self.assertEqual([ClaimState.SUSPENDED], states(self.core, receipt))

    def begun_without_records(self) -> tuple[Receipt, Recipient, Deferred[Recipient]]:
        """Return a download of three strides, of which one was sent when the records went away."""
        receipt = self.done(self.core.upload(b"x" * (3 * STRIDE)))
        recipient = Recipient().hold_sends()
        result = self.begun(self.core.deliver(receipt, recipient))
        self.core.journal.fail("records.change", self.away)
        recipient.go_on()
        return receipt, recipient, result

    def back(self) -> None:
        """Let the records be back, and what was kept be recorded."""
        self.core.journal.mend()
        self.core.elapse(LONGEST)
        self.assertEqual(0, self.core.running)

    def test_release(self):
        """If a claim cannot be taken back, it is as soon as the records are back."""
        receipt = self.done(self.core.upload())
        self.core.journal.fail("blobs.open", OSError(5, "bad disk"))
        self.core.journal.hold("before blobs.open")
        result = self.begun(self.core.deliver(receipt, Recipient()))
        self.core.journal.fail("records.change", self.away)
        self.core.journal.release("before blobs.open")
        self.refused(OSError, result)
        self.back()
        self.assertEqual([], self.core.claims(receipt))
        self.done(self.core.drops.stop())

    def unended(self) -> Receipt:
        """Return a drop all of which was sent, of which the records were not told."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_settle()
        result = self.begun(self.core.deliver(receipt, recipient))
        self.core.journal.fail("records.change", self.away)
        recipient.go_on()
        self.done(result)
        self.assertEqual(0, self.core.stored.open_blobs)
        return receipt

    def test_end(self):
        """If a claim's end cannot be recorded, it is kept and recorded when that is possible: nobody gets a second copy."""
        receipt = self.unended()
        self.refused(Unavailable, self.core.deliver(receipt, Recipient(source=OTHER)))
        self.back()
        self.assertEqual("delivered", self.refused(Gone, self.core.look(receipt)).reason)
        self.done(self.core.drops.stop())

    def test_end_never_recorded(self):
        """Stopping tries once more, and does not hang."""
        self.unended()
        stopped = self.begun(self.core.drops.stop())
        self.done(stopped)
        self.assertEqual(0, self.core.running)
        self.flushLoggedErrors(Unavailable)

    def test_end_put_right(self):
        """The next start lets it wait for its recipient; when the time is over, it was delivered."""
        receipt = self.unended()
        self.core.killed()
        self.core.journal.mend()
        self.done(self.core.reaper.recover())
        self.core.reaper.start()
        self.assertEqual([ClaimState.SUSPENDED], states(self.core, receipt))
        self.refused(Locked, self.core.deliver(receipt, Recipient(source=OTHER)))
        self.core.elapse(WINDOW)
        self.assertEqual("delivered", self.refused(Gone, self.core.look(receipt)).reason)

    def test_after_quiet(self):
        """If it cannot be recorded what followed a quiet end, it is later; nobody gets a second copy."""
        receipt = self.done(self.core.upload())
        recipient = self.done(self.core.deliver(receipt, Recipient(quiet=True)))
        self.core.journal.fail("records.change", self.away)
        recipient.reset()
        self.back()
        self.assertEqual("broken", self.core.touches(receipt)[-1])
        self.refused(Gone, self.core.look(receipt, Recipient(source=OTHER)))
        self.done(self.core.drops.stop())

    def test_revoke(self):
        """If a drop's end cannot be recorded, no download is broken off."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(receipt, recipient))
        self.core.journal.fail("records.change", self.away)
        self.refused(Unavailable, self.core.drops.revoke(receipt.link, receipt.owner))
        self.assertFalse(recipient.aborted)
        self.core.journal.mend()
        recipient.go_on()


class QuietTests(CoreTestCase):
    """All arrived, and nothing says whether the recipient read it, but a second of quiet."""

    def setUp(self) -> None:
        super().setUp()
        self.core.reaper.start()
        self.receipt = self.done(self.core.upload())
        self.recipient = self.done(self.core.deliver(self.receipt, Recipient(quiet=True)))

    def test_others(self):
        """For everybody it is gone at once, and yet its bytes are kept."""
        self.assertEqual([ClaimState.PRESUMED], states(self.core, self.receipt))
        for source in (Recipient().source, OTHER):
            error = self.refused(Gone, self.core.deliver(self.receipt, Recipient(source=source)))
            self.assertEqual("delivered", error.reason)
        self.assertEqual(1, len(self.core.stored.published))
        self.assertEqual(0, self.core.journal.counts["cache.set"])

    def test_closed(self):
        """When its connection ends in order, the copy is delivered, and the bytes go."""
        self.recipient.close()
        self.assertEqual([ClaimState.DELIVERED], states(self.core, self.receipt))
        self.assertEqual((DropState.PURGED, {}), (self.core.row(self.receipt).state, self.core.stored.published))

    def test_reset(self):
        """A reset says that he had not read it: he, and nobody else, can have it again."""
        self.recipient.reset()
        self.refused(Gone, self.core.deliver(self.receipt, Recipient(source=OTHER)))
        again = self.done(self.core.deliver(self.receipt, Recipient()))
        self.assertEqual((b"content", {}), (bytes(again.received), self.core.stored.published))
        self.assertEqual(["claimed", "delivered", "broken", "resumed"], self.core.touches(self.receipt))

    def test_reset_and_gone(self):
        """If he does not come back in a quarter of an hour, the bytes go."""
        self.recipient.reset()
        self.core.elapse(WINDOW - 1)
        self.assertEqual(1, len(self.core.stored.published))
        self.core.elapse(1)
        self.assertEqual((DropState.PURGED, {}), (self.core.row(self.receipt).state, self.core.stored.published))

    def test_never(self):
        """If nobody says anything, the bytes go after a minute."""
        self.core.elapse(AFTERMATH)
        self.assertEqual((DropState.PURGED, {}), (self.core.row(self.receipt).state, self.core.stored.published))

    def test_stop(self):
        """Stopping waits until it is written down what followed."""
        stopped = self.begun(self.core.drops.stop())
        self.assertNoResult(stopped)
        self.recipient.close()
        self.done(stopped)
        self.assertEqual([ClaimState.DELIVERED], states(self.core, self.receipt))

    def test_crash(self):
        """After a crash it is not known: it is kept for him for a window more."""
        self.core.killed()
        self.done(self.core.reaper.recover())
        self.core.reaper.start()
        self.refused(Gone, self.core.look(self.receipt, Recipient(source=OTHER)))
        self.assertEqual(b"content", bytes(self.done(self.core.deliver(self.receipt, Recipient())).received))
        self.assertEqual({}, self.core.stored.published)


class RestartTests(CoreTestCase):
    """The process is killed in the middle."""

    def killed_while_sending(self, data: bytes = b"content") -> Receipt:
        """Return a drop of which a part may have been sent when the process was killed."""
        receipt = self.done(self.core.upload(data))
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(receipt, recipient)).addErrback(lambda _: None)
        self.core.killed()
        recipient.leave()
        self.assertEqual((1, 1), (self.core.row(receipt).live, len(self.core.ledger(receipt).transfers)))
        self.done(self.core.reaper.recover())
        return receipt

    def test_while_sending(self):
        """What was being sent waits for its recipient, who can have it again; others are told to come back."""
        receipt = self.killed_while_sending()
        self.assertEqual(
            ([ClaimState.SUSPENDED], ()), (states(self.core, receipt), self.core.ledger(receipt).transfers)
        )
        self.refused(Locked, self.core.deliver(receipt, Recipient(source=OTHER)))
        self.assertEqual(b"content", bytes(self.done(self.core.deliver(receipt, Recipient())).received))
        self.assertEqual(Reason.DELIVERED, self.core.row(receipt).reason)

    def test_nobody_came(self):
        """If he does not come, all of it may have arrived: it counts as delivered, once the window is over."""
        receipt = self.killed_while_sending()
        self.core.elapse(WINDOW)
        self.assertEqual("delivered", self.refused(Gone, self.core.deliver(receipt, Recipient(source=OTHER))).reason)

    def test_a_part_was_sent(self):
        """Of a large file only what was reserved may have arrived: after the window anybody can have it."""
        data = b"x" * (3 * STRIDE)
        receipt = self.killed_while_sending(data)
        self.assertEqual(((0, STRIDE),), self.core.claims(receipt)[0].handed)
        self.core.elapse(WINDOW)
        self.assertEqual(data, bytes(self.done(self.core.deliver(receipt, Recipient(source=OTHER))).received))

    def test_before_any(self):
        """A claim that was opened, and no byte asked for, lasts five seconds, crash or not."""
        receipt = self.done(self.core.upload())
        self.done(self.core.drops.claim(self.done(self.core.look(receipt))))
        self.core.killed()
        self.done(self.core.reaper.recover())
        self.refused(Locked, self.core.deliver(receipt, Recipient(source=OTHER)))
        self.core.elapse(PROBE_WINDOW)
        self.done(self.core.deliver(receipt, Recipient(source=OTHER)))

    def test_upload_between_row_and_bytes(self):
        """An upload whose row was committed is finished by the next start."""
        self.core.journal.hold("before incoming.publish")
        kept = self.begun(self.core.upload(b"content"))
        self.core.killed()
        self.assertEqual({}, self.core.stored.published)
        self.done(self.core.reaper.recover())
        self.assertEqual([b"content"], list(self.core.stored.published.values()))
        self.refused(KilledError, kept)

    def test_upload_before_row(self):
        """An upload whose row was not committed leaves nothing."""
        self.core.journal.hold("before records.insert")
        kept = self.begun(self.core.upload())
        self.core.killed()
        self.done(self.core.reaper.recover())
        self.assertEqual(({}, {}), (self.core.stored.published, self.core.stored.left))
        self.refused(KilledError, kept)


class CacheTests(CoreTestCase):
    """Only what cannot change is remembered."""

    def finds(self) -> int:
        """Return how often the records were asked for a drop."""
        return self.core.journal.counts["records.find"]

    def test_never_there(self):
        """The second time within a minute, nobody asks the records for what was never there."""
        link = Token("0" * 32)
        for _ in range(3):
            self.refused(NotFound, self.core.drops.look(asking.Recipient(link=link), None))
        self.assertEqual(1, self.finds())
        self.core.clock.advance(finding.CACHE_NEVER)
        self.refused(NotFound, self.core.drops.look(asking.Recipient(link=link), None))
        self.assertEqual(2, self.finds())

    def test_gone(self):
        """Nor for what is gone, whose reason is remembered too."""
        receipt = self.done(self.core.upload())
        self.done(self.core.drops.revoke(receipt.link, receipt.owner))
        self.refused(Gone, self.core.look(receipt))
        before = self.finds()
        for _ in range(3):
            self.assertEqual("revoked", self.refused(Gone, self.core.look(receipt)).reason)
        self.assertEqual(before, self.finds())

    def test_available(self):
        """What is available is never remembered: it is asked for each time."""
        receipt = self.done(self.core.upload())
        for _ in range(3):
            self.done(self.core.look(receipt))
        self.assertEqual((3, 0), (self.finds(), self.core.journal.counts["cache.set"]))

    def test_locked(self):
        """That somebody is downloading is not remembered."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(receipt, recipient))
        self.refused(Locked, self.core.deliver(receipt, Recipient(source=OTHER)))
        recipient.leave()
        self.done(self.core.deliver(receipt, Recipient(source=OTHER)))

    def test_kept_for_somebody(self):
        """Nor is it what is gone for some, and kept for another."""
        receipt = self.done(self.core.upload())
        recipient = self.done(self.core.deliver(receipt, Recipient(quiet=True)))
        self.refused(Gone, self.core.look(receipt, Recipient(source=OTHER)))
        self.assertEqual(0, self.core.journal.counts["cache.set"])
        recipient.close()
        self.refused(Gone, self.core.look(receipt, Recipient(source=OTHER)))
        self.assertEqual(1, self.core.journal.counts["cache.set"])

    def test_clock_put_back(self):
        """That a drop's time is over by a clock that was wrong hides nothing once the clock is right again."""
        receipt = self.done(self.core.upload())
        self.core.wall.jump(KEPT)
        self.refused(Gone, self.core.look(receipt))
        self.refused(Gone, self.core.deliver(receipt, Recipient()))
        self.core.wall.jump(-KEPT)
        self.assertEqual(receipt.drop, self.done(self.core.look(receipt)).drop)

    def test_owner(self):
        """The owner is told what the records say, whatever is remembered."""
        receipt = self.done(self.core.upload())
        self.done(self.core.drops.revoke(receipt.link, receipt.owner))
        self.refused(Gone, self.core.look(receipt))
        standing = self.done(self.core.drops.status(receipt.link, receipt.owner))
        self.assertEqual(Reason.REVOKED, standing.ledger.drop.reason)
