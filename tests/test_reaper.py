"""The reaper: what is due is deleted, in time, whatever fails and whatever the clocks do."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import attrs
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import LogEvent, LogLevel, capturedLogs

from filedropd.claims.elapsing import revoked
from filedropd.claims.policy import Policy
from filedropd.errors import Unavailable
from filedropd.model import ClaimState, Drop, DropState, Reason
from filedropd.reaper import LONGEST_RETRY, LONGEST_SLEEP, RECORDS_RETRY, TAKEN, TOMBSTONE
from filedropd.upload import Receipt
from tests.support import BEGAN, KEPT, Core, CoreTestCase, Recipient

BUSY = OSError(errno.EBUSY, "busy")
WINDOW = Policy().window


class ReaperTestCase(CoreTestCase):
    """What these tests share: a reaper that runs, and ways to let time pass."""

    def setUp(self) -> None:
        super().setUp()
        self.core.reaper.start()

    def upload(self, *, expires: float = KEPT) -> Receipt:
        """Leave a file."""
        return self.done(self.core.upload(b"content", expires=expires))

    def revoke(self, receipt: Receipt) -> None:
        """Make a drop gone, so that its bytes are due."""
        self.done(self.core.drops.revoke(receipt.link, receipt.owner))

    def elapse(self, seconds: float) -> None:
        """Let time pass."""
        self.core.elapse(seconds)

    def timers(self) -> int:
        """Return how many timers there are."""
        return len(self.core.clock.getDelayedCalls())

    def state(self, receipt: Receipt) -> DropState:
        """Return a drop's state."""
        return self.core.row(receipt).state

    def restart(self) -> None:
        """Kill the process and start it again."""
        self.core.killed()
        self.done(self.core.reaper.recover())
        self.core.reaper.start()


def put_off(events: Sequence[LogEvent]) -> int:
    """Return how often the log says that deleting is put off; without a traceback."""
    told = [event for event in events if "put off" in event.get("log_format", "")]
    return len([event for event in told if event["log_level"] is LogLevel.warn])


def _time(timer: IDelayedCall) -> float:
    return timer.getTime()


class TimeTests(ReaperTestCase):
    """When things happen."""

    def test_expiry(self):
        """A drop is ended and its bytes deleted at its expiry, not before."""
        receipt = self.upload()
        self.elapse(KEPT - 0.01)
        self.assertEqual(DropState.AVAILABLE, self.state(receipt))
        self.elapse(0.02)
        row = self.core.row(receipt)
        self.assertEqual((DropState.PURGED, Reason.EXPIRED), (row.state, row.reason))
        self.assertEqual({}, self.core.stored.published)

    def test_tombstone(self):
        """For 30 days it is known what became of it, then it is forgotten."""
        receipt = self.upload(expires=1)
        self.elapse(1)
        self.assertEqual(30 * 86_400, TOMBSTONE)
        self.elapse(TOMBSTONE - 1)
        self.assertEqual(DropState.PURGED, self.state(receipt))
        self.elapse(2)
        self.assertIsNone(self.done(self.core.kept.find(receipt.drop.key)))

    def test_in_order(self):
        """Each of several drops has its own time, in whatever order they came."""
        receipts = {expires: self.upload(expires=expires) for expires in (300, 10, 200, 50)}
        for expires in sorted(receipts):
            self.elapse(BEGAN + expires - 0.01 - self.core.wall())
            self.assertEqual(DropState.AVAILABLE, self.state(receipts[expires]))
            self.elapse(0.02)
            self.assertEqual(DropState.PURGED, self.state(receipts[expires]))

    def test_one_timer(self):
        """There is one timer, however many drops there are."""
        for expires in (300, 10, 200, 50):
            self.upload(expires=expires)
        self.assertEqual(1, self.timers())
        self.elapse(30)
        self.assertEqual(1, self.timers())

    def test_windows(self):
        """The timer is for a claim's window, too, where that ends first."""
        self.upload()
        receipt = self.upload()
        self.done(self.core.deliver(receipt, Recipient(breaks_at=3)))
        self.assertEqual(1, self.timers())
        self.elapse(WINDOW - 0.01)
        self.assertEqual(["claimed", "broken"], self.core.touches(receipt))
        self.elapse(0.01)
        self.assertEqual(["claimed", "broken", "lapsed"], self.core.touches(receipt))
        self.assertEqual((DropState.AVAILABLE, 1), (self.state(receipt), self.timers()))

    def test_nothing(self):
        """With nothing to wait for there is none."""
        self.assertEqual(0, self.timers())

    def test_many(self):
        """More than fit in one batch are all deleted in one run."""
        receipts = [self.upload(expires=5) for _ in range(250)]
        self.elapse(5)
        self.assertEqual({}, self.core.stored.published)
        self.assertEqual({DropState.PURGED}, {self.state(receipt) for receipt in receipts})

    def test_together(self):
        """What is due at once is dealt with together, and not all of it: others ask the stores, too."""
        receipts = [self.upload(expires=5) for _ in range(60)]
        self.core.journal.hold("before blobs.delete")
        self.elapse(5)
        self.assertEqual(25, self.core.journal.held("before blobs.delete"))
        self.core.journal.release("before blobs.delete")
        self.assertEqual({DropState.PURGED}, {self.state(receipt) for receipt in receipts})

    def test_one_fails(self):
        """If one of several cannot be dealt with the others are, and it is when the records are back."""
        receipts = [self.upload(expires=5) for _ in range(5)]
        self.core.journal.fail("records.purged", Unavailable("away"))
        self.elapse(5)
        left = [receipt for receipt in receipts if self.state(receipt) is not DropState.PURGED]
        self.assertEqual(5, len(left))
        self.core.journal.mend()
        self.elapse(60)
        self.assertEqual({DropState.PURGED}, {self.state(receipt) for receipt in receipts})

    def test_one_is_broken(self):
        """One that cannot be dealt with, for a reason that nobody expected, keeps no other, and is tried again."""
        broken, other = self.upload(), self.upload()
        self.core.stored.fail_next("delete", ValueError("nobody expected that"))
        self.revoke(broken)
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))
        self.revoke(other)
        self.assertEqual((DropState.GONE, DropState.PURGED), (self.state(broken), self.state(other)))
        self.elapse(TAKEN + 1)
        self.assertEqual(DropState.PURGED, self.state(broken))

    def test_woken(self):
        """What has become due is deleted at once when the reaper is woken."""
        receipt = self.upload()
        self.revoke(receipt)
        self.assertEqual({}, self.core.stored.published)

    def test_woken_during_a_run(self):
        """Who wakes it during a run is not forgotten: another run follows."""
        first, second = self.upload(), self.upload()
        self.core.journal.hold("before records.next_due")
        self.revoke(first)
        self.revoke(second)
        self.assertEqual(DropState.GONE, self.state(second))
        self.core.journal.release("before records.next_due")
        self.assertEqual(DropState.PURGED, self.state(second))
        self.assertEqual(1, self.timers())

    def test_expected_during_a_run(self):
        """A drop that comes while the next time is being looked up is not missed."""
        self.core.journal.hold("after records.next_due")
        self.core.reaper.wake()
        receipt = self.upload(expires=10)
        self.core.journal.release("after records.next_due")
        self.elapse(10)
        self.assertEqual(DropState.PURGED, self.state(receipt))

    def test_no_two_runs(self):
        """A run is never met by another, whoever wakes it."""
        self.upload(expires=10)
        self.core.journal.hold("before records.take_due")
        for _ in range(3):
            self.core.reaper.wake()
        self.elapse(100)
        self.assertEqual(1, self.core.journal.held("before records.take_due"))
        self.core.journal.release("before records.take_due")


class WallTests(ReaperTestCase):
    """The clock on the wall is set."""

    def test_forward(self):
        """A clock that jumps forward is noticed within a minute."""
        receipt = self.upload()
        self.core.wall.jump(KEPT)
        self.elapse(LONGEST_SLEEP)
        self.assertEqual(DropState.PURGED, self.state(receipt))

    def test_back(self):
        """A clock that is put back deletes nothing before its time, nor keeps it longer."""
        receipt = self.upload(expires=30)
        self.core.wall.jump(-1000)
        self.elapse(1029)
        self.assertEqual(DropState.AVAILABLE, self.state(receipt))
        self.elapse(1)
        self.assertEqual(DropState.PURGED, self.state(receipt))

    def test_longest(self):
        """No timer is longer than a minute, and there is none for what is due already."""
        self.assertLessEqual(LONGEST_SLEEP, 60)
        receipt = self.upload()
        (timer,) = self.core.clock.getDelayedCalls()
        self.assertEqual(LONGEST_SLEEP, _time(timer) - self.core.clock.seconds())
        self.core.wall.jump(2 * KEPT)
        self.core.reaper.expect(BEGAN)
        self.assertEqual((DropState.PURGED, 1), (self.state(receipt), self.timers()))


class RetryTests(ReaperTestCase):
    """Bytes that will not go."""

    def attempts(self) -> int:
        """Return how often it was tried to delete bytes."""
        return self.core.journal.counts["blobs.delete"]

    def test_kept_gone(self):
        """A drop whose bytes cannot be deleted is gone all the same, and is tried again."""
        receipt = self.upload()
        self.core.journal.fail("blobs.delete", BUSY)
        self.revoke(receipt)
        row = self.core.row(receipt)
        self.assertEqual((DropState.GONE, 1, self.core.wall() + 1), (row.state, row.purge_attempts, row.due_at))
        self.core.journal.mend()
        self.elapse(1)
        self.assertEqual((DropState.PURGED, {}), (self.state(receipt), self.core.stored.published))

    def test_back_off(self):
        """The time between attempts doubles, from a second to an hour."""
        self.core.journal.fail("blobs.delete", BUSY)
        self.revoke(self.upload())
        for wait in [2.0**n for n in range(12)] + [LONGEST_RETRY] * 3:
            before = self.attempts()
            self.elapse(wait - 0.01)
            self.assertEqual(before, self.attempts(), wait)
            self.elapse(0.01)
            self.assertEqual(before + 1, self.attempts(), wait)
        self.assertEqual(3600, LONGEST_RETRY)

    def test_for_ever(self):
        """After years of attempts it is still tried once an hour."""
        self.core.journal.fail("blobs.delete", BUSY)
        drop = self.upload().drop
        row = attrs.evolve(
            drop, state=DropState.GONE, reason=Reason.REVOKED, gone_at=BEGAN, due_at=BEGAN, purge_attempts=100_000
        )
        self.done(self.core.kept.change(drop.key, lambda ledger: (attrs.evolve(ledger, drop=row), None)))
        self.core.reaper.wake()
        left: Drop | None = self.done(self.core.kept.find(drop.key))
        self.assertEqual(BEGAN + LONGEST_RETRY, left and left.due_at)

    def test_others(self):
        """Others are deleted meanwhile."""
        self.core.stored.fail_next("delete", BUSY)
        first, second = self.upload(), self.upload()
        self.revoke(first)
        self.revoke(second)
        self.assertEqual([DropState.GONE, DropState.PURGED], [self.state(first), self.state(second)])

    def test_restart(self):
        """A new process goes on where the last one was."""
        receipt = self.upload()
        self.core.journal.fail("blobs.delete", BUSY)
        self.revoke(receipt)
        self.elapse(1)
        self.restart()
        self.assertEqual(DropState.GONE, self.state(receipt))
        self.elapse(1.99)
        self.assertEqual(DropState.GONE, self.state(receipt))
        self.elapse(0.01)
        self.assertEqual((DropState.PURGED, 2), (self.state(receipt), self.core.row(receipt).purge_attempts))

    def test_expired_while_down(self):
        """What expired while no process ran is deleted by the next one, at once."""
        receipt = self.upload()
        self.core.killed()
        self.core.clock.advance(KEPT + 1)
        self.restart()
        self.assertEqual(DropState.PURGED, self.state(receipt))


class RecordsAwayTests(ReaperTestCase):
    """The records fail."""

    def test_each_call(self):
        """Whichever call fails, it goes on five seconds later, and says so once."""
        for step in ("take_due", "change", "purged", "next_due"):
            self.core = Core()
            self.core.reaper.start()
            receipt = self.upload(expires=1)
            self.core.journal.fail(f"records.{step}", Unavailable("away"))
            with capturedLogs() as events:
                self.elapse(1)
            self.assertEqual(1, put_off(events), step)
            self.core.journal.mend()
            self.elapse(RECORDS_RETRY - 0.01)
            self.assertEqual(1, self.timers(), step)
            self.elapse(0.01)
            self.assertEqual(DropState.PURGED, self.state(receipt), step)
            self.assertEqual({}, self.core.stored.published, step)

    def test_for_long(self):
        """It never gives up."""
        receipt = self.upload(expires=1)
        self.core.journal.fail("records.take_due", Unavailable("away"))
        with capturedLogs() as events:
            self.elapse(3600)
        self.assertEqual(3600 // RECORDS_RETRY, put_off(events))
        self.core.journal.mend()
        self.elapse(RECORDS_RETRY)
        self.assertEqual(DropState.PURGED, self.state(receipt))

    def test_failed_note(self):
        """If it cannot be noted that deleting failed, it goes on too."""
        receipt = self.upload(expires=1)
        self.core.stored.fail_next("delete", BUSY)
        self.core.journal.fail("records.purge_failed", Unavailable("away"))
        self.elapse(1)
        self.core.journal.mend()
        self.elapse(RECORDS_RETRY)
        self.assertEqual(DropState.PURGED, self.state(receipt))

    def test_ended_by_another(self):
        """A drop that somebody else ended just now is taken up again, and its bytes deleted."""
        receipt = self.upload(expires=10)
        self.core.journal.hold("before records.change")
        self.elapse(10)
        now = self.core.wall() - 1
        self.done(self.core.kept.change(receipt.drop.key, lambda ledger: (revoked(ledger, now), None)))
        self.core.journal.release("before records.change")
        row = self.core.row(receipt)
        self.assertEqual((DropState.PURGED, Reason.REVOKED), (row.state, row.reason))


class StopTests(ReaperTestCase):
    """Starting and stopping."""

    def test_waits(self):
        """Stopping waits for the run in progress, which ends with what it has taken."""
        first, second = self.upload(expires=1), self.upload(expires=1)
        self.core.journal.hold("before blobs.delete")
        self.elapse(1)
        stopped = self.begun(self.core.reaper.stop())
        self.assertNoResult(stopped)
        self.core.journal.release("before blobs.delete")
        self.done(stopped)
        self.assertEqual([DropState.PURGED] * 2, [self.state(first), self.state(second)])

    def test_nothing_after(self):
        """After that there is no timer, and nothing makes one."""
        receipt = self.upload(expires=10)
        self.done(self.core.reaper.stop())
        self.core.reaper.wake()
        self.core.reaper.expect(self.core.wall() + 1)
        self.elapse(100)
        self.assertEqual((0, DropState.AVAILABLE), (self.timers(), self.state(receipt)))

    def test_woken_while_stopping(self):
        """Who wakes it while it stops does not keep it from stopping."""
        self.core.journal.hold("before records.take_due")
        self.core.reaper.wake()
        self.core.reaper.wake()
        stopped = self.begun(self.core.reaper.stop())
        self.core.journal.release("before records.take_due")
        self.done(stopped)
        self.assertEqual(0, self.timers())

    def test_while_looking_ahead(self):
        """Stopped while it looks up the next time, it sets no timer for that."""
        self.upload(expires=10)
        self.core.journal.hold("before records.next_due")
        self.core.reaper.wake()
        stopped = self.begun(self.core.reaper.stop())
        self.core.journal.release("before records.next_due")
        self.done(stopped)
        self.assertEqual(0, self.timers())

    def test_not_before_start(self):
        """Before it is started it touches nothing."""
        core = Core()
        core.reaper.wake()
        core.reaper.expect(BEGAN)
        self.assertEqual((0, {}), (len(core.clock.getDelayedCalls()), dict(core.journal.counts)))

    def test_again(self):
        """A reaper that was stopped can be started again."""
        receipt = self.upload(expires=10)
        self.done(self.core.reaper.stop())
        self.core.clock.advance(10)
        self.core.reaper.start()
        self.assertEqual(DropState.PURGED, self.state(receipt))


class RecoveryTests(CoreTestCase):
    """What the last stop left half-done."""

    def test_uploads(self):
        """Blobs that have a row are finished, the others deleted."""
        receipt = self.done(self.core.upload())
        self.core.stored.left = {receipt.drop.blob: self.core.stored.published.pop(receipt.drop.blob), "other": b"x"}
        self.done(self.core.reaper.recover())
        self.assertEqual({receipt.drop.blob: b"content"}, self.core.stored.published)
        self.assertEqual({}, self.core.stored.left)

    def test_gone_upload(self):
        """A blob whose drop is gone is not lost sight of: its bytes are deleted like any other's."""
        receipt = self.done(self.core.upload())
        self.done(self.core.drops.revoke(receipt.link, receipt.owner))
        self.core.stored.left = {receipt.drop.blob: self.core.stored.published.pop(receipt.drop.blob)}
        self.done(self.core.reaper.recover())
        self.core.reaper.start()
        self.assertEqual(({}, {}), (self.core.stored.left, self.core.stored.published))

    def killed_while_sending(self) -> Receipt:
        """Return a drop of which all may have been sent when the process was killed."""
        receipt = self.done(self.core.upload())
        recipient = Recipient().hold_sends()
        self.begun(self.core.deliver(receipt, recipient)).addErrback(lambda _: None)
        self.core.killed()
        recipient.leave()
        return receipt

    def test_claims(self):
        """Claims of which something was being sent wait for their recipients, a window from now; no transfer is left."""
        receipt = self.killed_while_sending()
        self.core.clock.advance(60)
        self.done(self.core.reaper.recover())
        ledger = self.core.ledger(receipt)
        (claim,) = ledger.claims
        self.assertEqual(
            (ClaimState.SUSPENDED, self.core.wall() + WINDOW, ()), (claim.state, claim.until, ledger.transfers)
        )
        self.assertEqual(claim.until, ledger.drop.due_at)
        self.assertEqual(["claimed", "broken"], self.core.touches(receipt))

    def test_claims_end(self):
        """When nobody comes back, all that may have arrived is taken to have, and the drop's bytes go."""
        receipt = self.killed_while_sending()
        self.done(self.core.reaper.recover())
        self.core.reaper.start()
        self.core.elapse(WINDOW - 1)
        self.assertEqual(1, len(self.core.stored.published))
        self.core.elapse(1)
        self.assertEqual((0, Reason.DELIVERED), (self.core.row(receipt).live, self.core.row(receipt).reason))
        self.assertEqual({}, self.core.stored.published)

    def test_expired_while_down(self):
        """If the last time of a drop is over when the process starts, so are its claims."""
        receipt = self.killed_while_sending()
        self.core.clock.advance(KEPT + WINDOW)
        self.done(self.core.reaper.recover())
        self.core.reaper.start()
        row = self.core.row(receipt)
        self.assertEqual((DropState.PURGED, Reason.DELIVERED, 0), (row.state, row.reason, row.live))

    def test_told(self):
        """How many drops that concerns is told, once."""
        for _ in range(2):
            self.killed_while_sending()
        with capturedLogs() as events:
            self.done(self.core.reaper.recover())
            self.done(self.core.reaper.recover())
        self.assertEqual([2], [event["interrupted"] for event in events if "interrupted" in event])

    def test_nothing(self):
        """After an orderly stop there is nothing to do."""
        receipt = self.done(self.core.upload())
        self.core.killed()
        self.done(self.core.reaper.recover())
        self.assertEqual(receipt.drop, self.core.row(receipt))

    def test_twice(self):
        """To recover again changes nothing."""
        receipt = self.done(self.core.upload())
        self.core.stored.left = {receipt.drop.blob: self.core.stored.published.pop(receipt.drop.blob)}
        for _ in range(2):
            self.done(self.core.reaper.recover())
        self.assertEqual(([receipt.drop.blob], {}), (list(self.core.stored.published), self.core.stored.left))

    def test_cannot(self):
        """If it cannot be put right, that comes out: nothing may be served."""
        self.core.journal.fail("records.interrupted", Unavailable("away"))
        self.refused(Unavailable, self.core.reaper.recover())
