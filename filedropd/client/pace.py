"""Not faster than one says."""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IReactorTime

#: Seconds of bytes that are read ahead of what one takes, and the least of them.
AHEAD: Final = 2.0
LEAST: Final = 64 * 1024


class Pace:
    """Says how long to wait after some bytes, so that they are no more than ``rate`` a second.

    :param rate: bytes a second; ``None``: as many as there are.
    """

    def __init__(self, clock: IReactorTime, rate: float | None) -> None:
        self._clock = clock
        self._rate = rate
        self._due = clock.seconds()

    @property
    def unlimited(self) -> bool:
        """Whether there is nothing to wait for, ever."""
        return self._rate is None

    def ahead(self, most: int) -> int:
        """Return how many bytes may wait to be taken, ``most`` at most.

        The sender is to see how slowly they are taken: what waits here for minutes would look delivered to it.
        """
        return most if self._rate is None else min(most, max(LEAST, int(self._rate * AHEAD)))

    def after(self, size: int) -> float:
        """Return the seconds to wait after ``size`` more bytes."""
        if self._rate is None:
            return 0.0
        now = self._clock.seconds()
        # What was not used is not made up for, but for a tenth of a second.
        self._due = max(self._due, now - 0.1) + size / self._rate
        return max(0.0, self._due - now)
