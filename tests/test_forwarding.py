"""What is believed of forwarding fields: what trusted proxies say, and nothing else."""

from __future__ import annotations

import re
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from filedropd.config.parse import parse_network
from filedropd.http.request import Request
from filedropd.tokens import Token
from filedropd.web import recipients
from filedropd.web.access import AccessLog
from filedropd.web.forwarding import Client, Forwarding
from filedropd.web.links import Links
from tests.test_recipients import a_request

#: The proxy that speaks to us.
PROXY = "10.0.0.1"
#: Who is trusted, unless a test says otherwise.
TRUSTED = ("10.0.0.0/8", "fd00::/8", "2001:db8:ffff::1")
#: Fields of both families and of others, for what is to be ignored.
FORGED = (
    (b"X-Forwarded-For: 192.0.2.66",),
    (b"X-Forwarded-For: 10.0.0.1", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: evil.example"),
    (b"X-Forwarded-Port: 8443",),
    (b"Forwarded: for=192.0.2.66;proto=https;host=evil.example",),
    (b"X-Real-IP: 192.0.2.66",),
)


def a_peer(host: str) -> IAddress:
    """Return the other end of a connection from ``host``."""
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, 40_000)


def trusting(*networks: str) -> Forwarding:
    """Return what believes proxies in these networks."""
    return Forwarding(map(parse_network, networks))


def asked(*lines: bytes, peer: str | IAddress = PROXY, trusted: tuple[str, ...] = TRUSTED) -> Client:
    """Return who makes a request with these header lines."""
    request = a_request(*lines, peer=a_peer(peer) if isinstance(peer, str) else peer)
    return trusting(*trusted).client(request)


def usual(*values: str) -> list[bytes]:
    """Return these values as lines of X-Forwarded-For."""
    return [b"X-Forwarded-For: " + value.encode("latin-1") for value in values]


def standard(*values: str) -> list[bytes]:
    """Return these values as lines of Forwarded."""
    return [b"Forwarded: " + value.encode("latin-1") for value in values]


class UntrustedTests(SynchronousTestCase):
    """Who is not trusted."""

    def test_ignored(self):
        """Whatever somebody writes who is not trusted, it is they who ask, as they asked."""
        for lines in FORGED:
            for trusted in ((), TRUSTED, ("unix",)):
                client = asked(*lines, peer="203.0.113.7", trusted=trusted)
                self.assertEqual(Client(address="203.0.113.7", shared=True, scheme="http", host="a"), client, lines)

    def test_plain(self):
        """Without such fields, nobody else is behind the address."""
        for host, address in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8::1", "2001:db8::1"),
        ]:
            self.assertEqual(Client(address=address, shared=False, scheme="http", host="a"), asked(peer=host))

    def test_unix_socket(self):
        """A UNIX socket has no address, and is not trusted by way of a network."""
        for lines in ((), *FORGED):
            client = asked(*lines, peer=UNIXAddress(None), trusted=("0.0.0.0/0", "::/0"))
            self.assertEqual((None, "http", "a"), (client.address, client.scheme, client.host))


class AddressTests(SynchronousTestCase):
    """Where a client is, as trusted proxies have it."""

    def check(self, table: list[tuple[list[bytes], str | None, bool]]) -> None:
        """Compare address and whether it is shared with what each list of lines makes of them."""
        for lines, address, shared in table:
            client = asked(*lines)
            self.assertEqual((address, shared), (client.address, client.shared), lines)

    def test_one_hop(self):
        """One proxy says who asked it; what that one said of others is no matter, but that it did."""
        self.check(
            [
                (usual("203.0.113.7"), "203.0.113.7", False),
                (usual("192.0.2.66, 203.0.113.7"), "203.0.113.7", True),
                (usual("10.0.0.9, 203.0.113.7"), "203.0.113.7", True),
                (usual("<script>,unknown,, 203.0.113.7"), "203.0.113.7", True),
                (standard("for=203.0.113.7"), "203.0.113.7", False),
                (standard("for=192.0.2.66, for=203.0.113.7"), "203.0.113.7", True),
            ]
        )

    def test_two_hops(self):
        """Trusted proxies are walked over, to the first that is not trusted."""
        self.check(
            [
                (usual("203.0.113.7, 10.0.0.2"), "203.0.113.7", False),
                (usual("203.0.113.7, 10.0.0.2, fd00::2,2001:db8:ffff::1"), "203.0.113.7", False),
                (usual("203.0.113.7, ::ffff:10.0.0.2"), "203.0.113.7", False),
                (usual("192.0.2.66, 203.0.113.7, 10.0.0.2"), "203.0.113.7", True),
                (usual("203.0.113.7, 2001:db8:ffff::2"), "2001:db8:ffff::2", True),
                (standard('for=203.0.113.7, for=10.0.0.2;by=10.0.0.1, for="[fd00::2]"'), "203.0.113.7", False),
            ]
        )

    def test_all_trusted(self):
        """Where all are trusted, the first asks for itself."""
        self.check([(usual("10.0.0.3, 10.0.0.2"), "10.0.0.3", False), (standard("for=10.0.0.3"), "10.0.0.3", False)])

    def test_lines(self):
        """Several lines are one list."""
        self.check(
            [
                (usual("203.0.113.7", "10.0.0.2"), "203.0.113.7", False),
                (usual("192.0.2.66", "203.0.113.7,10.0.0.3", "10.0.0.2"), "203.0.113.7", True),
                (usual("203.0.113.7", ""), "203.0.113.7", False),
                (usual("", "203.0.113.7"), "203.0.113.7", False),
                (standard("for=203.0.113.7", "for=10.0.0.2"), "203.0.113.7", False),
                (standard('for="', "for=203.0.113.7"), "203.0.113.7", True),
            ]
        )

    def test_notations(self):
        """Addresses are written in several ways, with ports and without; ports are no matter."""
        for text, address in [
            ("203.0.113.7:4711", "203.0.113.7"),
            ("203.0.113.7:_port", "203.0.113.7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:DB8:0::7]:4711", "2001:db8::7"),
            ("[::ffff:203.0.113.7]:4711", "203.0.113.7"),
        ]:
            self.check([(usual(text), address, False), (standard(f'for="{text}"'), address, False)])
        self.check(
            [
                (usual("2001:db8::7"), "2001:db8::7", False),
                (standard('For="\\[2001:db8::7\\]";Proto=http'), "2001:db8::7", False),
                (standard('proto=http ; for="203.0.113.7" ;'), "203.0.113.7", False),
                (standard('for=203.0.113.7;ext="a;b,\\"c\\", for=192.0.2.66"'), "203.0.113.7", False),
            ]
        )

    def test_says_nothing(self):
        """What is malformed or hidden says nothing, and what stands before it is not looked at."""
        for text in [
            "unknown", "_hidden", "localhost", "203.0.113", "203.0.113.07", "203.0.113.7:", "203.0.113.7:123456",
            "203.0.113.256", "[203.0.113.7]", "[2001:db8::7", "2001:db8::7]", "[2001:db8::7]x", "[]", "::g",
            "fe80::1%eth0", "203.0.113.7%0", "203.0.113.7 192.0.2.66", "1:2:3:4:5:6:7:8:9", "٢.0.0.1".encode().decode("latin-1"),
            "for=203.0.113.7", "203.0.113.7/32", "\xff", "1" * 4000,
        ]:  # fmt: skip
            for before in ("", "203.0.113.7, "):
                self.assertIsNone(asked(*usual(before + text)).address, text)
                self.assertIsNone(asked(*usual(f"{before}{text}, 10.0.0.2")).address, text)
                self.assertIsNone(asked(*standard(f'{before and "for=203.0.113.7, "}for="{text}"')).address, text)

    def test_malformed_standard(self):
        """A line of Forwarded that is malformed says nothing as a whole."""
        for text in [
            'for="203.0.113.7', 'for="203.0.113.7\\', "for=[2001:db8::7]", "for=203.0.113.7:80", "for =203.0.113.7", "for",
            "for=", "for=203.0.113.7;for=192.0.2.66", "for=203.0.113.7 proto=http", 'for="x, for="203.0.113.7"', "=", '"',
            "proto=https", "for=203.0.113.7, \xff",
        ]:  # fmt: skip
            self.assertIsNone(asked(*standard(text)).address, text)
            self.assertIsNone(asked(*standard("for=192.0.2.66", text)).address, text)

    def test_untold(self):
        """A trusted proxy that does not say whom it speaks for leaves it open."""
        for lines in [[], usual(""), [b"X-Forwarded-Proto: https"], [b"X-Real-IP: 203.0.113.7"], standard(",")]:
            self.assertIsNone(asked(*lines).address, lines)

    def test_unix_socket(self):
        """Whoever comes by a UNIX socket can be trusted, too."""
        client = asked(*usual("203.0.113.7"), peer=UNIXAddress("/run/filedropd.sock"), trusted=("unix",))
        self.assertEqual("203.0.113.7", client.address)

    def test_peers(self):
        """A proxy is known by its address, however that is written."""
        for host in ("::ffff:10.0.0.1", "fd00::1", "fd00::1%eth0"):
            self.assertEqual("203.0.113.7", asked(*usual("203.0.113.7"), peer=host).address, host)


class OriginTests(SynchronousTestCase):
    """As which scheme and host a client asked."""

    def check(self, table: list[tuple[list[bytes], str]]) -> None:
        """Compare scheme and host with what each list of lines makes of them."""
        for lines, origin in table:
            client = asked(*lines)
            self.assertEqual(origin, f"{client.scheme}://{client.host}", lines)

    def test_told(self):
        """A trusted proxy says it."""
        self.check(
            [
                ([b"X-Forwarded-Proto: https"], "https://a"),
                ([b"X-Forwarded-Proto: HTTPS", b"X-Forwarded-Host: b.example:8443"], "https://b.example:8443"),
                ([b"X-Forwarded-Host: [2001:db8::7]:80"], "http://[2001:db8::7]:80"),
                (standard("for=203.0.113.7;proto=https;host=b.example"), "https://b.example"),
                (standard('for=_x;proto=https;host="b.example:8443"'), "https://b.example:8443"),
                (standard("proto=https"), "https://a"),
            ]
        )

    def test_port(self):
        """A port is added where the host has none and the scheme another."""
        port = b"X-Forwarded-Port: "
        self.check(
            [
                ([port + b"8080"], "http://a:8080"),
                ([port + b"80"], "http://a"),
                ([port + b"443", b"X-Forwarded-Proto: https"], "https://a"),
                ([port + b"443"], "http://a:443"),
                (
                    [port + b"8443", b"X-Forwarded-Proto: https", b"X-Forwarded-Host: b.example"],
                    "https://b.example:8443",
                ),
                ([port + b"8443", b"X-Forwarded-Host: b.example:1"], "http://b.example:1"),
                ([port + b"8443", b"X-Forwarded-Host: [2001:db8::7]"], "http://[2001:db8::7]:8443"),
            ]
        )

    def test_hops(self):
        """It is what the outermost trusted proxy says, or the one nearest to it that says anything."""
        one, two = usual("192.0.2.66, 203.0.113.7"), usual("192.0.2.66, 203.0.113.7, 10.0.0.2")
        hosts, schemes = b"X-Forwarded-Host: evil.example, b.example, c.example", b"X-Forwarded-Proto: http, https,http"
        self.check(
            [
                ([*one, hosts, schemes], "http://c.example"),
                ([*two, hosts, schemes], "https://b.example"),
                ([*two, b"X-Forwarded-Host: b.example", b"X-Forwarded-Proto: https"], "https://b.example"),
                (
                    standard("for=192.0.2.66;host=evil.example", "for=203.0.113.7;host=b.example, for=10.0.0.2;host=c"),
                    "http://b.example",
                ),
                (standard("for=192.0.2.66;host=evil.example", "for=203.0.113.7"), "http://a"),
            ]
        )

    def test_malformed(self):
        """What is malformed is as good as not said: a host must be one that could stand in Host."""
        for host in [
            "",
            "b c",
            "a@evil.example:80",
            "b%0d%0aX:y",
            "b/x",
            "b:123456",
            "b:x",
            "[b",
            "\xe9",
            "b\\",
            '"b"',
            "b\tc",
        ]:
            lines = [b"X-Forwarded-Host: " + host.encode("latin-1"), b"X-Forwarded-Proto: ftp", b"X-Forwarded-Port: 0"]
            self.check([(lines, "http://a")])
            quoted = re.sub(r'(["\\])', r"\\\1", host)
            self.check([(standard(f'for=203.0.113.7;proto="http:";host="{quoted}"'), "http://a")])
        for port in (b"65536", b"-1", b"8443x", b"1" * 5000, b"_p"):
            self.check([([b"X-Forwarded-Port: " + port], "http://a")])


class FamiliesTests(SynchronousTestCase):
    """Both families at once."""

    def test_agreed(self):
        """What both say is believed."""
        client = asked(
            *usual("203.0.113.7"), b"X-Forwarded-Proto: https", b"X-Forwarded-Host: b.example",
            *standard("for=203.0.113.7;proto=https;host=b.example"),
        )  # fmt: skip
        self.assertEqual(Client(address="203.0.113.7", shared=False, scheme="https", host="b.example"), client)

    def test_conflict(self):
        """What only one says is not: it may be the client's own."""
        ours = [*usual("203.0.113.7"), b"X-Forwarded-Proto: https"]
        self.assertIsNone(asked(*ours, *standard("for=192.0.2.66")).address)
        self.assertEqual("http", asked(*ours, *standard("for=203.0.113.7")).scheme)
        forged = asked(*ours, *standard("for=203.0.113.7;proto=https;host=evil.example"))
        self.assertEqual(("203.0.113.7", "https", "a"), (forged.address, forged.scheme, forged.host))
        ours = standard("for=203.0.113.7;proto=http")
        forged = asked(*ours, b"X-Forwarded-Host: evil.example", b"X-Forwarded-Port: 8443")
        self.assertEqual((None, "http", "a"), (forged.address, forged.scheme, forged.host))


class UsesTests(SynchronousTestCase):
    """Who asks about clients."""

    def test_source(self):
        """A recipient behind a trusted proxy is told from others by an address of its own, if nobody shares it."""
        for lines, source in [
            (usual("203.0.113.7"), "203.0.113.7\n"),
            (usual("2001:db8:1:2:3::7"), "2001:db8:1:2::/64\n"),
            (usual("192.0.2.66, 203.0.113.7"), None),
            (usual("unknown"), None),
            ([], None),
        ]:
            request = a_request(*lines, peer=a_peer(PROXY))
            self.assertEqual(source, recipients.source(request, trusting(*TRUSTED)), lines)
            if lines:
                self.assertIsNone(recipients.source(request))

    def test_links(self):
        """Links begin as the client's own request did, unless it is said how they do."""
        token, lines = Token("0" * 32), [b"X-Forwarded-Proto: https", b"X-Forwarded-Host: b.example"]
        request = a_request(*lines, peer=a_peer(PROXY))
        for links, begin in [
            (Links("/api", None, trusting(*TRUSTED)), "https://b.example"),
            (Links("/api", None, trusting()), "http://a"),
            (Links("/api", None), "http://a"),
            (Links("/api", "https://c.example/d", trusting(*TRUSTED)), "https://c.example/d"),
        ]:
            self.assertEqual(f"{begin}/api/file/{token.text}", links.url(request, token))

    def test_access_log(self):
        """The log has the client's address where it is known, else the connection's, and never what somebody wrote."""
        for lines, peer, shown in [
            (usual("203.0.113.7:1"), PROXY, "203.0.113.7"),
            (usual("192.0.2.66, 203.0.113.7"), PROXY, "203.0.113.7"),
            (usual("[2001:DB8::7]:1"), PROXY, "2001:db8::7"),
            (usual("canary\x1b[1m"), PROXY, "10.0.0.1:40000"),
            ([], PROXY, "10.0.0.1:40000"),
            (usual("192.0.2.66"), "203.0.113.7", "203.0.113.7:40000"),
            (usual("192.0.2.66"), "::ffff:203.0.113.7", "::ffff:203.0.113.7:40000"),
        ]:
            request = a_request(peer=a_peer(peer))
            for line in lines:
                request.requestHeaders.addRawHeader(*line.split(b": ", 1))
            with capturedLogs() as events:
                AccessLog(lambda: 0.0, trusting(*TRUSTED)).answered(request)
            (event,) = events
            self.assertTrue(str(formatEvent(event)).startswith(f"{shown} GET "), (lines, formatEvent(event)))

    def test_once(self):
        """It is found out once for a request, whatever becomes of the request."""
        forwarding, request = trusting(*TRUSTED), a_request(*usual("203.0.113.7"), peer=a_peer(PROXY))
        client = forwarding.client(request)
        request.requestHeaders.removeHeader("X-Forwarded-For")
        self.assertIs(client, forwarding.client(request))


VALUES = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from([
            b"203.0.113.7", b"10.0.0.2", b"2001:db8::7", b"unknown", b"for", b"host", b"proto", b"https", b"evil.example",
            b"=", b";", b",", b" ", b'"', b"\\", b"[", b"]", b":", b"80", b"_x", b"%", b"\xff", b"99999999",
        ]),
        max_size=16,
    ).map(b"".join),
)  # fmt: skip
NAMES = st.sampled_from(
    [b"Forwarded", b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Forwarded-Port", b"X-Forwarded-Proto"]
)


class AnythingTests(SynchronousTestCase):
    """Whatever the fields are."""

    def request(self, lines: list[tuple[bytes, bytes]], peer: str) -> Request:
        """Return a request with these fields, as far as a head could have them."""
        clean = [(name, bytes(octet for octet in value if octet >= 0x20 and octet != 0x7F)) for name, value in lines]
        return a_request(*(name + b": " + value for name, value in clean), peer=a_peer(peer))

    @given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
    def test_fit(self, lines: list[tuple[bytes, bytes]]):
        """An address is one, a scheme is one, and a host is one that could stand in Host."""
        client = trusting(*TRUSTED).client(self.request(lines, PROXY))
        if client.address is not None:
            self.assertEqual(client.address, str(ip_address(client.address)))
            self.assertNotIn("%", client.address)
        self.assertIn(client.scheme, {"http", "https"})
        self.assertRegex(client.host, r"\A(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~!$&'()*+,;=-]+)(:[0-9]{0,5})?\Z")

    @given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
    def test_untrusted(self, lines: list[tuple[bytes, bytes]]):
        """From who is not trusted, they change nothing."""
        client = trusting(*TRUSTED).client(self.request(lines, "203.0.113.7"))
        self.assertEqual(Client(address="203.0.113.7", shared=bool(lines), scheme="http", host="a"), client)

    @given(st.lists(VALUES, max_size=3))
    def test_prefix(self, forged: list[bytes]):
        """Whatever a client writes before it, the proxy's own word on its address counts."""
        lines = [(b"X-Forwarded-For", value) for value in [*forged, b"203.0.113.7"]]
        self.assertEqual("203.0.113.7", trusting(*TRUSTED).client(self.request(lines, PROXY)).address)

    @given(VALUES)
    def test_prefix_standard(self, forged: bytes):
        """A proxy that appends its word to a client's line is believed, or the line says nothing."""
        for own in (b', for="[2001:db8::7]";proto=https', b", for=203.0.113.7"):
            client = trusting(*TRUSTED).client(self.request([(b"Forwarded", forged + own)], PROXY))
            self.assertIn(client.address, {None, "2001:db8::7", "203.0.113.7"})
            self.assertEqual("a", client.host)


class NetworkTests(SynchronousTestCase):
    """How it is said who is trusted."""

    def test_taken(self):
        """A network, an address for itself, or the word for UNIX sockets."""
        for text, network in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("fd00::/8", "fd00::/8"),
            ("2001:DB8::1", "2001:db8::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("unix", "unix"),
        ]:
            self.assertEqual(network, str(parse_network(text)), text)

    def test_refused(self):
        """Anything else is refused, with what to write instead."""
        for text in [
            "", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "10.0.0.0/", "/8", "10.0.0/8", "localhost", "UNIX", "unix:", "*",
            "fe80::1%eth0", "[::1]", "::/129", "10.0.0.1, 10.0.0.2", " 10.0.0.1", "10", "10.0.0.1\n", "\u0661.0.0.1",
        ]:  # fmt: skip
            self.assertRaisesRegex(ValueError, "^is not an address", parse_network, text)
        for text, right in [("10.0.0.1/8", "10.0.0.0/8"), ("fd00::1/64", "fd00::/64")]:
            self.assertRaisesRegex(ValueError, f"write {right},", parse_network, text)
