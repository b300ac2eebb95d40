"""Drops: downloads that break, stores that fail, a process that is killed, and what is remembered."""

from __future__ import annotations

from filedropd import drops
from filedropd.errors import Gone, Locked, NotFound, Unavailable
from filedropd.http.settling import Settlement
from filedropd.model import ClaimState, DropState, Reason
from filedropd.tokens import Token
from filedropd.upload import Receipt
from tests.journal import KilledError
from tests.support import KEPT, Core, CoreTestCase, Recipient

PIECE = 256 * 1024


def states(core: Core, receipt: Receipt) -> list[ClaimState]:
    """Return the states of a drop's claims."""
    return [claim.state for claim in core.claims(receipt)]


class BrokenTests(CoreTestCase):
    """What is left after a download that did not arrive."""

    def test_reset(self):
        """After a connection that broke with nothing acknowledged, the file can be had again."""
        receipt = self.done(self.core.upload())
        self.done(self.core.deliver(receipt, Recipient(breaks_at=3)))
        self.assertEqual([ClaimState.BROKEN], states(self.core, receipt))
        self.assertEqual(b"content", bytes(self.done(self.core.deliver(receipt, Recipient())).received))
        self.refused(Gone, self.core.drops.look(receipt.link, None))

    def test_read_then_left(self):
        """Who has acknowledged a part and leaves has that part, and the file can be had again."""
        receipt = self.done(self.core.upload())
        self.done(self.core.deliver(receipt, Recipient(breaks_at=3, acknowledged=3)))
        (claim,) = self.core.claims(receipt)
        self.assertEqual((ClaimState.PART, 3), (claim.state, claim.acknowledged))
        self.done(self.core.drops.look(receipt.link, None))

    def test_resumed(self):
        """A part, and the rest of it, are one delivery."""
        receipt = self.done(self.core.upload())
        self.done(self.core.deliver(receipt, Recipient(breaks_at=3, acknowledged=3)))
        rest = self.done(self.core.deliver(receipt, Recipient(), first=3))
        self.assertEqual(b"tent", bytes(rest.received))
        self.assertEqual([ClaimState.DELIVERED] * 2, states(self.core, receipt))
        self.refused(Gone, self.core.drops.look(receipt.link, None))

    def test_hole(self):
        """Parts with a hole between them are no delivery, until the hole is filled."""
        receipt = self.done(self.core.upload())
        self.done(self.core.deliver(receipt, Recipient(), 0, 2))
        self.done(self.core.deliver(receipt, Recipient(), 4, 3))
        self.assertEqual(0, self.core.row(receipt).delivered)
        self.done(self.core.deliver(receipt, Recipient(), 2, 2))
        self.assertEqual((1, Reason.DELIVERED), (self.core.row(receipt).delivered, self.core.row(receipt).reason))

    def test_probe(self):
        """The first byte alone is no download."""
        receipt = self.done(self.core.upload())
        for _ in range(5):
            self.done(self.core.deliver(receipt, Recipient(), 0, 1))
        self.assertEqual((0, 0), (self.core.row(receipt).delivered, self.core.row(receipt).live))

    def test_said_complete_of_less(self):
        """A recipient of less than was asked for has not got it all, whatever the connection says."""
        receipt = self.done(self.core.upload())
        recipient = Recipient(breaks_at=3)
        recipient.outcome = Settlement(acknowledged=3, complete=True)
        self.done(self.core.deliver(receipt, recipient))
        self.assertEqual([ClaimState.PART], states(self.core, receipt))

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
        self.core.clock.pump([60] * 61)
        self.assertEqual(DropState.PURGED, self.core.row(receipt).state)
        self.core.journal.release("before blobs.open")
        self.assertEqual("expired", self.refused(Gone, waiting).reason)
        self.assertEqual(0, self.core.row(receipt).live)

    def test_bytes_lost(self):
        """If the bytes are missing under an available drop, that is said and not hidden; no claim stays."""
        receipt = self.done(self.core.upload())
        self.core.stored.published.clear()
        self.refused(FileNotFoundError, self.core.deliver(receipt, Recipient()))
        self.assertEqual((0, 0), (self.core.row(receipt).live, self.core.running))

    def test_read_error(self):
        """If the bytes cannot be read in the middle, the error comes out and the claim ends as broken."""
        receipt = self.done(self.core.upload(b"x" * (PIECE + 1)))
        # The first piece is read before the recipient waits; the fault meets the second.
        fault = OSError(5, "bad disk")
        recipient = Recipient(before=lambda: self.core.stored.fail_next("read", fault))
        self.assertIs(fault, self.refused(OSError, self.core.deliver(receipt, recipient)))
        self.assertEqual(PIECE, len(recipient.received))
        self.assertEqual([ClaimState.BROKEN], states(self.core, receipt))
        self.assertEqual((0, 0), (self.core.running, self.core.stored.open_blobs))
        self.done(self.core.deliver(receipt, Recipient()))

    def test_no_head(self):
        """If the head cannot be written, the claim ends."""
        receipt = self.done(self.core.upload())

        def begin() -> None:
            raise ValueError("no head")

        self.refused(ValueError, self.core.drops.deliver(receipt.drop, 0, 7, Recipient(), begin))
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
        self.refused(Unavailable, self.core.drops.look(receipt.link, None))
        self.refused(Unavailable, self.core.drops.status(receipt.link, receipt.owner))
        self.core.journal.mend()
        self.done(self.core.drops.look(receipt.link, None))

    def test_status(self):
        """Who asks for the claims is told."""
        receipt = self.done(self.core.upload())
        self.core.journal.fail("records.claims", self.away)
        self.refused(Unavailable, self.core.drops.status(receipt.link, receipt.owner))

    def test_insert(self):
        """No bytes stay of an upload whose row could not be committed."""
        self.core.journal.fail("records.insert", self.away)
        self.refused(Unavailable, self.core.upload())
        self.assertEqual(({}, {}), (self.core.stored.incoming, self.core.stored.published))

    def test_claim(self):
        """Who would download is told before anything is sent."""
        receipt = self.done(self.core.upload())
        self.core.journal.fail("records.open_claim", self.away)
        recipient = Recipient()
        self.refused(Unavailable, self.core.deliver(receipt, recipient))
        self.assertEqual((0, 0), (recipient.begun, self.core.running))
        self.core.journal.mend()
        self.done(self.core.deliver(receipt, recipient))

    def test_second_look(self):
        """Who is refused a claim, and the records then fail, is told that."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(receipt, recipient))
        self.core.journal.fail("records.find", self.away)
        self.refused(Unavailable, self.core.deliver(receipt, Recipient()))
        self.assertEqual(1, self.core.running)
        recipient.go_on()

    def test_release(self):
        """If a claim cannot be taken back, that comes out, and nothing believes that bytes are on their way."""
        receipt = self.done(self.core.upload())
        self.core.journal.fail("blobs.open", OSError(5, "bad disk"))
        self.core.journal.fail("records.release_claim", self.away)
        self.refused(Unavailable, self.core.deliver(receipt, Recipient()))
        self.assertEqual(0, self.core.running)
        self.done(self.core.drops.stop())

    def test_end(self):
        """If a claim's end cannot be recorded, the error comes out, all is closed, and nobody gets a second copy."""
        receipt = self.done(self.core.upload())
        self.core.journal.fail("records.end_claim", self.away)
        self.refused(Unavailable, self.core.deliver(receipt, Recipient()))
        self.assertEqual((0, 0), (self.core.running, self.core.stored.open_blobs))
        self.core.journal.mend()
        self.refused(Locked, self.core.deliver(receipt, Recipient()))
        self.done(self.core.drops.stop())

    def test_end_put_right(self):
        """The next start then counts it as delivered."""
        receipt = self.done(self.core.upload())
        self.core.journal.fail("records.end_claim", self.away)
        self.refused(Unavailable, self.core.deliver(receipt, Recipient()))
        self.core.killed()
        self.done(self.core.reaper.recover())
        self.assertEqual("delivered", self.refused(Gone, self.core.drops.look(receipt.link, None)).reason)

    def test_revoke(self):
        """If a drop's end cannot be recorded, no download is broken off."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(receipt, recipient))
        self.core.journal.fail("records.end", self.away)
        self.refused(Unavailable, self.core.drops.revoke(receipt.link, receipt.owner))
        self.assertFalse(recipient.aborted)
        recipient.go_on()


class RestartTests(CoreTestCase):
    """The process is killed in the middle."""

    def test_while_sending(self):
        """What was being sent counts as delivered: nobody knows better."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(receipt, recipient)).addErrback(lambda _: None)
        self.core.killed()
        recipient.leave()
        self.assertEqual(1, self.core.row(receipt).live)
        self.done(self.core.reaper.recover())
        row = self.core.row(receipt)
        self.assertEqual((0, 1, Reason.DELIVERED), (row.live, row.delivered, row.reason))

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
            self.refused(NotFound, self.core.drops.look(link, None))
        self.assertEqual(1, self.finds())
        self.core.clock.advance(drops.CACHE_NEVER)
        self.refused(NotFound, self.core.drops.look(link, None))
        self.assertEqual(2, self.finds())

    def test_gone(self):
        """Nor for what is gone, whose reason is remembered too."""
        receipt = self.done(self.core.upload())
        self.done(self.core.drops.revoke(receipt.link, receipt.owner))
        self.refused(Gone, self.core.drops.look(receipt.link, None))
        before = self.finds()
        for _ in range(3):
            self.assertEqual("revoked", self.refused(Gone, self.core.drops.look(receipt.link, None)).reason)
        self.assertEqual(before, self.finds())

    def test_available(self):
        """What is available is never remembered: it is asked for each time."""
        receipt = self.done(self.core.upload())
        for _ in range(3):
            self.done(self.core.drops.look(receipt.link, None))
        self.assertEqual((3, 0), (self.finds(), self.core.journal.counts["cache.set"]))

    def test_locked(self):
        """That somebody is downloading is not remembered."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(receipt, recipient))
        self.refused(Locked, self.core.deliver(receipt, Recipient()))
        recipient.leave()
        self.done(self.core.deliver(receipt, Recipient()))

    def test_clock_put_back(self):
        """That a drop's time is over by a clock that was wrong hides nothing once the clock is right again."""
        receipt = self.done(self.core.upload())
        self.core.wall.jump(KEPT)
        self.refused(Gone, self.core.drops.look(receipt.link, None))
        self.refused(Gone, self.core.deliver(receipt, Recipient()))
        self.core.wall.jump(-KEPT)
        self.assertEqual(receipt.drop, self.done(self.core.drops.look(receipt.link, None)))

    def test_owner(self):
        """The owner is told what the records say, whatever is remembered."""
        receipt = self.done(self.core.upload())
        self.done(self.core.drops.revoke(receipt.link, receipt.owner))
        self.refused(Gone, self.core.drops.look(receipt.link, None))
        drop, _ = self.done(self.core.drops.status(receipt.link, receipt.owner))
        self.assertEqual(Reason.REVOKED, drop.reason)
