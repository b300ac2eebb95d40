"""The server on real sockets: TCP, UNIX, and TLS over TCP, with clients that are plain sockets in threads."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import socket
import ssl
import struct
import tempfile
import termios
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor as installed_reactor
from twisted.internet import ssl as tls
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.interfaces import IDelayedCall, IStreamServerEndpoint
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from filedropd.deferreds import shielded
from filedropd.errors import ClientGone
from filedropd.http.closing import LINGER_QUIET
from filedropd.http.records import RECORD
from filedropd.http.settling import QUIET, Settlement
from filedropd.testing import Response, parse_responses, request
from tests.wired import Service, answer

T = TypeVar("T")

reactor: Any = installed_reactor

MIB = 1024 * 1024
#: Seconds after which a client gives up, and the test with it.
PATIENCE = 20.0
GET = request("GET", "/")


def content(size: int) -> bytes:
    """Bytes of which no two blocks are the same."""
    return b"".join(hashlib.sha512(b"%d" % number).digest() for number in range(size // 64 + 1))[:size]


class Still(Clock):
    """A server's clock that stands still, but for what is due in the reactor's next turn.

    What happens then happens at once, however long this machine takes for it: no second of quiet passes.
    """

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],  # noqa: A002 - so it is called in the interface
        *args: object,
        **kw: object,
    ) -> IDelayedCall:
        """See IReactorTime."""
        later = super().callLater if delay else reactor.callLater
        call: IDelayedCall = later(delay, callable, *args, **kw)
        return call

    async def until(self, waiting: Deferred[T]) -> T:
        """Let time pass until ``waiting`` fires: no faster than elsewhere, and none of it while the reactor is held up."""
        while not waiting.called:
            self.advance(0.01)
            await deferLater(reactor, 0.01)
        return await waiting


class Download:
    """An application that sends ``size`` bytes, and knows what became of them.

    It has the kernel send them from a file where that is possible.
    """

    def __init__(self, size: int) -> None:
        self.data = content(size)
        self._file = os.fdopen(os.memfd_create("download"), "wb", buffering=0)
        self._file.write(self.data)
        self.settled: Deferred[Settlement] = Deferred()
        self.confirmed: Deferred[bool] = Deferred()
        self.known = threading.Event()  # it is settled

    def __call__(self, request: Any) -> Deferred[None]:
        if self.settled.called:
            answer(request, b"")
            return Deferred()
        return shielded(self._send(request))

    async def _send(self, request: Any) -> None:
        self.channel = request.channel
        request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(self.data)])
        with contextlib.suppress(ClientGone):
            for start in range(0, len(self.data), 65_536):
                await self._piece(request, start, start + 65_536)
        self.settled.callback(await request.settle())
        self.known.set()
        request.finish()
        self.confirmed.callback(await request.confirmed())

    async def _piece(self, request: Any, start: int, end: int) -> None:
        if request.takes_files:
            await request.send_file(self._file.fileno(), start, min(end, len(self.data)) - start)
        else:
            await request.send(self.data[start:end])


class Held(Download):
    """One that sends ``size`` bytes, and as many again when it is told to, and does not end by itself.

    :ivar acknowledged: how many of them were, when it was last looked at.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.acknowledged = 0
        self.go_on = False

    async def _send(self, request: Any) -> None:
        self.channel = request.channel
        request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % (len(self.data) * 2)])
        await self._piece(request, 0, len(self.data))
        while not self.go_on:
            self.acknowledged = request.acknowledged()
            await deferLater(reactor, 0.01)
        with contextlib.suppress(ClientGone):
            for start in range(0, len(self.data), 65_536):
                await self._piece(request, start, start + 65_536)
                await deferLater(reactor, 0.01)
        self.settled.callback(await request.settle())


async def digested(request: Any) -> None:
    """Read the body; answer with its SHA-256."""
    digest = hashlib.sha256()
    async for piece in request.body:
        digest.update(piece)
    answer(request, digest.hexdigest().encode())


def whole(size: int) -> Settlement:
    """All was kept."""
    return Settlement(acknowledged=size, sent=size, begun=True, complete=True)


def nothing_of(size: int) -> Settlement:
    """All was sent, and nothing is known to be kept."""
    return Settlement(acknowledged=0, sent=size, begun=True, complete=False)


def answered(client: socket.socket) -> Response:
    """Read one whole answer that has a Content-Length."""
    pieces, size, length = [], 0, None
    while length is None or size < length:
        piece = client.recv(MIB)
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
        if length is None:
            whole = b"".join(pieces)
            end = whole.find(b"\r\n\r\n") + 4
            if end >= 4:
                length = end + int(parse_responses(whole[:end])[0].header("Content-Length") or "0")
    return parse_responses(b"".join(pieces))[0]


def taken(client: socket.socket, octets: int) -> int:
    """Read so many bytes and no more, as far as they come."""
    size = 0
    while size < octets:
        piece = client.recv(min(65_536, octets - size))
        if not piece:
            break
        size += len(piece)
    return size


def head(client: socket.socket) -> bytes:
    """Read an answer's head, and nothing behind it."""
    pieces = b""
    while not pieces.endswith(b"\r\n\r\n"):
        pieces += client.recv(1)
    return pieces


def ended(client: socket.socket) -> bytes:
    """Read to the end of the connection."""
    pieces = []
    while piece := client.recv(MIB):
        pieces.append(piece)
    return b"".join(pieces)


class Endpoint:
    """What holds on every kind of socket.

    :ivar zero_copy: whether the kernel is to send files where it can.
    """

    zero_copy = False

    def endpoint(self) -> IStreamServerEndpoint:
        raise NotImplementedError

    def connect(self) -> socket.socket:
        """Connect, in a thread."""
        raise NotImplementedError

    async def serve(self, handler: Callable[[Any], Any], clock: Still | None = None, **options: Any) -> Service:
        """Serve ``handler`` until the test is over, by the reactor's clock or by another one."""
        service = Service(handler, clock=clock or reactor, zero_copy=self.zero_copy, **options)
        self.port: Any = await self.endpoint().listen(service.factory)

        def drained() -> Deferred[int]:
            waiting = Deferred.fromCoroutine(service.factory.drain(0))
            return waiting if clock is None else Deferred.fromCoroutine(clock.until(waiting))

        case: Any = self
        case.addCleanup(drained)
        case.addCleanup(self.port.stopListening)
        return service

    def client(self, script: Callable[[socket.socket], T]) -> Deferred[T]:
        """Run ``script`` on a new connection, in a thread; closes it behind it."""

        def run() -> T:
            with self.connect() as client:
                return script(client)

        return deferToThread(run)

    def _held_open(self, script: Callable[[socket.socket], T]) -> T:
        self.open = threading.Event()
        with self.connect() as client:
            result = script(client)
            self.open.wait(PATIENCE)
            return result


class EndpointContract(Endpoint):
    """The promises.

    :ivar counted: whether the kernel tells what is acknowledged.
    """

    counted = True

    assertEqual: Any
    assertLess: Any
    assertTrue: Any
    assertFalse: Any

    async def test_keeps_alive(self):
        """A connection carries one request after the other."""
        service = await self.serve(lambda request: answer(request, request.path))

        def script(client: socket.socket) -> list[bytes]:
            bodies = []
            for number in range(3):
                client.sendall(request("GET", f"/{number}"))
                bodies.append(answered(client).body)
            return bodies

        self.assertEqual([b"/0", b"/1", b"/2"], await self.client(script))
        self.assertEqual(3, len(service.seen))

    async def test_read_and_closed(self):
        """A client that reads everything and closes completes the answer at once."""
        download = Download(MIB)
        await self.serve(download, Still())

        def script(client: socket.socket) -> bytes:
            client.sendall(GET)
            return answered(client).body

        self.assertTrue(await self.client(script) == download.data)
        self.assertEqual(whole(MIB), await download.settled)

    async def test_small_and_closed(self):
        """The same of a few bytes, which fit into one packet."""
        download = Download(5)
        await self.serve(download, Still())

        def script(client: socket.socket) -> bytes:
            client.sendall(GET)
            return answered(client).body

        await self.client(script)
        self.assertTrue((await download.settled).complete)

    async def test_next_request(self):
        """A client that asks again completes the answer before."""
        download = Download(MIB)
        await self.serve(download, Still())

        def script(client: socket.socket) -> None:
            client.sendall(GET)
            answered(client)
            client.sendall(GET)
            answered(client)

        await self.client(script)
        self.assertEqual(whole(MIB), await download.settled)

    async def test_quiet(self):
        """A client that reads everything and stays completes the answer, too."""
        download = Download(MIB)
        await self.serve(download)

        def script(client: socket.socket) -> bytes:
            client.sendall(GET)
            answered(client)
            client.settimeout(QUIET + 0.5)
            try:
                return client.recv(1)
            except TimeoutError:
                return b""

        await self.client(script)
        self.assertTrue((await download.settled).complete)

    async def test_closed_with_data_unread(self):
        """A client that closes before it has read everything does not complete the answer, wherever it stops."""
        size = 4 * MIB
        for octets in (1, 1000, MIB, size // 2):
            download = Download(size)
            await self.serve(download)

            def script(client: socket.socket, octets: int = octets) -> int:
                client.sendall(GET)
                return taken(client, octets)

            await self.client(script)
            settlement = await download.settled
            self.assertFalse(settlement.complete)
            self.assertLess(settlement.acknowledged, size)
            await self.port.stopListening()

    async def test_sent_and_left_unread(self):
        """Of an answer that is left half-way, what the client has read was sent, and not more than was written."""
        download = Download(16 * MIB)
        await self.serve(download)

        def script(client: socket.socket) -> int:
            client.sendall(GET)
            return taken(client, MIB)

        await self.client(script)
        settlement = await download.settled
        self.assertEqual((False, True), (settlement.complete, settlement.begun))
        # If it happens to close when nothing is unread, what it has read is confirmed.
        self.assertLess(settlement.acknowledged, MIB + RECORD)
        self.assertLess(MIB - 1000, settlement.sent)
        self.assertLess(settlement.sent, 16 * MIB)

    async def test_closed_early(self):
        """A client that reads all that has come and closes confirms that, where it can be told, although more would."""
        held = Held(MIB)
        await self.serve(held)

        def script(client: socket.socket) -> int:
            client.sendall(GET)
            head(client)
            return taken(client, MIB)

        self.assertEqual(MIB, await self.client(script))
        while not (held.channel._eof or held.channel._disconnected):  # the server does not know it yet
            await deferLater(reactor, 0.01)
        held.go_on = True
        settlement = await held.settled
        self.assertEqual((self.counted * MIB, False), (settlement.acknowledged, settlement.complete))
        self.assertTrue(MIB <= settlement.sent < 2 * MIB)

    async def test_progress(self):
        """While an answer is sent it can be told how much has arrived."""
        held = Held(MIB)
        await self.serve(held)

        def script(client: socket.socket) -> int:
            client.sendall(GET)
            head(client)
            taken(client, MIB)
            patience = PATIENCE
            while held.acknowledged < self.counted * MIB and patience > 0:
                threading.Event().wait(0.1)
                patience -= 0.1
            return held.acknowledged

        self.assertEqual(self.counted * MIB, await self.client(script))
        held.go_on = True
        await held.settled

    async def kept(self, end: Callable[[socket.socket], object], *, unread: int = 0, fields: Any = None) -> bool:
        """Tell what is confirmed of a megabyte, if the client goes on in that way when it is settled by quiet."""
        download = Download(MIB)
        await self.serve(download)

        def script(client: socket.socket) -> None:
            # Room for what is left unread, however it came: a window that is half full may be announced as closed.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
            client.sendall(request("GET", "/", fields))
            head(client)
            taken(client, MIB - unread)
            download.known.wait(PATIENCE)
            threading.Event().wait(0.1)
            end(client)

        await self.client(script)
        settlement = await download.settled
        self.assertTrue(settlement.quiet, settlement)
        return await download.confirmed.addTimeout(PATIENCE, reactor)

    async def test_quiet_then_closed(self):
        """A client that is quiet, and then reads the rest and closes, has kept it, on a connection of either kind."""
        self.assertTrue(await self.kept(lambda client: taken(client, 20_000), unread=20_000))
        await self.port.stopListening()
        self.assertTrue(await self.kept(ended, unread=20_000, fields={"Connection": "close"}))

    async def test_quiet_then_reset(self):
        """A client that is quiet, and then closes with data unread, has not, on a connection of either kind."""
        for fields in ({}, {"Connection": "close"}):
            self.assertFalse(await self.kept(lambda _: None, fields=fields, unread=20_000))
            await self.port.stopListening()

    async def test_quiet_then_asked(self):
        """A client that is quiet and then asks again has kept it."""

        def ask(client: socket.socket) -> None:
            client.sendall(GET)
            taken(client, 20_000)
            head(client)

        self.assertTrue(await self.kept(ask, unread=20_000))

    async def test_quiet_then_drained(self):
        """A connection that waits for a last sign ends at once, in order, when the server does."""
        download, clock = Download(MIB), Still()
        service = await self.serve(download, clock)

        def script(client: socket.socket) -> bytes:
            client.sendall(request("GET", "/", {"Connection": "close"}))
            head(client)
            taken(client, MIB)
            download.known.wait(PATIENCE)
            return ended(client)

        asked = deferToThread(self._held_open, script)
        self.assertTrue((await clock.until(download.settled)).quiet)
        await deferLater(reactor, 0.2)
        broken = await service.factory.drain(10)
        self.assertEqual((0, True), (broken, await download.confirmed))
        self.open.set()
        self.assertEqual(b"", await asked)

    async def test_large_download(self):
        """Sixteen megabytes come down as they are."""
        download = Download(16 * MIB)
        await self.serve(download)

        def script(client: socket.socket) -> bytes:
            client.sendall(GET)
            return hashlib.sha256(answered(client).body).digest()

        self.assertEqual(hashlib.sha256(download.data).digest(), await self.client(script))
        self.assertTrue((await download.settled).complete)

    async def test_large_upload(self):
        """Sixteen megabytes go up as they are."""
        await self.serve(digested)
        data = content(16 * MIB)

        def script(client: socket.socket) -> str:
            client.sendall(request("PUT", "/", body=data))
            return answered(client).body.decode()

        self.assertEqual(hashlib.sha256(data).hexdigest(), await self.client(script))

    async def test_early_answer(self):
        """Row 79: an answer that comes while the client sends four megabytes is read by the client, every time."""
        # Who is quiet for a second in the middle is not waited for: none passes, and every one is to be read.
        await self.serve(lambda request: answer(request, b"too large"), Still())
        data = request("PUT", "/", body=b"x" * (4 * MIB))

        def script(client: socket.socket) -> bytes:
            client.sendall(data)
            return parse_responses(ended(client))[0].body

        bodies = [await self.client(script) for _ in range(20)]
        self.assertEqual([b"too large"] * 20, bodies)

    async def test_many(self):
        """Connections do not get into each other's way."""
        await self.serve(digested)
        bodies = [content(100_000 + number) for number in range(8)]

        def upload(body: bytes) -> Deferred[str]:
            def script(client: socket.socket) -> str:
                client.sendall(request("PUT", "/", body=body))
                return answered(client).body.decode()

            return self.client(script)

        digests = await gatherResults([upload(body) for body in bodies])
        self.assertEqual([hashlib.sha256(body).hexdigest() for body in bodies], digests)

    async def test_asked_to_close(self):
        """A connection that is to end with its answer ends behind the last byte of it, in order."""
        await self.serve(lambda request: answer(request, b"bye"))

        def script(client: socket.socket) -> bytes:
            client.sendall(request("GET", "/", {"Connection": "close"}))
            return parse_responses(ended(client))[0].body

        self.assertEqual(b"bye", await self.client(script))


class HalfCloseContract(Endpoint):
    """What a client can do whose protocol has a FIN of its own for each direction."""

    assertEqual: Any
    assertTrue: Any

    async def test_half_closed(self):
        """A client that half-closes behind its request gets its answer, and completes it by a second of quiet."""
        download = Download(MIB)
        await self.serve(download)

        def script(client: socket.socket) -> bytes:
            client.sendall(GET)
            client.shutdown(socket.SHUT_WR)
            return parse_responses(ended(client))[0].body

        self.assertEqual(download.data, await self.client(script))
        self.assertTrue((await download.settled).complete)

    async def test_half_closed_upload(self):
        """A client that half-closes behind its upload gets its answer."""
        await self.serve(digested)

        def script(client: socket.socket) -> bytes:
            client.sendall(request("PUT", "/", body=b"hello"))
            client.shutdown(socket.SHUT_WR)
            return parse_responses(ended(client))[0].body

        self.assertEqual(hashlib.sha256(b"hello").hexdigest().encode(), await self.client(script))

    async def test_last_byte_unread(self):
        """A client that leaves a single byte unread does not complete the answer."""
        download = Download(100_000)
        await self.serve(download)

        def script(client: socket.socket) -> None:
            client.sendall(GET)
            head = client.recv(65_536, socket.MSG_PEEK).index(b"\r\n\r\n") + 4
            taken(client, head + 99_999)
            client.recv(1, socket.MSG_PEEK)  # it is there

        await self.client(script)
        self.assertEqual(nothing_of(100_000), await download.settled)


class TCPTests(EndpointContract, HalfCloseContract, TestCase):
    """Over TCP."""

    timeout = 60

    def endpoint(self) -> IStreamServerEndpoint:
        return TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port.getHost().port), timeout=PATIENCE)

    async def test_reset(self):
        """A client that reads everything and then resets has thrown it away, as far as anybody can know."""
        download = Download(MIB)
        await self.serve(download, Still())

        def script(client: socket.socket) -> None:
            client.sendall(GET)
            answered(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        await self.client(script)
        self.assertEqual(nothing_of(MIB), await download.settled)

    async def test_sent_is_what_the_kernel_sent(self):
        """Of an answer that is reset half-way: all that came to the client, and none of what the kernel still holds."""
        download = Download(16 * MIB)
        await self.serve(download)
        go_on = threading.Event()
        read: Deferred[socket.socket] = Deferred()

        def script(client: socket.socket) -> None:
            client.sendall(GET)
            head(client)
            taken(client, MIB)
            reactor.callFromThread(read.callback, client)
            go_on.wait(PATIENCE)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        left = self.client(script)
        client, acknowledgements = await read, download.channel._output.acknowledgements
        seen, before, same = (0, 0, 0), (0, 0, 0), 0
        while same < 10:  # until the kernels' buffers are full, although the reactor has had its turns to fill them
            await deferLater(reactor, 0.05)
            (unread,) = struct.unpack("i", fcntl.ioctl(client, termios.FIONREAD, bytes(4)))
            before, seen = seen, (unread, *(acknowledgements.departed(queued=queued) for queued in (True, False)))
            same = same + 1 if seen == before else 0
        came, held = MIB + seen[0], seen[1] - seen[2]
        go_on.set()
        await left
        settlement = await download.settled
        self.assertLessEqual(came, settlement.sent)
        self.assertLess(settlement.sent, came + held)
        self.assertLess(128 * 1024, held)  # else this test would tell nothing

    async def test_unread_when_busy(self):
        """What came while the server had no time to read is read before it closes: a RST could destroy its answer."""
        await self.serve(lambda request: answer(request, b"too large"))
        stalled, go_on = threading.Event(), threading.Event()

        def stall() -> None:
            stalled.set()
            go_on.wait(PATIENCE)
            threading.Event().wait(LINGER_QUIET)

        def script(client: socket.socket) -> int:
            client.sendall(request("PUT", "/", {"Content-Length": "1000000"}))
            answered(client)
            reactor.callFromThread(stall)
            stalled.wait(PATIENCE)
            client.sendall(bytes(1000))
            read = threading.Event()
            reactor.callFromThread(reactor.callLater, 0.1, read.set)
            go_on.set()
            read.wait(PATIENCE)
            return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

        self.assertEqual(0, await self.client(script))

    async def test_reset_behind_a_half_close(self):
        """A reset behind a FIN, of which Twisted tells nobody, is found out."""
        download, clock = Download(MIB), Still()
        await self.serve(download, clock)

        def script(client: socket.socket) -> None:
            client.sendall(GET)
            client.shutdown(socket.SHUT_WR)
            answered(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        await self.client(script)
        acknowledgements = download.channel._output.acknowledgements
        while not (download.settled.called or acknowledgements.lost()):  # it is on its way
            await deferLater(reactor, 0.01)
        self.assertFalse((await clock.until(download.settled)).complete)


class SendfileTCPTests(TCPTests):
    """Over TCP, with bytes that the kernel takes from a file."""

    zero_copy = True


class UNIXTests(EndpointContract, HalfCloseContract, TestCase):
    """Over a UNIX socket."""

    timeout = 60
    counted = False

    def endpoint(self) -> IStreamServerEndpoint:
        # A path of its own: a trial directory's may be longer than the 107 bytes that such an address has.
        folder = tempfile.mkdtemp(prefix="filedropd-")
        self.path = os.path.join(folder, "s")
        self.addCleanup(os.rmdir, folder)
        return UNIXServerEndpoint(reactor, self.path)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(self.path)
        return client


class SendfileUNIXTests(UNIXTests):
    """Over a UNIX socket, with bytes that the kernel takes from a file."""

    zero_copy = True


def certificate() -> tls.CertificateOptions:
    """A key and a certificate that nobody signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = built.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    options: tls.CertificateOptions = tls.PrivateCertificate.loadPEM(pem).options()
    return options


class TLSTests(EndpointContract, TestCase):
    """Over TLS, to clients that offer protocols."""

    timeout = 60
    zero_copy = True  # which is of no use here
    offered = ("h2", "http/1.1")

    def endpoint(self) -> IStreamServerEndpoint:
        return SSL4ServerEndpoint(reactor, 0, certificate(), interface="127.0.0.1")

    def connect(self) -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(list(self.offered))
        lower = socket.create_connection(("127.0.0.1", self.port.getHost().port), timeout=PATIENCE)
        return context.wrap_socket(lower)

    async def test_protocol(self):
        """Of the protocols that a client offers, HTTP/1.1 is taken."""
        await self.serve(lambda request: answer(request, b""))
        self.assertEqual("http/1.1", await self.client(lambda client: client.selected_alpn_protocol()))  # type: ignore[attr-defined]  # a TLS socket

    async def test_secure(self):
        """The application knows that it is asked under TLS."""
        await self.serve(lambda request: answer(request, b"%d" % request.isSecure()))

        def script(client: socket.socket) -> bytes:
            client.sendall(GET)
            return answered(client).body

        self.assertEqual(b"1", await self.client(script))

    async def test_close_notify(self):
        """A client that reads everything and says good-bye completes the answer at once."""
        download = Download(MIB)
        await self.serve(download, Still())

        def script(client: socket.socket) -> None:
            client.sendall(GET)
            answered(client)
            client.unwrap()  # type: ignore[attr-defined]  # a TLS socket

        await self.client(script)
        self.assertEqual(whole(MIB), await download.settled)

    async def test_reset(self):
        """A client that resets completes nothing, whatever it has read."""
        download = Download(MIB)
        await self.serve(download, Still())

        def script(client: socket.socket) -> None:
            client.sendall(GET)
            answered(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        await self.client(script)
        self.assertEqual(nothing_of(MIB), await download.settled)

    async def test_closed_while_sent_to(self):
        """A client that says good-bye in the middle, and takes all that still comes, does not complete the answer."""
        download = Download(16 * MIB)
        await self.serve(download)

        def script(client: socket.socket) -> int:
            client.sendall(GET)
            size = taken(client, MIB)
            with contextlib.suppress(ssl.SSLError):
                client.unwrap()  # type: ignore[attr-defined]  # a TLS socket
            with contextlib.suppress(OSError):
                while piece := socket.socket.recv(client, MIB):
                    size += len(piece)
            return size

        size = await self.client(script)
        settlement = await download.settled
        self.assertFalse(settlement.complete)
        self.assertLess(settlement.sent, 16 * MIB)
        self.assertLess(settlement.acknowledged, size)

    async def test_slow_reader_of_the_last_answer(self):
        """A client that begins to read its last answer well after it was given still gets all of it."""
        data = content(8 * MIB)
        await self.serve(lambda request: answer(request, data))

        def script(client: socket.socket) -> bytes:
            client.sendall(request("GET", "/", {"Connection": "close"}))
            threading.Event().wait(1.5)
            return parse_responses(ended(client))[0].body

        self.assertEqual(data, await self.client(script))
