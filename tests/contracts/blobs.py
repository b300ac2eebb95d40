"""What every :class:`filedropd.interfaces.IBlobs` promises. Mix :class:`BlobsContract` into a test case."""

from __future__ import annotations

import os
import random
from collections.abc import Coroutine
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from filedropd.errors import FiledropError, InsufficientStorage
from filedropd.interfaces import IBlob, IBlobs, IIncomingBlob

if TYPE_CHECKING:
    _Base = TestCase
else:
    _Base = object

PIECE = 256 * 1024

T = TypeVar("T")

#: A name of the right form that no store ever gave out.
ABSENT = "0123456789abcdef" * 2


def content(size: int) -> bytes:
    """Return ``size`` bytes of which no two pieces are alike."""
    return random.Random(size).randbytes(size)


async def sealed(store: IBlobs, data: bytes) -> IIncomingBlob:
    """Return a sealed upload of ``data``."""
    incoming = await store.receive()
    await incoming.write(data)
    await incoming.seal()
    return incoming


async def kept(store: IBlobs, data: bytes) -> str:
    """Publish ``data`` and return its blob's name."""
    incoming = await sealed(store, data)
    await incoming.publish()
    return incoming.blob


async def collected(blob: IBlob, first: int, length: int) -> list[bytes]:
    """Return the pieces of a range."""
    return [piece async for piece in blob.read(first, length)]


async def fetched(store: IBlobs, name: str) -> bytes:
    """Return all bytes of a published blob."""
    blob = await store.open(name)
    try:
        return b"".join(await collected(blob, 0, blob.size))
    finally:
        blob.close()


def in_reactor(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` in the reactor's thread and return its result in this one."""

    def start() -> Deferred[Any]:
        return Deferred.fromCoroutine(work)

    return cast(T, blockingCallFromThread(cast(IReactorFromThreads, reactor), start))


class BlobsContract(_Base):
    """The suite. Say how a store is made, and how it looks after its daemon was killed."""

    async def make_store(self) -> IBlobs:
        """Return an open, empty store, which the test case closes."""
        raise NotImplementedError

    async def crash(self, store: IBlobs) -> IBlobs:
        """Kill ``store``'s daemon without a chance to clean up; return what the next one opens."""
        raise NotImplementedError

    def fill(self, store: IBlobs) -> None:
        """Leave no room in ``store``."""
        raise NotImplementedError

    def make_room(self, store: IBlobs) -> None:
        """Give ``store`` back the room that :meth:`fill` took."""
        raise NotImplementedError

    async def absent(self, store: IBlobs, name: str) -> None:
        """Claim that there is no published blob of this name."""
        with self.assertRaises(FileNotFoundError):
            await store.open(name)

    async def test_ports(self):
        """The store and what it returns provide the ports."""
        store = await self.make_store()
        incoming = await store.receive()
        self.assertTrue(verifyObject(IIncomingBlob, incoming))
        await incoming.discard()
        blob = await store.open(await kept(store, b"bytes"))
        self.addCleanup(blob.close)
        self.assertTrue(verifyObject(IBlob, blob))
        self.assertTrue(verifyObject(IBlobs, store))

    async def test_round_trip(self):
        """What was written in several goes is read back as one, byte by byte."""
        store = await self.make_store()
        data = content(3 * PIECE + 7)
        incoming = await store.receive()
        for start in range(0, len(data), 100_000):
            await incoming.write(data[start : start + 100_000])
        await incoming.seal()
        await incoming.publish()
        self.assertEqual(data, await fetched(store, incoming.blob))

    async def test_whole(self):
        """What is taken whole is sealed: it can be published, and not written to."""
        store = await self.make_store()
        for data in (b"", b"bytes", content(PIECE)):
            incoming = await store.receive_whole(data)
            self.assertEqual(len(data), incoming.size)
            with self.assertRaises((ValueError, FiledropError)):
                await incoming.write(b"more")
            await incoming.publish()
            await incoming.discard()
            self.assertEqual(data, await fetched(store, incoming.blob))

    async def test_whole_unpublished(self):
        """What was taken whole and not published is left by a killed daemon, and by a discarded upload not."""
        store = await self.make_store()
        left, discarded = await store.receive_whole(b"left"), await store.receive_whole(b"discarded")
        await discarded.discard()
        await self.absent(store, left.blob)
        self.assertEqual((left.blob,), (await (await self.crash(store)).unfinished()).blobs)

    async def test_spliced(self):
        """What comes through a pipe stands where it came, between what was written, and is counted."""
        store = await self.make_store()
        incoming = await store.receive()
        await incoming.write(b"before ")
        for data in (b"from ", b"a pipe"):
            await incoming.splice(self.pipe_with(data), len(data))
        await incoming.write(b" after")
        self.assertEqual(24, incoming.size)
        await incoming.seal()
        await incoming.publish()
        self.assertEqual(b"before from a pipe after", await fetched(store, incoming.blob))

    async def test_spliced_part(self):
        """No more than was said is taken out of a pipe."""
        store = await self.make_store()
        incoming = await store.receive()
        pipe = self.pipe_with(content(60_000))
        await incoming.splice(pipe, 50_000)
        self.assertEqual((50_000, content(60_000)[50_000:]), (incoming.size, os.read(pipe, 60_000)))
        await incoming.discard()

    async def test_spliced_too_little(self):
        """Nobody waits for what is not in the pipe, whether it is open or not; the upload has failed."""
        store = await self.make_store()
        for open_still in (True, False):
            incoming = await store.receive()
            with self.assertRaises(FiledropError):
                await incoming.splice(self.pipe_with(b"12345", open_still=open_still), 6)
            await incoming.discard()
        self.assertEqual((), (await (await self.crash(store)).unfinished()).blobs)

    async def test_splice_after_seal(self):
        """Nothing comes through a pipe after the seal, or after the upload is discarded."""
        store = await self.make_store()
        incoming = await sealed(store, b"bytes")
        for _ in range(2):
            with self.assertRaises(ValueError):
                await incoming.splice(self.pipe_with(b"more"), 4)
            await incoming.discard()

    def pipe_with(self, data: bytes, *, open_still: bool = True) -> int:
        """Return the read end of a pipe that holds ``data``; both ends are closed with the test."""
        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.addCleanup(os.close, read)
        os.write(write, data)
        if open_still:
            self.addCleanup(os.close, write)
        else:
            os.close(write)
        return read

    async def test_empty(self):
        """An upload without a byte is a blob without a byte."""
        store = await self.make_store()
        incoming = await store.receive()
        await incoming.write(b"")
        await incoming.seal()
        await incoming.publish()
        self.assertEqual(b"", await fetched(store, incoming.blob))

    async def test_incoming_size(self):
        """An upload knows how many bytes were written."""
        incoming = await (await self.make_store()).receive()
        await incoming.write(b"12345")
        await incoming.write(b"678")
        self.assertEqual(8, incoming.size)
        await incoming.discard()

    async def test_blob_size(self):
        """An open blob knows its size before it is read."""
        store = await self.make_store()
        blob = await store.open(await kept(store, b"12345"))
        self.addCleanup(blob.close)
        self.assertEqual(5, blob.size)

    async def test_names_differ(self):
        """Two uploads never share a name, which is 32 hex digits."""
        store = await self.make_store()
        names = {await kept(store, b"same") for _ in range(5)}
        self.assertEqual(5, len(names))
        for name in names:
            self.assertRegex(name, r"\A[0-9a-f]{32}\Z")

    async def test_not_before_publish(self):
        """A sealed upload cannot be opened before it is published."""
        store = await self.make_store()
        incoming = await sealed(store, b"bytes")
        await self.absent(store, incoming.blob)
        await incoming.discard()

    async def test_publish_needs_seal(self):
        """What is not durable is not published."""
        store = await self.make_store()
        incoming = await store.receive()
        with self.assertRaises(ValueError):
            await incoming.publish()
        await self.absent(store, incoming.blob)
        await incoming.discard()

    async def test_write_after_seal(self):
        """Nothing is written after the seal."""
        store = await self.make_store()
        incoming = await sealed(store, b"bytes")
        with self.assertRaises(ValueError):
            await incoming.write(b"more")
        await incoming.publish()
        self.assertEqual(b"bytes", await fetched(store, incoming.blob))

    async def test_write_after_discard(self):
        """Nothing is written after the upload is discarded."""
        incoming = await (await self.make_store()).receive()
        await incoming.discard()
        with self.assertRaises(ValueError):
            await incoming.write(b"more")

    async def test_discard(self):
        """A discarded upload is nowhere, and cannot be published."""
        store = await self.make_store()
        incoming = await sealed(store, b"bytes")
        await incoming.discard()
        with self.assertRaises(ValueError):
            await incoming.publish()
        await self.absent(store, incoming.blob)

    async def test_discard_twice(self):
        """To discard once more does nothing."""
        incoming = await (await self.make_store()).receive()
        await incoming.discard()
        await incoming.discard()

    async def test_discard_after_publish(self):
        """To discard what is published does nothing."""
        store = await self.make_store()
        incoming = await sealed(store, b"bytes")
        await incoming.publish()
        await incoming.discard()
        self.assertEqual(b"bytes", await fetched(store, incoming.blob))

    async def test_open_absent(self):
        """What was never there cannot be opened."""
        await self.absent(await self.make_store(), ABSENT)

    async def test_open_by_path(self):
        """A name that is a path leads nowhere."""
        store = await self.make_store()
        name = await kept(store, b"bytes")
        await self.absent(store, f"../{name[:2]}/{name}")

    async def test_pieces(self):
        """A blob comes in pieces of at most 256 KiB, none of them empty."""
        store = await self.make_store()
        blob = await store.open(await kept(store, content(4 * PIECE + 1)))
        self.addCleanup(blob.close)
        sizes = [len(piece) for piece in await collected(blob, 0, blob.size)]
        self.assertLessEqual(max(sizes), PIECE)
        self.assertGreater(min(sizes), 0)

    async def test_ranges(self):
        """Every range of every blob holds the bytes that were written there, also when it is read again."""

        async def read_twice(store: IBlobs, size: int, first: int, length: int) -> list[bytes]:
            name = await kept(store, content(size))
            blob = await store.open(name)
            try:
                return [b"".join(await collected(blob, first, length)) for _ in range(2)]
            finally:
                blob.close()
                await store.delete(name)

        sizes = st.integers(0, 100) | st.integers(0, 3 * PIECE) | st.sampled_from([65_536, 65_537, PIECE, PIECE + 1])

        @settings(deadline=None, max_examples=60)
        @given(sizes, st.data())
        def holds(size: int, draw: st.DataObject) -> None:
            first = draw.draw(st.integers(0, size))
            length = draw.draw(st.integers(0, size - first))
            got = in_reactor(read_twice(store, size, first, length))
            assert got == [content(size)[first : first + length]] * 2

        # Hypothesis calls plain functions: it runs on a thread, and the store in the reactor's.
        store = await self.make_store()
        await deferToThread(holds)

    async def test_too_short(self):
        """To read on behind the end is an error, not a shorter answer."""
        store = await self.make_store()
        blob = await store.open(await kept(store, b"12345"))
        self.addCleanup(blob.close)
        with self.assertRaises(OSError):
            await collected(blob, 3, 3)

    async def test_ready(self):
        """Of bytes that are there it can be waited until they can be had; a descriptor, where there is one, has them."""
        store = await self.make_store()
        data = content(9 * PIECE + 3)
        blob = await store.open(await kept(store, data))
        self.addCleanup(blob.close)
        for first, length in ((0, len(data)), (0, 0), (1, 1), (len(data) - 1, 1), (len(data), 0), (PIECE, 8 * PIECE)):
            await blob.ready(first, length)
            if blob.descriptor is not None:
                self.assertEqual(data[first : first + length], os.pread(blob.descriptor, length, first))

    async def test_never_ready(self):
        """Bytes behind the end, and those of a closed blob, never can."""
        store = await self.make_store()
        blob = await store.open(await kept(store, b"12345"))
        with self.assertRaises(OSError):
            await blob.ready(3, 3)
        blob.close()
        with self.assertRaises(OSError):
            await blob.ready(0, 5)
        self.assertIsNone(blob.descriptor)

    async def test_two_readers(self):
        """Two readers of one open blob do not disturb each other."""
        store = await self.make_store()
        data = content(2 * PIECE + 5)
        blob = await store.open(await kept(store, data))
        self.addCleanup(blob.close)
        one, other = b"", b""
        async with (
            aclosing(blob.read(0, len(data))) as ones,
            aclosing(blob.read(1, len(data) - 1)) as others,
        ):
            async for piece in ones:
                one += piece
                other += await anext(others, b"")
            async for piece in others:
                other += piece
        self.assertEqual((data, data[1:]), (one, other))

    async def test_left_early(self):
        """A reader may leave after the first piece; the blob can be read again."""
        store = await self.make_store()
        data = content(3 * PIECE)
        blob = await store.open(await kept(store, data))
        self.addCleanup(blob.close)
        async with aclosing(blob.read(0, len(data))) as pieces:
            await anext(pieces)
        self.assertEqual(data, b"".join(await collected(blob, 0, len(data))))

    async def test_read_after_close(self):
        """A closed blob is not read."""
        store = await self.make_store()
        blob = await store.open(await kept(store, b"bytes"))
        blob.close()
        with self.assertRaises(OSError):
            await collected(blob, 0, 5)

    async def test_close_twice(self):
        """To close once more does nothing."""
        store = await self.make_store()
        blob = await store.open(await kept(store, b"bytes"))
        blob.close()
        blob.close()

    async def test_delete(self):
        """A deleted blob cannot be opened."""
        store = await self.make_store()
        name = await kept(store, b"bytes")
        await store.delete(name)
        await self.absent(store, name)

    async def test_delete_absent(self):
        """To delete what is absent, or no blob's name at all, is success."""
        store = await self.make_store()
        await store.delete(ABSENT)
        await store.delete("../" + ABSENT)

    async def test_read_after_delete(self):
        """What is open stays readable to its end when it is deleted."""
        store = await self.make_store()
        data = content(2 * PIECE)
        name = await kept(store, data)
        blob = await store.open(name)
        self.addCleanup(blob.close)
        await store.delete(name)
        self.assertEqual(data, b"".join(await collected(blob, 0, len(data))))

    async def test_ping(self):
        """A store that can be written to says so, and keeps nothing of the trial."""
        store = await self.make_store()
        await store.ping()
        self.assertEqual((), (await (await self.crash(store)).unfinished()).blobs)

    async def test_close_store_twice(self):
        """To close the store once more does nothing."""
        store = await self.make_store()
        await store.close_store()
        await store.close_store()

    async def test_nothing_unfinished(self):
        """What is in flight here is not unfinished."""
        store = await self.make_store()
        incoming = await sealed(store, b"bytes")
        self.assertEqual((), (await store.unfinished()).blobs)
        await incoming.discard()

    async def test_unfinished(self):
        """A crash leaves what was neither published nor discarded."""
        store = await self.make_store()
        half = await store.receive()
        await half.write(b"ha")
        whole = await sealed(store, b"whole")
        await kept(store, b"published")
        await (await sealed(store, b"discarded")).discard()
        successor = await self.crash(store)
        self.assertEqual(sorted([half.blob, whole.blob]), sorted((await successor.unfinished()).blobs))

    async def test_finish(self):
        """An unfinished blob that is finished can be opened."""
        store = await self.make_store()
        incoming = await sealed(store, b"bytes")
        successor = await self.crash(store)
        await successor.unfinished()
        await successor.finish(incoming.blob)
        self.assertEqual(b"bytes", await fetched(successor, incoming.blob))
        self.assertEqual((), (await successor.unfinished()).blobs)

    async def test_finish_twice(self):
        """To finish what is published is success."""
        store = await self.make_store()
        name = await kept(store, b"bytes")
        await store.finish(name)
        self.assertEqual(b"bytes", await fetched(store, name))

    async def test_finish_absent(self):
        """What is neither unfinished nor published cannot be finished."""
        with self.assertRaises(FileNotFoundError):
            await (await self.make_store()).finish(ABSENT)

    async def test_abandon(self):
        """An unfinished blob that is abandoned is nowhere."""
        store = await self.make_store()
        incoming = await sealed(store, b"bytes")
        successor = await self.crash(store)
        await successor.unfinished()
        await successor.abandon(incoming.blob)
        await self.absent(successor, incoming.blob)
        self.assertEqual((), (await successor.unfinished()).blobs)

    async def test_abandon_absent(self):
        """To abandon what is absent is success."""
        await (await self.make_store()).abandon(ABSENT)

    async def test_unfinished_twice(self):
        """What is not settled is named again."""
        store = await self.make_store()
        names = sorted([(await sealed(store, b"one")).blob, (await sealed(store, b"other")).blob])
        successor = await self.crash(store)
        await successor.unfinished()
        await successor.abandon(names[0])
        self.assertEqual(tuple(names[1:]), (await successor.unfinished()).blobs)

    async def filled_while_written(self) -> tuple[IBlobs, IIncomingBlob]:
        """Return a store that became full, and an upload that was refused for that."""
        store = await self.make_store()
        incoming = await store.receive()
        await incoming.write(content(PIECE))
        self.fill(store)
        with self.assertRaises(InsufficientStorage):
            # A store need not know at once.
            for _ in range(64):
                await incoming.write(content(PIECE))
        return store, incoming

    async def test_full_begins_nothing(self):
        """A full store takes no new upload, and keeps nothing of the attempt."""
        store = await self.make_store()
        self.fill(store)
        with self.assertRaises(InsufficientStorage):
            await store.receive()
        self.assertEqual((), (await (await self.crash(store)).unfinished()).blobs)

    async def test_full_takes_nothing_whole(self):
        """A full store takes nothing whole either, and keeps nothing of the attempt."""
        store = await self.make_store()
        self.fill(store)
        with self.assertRaises(InsufficientStorage):
            await store.receive_whole(b"bytes")
        self.assertEqual((), (await (await self.crash(store)).unfinished()).blobs)

    async def test_full_while_written(self):
        """An upload in a store that becomes full is refused; discarded, it leaves nothing."""
        store, incoming = await self.filled_while_written()
        await incoming.discard()
        self.assertEqual((), (await (await self.crash(store)).unfinished()).blobs)

    async def test_full_while_spliced(self):
        """An upload through a pipe to a store that becomes full is refused; discarded, it leaves nothing."""
        store = await self.make_store()
        incoming = await store.receive()
        self.fill(store)
        with self.assertRaises(InsufficientStorage):
            for _ in range(4096):
                await incoming.splice(self.pipe_with(content(4096)), 4096)
        await incoming.discard()
        self.assertEqual((), (await (await self.crash(store)).unfinished()).blobs)

    async def test_full_and_room_again(self):
        """As soon as there is room again, an upload is taken."""
        store, incoming = await self.filled_while_written()
        await incoming.discard()
        self.make_room(store)
        await store.ping()
        self.assertEqual(b"bytes", await fetched(store, await kept(store, b"bytes")))

    async def test_full_tells(self):
        """A full store says that it is."""
        store = await self.make_store()
        self.fill(store)
        with self.assertRaises(InsufficientStorage):
            await store.ping()

    async def test_full_publishes(self):
        """What is sealed when the store becomes full can be published."""
        store = await self.make_store()
        incoming = await sealed(store, b"bytes")
        self.fill(store)
        await incoming.publish()
        self.assertEqual(b"bytes", await fetched(store, incoming.blob))

    async def test_full_hands_out(self):
        """A full store hands out what it has, and deletes it."""
        store = await self.make_store()
        name = await kept(store, content(2 * PIECE))
        self.fill(store)
        self.assertEqual(content(2 * PIECE), await fetched(store, name))
        await store.delete(name)
        await self.absent(store, name)
