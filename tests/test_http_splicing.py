"""Bodies that go past Python: pipes, and uploads through them on real sockets."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import os
import socket
import struct
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from filedropd.errors import ClientGone, InsufficientStorage, MalformedRequest, RequestTimeout
from filedropd.http.interfaces import Timeouts
from filedropd.http.pipes import PIPE_SIZE, Pipe, Pipes
from filedropd.http.splicing import ENOUGH, LEAST
from filedropd.testing import parse_responses, request
from tests.splices import MIB, PATIENCE, WAYS, Client, Copied, FileSink, Place, near_powers
from tests.wired import answer

T = TypeVar("T")

reactor: Any = installed_reactor


def descriptors(*, first: bool = False) -> int:
    """How many descriptors this process has open.

    :param first: others are going to be compared with this: what earlier tests left is not to vanish in between.
    """
    if first:
        gc.collect()
    return len(os.listdir("/proc/self/fd"))


class PipesTests(SynchronousTestCase):
    """The pipes of a server."""

    def setUp(self):
        self.pipes = Pipes(2)
        self.addCleanup(self.pipes.close)
        self.called: list[str] = []

    def take(self) -> Pipe:
        pipe = self.pipes.take()
        assert pipe is not None
        return pipe

    def test_bounded(self):
        """There are no more than were allowed, and one that is given back is the next to be taken."""
        one, other = self.take(), self.take()
        self.assertIsNone(self.pipes.take())
        self.pipes.give_back(one)
        self.assertIs(one, self.pipes.take())
        self.pipes.give_back(other)
        self.pipes.give_back(one)

    def test_not_empty(self):
        """A pipe that may hold something is closed, and another one takes its place."""
        before = descriptors(first=True)
        pipe = self.take()
        pipe.size = 1
        self.pipes.give_back(pipe)
        self.assertEqual(before, descriptors())
        for pipe in (self.take(), self.take()):
            self.pipes.give_back(pipe)

    def test_in_turn(self):
        """Those who wait are called in their order, each as there is a pipe for it."""
        held = [self.take(), self.take()]
        for name in "ab":
            self.pipes.wait(partial(self.got, name))
        self.assertTrue(self.pipes.wanted)
        self.pipes.give_back(held.pop())
        self.assertEqual(["a"], self.called)
        self.pipes.give_back(held.pop())
        self.assertEqual(["a", "b"], self.called)
        self.assertFalse(self.pipes.wanted)
        for pipe in self.mine:
            self.pipes.give_back(pipe)

    mine: list[Pipe]

    def got(self, name: str) -> None:
        self.mine = [*getattr(self, "mine", []), self.take()]
        self.called.append(name)

    def test_not_taken(self):
        """One who does not take the pipe that he waited for leaves it to the next."""
        held = [self.take(), self.take()]
        for name in "ab":
            self.pipes.wait(partial(self.called.append, name))
        self.pipes.give_back(held.pop())
        self.assertEqual(["a", "b"], self.called)
        self.pipes.give_back(held.pop())

    def test_forgotten(self):
        """One who has left is not called."""
        held = [self.take(), self.take()]
        call = partial(self.called.append, "a")
        self.pipes.wait(call)
        self.pipes.forget(call)
        for pipe in held:
            self.pipes.give_back(pipe)
        self.assertEqual([], self.called)

    def test_closed(self):
        """Closed, they leave no descriptor, those that were in use included."""
        before = descriptors(first=True)
        one, other = self.take(), self.take()
        self.pipes.give_back(one)
        self.pipes.close()
        self.pipes.give_back(other)
        self.assertEqual(before, descriptors())

    def test_small_ones(self):
        """Where pipes can be small ones only, there is none, and no descriptor is left."""
        before = descriptors(first=True)
        self.patch(fcntl, "fcntl", lambda *_: 8192)
        self.assertRaises(OSError, self.pipes.take)
        self.assertEqual(before, descriptors())


class SplicingTestCase(TestCase):
    """A server on TCP, and clients in threads."""

    async def serve(self, handler: Any, **options: Any) -> Place:
        """Serve ``handler`` until the test is over."""
        await deferToThread(lambda: None)  # the first one makes descriptors of its own
        self.place = Place(handler=handler, **{"zero_copy": True, **options})
        await self.place.open(reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.place.close()))
        return self.place

    def client(self, script: Callable[[socket.socket], T]) -> Deferred[T]:
        """Run ``script`` on a new connection, in a thread; closes it behind it."""

        def run() -> T:
            with self.place.connect() as client:
                return script(client)

        return deferToThread(run)

    @property
    def pipes(self) -> Pipes:
        pipes: Pipes = self.place._service.factory.pipes
        return pipes

    async def all_come_back(self) -> None:
        """Wait until all pipes are back: a thread may still be at work on one. Claim that they are empty."""
        while len(self.pipes._free) < self.pipes._made:
            await deferLater(reactor, 0.01)
        self.all_back()

    def all_back(self) -> None:
        """Claim that all pipes are back, and empty."""
        self.assertEqual(len(self.pipes._free), self.pipes._made)
        self.assertEqual([0] * self.pipes._made, [pipe.size for pipe in self.pipes._free])


def put(length: int, **headers: str) -> bytes:
    """The head of an upload."""
    return request("PUT", "/", {"Content-Length": str(length), **headers})


def ended(client: socket.socket) -> bytes:
    """Read to the end of the connection."""
    pieces = []
    while piece := client.recv(MIB):
        pieces.append(piece)
    return b"".join(pieces)


def statuses(data: bytes) -> list[int]:
    return [response.status for response in parse_responses(data)]


class Outcome:
    """A handler that copies one body to ``sink`` and keeps what came of it."""

    def __init__(self, sink: Any = None) -> None:
        self.sink = sink or FileSink()
        self.over: Deferred[object] = Deferred()
        self.request: Any = None

    async def __call__(self, request: Any) -> None:
        self.request = request
        try:
            await request.body.copy_to(self.sink)
        except BaseException as error:
            self.over.callback(error)
            raise
        self.over.callback(None)
        answer(request, b"%d" % self.sink.size)


class SlowSink(FileSink):
    """A sink whose pipes are taken when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Deferred[None] = Deferred()
        self.go_on: Deferred[None] = Deferred()

    async def splice(self, pipe: int, size: int) -> None:
        if not self.asked.called:
            self.asked.callback(None)
            await self.go_on
        await super().splice(pipe, size)


class FullSink(FileSink):
    """A sink that is full once it has what came with the head."""

    async def splice(self, pipe: int, size: int) -> None:
        raise InsufficientStorage


class WayTests(SplicingTestCase):
    """All sizes, on every way to send them: what arrives is what was sent, and the next request is served."""

    async def all_ways(self, *, zero_copy: bool, unix: bool) -> Copied:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        copied = Copied()
        place = await self.serve(copied, zero_copy=zero_copy, folder=Path(folder.name) if unix else None)
        for way in WAYS:
            client = Client(place.connect, near_powers(2 * MIB, 1), seed=len(way.__name__))
            await deferToThread(way, client)
            self.assertEqual([], client.wrong)
        self.all_back()
        return copied

    async def test_spliced(self):
        """On TCP, where large ones go past Python."""
        self.assertGreater((await self.all_ways(zero_copy=True, unix=False)).spliced, 4 * MIB)

    async def test_spliced_unix(self):
        """On a UNIX socket, likewise."""
        self.assertGreater((await self.all_ways(zero_copy=True, unix=True)).spliced, 4 * MIB)

    async def test_plain(self):
        """On TCP, when that is switched off."""
        self.assertEqual(0, (await self.all_ways(zero_copy=False, unix=False)).spliced)


class SplicingTests(SplicingTestCase):
    """What holds for a body however it comes holds here."""

    async def test_counted(self):
        """All bytes are counted, and the transport reads for itself when they are in."""
        outcome = Outcome()
        await self.serve(outcome)

        def script(client: socket.socket) -> bytes:
            client.sendall(put(8 * MIB, Connection="close"))
            client.sendall(bytes(8 * MIB))
            return ended(client)

        self.assertEqual([200], statuses(await self.client(script)))
        self.assertEqual((8 * MIB, True), (outcome.request.body.received, outcome.request.body.complete))
        self.assertGreater(outcome.sink.spliced, 0)
        self.all_back()

    async def test_little(self):
        """What is too little goes no way but the plain one."""
        outcome = Outcome()
        await self.serve(outcome)

        def script(client: socket.socket) -> bytes:
            client.sendall(put(LEAST - 1) + bytes(LEAST - 1))
            return client.recv(1)

        await self.client(script)
        self.assertEqual((LEAST - 1, 0), (outcome.sink.size, outcome.sink.spliced))

    async def test_invited(self):
        """A client that waits for 100 Continue is told to go on."""
        await self.serve(Outcome())

        def script(client: socket.socket) -> bytes:
            client.sendall(put(2 * MIB, Expect="100-continue", Connection="close"))
            invitation = client.recv(1000)
            client.sendall(bytes(2 * MIB))
            return invitation + ended(client)

        self.assertEqual([100, 200], statuses(await self.client(script)))

    async def test_bounded(self):
        """While a slow sink is waited for no more is taken from the socket than one pipe holds."""
        sink = SlowSink()
        outcome = Outcome(sink)
        await self.serve(outcome)

        def script(client: socket.socket) -> bytes:
            client.sendall(put(32 * MIB, Connection="close"))
            client.sendall(bytes(32 * MIB))
            return ended(client)

        sent = self.client(script)
        await sink.asked
        await deferLater(reactor, 0.2)
        self.assertLessEqual(outcome.request.body.received - sink.size, PIPE_SIZE)
        sink.go_on.callback(None)
        self.assertEqual([200], statuses(await sent))

    async def test_cut_short(self):
        """A body that ends early is not whole: the sink gets what came, the client 400."""
        outcome = Outcome()
        await self.serve(outcome)

        def script(client: socket.socket) -> bytes:
            client.sendall(put(8 * MIB))
            client.sendall(bytes(3 * MIB))
            client.shutdown(socket.SHUT_WR)
            return ended(client)

        self.assertEqual([400], statuses(await self.client(script)))
        self.assertIsInstance(await outcome.over, MalformedRequest)
        self.assertEqual(3 * MIB, outcome.sink.size)
        self.all_back()

    async def test_cut_short_while_gathering(self):
        """So it is with one that ends when there is little in a pipe."""
        outcome = Outcome()
        await self.serve(outcome)

        def script(client: socket.socket) -> bytes:
            client.sendall(put(8 * MIB) + bytes(ENOUGH // 3))
            client.shutdown(socket.SHUT_WR)
            return ended(client)

        self.assertEqual([400], statuses(await self.client(script)))
        await outcome.over
        self.assertEqual(ENOUGH // 3, outcome.sink.size)
        self.all_back()

    async def test_little_more(self):
        """What has come is given to the sink soon, although the client sends no more for now."""
        outcome = Outcome()
        await self.serve(outcome)

        def script(client: socket.socket) -> int:
            client.sendall(put(2 * MIB, Connection="close") + bytes(ENOUGH // 2))
            for _ in range(int(PATIENCE / 0.01)):
                if outcome.sink.size == ENOUGH // 2:
                    break
                threading.Event().wait(0.01)
            size: int = outcome.sink.size
            client.sendall(bytes(2 * MIB - ENOUGH // 2))
            ended(client)
            return size

        self.assertEqual(ENOUGH // 2, await self.client(script))

    async def test_reset(self):
        """A client that resets the connection is gone, and nothing is held for it."""
        outcome = Outcome()
        await self.serve(outcome)

        def script(client: socket.socket) -> None:
            client.sendall(put(64 * MIB))
            client.sendall(bytes(8 * MIB))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        await self.client(script)
        # Klein cancels the handler of a client that has left.
        self.assertIsInstance(await outcome.over, (ClientGone, CancelledError))
        await self.all_come_back()

    async def test_left_while_sinking(self):
        """A client that leaves while the sink is at work ends the handler, and its pipe is closed."""
        sink = SlowSink()
        outcome = Outcome(sink)
        await self.serve(outcome)
        before = descriptors(first=True)

        def script(client: socket.socket) -> None:
            client.sendall(put(64 * MIB))
            with contextlib.suppress(ConnectionError):  # it may be broken off before all of this is out
                client.sendall(bytes(MIB))

        sent = self.client(script)
        await sink.asked
        outcome.request.abort()
        self.assertIsInstance(await outcome.over, CancelledError)
        await sent
        await self.all_come_back()
        self.assertLessEqual(descriptors(), before)

    async def test_too_slow(self):
        """A body that comes fast and then stops is given up as any other."""
        outcome = Outcome()
        await self.serve(outcome)
        self.place._service.factory.timeouts = Timeouts(stall=0.3)

        def script(client: socket.socket) -> bytes:
            client.sendall(put(8 * MIB))
            client.sendall(bytes(3 * MIB))
            return ended(client)

        self.assertEqual([408], statuses(await self.client(script)))
        self.assertIsInstance(await outcome.over, RequestTimeout)

    async def test_sink_fails(self):
        """A sink that fails is answered with its error, the last answer of the connection, and the pipe is closed."""
        await self.serve(Outcome(FullSink()))

        def script(client: socket.socket) -> bytes:
            client.sendall(put(16 * MIB))
            client.sendall(bytes(16 * MIB))
            return ended(client)

        self.assertEqual([507], statuses(await self.client(script)))
        self.all_back()

    async def test_answered_early(self):
        """An answer that comes while a body is on its way is read by the client, and the body is dropped."""

        async def handler(request: Any) -> None:
            sink = SlowSink()
            copying = Deferred.fromCoroutine(request.body.copy_to(sink))
            copying.addErrback(lambda _: None)
            await sink.asked
            await deferLater(reactor, 0)
            copying.cancel()
            answer(request, b"enough")

        await self.serve(handler)

        def script(client: socket.socket) -> bytes:
            client.sendall(put(16 * MIB))
            client.sendall(bytes(16 * MIB))
            return ended(client)

        self.assertEqual([200], statuses(await self.client(script)))
        self.all_back()

    async def test_another_reader(self):
        """What had come when the first reader left in the middle is there for another one."""
        sink = SlowSink()

        async def handler(request: Any) -> None:
            copying = Deferred.fromCoroutine(request.body.copy_to(_Once(sink)))
            copying.addErrback(lambda _: None)
            await copying
            size = 0
            async for piece in request.body:
                size += len(piece)
            answer(request, b"%d" % (sink.size + size))

        await self.serve(handler)

        def script(client: socket.socket) -> bytes:
            client.sendall(put(16 * MIB, Connection="close"))
            client.sendall(bytes(16 * MIB))
            return ended(client)

        sink.go_on.callback(None)
        self.assertEqual([b"%d" % (16 * MIB)], [one.body for one in parse_responses(await self.client(script))])

    async def test_few_pipes(self):
        """Those for whom there is no pipe wait for one, and all get through."""
        await self.serve(Copied())
        self.place._service.factory.pipes = Pipes(1)
        self.addCleanup(self.pipes.close)
        clients = [Client(self.place.connect, [8 * MIB] * 3, seed) for seed in range(5)]
        await gatherResults([deferToThread(client.keep_alive) for client in clients])
        self.assertEqual([[]] * 5, [client.wrong for client in clients])
        self.all_back()

    async def test_left_while_waiting(self):
        """One who leaves while he waits for a pipe is not waited for."""
        await self.serve(Copied())
        self.place._service.factory.pipes = Pipes(1)
        self.addCleanup(self.pipes.close)
        held = self.pipes.take()
        assert held is not None

        def script(client: socket.socket) -> None:
            client.sendall(put(8 * MIB))
            client.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                client.sendall(bytes(8 * MIB))

        await self.client(script)
        await self.place._service.factory.drain(0)
        self.assertFalse(self.pipes.wanted)
        self.pipes.give_back(held)

    async def test_no_pipes(self):
        """Where no pipe can be made, all goes the plain way."""

        def fails() -> Pipe:
            raise OSError(errno.EMFILE, "too many open files")

        self.patch(Pipe, "make", fails)
        copied = Copied()
        await self.serve(copied)
        client = Client(self.place.connect, [4 * MIB, 5], seed=1)
        await deferToThread(client.keep_alive)
        self.assertEqual(([], 0), (client.wrong, copied.spliced))

    async def test_cannot_be_spliced(self):
        """Where the kernel does not splice, all goes the plain way."""

        def refused(*_: object, **__: object) -> int:
            raise OSError(errno.EPERM, "not permitted")

        self.patch(Pipe, "fill", refused)
        copied = Copied()
        await self.serve(copied)
        client = Client(self.place.connect, [4 * MIB, 5], seed=1)
        await deferToThread(client.keep_alive)
        self.assertEqual(([], 0), (client.wrong, copied.spliced))
        self.all_back()

    async def test_drained(self):
        """When the server ends in the middle of a body, the handler is told, and no pipe stays open."""
        sink = SlowSink()
        outcome = Outcome(sink)
        await self.serve(outcome)
        before = descriptors(first=True)

        def script(client: socket.socket) -> bytes:
            client.sendall(put(64 * MIB))
            try:
                client.sendall(bytes(64 * MIB))
                return ended(client)
            except OSError:
                return b"broken"

        sent = self.client(script)
        await sink.asked
        self.assertEqual(1, await self.place._service.factory.drain(0.1))
        self.assertEqual(b"broken", await sent)
        await outcome.over
        self.assertEqual(0, self.pipes._made)
        self.assertLessEqual(descriptors(), before)


class HeldTests(SplicingTestCase):
    """A pipe is ready, and its reader is still busy with what came before it."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        self.sink = BusySink()

    async def ready(self, request: Any) -> Deferred[None]:
        """Begin to copy, and return when a pipe is ready."""
        copying = Deferred.fromCoroutine(request.body.copy_to(self.sink))
        while request.body.received < ENOUGH:
            await deferLater(reactor, 0.001)
        copying.addErrback(lambda _: None)
        return copying

    def send(self) -> Deferred[bytes]:
        def script(client: socket.socket) -> bytes:
            client.sendall(put(4 * MIB, Connection="close") + b"begins")
            self.sink.busy.wait(PATIENCE)  # with this, and nothing of what follows
            client.sendall(bytes(4 * MIB - 6))
            return ended(client)

        return self.client(script)

    async def test_rest(self):
        """If he fails then, what is in the pipe is there for another reader."""
        rest = 0

        async def handler(request: Any) -> None:
            nonlocal rest
            copying = await self.ready(request)
            self.sink.go_on.errback(InsufficientStorage())
            await copying
            async for piece in request.body:
                rest += len(piece)
            answer(request, b"")

        await self.serve(handler)
        self.assertEqual([200], statuses(await self.send()))
        self.assertEqual(4 * MIB - 6, rest)
        self.all_back()

    async def test_answered(self):
        """If the request is answered then, the pipe is given back."""

        async def handler(request: Any) -> None:
            copying = await self.ready(request)
            answer(request, b"")
            self.all_back()
            copying.cancel()

        await self.serve(handler)
        self.assertEqual([200], statuses(await self.send()))


class FairnessTests(SplicingTestCase):
    """One body and others."""

    async def test_one_pipe(self):
        """A body that comes without end leaves the pipe to another one."""
        await self.serve(Outcome(IdleSink()))
        self.place._service.factory.pipes = Pipes(1)
        self.addCleanup(self.pipes.close)
        enough = threading.Event()

        def endless(client: socket.socket) -> None:
            client.sendall(put(2**40))
            while not enough.is_set():
                client.sendall(bytes(4 * MIB))

        def other(client: socket.socket) -> bytes:
            client.sendall(put(4 * MIB, Connection="close"))
            client.sendall(bytes(4 * MIB))
            return ended(client)

        flood = self.client(endless)
        while not self.pipes._made:
            await deferLater(reactor, 0.001)
        self.place._service._handler = Outcome(IdleSink())
        try:
            self.assertEqual([200], statuses(await self.client(other).addTimeout(PATIENCE, reactor)))
        finally:
            enough.set()
        await flood

    async def test_steady(self):
        """A body that comes slower than it could, and fast enough, is not given up."""
        outcome, clock = Outcome(), Clock()
        await self.serve(outcome)
        self.place._service.factory.clock = clock
        self.place._service.factory.timeouts = Timeouts(stall=0.2)
        with await deferToThread(self.place.connect) as client:
            await deferToThread(client.sendall, put(8 * MIB, Connection="close"))
            for number in range(1, 9):
                await deferToThread(client.sendall, bytes(MIB))
                while outcome.request is None or outcome.request.body.received < number * MIB:
                    await deferLater(reactor, 0.001)
                clock.advance(0.1)
            self.assertEqual([200], statuses(await deferToThread(ended, client)))


class BusySink(FileSink):
    """A sink whose writes wait for the test.

    :ivar busy: one waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.busy = threading.Event()
        self.go_on: Deferred[None] = Deferred()

    async def write(self, data: bytes) -> None:
        self.busy.set()
        await self.go_on


class IdleSink:
    """A slow sink that keeps nothing."""

    size = 0

    async def write(self, data: bytes) -> None:
        self.size += len(data)

    async def splice(self, pipe: int, size: int) -> None:
        await deferLater(reactor, 0.01)
        while size:
            got = len(os.read(pipe, size))
            self.size += got
            size -= got


class _Once:
    """Passes one pipe on, and then fails."""

    def __init__(self, sink: FileSink) -> None:
        self._sink = sink

    async def write(self, data: bytes) -> None:
        await self._sink.write(data)

    async def splice(self, pipe: int, size: int) -> None:
        await self._sink.splice(pipe, size)
        raise InsufficientStorage
