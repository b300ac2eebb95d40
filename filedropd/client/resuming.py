"""How long to go on trying, and how long to wait in between."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from filedropd.client.errors import Later, Refused, Unreachable

#: Seconds without progress after which we give up.
PATIENCE: Final = 120.0

#: Seconds of the first pause; each is twice the one before, up to the longest.
FIRST: Final = 0.25
LONGEST: Final = 15.0


class Patience:
    """Pauses between attempts, until there has been no progress for too long.

    Pauses grow, and are shortened at random by up to a half, so that those who were cut off together do not all
    come back together.

    :param clock: by which everything here goes.
    :param seconds: without progress, after which it is over.
    :param chance: returns a number in [0, 1).
    """

    def __init__(
        self,
        clock: IReactorTime,
        seconds: float = PATIENCE,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._chance = chance
        self._pauses = 0
        self._since = clock.seconds()

    def progress(self) -> None:
        """Note that something went on: all the patience is there again."""
        self._pauses = 0
        self._since = self._clock.seconds()

    async def pause(self, error: Unreachable | Refused) -> None:
        """Return when it is time to try again after ``error``; not before the server's Retry-After.

        :raises ClientError: ``error``, at once, if patience would be over by then.
        """
        seconds = min(LONGEST, FIRST * 2**self._pauses) * (1 - self._chance() / 2)
        if isinstance(error, Later):
            seconds = max(seconds, error.retry_after or 0.0)
        if self._clock.seconds() + seconds - self._since > self._seconds:
            raise error
        self._pauses = min(self._pauses + 1, 16)
        await sleep(self._clock, seconds)


def sleep(clock: IReactorTime, seconds: float) -> Deferred[None]:
    """Fire after ``seconds`` of ``clock``; can be cancelled."""
    waiting: Deferred[None] = Deferred(canceller=lambda _: timer.cancel())
    timer = clock.callLater(seconds, waiting.callback, None)
    return waiting
