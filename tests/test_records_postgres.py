"""Records in a PostgreSQL database, on a real server."""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from filedropd.claims.asking import Granted
from filedropd.deferreds import sleep
from filedropd.errors import Unavailable
from filedropd.interfaces import IRecords, StoreUnusable
from filedropd.records.postgres import PostgresRecords, without_password
from filedropd.records.postgres_connection import ANSWER, LOCK, STATEMENT, Session, connected, parameters
from tests.contracts import records as contract
from tests.contracts.records_base import RecordsBase, a_drop, a_wish, asking, key_of, together
from tests.servers import PostgreSQL, postgresql
from tests.test_records_migrations import LATEST, SHIPPED, schema_in

_REACTOR: Any = reactor

#: Who waits for somebody else's lock.
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

#: What the server gives a statement.
LIMITS = "SELECT current_setting('statement_timeout') AS statement, current_setting('lock_timeout') AS lock"

#: Makes a claim take longer than the server gives a statement.
SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(11); RETURN new; END $$;
CREATE TRIGGER slow BEFORE INSERT ON claims FOR EACH ROW EXECUTE FUNCTION slow();
"""


class PostgresBase(RecordsBase):
    """Makes records in a database of the test's own."""

    async def make(self) -> IRecords:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.database = stack.enter_context(postgresql().database())
        self.url = postgresql().url(self.database)
        return self.records()

    async def reborn(self, records: IRecords) -> IRecords:
        return self.records()

    def records(self) -> PostgresRecords:
        """Return what a daemon makes of the database."""
        return PostgresRecords(_REACTOR, self.url)

    async def session(self) -> Session:
        """Return a connection of somebody else's to the database, which is closed after the test."""
        session = Session(await connected(_REACTOR, self.url), _REACTOR)
        self.addCleanup(session.close)
        return session


class PostgresRecordsTests(PostgresBase, contract.RecordsContract, TestCase):
    """The contract, each test with a database of its own."""

    shared = True


class URLTests(PostgresBase, TestCase):
    """What a URL says of the connection holds."""

    async def with_options(self, words: str) -> PostgresRecords:
        """Return open records of a URL with ``words`` in its query."""
        records = PostgresRecords(_REACTOR, f"{self.url}?{words}")
        await self.open(records)
        return records

    async def test_schema(self):
        """Records are in the schema that its options name, and heard of by others who name it; the limits are ours."""
        await self.make()
        postgresql().psql("CREATE SCHEMA mine", self.database)
        records = await self.with_options("options=-c%20search_path%3Dmine%20-c%20statement_timeout%3D1d")
        await records.insert(a_drop())
        self.assertEqual("1", postgresql().psql("SELECT count(*) FROM mine.drops", self.database))
        self.assertEqual("t", postgresql().psql("SELECT to_regclass('drops') IS NULL", self.database))
        (shown,) = await records._pool.run(lambda session: session.execute(LIMITS))
        self.assertEqual({"statement": f"{STATEMENT:.0f}s", "lock": f"{LOCK:.0f}s"}, shown)

    async def test_name(self):
        """The server knows a connection by the name that it is given, the one that listens included; or by ours."""
        await self.make()
        for words, name in (("application_name=drops%20of%20ours", "drops of ours"), ("", "filedropd")):
            records = await self.with_options(words)
            await records.listen(self.fail, self.fail)
            names = f"SELECT application_name FROM pg_stat_activity WHERE datname = '{self.database}'"
            self.assertEqual([name] * 2, postgresql().psql(names).splitlines())
            await records.close()

    def test_secrets(self):
        """What logs call a database has no password in it."""
        url = "postgresql://user:secret1@host/db?sslpassword=secret2&passfile=/secret3&options=-c%20search_path%3Dmine"
        name = PostgresRecords(_REACTOR, url).name
        self.assertIn("search_path=mine", name)
        self.assertNotIn("secret", name)

    def test_keep_alive(self):
        """How long the kernel waits for a dead machine can be said; what is not said of it is as ever."""
        given = parameters("postgresql://host/db?keepalives_idle=5&keepalives=0")
        kept = {name: value for name, value in given.items() if name.startswith("keepalives")}
        expected = {"keepalives": "0", "keepalives_idle": "5", "keepalives_interval": "10", "keepalives_count": "3"}
        self.assertEqual(expected, kept)


class CancelledTests(PostgresBase, TestCase):
    """A statement that does not end by itself: the server cancels it, or whoever asked leaves."""

    timeout = 60

    async def locked(self) -> Session:
        """Let somebody else have the drops, and keep them; returns his connection."""
        session = await self.session()
        await session.execute("BEGIN")
        await session.execute("LOCK TABLE drops IN ACCESS EXCLUSIVE MODE")
        return session

    async def waiting(self) -> list[int]:
        """Return the processes of the server's that wait for him, as soon as there are any."""
        session = await self.session()
        while not (found := await session.execute(WAITING)):
            await sleep(_REACTOR, 0.02)
        session.close()
        return [row["pid"] for row in found]

    async def cancel(self) -> None:
        """Cancel, as an operator may, what waits for him."""
        pids = await self.waiting()
        postgresql().psql(f"SELECT {', '.join(f'pg_cancel_backend({pid})' for pid in pids)}")

    async def assert_told(self, asked: Coroutine[Any, Any, Any]) -> None:
        """The server cancels what is asked: that is told, logged, and no reason to stop."""
        other = await self.locked()
        with capturedLogs() as logged:
            asking = Deferred.fromCoroutine(asked)
            await self.cancel()
            with self.assertRaises(Unavailable):
                await asking
        self.assertEqual(["the database {name} refused: {reason}"], [event["log_format"] for event in logged])
        await other.execute("ROLLBACK")

    async def test_read(self):
        """Whoever reads is told that it cannot be done now; the next one reads."""
        records = await self.holding(a_drop())
        await self.assert_told(records.find(key_of(1)))
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_change(self):
        """Whoever claims a drop is told so, too, and nothing was claimed."""
        records = await self.holding(a_drop())
        await self.assert_told(records.change(key_of(1), asking(a_wish("1"))))
        self.assertIsInstance(await records.change(key_of(1), asking(a_wish("2"))), Granted)

    async def test_insert(self):
        """Whoever leaves a drop is told so, too, and it is not there."""
        records = await self.opened()
        await self.assert_told(records.insert(a_drop()))
        self.assertIsNone(await records.find(key_of(1)))

    async def test_group(self):
        """Of what is written together each is told at once: none is tried by itself, to take as long again."""
        records = await self.holding(*map(a_drop, range(1, 9)))
        other = await self.locked()
        claims = [Deferred.fromCoroutine(records.change(key_of(n), asking(a_wish(str(n))))) for n in range(1, 9)]
        outcomes = gatherResults([claim.addErrback(lambda failure: failure.trap(Unavailable)) for claim in claims])
        with capturedLogs() as logged:
            while len(logged) < 3:  # one on each of two lanes, and the others
                await self.cancel()
                await sleep(_REACTOR, 0.05)
            self.assertEqual([Unavailable] * 8, await outcomes)
        await other.execute("ROLLBACK")

    async def test_too_long(self):
        """So it is with a statement for which the server has no more time."""
        records = await self.holding(a_drop())
        postgresql().psql(SLOW, self.database)
        with capturedLogs() as logged, self.assertRaises(Unavailable):
            await records.change(key_of(1), asking(a_wish("1")))
        self.assertIn("statement timeout", logged[0]["reason"])

    async def test_left(self):
        """Whoever leaves waits no longer; what he asked for goes on to its end, and the connection is used again."""
        records = await self.holding(a_drop())
        other = await self.locked()
        asking = Deferred.fromCoroutine(records.find(key_of(1)))
        (left,) = await self.waiting()
        asking.cancel()
        with self.assertRaises(CancelledError):
            await asking
        self.assertEqual([left], await self.waiting())
        await other.execute("ROLLBACK")
        self.assertEqual(a_drop(), await records.find(key_of(1)))
        self.assertEqual([], self.flushLoggedErrors())


class MigrationTests(PostgresBase, TestCase):
    """The schema is brought up to date, and takes its time."""

    timeout = 120

    def records(self, *steps: str) -> PostgresRecords:
        """Return what a daemon makes of the database that has further steps of its schema."""
        return PostgresRecords(_REACTOR, self.url, schema=schema_in(Path(self.mktemp()), SHIPPED, *steps))

    async def upgraded(self, *steps: str) -> tuple[list[PostgresRecords], list[str]]:
        """Let two daemons start at once that have further steps; returns their records, and what was logged."""
        await (await self.opened()).close()
        with capturedLogs() as logged:
            records = [self.records(*steps) for _ in range(2)]
            await together(*map(self.open, records))
        return records, [(formatEvent(event)).replace(self.records().name, "DATABASE") for event in logged]

    async def test_long(self):
        """A step may take longer than the server gives any other statement; who starts meanwhile waits for its end."""
        records, logged = await self.upgraded(f"SELECT pg_sleep({ANSWER + 1})")
        expected = [
            f"bringing the database DATABASE up to date: from version {LATEST} to version {LATEST + 1}",
            "waiting for another filedropd, which brings the database DATABASE up to date",
        ]
        self.assertCountEqual(expected, logged)
        for each in records:
            await each.insert(a_drop(1 + records.index(each)))

    async def test_limits(self):
        """Afterwards the limits are those that they always are, on the same connection."""
        ((records, _), _) = await self.upgraded("SELECT 1")
        (shown,) = await records._pool.run(lambda session: session.execute(LIMITS))
        self.assertEqual({"statement": f"{STATEMENT:.0f}s", "lock": f"{LOCK:.0f}s"}, shown)

    async def test_fails(self):
        """A step that fails leaves no trace."""
        await (await self.opened()).close()
        with self.assertRaises(StoreUnusable):
            await self.open(self.records("CREATE TABLE other (x TEXT)", "SELECT nothing"))
        self.assertEqual("t", postgresql().psql("SELECT to_regclass('other') IS NULL", self.database))


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
        with PostgreSQL() as server:
            records = PostgresRecords(_REACTOR, server.url())
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
                await sleep(_REACTOR, 0.05)
            self.assertEqual("once", await heard)
            self.assertEqual([], self.flushLoggedErrors())
            await records.close()

    async def test_away(self):
        """Closed while the server is away, it tries no more."""
        with PostgreSQL() as server:
            records = PostgresRecords(_REACTOR, server.url())
            await records.open()
            await records.listen(self.fail, self.fail)
            await deferToThread(server.stop)
            await records.close()
