"""What must be ended and deleted, and when.

Every drop has a time at which it must be looked at next (``due_at``): the end of a claim's window, its
expiry, the deletion of its bytes, a retry of that, the end of its tombstone.  The reaper keeps one timer, for the earliest
of all.  What it knows is in the records, so it survives a restart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from filedropd.claims.elapsing import recovered
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import Policy
from filedropd.deferreds import Gathering, background, together
from filedropd.errors import FiledropError
from filedropd.model import Drop, DropState
from filedropd.tokens import short

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from filedropd.interfaces import IBlobs, IRecords
    from filedropd.ledgers import Ledgers
    from filedropd.metrics import Metrics
    from filedropd.transfers import Transfers

#: Seconds for which a link answers 410 with its reason before it is forgotten (404).
TOMBSTONE: Final = 30 * 24 * 3600.0
#: Seconds after which the clock on the wall and the records are looked at again: others may have set, or changed, them.
LONGEST_SLEEP: Final = 20.0
#: Seconds between attempts to delete bytes that will not go: doubled each time, up to this.
LONGEST_RETRY: Final = 3600.0
#: Seconds until the records are asked again when they cannot be.
RECORDS_RETRY: Final = 5.0
#: Seconds after which another daemon looks at what this one has taken, unless it has been dealt with.
TAKEN: Final = 15.0
_DOUBLINGS: Final = 12
_BATCH: Final = 100
#: Of these, how many are dealt with at once: others ask the stores, too, and do not want to wait behind all of them.
_AT_ONCE: Final = 25


class Reaper:
    """Deletes what is due.

    :param clock: for the timer.
    :param now: the time on the wall, in seconds since the epoch.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        records: IRecords,
        ledgers: Ledgers,
        blobs: IBlobs,
        transfers: Transfers,
        clock: IReactorTime,
        now: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._records = records
        self._ledgers = ledgers
        self._transfers = transfers
        self._blobs = blobs
        self._clock = clock
        self._now = now
        self._metrics = metrics
        self._timer: IDelayedCall | None = None
        self._run_in_progress = Gathering()
        self._again = False
        self._stopped = True
        self._taken: dict[bytes, Drop] = {}  # and not dealt with yet
        ledgers.tell(lambda drop: self.expect(drop.due_at))

    async def recover(self) -> None:
        """Put right what the last stop left half-done. Call it before anything is served."""
        unfinished = await self._blobs.unfinished()
        for daemon in sorted(unfinished.daemons):  # its lease may say otherwise for some seconds more
            await self._records.release(daemon)
        for blob in unfinished.blobs:
            if await self._records.has_blob(blob):
                await self._blobs.finish(blob)
                self._log.info("upload {blob} was complete: kept", blob=blob)
            else:
                await self._blobs.abandon(blob)
                self._log.info("upload {blob} was not complete: deleted", blob=blob)
        await self.take_over()

    async def take_over(self) -> None:
        """Let the claims that daemons which do not live any more had open wait for their recipients (rule X)."""
        alive = await self._records.alive(self._now())
        recovering = partial(_recovered, alive)
        interrupted = await self._records.interrupted(alive)
        cut_off = 0
        for first in range(0, len(interrupted), _BATCH):
            cut_off += sum(map(bool, await self._ledgers.change_all(interrupted[first : first + _BATCH], recovering)))
        if cut_off:
            self._log.warn(
                "downloads of {interrupted} drops were cut off by the last stop; their recipients can go on with them",
                interrupted=cut_off,
            )

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
        """Look now."""
        if self._stopped:
            return
        if len(self._run_in_progress):
            self._again = True
            return
        self._cancel_timer()
        background(self._run(), "the reaper")

    def expect(self, at: float) -> None:
        """Note that something will be due at ``at``, in seconds since the epoch; look now where it is."""
        if self._stopped:
            return
        if at <= self._now():
            self.wake()
        else:
            self._arm(at)

    async def _run(self) -> None:
        with self._run_in_progress:
            self._again = False
            try:
                while await self._take_due():
                    await self._reap_taken()
                    if self._stopped:  # not before: nobody else deals with what was taken, for a while
                        return
                next_due = await self._records.next_due()
            except Exception as error:  # noqa: BLE001 - the reaper must outlive whatever its stores do
                note = self._log.warn if isinstance(error, FiledropError) else self._log.failure
                note("deleting is put off for {seconds} s: {error}", seconds=RECORDS_RETRY, error=error)
                next_due = self._now() + RECORDS_RETRY
                self._again = False  # whoever woke it meanwhile waits, too
        if self._again:
            self.wake()
        elif not self._stopped and next_due is not None:
            self._arm(next_due)

    async def _take_due(self) -> bool:
        """Take what is due, unless something was taken that is not dealt with; tell whether there is anything."""
        if not self._taken:
            now = self._now()
            self._taken = {drop.key: drop for drop in await self._records.take_due(now, _BATCH, now + TAKEN)}
        return bool(self._taken)

    async def _reap_taken(self) -> None:
        """Deal with what was taken, many at once: the stores put together what comes together.

        :raises FiledropError: a store is away; what was not dealt with is still taken.
        """
        drops = list(self._taken.values())
        for first in range(0, len(drops), _AT_ONCE):
            failures = await together([self._reap_one(drop) for drop in drops[first : first + _AT_ONCE]])
            if failures:
                raise failures[0]

    async def _reap_one(self, drop: Drop) -> None:
        try:
            await self._reap(drop)
        except FiledropError:  # a store is away, and not for this one alone
            raise
        except Exception:  # noqa: BLE001 - one that cannot be dealt with must not keep the others from it
            self._log.failure(
                "drop {drop} cannot be dealt with; trying again in {seconds} s", drop=short(drop.key), seconds=TAKEN
            )
        del self._taken[drop.key]

    async def _reap(self, drop: Drop) -> None:
        now = self._now()
        if drop.state is DropState.PURGED:
            await self._records.forget(drop.key)
            return
        if not drop.finished:
            current = await self._ledgers.change(drop.key, _looked_at)
            if current is None or not current.finished:
                return
        self._transfers.abort(drop.key)
        try:
            await self._blobs.delete(drop.blob)
        except OSError as error:
            self._metrics.deletion_failures.inc()
            retry = min(LONGEST_RETRY, 2.0 ** min(drop.purge_attempts, _DOUBLINGS))
            self._log.error(
                "the bytes of drop {drop} cannot be deleted ({error}); trying again in {retry} s",
                drop=short(drop.key),
                error=error.strerror or error,
                retry=retry,
            )
            await self._records.purge_failed(drop.key, now + retry)
        else:
            self._metrics.deletions.inc()
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


def _looked_at(ledger: Ledger, _now: float, _policy: Policy) -> tuple[Ledger, Drop]:
    """Change nothing but what time has brought, and when there is something to do next."""
    return attrs.evolve(ledger), ledger.drop


def _recovered(alive: frozenset[str], ledger: Ledger, now: float, policy: Policy) -> tuple[Ledger, bool]:
    after = recovered(ledger, now, policy, alive)
    return after, after is not ledger
