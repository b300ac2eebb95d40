"""The ways to a server: under TLS, with whom to trust, and through proxies."""

from __future__ import annotations

import atexit
import io
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.http import HTTPFactory
from twisted.web.proxy import Proxy

from filedropd.client import Local, Reach, Unreachable, Untrusted, download, upload
from tests.daemon import ANY_PORT, Daemon
from tests.filedrop import Home

_REACTOR: Any = reactor

#: A name that no resolver knows (RFC 6761), and which the certificate has beside localhost.
FAR: Final = "drop.invalid"


def certificate() -> tuple[bytes, bytes]:
    """Return a certificate that nobody signed, and its key, both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.DNSName(FAR), x509.IPAddress(ip_address("127.0.0.1"))]
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@cache
def daemon() -> Daemon:
    """Return a daemon that listens with TLS and without; its certificate is in its folder."""
    folder = Path(tempfile.mkdtemp(prefix="filedrop-ways-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, pem in zip(("certificate", "key"), certificate(), strict=True):
        (folder / name).write_bytes(pem)
    tls = f"ssl:0:privateKey={folder}/key:certKey={folder}/certificate:interface=127.0.0.1"
    started = Daemon(folder, "--durability=none", listen=(tls, ANY_PORT, "tcp:0:interface=\\:\\:1"))
    atexit.register(started.kill)
    return started.start()


def trusted() -> Path:
    """Return the certificate that is to be trusted."""
    return daemon().folder / "certificate"


class WaysTestCase(TestCase):
    """Files go there and back."""

    async def check(self, server: str, reach: Reach | None = None) -> None:
        """Leave a file, and fetch it."""
        data, found = os.urandom(2**20), io.BytesIO()
        receipt = await upload(data, server, reach=reach)
        self.assertTrue(receipt.url.startswith(server), (receipt.url.partition("/api")[0], server))
        await download(receipt.url, found, reach=reach)
        self.assertEqual(data, found.getvalue())


class TrustTests(WaysTestCase):
    """Whom is trusted under https."""

    def setUp(self):
        self.server = f"https://localhost:{daemon().ports[0]}"

    def file(self, data: bytes) -> Path:
        """Return a file."""
        path = Path(self.mktemp())
        path.write_bytes(data)
        return path

    async def test_nobody(self):
        """A certificate of somebody we do not know is refused."""
        with self.assertRaisesRegex(Untrusted, "--ca"):
            await self.check(self.server)

    async def test_authority(self):
        """One that is named is trusted, for its names and its addresses."""
        await self.check(self.server, Reach(ca=trusted()))
        await self.check(f"https://127.0.0.1:{daemon().ports[0]}", Reach(ca=trusted()))

    async def test_another_authority(self):
        """And nobody else is, then."""
        with self.assertRaises(Untrusted):
            await self.check(self.server, Reach(ca=self.file(certificate()[0])))

    async def test_environment(self):
        """SSL_CERT_FILE is OpenSSL's, and counts."""
        with patch.dict(os.environ, SSL_CERT_FILE=str(trusted())):
            await self.check(self.server)

    async def test_ipv6(self):
        """Addresses of the other kind lead there, too."""
        await self.check(f"http://[::1]:{daemon().ports[2]}")

    async def test_insecure(self):
        """Anybody is trusted where that is asked for."""
        await self.check(self.server, Reach(insecure=True))
        await self.check(f"https://127.0.0.1:{daemon().ports[0]}", Reach(insecure=True))

    async def test_no_certificates(self):
        """A file without certificates is said to be one."""
        for path, words in ((Path("nowhere"), "cannot be read"), (self.file(b"none"), "no certificates")):
            with self.assertRaisesRegex(Local, words):
                await self.check(self.server, Reach(ca=path))

    async def test_no_tls(self):
        """Where nobody speaks TLS, that is said."""
        with self.assertRaisesRegex(Unreachable, "https"):
            await self.check(f"https://localhost:{daemon().ports[1]}")

    def test_command(self):
        """The command says what to do, and with --ca, the environment or --insecure it works."""
        home = Home(Path(self.mktemp()).absolute(), self.server)
        refused = home.run("put", "-", given=b"x")
        self.assertEqual((3, ""), (refused.status, refused.out))
        self.assertIn("--ca", refused.err)
        for done in (
            home.run("put", "-", "--ca", str(trusted())),
            home.run("put", "-", FILEDROP_CA=str(trusted())),
            home.run("put", "-", SSL_CERT_FILE=str(trusted())),
        ):
            self.assertEqual((0, ""), (done.status, done.err))
        insecure = home.run("put", "-", "--insecure")
        self.assertEqual(0, insecure.status)
        self.assertIn("not verified", insecure.err)


class Pipe(Protocol):
    """Gives what it is sent to another."""

    transport: Any
    other: Any = None

    def dataReceived(self, data: bytes) -> None:
        """See Protocol."""
        self.other.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See Protocol."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.loseConnection()


class Tunnels(Pipe):
    """A proxy that makes tunnels, all to one place."""

    def __init__(self, port: int, asked: list[bytes], answer: bytes) -> None:
        self._port = port
        self._asked = asked
        self._answer = answer
        self._head = b""

    def dataReceived(self, data: bytes) -> None:
        """See Protocol."""
        if self.other is not None:
            super().dataReceived(data)
            return
        self._head += data
        if self._head.endswith(b"\r\n\r\n"):
            self._asked.append(self._head)
            self.transport.pauseProducing()
            connecting = connectProtocol(TCP4ClientEndpoint(_REACTOR, "127.0.0.1", self._port), Pipe())
            connecting.addCallback(self._join)

    def _join(self, other: Pipe) -> None:
        self.other, other.other = other, self
        self.transport.write(self._answer)
        self.transport.resumeProducing()


class ProxyTests(WaysTestCase):
    """Through proxies."""

    def listen(self, factory: Any) -> int:
        """Serve; returns the port."""
        port = _REACTOR.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def tunnels(self, answer: bytes = b"HTTP/1.1 200 Connected\r\n\r\n") -> int:
        """Serve tunnels; returns the port."""
        self.asked: list[bytes] = []
        build: Callable[[], Protocol] = lambda: Tunnels(daemon().ports[0], self.asked, answer)  # noqa: E731
        return self.listen(Factory.forProtocol(build))

    async def test_http(self):
        """Requests for http go to the proxy."""
        factory = HTTPFactory()
        factory.protocol = Proxy  # type: ignore[method-assign, assignment]  # as Twisted has it
        port = self.listen(factory)
        with patch.dict(os.environ, http_proxy=f"http://127.0.0.1:{port}", no_proxy=""):
            await self.check(f"http://127.0.0.1:{daemon().ports[1]}")

    async def test_tunnel(self):
        """For https there is a tunnel: the proxy learns the name, which is not looked up here, and no more."""
        proxy = f"http://me:secret@127.0.0.1:{self.tunnels()}"
        with patch.dict(os.environ, HTTPS_PROXY=proxy, no_proxy=""):
            await self.check(f"https://{FAR}", Reach(ca=trusted()))
        head = self.asked[0]
        self.assertTrue(head.startswith(f"CONNECT {FAR}:443 HTTP/1.1\r\n".encode()), head)
        self.assertIn(b"\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n", head)
        self.assertNotIn(b"api", head)

    async def test_verified(self):
        """The server's certificate is verified through a tunnel, too."""
        with self.assertRaises(Untrusted):
            await self.check(f"https://{FAR}", Reach(proxies={"https": f"http://127.0.0.1:{self.tunnels()}"}))

    async def test_another_name(self):
        """The certificate must be that of the server that was meant."""
        reach = Reach(ca=trusted(), proxies={"https": f"http://127.0.0.1:{self.tunnels()}"})
        with self.assertRaisesRegex(Untrusted, "not that of other.invalid"):
            await self.check("https://other.invalid", reach)

    async def test_refused(self):
        """What the proxy says is said."""
        port = self.tunnels(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        with self.assertRaisesRegex(Unreachable, "proxy refused .* 407"):
            await self.check(f"https://{FAR}", Reach(ca=trusted(), proxies={"https": f"http://127.0.0.1:{port}"}))

    async def test_away(self):
        """A proxy that does not answer is told from a server that does not."""
        for url in (f"http://{FAR}", f"https://{FAR}"):
            proxies = {url.partition(":")[0]: "http://me:secret@127.0.0.1:1"}
            with self.assertRaisesRegex(Unreachable, r"at 127\.0\.0\.1:1\. .* proxy that HTTPS?_PROXY") as caught:
                await self.check(url, Reach(ca=trusted(), proxies=proxies))
            self.assertNotIn("secret", caught.exception.detail)

    async def test_exempt(self):
        """Servers that are exempt are met directly."""
        reach = Reach(proxies={"http": "http://127.0.0.1:1", "no": "127.0.0.1"})
        await self.check(f"http://127.0.0.1:{daemon().ports[1]}", reach)
