"""Records in a PostgreSQL database, on a real server."""

from __future__ import annotations

import contextlib
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from filedropd.interfaces import IRecords
from filedropd.records.postgres import PostgresRecords
from tests.contracts import records as contract
from tests.servers import postgresql


class PostgresRecordsTests(contract.RecordsContract, TestCase):
    """The contract, each test with a database of its own."""

    async def make(self) -> IRecords:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.url = postgresql().url(stack.enter_context(postgresql().database()))
        return self.records()

    async def reborn(self, records: IRecords) -> IRecords:
        return self.records()

    def records(self) -> PostgresRecords:
        """Return what a daemon makes of the database."""
        everything: Any = reactor
        return PostgresRecords(everything, self.url)
