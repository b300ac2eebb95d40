"""Transfers: what is sent is reserved before, and one that is refused more is broken off."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from filedropd.claims.asking import Progress
from filedropd.errors import ClientGone, Unavailable
from filedropd.model import Outcome, Transfer
from filedropd.transfers import Sending, Transfers
from tests.support import Recipient

KEY = b"k" * 32


def transfer(*, id: str = "t", reserved: int = 10, length: int = 100) -> Transfer:  # noqa: A002 - its name
    """Return a transfer of which so much is reserved."""
    return Transfer(id=id, claim="c", first=0, length=length, reserved=reserved)


class FileRecipient(Recipient):
    """A recipient to whom the kernel can send files.

    :ivar files: the pieces that were sent so: descriptor, first byte, length.
    """

    takes_files = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.files: list[tuple[int, int, int]] = []

    async def send_file(self, file: int, first: int, length: int) -> None:
        """See FileSending; what is sent are zeros."""
        self.files.append((file, first, length))
        await self.send(bytes(length))


class SendingTests(SynchronousTestCase):
    """One transfer, and the answer that it fills."""

    def setUp(self) -> None:
        self.recipient: Any = Recipient()
        #: What comes of asking for more, in turn; and how much had been sent when it was asked for.
        self.reservations: list[Transfer | Exception | None] = []
        self.asked: list[int] = []
        self.sending = Sending(transfer(), self.recipient, self.reserve)

    def sending_files(self) -> Sending:
        """Return a transfer to a recipient that takes files."""
        self.recipient = FileRecipient()
        return Sending(transfer(), self.recipient, self.reserve)

    async def reserve(self, whole: bool) -> Transfer | None:
        """Reserve more, or not."""
        self.assertFalse(whole)
        self.asked.append(len(self.recipient.received))
        more = self.reservations.pop(0)
        if isinstance(more, Exception):
            raise more
        return more

    def begun(self, work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Begin ``work``."""
        return Deferred.fromCoroutine(work)

    def test_reserved(self):
        """What is reserved is sent without asking."""
        for _ in range(2):
            self.successResultOf(self.begun(self.sending.send(b"12345")))
        self.assertEqual((b"1234512345", []), (bytes(self.recipient.received), self.asked))

    def test_files(self):
        """It takes files where its recipient does."""
        self.assertFalse(self.sending.takes_files)
        self.assertTrue(self.sending_files().takes_files)
        with self.assertRaises(TypeError):
            self.failureResultOf(self.begun(self.sending.send_file(3, 0, 5))).raiseException()

    def test_file_ahead(self):
        """Of a file, too, nothing is sent that is not reserved; what comes next is reserved while that is sent."""
        sending = self.sending_files()
        self.reservations = [transfer(reserved=50), transfer(reserved=90), transfer(reserved=100)]
        self.successResultOf(self.begun(sending.send_file(3, 1000, 30)))
        self.successResultOf(self.begun(sending.send_file(3, 1030, 70)))
        pieces = [(1000, 10), (1010, 20), (1030, 20), (1050, 40), (1090, 10)]
        self.assertEqual([(3, *piece) for piece in pieces], self.recipient.files)
        self.assertEqual([0, 10, 50], self.asked)

    def test_file_one_ahead(self):
        """No more than one stride is reserved ahead."""
        sending = self.sending_files()
        self.reservations = [transfer(reserved=20)]
        for first in range(5):
            self.successResultOf(self.begun(sending.send_file(3, first, 1)))
        self.assertEqual([0], self.asked)

    def test_file_refused(self):
        """When no more may be sent, what is reserved still is; then it is broken off."""
        sending = self.sending_files()
        self.reservations = [None]
        self.failureResultOf(self.begun(sending.send_file(3, 0, 30)), ClientGone)
        self.assertEqual(([(3, 0, 10)], True), (self.recipient.files, self.recipient.aborted))

    def test_file_unavailable(self):
        """When the records are away, what is reserved still is sent; then it says so."""
        sending = self.sending_files()
        self.reservations = [Unavailable("away")]
        self.failureResultOf(self.begun(sending.send_file(3, 0, 30)), Unavailable)
        self.assertEqual([(3, 0, 10)], self.recipient.files)

    def test_file_nobody_asks(self):
        """What comes of a reservation ahead interests nobody when the recipient has left."""
        sending = self.sending_files()
        self.recipient.leave()
        self.reservations = [Unavailable("away")]
        self.failureResultOf(self.begun(sending.send_file(3, 0, 30)), ClientGone)
        self.successResultOf(self.begun(sending.settle()))
        self.assertEqual(10, sending.given.sent)

    def test_more(self):
        """Beyond that more is reserved before it is sent, and a piece is cut where that ends."""
        self.reservations = [transfer(reserved=12), transfer(reserved=100)]
        self.successResultOf(self.begun(self.sending.send(bytes(range(30)))))
        self.assertEqual((bytes(range(30)), [10, 12]), (bytes(self.recipient.received), self.asked))
        self.assertEqual(3, self.recipient.sends)

    def test_waits(self):
        """While it is not known to be reserved nothing of it is sent, and it is known that it waits."""
        gate: Deferred[None] = Deferred()

        async def reserve(_: bool) -> Transfer:
            await gate
            return transfer(reserved=100)

        sending = Sending(transfer(), self.recipient, reserve)
        sent = self.begun(sending.send(bytes(30)))
        self.assertNoResult(sent)
        self.assertEqual((10, True), (len(self.recipient.received), sending.progress.wanting))
        gate.callback(None)
        self.successResultOf(sent)
        self.assertFalse(sending.progress.wanting)
        self.assertEqual(30, len(self.recipient.received))

    def test_refused(self):
        """Where no more is to be had the answer is broken off, as if the client had left."""
        self.reservations = [None]
        self.failureResultOf(self.begun(self.sending.send(bytes(30))), ClientGone)
        self.assertEqual((10, True), (len(self.recipient.received), self.recipient.aborted))

    def test_not_known(self):
        """An error comes out, and nothing more is sent."""
        self.reservations = [Unavailable("away")]
        self.failureResultOf(self.begun(self.sending.send(bytes(30))), Unavailable)
        self.assertEqual(10, len(self.recipient.received))

    def test_nothing(self):
        """To send nothing asks for nothing and begins nothing."""
        self.successResultOf(self.begun(self.sending.send(b"")))
        self.assertEqual(([], False), (self.asked, self.sending.given.begun))

    def test_given(self):
        """What can be said without knowing more is what was given to be sent, be it that nothing of it left."""
        self.assertEqual(Outcome(acknowledged=0, sent=0, begun=False, complete=False), self.sending.given)
        self.successResultOf(self.begun(self.sending.send(b"1234")))
        self.assertEqual(Outcome(acknowledged=0, sent=4, begun=True, complete=False), self.sending.given)

    def test_given_counts_what_is_out(self):
        """A piece counts from when it is given, not from when the next one is wanted."""
        self.recipient.hold_sends()
        self.begun(self.sending.send(b"1234"))
        self.assertEqual((4, True), (self.sending.given.sent, self.sending.given.begun))

    def test_progress(self):
        """How far it is is what the recipient's machine has; once it settles that is said, too."""
        self.recipient.taken = 7
        self.assertEqual(Progress(acknowledged=7, settling=False), self.sending.progress)
        self.recipient.hold_settle()
        settled = self.begun(self.sending.settle())
        self.assertEqual(
            (Progress(acknowledged=7, settling=True), True), (self.sending.progress, self.sending.given.begun)
        )
        self.recipient.go_on()
        self.assertTrue(self.successResultOf(settled).complete)

    def test_abort_once(self):
        """It is broken off once, whoever wants it."""
        aborts: list[None] = []
        self.recipient.abort = lambda: aborts.append(None)
        for _ in range(3):
            self.sending.abort()
        self.assertEqual(1, len(aborts))

    def test_confirmed(self):
        """What follows comes from the connection."""
        for kept in (True, False):
            recipient = Recipient(quiet=True)
            confirmed = self.begun(Sending(transfer(), recipient, self.reserve).confirmed())
            self.assertNoResult(confirmed)
            (recipient.close if kept else recipient.reset)()
            self.assertEqual(kept, self.successResultOf(confirmed))


class TransfersTests(SynchronousTestCase):
    """All of them."""

    def setUp(self) -> None:
        self.transfers = Transfers()
        self.recipients = [Recipient() for _ in range(3)]
        self.sendings = [Sending(transfer(id=f"t{n}"), each, self.none) for n, each in enumerate(self.recipients)]

    async def none(self, _: bool) -> None:
        """Reserve nothing."""

    def test_of(self):
        """Those of a drop are known, in the order in which they began, until they end."""
        for sending in self.sendings[:2]:
            self.transfers.add(KEY, sending)
        self.transfers.add(b"other", self.sendings[2])
        self.assertEqual((self.sendings[:2], 3), (self.transfers.of(KEY), len(self.transfers)))
        self.transfers.remove(KEY, self.sendings[0])
        self.assertEqual((self.sendings[1:2], 2), (self.transfers.of(KEY), len(self.transfers)))

    def test_deciding(self):
        """The last copy decides what others are told, from when its outcome is awaited until that has to be put off."""
        last = Sending(transfer(), self.recipients[0], self.none, deciding_until=10)
        self.transfers.add(KEY, last)
        self.assertIsNone(self.transfers.deciding(KEY, 9))
        last.awaited = True
        self.assertIs(last, self.transfers.deciding(KEY, 9))
        self.assertIsNone(self.transfers.deciding(KEY, 10))
        last.put_off = True
        self.assertIsNone(self.transfers.deciding(KEY, 9))
        self.assertIsNone(self.transfers.deciding(b"other", 9))

    def test_handed_over(self):
        """One that somebody else sends may take long, and decides nothing."""
        last = Sending(transfer(), self.recipients[0], self.none, deciding_until=10)
        self.transfers.add(KEY, last)
        last.awaited = last.handed_over = True
        self.assertIsNone(self.transfers.deciding(KEY, 9))

    def test_not_deciding(self):
        """One of several, or one beside which copies are free, decides nothing."""
        for sending in self.sendings[:2]:
            self.transfers.add(KEY, sending)
            sending.awaited = True
            self.assertIsNone(self.transfers.deciding(KEY, 0))

    def test_nothing_stays(self):
        """Of drops of which nothing runs nothing is kept."""
        for _ in range(2):
            self.transfers.add(KEY, self.sendings[0])
            self.transfers.remove(KEY, self.sendings[0])
        self.assertEqual(({}, []), (self.transfers._of, self.transfers.of(KEY)))

    def test_progress(self):
        """How far they are is told by their ids."""
        self.recipients[1].taken = 5
        for sending in self.sendings[:2]:
            self.transfers.add(KEY, sending)
        expected = {"t0": Progress(acknowledged=0, settling=False), "t1": Progress(acknowledged=5, settling=False)}
        self.assertEqual(expected, self.transfers.progress(KEY))
        self.assertEqual({}, self.transfers.progress(b"other"))

    def test_over(self):
        """Whoever waits for the end of one is told when it is written down, and not when it is about to be."""
        clock = Clock()
        self.transfers.add(KEY, self.sendings[0])
        over = Deferred.fromCoroutine(self.sendings[0].over.within(clock, 1))
        self.sendings[0].awaited = True
        self.assertNoResult(over)
        self.transfers.remove(KEY, self.sendings[0])
        self.assertTrue(self.successResultOf(over))

    def test_abort(self):
        """All those of a drop can be broken off, and no others."""
        for sending in self.sendings[:2]:
            self.transfers.add(KEY, sending)
        self.transfers.add(b"other", self.sendings[2])
        self.transfers.abort(KEY)
        self.assertEqual([True, True, False], [recipient.aborted for recipient in self.recipients])

    def test_ends_while_aborted(self):
        """One that ends at once when it is broken off does not spare the others."""
        for sending in self.sendings:
            self.transfers.add(KEY, sending)
        for recipient, sending in zip(self.recipients, self.sendings, strict=True):
            self._end_at_abort(recipient, sending)
        self.transfers.abort(KEY)
        self.assertEqual(0, len(self.transfers))

    def _end_at_abort(self, recipient: Recipient, sending: Sending) -> None:
        recipient.abort = lambda: self.transfers.remove(KEY, sending)  # type: ignore[method-assign]
