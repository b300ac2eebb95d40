"""The head of a request: what is taken for one, and what is refused."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from filedropd.errors import HeadTooLarge, MalformedRequest, ProtocolError, TargetTooLong
from filedropd.http.head import Head, HeadReader, Limits
from filedropd.testing import request
from tests.wired import Service, measured, split

H = b"Host: a\r\n"


def line(text: bytes) -> bytes:
    """A request with this request line."""
    return text + b"\r\n" + H + b"\r\n"


def fields(text: bytes) -> bytes:
    """A PUT with these lines between its request line and the end of its head, and five bytes behind."""
    return b"PUT / HTTP/1.1\r\n" + H + text + b"\r\n\r\nhello"


#: Row of the catalogue of bad inputs, what is sent, and the status codes of what comes back.  All
#: of these are answered without the application, and the connection is closed.
REFUSED: list[tuple[str, bytes, int]] = [
    ("1", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("2", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("2, the same", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("3", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("4", b"GET / HTTP/1.1\r\nHost: a@evil.com:80\r\n\r\n", 400),
    ("5", b"GET / HTTP/1.1\r\nHost: a%0d%0aX: y\r\n\r\n", 400),
    ("1, empty", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    ("8", line(b"GET a:80 HTTP/1.1"), 400),
    ("9", line(b"GET * HTTP/1.1"), 400),
    ("11", line(b"GET foo HTTP/1.1"), 400),
    ("12", line(b"GET /\x7f HTTP/1.1"), 400),
    ("13", line(b"GET /\x80 HTTP/1.1"), 400),
    ("13, b0", line(b"GET /\xb0 HTTP/1.1"), 400),
    ("14", line(b"GET /\xff HTTP/1.1"), 400),
    ("15", line(b"GET /\x00 HTTP/1.1"), 400),
    ("23", line(b"GET /a#b HTTP/1.1"), 400),
    ("24", line(b"get / HTTP/1.1"), 501),
    ("25", line(b"G(T / HTTP/1.1"), 400),
    ("26", line(b"BREW / HTTP/1.1"), 501),
    ("27", line(b"CONNECT a:80 HTTP/1.1"), 400),
    ("28", line(b"GET / HTTP/2.0"), 505),
    ("28, 1.2", line(b"GET / HTTP/1.2"), 505),
    ("28, small", line(b"GET / http/1.1"), 400),
    ("28, 0.9", b"GET /\r\n", 400),
    ("29", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("30", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ("30, its first byte", b"\x16", 400),
    ("31", b"SSH-2.0-x\r\n", 400),
    ("32", line(b"GET  / HTTP/1.1"), 400),
    ("32, tabs", line(b"GET\t/\tHTTP/1.1"), 400),
    ("32, behind", line(b"GET / HTTP/1.1 "), 400),
    ("32, before", line(b" GET / HTTP/1.1"), 400),
    ("33", line(b"GET /" + b"a" * 16_400 + b" HTTP/1.1"), 414),
    ("33, at the limit", line(b"GET /" + b"a" * 8192 + b" HTTP/1.1"), 414),
    ("34", b"GET / HTTP/1.1\nHost: a\n\n", 400),
    ("35", b"GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n", 400),
    ("36", fields(b"X: a\rb"), 400),
    ("37", fields(b"Foo: x\nContent-Length: 5"), 400),
    ("38", fields(b"X: a\0b"), 400),
    ("39", fields(b"X: a\x07b"), 400),
    ("39, 7f", fields(b"X: a\x7fb"), 400),
    ("40", fields(b"Content-Length : 5"), 400),
    ("40, no colon", fields(b"foo"), 400),
    ("40, no name", fields(b": x"), 400),
    ("40, space first", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("41", fields(b"X: a\r\n b"), 400),
    ("42", fields(b"Content-Length:\r\n 5"), 400),
    ("42, TE", fields(b"Transfer-Encoding:\r\n chunked"), 400),
    ("43", fields(b"Content-Length: 5\r\nContent-Length: 5"), 400),
    ("44", fields(b"Content-Length: 5\r\nContent-Length: 6"), 400),
    ("45", fields(b"Content-Length: 5, 5"), 400),
    ("46, +5", fields(b"Content-Length: +5"), 400),
    ("46, -1", fields(b"Content-Length: -1"), 400),
    ("46, 0x5", fields(b"Content-Length: 0x5"), 400),
    ("46, 5_0", fields(b"Content-Length: 5_0"), 400),
    ("46, 1e1", fields(b"Content-Length: 1e1"), 400),
    ("46, empty", fields(b"Content-Length:"), 400),
    ("46, b2", fields(b"Content-Length: \xb2"), 400),
    ("47", fields(b"Content-Length: " + b"9" * 5000), 413),
    ("48", fields(b"Content-Length: 9223372036854775808\r\nExpect: 100-continue"), 413),
    ("48, wraps", fields(b"Content-Length: 18446744073709551621\r\nExpect: 100-continue"), 413),
    ("50", fields(b"X: " + b"a" * 20_000), 431),
    ("51", fields(b"\r\n".join([b"X: " + b"a" * 997] * 20)), 431),
    ("52", fields(b"\r\n".join([b"X: a"] * 501)), 431),
    ("53", b"\r\n" * 5 + line(b"GET / HTTP/1.1"), 400),
    ("53, two", b"\r\n" * 2 + line(b"GET / HTTP/1.1"), 400),
    ("54", fields(b"Expect: 200-ok"), 417),
    ("55", fields(b"Content-Length: 5\r\nTransfer-Encoding: chunked"), 400),
    ("56", fields(b"Transfer-Encoding: chunked\r\nContent-Length: 5"), 400),
    ("57", fields(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400),
    ("57, gzip", fields(b"Transfer-Encoding: gzip, chunked"), 400),
    ("57, x", fields(b"Transfer-Encoding: xchunked"), 400),
    ("57, comma", fields(b"Transfer-Encoding: chunked,"), 400),
    ("57, 0b", fields(b"Transfer-Encoding: \x0bchunked"), 400),
    ("58", fields(b"Transfer-Encoding: identity\r\nContent-Length: 5"), 400),
    ("58, alone", fields(b"Transfer-Encoding: identity"), 400),
    ("59", fields(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"), 400),
    ("60", b"PUT / HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
]

#: Row, what is sent, the status codes, the requests that reach the application, and whether the connection stays.
ANSWERED: list[tuple[str, bytes, list[int], list[bytes], bool]] = [
    ("6", b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", [200], [b"GET /"], True),
    ("7", line(b"GET http://evil/x?y HTTP/1.1"), [200], [b"GET /x?y"], True),
    ("7, no path", line(b"GET HTTP://evil?y HTTP/1.1"), [200], [b"GET /?y"], True),
    ("10", line(b"OPTIONS * HTTP/1.1"), [204], [], True),
    ("18", line(b"GET /%ff HTTP/1.1"), [404], [], True),
    ("33, under the limit", line(b"GET /" + b"a" * 8191 + b" HTTP/1.1"), [200], [b"GET /" + b"a" * 8191], True),
    ("49", fields(b"Content-Length: 00005"), [200], [b"PUT /"], True),
    ("49, 5,000 digits", fields(b"Content-Length: " + b"0" * 4999 + b"5"), [200], [b"PUT /"], True),
    ("53, one", b"\r\n" + line(b"GET / HTTP/1.1"), [200], [b"GET /"], True),
    ("61", b"GET / HTTP/1.1\r\n" + H + b"Connection: close, TE\r\n\r\n", [200], [b"GET /"], False),
    ("62", b"GET / HTTP/1.1\r\n" + H + b"Cookie: =;;;a==;\xff=\xfe\r\n\r\n", [200], [b"GET /"], True),
    ("1.0 without Host", b"GET / HTTP/1.0\r\n\r\n", [200], [b"GET /"], False),
    ("1.0 that stays", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", [200], [b"GET /"], True),
    ("1.0 ignores Expect", b"GET / HTTP/1.0\r\nExpect: 200-ok\r\n\r\n", [200], [b"GET /"], False),
]


def outcome(data: bytes, *, size: int) -> tuple[list[int], list[bytes], bool]:
    """Send ``data`` in pieces; return the status codes, what reached the application, whether the connection stays."""
    service = Service(measured)
    wire = service.wire()
    wire.send(*split(data, size))
    statuses = [response.status for response in wire.responses() if response.complete]
    ended = wire.half_closed
    wire.advance(2)
    stays = not wire.closed
    if ended is stays:
        raise AssertionError("What is closed must be half-closed at once, and closed within two seconds.")
    return statuses, service.seen, stays


class BadInputTests(SynchronousTestCase):
    """The rows about the request line and the header section."""

    def test_refused(self):
        """What is no request is refused, reaches nobody, and is the connection's last."""
        wrong = {}
        for row, data, status in REFUSED:
            got = outcome(data, size=65_536)
            if got != ([status], [], False):
                wrong[row] = got
        self.assertEqual({}, wrong)

    def test_refused_byte_by_byte(self):
        """The same answers come when every byte comes alone."""
        wrong = {}
        for row, data, status in REFUSED:
            got = outcome(data, size=1)
            if got != ([status], [], False):
                wrong[row] = got
        self.assertEqual({}, wrong)

    def test_answered(self):
        """What looks odd and is legal is answered."""
        wrong: dict[str, Any] = {}
        for row, data, *expected in ANSWERED:
            for size in (65_536, 1):
                got = outcome(data, size=size)
                if got != tuple(expected):
                    wrong[row] = got
        self.assertEqual({}, wrong)

    def test_a_body_is_not_looked_at(self):
        """Nothing behind a refused head is taken for a request."""
        service = Service(measured)
        wire = service.wire()
        wire.send(fields(b"Content-Length: 5\r\nTransfer-Encoding: chunked") + request("GET", "/victim"))
        self.assertEqual(([], [400]), (service.seen, service.refused))

    def test_refusal_fields(self):
        """A refusal says when it was made and that it ends the connection."""
        wire = Service(measured).wire()
        wire.send(b"\x16")
        [answer] = wire.responses()
        self.assertEqual(("close", True), (answer.header("Connection"), answer.header("Date") is not None))

    def test_options_asterisk(self):
        """OPTIONS * says what the server can."""
        wire = Service(measured).wire()
        wire.send(line(b"OPTIONS * HTTP/1.1"))
        self.assertIn("PUT", wire.responses()[0].header("Allow") or "")


def head(data: bytes, limits: Limits | None = None) -> tuple[Head, bytes]:
    """Read one head in one piece."""
    found = HeadReader(limits or Limits()).feed(data)
    if found is None:
        raise AssertionError("The head is not complete.")
    return found


class HeadTests(SynchronousTestCase):
    """What a head says."""

    def test_rest(self):
        """What lies behind the head is given back untouched."""
        _, rest = head(line(b"GET / HTTP/1.1") + b"\r\n\r\nGET")
        self.assertEqual(b"\r\n\r\nGET", rest)

    def test_fields(self):
        """Fields keep their names, order and inner white space, and lose what surrounds their values."""
        found, _ = head(b"GET / HTTP/1.1\r\nHost: a\r\nX-A:  1 \t2 \t\r\nx-a:\r\n\r\n")
        self.assertEqual([(b"Host", b"a"), (b"X-A", b"1 \t2"), (b"x-a", b"")], found.fields)

    def test_absolute_form(self):
        """The authority of a target in absolute form beats Host (RFC 9112 section 3.2.2)."""
        found, _ = head(line(b"GET http://b:81/c HTTP/1.1"))
        self.assertEqual((b"b:81", b"/c"), (found.host, found.target))

    def test_hosts(self):
        """Names, addresses and ports are hosts."""
        for host in (b"a.example:8002", b"127.0.0.1", b"[::1]:80", b"[::1]", b"a_b"):
            found, _ = head(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            self.assertEqual(host, found.host)

    def test_lengths(self):
        """A head says how long its body is: a number, nothing for chunks, 0 where there is none."""
        lengths = [
            head(fields(text))[0].length for text in (b"Content-Length: 5", b"Transfer-Encoding: Chunked", b"X: y")
        ]
        self.assertEqual([5, None, 0], lengths)

    def test_largest_length(self):
        """A length that a file offset can hold is a length."""
        self.assertEqual(2**63 - 1, head(fields(b"Content-Length: %d" % (2**63 - 1)))[0].length)

    def test_expect(self):
        """The one expectation that is known is seen, in any case."""
        self.assertTrue(head(fields(b"Content-Length: 5\r\nExpect: 100-Continue"))[0].expects_continue)

    def test_persistence(self):
        """HTTP/1.1 goes on unless it says close, HTTP/1.0 ends unless it says keep-alive, and close wins."""
        cases = [("1.1", b"", True), ("1.1", b"Close", False), ("1.0", b"", False), ("1.0", b"Keep-Alive", True)]
        cases += [("1.1", b"keep-alive, close", False), ("1.0", b"keep-alive, close", False)]
        for version, value, expected in cases:
            data = f"GET / HTTP/{version}\r\n".encode() + H + b"Connection: " + value + b"\r\n\r\n"
            self.assertEqual(expected, head(data)[0].persistent, data)

    def test_started(self):
        """An empty line before a request is not its beginning."""
        reader = HeadReader(Limits())
        reader.feed(b"\r\n")
        before = reader.started
        reader.feed(b"G")
        self.assertEqual((False, True), (before, reader.started))

    def test_limits(self):
        """Each limit is the last size that passes."""
        data = line(b"GET /abc HTTP/1.1")
        head(data, Limits(head=len(data), count=1, target=4))
        for limits, error in (
            (Limits(head=len(data) - 1), HeadTooLarge),
            (Limits(count=0), HeadTooLarge),
            (Limits(target=3), TargetTooLong),
        ):
            with self.assertRaises(error):
                head(data, limits)

    def test_endless_line(self):
        """A target that goes on and on is refused before its end."""
        reader = HeadReader(Limits())
        with self.assertRaises(TargetTooLong):
            for _ in range(100):
                reader.feed(b"GET /" + b"a" * 100 if reader.started is False else b"a" * 100)

    def test_endless_field(self):
        """A header section that goes on and on is refused before its end."""
        reader = HeadReader(Limits())
        reader.feed(b"GET / HTTP/1.1\r\nX: ")
        with self.assertRaises(HeadTooLarge):
            for _ in range(200):
                reader.feed(b"a" * 100)

    @given(st.lists(st.integers(1, 200), max_size=12), st.sampled_from([*REFUSED, ("", fields(b"X: y"), 0)]))
    def test_splits(self, sizes, case):
        """However the bytes come, the verdict is that on the whole."""
        data = case[1]
        self.assertEqual(self.verdict([data]), self.verdict(pieces(data, sizes)))

    def verdict(self, parts: list[bytes]) -> object:
        """What comes of a head in these parts."""
        reader = HeadReader(Limits())
        for position, part in enumerate(parts):
            try:
                found = reader.feed(part)
            except ProtocolError as error:
                return type(error)
            if found is not None:
                return found[0], found[1] + b"".join(parts[position + 1 :])
        return MalformedRequest if not parts else None


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut ``data`` into pieces of these sizes, and what remains."""
    parts = []
    for size in sizes:
        parts.append(data[:size])
        data = data[size:]
    return [part for part in [*parts, data] if part]
