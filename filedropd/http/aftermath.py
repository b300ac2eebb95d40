"""What a client does after a body was taken for received because it was quiet for a second.

A client that is slow to read may still close with data unread, and its RST then says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from filedropd.http.acknowledgement import Acknowledgements
from filedropd.http.deadline import Deadline

# Seconds between two looks for a RST of which Twisted tells nobody.
_LOOK: Final = 1.0


class Aftermath:
    """One body's. It begins now.

    :param seconds: after which nothing is waited for.
    :param abort: called when a RST is found, to end the connection.
    """

    def __init__(
        self, clock: IReactorTime, acknowledgements: Acknowledgements, *, seconds: float, abort: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._acknowledgements = acknowledgements
        self._abort = abort
        self._ends = clock.seconds() + seconds
        self._deadline = Deadline(clock)
        self._kept: bool | None = None
        self._waiting: list[Deferred[bool]] = []
        self._look()

    @property
    def remaining(self) -> float:
        """Seconds for which more may be learnt; 0 when it is over."""
        return max(0.0, self._ends - self._clock.seconds()) if self._kept is None else 0.0

    def end(self, *, kept: bool) -> None:
        """Note that the client has kept what it got, or not. A second call does nothing."""
        if self._kept is None:
            self._kept = kept
            self._deadline.stop()
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.callback(kept)

    def closed_by_us(self) -> None:
        """Note that the connection is closed in order, and nothing more will be learnt."""
        if self._kept is None:
            self.end(kept=not self._acknowledgements.reset())

    def wait(self) -> Deferred[bool]:
        """Fire with whether the client has kept what it got. Any number may wait."""
        waiter: Deferred[bool] = Deferred(canceller=self._waiting.remove)
        if self._kept is None:
            self._waiting.append(waiter)
        else:
            waiter.callback(self._kept)
        return waiter

    def _look(self) -> None:
        if self._acknowledgements.reset():
            self.end(kept=False)
            self._abort()
        elif self.remaining <= 0:
            self.end(kept=True)
        else:
            self._deadline.set(min(_LOOK, self.remaining), self._look)
