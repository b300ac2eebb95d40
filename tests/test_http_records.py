"""Where plaintext lies in TLS's ciphertext: what is not known is never guessed in our favour."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from filedropd.http.records import MARKS, Marks


def marks(*pairs: tuple[int, int]) -> Marks:
    noted = Marks()
    for plain, cipher in pairs:
        noted.note(plain, cipher)
    return noted


class MarksTests(SynchronousTestCase):
    """Pairs of positions."""

    def test_nothing(self):
        """Before anything is noted, nothing is acknowledged, and what left is not known."""
        self.assertEqual((0, None), (Marks().acknowledged(100), Marks().departed(100)))

    def test_acknowledged(self):
        """A byte is acknowledged when its whole record is."""
        expected = {0: 0, 121: 0, 122: 100, 243: 100, 244: 200, 999: 200}
        for cipher, plain in expected.items():
            self.assertEqual(plain, marks((100, 122), (200, 244)).acknowledged(cipher))

    def test_departed(self):
        """A byte may have left when any byte of its record may; behind the last record nothing is known."""
        expected = {0: 0, 1: 100, 122: 100, 123: 200, 244: 200, 245: None}
        for cipher, plain in expected.items():
            self.assertEqual(plain, marks((100, 122), (200, 244)).departed(cipher))

    def test_ciphertext_without_plaintext(self):
        """What carries no plaintext, as a handshake, makes nothing acknowledged late, or sent early."""
        noted = marks((0, 500), (100, 622), (100, 700), (100, 800), (200, 922))
        self.assertEqual([0, 100], [noted.departed(500), noted.departed(501)])
        self.assertEqual([0, 100], [noted.acknowledged(621), noted.acknowledged(622)])
        self.assertEqual([100, 200], [noted.departed(800), noted.departed(801)])

    def test_passed(self):
        """What is acknowledged is forgotten, but for the last of it."""
        noted = marks((100, 122), (200, 244), (300, 366))
        noted.acknowledged(250)
        self.assertEqual((2, 200, 200), (len(noted), noted.acknowledged(250), noted.departed(244)))

    def test_bounded(self):
        """However much is written and not acknowledged, the memory for it is bounded, and the newest is known."""
        noted = marks(*((position, position * 2) for position in range(MARKS * 10)))
        self.assertLessEqual(len(noted), MARKS)
        self.assertEqual(MARKS * 10 - 1, noted.newest)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12), st.integers(0, 500), st.data())
    def test_never_in_our_favour(self, steps, cipher, data):
        """Never is more said to be acknowledged, or less to be sent, than the whole of the pairs would say."""
        noted, pairs = Marks(), [(0, 0)]
        seen = 0
        for plain, extra in steps:
            pairs.append((pairs[-1][0] + plain, pairs[-1][1] + plain + extra))
            noted.note(*pairs[-1])
            seen = max(seen, data.draw(st.integers(0, cipher)))
            noted.acknowledged(seen)
        self.assertEqual(max(plain for plain, end in pairs if end <= cipher), noted.acknowledged(cipher))
        departed = noted.departed(cipher)
        if departed is not None:
            self.assertGreaterEqual(departed, min(plain for plain, end in pairs if end >= cipher))
