"""Where a body ends: lengths and chunks, on their own and on the wire."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from filedropd.errors import MalformedRequest
from filedropd.http.framing import ChunkedFraming, Framing, LengthFraming
from filedropd.testing import request
from tests.wired import Service, answer, echoed, measured, split

CHUNKED = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

#: Row of the catalogue of bad inputs, what is sent for a chunked body, and the status code.
BROKEN: list[tuple[str, bytes, int]] = [
    ("63, 0x5", b"0x5\r\nhello\r\n0\r\n\r\n", 400),
    ("63, -5", b"-5\r\nhello\r\n0\r\n\r\n", 400),
    ("63, +5", b"+5\r\nhello\r\n0\r\n\r\n", 400),
    ("63, 0_5", b"0_5\r\nhello\r\n0\r\n\r\n", 400),
    ("64", b"5 \r\nhello\r\n0\r\n\r\n", 400),
    ("64, before", b" 5\r\nhello\r\n0\r\n\r\n", 400),
    ("65", b"\r\nhello\r\n0\r\n\r\n", 400),
    ("66", b"5\r\nhelloXX0\r\n\r\n", 400),
    ("66, LF", b"5\r\nhello\n0\r\n\r\n", 400),
    ("67", b"5\nhello\n0\n\n", 400),
    ("68", b"5;a\nb\r\nhello\r\n0\r\n\r\n", 400),
    ("68, CR", b"5;a\rb\r\nhello\r\n0\r\n\r\n", 400),
    ("69", b"5;" + b"a" * 2000 + b"\r\nhello\r\n0\r\n\r\n", 400),
    ("69, endless", b"5;" + b"a" * 2000, 400),
    ("70", b"f" * 17 + b"\r\nhello", 413),
    ("71", b"0" * 1000 + b"5\r\nhello\r\n0\r\n\r\n", 400),
    ("72", b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n", 400),
    ("72, Host", b"5\r\nhello\r\n0\r\nhost: b\r\n\r\n", 400),
    ("72, TE", b"5\r\nhello\r\n0\r\nTransfer-Encoding: x\r\n\r\n", 400),
    ("73", b"5\r\nhello\r\n0\r\nX: a\0b\r\n\r\n", 400),
    ("73, CR", b"5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n", 400),
    ("73, fold", b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n", 400),
    ("74", b"5\r\nhello\r\n0\r\nX: " + b"a" * 70_000, 400),
    ("74, many", b"5\r\nhello\r\n0\r\n" + b"X: aaaaaaaaaa\r\n" * 5_000, 400),
]


def outcome(data: bytes) -> tuple[list[int], bool]:
    """Send ``data`` to an application that reads its body; return the status codes and whether the end came."""
    wire = Service(measured).wire()
    wire.send(*split(data, 65_536))
    statuses = [response.status for response in wire.responses() if response.complete]
    wire.advance(2)
    return statuses, wire.closed


class BadInputTests(SynchronousTestCase):
    """The rows about the framing of bodies."""

    def test_broken_chunks(self):
        """A body whose framing is broken is refused, with its head or behind it, and ends the connection."""
        wrong = {}
        for row, body, status in BROKEN:
            for parts in ([CHUNKED + body], [CHUNKED, body], split(CHUNKED + body, 1)):
                service = Service(measured)
                wire = service.wire()
                wire.send(*parts)
                got = ([response.status for response in wire.responses()], wire.half_closed)
                wire.advance(2)
                if (*got, wire.closed) != ([status], True, True):
                    wrong[row] = (*got, wire.closed)
        self.assertEqual({}, wrong)

    def test_broken_at_once(self):
        """A request whose body is broken in the read that brought its head reaches nobody."""
        service = Service(lambda request: answer(request, b"ok"))
        wire = service.wire()
        wire.send(CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n")
        self.assertEqual(([], [400], 1), (service.seen, service.refused, len(wire.responses())))

    def test_tiny_chunks(self):
        """Row 75: a million chunks of one byte are refused long before their end."""
        service = Service(measured)
        wire = service.wire()
        wire.send(CHUNKED, *split(b"1\r\nx\r\n" * 1_000_000, 65_536))
        self.assertEqual([400], [response.status for response in wire.responses()])

    def test_few_tiny_chunks(self):
        """Chunks of one byte are taken while they cost little altogether."""
        self.assertEqual(([200], False), outcome(CHUNKED + b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n"))

    def test_small_chunks_of_much(self):
        """Chunks that carry more than their framing costs are taken, however many there are."""
        self.assertEqual(([200], False), outcome(CHUNKED + b"10\r\n0123456789abcdef\r\n" * 50_000 + b"0\r\n\r\n"))

    def test_more_than_declared(self):
        """Row 77: what follows a body of the declared length is a request of its own, and a bad one here."""
        data = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + b"x" * 150
        self.assertEqual(([200, 400], True), outcome(data))

    def test_less_than_declared(self):
        """Row 76: a body that ends before its declared length is malformed, for whoever reads it."""
        service = Service(measured)
        wire = service.wire()
        wire.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
        wire.close()
        self.assertEqual(([400], [400]), ([response.status for response in wire.responses()], service.answered))

    def test_refused_body_is_no_request(self):
        """Row 78: the body of a request that is answered without reading it is never taken for requests."""
        service = Service(lambda request: answer(request, b"no"))
        wire = service.wire()
        body = request("GET", "/victim")
        wire.send(request("PUT", "/", body=body)[: -len(body)])
        wire.send(body)
        self.assertEqual(([b"PUT /"], 1), (service.seen, len(wire.responses())))

    def test_get_with_a_body(self):
        """Row 83: the body of a GET that nobody reads is dropped, and the next request is read behind it."""
        service = Service(lambda request: answer(request, b"ok"))
        wire = service.wire()
        wire.send(request("GET", "/a", body=b"hello") + request("GET", "/b"))
        self.assertEqual([b"GET /a", b"GET /b"], service.seen)

    def test_upgrade(self):
        """Row 62b: a request that asks for an upgrade has its body like any other; nothing in it is a request."""
        for upgrade in ("h2c", "websocket"):
            service = Service(echoed)
            wire = service.wire()
            body = request("GET", "/victim")
            wire.send(request("PUT", "/", {"Connection": "Upgrade", "Upgrade": upgrade}, body))
            self.assertEqual(([b"PUT /"], [body]), (service.seen, [answer.body for answer in wire.responses()]))

    def test_upgrade_in_chunks(self):
        """Row 62b, chunked."""
        service = Service(echoed)
        wire = service.wire()
        head = CHUNKED.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: h2c\r\nHost")
        wire.send(head + b"5\r\nhello\r\n0\r\n\r\n" + request("GET", "/next"))
        self.assertEqual([b"PUT /", b"GET /next"], service.seen)

    def test_trailers(self):
        """Trailer fields do not become header fields."""
        seen = []

        async def handler(request):
            async for _ in request.body:
                pass
            seen.append(request.header("Filedrop-Password"))
            answer(request, b"")

        wire = Service(handler).wire()
        wire.send(CHUNKED + b"5\r\nhello\r\n0\r\nFiledrop-Password: x\r\n\r\n" + request("GET", "/"))
        self.assertEqual([None, None], seen)


def fed(framing: Framing, parts: list[bytes]) -> tuple[bytes, bytes | None]:
    """Feed ``parts``; return the body, and what follows the message or ``None`` where it goes on."""
    body, rest = b"", None
    for part in parts:
        if rest is not None:
            rest += part
            continue
        octets, rest = framing.feed(part)
        body += octets
    return body, rest


def cut(data: bytes, points: list[int]) -> list[bytes]:
    """Cut ``data`` at these places."""
    places = sorted({point % (len(data) + 1) for point in points})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


class LengthFramingTests(SynchronousTestCase):
    """Bodies of a length known beforehand."""

    @given(st.binary(max_size=300), st.integers(0, 200), st.lists(st.integers(0, 300)))
    def test_any_split(self, data, length, points):
        """The first ``length`` bytes are the body, however they come; what follows is given back."""
        expected = (data[:length], data[length:] if len(data) >= length else None)
        # Nothing is fed where the body is empty: such a request has no framing.
        if length:
            self.assertEqual(expected, fed(LengthFraming(length), cut(data, points)))


class ChunkedFramingTests(SynchronousTestCase):
    """Chunked bodies."""

    chunk = st.tuples(
        st.binary(min_size=1, max_size=300),
        st.sampled_from([b"", b";", b";a", b';a="b c"', b";\t\xff"]),
        st.sampled_from([b"%x", b"%X", b"000%x"]),
    )

    @given(
        st.lists(chunk, max_size=8),
        st.sampled_from([b"", b"X: y\r\n", b"X:\r\nY: z\r\n"]),
        st.binary(max_size=20),
        st.lists(st.integers(0, 5000), max_size=40),
    )
    def test_any_split(self, chunks, trailers, behind, points):
        """Whatever is in the chunks comes out in one piece, and what follows the message is given back."""
        encoded = b"".join(size % len(data) + ext + b"\r\n" + data + b"\r\n" for data, ext, size in chunks)
        message = encoded + b"0\r\n" + trailers + b"\r\n" + behind
        body = b"".join(data for data, _, _ in chunks)
        self.assertEqual((body, behind), fed(ChunkedFraming(), cut(message, points)))

    def test_costly(self):
        """What is costly to read is known by its framing, and not by how the reads fall."""
        for size, costly in [(1, True), (6, True), (16, True), (100, False), (65_536, False)]:
            framing = ChunkedFraming()
            framing.feed((b"%x\r\n" % size + bytes(size) + b"\r\n") * 2_000)
            self.assertIs(costly, framing.costly, size)
        self.assertFalse(ChunkedFraming().costly or LengthFraming(5).costly)

    @given(st.lists(chunk, min_size=1, max_size=8))
    def test_byte_by_byte(self, chunks):
        """Byte by byte gives the same as all at once."""
        encoded = b"".join(size % len(data) + ext + b"\r\n" + data + b"\r\n" for data, ext, size in chunks)
        message = encoded + b"0\r\n\r\nrest"
        self.assertEqual(fed(ChunkedFraming(), [message]), fed(ChunkedFraming(), split(message, 1)))

    @given(st.sampled_from(BROKEN), st.lists(st.integers(0, 100_000), max_size=10))
    def test_broken_in_any_split(self, case, points):
        """What is broken is refused, however it comes."""
        with self.assertRaises(Exception) as caught:
            fed(ChunkedFraming(), cut(case[1], points))
        self.assertEqual(case[2] == 400, isinstance(caught.exception, MalformedRequest))

    def test_unfinished(self):
        """A message that stops anywhere before its end goes on."""
        message = b"5;x\r\nhello\r\n0\r\nX: y\r\n\r\n"
        ends = [fed(ChunkedFraming(), [message[:length]])[1] for length in range(len(message))]
        self.assertEqual([None] * len(message), ends)
