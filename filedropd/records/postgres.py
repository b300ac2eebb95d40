"""Drops and claims in a PostgreSQL database, which several daemons may share.

Nothing waits on a thread: txpostgres talks to the server from the reactor.  A transaction locks its drop's row
first, so those of one drop follow each other whichever daemon they come from, and what is decided is written on
condition of the revision that was read, as everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence
from functools import partial
from importlib.resources.abc import Traversable
from typing import Any, Final, TypeVar

import psycopg2
from psycopg2.extensions import TransactionRollbackError, make_dsn, parse_dsn
from twisted.logger import Logger
from zope.interface import implementer

from filedropd.claims.ledger import Ledger
from filedropd.errors import Unavailable
from filedropd.interfaces import IRecords, Rule, StoreUnusable
from filedropd.model import Drop, Event
from filedropd.records import migrations, sql, transactions
from filedropd.records.grouping import Grouping
from filedropd.records.migrations import SCHEMA
from filedropd.records.postgres_connection import Session
from filedropd.records.postgres_listening import Listening
from filedropd.records.postgres_pool import Pool, for_clients
from filedropd.records.rows import Row
from filedropd.records.together import Apart, Change, Done, Insert, Purge, Write, alone, together
from filedropd.records.transactions import Asked, Conflict, Deciding, Keyed, Many, Transaction

T = TypeVar("T")

#: Held while the schema is brought up to date, so that any number of daemons may start at once.
_MIGRATING: Final = 0x66696C6564726F70  # "filedrop"
#: How often a transaction is tried that others' got in the way of.
_TRIES: Final = 10

#: Groups of writes under way at once: while one waits for the disk, the next one is read and decided.
LANES: Final = 2

_WRITE: Final = "BEGIN"
#: All that is read is of one moment.
_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"

_log = Logger()


@implementer(IRecords)
class PostgresRecords:
    """Drops and claims in the database at ``url``.

    :param url: as libpq takes it (``postgresql://user@host/db``; a socket as ``?host=/folder``).
    :param size: connections at most.
    :param schema: where the migrations are.
    :ivar name: what logs call it: ``url`` without its password.
    """

    def __init__(self, reactor: Any, url: str, *, size: int = 8, schema: Traversable = SCHEMA) -> None:
        self._pool = Pool(reactor, url, size)
        self._reactor = reactor
        self._url = url
        self._listening: list[Listening] = []
        self._grouping = Grouping(self._together, self._alone, min(LANES, size))
        self.name = without_password(url)
        self._schema = schema

    @property
    def away(self) -> bool:
        """Whether the server cannot be reached, as far as is known."""
        return self._pool.away

    async def open(self) -> None:
        """Connect, and bring the schema up to date. After ``close`` it can be opened again.

        :raises StoreUnusable: the server is away, refuses us, or the database is none of ours.
        :raises SchemaTooNew: a later version wrote it; it is left as it is.
        """
        self._pool.start()
        try:
            await self._pool.run(self._migrated)
        except Unavailable as error:
            await self.close()
            cause = str(error.__cause__ or error).strip()
            raise StoreUnusable(f"The database {self.name} cannot be reached: {cause}.") from error
        except psycopg2.Error as error:
            await self.close()
            raise StoreUnusable(f"The database {self.name} cannot be used: {str(error).strip()}.") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let every call that was made before end, then close all connections. A second call does nothing."""
        listening, self._listening = self._listening, []
        for each in listening:
            await each.stop()
        await self._grouping.empty()
        await self._pool.stop()

    async def ping(self) -> None:
        """See IRecords."""
        await self._run(_WRITE, transactions.ping)

    async def insert(self, drop: Drop) -> None:
        """See IRecords; a key or a blob that is there already is an ``IntegrityError``."""
        await self._grouping.do(Insert(drop))

    async def find(self, key: bytes) -> Drop | None:
        """See IRecords."""
        return await self._run(None, partial(transactions.find, key))

    async def page(self, after: bytes, limit: int) -> list[Drop]:
        """See IRecords."""
        return await self._run(None, partial(transactions.page, after, limit))

    async def has_blob(self, blob: str) -> bool:
        """See IRecords."""
        return await self._run(None, partial(transactions.has_blob, blob))

    async def ledger(self, key: bytes) -> Ledger | None:
        """See IRecords."""
        return await self._run(_READ, partial(transactions.ledger, key))

    async def events(self, key: bytes) -> list[Event]:
        """See IRecords."""
        return await self._run(None, partial(transactions.events, key))

    async def change(self, key: bytes, rule: Rule[T]) -> T | None:
        """See IRecords."""
        result: T | None = await self._grouping.do(Change(key, rule))
        return result

    async def change_all(self, keys: Sequence[bytes], rule: Rule[T]) -> list[T | None]:
        """See IRecords."""
        return await self._run(_WRITE, partial(transactions.change_all, keys, rule))

    async def restore(self, ledger: Ledger, events: Sequence[Event]) -> None:
        """See IRecords; a key or a blob that is there already is an ``IntegrityError``."""
        await self._run(_WRITE, partial(transactions.restore, ledger, events))

    async def interrupted(self, alive: Container[str] = ()) -> list[bytes]:
        """See IRecords."""
        return await self._run(None, partial(transactions.interrupted, alive))

    async def lease(self, daemon: str, until: float) -> None:
        """See IRecords."""
        await self._run(None, partial(transactions.lease, daemon, until))

    async def release(self, daemon: str) -> None:
        """See IRecords."""
        await self._run(None, partial(transactions.release, daemon))

    async def alive(self, now: float) -> frozenset[str]:
        """See IRecords."""
        return await self._run(_WRITE, partial(transactions.alive, now))

    async def take_due(self, now: float, limit: int, until: float) -> list[Drop]:
        """See IRecords."""
        return await self._run(None, partial(transactions.take_due, now, limit, until))

    async def next_due(self) -> float | None:
        """See IRecords."""
        return await self._run(None, transactions.next_due)

    async def purged(self, key: bytes, forget_at: float) -> None:
        """See IRecords."""
        await self._grouping.do(Purge(key, forget_at))

    async def purge_failed(self, key: bytes, retry_at: float) -> None:
        """See IRecords."""
        await self._run(None, partial(transactions.purge_failed, key, retry_at))

    async def forget(self, key: bytes) -> None:
        """See IRecords."""
        await self._run(_WRITE, partial(transactions.forget, key))

    async def notify(self, words: Sequence[str]) -> None:
        """See IRecords."""
        await self._run(None, partial(transactions.notify, words))

    async def listen(self, heard: Callable[[str], None], missed: Callable[[], None]) -> None:
        """See IRecords; while the server is away, nothing is heard."""
        listening = Listening(self._reactor, self._url, heard, missed)
        self._listening.append(listening)
        await listening.start()

    # -- transactions -----------------------------------------------------------------------------

    async def _together(self, writes: Sequence[Write]) -> list[Done | Apart]:
        return await self._pool.run(partial(_transacted, _WRITE, together(writes)))

    async def _alone(self, write: Write) -> Any:
        return await self._run(None if isinstance(write, Insert) else _WRITE, partial(alone, write))

    async def _run(self, begin: str | None, transaction: Callable[[], Transaction[T]]) -> T:
        """Run ``transaction``; without ``begin`` it is one statement, which is a transaction by itself."""
        for _ in range(_TRIES):
            try:
                return await self._pool.run(partial(_transacted, begin, transaction()))
            except (Conflict, TransactionRollbackError):
                continue
            except psycopg2.Error as error:
                told = for_clients(error)
                if told is None:
                    raise
                _log.error("the database {name} refused: {reason}", name=self.name, reason=str(error).strip())
                raise told from error
        raise Unavailable

    async def _migrated(self, session: Session) -> None:
        """Bring the schema up to date; all steps that are missing, or none."""
        await session.execute(_WRITE)
        try:
            await session.execute(f"SELECT pg_advisory_xact_lock({_MIGRATING})")
            for step in await self._missing(session):
                await session.execute(sql.CREATE_VERSIONS)
                # What SQLite calls BLOB.
                await session.execute(re.sub(r"\bBLOB\b", "BYTEA", step.script))
                await session.execute(sql.ADD_VERSION, {"version": step.version})
        except BaseException:
            await _rolled_back(session)
            raise
        await session.execute("COMMIT")

    async def _missing(self, session: Session) -> list[migrations.Migration]:
        (found,) = await session.execute(
            "SELECT to_regclass('schema_version') IS NOT NULL AS ours, to_regclass('drops') IS NOT NULL AS others"
        )
        if found["others"] and not found["ours"]:
            raise StoreUnusable(
                f"The database {self.name} has a table 'drops' of another program. Nothing was changed. "
                "Name another database, or another schema, in --records."
            )
        version = (await session.execute(sql.VERSION))[0]["version"] if found["ours"] else 0
        return migrations.missing(migrations.load(self._schema), version, f"The database {self.name}")


async def _transacted(begin: str | None, transaction: Transaction[T], session: Session) -> T:
    """Run ``transaction`` from its beginning to its commit, or leave no trace of it."""
    if begin is None:
        return await _result(session, transaction)
    await session.execute(begin)
    try:
        result = await _result(session, transaction)
    except BaseException:
        await _rolled_back(session)
        raise
    await session.execute("COMMIT")
    return result


async def _rolled_back(session: Session) -> None:
    """Leave no trace of what was begun: where that cannot be said, close the connection, which does it."""
    try:
        await session.execute("ROLLBACK")
    except Exception:  # noqa: BLE001 - what went wrong first is what is told
        session.close()


async def _result(session: Session, transaction: Transaction[T]) -> T:
    """Execute what ``transaction`` yields, and return what it returns."""
    try:
        step = next(transaction)
        while True:
            step = transaction.send(await _executed(session, step))
    except StopIteration as end:
        result: T = end.value
        return result


async def _executed(session: Session, step: Asked) -> Any:
    """Execute one step and return its rows, or several of them in one go."""
    match step:
        case Keyed(statement, keys):
            of: dict[bytes, list[Row]] = {key: [] for key in keys}
            for row in await session.execute(sql.of_several(statement), {"keys": list(keys)}):
                of[bytes(row["drop" if "drop" in row else "key"])].append(row)
            return list(of.values())
        case Many(steps):
            return await session.execute_all(steps)
        case Deciding(statement, rows):
            return all(await session.execute_each([(statement, values) for values in rows]))
        case (statement, values):
            return await session.execute(statement, values)


def without_password(url: str) -> str:
    """Return what a database is called where its password is not to be read."""
    parts = {
        name: value for name, value in parse_dsn(url).items() if name not in {"password", "sslpassword", "passfile"}
    }
    return str(make_dsn(**parts))
