"""Sets of bytes, against sets of numbers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from filedropd import spans
from filedropd.spans import Spans

#: Bytes that a file here can have.
MOST = 24

NUMBERS = st.sets(st.integers(0, MOST - 1))


def spans_of(numbers: set[int]) -> Spans:
    """Return the spans of these numbers, one by one."""
    return spans.union(*(spans.of(number, number + 1) for number in numbers))


def numbers_of(some: Spans) -> set[int]:
    """Return the numbers in spans."""
    return {number for first, end in some for number in range(first, end)}


class SetTests(SynchronousTestCase):
    """Spans are sets."""

    def check(self, expected: set[int], found: Spans) -> None:
        """Check the members, and that spans are written in the one way that there is."""
        self.assertEqual(expected, numbers_of(found))
        for first, end in found:
            self.assertLess(first, end)
        for (_, end), (first, _) in pairwise(found):
            self.assertLess(end, first)

    @settings(deadline=None)
    @given(st.integers(0, MOST), st.integers(0, MOST))
    def test_of(self, first, end):
        """A span is half-open, and none where it ends before it begins."""
        self.check(set(range(first, end)), spans.of(first, end))

    @settings(deadline=None)
    @given(st.lists(NUMBERS, max_size=4))
    def test_union(self, sets):
        """What is in any."""
        self.check(set().union(*sets), spans.union(*map(spans_of, sets)))

    @settings(deadline=None)
    @given(NUMBERS, NUMBERS)
    def test_common(self, one, other):
        """What is in both."""
        self.check(one & other, spans.common(spans_of(one), spans_of(other)))

    @settings(deadline=None)
    @given(NUMBERS, NUMBERS)
    def test_less(self, one, other):
        """What is in the one and not in the other."""
        self.check(one - other, spans.less(spans_of(one), spans_of(other)))

    @settings(deadline=None)
    @given(NUMBERS)
    def test_size(self, numbers):
        """How many they are, and what follows the last."""
        self.assertEqual(len(numbers), spans.size(spans_of(numbers)))
        self.assertEqual(max(numbers, default=-1) + 1, spans.last(spans_of(numbers)))


class OftenTests(SynchronousTestCase):
    """How often each byte was counted."""

    @settings(deadline=None)
    @given(st.lists(NUMBERS, max_size=6))
    def test_stacked(self, sets):
        """The n-th layer is what was counted n times or more."""
        layers: tuple[Spans, ...] = ()
        for numbers in sets:
            layers = spans.stacked(layers, spans_of(numbers))
        counts = [sum(number in numbers for numbers in sets) for number in range(MOST)]
        expected = [{n for n in range(MOST) if counts[n] >= times} for times in range(1, max(counts) + 1)]
        self.assertEqual(expected, [numbers_of(layer) for layer in layers])

    @settings(deadline=None)
    @given(st.lists(st.lists(NUMBERS, max_size=3), max_size=4), st.integers(1, MOST))
    def test_fewest(self, counted, extent):
        """The byte that was counted least is found, be it one that was never counted, or the file's last."""
        counts = [sum(n in numbers for layers in counted for numbers in layers) for n in range(extent)]
        layers = [list(map(spans_of, each)) for each in counted]
        self.assertEqual(min(counts), spans.fewest(layers, extent))


class WrittenTests(SynchronousTestCase):
    """How they are kept."""

    def test_form(self):
        """As in a Range header, the last byte is named and not the one behind it."""
        self.assertEqual("0-9,20-29", spans.written(((0, 10), (20, 30))))
        self.assertEqual("", spans.written(spans.NONE))

    @settings(deadline=None)
    @given(NUMBERS)
    def test_back(self, numbers):
        """What is written is read as what it was."""
        self.assertEqual(spans_of(numbers), spans.read(spans.written(spans_of(numbers))))

    def test_refused(self):
        """Spans that touch, overlap, are out of order or empty are refused, and so is what is no number."""
        for text in (
            "0-4,5-9",
            "0-5,3-9",
            "5-9,0-2",
            "5-4",
            "1",
            "-1",
            "1-",
            "0-1,",
            ",",
            "a-b",
            "0-1;2-3",
            "٠-٩",
            "-1-2",
        ):
            with self.assertRaises(ValueError):
                spans.read(text)
