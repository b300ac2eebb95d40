"""Range, If-Range and If-None-Match, for something that never changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from filedropd.errors import RangeNotSatisfiable
from filedropd.http.ranges import Selection, not_matched, not_modified, select

ETAG = '"0123"'
SIZE = 100
WHOLE = (0, SIZE, False)

#: Range, and what is sent: first byte, length, whether in part.
TAKEN = [
    ("bytes=0-", (0, 100, True)),
    ("bytes=0-0", (0, 1, True)),
    ("bytes=10-19", (10, 10, True)),
    ("bytes=99-99", (99, 1, True)),
    ("bytes=50-1000", (50, 50, True)),
    ("bytes=-1", (99, 1, True)),
    ("bytes=-100", (0, 100, True)),
    ("bytes=-1000", (0, 100, True)),
    ("BYTES=10-19", (10, 10, True)),
    (" bytes=10-19 ", (10, 10, True)),
    ("bytes=,10-19,", (10, 10, True)),
    ("bytes=0010-0019", (10, 10, True)),
    ("bytes=0-9999999999999999999", (0, 100, True)),
]
#: Row 109 of the catalogue of bad inputs, and more: all of these are answered with the whole.
IGNORED = [
    "",
    "bytes",
    "bytes=",
    "bytes=-",
    "bytes=a-b",
    "bytes=1",
    "bytes=20-10",
    "bytes=0-0,2-2",
    "bytes=" + ",".join(f"{start}-{start}" for start in range(900)),
    "bytes=0x1-2",
    "bytes=+1-2",
    "bytes=1-2-3",
    "bytes=1.0-2",
    "bytes=１-２",
    "bytes=1-\x00",
    "bytes=--1",
    "items=0-1",
    "bytes=99999999999999999999-",
    "bytes=0-99999999999999999999",
]
UNSATISFIABLE = ["bytes=100-", "bytes=100-200", "bytes=1000-", "bytes=-0", "bytes=9999999999999999999-"]


def taken(selection: Selection) -> tuple[int, int, bool]:
    return selection.first, selection.length, selection.partial


class SelectTests(SynchronousTestCase):
    """Which bytes a GET is answered with."""

    def test_none(self):
        """Without Range, all of them."""
        self.assertEqual(WHOLE, taken(select(SIZE, ETAG, None, None)))

    def test_taken(self):
        """A range within the file is what is sent of it, cut at the file's end."""
        self.assertEqual(dict(TAKEN), {field: taken(select(SIZE, ETAG, field, None)) for field, _ in TAKEN})

    def test_ignored(self):
        """A range that is malformed, of another unit, or several, is ignored."""
        self.assertEqual([], [field for field in IGNORED if taken(select(SIZE, ETAG, field, None)) != WHOLE])

    def test_unsatisfiable(self):
        """A range outside of the file is refused, and the refusal knows its size."""
        for field in UNSATISFIABLE:
            with self.assertRaises(RangeNotSatisfiable, msg=field) as caught:
                select(SIZE, ETAG, field, None)
            self.assertEqual(SIZE, caught.exception.size)

    def test_empty_file(self):
        """No range of an empty file can be satisfied."""
        for field in ("bytes=0-", "bytes=0-0", "bytes=-1"):
            with self.assertRaises(RangeNotSatisfiable, msg=field):
                select(0, ETAG, field, None)

    def test_if_range(self):
        """A range counts under If-Range only when it shows the very tag, strongly."""
        ranges = {tag: taken(select(SIZE, ETAG, "bytes=10-19", tag)) for tag in (ETAG, f" {ETAG} ")}
        self.assertEqual({(10, 10, True)}, set(ranges.values()))
        wrong = ['"other"', f"W/{ETAG}", "0123", "", "*", "Wed, 21 Oct 2015 07:28:00 GMT", f'{ETAG}, "other"']
        self.assertEqual([], [tag for tag in wrong if taken(select(SIZE, ETAG, "bytes=10-19", tag)) != WHOLE])

    def test_if_range_saves_from_416(self):
        """A range that is not looked at cannot be unsatisfiable."""
        self.assertEqual(WHOLE, taken(select(SIZE, ETAG, "bytes=1000-", '"other"')))

    def test_if_match(self):
        """If-Match is met by the very tag, strongly, by a list that has it, and by a star."""
        for field in (ETAG, f" {ETAG} ", "*", f'"other", {ETAG}', f"W/{ETAG}, {ETAG}"):
            self.assertFalse(not_matched(ETAG, field), field)
        for field in (f"W/{ETAG}", '"other"', "", "x", f"x {ETAG}"):
            self.assertTrue(not_matched(ETAG, field), field)
        self.assertFalse(not_matched(ETAG, None))

    def test_content_range(self):
        """Content-Range says first, last and all."""
        self.assertEqual("bytes 10-19/100", select(SIZE, ETAG, "bytes=10-19", None).content_range)

    @given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 10**12))
    def test_any(self, first, last, size):
        """Whatever is asked for, what is sent is asked for and there."""
        try:
            selection = select(size, ETAG, f"bytes={first}-{last}", None)
        except RangeNotSatisfiable:
            self.assertGreaterEqual(first, size)
            return
        end = selection.first + selection.length
        self.assertGreater(selection.length, 0)
        self.assertLessEqual(end, size)
        if selection.partial:
            self.assertEqual((first, min(last + 1, size)), (selection.first, end))
        else:
            self.assertLess(last, first)

    @given(st.text(max_size=40), st.integers(0, 100))
    def test_noise(self, field, size):
        """No text at all is more than ignored or refused."""
        for value in (field, "bytes=" + field):
            try:
                selection = select(size, ETAG, value, None)
            except RangeNotSatisfiable:
                continue
            self.assertLessEqual(selection.first + selection.length, size)


class NotModifiedTests(SynchronousTestCase):
    """If-None-Match."""

    def test_named(self):
        """The tag is found alone, among others, weak, and under the asterisk."""
        fields = [ETAG, f"W/{ETAG}", f'"a", {ETAG}', f'{ETAG} ,"a"', f'W/"a,b",  W/{ETAG}', "*", " * "]
        self.assertEqual([], [field for field in fields if not not_modified(ETAG, field)])

    def test_not_named(self):
        """Other tags, halves of it, and noise are not the tag."""
        fields = [None, "", '"a"', "0123", '"0123', '"a, "0123"', "w/" + ETAG, '"**"', "a, " + ETAG]
        self.assertEqual([], [field for field in fields if not_modified(ETAG, field)])

    def test_long(self):
        """Many tags are looked through in time that grows with their number alone."""
        self.assertTrue(not_modified(ETAG, '"a",' * 5_000 + ETAG))
        self.assertFalse(not_modified(ETAG, '"' * 16_000))

    def test_empty_elements(self):
        """Empty elements of the list are passed over (RFC 9110 section 5.6.1)."""
        self.assertTrue(not_modified(ETAG, f', "a",, {ETAG}'))
