"""Bad forms, sent to the whole API."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import AsyncIterator
from typing import Final

from filedropd.drops import Rules
from filedropd.http.multipart import MAX_PARTS, read_form
from filedropd.testing import Response, Wire
from tests.api import BOUNDARY, FILE, file_part, form, part
from tests.bad_inputs import BadInputTestCase, put, seen
from tests.support import KEPT, result_of
from tests.wired import split

CONTENT_TYPE: Final = f"multipart/form-data; boundary={BOUNDARY}"
#: A mebibyte.
MIB: Final = 2**20


def sent_form(body: bytes, content_type: bytes = CONTENT_TYPE.encode(), method: bytes = b"PUT") -> bytes:
    """Return an upload of ``body``."""
    fields = b"Content-Type: " + content_type + b"\r\nContent-Length: %d" % len(body)
    return put(fields, body, FILE.encode()).replace(b"PUT", method, 1)


def raw_part(head: str, value: bytes = b"x") -> bytes:
    """Return a part with this head."""
    return f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + value + b"\r\n"


FILE_HEAD: Final = 'Content-Disposition: form-data; name="file"; filename="a"'

REFUSED: Final[list[tuple[str, bytes, bytes]]] = [
    ("87, no boundary", b"multipart/form-data", form(file_part())),
    ("87, empty", b"multipart/form-data; boundary=", form(file_part())),
    ("87, 71 bytes", b"multipart/form-data; boundary=" + b"a" * 71, form(file_part())),
    ("87, ff fe", b"multipart/form-data; boundary=\xff\xfe", form(file_part())),
    ("88", CONTENT_TYPE.encode(), b"hello" + form(file_part())),
    ("88, empty", CONTENT_TYPE.encode(), b""),
    ("88, an empty line", CONTENT_TYPE.encode(), b"\r\n\r\n"),
    ("88, urlencoded", CONTENT_TYPE.encode(), b"file=x"),
    ("89", CONTENT_TYPE.encode(), form(file_part())[:-8]),
    ("89, in a part", CONTENT_TYPE.encode(), file_part()[:-3]),
    ("89, in a part's head", CONTENT_TYPE.encode(), file_part()[:60]),
    ("90", CONTENT_TYPE.encode(), form(file_part()).replace(b"\r\n", b"\n")),
    ("90, in a head", CONTENT_TYPE.encode(), form(file_part()).replace(b'"\r\n\r\n', b'"\n\n')),
    ("91", CONTENT_TYPE.encode(), form(part("a", "") * 20_000)),
    ("91, 65 parts", CONTENT_TYPE.encode(), form(part("a", "") * MAX_PARTS, file_part())),
    ("92, 64 KiB", CONTENT_TYPE.encode(), form(raw_part(FILE_HEAD + "\r\nX: " + "a" * 65_536))),
    ("92, 1,000 fields", CONTENT_TYPE.encode(), form(raw_part(FILE_HEAD + "\r\nX: y" * 1000))),
    ("92, without end", CONTENT_TYPE.encode(), raw_part(FILE_HEAD + "\r\nX: " + "a" * 65_536)[:-9]),
    ("96", CONTENT_TYPE.encode(), form(raw_part("Content-Disposition: form-data; name*=utf-8''f"))),
    ("96, file", CONTENT_TYPE.encode(), form(raw_part("Content-Disposition: form-data; name*=utf-8''file"))),
    ("97", CONTENT_TYPE.encode(), form(raw_part(FILE_HEAD + '; filename="b"'))),
    ("97, two heads", CONTENT_TYPE.encode(), form(raw_part(f"{FILE_HEAD}\r\n{FILE_HEAD}"))),
    ("99, no part", CONTENT_TYPE.encode(), form()),
    ("99, no file", CONTENT_TYPE.encode(), form(part("password", "x"))),
    ("101", CONTENT_TYPE.encode(), form(file_part(b"one"), file_part(b"two"))),
    ("101, other names", CONTENT_TYPE.encode(), form(file_part(b"one"), part("more", "two", '; filename="b"'))),
]

#: Options that make no sense: row, field, value.
BAD_OPTIONS: Final[list[tuple[str, str, bytes]]] = [
    ("100", "downloads", b"0"),
    ("100", "downloads", b"-1"),
    ("100", "downloads", b"1e9"),
    ("100", "downloads", "\uff11".encode()),
    ("100", "downloads", b"1\0"),
    ("100", "downloads", b"1001"),
    ("100", "downloads", b"1.0"),
    ("100", "downloads", b"\xff"),
    ("100", "downloads", b"9" * 8000),
    ("100", "expires", b"0"),
    ("100", "expires", b"9999999999999"),
    ("100", "expires", b"NaN"),
    ("100", "expires", b"inf"),
    ("100", "expires", b"banana"),
    ("100", "expires", b"-1h"),
    ("100", "expires", b"31d"),
    ("100", "expires", b"1h\0"),
    ("100", "expires", b"9" * 8000 + b"d"),
    ("100", "expires", b"1e400s"),
]


class FormTests(BadInputTestCase):
    """Rows 87 to 101."""

    def setUp(self) -> None:
        super().setUp()
        self.use_rules(Rules(max_file_size=16 * MIB, expires=KEPT, max_expires=30 * 86_400.0))

    def one_answer(self, data: bytes) -> Response:
        """Send ``data`` and return its answer."""
        wire = Wire(self.factory)
        wire.send(data)
        (answer,) = wire.responses()
        return answer

    def test_refused(self) -> None:
        """What is no form, or over a limit, is refused, by PUT and by POST, and nothing of it is kept."""
        for number, content_type, body in REFUSED:
            for method in (b"PUT", b"POST"):
                self.see(number, sent_form(body, content_type, method), "400")
        self.check()
        self.assertNothingKept()
        self.assertLogIsClean()

    def test_plain_form(self) -> None:
        """The plain form at the root refuses the same."""
        for number, content_type, body in REFUSED:
            sent = sent_form(body, content_type, b"POST").replace(FILE.encode(), b"/", 1)
            self.see(f"{number}, at /", sent, "400")
        self.check()

    def test_split(self) -> None:
        """Row 94: however the reads fall, the same comes out."""
        data = sent_form(form(part("downloads", "2"), file_part(b"\r\n--bound\r\n-"), part("expires", "1h")))
        self.see("94", data, "201 stays")
        told = {self.sent(data[:place], data[place:]) for place in range(1, len(data))}
        self.note(f"94, in two reads, {len(data) - 1} ways", data, "201 stays", " or ".join(sorted(told)))
        contents = {bytes(content) for content in self.core.stored.published.values()}
        self.assertEqual({b"\r\n--bound\r\n-"}, contents)
        self.assertEqual({2}, {drop.downloads for drop in self.core.rows()})
        self.check()

    def test_as_it_came(self) -> None:
        """Rows 95, 98 and 99: a form in a form, and encoded bytes, are bytes; an empty file is a file."""
        nested = b"--z\r\nContent-Disposition: attachment; filename=a\r\n\r\n1\r\n--z--"
        for number, sent, content in [
            ("95", raw_part(FILE_HEAD + "\r\nContent-Type: multipart/mixed; boundary=z", nested), nested),
            ("98", raw_part(FILE_HEAD + "\r\nContent-Transfer-Encoding: base64", b"aGVsbG8="), b"aGVsbG8="),
            ("99, empty file", file_part(b""), b""),
            ("99, empty, no name", part("file", b""), b""),
        ]:
            told = self.one_answer(sent_form(form(sent))).json()
            answer = self.ask("GET", f"{FILE}/{told['id']}")
            self.note(number, sent, f"201, and back come {content!r}", f"201, and back come {answer.body!r}")
            self.assertEqual(len(content), told["size"])
        self.check()

    def test_options(self) -> None:
        """Row 100: an option that makes no sense is refused in a field and in a header, and named."""
        for number, field, value in BAD_OPTIONS:
            for body in (form(file_part(), part(field, value)), form(part(field, value), file_part())):
                answer = self.one_answer(sent_form(body))
                told = f"{answer.status}, {field} named: {field in answer.json()['detail']}"
                self.note(number, f"{field}={value[:40].decode('latin-1')}", f"400, {field} named: True", told)
            if b"\0" not in value:
                head = f"Filedrop-{field}: ".encode() + value + b"\r\nContent-Length: 1"
                self.see(f"{number}, {field} as a header", put(head, b"x"), "400")
        self.check()
        self.assertNothingKept()

    def test_taken(self) -> None:
        """Options at their limits are taken, and fields that nobody knows are passed over."""
        for parts in [
            [part("downloads", "1000")],
            [part("expires", "30d")],
            [part("colour", "red"), part("file2", "x")],
            [part("downloads", ""), part("expires", "")],
        ]:
            body = form(*parts, file_part())
            self.see("options", sent_form(body), "201 stays")
        self.check()

    def test_two_files(self) -> None:
        """Row 101: two files are refused in words that say so."""
        answer = self.one_answer(sent_form(form(file_part(b"one"), file_part(b"two"))))
        self.assertIn("two files", answer.json()["detail"])

    def test_wrong_length(self) -> None:
        """A form whose Content-Length is less than it has is cut short there."""
        body = form(file_part())
        fields = f"Content-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body) - 10}".encode()
        self.see("wrong length", put(fields, body, FILE.encode()), "400, 400 closed", requests=1)
        self.check()


class LookAlikeTests(BadInputTestCase):
    """Row 93: eight megabytes that look like the boundary."""

    def setUp(self) -> None:
        super().setUp()
        self.use_rules(Rules(max_file_size=64 * MIB, expires=KEPT, max_expires=KEPT))

    LOOK_ALIKES: Final = {
        "93": (b"y", b"\r\n--z" * 1_600_000),
        "93, as far as can be": (b"y" * 69, (b"\r\n--" + b"y" * 68 + b"z") * 110_000),
        "93, line ends": (b"y", b"\r\n" * 4_000_000),
        "93, dashes": (b"-" * 70, b"-" * 8_000_000),
    }

    def test_kept(self) -> None:
        """They are taken for what they are."""
        for number, (boundary, content) in self.LOOK_ALIKES.items():
            wire = Wire(self.factory)
            data = sent_form(self.body(boundary, content), b"multipart/form-data; boundary=" + boundary)
            wire.send(*split(data, 256 * 1024))
            wire.advance(2)
            self.note(number, content[:80], "201 stays", seen(wire.responses(), wire.closed, []))
            self.assertEqual([content], list(self.core.stored.published.values()))
            self.core.stored.published.clear()
        self.check()

    def test_linear(self) -> None:
        """They are read as fast as a file of the same size that looks like nothing, within a small factor."""
        plain = min(self.seconds(b"y", bytes(8_000_000)) for _ in range(3))
        for number, (boundary, content) in self.LOOK_ALIKES.items():
            took = min(self.seconds(boundary, content) for _ in range(3))
            rate = len(content) / took / MIB
            told = "linear" if took < 0.1 + 6 * plain else f"{took / plain:.0f} times as slow"
            self.note(f"{number}: {rate:.0f} MiB/s", content[:80], "linear", told)
        self.check()

    def test_not_copied(self) -> None:
        """They are not gathered: no more is held than a few reads, however large the file is."""
        pieces = split(self.body(b"y", b"\r\n--z" * 800_000), 65_536)
        tracemalloc.start()
        try:
            self.read(pieces, b"y")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        self.assertLess(peak, MIB)

    @staticmethod
    def body(boundary: bytes, content: bytes) -> bytes:
        head = b'\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        return b"--" + boundary + head + content + b"\r\n--" + boundary + b"--\r\n"

    def seconds(self, boundary: bytes, content: bytes) -> float:
        pieces = split(self.body(boundary, content), 256 * 1024)
        began = time.thread_time()
        self.read(pieces, boundary)
        return time.thread_time() - began

    @staticmethod
    def read(pieces: list[bytes], boundary: bytes) -> None:
        async def arriving() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        async def reading() -> None:
            content_type = "multipart/form-data; boundary=" + boundary.decode()
            async for _ in read_form(arriving(), content_type, "file"):
                pass

        result_of(reading())
