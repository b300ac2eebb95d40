"""Drops: what is promised of them, and in which order."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from filedropd.claims import asking
from filedropd.claims.policy import Policy
from filedropd.drops import READY_WITHIN
from filedropd.errors import Gone, NotFound, OwnerRequired, PasswordRequired, Unavailable
from filedropd.model import ClaimState, DropState, Reason
from filedropd.reaper import TOMBSTONE
from filedropd.tokens import Token, claim_token
from filedropd.upload import Receipt
from tests.support import KEPT, OTHER, Core, CoreTestCase, Recipient

PIECE = 256 * 1024
WINDOW = Policy().window


class LifeTests(CoreTestCase):
    """From an upload to the end."""

    def test_kept(self):
        """What was uploaded is there to be looked at, under the terms that were asked for."""
        receipt = self.done(self.core.upload(b"content", downloads=3))
        drop = self.done(self.core.look(receipt)).drop
        self.assertEqual(receipt.drop, drop)
        self.assertEqual(
            ("name.txt", "text/plain", 7, 3, self.core.wall() + KEPT),
            (drop.name, drop.content_type, drop.size, drop.downloads, drop.expires_at),
        )

    def test_secrets(self):
        """What is stored of the two tokens leads back to neither."""
        receipt = self.done(self.core.upload())
        self.assertEqual((receipt.link.key, receipt.owner.key), (receipt.drop.key, receipt.drop.owner_key))
        self.assertNotIn(receipt.link.text, repr(self.core.row(receipt)))
        self.assertNotIn(receipt.owner.text, repr(self.core.row(receipt)))

    def test_delivered(self):
        """A download hands over the bytes, and the drop is gone."""
        receipt = self.done(self.core.upload(b"content"))
        recipient = self.done(self.core.deliver(receipt, Recipient()))
        self.assertEqual((b"content", 1), (bytes(recipient.received), recipient.begun))
        self.assertEqual("delivered", self.refused(Gone, self.core.look(receipt)).reason)

    def test_bytes_go(self):
        """Once a drop is delivered, the reaper deletes its bytes at once, and the tombstone tells why."""
        self.core.reaper.start()
        receipt = self.done(self.core.upload())
        self.done(self.core.deliver(receipt, Recipient()))
        self.assertEqual({}, self.core.stored.published)
        row = self.core.row(receipt)
        self.assertEqual((DropState.PURGED, Reason.DELIVERED), (row.state, row.reason))

    def test_forgotten(self):
        """After its time as a tombstone a drop was never there."""
        self.core.reaper.start()
        receipt = self.done(self.core.upload())
        self.done(self.core.deliver(receipt, Recipient()))
        self.core.wall.jump(TOMBSTONE)
        self.core.clock.advance(60)
        self.refused(NotFound, self.core.drops.status(receipt.link, receipt.owner))

    def test_times(self):
        """With ``downloads`` N there are N copies, and not one more."""
        receipt = self.done(self.core.upload(downloads=3))
        for _ in range(3):
            self.done(self.core.deliver(receipt, Recipient()))
        late = Recipient()
        self.refused(Gone, self.core.deliver(receipt, late))
        self.assertEqual((0, b""), (late.begun, bytes(late.received)))
        self.assertEqual(3, self.core.row(receipt).delivered)

    def test_empty(self):
        """A file of no bytes is delivered once too."""
        receipt = self.done(self.core.upload(b""))
        self.assertEqual(1, self.done(self.core.deliver(receipt, Recipient())).begun)
        self.refused(Gone, self.core.deliver(receipt, Recipient()))

    def test_large(self):
        """A file of many pieces arrives as it was sent."""
        data = bytes(range(256)) * 3000
        receipt = self.done(self.core.upload(data))
        self.assertEqual(data, bytes(self.done(self.core.deliver(receipt, Recipient())).received))

    def test_blob_closed(self):
        """Whatever becomes of a download, the blob is closed."""
        receipt = self.done(self.core.upload(downloads=2))
        self.done(self.core.deliver(receipt, Recipient()))
        self.done(self.core.deliver(receipt, Recipient(breaks_at=2)))
        self.assertEqual(0, self.core.stored.open_blobs)

    def test_never_there(self):
        """A link that leads nowhere is not found, for whatever is asked of it."""
        link = Token("0" * 32)
        self.refused(NotFound, self.core.drops.look(asking.Recipient(link=link), None))
        self.refused(NotFound, self.core.drops.view(link))
        self.refused(NotFound, self.core.drops.status(link, None))
        self.refused(NotFound, self.core.drops.revoke(link, None))

    def test_forgotten_before_claim(self):
        """A drop that is forgotten between look and claim is not found."""
        receipt = self.done(self.core.upload())
        visit = self.done(self.core.look(receipt))
        drops, recipient = Core().drops, Recipient()
        self.refused(NotFound, drops.deliver(visit, 0, 7, recipient, recipient.begin))
        self.refused(NotFound, drops.claim(visit))
        self.refused(NotFound, drops.peek(visit, 0, 7))
        self.assertEqual(0, recipient.begun)

    def test_ready(self):
        """Drops are ready when both of their stores are."""
        self.done(self.core.drops.ready())
        for step in ("records.ping", "blobs.ping"):
            self.core.journal.fail(step, Unavailable("away"))
            self.refused(Unavailable, self.core.drops.ready())
            self.core.journal.mend()

    def test_ready_in_time(self):
        """Whoever asks whether they are is not kept waiting by a store that stands still."""
        for moment in ("before records.ping", "before blobs.ping"):
            self.core.journal.hold(moment)
            asking = Deferred.fromCoroutine(self.core.drops.ready())
            self.core.clock.advance(READY_WITHIN - 0.1)
            self.assertNoResult(asking)
            self.core.clock.advance(0.1)
            self.failureResultOf(asking, Unavailable)
            self.core.journal.release(moment)


class OrderTests(CoreTestCase):
    """Each step is durable before the next one has an effect."""

    def test_upload(self):
        """Bytes are sealed, then the row is committed, then they are published, then the sender is told."""
        self.done(self.core.upload())
        self.assertEqual(
            ["incoming.write", "incoming.seal", "records.insert", "incoming.publish"],
            [step for step in self.core.journal.steps if step.startswith(("incoming", "records"))],
        )

    def test_not_told_before_row(self):
        """While the row is not committed, nothing is published and the sender is told nothing."""
        self.core.journal.hold("before records.insert")
        kept = self.begun(self.core.upload())
        self.assertEqual({}, self.core.stored.published)
        self.assertNoResult(kept)
        self.core.journal.release("before records.insert")
        self.assertIn(self.done(kept).drop.blob, self.core.stored.published)

    def test_claim_before_bytes(self):
        """When the first byte is sent the claim is in the records, and the head was not written before it."""
        seen: list[tuple[ClaimState, int, int]] = []
        receipt = self.done(self.core.upload())

        def look() -> None:
            ledger = self.core.ledger(receipt)
            (claim,), (transfer,) = ledger.claims, ledger.transfers
            seen.append((claim.state, ledger.drop.live, transfer.reserved))

        self.done(self.core.deliver(receipt, Recipient(before=look)))
        self.assertEqual([(ClaimState.OPEN, 1, 7)], seen)

    def test_no_head_before_claim(self):
        """While the claim is not committed, not even the head is written."""
        receipt = self.done(self.core.upload())
        recipient = Recipient()
        self.core.journal.hold("after records.change")
        self.begun(self.core.deliver(receipt, recipient))
        self.assertEqual((0, b""), (recipient.begun, bytes(recipient.received)))
        self.core.journal.release("after records.change")
        self.assertEqual((1, b"content"), (recipient.begun, bytes(recipient.received)))

    def test_gone_before_deletion(self):
        """The bytes are deleted after the records say that the drop is gone, and marked after that."""
        self.core.reaper.start()
        receipt = self.done(self.core.upload())
        self.core.journal.hold("before blobs.delete")
        self.done(self.core.deliver(receipt, Recipient()))
        self.assertEqual(DropState.GONE, self.core.row(receipt).state)
        self.assertIn(receipt.drop.blob, self.core.stored.published)
        self.core.journal.release("before blobs.delete")
        self.assertEqual(DropState.PURGED, self.core.row(receipt).state)
        self.assertEqual({}, self.core.stored.published)

    def test_stop(self):
        """Stopping waits for what changes state, and for nothing else."""
        self.done(self.core.drops.stop())
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_settle()
        self.begun(self.core.deliver(receipt, recipient))
        stopped = self.begun(self.core.drops.stop())
        self.assertNoResult(stopped)
        recipient.go_on()
        self.done(stopped)


class OwnerTests(CoreTestCase):
    """What the owner may do, and nobody else."""

    def test_revoke(self):
        """A drop that is taken back is gone, and its bytes are deleted."""
        self.core.reaper.start()
        receipt = self.done(self.core.upload())
        self.done(self.core.drops.revoke(receipt.link, receipt.owner))
        self.assertEqual("revoked", self.refused(Gone, self.core.look(receipt)).reason)
        self.assertEqual({}, self.core.stored.published)

    def test_running(self):
        """Downloads that are running are broken off, all of them, and none of them counts."""
        receipt = self.done(self.core.upload(downloads=3))
        recipients = [Recipient().hold_sends(), Recipient().hold_settle()]
        results = [self.begun(self.core.deliver(receipt, recipient)) for recipient in recipients]
        self.done(self.core.drops.revoke(receipt.link, receipt.owner))
        self.assertEqual([True, True], [recipient.aborted for recipient in recipients])
        for result in results:
            self.done(result)
        row = self.core.row(receipt)
        self.assertEqual((Reason.REVOKED, 0, 0), (row.reason, row.delivered, row.live))

    def test_other_drops(self):
        """Downloads of other drops go on."""
        receipt, other = self.done(self.core.upload()), self.done(self.core.upload())
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(other, recipient))
        self.done(self.core.drops.revoke(receipt.link, receipt.owner))
        self.assertFalse(recipient.aborted)
        recipient.go_on()

    def test_wrong_owner(self):
        """Without the owner's token nothing is revoked and nothing is told; the link's own token is not it."""
        receipt = self.done(self.core.upload())
        for token in (None, receipt.link, Token("f" * 32)):
            self.refused(OwnerRequired, self.core.drops.revoke(receipt.link, token))
            self.refused(OwnerRequired, self.core.drops.status(receipt.link, token))
        self.assertEqual(DropState.AVAILABLE, self.core.row(receipt).state)

    def test_twice(self):
        """What is revoked cannot be revoked again."""
        receipt = self.done(self.core.upload())
        self.done(self.core.drops.revoke(receipt.link, receipt.owner))
        self.refused(Gone, self.core.drops.revoke(receipt.link, receipt.owner))

    def test_twice_at_once(self):
        """Of two revocations at once one is told that the drop was gone already."""
        receipt = self.done(self.core.upload())
        self.core.journal.hold("before records.change")
        first, second = (self.begun(self.core.drops.revoke(receipt.link, receipt.owner)) for _ in range(2))
        self.core.journal.release("before records.change")
        self.done(first)
        self.assertEqual("revoked", self.refused(Gone, second).reason)

    def test_delivered_meanwhile(self):
        """A revocation that comes a moment after the last delivery says that it came too late."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_settle()
        self.begun(self.core.deliver(receipt, recipient))
        self.core.journal.hold("after records.find")
        revoked = self.begun(self.core.drops.revoke(receipt.link, receipt.owner))
        recipient.go_on()
        self.core.journal.release("after records.find")
        self.assertEqual("delivered", self.refused(Gone, revoked).reason)

    def test_status(self):
        """The owner sees the drop and its claims, in the order in which they were opened, gone or not."""
        receipt = self.done(self.core.upload(downloads=2))
        self.done(self.core.deliver(receipt, Recipient(breaks_at=2)))
        self.done(self.core.deliver(receipt, Recipient(source=OTHER)))
        self.done(self.core.drops.revoke(receipt.link, receipt.owner))
        standing = self.done(self.core.drops.status(receipt.link, receipt.owner))
        drop, claims = standing.ledger.drop, standing.ledger.claims
        self.assertEqual((DropState.GONE, 1), (drop.state, drop.delivered))
        self.assertEqual(
            [(1, ClaimState.LAPSED), (2, ClaimState.DELIVERED)], [(claim.number, claim.state) for claim in claims]
        )
        self.assertEqual(
            ["claimed", "broken", "claimed", "delivered", "lapsed", "revoked"],
            [event.touch.value for event in standing.history],
        )

    def test_status_of_what_runs(self):
        """How far a download is that runs is told as it is now, not as it was last written down."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_settle()
        self.begun(self.core.deliver(receipt, recipient))
        recipient.taken = 5
        standing = self.done(self.core.drops.status(receipt.link, receipt.owner))
        self.assertEqual([5], [transfer.acknowledged for transfer in standing.ledger.transfers])
        self.assertEqual([0], [transfer.acknowledged for transfer in self.core.ledger(receipt).transfers])
        recipient.go_on()

    def test_status_of_what_time_brought(self):
        """What time has brought is told before anybody has written it down."""
        receipt = self.done(self.core.upload())
        self.core.clock.advance(KEPT)
        standing = self.done(self.core.drops.status(receipt.link, receipt.owner))
        self.assertEqual(Reason.EXPIRED, standing.ledger.drop.reason)
        self.assertEqual(["expired"], [event.touch.value for event in standing.history])
        self.assertEqual([], self.core.touches(receipt))


class ExpiryTests(CoreTestCase):
    """A drop's time."""

    def test_without_reaper(self):
        """From its expiry on a drop is gone, whether or not anybody has looked after it."""
        receipt = self.done(self.core.upload())
        self.core.clock.advance(KEPT - 0.001)
        self.done(self.core.look(receipt))
        self.core.clock.advance(0.001)
        self.assertEqual("expired", self.refused(Gone, self.core.look(receipt)).reason)
        self.assertEqual("expired", self.refused(Gone, self.core.deliver(receipt, Recipient())).reason)
        self.refused(Gone, self.core.drops.revoke(receipt.link, receipt.owner))

    def test_with_reaper(self):
        """The reaper ends it at that time and deletes its bytes."""
        self.core.reaper.start()
        receipt = self.done(self.core.upload())
        self.core.elapse(KEPT)
        self.assertEqual((DropState.PURGED, {}), (self.core.row(receipt).state, self.core.stored.published))
        self.assertEqual("expired", self.refused(Gone, self.core.look(receipt)).reason)

    def test_running(self):
        """A download that began before goes to its end; the copy was delivered, and that is the reason told."""
        self.core.reaper.start()
        data = b"x" * (3 * PIECE)
        receipt = self.done(self.core.upload(data))
        recipient = Recipient().hold_sends()
        running = self.begun(self.core.deliver(receipt, recipient))
        self.core.elapse(KEPT + 60)
        self.assertEqual(Reason.EXPIRED, self.core.row(receipt).reason)
        self.refused(Gone, self.core.deliver(receipt, Recipient(source=OTHER)))
        recipient.go_on()
        self.done(running)
        self.assertEqual(data, bytes(recipient.received))
        row = self.core.row(receipt)
        self.assertEqual((Reason.DELIVERED, 1, 0), (row.reason, row.delivered, row.live))
        self.assertEqual({}, self.core.stored.published)

    def test_for_ever(self):
        """A download that does not end is broken off one window after the expiry, and the bytes go."""
        self.core.reaper.start()
        receipt = self.done(self.core.upload(b"x" * (3 * PIECE)))
        recipient = Recipient().hold_sends()
        running = self.begun(self.core.deliver(receipt, recipient))
        self.core.elapse(KEPT + WINDOW - 1)
        self.assertFalse(recipient.aborted)
        self.core.elapse(1)
        self.assertTrue(recipient.aborted)
        self.done(running)
        row = self.core.row(receipt)
        self.assertEqual((Reason.EXPIRED, 0, 0), (row.reason, row.delivered, row.live))
        self.assertEqual((DropState.PURGED, {}), (row.state, self.core.stored.published))

    def test_broken(self):
        """A download that broke can be gone on with after the expiry, in its window, by its recipient alone."""
        self.core.reaper.start()
        receipt = self.done(self.core.upload())
        self.core.elapse(KEPT - 60)
        self.done(self.core.deliver(receipt, Recipient(breaks_at=3, acknowledged=3)))
        self.core.elapse(120)
        self.assertEqual("expired", self.refused(Gone, self.core.look(receipt, Recipient(source=OTHER))).reason)
        rest = self.done(self.core.deliver(receipt, Recipient(), first=3))
        self.assertEqual((b"tent", Reason.DELIVERED), (bytes(rest.received), self.core.row(receipt).reason))

    def test_between(self):
        """A drop that expires between look and claim is gone."""
        receipt = self.done(self.core.upload())
        visit = self.done(self.core.look(receipt))
        self.core.clock.advance(KEPT)
        recipient = Recipient()
        self.refused(Gone, self.core.drops.deliver(visit, 0, 7, recipient, recipient.begin))
        self.refused(Gone, self.core.drops.claim(visit))
        self.refused(Gone, self.core.drops.peek(visit, 0, 7))
        self.assertEqual(0, recipient.begun)


class PasswordTests(TestCase):
    """A drop with a password, and one without."""

    def setUp(self) -> None:
        self.core = Core()
        self.core.passwords.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.core.passwords.stop()))

    async def test_right(self):
        """Who shows it gets in."""
        receipt = await self.core.upload(password=b"secret")
        self.assertEqual(receipt.drop, (await self.core.look(receipt, password=b"secret")).drop)

    async def test_wrong(self):
        """Who shows another, or none, is asked for it, and nothing is claimed."""
        receipt = await self.core.upload(password=b"secret")
        for password in (b"Secret", b"", None):
            with self.assertRaises(PasswordRequired):
                await self.core.look(receipt, password=password)
        self.assertEqual([], self.core.claims(receipt))

    async def test_not_needed(self):
        """Where there is none, any is right."""
        receipt = await self.core.upload()
        self.assertEqual(receipt.drop, (await self.core.look(receipt, password=b"secret")).drop)

    async def test_stored(self):
        """What is stored is what the algorithm made of it, and no value shows it."""
        receipt = await self.core.upload(password=b"secret")
        self.assertEqual("plain:" + b"secret".hex(), self.core.row(receipt).password)
        self.assertNotIn("plain:", repr(receipt))

    async def test_gone(self):
        """Once it is gone, no password is asked for."""
        receipt = await self.core.upload(password=b"secret")
        await self.core.drops.revoke(receipt.link, receipt.owner)
        with self.assertRaises(Gone):
            await self.core.look(receipt)

    async def test_not_hashed(self):
        """If the password cannot be hashed, nothing of the upload stays."""
        await self.core.passwords.stop()
        with self.assertRaises(Unavailable):
            await self.core.upload(password=b"secret")
        self.assertEqual(({}, {}), (self.core.stored.incoming, self.core.stored.published))


class LogTests(CoreTestCase):
    """What the log says."""

    def said(self, receipt: Receipt, recipient: Recipient, first: int, length: int) -> list[str]:
        """Return what the log says of a download."""
        with capturedLogs() as events:
            self.done(self.core.deliver(receipt, recipient, first, length))
        return [(formatEvent(event) or "").partition(" ")[2].partition(" ")[2] for event in events]

    def test_touches(self):
        """What becomes of a claim is a line: which claim, and at which byte. Of its opening the request's line tells."""
        receipt = self.done(self.core.upload(downloads=2))
        self.assertEqual(["broken, claim 1, byte 1 of 7"], self.said(receipt, Recipient(breaks_at=1), 0, 7))
        self.assertEqual(
            ["resumed, claim 1, byte 2 of 7", "received, claim 1, byte 4 of 7"], self.said(receipt, Recipient(), 2, 2)
        )
        self.assertEqual(["resumed, claim 1, byte 0 of 7", "delivered, claim 1"], self.said(receipt, Recipient(), 0, 7))

    def test_no_secrets(self):
        """No line has a token, a name or a key in it."""
        with capturedLogs() as events:
            receipt = self.done(self.core.upload())
            self.done(self.core.deliver(receipt, Recipient()))
            self.refused(Gone, self.core.drops.revoke(receipt.link, receipt.owner))
        text = repr(list(events))
        (claim,) = self.core.claims(receipt)
        token = claim_token(receipt.link, claim.id)
        secrets = [receipt.link.text, receipt.owner.text, token.text, receipt.drop.key.hex(), claim.id]
        for secret in (*secrets, "name.txt", "192.0.2.1"):
            self.assertNotIn(secret, text)
        self.assertEqual(2, len(events))
