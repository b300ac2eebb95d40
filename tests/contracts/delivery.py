"""What every :class:`filedropd.interfaces.IDelivery` promises. Mix :class:`DeliveryContract` into a test case."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from filedropd.http.settling import Settlement
from filedropd.interfaces import IBlob, IDelivery
from filedropd.model import NOTHING_SENT, Outcome
from tests.support import MemoryBlobs, Recipient

if TYPE_CHECKING:
    _Base = TestCase
else:
    _Base = object

PIECE = 256 * 1024
#: Some pieces and a bit, so that the last piece is a short one.
SIZE = 3 * PIECE + 1000


def content(size: int = SIZE) -> bytes:
    """Return ``size`` bytes of which no two pieces are alike."""
    return random.Random(size).randbytes(size)


def arrived(length: int) -> Outcome:
    """Return the outcome of an answer of ``length`` bytes that arrived."""
    return Outcome(acknowledged=length, sent=length, complete=True)


class DeliveryContract(_Base):
    """The suite. Say how a delivery is made; where it needs blobs of a kind of its own, how those are made."""

    async def make(self) -> IDelivery:
        """Return a delivery, which the test case closes."""
        raise NotImplementedError

    async def blob(self, data: bytes) -> IBlob:
        """Return a blob that holds ``data``, open for reading; the test case sees to what it leaves."""
        self.store = MemoryBlobs()
        incoming = await self.store.receive()
        await incoming.write(data)
        await incoming.seal()
        await incoming.publish()
        return await self.store.open(incoming.blob)

    def recipient(self, **options: Any) -> Recipient:
        """Return a recipient; for the options see its class."""
        return Recipient(**options)

    async def unreadable(self, data: bytes) -> IBlob:
        """Return a blob that says that it holds ``data``, and whose bytes cannot be read."""
        blob = await self.blob(data)
        self.store.fail_next("read", OSError(5, "bad disk"))
        return blob

    async def deliver(self, recipient: Recipient, first: int = 0, length: int = SIZE) -> Outcome:
        """Hand over a part of :func:`content`."""
        blob = await self.blob(content())
        try:
            return await (await self.make()).deliver(blob, first, length, recipient)
        finally:
            blob.close()

    async def test_port(self):
        """It provides the port."""
        self.assertTrue(verifyObject(IDelivery, await self.make()))

    async def test_whole(self):
        """All bytes arrive, in order, and that is the outcome."""
        recipient = self.recipient()
        self.assertEqual(arrived(SIZE), await self.deliver(recipient))
        self.assertEqual(content(), bytes(recipient.received))

    async def test_ranges(self):
        """Of a range those bytes arrive, and no others."""
        for first, length in ((0, 1), (SIZE - 1, 1), (1, SIZE - 1), (PIECE - 1, 2), (PIECE, PIECE), (7, 2 * PIECE)):
            recipient = self.recipient()
            self.assertEqual(arrived(length), await self.deliver(recipient, first, length), (first, length))
            self.assertEqual(content()[first : first + length], bytes(recipient.received), (first, length))

    async def test_nothing(self):
        """Of no bytes none are sent, and what becomes of the head alone is the outcome."""
        recipient = self.recipient()
        self.assertEqual(arrived(0), await self.deliver(recipient, 0, 0))
        self.assertEqual((b"", True), (bytes(recipient.received), recipient.settling))

    async def test_left(self):
        """A recipient that leaves in the middle is an outcome and no error: what he acknowledged, not complete."""
        for broken_at in (0, 1, PIECE - 1, PIECE, SIZE - 1):
            outcome = await self.deliver(self.recipient(breaks_at=broken_at, acknowledged=broken_at))
            self.assertEqual(Outcome(acknowledged=broken_at, sent=broken_at, complete=False), outcome)

    async def test_left_unread(self):
        """Sent is not acknowledged, and both are the outcome."""
        outcome = await self.deliver(self.recipient(breaks_at=PIECE + 5, acknowledged=10))
        self.assertEqual(Outcome(acknowledged=10, sent=PIECE + 5, complete=False), outcome)

    async def test_never_begun(self):
        """That not even the head has left is the outcome of a recipient that was gone before."""
        recipient = self.recipient(breaks_at=0)
        recipient.outcome = Settlement(acknowledged=0, sent=0, begun=False, complete=False)
        self.assertEqual(NOTHING_SENT, await self.deliver(recipient))

    async def test_quiet(self):
        """That it settled by quiet alone is the outcome."""
        outcome = await self.deliver(self.recipient(quiet=True))
        self.assertEqual(Outcome(acknowledged=SIZE, sent=SIZE, complete=True, quiet=True), outcome)

    async def test_nothing_after(self):
        """To a recipient that has left nothing more is sent."""
        recipient = self.recipient(breaks_at=PIECE - 1)
        await self.deliver(recipient)
        self.assertEqual(PIECE - 1, len(recipient.received))
        self.assertEqual(0, recipient.late)

    async def test_part_is_not_all(self):
        """What was broken off is not complete, although all that was sent of it has arrived."""
        recipient = self.recipient(breaks_at=PIECE)
        recipient.outcome = Settlement(acknowledged=PIECE, sent=PIECE, begun=True, complete=True, quiet=True)
        self.assertEqual(Outcome(acknowledged=PIECE, sent=PIECE, complete=False), await self.deliver(recipient))

    async def test_sent_is_not_settled(self):
        """All was sent, and it is known that it did not arrive: that is the outcome."""
        recipient = self.recipient()
        recipient.outcome = Settlement(acknowledged=99, sent=100, begun=True, complete=False)
        self.assertEqual(Outcome(acknowledged=99, sent=100, complete=False), await self.deliver(recipient))

    async def test_waits_for_the_outcome(self):
        """It ends when it is known what became of the bytes, and not before."""
        recipient = self.recipient().hold_settle()
        delivered = Deferred.fromCoroutine(self.deliver(recipient))
        while not recipient.settling:
            self.assertFalse(delivered.called)
            await self.turn()
        self.assertFalse(delivered.called)
        recipient.leave(acknowledged=5)
        self.assertEqual(Outcome(acknowledged=5, sent=SIZE, complete=False), await delivered)

    async def test_back_pressure(self):
        """A piece is sent when the one before was taken."""
        recipient = self.recipient().hold_sends()
        delivered = Deferred.fromCoroutine(self.deliver(recipient))
        await self.turn()
        self.assertEqual((0, False), (recipient.sends, delivered.called))
        recipient.go_on()
        await delivered
        self.assertEqual(content(), bytes(recipient.received))

    async def test_unreadable(self):
        """That the bytes cannot be read comes out, and is never settled as if it were an end."""
        recipient = self.recipient()
        blob = await self.unreadable(content())
        with self.assertRaises(OSError):
            await (await self.make()).deliver(blob, 0, SIZE, recipient)
        self.assertFalse(recipient.settling)
        blob.close()

    async def test_not_closed(self):
        """The blob is its caller's: it can be read from afterwards."""
        blob = await self.blob(content())
        delivery = await self.make()
        for _ in range(2):
            self.assertEqual(arrived(SIZE), await delivery.deliver(blob, 0, SIZE, self.recipient()))
        blob.close()

    async def test_cancelled(self):
        """Cancelled while a piece is out, it ends at once and leaves the blob usable."""
        blob = await self.blob(content())
        delivery = await self.make()
        delivered = Deferred.fromCoroutine(delivery.deliver(blob, 0, SIZE, self.recipient().hold_sends()))
        await self.turn()
        delivered.cancel()
        with self.assertRaises(CancelledError):
            await delivered
        self.assertEqual(arrived(SIZE), await delivery.deliver(blob, 0, SIZE, self.recipient()))
        blob.close()

    async def turn(self) -> None:
        """Let the reactor turn, where bytes come from another thread."""
