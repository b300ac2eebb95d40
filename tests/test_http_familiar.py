"""Heads that are like one before: what is remembered of them, and that it is what would be read."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from filedropd.errors import ProtocolError
from filedropd.http.familiar import LARGEST, SETS, FamiliarHeads
from filedropd.http.head import Head, HeadReader, Limits

FIELDS = b"Host: drop.example\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n"
LINE = b"GET /api/v1.0/file/a HTTP/1.1\r\n"

#: What lines and fields of requests are made of, right and wrong.
_LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"HEAD /a/b?c=d HTTP/1.1",
        b"GET /a%20b HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET / HTTP/1.0",
        b"GET http://other.example/x HTTP/1.1",
        b"PUT /a HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"get / HTTP/1.1",
        b"GET //x HTTP/1.1",
        b"",
    ]
)
_FIELDS = st.lists(
    st.sampled_from(
        [
            b"Host: a.example",
            b"Host: b.example:80",
            b"Connection: close",
            b"Connection: keep-alive",
            b"Content-Length: 0",
            b"Content-Length: 5",
            b"Transfer-Encoding: chunked",
            b"Expect: 100-continue",
            b"Accept: text/html",
            b"X-Long: " + b"x" * 50,
            b"Bad Name: 1",
            b" folded",
            b"Upgrade: h2c",
        ]
    ),
    max_size=4,
)


def read(data: bytes, limits: Limits | None = None) -> Head | None:
    """Return what is read of ``data``, if that is a whole head and nothing else."""
    try:
        found = HeadReader(limits or Limits()).feed(data)
    except ProtocolError:
        return None
    return found[0] if found is not None and not found[1] else None


class FamiliarTests(SynchronousTestCase):
    """What is remembered, and for which requests."""

    def setUp(self) -> None:
        self.heads = FamiliarHeads(Limits())

    def note(self, data: bytes) -> None:
        """Take note of a head, as a connection does."""
        head = read(data)
        assert head is not None, data
        self.heads.note(data, head)

    def test_unknown(self):
        """Of what was never seen nothing is known."""
        self.assertIsNone(self.heads.read(LINE + FIELDS))
        self.assertIsNone(self.heads.read(b""))

    def test_same_fields(self):
        """With the same fields, another target and method are read as they would be."""
        self.note(LINE + FIELDS)
        for line in (LINE, b"HEAD /x?y=z HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n"):
            self.assertEqual(read(line + FIELDS), self.heads.read(line + FIELDS))

    def test_other_lines(self):
        """A line of which more has to be judged is not known, nor is a part of a head, nor more than one."""
        self.note(LINE + FIELDS)
        for data in (
            b"PUT / HTTP/1.1\r\n" + FIELDS,
            b"GET / HTTP/1.0\r\n" + FIELDS,
            b"GET http://x.example/ HTTP/1.1\r\n" + FIELDS,
            b"GET /\x7f HTTP/1.1\r\n" + FIELDS,
            b"\r\n" + LINE + FIELDS,
            (LINE + FIELDS)[:-1],
            LINE + FIELDS + LINE,
            (LINE + FIELDS) * 2,
        ):
            self.assertIsNone(self.heads.read(data), data)

    def test_bodies(self):
        """A head that brings a body, or waits to be asked for one, is never known."""
        for field in (b"Content-Length: 3", b"Transfer-Encoding: chunked"):
            data = LINE + b"Host: a\r\n" + field + b"\r\n\r\n"
            self.note(data)
            self.assertIsNone(self.heads.read(data))

    def test_secrets(self):
        """What could be a secret is not kept."""
        for field in (b"Authorization: Bearer x", b"Cookie: a=b", b"filedrop-claim: x", b"X-Token: y"):
            data = LINE + b"Host: a\r\n" + field + b"\r\n\r\n"
            self.note(data)
            self.assertIsNone(self.heads.read(data))

    def test_limits(self):
        """A target, or a head, that is longer than it may be is for the reader to refuse."""
        limits = Limits(head=200, target=80)
        heads = FamiliarHeads(limits)
        head = read(LINE + FIELDS)
        assert head is not None
        heads.note(LINE + FIELDS, head)
        self.assertIsNotNone(heads.read(b"GET /" + b"a" * 20 + b" HTTP/1.1\r\n" + FIELDS))
        self.assertIsNone(heads.read(b"GET /" + b"a" * 90 + b" HTTP/1.1\r\n" + FIELDS))
        tight = FamiliarHeads(Limits(head=len(LINE + FIELDS)))
        tight.note(LINE + FIELDS, head)
        self.assertIsNotNone(tight.read(LINE + FIELDS))
        self.assertIsNone(tight.read(LINE.replace(b"/a", b"/aa") + FIELDS))

    def test_bounded(self):
        """However many different fields come, so many are kept, and none that are long."""
        for number in range(SETS + 5):
            self.note(LINE + b"Host: a\r\nX: %d\r\n\r\n" % number)
        self.assertLessEqual(len(self.heads._known), SETS)
        long = LINE + b"Host: a\r\nX: " + b"x" * LARGEST + b"\r\n\r\n"
        self.note(long)
        self.assertIsNone(self.heads.read(long))

    @given(st.lists(st.tuples(_LINES, _FIELDS), max_size=12))
    @settings(max_examples=200, deadline=None)
    def test_as_read(self, requests: list[tuple[bytes, list[bytes]]]) -> None:
        """Whatever came before, what is known of a head is what would be read of it; what is refused is never known."""
        heads = FamiliarHeads(Limits())
        for line, fields in requests:
            data = b"\r\n".join([line, *fields, b"", b""])
            known = heads.read(data)
            told = read(data)
            if known is not None:
                self.assertEqual(told, known, data)
            if told is not None:
                heads.note(data, told)
