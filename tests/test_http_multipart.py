"""Form uploads: fields and files out of a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from filedropd.errors import BadRequest
from filedropd.http.multipart import (
    MAX_OVERHEAD,
    MAX_PART_FIELDS,
    MAX_PARTS,
    MAX_VALUE,
    Field,
    FileData,
    FilePart,
    Part,
    boundary,
    is_form,
    read_form,
)
from tests.wired import split

TYPE = "multipart/form-data; boundary=y"


def part(headers: str, body: bytes = b"") -> bytes:
    """One part, its delimiter before it."""
    return b"--y\r\n" + headers.encode("utf-8") + b"\r\n\r\n" + body + b"\r\n"


def field(name: str, value: bytes) -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"', value)


def file(filename: str, body: bytes, name: str = "file") -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"; filename="{filename}"', body)


END = b"--y--\r\n"


async def streamed(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def collected(pieces: Iterable[bytes], content_type: str) -> list[Part]:
    return [found async for found in read_form(streamed(pieces), content_type, "file")]


def joined(parts: list[Part]) -> list[Part]:
    """The same parts, with what came of a file in one piece."""
    whole: list[Part] = []
    for found in parts:
        if isinstance(found, FileData) and whole and isinstance(whole[-1], FileData):
            whole[-1] = FileData(whole[-1].data + found.data)
        else:
            whole.append(found)
    return whole


class FormTests(SynchronousTestCase):
    """What a form holds."""

    def parts(self, *pieces: bytes, content_type: str = TYPE) -> list[Part]:
        """Read a form that comes in these pieces."""
        return joined(self.successResultOf(Deferred.fromCoroutine(collected(pieces, content_type))))

    def refused(self, *pieces: bytes, content_type: str = TYPE) -> str:
        """Read what is refused; return what is said about it."""
        error = self.failureResultOf(Deferred.fromCoroutine(collected(pieces, content_type)), BadRequest).value
        return str(error)

    def test_all_kinds(self):
        """Fields and files come in the order of the form."""
        data = field("a", b"1") + file("x.txt", b"hello") + field("b", b"") + END
        expected = [Field("a", "1"), FilePart("file", "x.txt", None), FileData(b"hello"), Field("b", "")]
        self.assertEqual(expected, self.parts(data))

    def test_content_type(self):
        """A file keeps the content type that it came with."""
        headers = 'Content-Disposition: form-data; name="file"; filename="x"\r\nContent-Type: text/plain; charset=x'
        self.assertEqual([FilePart("file", "x", "text/plain; charset=x")], self.parts(part(headers) + END))

    def test_named_file(self):
        """The part that must be the file is one without a file name, too."""
        self.assertEqual([FilePart("file", "", None), FileData(b"x")], self.parts(field("file", b"x") + END))

    def test_other_file(self):
        """A part with a file name is a file under whatever field name."""
        self.assertEqual([FilePart("other", "x", None), FileData(b"y")], self.parts(file("x", b"y", "other") + END))

    def test_streams(self):
        """The bytes of a file come before its part has ended."""

        async def first() -> list[Part]:
            found = []
            async for one in read_form(streamed([file("x", b"a" * 100_000)[:50_000]]), TYPE, "file"):
                found.append(one)
                if isinstance(one, FileData):
                    return found
            return found

        found = self.successResultOf(Deferred.fromCoroutine(first()))
        self.assertIsInstance(found[-1], FileData)

    def test_field_that_is_no_text(self):
        """A field that is not UTF-8 has no value, and harms no other."""
        self.assertEqual([Field("a", None), Field("b", "1")], self.parts(field("a", b"\xff") + field("b", b"1") + END))

    def test_epilogue(self):
        """What is behind the last delimiter is ignored (RFC 2046 section 5.1.1)."""
        self.assertEqual([Field("a", "1")], self.parts(field("a", b"1") + b"--y--"))
        self.assertEqual([Field("a", "1")], self.parts(field("a", b"1") + b"--y--\r\n", b"\r\n"))

    def test_quoted_boundary(self):
        """The boundary may be quoted, and hold what a token cannot."""
        data = field("a", b"1").replace(b"--y", b"--a b:c") + b"--a b:c--\r\n"
        self.assertEqual([Field("a", "1")], self.parts(data, content_type='multipart/form-data; boundary="a b:c"'))

    # Names.

    def test_raw_utf_8(self):
        """A file name in raw UTF-8, as browsers and curl send it, is read as such."""
        self.assertEqual(FilePart("file", "日本 é.txt", None), self.parts(file("日本 é.txt", b"") + END)[0])

    def test_latin_1(self):
        """A file name that is not UTF-8 is read as Latin-1, of which it never is not one."""
        data = file("caf?", b"").replace(b"?", b"\xe9") + END
        self.assertEqual(FilePart("file", "café", None), self.parts(data)[0])

    def test_extended_name(self):
        """A file name as filename*, as older versions of requests send it, is read."""
        for parameters in ("filename*=UTF-8''na%C3%AFve.txt", "filename=\"x\"; filename*=utf-8''na%C3%AFve.txt"):
            data = part(f'Content-Disposition: form-data; name="file"; {parameters}', b"z") + END
            self.assertEqual([FilePart("file", "naïve.txt", None), FileData(b"z")], self.parts(data))

    def test_odd_extended_name(self):
        """One that gives nothing gives no name; what is not UTF-8 is read as Latin-1; what is quoted is no parameter."""
        for parameters, name in (
            ("filename*=UTF-8''", ""),
            ("filename*=iso-8859-1'en'caf%E9", "café"),
            ("filename*=UTF-8''caf%E9", "café"),
            ("filename*=UTF-8''a%3Bb%22", 'a;b"'),
            ("filename=\"; filename*=UTF-8''x\"", "; filename*=UTF-8''x"),
        ):
            data = part(f'Content-Disposition: form-data; name="file"; {parameters}', b"z") + END
            self.assertEqual([FilePart("file", name, None), FileData(b"z")], self.parts(data), parameters)

    def test_name_that_looks_like_parameters(self):
        """What is quoted in a name is the name."""
        for name in ("a; filename=b", "a; filename*=b", "a;name=b; name=c"):
            self.assertEqual(FilePart("file", name, None), self.parts(file(name, b"") + END)[0])

    def test_quote_in_name(self):
        """A quote comes percent-encoded from browsers and behind a backslash from others; both end no name."""
        names = [self.parts(file(name, b"") + END)[0] for name in ("a%22b", 'a\\"b')]
        self.assertEqual([FilePart("file", 'a"b', None)] * 2, names)

    # Bad inputs, by the rows of their catalogue.

    def test_bad_boundaries(self):
        """Row 87: a form without a boundary, or with one that is none, is refused."""
        wrong = [
            "",
            "; boundary=",
            '; boundary=""',
            "; boundary=" + "y" * 71,
            "; boundary=\xff\xfe",
            '; boundary="a\tb"',
        ]
        for end in wrong:
            with self.assertRaises(BadRequest, msg=end):
                boundary("multipart/form-data" + end)
        self.assertEqual(b"y" * 70, boundary("multipart/form-data; boundary=" + "y" * 70))

    def test_no_boundary_at_the_start(self):
        """Row 88: a body that does not begin with its boundary is refused."""
        self.refused(b"hello" + field("a", b"1") + END)
        self.refused(b"x" * 100_000)
        self.refused(b"--x\r\n\r\n")
        self.refused(b"hello\r\n" + field("a", b"1") + END)

    def test_cut_short(self):
        """Row 89: a form that ends before its last delimiter is refused, wherever that is."""
        data = field("a", b"1") + file("x", b"hello") + b"--y--"
        for length in range(len(data)):
            self.refused(data[:length])

    def test_bare_lf(self):
        """Row 90: lines that end in LF alone are refused."""
        self.refused(field("a", b"1").replace(b"\r\n", b"\n") + b"--y--\n")
        self.refused(b'--y\r\nContent-Disposition: form-data; name="a"\n\n1\r\n' + END)

    def test_many_parts(self):
        """Row 91: a form of more parts than there are options here is refused when there is one too many."""
        self.assertEqual(MAX_PARTS, len(self.parts(field("a", b"1") * MAX_PARTS + END)))
        self.refused(field("a", b"1") * (MAX_PARTS + 1))
        self.refused(*[field("a", b"") * 100] * 200)

    def test_large_part_header(self):
        """Row 92: the header of a part is bounded in bytes and in fields, before its end arrives."""
        disposition = 'Content-Disposition: form-data; name="a"'
        self.refused(part(disposition + "\r\nX: " + "a" * 65_536, b"1") + END)
        self.refused(b"--y\r\nX: ", *[b"a" * 1000] * 9)
        self.refused(part(disposition + "\r\nX: y" * 1000, b"1") + END)
        self.assertEqual(1, len(self.parts(part(disposition + "\r\nX: y" * (MAX_PART_FIELDS - 1), b"1") + END)))

    def test_look_alikes(self):
        """Row 93: eight megabytes of what looks like the boundary are taken for what they are."""
        almost = b"\r\n--z" * 1_600_000
        found = self.parts(*split(file("x", almost) + END, 65_536))
        self.assertEqual([FilePart("file", "x", None), FileData(almost)], found)

    def test_look_alikes_of_a_delimiter(self):
        """Row 93: the boundary followed by something else ends the form, as RFC 2046 forbids it in a part."""
        self.refused(file("x", b"\r\n--yy" * 1_000) + END)

    def test_half_delimiters(self):
        """Row 93: a file of nothing but beginnings of the delimiter keeps them all, in reads of any size."""
        body = b"\r\n-\r\n--\r\r\n\r\n\r" * 500
        for size in (1, 3, 4, 7, 1000):
            self.assertEqual(FileData(body), self.parts(*split(file("x", body) + END, size))[-1])

    @settings(deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.builds(field, st.sampled_from(["a", "b"]), st.binary(max_size=50).filter(lambda v: b"--y" not in v)),
                st.builds(
                    file,
                    st.sampled_from(["x", "é", "a;b"]),
                    st.lists(st.sampled_from([b"\r\n", b"\r", b"--", b"-", b"z", b"\n"]), max_size=40).map(b"".join),
                ),
            ),
            max_size=6,
        ),
        st.lists(st.integers(1, 40), max_size=60),
    )
    def test_any_split(self, pieces, sizes):
        """Row 94: however a form comes, its parts are those of the whole."""
        data = b"".join(pieces) + END
        parts, rest = [], data
        for size in sizes:
            parts.append(rest[:size])
            rest = rest[size:]
        parts = [piece for piece in [*parts, rest] if piece]
        self.assertEqual(self.parts(data), self.parts(*parts))

    def test_byte_by_byte(self):
        """Row 94: byte by byte gives the same as at once, for every pair of reads, too."""
        data = field("a", b"1") + file("x", b"hello\r\n--") + field("b", b"2") + END
        whole = self.parts(data)
        self.assertEqual(whole, self.parts(*split(data, 1)))
        for place in range(1, len(data)):
            self.assertEqual(whole, self.parts(data[:place], data[place:]))

    def test_nested(self):
        """Row 95: a form in a form is a file like any other."""
        inner = b"--z\r\nContent-Disposition: attachment; filename=a\r\n\r\n1\r\n--z--"
        headers = (
            'Content-Disposition: form-data; name="file"; filename="x"\r\nContent-Type: multipart/mixed; boundary=z'
        )
        found = self.parts(part(headers, inner) + END)
        self.assertEqual([FilePart("file", "x", "multipart/mixed; boundary=z"), FileData(inner)], found)

    def test_extended_field_name(self):
        """Row 96: the name of a field is not read from name*, and not guessed either."""
        self.refused(part("Content-Disposition: form-data; name*=utf-8''file", b"x") + END)
        self.refused(part("Content-Disposition: form-data; name=\"a\"; name*=utf-8''file", b"x") + END)

    def test_ambiguous(self):
        """Row 97: two names for one thing are refused."""
        for parameters in (
            'name="file"; filename="a"; filename="b"',
            'name="file"; filename="a"; FILENAME="b"',
            'name="a"; name="file"',
            "name=\"file\"; filename*=utf-8''a; filename*=utf-8''b",
        ):
            self.refused(part("Content-Disposition: form-data; " + parameters, b"x") + END)

    def test_folded(self):
        """A part's header may be folded, as MIME has it, and is read as one line."""
        headers = 'Content-Disposition: form-data;\r\n name="a"'
        self.assertEqual([Field("a", "1")], self.parts(part(headers, b"1") + END))
        self.refused(part(headers + ';\r\n name="b"', b"1") + END)

    def test_no_name(self):
        """A part that says nothing about itself, or twice, is refused."""
        self.refused(part("Content-Type: text/plain", b"x") + END)
        self.refused(part("Content-Disposition: form-data", b"x") + END)
        self.refused(part("Content-Disposition: attachment; name=file; filename=a", b"x") + END)
        twice = 'Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="file"'
        self.refused(part(twice, b"x") + END)

    def test_transfer_encoding(self):
        """Row 98: bytes are kept as they came, whatever encoding a part claims (RFC 7578 section 4.7)."""
        headers = 'Content-Disposition: form-data; name="file"; filename="x"\r\nContent-Transfer-Encoding: base64'
        self.assertEqual(FileData(b"aGVsbG8="), self.parts(part(headers, b"aGVsbG8=") + END)[-1])

    def test_no_file(self):
        """Row 99: a form without parts, or without a file, holds none; an empty file is there."""
        self.assertEqual([], self.parts(b"--y--\r\n"))
        self.assertEqual([Field("a", "1")], self.parts(field("a", b"1") + END))
        self.assertEqual([FilePart("file", "x", None)], self.parts(file("x", b"") + END))

    def test_two_files(self):
        """Row 101: two files of one name are two files."""
        found = self.parts(file("x", b"1") + file("y", b"2") + END)
        expected = [FilePart("file", "x", None), FileData(b"1"), FilePart("file", "y", None), FileData(b"2")]
        self.assertEqual(expected, found)

    def test_long_value(self):
        """A value is bounded, before its end arrives."""
        self.assertEqual([Field("a", "x" * MAX_VALUE)], self.parts(field("a", b"x" * MAX_VALUE) + END))
        self.refused(field("a", b"x" * (MAX_VALUE + 100))[:-50])

    def test_overhead(self):
        """What a form has besides its file is bounded; the file is not."""
        found = self.parts(*split(file("x", b"z" * 3_000_000) + END, 65_536))
        self.assertEqual(FileData(b"z" * 3_000_000), found[-1])
        self.refused(file("x", b"") + END, *[b"z" * 65_536] * (MAX_OVERHEAD // 65_536 + 1))


class TypeTests(SynchronousTestCase):
    """Which bodies are forms."""

    def test_is_form(self):
        """A form is known by its media type, in any case."""
        forms = ["multipart/form-data", "Multipart/Form-Data; boundary=y", " multipart/form-data ;boundary=y"]
        others = [None, "", "multipart/mixed; boundary=y", "multipart/form-database", "text/plain; multipart/form-data"]
        self.assertEqual((forms, []), ([one for one in forms if is_form(one)], [one for one in others if is_form(one)]))
