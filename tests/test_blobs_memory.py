"""Blobs in memory."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from filedropd.interfaces import IBlobs
from filedropd.testing import MemoryBlobs
from tests.contracts.blobs import BlobsContract, collected, content, fetched, kept


class MemoryBlobsTests(BlobsContract, TestCase):
    """The contract, in memory."""

    async def make_store(self) -> IBlobs:
        store = MemoryBlobs()
        await store.open_store()
        return store

    async def crash(self, store: IBlobs) -> IBlobs:
        assert isinstance(store, MemoryBlobs)
        return store.crash()

    def fill(self, store: IBlobs) -> None:
        assert isinstance(store, MemoryBlobs)
        store.room = 0

    def make_room(self, store: IBlobs) -> None:
        assert isinstance(store, MemoryBlobs)
        store.room = None


class FaultTests(TestCase):
    """What a test may ask to go wrong."""

    async def test_once(self):
        """A fault comes once, and the call after it works."""
        store = MemoryBlobs()
        store.fail_next("receive", OSError("away"))
        with self.assertRaises(OSError):
            await store.receive()
        await (await store.receive()).write(b"bytes")

    async def test_in_order(self):
        """Several faults of one operation come in the order in which they were asked for."""
        store = MemoryBlobs()
        store.fail_next("ping", OSError("first"))
        store.fail_next("ping", OSError("second"))
        with self.assertRaisesRegex(OSError, "first"):
            await store.ping()
        with self.assertRaisesRegex(OSError, "second"):
            await store.ping()

    async def test_failed_publish(self):
        """A publish that fails leaves the upload as it was: it can be tried again."""
        store = MemoryBlobs()
        incoming = await store.receive()
        await incoming.seal()
        store.fail_next("publish", OSError("away"))
        with self.assertRaises(OSError):
            await incoming.publish()
        await incoming.publish()
        self.assertEqual(b"", await fetched(store, incoming.blob))

    async def test_failed_read(self):
        """A fault of ``read`` comes before the next piece."""
        store = MemoryBlobs()
        blob = await store.open(await kept(store, content(10)))
        store.fail_next("read", OSError("bad sector"))
        with self.assertRaisesRegex(OSError, "bad sector"):
            await collected(blob, 0, 10)

    async def test_open_blobs(self):
        """A test can see that a blob was opened and not closed."""
        store = MemoryBlobs()
        blob = await store.open(await kept(store, b"bytes"))
        self.assertEqual(1, store.open_blobs)
        blob.close()
        blob.close()
        self.assertEqual(0, store.open_blobs)
