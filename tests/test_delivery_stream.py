"""The plain delivery, from memory and from a disk."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.trial.unittest import TestCase

from filedropd.blobs.disk import DiskBlobs
from filedropd.deferreds import sleep
from filedropd.delivery.stream import StreamDelivery
from filedropd.interfaces import IBlob, IDelivery
from tests.contracts.delivery import PIECE, SIZE, DeliveryContract, content
from tests.support import Recipient


class StreamDeliveryTests(DeliveryContract, TestCase):
    """The contract, with bytes from memory."""

    async def make(self) -> IDelivery:
        return StreamDelivery()

    async def test_pieces(self):
        """It sends pieces as they are read, and holds no two at once."""
        recipient = Recipient()
        await self.deliver(recipient)
        self.assertEqual(-(-SIZE // PIECE), recipient.sends)

    async def test_breaks_in_the_middle(self):
        """Bytes that cannot be read any more come out as an error, after what could be read was sent."""
        blob = await self.blob(content())
        recipient = Recipient(before=lambda: self.store.fail_next("read", OSError(5, "bad disk")))
        with self.assertRaises(OSError):
            await StreamDelivery().deliver(blob, 0, SIZE, recipient)
        self.assertEqual((content()[:PIECE], False), (bytes(recipient.received), recipient.settling))


class StreamDeliveryFromDiskTests(DeliveryContract, TestCase):
    """The contract, with bytes from files."""

    async def make(self) -> IDelivery:
        return StreamDelivery()

    async def blob(self, data: bytes) -> IBlob:
        self.root = Path(self.mktemp())
        store = DiskBlobs(cast(IReactorFromThreads, reactor), self.root, durable=False)
        await store.open_store()
        self.addCleanup(lambda: Deferred.fromCoroutine(store.close_store()))
        incoming = await store.receive()
        await incoming.write(data)
        await incoming.seal()
        await incoming.publish()
        self.path = next(path for path in self.root.rglob(incoming.blob) if path.is_file())
        return await store.open(incoming.blob)

    async def unreadable(self, data: bytes) -> IBlob:
        blob = await self.blob(data)
        with self.path.open("r+b") as file:
            file.truncate(PIECE)
        return blob

    async def turn(self) -> None:
        await sleep(cast(IReactorTime, reactor), 0.001)
