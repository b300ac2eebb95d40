"""A whole drop, handed over in one transaction to somebody who shows nothing."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from filedropd.awaiting import SETTLING
from filedropd.claims import asking
from filedropd.errors import Gone, Locked, NotFound, Unavailable
from filedropd.model import Drop
from filedropd.tokens import Token
from filedropd.upload import Receipt
from tests.support import KEPT, Core, CoreTestCase, Recipient

OTHER = "198.51.100.7\ncurl"


class WholeTests(CoreTestCase):
    """It is handed over, or it has to be looked at first and nothing was done."""

    def whole(self, link: Token, recipient: Recipient | None = None) -> Deferred[bool]:
        """Ask for all of a drop."""
        recipient = recipient or Recipient()
        who = asking.Recipient(link=link, token=None, source=recipient.source)

        def begin(drop: Drop, claim: Token) -> None:
            self.begun_with = drop
            recipient.begin(claim)

        return self.begun(self.core.drops.deliver_whole(who, recipient, begin))

    def refused_whole(self, receipt: Receipt) -> None:
        """It has to be looked at first, and nothing was done."""
        before = self.core.ledger(receipt)
        self.assertFalse(self.done(self.whole(receipt.link)))
        self.assertEqual((before, []), (self.core.ledger(receipt), self.core.touches(receipt)))

    def test_delivered(self):
        """One transaction claims it, one ends it, and it is gone."""
        receipt = self.done(self.core.upload(b"content"))
        self.core.journal.steps.clear()
        recipient = Recipient()
        self.assertTrue(self.done(self.whole(receipt.link, recipient)))
        self.assertEqual((b"content", 1), (bytes(recipient.received), recipient.begun))
        self.assertEqual(receipt.drop.blob, self.begun_with.blob)
        asked = [step for step in self.core.journal.steps if step.startswith("records.")]
        self.assertEqual(["records.change", "records.change"], asked)
        self.assertEqual(["claimed", "delivered"], self.core.touches(receipt))

    def test_empty(self):
        """An empty one is handed over like any other."""
        receipt = self.done(self.core.upload(b""))
        self.assertTrue(self.done(self.whole(receipt.link)))
        self.assertEqual(["claimed", "delivered"], self.core.touches(receipt))

    def test_expired(self):
        """One whose time is over is not, and that is not written down either."""
        receipt = self.done(self.core.upload())
        self.core.clock.advance(KEPT)
        self.refused_whole(receipt)

    def test_never_there(self):
        """There is nothing to hand over where nothing is."""
        receipt = self.done(self.core.upload())
        unknown = Token.mint(lambda n: b"\7" * n)
        self.assertFalse(self.done(self.whole(unknown)))
        self.assertEqual([], self.core.touches(receipt))

    def test_remembered(self):
        """What is known to be gone, or never to have been there, needs no transaction."""
        receipt = self.done(self.core.upload())
        unknown = Token.mint(lambda n: b"\7" * n)
        self.done(self.core.drops.revoke(receipt.link, receipt.owner))
        for link, kind in ((receipt.link, Gone), (unknown, NotFound)):
            self.refused(kind, self.core.drops.view(link))
            self.core.journal.steps.clear()
            self.refused(kind, self.whole(link))
            self.assertEqual([], [step for step in self.core.journal.steps if step.startswith("records.")])

    def test_taken(self):
        """Somebody else's is not handed over."""
        receipt = self.done(self.core.upload())
        first = Recipient().hold_sends()
        self.whole(receipt.link, first)
        self.assertFalse(self.done(self.whole(receipt.link, Recipient(source=OTHER))))
        first.go_on()

    def test_settling(self):
        """While the last copy settles its outcome is waited for: gone, and nothing was asked of the records."""
        receipt = self.done(self.core.upload())
        first = Recipient().hold_settle()
        self.whole(receipt.link, first)
        second = self.whole(receipt.link, Recipient(source=OTHER))
        self.assertNoResult(second)
        self.core.journal.steps.clear()
        first.go_on()
        self.assertFalse(self.done(second))
        self.refused(Gone, self.core.look(receipt))

    def test_settling_breaks(self):
        """If it breaks, it is for him who has the claim to go on with it."""
        receipt = self.done(self.core.upload())
        first = Recipient().hold_settle()
        self.whole(receipt.link, first)
        second = self.whole(receipt.link, Recipient())
        first.leave(3)
        self.assertTrue(self.done(second))
        self.assertEqual(1, self.core.row(receipt).delivered)

    def test_settling_long(self):
        """If that takes long, he is told to come again."""
        receipt = self.done(self.core.upload())
        first = Recipient().hold_settle()
        self.whole(receipt.link, first)
        second = self.whole(receipt.link, Recipient(source=OTHER))
        self.core.clock.advance(SETTLING)
        self.refused(Locked, second)
        first.go_on()

    def test_settling_long_beside_his_own(self):
        """If it takes long, who has a copy of his own to go on with goes on with it."""
        receipt = self.done(self.core.upload(downloads=2))
        self.done(self.whole(receipt.link, Recipient(breaks_at=3)))
        first = Recipient(source=OTHER).hold_settle()
        self.whole(receipt.link, first)
        second = self.whole(receipt.link, Recipient())
        self.assertNoResult(second)
        self.core.clock.advance(SETTLING)
        self.assertTrue(self.done(second))
        first.go_on()
        self.assertEqual(2, self.core.row(receipt).delivered)

    def test_settling_past_the_end(self):
        """Once its time is over nobody waits: it is gone for everybody else."""
        receipt = self.done(self.core.upload())
        first = Recipient().hold_settle()
        self.whole(receipt.link, first)
        self.core.clock.advance(KEPT)
        self.assertFalse(self.done(self.whole(receipt.link, Recipient(source=OTHER))))
        first.go_on()

    def test_other_copies(self):
        """While another copy is free nobody waits."""
        receipt = self.done(self.core.upload(downloads=2))
        first = Recipient().hold_settle()
        self.whole(receipt.link, first)
        self.assertTrue(self.done(self.whole(receipt.link, Recipient(source=OTHER))))
        first.go_on()
        self.assertEqual(2, self.core.row(receipt).delivered)

    def test_records_away(self):
        """If it is not known whether it was granted, it is taken back, and nothing was sent."""
        receipt = self.done(self.core.upload())
        self.core.journal.fail("records.change", Unavailable("away"))
        recipient = Recipient()
        self.refused(Unavailable, self.whole(receipt.link, recipient))
        self.core.journal.mend()
        self.core.clock.advance(60)
        self.assertEqual((0, []), (recipient.begun, self.core.claims(receipt)))
        self.done(self.core.drops.stop())

    def test_left(self):
        """Who leaves while it is handed over ends his waiting, and what became of it is written down."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_sends()
        whole = self.whole(receipt.link, recipient)
        whole.addErrback(lambda _: None)
        whole.cancel()
        recipient.leave()
        self.assertEqual(["claimed"], self.core.touches(receipt)[:1])
        self.assertEqual(0, self.core.running)


class PasswordTests(TestCase):
    """A drop with a password."""

    async def test_password(self):
        """It is not handed over, and nothing was done."""
        core = Core()
        core.passwords.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(core.passwords.stop()))
        receipt = await core.upload(password=b"secret")
        recipient = Recipient()
        who = asking.Recipient(link=receipt.link, token=None, source=recipient.source)
        self.assertFalse(await core.drops.deliver_whole(who, recipient, lambda _, claim: recipient.begin(claim)))
        self.assertEqual((0, [], []), (recipient.begun, core.touches(receipt), core.claims(receipt)))
