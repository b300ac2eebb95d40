"""Drops under whatever happens in whatever order: uploads, downloads, breaks, clocks, crashes."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from filedropd.errors import FiledropError, Gone, Locked, NotFound
from filedropd.model import ClaimState, Drop, DropState
from filedropd.reaper import LONGEST_RETRY, LONGEST_SLEEP
from filedropd.upload import Receipt
from tests.journal import KilledError
from tests.support import Core, Faults, Recipient, result_of

MONTH = 30 * 86_400.0


@attrs.define(eq=False)
class Download:
    """A request for a drop's bytes, and what came of it."""

    receipt: Receipt
    recipient: Recipient
    first: int
    length: int
    result: Deferred[Any]
    error: type[BaseException] | None = None
    killed: bool = False

    @property
    def running(self) -> bool:
        """Whether its claim must be open."""
        return bool(self.recipient.begun) and not self.recipient.over and not self.killed

    @property
    def whole(self) -> bool:
        """Whether its recipient was handed the whole file, and has it."""
        recipient, size = self.recipient, self.receipt.drop.size
        complete = recipient.over and not recipient.broken and not self.killed
        return complete and bool(recipient.begun) and self.length == size == len(recipient.received)

    def failed(self, failure: Any) -> None:
        """Note how it was refused."""
        self.error = failure.type


class DropsMachine(RuleBasedStateMachine):
    """One daemon, some drops, many recipients."""

    receipts = Bundle("receipts")
    downloads = Bundle("downloads")

    @initialize(target=receipts)
    def start(self):
        self.core = Core()
        self.core.reaper.start()
        self.left: list[Receipt] = []
        self.asked: list[Download] = []
        self.latest = self.core.wall()
        return multiple(self.upload_of(4, 1, 1000.0), self.upload_of(5, 3, MONTH))

    def upload_of(self, size: int, downloads: int, expires: float) -> Receipt:
        """Leave a file."""
        receipt = result_of(self.core.upload(bytes(range(size)), downloads=downloads, expires=expires))
        self.left.append(receipt)
        return receipt

    # -- what may happen --------------------------------------------------------------------------

    @rule(
        target=receipts,
        size=st.integers(0, 5),
        downloads=st.integers(1, 3),
        expires=st.sampled_from([30.0, 1000.0, MONTH]),
    )
    def upload(self, size, downloads, expires):
        return self.upload_of(size, downloads, expires)

    @rule(target=downloads, receipt=receipts, settle=st.booleans())
    def download(self, receipt, settle):
        return self.ask(receipt, 0, receipt.drop.size, settle=settle)

    @rule(target=downloads, receipt=receipts, settle=st.booleans(), first=st.integers(0, 5), length=st.integers(0, 5))
    def download_part(self, receipt, settle, first, length):
        first = min(first, receipt.drop.size)
        return self.ask(receipt, first, min(length, receipt.drop.size - first), settle=settle)

    @rule(target=downloads, receipt=receipts)
    def download_at_once(self, receipt):
        return multiple(*(self.ask(receipt, 0, receipt.drop.size, settle=True) for _ in range(4)))

    def ask(self, receipt: Receipt, first: int, length: int, *, settle: bool) -> Download:
        """Ask for bytes, and leave it open what becomes of them."""
        recipient = Recipient()
        _ = recipient.hold_settle() if settle else recipient.hold_sends()
        result = Deferred.fromCoroutine(self.core.deliver(receipt, recipient, first, length))
        download = Download(receipt, recipient, first, length, result)
        result.addErrback(download.failed)
        self.asked.append(download)
        return download

    @rule(download=consumes(downloads))
    def arrives(self, download):
        download.recipient.go_on()

    @rule(download=consumes(downloads), acknowledged=st.integers(0, 5))
    def breaks(self, download, acknowledged):
        if not download.recipient.over:
            download.recipient.leave(acknowledged)

    @rule(download=downloads)
    def sender_of_request_leaves(self, download):
        download.result.cancel()

    @rule(receipt=receipts)
    def revoke(self, receipt):
        try:
            result_of(self.core.drops.revoke(receipt.link, receipt.owner))
        except (Gone, NotFound):
            return
        for download in self.asked:
            if download.receipt is receipt and not download.killed and download.recipient.begun:
                assert download.recipient.over, "a download went on after its drop was revoked"

    @rule(receipt=receipts)
    def look(self, receipt):
        row = self.row(receipt)
        try:
            result_of(self.core.drops.look(receipt.link, None))
        except FiledropError as error:
            assert row is None or row.gone(self.core.wall()) or row.state is not DropState.AVAILABLE, repr(error)
        else:
            assert row is not None and row.gone(self.core.wall()) is None

    @rule(seconds=st.sampled_from([0.5, 2.0, 29.0, 61.0, 1000.0] * 2 + [MONTH]))
    def time_passes(self, seconds):
        self.core.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-500.0, -10.0, 10.0, 500.0]))
    def wall_is_set(self, seconds):
        self.latest = max(self.latest, self.core.wall())
        self.core.wall.jump(seconds)

    @rule()
    def deletion_fails(self):
        self.core.stored.fail_next("delete", OSError(16, "busy"))

    @rule()
    def killed(self):
        self.core.killed()
        for download in self.asked:
            if not download.recipient.over:
                download.killed = True
                download.recipient.leave()
        result_of(self.core.reaper.recover())
        self.core.reaper.start()

    # -- what holds all the time ------------------------------------------------------------------

    def row(self, receipt: Receipt) -> Drop | None:
        """Return a drop's row."""
        return result_of(self.core.kept.find(receipt.drop.key))

    @invariant()
    def never_too_many(self):
        for receipt in self.left:
            row = self.row(receipt)
            whole = sum(download.whole for download in self.asked if download.receipt is receipt)
            assert whole <= receipt.drop.downloads, "more whole copies than were allowed"
            if row is not None:
                assert whole <= row.delivered <= row.downloads
                assert row.live >= 0 and row.delivered + row.live <= row.downloads

    @invariant()
    def live_is_running(self):
        running = [download for download in self.asked if download.running]
        for receipt in self.left:
            mine = sum(download.receipt is receipt for download in running)
            claims = self.core.claims(receipt)
            row = self.row(receipt)
            if row is not None:
                assert row.live == mine == sum(claim.state is ClaimState.OPEN for claim in claims)
            else:
                assert claims == []
        assert self.core.running == len(running) == self.core.stored.open_blobs

    @invariant()
    def bytes_as_rows(self):
        for receipt in self.left:
            row = self.row(receipt)
            there = receipt.drop.blob in self.core.stored.published
            if row is not None and row.state is DropState.AVAILABLE:
                assert there, "an available drop without its bytes"
            elif row is None or row.state is DropState.PURGED:
                assert not there, "bytes of a drop that is purged"
            else:
                assert row.purge_attempts > 0, "bytes of a gone drop are there, and nobody has tried to delete them"
        assert not self.core.stored.incoming

    @invariant()
    def done_is_gone(self):
        for receipt in self.left:
            row = self.row(receipt)
            if row is not None and row.delivered == row.downloads:
                assert row.state is not DropState.AVAILABLE

    @invariant()
    def refused_in_its_words(self):
        for download in self.asked:
            if download.error is not None and not download.killed:
                assert issubclass(download.error, (Gone, Locked, NotFound, CancelledError)), download.error

    def teardown(self):
        """Let all end and nothing fail any more: then nothing is live, no bytes of gone drops stay, and stopping does not hang."""
        for download in self.asked:
            if not download.recipient.over:
                download.recipient.leave()
        self.core.stored.faults = Faults()
        # What is to be tried again is due within an hour of the latest time that there ever was.
        self.core.wall.jump(max(0.0, self.latest - self.core.wall()))
        self.core.elapse(LONGEST_RETRY + LONGEST_SLEEP)
        for receipt in self.left:
            row = self.row(receipt)
            assert row is None or row.live == 0
            if row is None or row.state is not DropState.AVAILABLE:
                assert receipt.drop.blob not in self.core.stored.published
        result_of(self.core.drops.stop())
        result_of(self.core.reaper.stop())
        assert self.core.clock.getDelayedCalls() == []


class MachineTests(SynchronousTestCase):
    """The machine, run."""

    def test_machine(self):
        """Whatever happens in whatever order, nothing that was promised breaks."""
        run_state_machine_as_test(
            DropsMachine,
            settings=settings(
                max_examples=250,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            ),
        )
        # Of requests whose senders had left, and of those that a crash cut off.
        self.flushLoggedErrors(Gone, Locked, NotFound, KilledError)
