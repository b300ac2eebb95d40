"""Where a drop stands, for its owner: once, and as it changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

import attrs
from twisted.internet.interfaces import IReactorTime

from filedropd.claims.asking import seen
from filedropd.claims.ledger import Ledger
from filedropd.errors import NotFound
from filedropd.model import Event
from filedropd.transfers import Transfers
from filedropd.watching import Watches

if TYPE_CHECKING:
    from filedropd.interfaces import IRecords
    from filedropd.ledgers import Ledgers

#: Seconds after which who watches a drop is told again how far its transfers are, and that he is still heard.
PROGRESS: Final = 1.0
KEEP_ALIVE: Final = 15.0


@attrs.frozen(kw_only=True)
class Standing:
    """Where a drop stands, for its owner.

    :ivar ledger: with what is known, and not yet written down, of transfers that run.
    :ivar history: what happened to it, in order.
    """

    ledger: Ledger
    history: list[Event]


class Standings:
    """Tells owners.

    :param clock: for waiting.
    """

    def __init__(
        self, records: IRecords, ledgers: Ledgers, transfers: Transfers, watches: Watches, clock: IReactorTime
    ) -> None:
        self._records = records
        self._ledgers = ledgers
        self._transfers = transfers
        self._clock = clock
        self.watches = watches
        ledgers.tell(self.watches.tell)

    async def watch(self, key: bytes) -> AsyncGenerator[Standing | None, None]:
        """Return where the drop stored as ``key`` stands, and again whenever that changes, until it is finished.

        Once a second while something is being sent; ``None`` where nothing was to be said for a while.

        :raises TooManyRequests: too many watch it.
        """
        watch = self.watches.open(key)
        told: Standing | None = None
        quiet = False
        try:
            while True:
                standing = await self.standing(key)
                yield None if quiet and standing == told else standing
                if standing.ledger.drop.finished or watch.over:
                    return
                told = standing
                running = any(not transfer.settled for transfer in standing.ledger.transfers)
                changed = await watch.changed(self._clock, PROGRESS if running else KEEP_ALIVE)
                # Another daemon may have changed it without a word: it is looked at all the same.
                quiet = not changed and not running
        finally:
            self.watches.close(key, watch)

    async def standing(self, key: bytes) -> Standing:
        """Return where the drop stored as ``key`` stands.

        :raises NotFound: it is forgotten.
        """
        ledger = await self._ledgers.read(key)
        if ledger is None:
            raise NotFound
        # What time has brought and nobody has written down yet is told from the ledger itself.
        history = await self._records.events(key) + list(ledger.events)
        return Standing(ledger=seen(ledger, self._transfers.progress(key)), history=history)

    def end(self) -> None:
        """Let nobody watch any more."""
        self.watches.end()
