"""A queue of calls, few of which are made in each turn."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from filedropd.http.turns import EACH, Turns


class TurnsTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.turns = Turns(self.clock)
        self.made: list[int] = []

    def turn(self) -> None:
        """Let one turn pass: what is due now, and nothing that becomes due by it."""
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
            call.func()

    def test_few_at_once(self):
        """A turn makes so many calls and no more, in order, and the next goes on."""
        for number in range(2 * EACH + 1):
            self.turns.add(lambda number=number: self.made.append(number))
        self.assertEqual([], self.made)
        seen = []
        for _ in range(3):
            self.turn()
            seen.append(len(self.made))
        self.assertEqual([EACH, 2 * EACH, 2 * EACH + 1], seen)
        self.assertEqual(sorted(self.made), self.made)

    def test_nothing_stays(self):
        """When all are made there is no timer, and the next begins anew."""
        for _ in range(2):
            self.turns.add(lambda: self.made.append(0))
            self.clock.advance(0)
            self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual([0, 0], self.made)
