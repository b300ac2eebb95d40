"""Drops and claims in a SQLite database.

One thread of its own does all the work, in the order in which it was asked for: nothing blocks the
reactor, and there is one writer.  What is to be written while it writes is written together, next.  The database is in WAL mode with ``synchronous=FULL``: a commit is on
the disk when it returns (with NORMAL, a power cut takes the last ones with it, see
https://www.sqlite.org/pragma.html#pragma_synchronous).

One daemon at a time: recovery must not suspend the claims of another that is alive.  A lock
on ``<database>.lock``, which ends with the process, sees to that.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorFromThreads
from zope.interface import implementer

from filedropd.claims.ledger import Ledger
from filedropd.errors import Unavailable
from filedropd.interfaces import IRecords, Rule
from filedropd.model import Drop, Event
from filedropd.records import transactions
from filedropd.records.grouping import Grouping
from filedropd.records.migrations import SCHEMA
from filedropd.records.sqlite_database import ALONE, CLOSED, READ, WRITE, Begin, Database
from filedropd.records.together import Apart, Change, Done, Insert, Purge, Write, alone, together
from filedropd.records.transactions import Transaction
from filedropd.threads import Threads

T = TypeVar("T")


@implementer(IRecords)
class SQLiteRecords:
    """Drops and claims in the SQLite database at ``path``.

    :param reactor: on its thread results come back.
    :param path: the database; it is made with mode 0600, and its folder with mode 0700, where they are
        missing. ``<path>.lock`` lies beside it and stays.
    :param durable: whether a commit waits for the disk. Without, a power cut may lose what was
        acknowledged, and may damage the database; a crash of the daemon alone does neither.
    :param schema: where the migrations are.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        path: Path,
        *,
        durable: bool = True,
        schema: Traversable = SCHEMA,
    ) -> None:
        self._reactor = reactor
        self._database = Database(path, durable=durable, schema=schema)
        self._pool: Threads | None = None
        self._leases: dict[str, float] = {}
        self._grouping = Grouping(self._together, self._alone)

    @property
    def name(self) -> str:
        """What logs call it."""
        return str(self._database.path)

    async def open(self) -> None:
        """Take the database for this daemon and bring its schema up to date. After ``close`` it can be opened again.

        :raises StoreUnusable: it cannot be opened, is none of ours, or another daemon uses it.
        :raises SchemaTooNew: a later version wrote it; it is left as it is.
        """
        self._leases.clear()
        self._pool = Threads(self._reactor, 1, "sqlite")
        try:
            await self._pool.run(self._database.open)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let every call that was made before end, then close the database. A second call does nothing."""
        await self._grouping.empty()
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            # The thread takes its calls in order: this one comes after all that are waiting.
            await pool.run(self._database.close)
        finally:
            # It has nothing left to do, so joining it takes no time.
            pool.stop()

    async def ping(self) -> None:
        """See IRecords."""
        await self._run(WRITE, transactions.ping())

    async def insert(self, drop: Drop) -> None:
        """See IRecords; a key or a blob that is there already is an ``IntegrityError``."""
        await self._grouping.do(Insert(drop))

    async def find(self, key: bytes) -> Drop | None:
        """See IRecords."""
        return await self._run(ALONE, transactions.find(key))

    async def page(self, after: bytes, limit: int) -> list[Drop]:
        """See IRecords."""
        return await self._run(READ, transactions.page(after, limit))

    async def has_blob(self, blob: str) -> bool:
        """See IRecords."""
        return await self._run(ALONE, transactions.has_blob(blob))

    async def ledger(self, key: bytes) -> Ledger | None:
        """See IRecords."""
        return await self._run(READ, transactions.ledger(key))

    async def events(self, key: bytes) -> list[Event]:
        """See IRecords."""
        return await self._run(ALONE, transactions.events(key))

    async def change(self, key: bytes, rule: Rule[T]) -> T | None:
        """See IRecords; the one thread runs ``rule``: nobody else writes."""
        result: T | None = await self._grouping.do(Change(key, rule))
        return result

    async def change_all(self, keys: Sequence[bytes], rule: Rule[T]) -> list[T | None]:
        """See IRecords."""
        return await self._run(WRITE, transactions.change_all(keys, rule))

    async def restore(self, ledger: Ledger, events: Sequence[Event]) -> None:
        """See IRecords; a key or a blob that is there already is an ``IntegrityError``."""
        await self._run(WRITE, transactions.restore(ledger, events))

    async def interrupted(self, alive: Container[str] = ()) -> list[bytes]:
        """See IRecords."""
        return await self._run(ALONE, transactions.interrupted(alive))

    async def lease(self, daemon: str, until: float) -> None:
        """See IRecords; one daemon at a time has the database, so this is nobody else's business."""
        self._leases[daemon] = until

    async def release(self, daemon: str) -> None:
        """See IRecords."""
        self._leases.pop(daemon, None)

    async def alive(self, now: float) -> frozenset[str]:
        """See IRecords."""
        return frozenset(daemon for daemon, until in self._leases.items() if until > now)

    async def take_due(self, now: float, limit: int, until: float) -> list[Drop]:
        """See IRecords."""
        return await self._run(WRITE, transactions.take_due(now, limit, until))

    async def next_due(self) -> float | None:
        """See IRecords."""
        return await self._run(ALONE, transactions.next_due())

    async def purged(self, key: bytes, forget_at: float) -> None:
        """See IRecords; a drop that is not gone, or already purged, is left as it is."""
        await self._grouping.do(Purge(key, forget_at))

    async def purge_failed(self, key: bytes, retry_at: float) -> None:
        """See IRecords; a drop that is not gone, or already purged, is left as it is."""
        await self._run(WRITE, transactions.purge_failed(key, retry_at))

    async def forget(self, key: bytes) -> None:
        """See IRecords; a drop that is not purged is left as it is."""
        await self._run(WRITE, transactions.forget(key))

    async def notify(self, words: Sequence[str]) -> None:
        """See IRecords; there is nobody else."""

    async def listen(self, heard: Callable[[str], None], missed: Callable[[], None]) -> None:
        """See IRecords; there is nobody else."""

    async def _together(self, writes: Sequence[Write]) -> list[Done | Apart]:
        return await self._run(WRITE, together(writes))

    async def _alone(self, write: Write) -> Any:
        return await self._run(WRITE, alone(write))

    async def _run(self, begin: Begin, transaction: Transaction[T]) -> T:
        if self._pool is None:
            raise Unavailable(CLOSED)
        return await self._pool.run(self._database.run, begin, transaction)
