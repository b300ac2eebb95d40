"""Endpoints that are opened, and what is said of those that cannot be."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from OpenSSL.crypto import FILETYPE_PEM
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.protocol import Factory
from twisted.internet.ssl import KeyPair
from twisted.trial.unittest import SynchronousTestCase, TestCase

from filedropd.config import parse_endpoint
from filedropd.listening import CannotListen, listen, written


class ListenTests(TestCase):
    """What becomes of a description that is right in itself."""

    def setUp(self):
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    async def listening(self, description):
        """Open an endpoint, and close it at the end of the test."""
        everything: Any = reactor
        port = await listen(everything, parse_endpoint(description), Factory())
        self.addCleanup(port.stopListening)
        return port

    async def refused(self, description) -> str:
        """Return what is said of an endpoint that cannot be opened, behind its name."""
        with self.assertRaises(CannotListen) as raised:
            await self.listening(description)
        named, _, said = str(raised.exception).partition(f"{description}: ")
        self.assertEqual("cannot listen on ", named)
        return said

    async def test_open(self):
        """What can be opened is."""
        port = await self.listening("tcp:0:interface=127.0.0.1")
        with socket.create_connection(("127.0.0.1", port.getHost().port)):
            pass

    async def test_taken(self):
        """A port that somebody else has."""
        port = (await self.listening("tcp:0:interface=127.0.0.1")).getHost().port
        self.assertEqual("Address already in use", await self.refused(f"tcp:{port}:interface=127.0.0.1"))

    async def test_no_folder(self):
        """A UNIX socket where there is no folder for it."""
        path = self.folder / "none" / "x"
        self.assertEqual(f"No such file or directory: {path}.lock", await self.refused(f"unix:{path}"))

    async def test_no_file(self):
        """A key that is not there."""
        self.assertEqual("No such file or directory: /none/k", await self.refused("ssl:0:privateKey=/none/k"))

    async def test_no_key(self):
        """A file that is no key."""
        (self.folder / "k").write_text("no key")
        said = await self.refused(f"ssl:0:privateKey={self.folder}/k")
        self.assertRegex(said, r"^its key or certificate cannot be used: [\w :]+$")

    async def test_other_key(self):
        """A key that is not the certificate's."""
        one, other = (KeyPair.generate(size=2048) for _ in range(2))
        (self.folder / "k").write_bytes(one.dump(FILETYPE_PEM))
        (self.folder / "c").write_bytes(other.selfSignedCert(1, CN=b"localhost").dump(FILETYPE_PEM))
        said = await self.refused(f"ssl:0:privateKey={self.folder}/k:certKey={self.folder}/c")
        self.assertIn("do not match", said)

    async def test_no_chain(self):
        """A chain in which there are no certificates."""
        key = KeyPair.generate(size=2048)
        (self.folder / "k").write_bytes(key.dump(FILETYPE_PEM) + key.selfSignedCert(1, CN=b"localhost").dumpPEM())
        (self.folder / "chain").write_text("")
        said = await self.refused(f"ssl:0:privateKey={self.folder}/k:extraCertChain={self.folder}/chain")
        self.assertIn("any valid certificates", said)

    async def test_no_socket(self):
        """A socket that systemd has not given, by name or by number."""
        for which in ("name=none", "index=99"):
            self.assertIn("systemd has given no such socket", await self.refused(f"systemd:domain=INET:{which}"))


class WrittenTests(SynchronousTestCase):
    """Addresses as the log has them."""

    def test_kinds(self):
        """Each is as one would write it."""
        addresses = [IPv4Address("TCP", "127.0.0.1", 80), IPv6Address("TCP", "::1", 80), UNIXAddress("/run/x")]
        self.assertEqual(["127.0.0.1:80", "[::1]:80", "/run/x"], [written(each) for each in addresses])
