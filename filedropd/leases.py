"""Several daemons on one database: each says again and again that it lives, and looks whether the others do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from filedropd.deferreds import Gathering, background

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from filedropd.interfaces import IRecords
    from filedropd.reaper import Reaper

#: Seconds after which a daemon that is not heard of is taken for dead.
LEASE: Final = 15.0
#: Seconds after which it says again that it lives.
BEAT: Final = 5.0


class Leases:
    """Keeps one daemon's lease, and takes over from those whose lease has ended.

    The clocks on the walls of all the daemons' machines must agree to within a few seconds.  While the records are
    away nobody can say that he lives: when they are back, each has a lease's time to do so before it is taken for dead.

    :param daemon: its name, which no other has or had.
    :param clock: for the timer.
    :param now: the time on the wall, in seconds since the epoch.
    """

    _log = Logger()

    def __init__(
        self, daemon: str, records: IRecords, reaper: Reaper, clock: IReactorTime, now: Callable[[], float]
    ) -> None:
        self._daemon = daemon
        self._records = records
        self._reaper = reaper
        self._clock = clock
        self._now = now
        self._timer: IDelayedCall | None = None
        self._renewed = 0.0  # when the lease was, by the timer's clock
        self._unbroken = 0.0  # since when each beat has been in time
        self._beating = Gathering()
        self._stopped = True

    async def begin(self) -> None:
        """Say for the first time that the daemon lives. Call it before it runs a transfer."""
        await self._records.lease(self._daemon, self._now() + LEASE)
        self._renewed = self._clock.seconds()
        self._unbroken = self._renewed - LEASE  # nothing is known to have been away
        self._stopped = False
        self._arm()

    async def stop(self) -> None:
        """Say that it has stopped. Call it when it runs none any more. A second call does nothing."""
        if self._stopped:
            return
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        await self._beating.empty()
        await self._records.release(self._daemon)

    def _arm(self) -> None:
        self._timer = self._clock.callLater(BEAT, self._beat)

    def _beat(self) -> None:
        self._timer = None
        background(self._live(), "saying that this daemon lives")

    async def _live(self) -> None:
        with self._beating:
            try:
                await self._records.lease(self._daemon, self._now() + LEASE)
                now = self._clock.seconds()
                if now - self._renewed > 2 * BEAT:
                    self._unbroken = now
                self._renewed = now
                if now - self._unbroken >= LEASE:
                    await self._reaper.take_over()
            except Exception as error:  # noqa: BLE001 - the next beat comes whatever the records do
                self._log.warn("this daemon's lease is not renewed: {error}", error=error)
        if not self._stopped:
            self._arm()
