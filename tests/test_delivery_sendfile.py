"""The fast delivery: by the contract, and by what arrives on sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import selectors
import socket
import struct
import threading
import tracemalloc
from pathlib import Path
from typing import Any, Final, cast

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from filedropd.blobs.disk import DiskBlobs
from filedropd.blobs.stored import DiskBlob
from filedropd.deferreds import shielded, sleep
from filedropd.delivery.sendfile import FIRST_WINDOW, SMALL, WINDOW, SendfileDelivery
from filedropd.delivery.stream import StreamDelivery
from filedropd.http.interfaces import Timeouts
from filedropd.http.request import Request
from filedropd.http.sendfile import ALONE, LEAST, TURN, UNSENT, Shares
from filedropd.http.sockets import plain_socket
from filedropd.http.tcp_info import tcp_info
from filedropd.interfaces import IBlob, IDelivery
from filedropd.model import Outcome
from filedropd.testing import request
from tests import test_http_endpoints as endpoints
from tests.contracts.blobs import kept
from tests.contracts.delivery import PIECE, SIZE, DeliveryContract, arrived, content
from tests.support import Recipient
from tests.test_http_endpoints import PATIENCE, Endpoint, Still, answered, head, taken

reactor: Any = installed_reactor

MIB: Final = 1024 * 1024
#: Bytes that the kernel takes in one piece: it looks at how much it holds between two.
PIECE_HELD: Final = 128 * 1024
#: Bytes of the file that the tests on sockets send parts of.
LARGE: Final = 64 * MIB + 2


def stored(root: Path, name: str) -> Path:
    """Return where a blob is."""
    return next(path for path in root.rglob(name) if path.is_file())


class FileRecipient(Recipient):
    """A recipient to whom the kernel can send files.

    :ivar files: how often that was done.
    """

    takes_files = True
    files = 0

    async def send_file(self, file: int, first: int, length: int) -> None:
        """See FileSending."""
        self.files += 1
        end = first + length
        while first < end:
            piece = os.pread(file, min(PIECE, end - first), first)
            if not piece:
                raise OSError(errno.EIO, "too short")
            first += len(piece)
            await self.send(piece)


class SendfileDeliveryTests(DeliveryContract, TestCase):
    """The contract, with bytes from files, to recipients that take files."""

    async def make(self) -> IDelivery:
        return SendfileDelivery(StreamDelivery())

    def recipient(self, **options: Any) -> Recipient:
        return FileRecipient(**options)

    async def blob(self, data: bytes) -> IBlob:
        root = Path(self.mktemp())
        store = DiskBlobs(cast(IReactorFromThreads, reactor), root, durable=False)
        await store.open_store()
        self.addCleanup(lambda: Deferred.fromCoroutine(store.close_store()))
        name = await kept(store, data)
        self.path = stored(root, name)
        return await store.open(name)

    async def unreadable(self, data: bytes) -> IBlob:
        blob = await self.blob(data)
        with self.path.open("r+b") as file:
            file.truncate(PIECE)
        return blob

    async def turn(self) -> None:
        await sleep(reactor, 0.001)

    async def sent(self, blob: IBlob, recipient: Recipient, length: int) -> None:
        """Send so many bytes."""
        self.assertEqual(arrived(length), await (await self.make()).deliver(blob, 0, length, recipient))
        self.assertEqual(content()[:length], bytes(recipient.received))
        blob.close()

    async def test_by_the_kernel(self):
        """What is larger than a small file is sent by the kernel."""
        recipient = FileRecipient()
        await self.sent(await self.blob(content()), recipient, SMALL + 1)
        self.assertEqual(1, recipient.files)

    async def test_small(self):
        """A small file is written, in one piece."""
        recipient = FileRecipient()
        await self.sent(await self.blob(content()), recipient, SMALL)
        self.assertEqual((0, 1), (recipient.files, recipient.sends))

    async def test_no_files_taken(self):
        """A recipient that takes no files, for whatever reason, is written to."""
        recipient = FileRecipient()
        recipient.takes_files = False
        await self.sent(await self.blob(content()), recipient, SIZE)
        self.assertEqual(0, recipient.files)
        await self.sent(await self.blob(content()), Recipient(), SIZE)

    async def test_no_descriptor(self):
        """Bytes that are in no file are written."""
        recipient = FileRecipient()
        await self.sent(await super().blob(content()), recipient, SIZE)
        self.assertEqual(0, recipient.files)

    async def test_windows(self):
        """No window is sent before it is in memory, and the next, a larger one, is brought in meanwhile."""
        size = 2 * WINDOW
        blob = cast(DiskBlob, await self.blob(bytes(size)))
        recipient = FileRecipient().hold_sends()
        steps: list[tuple[int, int]] = []
        ready = blob.ready

        async def noted(first: int, length: int) -> None:
            await ready(first, length)
            steps.append((first // FIRST_WINDOW, len(recipient.received) // FIRST_WINDOW))

        blob.ready = noted  # type: ignore[method-assign]
        delivered = Deferred.fromCoroutine((await self.make()).deliver(blob, 0, size, recipient))
        while len(steps) < 2:
            await self.turn()
        recipient.go_on()
        await delivered
        self.assertEqual([(0, 0), (1, 0), (3, 1), (7, 3), (15, 7)], steps)
        blob.close()


class Files:
    """An application that sends parts of one file: ``/<first>-<end>``.

    :ivar outcomes: what became of them, in order.
    :ivar requests: those that were made.
    """

    def __init__(self, blob: IBlob) -> None:
        self.blob = blob
        self.outcomes: list[Outcome | Exception] = []
        self.requests: list[Any] = []
        self._delivery = SendfileDelivery(StreamDelivery())

    def __call__(self, request: Request) -> Deferred[None]:
        self.requests.append(request)
        return shielded(self._send(request))

    async def _send(self, request: Request) -> None:
        first, end = map(int, request.path[1:].split(b"-"))
        request.setHeader("Content-Length", str(end - first))
        try:
            self.outcomes.append(await self._delivery.deliver(self.blob, first, end - first, request))
        except OSError as error:
            self.outcomes.append(error)
            request.abort()
        request.finish()

    def progress(self) -> tuple[object, int]:
        """Return what changes whenever the client of the last one takes something, as the server knows it.

        What lies in a UNIX socket's queue may be as much as before when that was filled up again.
        """
        output = self.requests[-1].channel._output
        return output._taken(), output.acknowledgements.written


def get(first: int, end: int) -> bytes:
    """Return a request for a part."""
    return request("GET", f"/{first}-{end}")


class OnSockets(Endpoint):
    """What holds on sockets, whether the kernel sends or we write."""

    assertEqual: Any
    assertLess: Any
    assertGreater: Any
    assertIsInstance: Any
    addCleanup: Any
    mktemp: Any
    zero_copy = True

    async def files(self, size: int = LARGE, clock: Still | None = None, **options: Any) -> Files:
        """Serve a file of so many bytes until the test is over."""
        self.data = random.Random(size).randbytes(size)
        root = Path(self.mktemp())
        store = DiskBlobs(reactor, root, durable=False)
        await store.open_store()
        self.addCleanup(lambda: Deferred.fromCoroutine(store.close_store()))
        name = await kept(store, self.data)
        self.stored = stored(root, name)
        blob = await store.open(name)
        self.addCleanup(blob.close)
        files = Files(blob)
        self.service = await self.serve(files, clock, **options)
        return files

    async def test_sizes(self):
        """Whatever its size, a part comes as it is, and the next request on the connection is answered."""
        await self.files()
        draw = random.Random(0)
        near = [[max(0, 2**power + by) for by in range(-2, 3)] for power in range(27)]
        sizes = [0, *(size for five in near[:23] for size in five), *map(draw.choice, near[23:])]

        def script(client: socket.socket) -> list[int]:
            wrong = []
            for number, size in enumerate(sizes):
                client.sendall(get(LARGE - size, LARGE))
                if number % 7 == 0:  # slowly
                    threading.Event().wait(0.02)
                if answered(client).body != self.data[LARGE - size :]:
                    wrong.append(size)
            return wrong

        self.assertEqual([], await self.client(script))

    async def test_ranges(self):
        """Parts from anywhere come as they are, to a reader that takes them in small portions."""
        await self.files(9 * MIB)
        draw = random.Random(1)
        ranges = [sorted(draw.sample(range(9 * MIB), 2)) for _ in range(12)]

        def script(client: socket.socket) -> list[bool]:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            right = []
            for first, end in ranges:
                client.sendall(get(first, end))
                head(client)
                body = bytearray()
                while len(body) < end - first:
                    body += client.recv(min(10_007, end - first - len(body)))
                right.append(body == self.data[first:end])
            return right

        self.assertEqual([True] * len(ranges), await self.client(script))

    async def test_one_write(self):
        """A small file goes to the kernel in one write with its head."""
        files = await self.files(4096)
        writes: list[int] = []

        def counted(request: Request) -> Deferred[None]:
            transport = cast(Any, request).channel.transport
            write = transport.writeSomeData

            def write_some(data: bytes) -> int:
                writes.append(len(data))
                return int(write(data))

            transport.writeSomeData = write_some
            return files(request)

        self.service._handler = counted

        def script(client: socket.socket) -> tuple[bytes, list[int]]:
            client.sendall(get(0, 4096))
            return answered(client).body, writes[:]  # to close, Twisted writes nothing once more

        body, to_answer = await self.client(script)
        self.assertEqual(self.data, body)
        self.assertEqual(1, len(to_answer))
        self.assertGreater(to_answer[0], 4096)

    async def test_truncated(self):
        """When the file turns out to be too short, the connection is broken off: nobody takes what came for all."""
        files = await self.files(32 * MIB)

        def script(client: socket.socket) -> int:
            client.sendall(get(0, 32 * MIB))
            head(client)
            with self.stored.open("r+b") as file:
                file.truncate(16 * MIB)
            return taken(client, 32 * MIB)

        with contextlib.suppress(ConnectionError):
            self.assertLess(await self.client(script), 16 * MIB + 1)
        self.assertIsInstance(files.outcomes[0], OSError)

    async def test_reset(self):
        """Of a download that is reset half-way at least what arrived was sent, nothing is confirmed."""
        files = await self.files(32 * MIB)

        def script(client: socket.socket) -> None:
            # Else its window may grow until all that is left is in it.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
            client.sendall(get(0, 32 * MIB))
            head(client)
            taken(client, 16 * MIB)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        await self.client(script)
        outcome = await self.outcome(files)
        self.assertEqual((0, False), (outcome.acknowledged, outcome.complete))
        self.assertGreater(outcome.sent, 16 * MIB - 1)
        self.assertLess(outcome.sent, 32 * MIB)

    async def test_our_own_abort(self):
        """Of a download that we break off, all that the kernel took counts as sent, and no more is given to it."""
        files = await self.files(32 * MIB)
        go_on = threading.Event()

        def script(client: socket.socket) -> int:
            client.sendall(get(0, 32 * MIB))
            head(client)
            size = taken(client, 4 * MIB)
            reactor.callFromThread(files.requests[0].abort)
            go_on.wait(PATIENCE)
            with contextlib.suppress(ConnectionError):
                size += taken(client, 32 * MIB)
            return size

        left = self.client(script)
        outcome = await self.outcome(files)
        go_on.set()
        self.assertLess(await left, outcome.sent + 1)
        self.assertLess(outcome.sent, 32 * MIB)

    async def test_stalled(self):
        """A client that takes nothing is given up; one that takes a little now and then is not."""
        clock = Still()
        files = await self.files(16 * MIB, clock=clock, timeouts=Timeouts(stall=0.5))
        with await deferToThread(self.connect) as slow:
            await deferToThread(slow.sendall, get(0, 16 * MIB))
            await deferToThread(head, slow)
            for _ in range(8):
                clock.advance(0.2)
                before = files.progress()
                await deferToThread(taken, slow, MIB)
                while files.progress() == before:  # the kernel has not told yet
                    await sleep(reactor, 0.001)
            self.assertEqual(1, len(await deferToThread(slow.recv, 1)))

        def still(client: socket.socket) -> None:
            client.sendall(get(0, 16 * MIB))
            head(client)
            while not files.outcomes[1:]:
                threading.Event().wait(0.05)

        given_up = self.client(still)
        await clock.until(given_up)
        self.assertEqual([False, False], [cast(Outcome, outcome).complete for outcome in files.outcomes])

    async def test_many(self):
        """Among a hundred downloads nobody is kept waiting, and what they hold does not add up."""
        count, size = 100, MIB
        await self.files(2 * MIB)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        got, whole = await deferToThread(self._all_at_once, count, size)
        _, peak = tracemalloc.get_traced_memory()
        self.assertEqual(count, whole)
        # When the first has all.
        self.assertGreater(min(got), size // 8)
        if self.zero_copy:  # else each has two pieces of the file in memory, and no more
            self.assertLess(peak, 8 * MIB)

    def _all_at_once(self, count: int, size: int) -> tuple[list[int], int]:
        """Download so many parts, taking what comes in turns; return how far each was when the first was complete."""
        buffer = bytearray(32_768)
        with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
            for number in range(count):
                client = stack.enter_context(self.connect())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
                client.sendall(get(number, number + size))
                head(client)
                selector.register(client, selectors.EVENT_READ, number)
            got, whole = [0] * count, 0
            first: list[int] = []
            while whole < count:
                for key, _ in selector.select(PATIENCE):
                    got[key.data] += cast(socket.socket, key.fileobj).recv_into(buffer)
                    if got[key.data] == size:
                        first = first or got[:]
                        whole += 1
                        selector.unregister(key.fileobj)
            return first, whole

    async def outcome(self, files: Files) -> Outcome:
        """Return what became of the first download."""
        for _ in range(int(PATIENCE / 0.01)):
            if files.outcomes:
                break
            await sleep(reactor, 0.01)
        outcome = files.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class OnTCP(OnSockets):
    """Over TCP."""

    timeout = 60
    endpoint = endpoints.TCPTests.endpoint
    connect = endpoints.TCPTests.connect


class SendfileTCPTests(OnTCP, TestCase):
    """The kernel sends, over TCP."""

    async def test_held_little(self):
        """For a client that takes nothing the kernel is not given more than it can send, and a little."""
        files = await self.files(16 * MIB)
        held, seen = [0], threading.Event()

        def script(client: socket.socket) -> None:
            client.sendall(get(0, 16 * MIB))
            seen.wait(PATIENCE)

        client = self.client(script)
        while not (held[-1] and held[-50:] == held[-1:] * 50):  # until it is given no more
            await sleep(reactor, 0.01)
            told = [tcp_info(plain_socket(each.channel.transport)) for each in files.requests if each.channel]
            held += [info.notsent for info in told if info is not None]
        seen.set()
        await client
        self.assertLessEqual(max(held), UNSENT + PIECE_HELD)


class PlainTCPTests(OnTCP, TestCase):
    """We write, over TCP."""

    zero_copy = False


class SharesTests(SynchronousTestCase):
    """How much each may send in a turn."""

    def test_shares(self):
        """One alone has more than what two share; however many there are, none has less than is worth a turn."""
        shares, some = Shares(), []
        with contextlib.ExitStack() as senders:
            for _ in range(TURN // LEAST + 2):
                senders.enter_context(shares)
                some.append(shares.share)
        self.assertEqual([ALONE, TURN // 2, TURN // 3], some[:3])
        self.assertEqual([LEAST] * 3, some[-3:])
        self.assertEqual(ALONE, shares.share)


class SendfileUNIXTests(OnSockets, TestCase):
    """The kernel sends, over a UNIX socket."""

    timeout = 60
    endpoint = endpoints.UNIXTests.endpoint
    connect = endpoints.UNIXTests.connect

    async def test_shut(self):
        """A client that takes no more, and stays connected, has left."""
        files = await self.files(16 * MIB)

        def script(client: socket.socket) -> None:
            client.sendall(get(0, 16 * MIB))
            head(client)
            taken(client, MIB)
            client.shutdown(socket.SHUT_RD)
            taken(client, 16 * MIB)  # what was on its way
            while not files.outcomes:
                threading.Event().wait(0.05)

        await self.client(script)
        outcome = await self.outcome(files)
        self.assertEqual((0, False), (outcome.acknowledged, outcome.complete))
        self.assertGreater(outcome.sent, MIB - 1)
        self.assertLess(outcome.sent, 16 * MIB)


class PlainUNIXTests(SendfileUNIXTests):
    """We write, over a UNIX socket."""

    zero_copy = False
