"""What requests say: each field becomes a typed value, or is refused with its name."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from filedropd.drops import Rules
from filedropd.errors import BadRequest
from filedropd.http.request import Request
from filedropd.http.server import HTTPFactory
from filedropd.passwords import IMPOSSIBLE
from filedropd.tokens import Token
from filedropd.web import fields
from filedropd.web.problems import refusal
from tests.support import Wire

DAY = 86_400
RULES = Rules(max_file_size=1000, expires=7 * DAY, max_expires=30 * DAY, max_downloads=1000)
TOKEN = "0123456789abcdef" * 2


class Captured(Resource):
    """Takes requests and answers none."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []

    def render(self, request: Request) -> int:
        self.requests.append(request)
        return NOT_DONE_YET


def a_request(*lines: bytes, target: bytes = b"/") -> Request:
    """Return the request that the server makes of these header lines."""
    resource = Captured()
    wire = Wire(HTTPFactory(resource, Clock(), refusal=refusal))
    wire.send(b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: a", *lines, b"", b""]))
    (request,) = resource.requests
    return request


def basic(credentials: bytes) -> bytes:
    """Return the field of HTTP Basic that carries ``credentials``."""
    return b"Authorization: Basic " + b64encode(credentials)


class TermsTests(SynchronousTestCase):
    """What an upload asks for."""

    def refused(self, **options: str) -> None:
        """Check that the one option is refused with its name."""
        (name,) = options
        with self.assertRaises(BadRequest, msg=ascii(options)) as raised:
            fields.terms(options, RULES)
        self.assertTrue(raised.exception.detail.startswith(name), raised.exception.detail)

    def test_defaults(self):
        """Who asks for nothing gets one copy, the operator's time, and no password."""
        for options in ({}, {"password": "", "expires": "", "downloads": ""}):
            terms = fields.terms(options, RULES)
            self.assertEqual((None, 7 * DAY, 1), (terms.password, terms.expires, terms.downloads))

    def test_expires(self):
        """Times are written with their unit, or in seconds."""
        for text, seconds in [
            ("90s", 90),
            ("15m", 900),
            ("12h", 43_200),
            ("7d", 7 * DAY),
            ("30d", 30 * DAY),
            ("90", 90),
            ("1", 1),
            (" 1h ", 3600),
            ("007d", 7 * DAY),
        ]:
            self.assertEqual(seconds, fields.terms({"expires": text}, RULES).expires, text)

    def test_bad_expires(self):
        """What is no time, none at all, or longer than is allowed, is refused."""
        for text in [
            "0",
            "0d",
            "9999999999999",
            "9" * 5000,
            "NaN",
            "inf",
            "-1",
            "-1d",
            "+1d",
            "1.5h",
            "1e3",
            "１d",
            "1\0",
            "1 d",
            "1w",
            "d",
            "1d1h",
            "31d",
            "2592001",
            "0x10",
            "1_000",
            "tomorrow",
            " ",
            "\udcff",
        ]:
            self.refused(expires=text)

    def test_downloads(self):
        """Copies are a number from 1 to what is allowed."""
        for text, count in [("1", 1), ("2", 2), ("1000", 1000), (" 5 ", 5), ("0007", 7)]:
            self.assertEqual(count, fields.terms({"downloads": text}, RULES).downloads, text)

    def test_bad_downloads(self):
        """Anything else is refused."""
        for text in [
            "0",
            "-1",
            "1e9",
            "１",
            "1\0",
            "1001",
            "+1",
            "1.0",
            "1_0",
            "0x1",
            "many",
            "9" * 5000,
            "NaN",
            "1 0",
            " ",
            "²",
            "\udcff",
        ]:
            self.refused(downloads=text)

    def test_password(self):
        """A password is brought into one form."""
        self.assertEqual("é".encode(), fields.terms({"password": "e\u0301"}, RULES).password)
        self.assertEqual(b"a\0b", fields.terms({"password": "a\0b"}, RULES).password)

    def test_bad_password(self):
        """One that cannot be a password is refused, quickly, and is not repeated."""
        for text in ["canary" * 200_000, "canary" * 171, "canary\ud800"]:
            began = time.thread_time()
            with self.assertRaises(BadRequest) as raised:
                fields.terms({"password": text}, RULES)
            self.assertLess(time.thread_time() - began, 0.1)
            self.assertIn("password", raised.exception.detail)
            self.assertNotIn("canary", raised.exception.detail)

    @given(st.sampled_from(["password", "expires", "downloads"]), st.text())
    def test_any(self, name, text):
        """Whatever comes, it is what is allowed or is refused."""
        try:
            terms = fields.terms({name: text}, RULES)
        except BadRequest:
            return
        self.assertTrue(0 < terms.expires <= RULES.max_expires and 1 <= terms.downloads <= RULES.max_downloads)

    def test_headers(self):
        """The options stand in headers too; those that are not there are not given."""
        request = a_request(b"Filedrop-Expires: 1d", b"filedrop-downloads: 3", b"Filedrop-Other: 1")
        self.assertEqual({"expires": "1d", "downloads": "3"}, fields.header_options(request))
        self.assertEqual({"password": "é"}, fields.header_options(a_request("Filedrop-Password: é".encode())))


class ContentTypeTests(SynchronousTestCase):
    """What a file is said to be."""

    def test_given(self):
        """A valid media type is kept as it is given."""
        for text in [
            "text/plain",
            "TEXT/Plain",
            "text/html; charset=utf-8",
            'text/plain;charset="utf-8"',
            "application/vnd.api+json",
            "image/svg+xml",
            "x/y; a=b; c=d",
            "a/" + "b" * 253,
        ]:
            self.assertEqual(text, fields.content_type(text, "name.pdf"))
        self.assertEqual("text/plain", fields.content_type(" text/plain ", "name.pdf"))

    def test_bad(self):
        """What is none is any bytes, whatever the name says."""
        for text in [
            "text/" + "x" * 5000,
            "a/" + "b" * 254,
            "text/plain\r\nX: y",
            "text/plain;\r\n charset=utf-8",
            "text/plain\0",
            "text",
            "text/",
            "/plain",
            "text/plain/x",
            "text plain",
            "text/pläin",
            "text/plain; charset",
            "text/plain; charset=",
            'text/plain; a="b',
            'text/plain; a="\u00e9"',
            "text/plain;",
            "text/html, text/plain",
            "\u212a/x",
            "text/plain\udcff",
        ]:
            self.assertEqual("application/octet-stream", fields.content_type(text, "name.pdf"), ascii(text))

    def test_guessed(self):
        """Where nothing is said, the name tells; a compressed file is a compressed file."""
        for said in (None, "", "  "):
            for name, kind in [
                ("a.pdf", "application/pdf"),
                ("a.TXT", "text/plain"),
                ("a.tar.gz", "application/gzip"),
                ("a.txt.bz2", "application/x-bzip2"),
                ("a.xz", "application/x-xz"),
                ("a.Z", "application/octet-stream"),
                ("a", "application/octet-stream"),
                ("a.nothing-known", "application/octet-stream"),
                ("", "application/octet-stream"),
            ]:
                self.assertEqual(kind, fields.content_type(said, name), name)

    def test_linear(self):
        """No text takes long to judge."""
        for text in ("a/a" + ";a=a" * 60 + "!,", "a/a" + " " * 250 + "x", "a/a;a=" + '"' * 249):
            began = time.thread_time()
            fields.content_type(text[:255], "")
            self.assertLess(time.thread_time() - began, 0.05)

    @given(st.none() | st.text(), st.text())
    def test_any(self, given_type, name):
        """Whatever comes, the result is a media type in one line of ASCII."""
        self.assertRegex(fields.content_type(given_type, name), r"\A[!-~]+/[ !-~\t]+\Z")


class PathNameTests(SynchronousTestCase):
    """The name of a file that is put at an address."""

    def test_names(self):
        """A segment is a name, however it is escaped."""
        for segment, name in [
            (b"", ""),
            (b"report.pdf", "report.pdf"),
            (b"a%20b", "a b"),
            (b"a+b", "a+b"),
            (b"%C3%A9", "é"),
            ("é".encode(), "é"),
            (b"%2Ehidden", ".hidden"),
            (b"...", "..."),
            (b"100%", "100%"),
            (b"%zz", "%zz"),
            (b"a%252fb", "a%2fb"),
        ]:
            self.assertEqual(name, fields.path_name(segment), segment)

    def test_bad(self):
        """What is a path of its own, or has control characters, or is no text, is refused."""
        for segment in [
            b"a%2fb",
            b"a%2Fb",
            b"a/b",
            b"a%5cb",
            b"a\\b",
            b"%2e%2e",
            b"..",
            b".%2e",
            b"%2e",
            b".",
            b"%00",
            b"a%0d%0ab",
            b"%7f",
            b"%1b",
            b"%ff",
            b"\xff",
            b"%ed%a0%80",
            b"%c0%ae%c0%ae",
        ]:
            with self.assertRaises(BadRequest, msg=repr(segment)):
                fields.path_name(segment)

    @given(st.binary())
    def test_any(self, segment):
        """Whatever comes is one name or is refused."""
        try:
            name = fields.path_name(segment)
        except BadRequest:
            return
        self.assertFalse({"/", "\\", "\0", "\r", "\n"} & set(name) or name in {".", ".."})


class PasswordTests(SynchronousTestCase):
    """The password that a download shows."""

    def shown(self, *lines: bytes, target: bytes = b"/") -> bytes | None:
        """Return the password that the request shows."""
        return fields.download_password(a_request(*lines, target=target))

    def test_ways(self):
        """It is in the query, in its own field, or in HTTP Basic under any user name."""
        for password, lines, target in [
            (None, [], b"/"),
            (b"s", [], b"/?password=s"),
            (b"a b&c", [], b"/?password=a+b%26c"),
            (b"s", [b"Filedrop-Password: s"], b"/"),
            (b"s", [basic(b"user:s")], b"/"),
            (b"s", [basic(b":s")], b"/"),
            (b"a:b", [basic(b"user:a:b")], b"/"),
            (b"s", [b"authorization: bAsIc " + b64encode(b"u:s")], b"/"),
            ("é".encode(), [basic("u:e\u0301".encode())], b"/"),
            ("é".encode(), ["Filedrop-Password: é".encode()], b"/"),
            ("é".encode(), [], b"/?password=e%CC%81"),
        ]:
            self.assertEqual(password, self.shown(*lines, target=target), (lines, target))

    def test_precedence(self):
        """The query beats the field, which beats HTTP Basic; of two in the query the last counts."""
        own, authorization = b"Filedrop-Password: own", basic(b"u:basic")
        self.assertEqual(b"query", self.shown(own, authorization, target=b"/?password=query"))
        self.assertEqual(b"own", self.shown(own, authorization))
        self.assertEqual(b"2", self.shown(target=b"/?password=1&password=2"))

    def test_empty_query(self):
        """An empty one in the query is one that no drop has: it is not looked for elsewhere."""
        self.assertEqual(IMPOSSIBLE, self.shown(basic(b"u:basic"), target=b"/?password="))

    def test_malformed(self):
        """What is no password is one that no drop has; none of it takes long."""
        for line in [
            b"Authorization: Basic",
            b"Authorization: Basic ",
            b"Authorization: Basic !!!",
            b"Authorization: Basic dXNlcg",
            basic(b"no colon"),
            basic(b"u:"),
            basic(b"u:\xff"),
            b"Authorization: Basic \xff\xfe",
            b"Authorization: Basic " + "é".encode(),
            b"Authorization: Basic " + b"A" * 15_000,
            basic(b"u:" + b"x" * 11_000),
            b"Filedrop-Password: \xff",
            b"Filedrop-Password: " + b"x" * 1025,
        ]:
            request = a_request(line)
            began = time.thread_time()
            self.assertEqual(IMPOSSIBLE, fields.download_password(request), line[:50])
            self.assertLess(time.thread_time() - began, 0.05)
        for query in (b"%FF", b"%ED%A0%80", b"x" * 5000):
            self.assertEqual(IMPOSSIBLE, self.shown(target=b"/?password=" + query))

    def test_other_schemes(self):
        """Credentials of another kind are no password: none is shown."""
        for line in (
            b"Authorization: Bearer " + b64encode(b"u:s"),
            b"Authorization: Digest username=u, password=s",
            b"Authorization: password=s",
            b"Authorization:",
        ):
            self.assertIsNone(self.shown(line), line)


class OwnerTests(SynchronousTestCase):
    """The token that an owner shows."""

    def shown(self, *lines: bytes) -> Token | None:
        """Return the token that the request shows."""
        return fields.owner_token(a_request(*lines))

    def test_right(self):
        """It is a bearer token."""
        for scheme in (b"Bearer ", b"bearer ", b"BEARER  "):
            self.assertEqual(Token(TOKEN), self.shown(b"Authorization: " + scheme + TOKEN.encode()))

    def test_wrong(self):
        """Nothing else is."""
        for value in [
            b"",
            b"Bearer",
            b"Bearer ",
            TOKEN.encode(),
            b"Basic " + b64encode(b"u:" + TOKEN.encode()),
            b"Token " + TOKEN.encode(),
            b"Bearer " + TOKEN.upper().encode(),
            b"Bearer " + TOKEN.encode() + b"0",
            b"Bearer token=" + TOKEN.encode(),
            b"Bearer " + TOKEN.encode() + b", x",
            b"Bearer \xff",
            b"Bearer " + b"a" * 15_000,
        ]:
            self.assertIsNone(self.shown(b"Authorization: " + value), value[:60])
        self.assertIsNone(self.shown())


class AcceptsTests(SynchronousTestCase):
    """What an answer may be."""

    def accepts(self, media_type: str) -> Callable[[bytes], bool]:
        """Return whether ``media_type`` is named in the field that is given."""
        return lambda value: fields.accepts(a_request(b"Accept: " + value), media_type)

    def test_named(self):
        """A type is accepted where it is named."""
        for value in [
            b"text/html",
            b"TEXT/HTML",
            b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            b"application/json, text/html;q=0.1",
        ]:
            self.assertTrue(self.accepts("text/html")(value), value)

    def test_not_named(self):
        """It is not where only a wildcard would let it in, or where it is refused."""
        for value in [b"*/*", b"text/*", b"", b"application/json", b"text/html;q=0", b"text/htmlx", b"xtext/html"]:
            self.assertFalse(self.accepts("text/html")(value), value)
        self.assertFalse(fields.accepts(a_request(), "text/html"))

    def test_odd(self):
        """What is no list of types names none, and is no error."""
        for value in [b",,;;,", b"text/html;q=x;q", b'"', b"\xff\xfe", b"q=1", b";q=0.5", b"a" * 10_000]:
            self.assertFalse(self.accepts("application/json")(value), value[:50])
