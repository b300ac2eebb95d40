"""What must be deleted, and when.

Every drop has a time at which it must be looked at next (``due_at``): its expiry, the deletion of
its bytes, a retry of that, the end of its tombstone.  The reaper keeps one timer, for the earliest
of all.  What it knows is in the records, so it survives a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from filedropd.deferreds import Gathering, background
from filedropd.model import Drop, DropState, Reason
from filedropd.tokens import short

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from filedropd.interfaces import IBlobs, IRecords

#: Seconds for which a link answers 410 with its reason before it is forgotten (404).
TOMBSTONE: Final = 30 * 24 * 3600.0
#: Seconds after which the clock on the wall is looked at again: it may have been set.
LONGEST_SLEEP: Final = 60.0
#: Seconds between attempts to delete bytes that will not go: doubled each time, up to this.
LONGEST_RETRY: Final = 3600.0
#: Seconds until the records are asked again when they cannot be.
RECORDS_RETRY: Final = 5.0
_DOUBLINGS: Final = 12
_BATCH: Final = 100


class Reaper:
    """Deletes what is due.

    :param clock: for the timer.
    :param now: the time on the wall, in seconds since the epoch.
    """

    _log = Logger()

    def __init__(self, records: IRecords, blobs: IBlobs, clock: IReactorTime, now: Callable[[], float]) -> None:
        self._records = records
        self._blobs = blobs
        self._clock = clock
        self._now = now
        self._timer: IDelayedCall | None = None
        self._run_in_progress = Gathering()
        self._again = False
        self._stopped = True

    async def recover(self) -> None:
        """Put right what the last stop left half-done. Call it before anything is served."""
        for blob in await self._blobs.unfinished():
            if await self._records.has_blob(blob):
                await self._blobs.finish(blob)
                self._log.info("upload {blob} was complete: kept", blob=blob)
            else:
                await self._blobs.abandon(blob)
                self._log.info("upload {blob} was not complete: deleted", blob=blob)
        closed = await self._records.close_open_claims(self._now())
        if closed:
            self._log.warn("{closed} downloads were cut off by the last stop; they count as delivered", closed=closed)

    def start(self) -> None:
        """Begin to delete what is due."""
        self._stopped = False
        self.wake()

    async def stop(self) -> None:
        """Let the run in progress end, and begin no other."""
        self._stopped = True
        self._cancel_timer()
        await self._run_in_progress.empty()

    def wake(self) -> None:
        """Look now: something has become due."""
        if self._stopped:
            return
        if len(self._run_in_progress):
            self._again = True
            return
        self._cancel_timer()
        background(self._run(), "the reaper")

    def expect(self, at: float) -> None:
        """Note that something will be due at ``at``, in seconds since the epoch."""
        if not self._stopped:
            self._arm(at)

    async def _run(self) -> None:
        with self._run_in_progress:
            self._again = False
            try:
                while drops := await self._records.due(self._now(), _BATCH):
                    for drop in drops:
                        await self._reap(drop)
                        if self._stopped:
                            return
                next_due = await self._records.next_due()
            except Exception as error:  # noqa: BLE001 - the reaper must outlive whatever its stores do
                self._log.failure("deleting is put off for {seconds} s: {error}", seconds=RECORDS_RETRY, error=error)
                next_due = self._now() + RECORDS_RETRY
        if self._again:
            self.wake()
        elif not self._stopped and next_due is not None:
            self._arm(next_due)

    async def _reap(self, drop: Drop) -> None:
        now = self._now()
        if drop.state is DropState.PURGED:
            await self._records.forget(drop.key)
            return
        if drop.state is DropState.AVAILABLE:
            ended = await self._records.end(drop.key, Reason.EXPIRED, now)
            if ended is None:  # somebody else ended it just now; it is due again
                return
            self._log.info("drop {drop} expired", drop=short(drop.key))
        try:
            await self._blobs.delete(drop.blob)
        except OSError as error:
            retry = min(LONGEST_RETRY, 2.0 ** min(drop.purge_attempts, _DOUBLINGS))
            self._log.error(
                "the bytes of drop {drop} cannot be deleted ({error}); trying again in {retry} s",
                drop=short(drop.key),
                error=error.strerror or error,
                retry=retry,
            )
            await self._records.purge_failed(drop.key, now + retry)
        else:
            await self._records.purged(drop.key, now + TOMBSTONE)

    def _arm(self, at: float) -> None:
        delay = max(0.0, min(at - self._now(), LONGEST_SLEEP))
        if self._timer is not None:
            if self._timer.getTime() <= self._clock.seconds() + delay:
                return
            self._cancel_timer()
        self._timer = self._clock.callLater(delay, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self.wake()

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
