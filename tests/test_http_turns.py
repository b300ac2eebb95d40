"""A queue of calls, few of which are made in each turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import SynchronousTestCase

from filedropd.http.turns import EACH, Turns


class Steps:
    """A clock on which what is due is done when it is told so, and what becomes due by it is not."""

    def __init__(self) -> None:
        self.due: list[Callable[[], object]] = []

    def callLater(self, delay: float, call: Callable[..., object], *arguments: Any) -> None:
        """See IReactorTime."""
        self.due.append(partial(call, *arguments))

    def turn(self) -> None:
        """Do what is due."""
        due, self.due = self.due, []
        for call in due:
            call()


class TurnsTests(SynchronousTestCase):
    def setUp(self):
        self.steps = Steps()
        self.turns = Turns(cast(IReactorTime, self.steps))
        self.made: list[int] = []

    def test_few_at_once(self):
        """A turn makes so many calls and no more, in order, and the next goes on."""
        for number in range(2 * EACH + 1):
            self.turns.add(partial(self.made.append, number))
        seen = [len(self.made)]
        for _ in range(3):
            self.steps.turn()
            seen.append(len(self.made))
        self.assertEqual([0, EACH, 2 * EACH, 2 * EACH + 1], seen)
        self.assertEqual(sorted(self.made), self.made)

    def test_nothing_stays(self):
        """When all are made nothing is due, and the next begins anew."""
        for number in range(2):
            self.turns.add(partial(self.made.append, number))
            self.steps.turn()
            self.assertEqual([], self.steps.due)
        self.assertEqual([0, 1], self.made)
