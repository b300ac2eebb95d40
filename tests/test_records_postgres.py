"""Records in a PostgreSQL database, on a real server."""

from __future__ import annotations

import contextlib
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from filedropd.deferreds import sleep
from filedropd.errors import Unavailable
from filedropd.interfaces import IRecords
from filedropd.records.postgres import PostgresRecords, without_password
from tests.contracts import records as contract
from tests.servers import PostgreSQL, postgresql


class PostgresRecordsTests(contract.RecordsContract, TestCase):
    """The contract, each test with a database of its own."""

    shared = True

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


class NameTests(SynchronousTestCase):
    """What logs call a database."""

    def test_secrets(self):
        """Nothing of it opens anything, wherever the URL has it."""
        name = without_password("postgresql://me:secret@host/db?sslpassword=secret&passfile=/secret")
        self.assertEqual({"user=me", "host=host", "dbname=db"}, set(name.split()))


class ListeningTests(TestCase):
    """Hearing what other daemons tell, from a server that goes away."""

    timeout = 60

    async def test_restart(self):
        """It hears again when the server is back, and is told that it may have missed something."""
        everything: Any = reactor
        with PostgreSQL() as server:
            records = PostgresRecords(everything, server.url())
            await records.open()
            self.addCleanup(records.close)
            heard: Deferred[str] = Deferred()
            missed: Deferred[None] = Deferred()
            await records.listen(heard.callback, lambda: missed.callback(None))
            await deferToThread(server.restart)
            await missed
            while not heard.called:
                with contextlib.suppress(Unavailable):
                    await records.notify(["once"])
                    break
                await sleep(everything, 0.05)
            self.assertEqual("once", await heard)
            self.assertEqual([], self.flushLoggedErrors())
            await records.close()

    async def test_away(self):
        """Closed while the server is away, it tries no more."""
        everything: Any = reactor
        with PostgreSQL() as server:
            records = PostgresRecords(everything, server.url())
            await records.open()
            await records.listen(self.fail, self.fail)
            await deferToThread(server.stop)
            await records.close()
