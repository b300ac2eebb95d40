"""Several daemons on one database: what they tell each other."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from filedropd.errors import Gone, Locked, Unavailable
from filedropd.peers import ANSWER, TOGETHER
from filedropd.testing import MemoryRecords
from filedropd.upload import Receipt
from tests.support import OTHER, Core, CoreTestCase, Recipient

CONTENT = b"0123456789"


class PeersTestCase(CoreTestCase):
    """Two daemons, on the same records, the same files and the same clock."""

    def setUp(self) -> None:
        super().setUp()
        first = self.core
        self.core = Core(daemon="one", kept=first.kept, stored=first.stored, clock=first.clock)
        self.other = Core(
            daemon="two", kept=first.kept, stored=first.stored, clock=first.clock, random=random.Random(1)
        )
        for core in (self.core, self.other):
            core.ledgers.tell(core.peers.changed)
            self.done(core.peers.begin())

    @property
    def listeners(self) -> list[Callable[[str], None]]:
        """Who hears what is told."""
        return cast(MemoryRecords, self.core.kept)._listeners

    def running(self, **options) -> tuple[Receipt, Recipient, Deferred[Recipient]]:
        """Leave a file and let the first daemon begin to hand it out."""
        receipt = self.done(self.core.upload(CONTENT, **options))
        recipient = Recipient().hold_sends()
        return receipt, recipient, self.begun(self.core.deliver(receipt, recipient))


class GoneTests(PeersTestCase):
    """What is gone is known to all, soon."""

    def test_gone(self):
        """What one has handed out the other answers from its cache."""
        receipt = self.done(self.core.upload(CONTENT))
        self.done(self.core.deliver(receipt, Recipient()))
        self.core.elapse(TOGETHER)
        self.other.journal.fail("records.find", Unavailable("not to be asked"))
        self.assertEqual("delivered", self.refused(Gone, self.other.drops.view(receipt.link)).reason)

    def test_together(self):
        """What is gone within a moment is told in one go."""
        for _ in range(5):
            self.done(self.core.deliver(self.done(self.core.upload(CONTENT)), Recipient()))
        self.assertEqual(0, self.core.journal.counts["records.notify"])
        self.core.elapse(TOGETHER)
        self.assertEqual(1, self.core.journal.counts["records.notify"])
        self.assertEqual([], self.core.clock.getDelayedCalls())

    def test_away(self):
        """Where nothing can be told, nothing comes of it."""
        self.core.journal.fail("records.notify", Unavailable("away"))
        receipt = self.done(self.core.upload(CONTENT))
        self.done(self.core.deliver(receipt, Recipient()))
        self.core.elapse(TOGETHER)
        self.assertEqual("delivered", self.refused(Gone, self.other.drops.view(receipt.link)).reason)

    def test_nonsense(self):
        """What somebody else says on the channel is passed over; what a later version says, without a word."""
        with capturedLogs() as events:
            self.done(self.core.kept.notify(["", "gone", "gone xyz", "ask 00", "told 00 one", "later 00"]))
        self.assertEqual(2 * 5, len(events))


class RevokedTests(PeersTestCase):
    """What is taken back ends at once, wherever it is sent."""

    def test_revoked(self):
        """The daemon that sends it breaks it off."""
        receipt, recipient, result = self.running()
        self.done(self.other.drops.revoke(receipt.link, receipt.owner))
        self.assertTrue(recipient.aborted)
        self.successResultOf(result)
        self.assertEqual("revoked", self.refused(Gone, self.other.deliver(receipt, Recipient(source=OTHER))).reason)

    def test_missed(self):
        """Who did not hear it looks when he hears again."""
        receipt, recipient, _ = self.running()
        _, going_on, _ = self.running()
        self.listeners.clear()
        self.done(self.other.drops.revoke(receipt.link, receipt.owner))
        self.assertFalse(recipient.aborted)
        self.core.peers._missed()
        self.assertEqual((True, False), (recipient.aborted, going_on.aborted))

    def test_missed_away(self):
        """Where he cannot look, he looks the next time."""
        _, recipient, _ = self.running()
        self.core.journal.fail("records.find", Unavailable("away"))
        self.core.peers._missed()
        self.assertFalse(recipient.aborted)

    def test_watched(self):
        """Whoever watches it elsewhere is told."""
        receipt = self.done(self.core.upload(CONTENT))
        watching = self.done(self.other.drops.watch(receipt.link, receipt.owner))
        self.done(anext(watching))
        told = Deferred.fromCoroutine(anext(watching))
        self.assertNoResult(told)
        self.done(self.core.deliver(receipt, Recipient()))
        self.core.elapse(TOGETHER)
        standing = self.successResultOf(told)
        self.assertTrue(standing is not None and standing.ledger.drop.finished)

    def test_watched_without_a_word(self):
        """What was changed elsewhere without a word is seen when he is told that he is still heard."""
        receipt = self.done(self.core.upload(CONTENT, downloads=2))
        watching = self.done(self.other.drops.watch(receipt.link, receipt.owner))
        self.done(anext(watching))
        for changed in (False, True):
            if changed:
                self.done(self.core.deliver(receipt, Recipient()))
            told = Deferred.fromCoroutine(anext(watching))
            self.core.elapse(15)
            self.assertEqual(changed, self.successResultOf(told) is not None)


class AskingTests(PeersTestCase):
    """Who meets what another daemon sends waits for what becomes of it, if that is soon known."""

    def second(self, receipt: Receipt, **options) -> tuple[Recipient, Deferred[Recipient]]:
        """Ask the other daemon."""
        recipient = Recipient(**options)
        return recipient, self.begun(self.other.deliver(receipt, recipient))

    def test_running(self):
        """Who meets one that goes on is told to come back, at once."""
        receipt, recipient, _ = self.running()
        for source in (recipient.source, OTHER):
            _, second = self.second(receipt, source=source)
            self.refused(Locked, second)

    def test_settling(self):
        """Who meets one that is about to end gets its outcome: it is gone."""
        for source in (Recipient().source, OTHER):
            receipt = self.done(self.core.upload(CONTENT))
            recipient = Recipient().hold_settle()
            self.begun(self.core.deliver(receipt, recipient))
            _, second = self.second(receipt, source=source)
            self.assertNoResult(second)
            recipient.go_on()
            self.assertEqual("delivered", self.refused(Gone, second).reason)

    def test_patience(self):
        """Nobody waits for longer than a second."""
        receipt = self.done(self.core.upload(CONTENT))
        recipient = Recipient().hold_settle()
        self.begun(self.core.deliver(receipt, recipient))
        _, second = self.second(receipt, source=OTHER)
        self.core.clock.advance(ANSWER - 0.01)
        self.assertNoResult(second)
        self.core.clock.advance(0.01)
        self.refused(Locked, second)
        recipient.go_on()

    def test_dead(self):
        """Nor does he who meets what a dead daemon was sending."""
        receipt, _, _ = self.running()
        self.listeners.pop(0)
        _, second = self.second(receipt, source=OTHER)
        self.assertNoResult(second)
        self.core.clock.advance(ANSWER)
        self.refused(Locked, second)

    def test_superseded(self):
        """Who shows the token ends what the other daemon sends, and has it from here."""
        receipt, recipient, _ = self.running()
        again, second = self.second(receipt, token=recipient.claim)
        self.successResultOf(second)
        self.assertTrue(recipient.aborted)
        self.assertEqual(CONTENT, bytes(again.received))

    def test_several(self):
        """Many who ask at once for the same are one question."""
        receipt = self.done(self.core.upload(CONTENT))
        recipient = Recipient().hold_settle()
        self.begun(self.core.deliver(receipt, recipient))
        seconds = [self.second(receipt, source=OTHER)[1] for _ in range(9)]
        self.assertEqual(1, len(self.other.peers._questions))
        recipient.go_on()
        for second in seconds:
            self.assertEqual("delivered", self.refused(Gone, second).reason)
        self.assertEqual(({}, {}), (self.other.peers._questions, self.other.peers._asked))

    def test_ended_meanwhile(self):
        """What has ended before the question came is told to have."""
        receipt, recipient, _ = self.running()
        listeners, self.listeners[:] = list(self.listeners), []
        words: list[str] = []
        self.done(self.core.kept.listen(words.append, self.fail))
        _, second = self.second(receipt, source=OTHER)
        recipient.go_on()
        self.listeners[:] = listeners
        self.done(self.core.kept.notify(words))
        self.assertEqual("delivered", self.refused(Gone, second).reason)

    def test_stop(self):
        """Stopping waits for what is being told."""
        self.core.journal.hold("before records.notify")
        receipt = self.done(self.core.upload(CONTENT))
        self.done(self.core.drops.revoke(receipt.link, receipt.owner))
        stopped = self.begun(self.core.peers.stop())
        self.core.elapse(TOGETHER)
        self.assertNoResult(stopped)
        self.core.journal.release("before records.notify")
        self.successResultOf(stopped)
