"""Marks that stand on one letter: no more of them than any writing has."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from filedropd.stream_safe import MOST, normal, stream_safe

ACUTE, GRAVE_BELOW, TWO_MARKS = "\u0301", "\u0316", "\u0344"

_text = st.text(
    st.sampled_from(["a", "\u00e9", "\u1e69", " ", ACUTE, GRAVE_BELOW, TWO_MARKS, "\u3099", "\u0f73"]), max_size=200
)


class StreamSafeTests(SynchronousTestCase):
    """What goes, and what stays."""

    def test_marks(self):
        """Thirty stay, on each letter; more go."""
        self.assertEqual("a" + ACUTE * MOST, stream_safe("a" + ACUTE * MOST))
        self.assertEqual(("a" + ACUTE * MOST) * 2, stream_safe(("a" + ACUTE * 1000) * 2))
        self.assertEqual("plain" * 100, stream_safe("plain" * 100))

    @given(_text)
    def test_normal(self, text: str) -> None:
        """It is in form C and stream-safe, and once is enough; of what is safe nothing is lost."""
        once = normal(text)
        self.assertTrue(unicodedata.is_normalized("NFC", once))
        self.assertEqual((once, once), (stream_safe(once), normal(once)))
        if stream_safe(unicodedata.normalize("NFD", text)) == unicodedata.normalize("NFD", text):
            self.assertEqual(unicodedata.normalize("NFC", text), once)
