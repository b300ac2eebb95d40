"""Who asks: by the token that is shown, else by address and program, as far as they say anything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from filedropd.http.request import Request
from filedropd.http.server import HTTPFactory
from filedropd.tokens import Token
from filedropd.web import recipients
from filedropd.web.problems import refusal
from tests.support import Wire
from tests.test_fields import Captured

A, B, C = "a" * 32, "b" * 32, "c" * 32
LINK = "/api/v1.0/file/" + "0123456789abcdef" * 2
HTML = b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def a_request(*lines: bytes, method: bytes = b"GET", target: bytes = b"/", peer: IAddress | None = None) -> Request:
    """Return the request that the server makes of these header lines, from that address."""
    resource = Captured()
    wire = Wire(HTTPFactory(resource, Clock(), refusal=refusal))
    wire.send(b"\r\n".join([method + b" " + target + b" HTTP/1.1", b"Host: a", *lines, b"", b""]))
    (request,) = resource.requests
    if peer is not None:
        request.client = peer
    return request


class ClaimTokenTests(SynchronousTestCase):
    """The token of a claim."""

    def shown(self, *lines: bytes, target: bytes = b"/") -> str | None:
        """Return the digits of the token that the request shows."""
        token = recipients.claim_token(a_request(*lines, target=target))
        return None if token is None else token.text

    def test_ways(self):
        """It is shown in a header, in the query, or as a cookie."""
        self.assertEqual(A, self.shown(b"Filedrop-Claim: " + A.encode()))
        self.assertEqual(A, self.shown(target=b"/?claim=" + A.encode()))
        self.assertEqual(A, self.shown(b"Cookie: filedrop-claim=" + A.encode()))
        self.assertIsNone(self.shown())

    def test_order(self):
        """The header beats the query, which beats the cookie."""
        header, target, line = (
            b"filedrop-claim: " + A.encode(),
            b"/?claim=" + B.encode(),
            b"Cookie: filedrop-claim=" + C.encode(),
        )
        self.assertEqual(A, self.shown(header, line, target=target))
        self.assertEqual(B, self.shown(line, target=target))
        self.assertEqual(B, self.shown(b"Filedrop-Claim: " + A.upper().encode(), line, target=target))
        self.assertEqual(C, self.shown(b"Filedrop-Claim:", line, target=b"/?claim=&claim=%FF&claim=" + b"d" * 33))

    def test_cookies(self):
        """Among whatever other cookies there are, the first that is well-formed counts."""
        a, b = A.encode(), B.encode()
        for value in [
            b"x=y; filedrop-claim=" + a,
            b"filedrop-claim=" + a + b"; x=y",
            b"x=y;filedrop-claim=" + a + b";z",
            b"filedrop-claim = " + a,
            b'filedrop-claim="' + a + b'"',
            b"=;;;a==;\xff=\xfe;filedrop-claim=" + a + b";;=",
            b"filedrop-claim=; filedrop-claim=short; filedrop-claim=" + a + b"; filedrop-claim=" + b,
            b"xfiledrop-claim=" + b + b"; filedrop-claim=" + a,
            b'x="; filedrop-claim=' + a + b'"',
        ]:
            self.assertEqual(A, self.shown(b"Cookie: " + value), value)
        self.assertEqual(A, self.shown(b"Cookie: x=y", b"Cookie: filedrop-claim=" + a))

    def test_malformed(self):
        """What is no token is none, and is no error."""
        for value in [
            b"",
            b"=",
            b"=;;;a==;\xff=\xfe",
            b"filedrop-claim",
            b"filedrop-claim=",
            b"filedrop-claim=" + A.upper().encode(),
            b"filedrop-claim=" + A.encode() + b"0",
            b"Filedrop-Claim=" + A.encode(),
            b"filedrop-claim=" + b"x" * 10_000,
            b"filedrop-claim=" + "é".encode() * 16,
            b";" * 10_000,
        ]:
            self.assertIsNone(self.shown(b"Cookie: " + value), value[:50])

    @given(st.binary(max_size=200))
    def test_any_cookie(self, octets: bytes):
        """Whatever the cookies are, they are read."""
        value = bytes(octet for octet in octets if octet >= 0x20 and octet != 0x7F)
        self.shown(b"Cookie: " + value)
        self.assertEqual(A, self.shown(b"Cookie: " + value + b";filedrop-claim=" + A.encode()))


class CookieTests(SynchronousTestCase):
    """The cookie that a browser is given."""

    def test_attributes(self):
        """It goes to the link and nowhere else, is kept from scripts, and under https never sent in the open."""
        token = Token(A)
        parts = recipients.cookie(token, LINK, secure=False).split("; ")
        self.assertEqual(f"filedrop-claim={A}", parts[0])
        self.assertEqual({f"Path={LINK}", "HttpOnly", "SameSite=Lax"}, set(parts[1:]))
        self.assertEqual({"Secure"}, set(recipients.cookie(token, LINK, secure=True).split("; ")) - set(parts))

    def test_round_trip(self):
        """What a browser sends back of it is the token."""
        pair = recipients.cookie(Token(A), LINK, secure=True).partition(";")[0]
        self.assertEqual(Token(A), recipients.claim_token(a_request(b"Cookie: " + pair.encode())))


class SourceTests(SynchronousTestCase):
    """Where a request comes from."""

    def source(self, host: str, *lines: bytes) -> str | None:
        """Return the source of a request from ``host``."""
        peer = (IPv6Address if ":" in host else IPv4Address)("TCP", host, 1)
        return recipients.source(a_request(*lines, peer=peer))

    def test_addresses(self):
        """An IPv4 address says who asks as it is, an IPv6 address by its network."""
        for host, address in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::1", "::/64"),
        ]:
            self.assertEqual(f"{address}\ncurl/8", self.source(host, b"User-Agent: curl/8"), host)

    def test_agents(self):
        """Behind one address programs are told apart by their names, as far as these go."""
        self.assertEqual("203.0.113.7\n", self.source("203.0.113.7"))
        self.assertEqual("203.0.113.7\n", self.source("203.0.113.7", b"User-Agent:"))
        self.assertEqual("203.0.113.7\n" + "x" * 512, self.source("203.0.113.7", b"User-Agent: " + b"x" * 5000))

    def test_octets(self):
        """A name that is no text becomes one."""
        told = self.source("203.0.113.7", b"User-Agent: \xff\xc3\xa9")
        self.assertEqual("203.0.113.7\n\\xffé", told)

    def test_forwarded(self):
        """Behind a proxy the address is that of many."""
        for line in [
            b"Forwarded: for=192.0.2.1",
            b"X-Forwarded-For: 192.0.2.1",
            b"x-forwarded-for:",
            b"X-Forwarded-Proto: https",
            b"X-Real-IP: 192.0.2.1",
            b"Via: 1.1 proxy",
            b"CF-Connecting-IP: 192.0.2.1",
        ]:
            self.assertIsNone(self.source("203.0.113.7", b"User-Agent: curl/8", line), line)

    def test_unix_socket(self):
        """A UNIX socket says nothing."""
        for name in (None, "/run/filedropd.sock"):
            self.assertIsNone(recipients.source(a_request(b"User-Agent: curl/8", peer=UNIXAddress(name))))


class PageTests(SynchronousTestCase):
    """Who is shown a page first."""

    def test_people(self):
        """A browser that goes to a link is, whatever it is called."""
        for method in (b"GET", b"HEAD"):
            self.assertTrue(recipients.wants_page(a_request(HTML, method=method)))
            self.assertTrue(recipients.wants_page(a_request(HTML, b"User-Agent: curl/8", method=method)))

    def test_previewers(self):
        """A previewer is, whatever it accepts."""
        for line in (b"Accept: */*", b"Accept: image/*", b"X: y"):
            self.assertTrue(recipients.wants_page(a_request(b"User-Agent: Slackbot 1.0", line)))

    def test_programs(self):
        """A program is not."""
        self.assertFalse(recipients.wants_page(a_request()))
        self.assertFalse(recipients.wants_page(a_request(b"User-Agent: curl/8.5.0", b"Accept: */*")))
        self.assertFalse(recipients.wants_page(a_request(b"User-Agent: python-requests/2.32.3", b"Accept: */*")))

    def test_programs_like_browsers(self):
        """Nor is one that says text/html without having been told to."""
        for agent, accept in [
            (b"wget2/1.99.1", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            (b"Wget/2.1.0", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            (b"Java/17.0.15", b"text/html, image/gif, image/jpeg, */*; q=0.2"),
            (
                b"Scrapy/2.11.2 (+https://scrapy.org)",
                b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            ),
        ]:
            request = a_request(b"User-Agent: " + agent, b"Accept: " + accept)
            self.assertFalse(recipients.wants_page(request), agent)

    def test_methods(self):
        """Nobody is who does not ask for the link."""
        for method in (b"POST", b"PUT", b"DELETE"):
            self.assertFalse(recipients.wants_page(a_request(HTML, b"Content-Length: 0", method=method)))
