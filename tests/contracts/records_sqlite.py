"""How the tests make records in SQLite, and look into them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorFromThreads

from filedropd.interfaces import IRecords, StoreUnusable
from filedropd.records.sqlite import SQLiteRecords
from tests.contracts.records_base import RecordsBase


def from_elsewhere(path: Path, script: str) -> None:
    """Run ``script`` on the database as another program would."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(script)
    connection.close()


class SQLiteBase(RecordsBase):
    """Makes SQLite records in a temporary folder."""

    durable = True

    async def make(self) -> IRecords:
        return self.at(self.a_path())

    async def reborn(self, records: IRecords) -> IRecords:
        assert isinstance(records, SQLiteRecords)
        return self.at(records._database.path)

    def a_path(self) -> Path:
        """Return the path of a database that is not there yet, nor is its folder."""
        return Path(self.mktemp()) / "data" / "drops.db"

    def at(self, path: Path, **options: Any) -> SQLiteRecords:
        """Return records in the database at ``path``, not open yet."""
        return SQLiteRecords(cast(IReactorFromThreads, reactor), path, **{"durable": self.durable, **options})

    async def open_at(self, path: Path, **options: Any) -> SQLiteRecords:
        """Return open records in the database at ``path``, which are closed after the test."""
        records = self.at(path, **options)
        await self.open(records)
        return records

    async def query(self, records: SQLiteRecords, statement: str, values: Any = ()) -> list[dict[str, Any]]:
        """Execute ``statement`` on the connection that ``records`` have open."""
        pool, connection = records._pool, records._database._connection
        assert pool is not None
        assert connection is not None
        rows = await pool.run(lambda: connection.execute(statement, values).fetchall())
        return list(map(dict, rows))

    async def refusal(self, records: SQLiteRecords) -> str:
        """Return the words with which ``records`` refuse to open."""
        with self.assertRaises(StoreUnusable) as caught:
            await self.open(records)
        return str(caught.exception)
