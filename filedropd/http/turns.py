"""Work that falls due for many connections at once, done a little at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

#: How many calls are made in one turn of the reactor.
EACH: Final = 8


class Turns:
    """A queue of calls, few of which are made in each turn of the reactor.

    Ten thousand connections that time out within a second would otherwise hold up everybody else
    for as long as it takes to answer them all.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[Callable[[], object]] = deque()
        self._going = False

    def add(self, call: Callable[[], object]) -> None:
        """Make ``call`` in the next turn, or in a later one."""
        self._waiting.append(call)
        if not self._going:
            self._going = True
            self._clock.callLater(0, self._go)

    def _go(self) -> None:
        for _ in range(min(EACH, len(self._waiting))):
            self._waiting.popleft()()
        self._going = bool(self._waiting)
        if self._going:
            self._clock.callLater(0, self._go)
