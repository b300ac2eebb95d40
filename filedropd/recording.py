"""What has happened is written down, also when the records are away for a while."""

from __future__ import annotations

from typing import Final, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from filedropd.deferreds import Gathering, Happening, background
from filedropd.errors import InsufficientStorage, Unavailable
from filedropd.ledgers import Ledgers, TimedRule
from filedropd.tokens import short

T = TypeVar("T")

#: Seconds until it is tried again: doubled each time, up to the last.
FIRST: Final = 0.25
LONGEST: Final = 5.0


class Recording:
    """Keeps what cannot be recorded, and records it when the records are back.

    :param clock: for waiting.
    """

    _log = Logger()

    def __init__(self, ledgers: Ledgers, clock: IReactorTime) -> None:
        self._ledgers = ledgers
        self._clock = clock
        self._given_up = Happening()
        self._work = Gathering()

    async def surely(self, key: bytes, rule: TimedRule[T]) -> T | None:
        """Do what ``Ledgers.change`` does, and try again for as long as the records are away.

        :raises FiledropError: they still were when it was given up.
        """
        delay = FIRST
        while True:
            try:
                return await self._ledgers.change(key, rule)
            except (Unavailable, InsufficientStorage):
                self._log.warn("what happened to drop {drop} cannot be recorded now: it is kept", drop=short(key))
                if await self._given_up.within(self._clock, delay):
                    raise
                delay = min(2 * delay, LONGEST)

    def later(self, key: bytes, rule: TimedRule[None]) -> None:
        """Take back, once the records are there again, what may have been recorded when they went away."""
        background(self._later(key, rule), "taking back what may have been recorded")

    async def _later(self, key: bytes, rule: TimedRule[None]) -> None:
        with self._work:
            await self.surely(key, rule)

    async def stop(self) -> None:
        """Return when nothing is tried any more."""
        self.give_up()
        await self._work.empty()

    def give_up(self) -> None:
        """Try once more at most: the daemon stops."""
        self._given_up.happen()
