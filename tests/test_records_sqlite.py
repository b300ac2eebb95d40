"""Records in SQLite: what it promises beyond the contract."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, cast

import attrs
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from filedropd.deferreds import in_thread
from filedropd.errors import InsufficientStorage, Unavailable
from filedropd.interfaces import IRecords, SchemaTooNew, StoreUnusable
from filedropd.records import sql
from filedropd.records.migrations import SCHEMA, load
from filedropd.records.sqlite import SQLiteRecords
from filedropd.records.sqlite_database import READ, WRITE, for_clients
from tests.contracts import records as contract
from tests.contracts.records_base import EXPIRY, NOW, RecordsBase, a_claim, a_drop, key_of, settled

#: The names of the steps that are shipped.
SHIPPED = sorted(file.name for file in SCHEMA.iterdir() if file.name.endswith(".sql"))

#: Inserts drops until it is killed; prints the number of each that was acknowledged.
ENDLESS = """
import sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from filedropd.records.sqlite import SQLiteRecords
from tests.contracts.records_base import NOW, a_claim, a_drop, together

async def one(records, number):
    await records.insert(a_drop(number))
    await records.open_claim(a_claim(str(number), number=number), NOW)
    print(number, flush=True)

async def main():
    records = SQLiteRecords(reactor, Path(sys.argv[1]))
    await records.open()
    for start in range(0, 10**9, 8):
        await together(*(one(records, number) for number in range(start, start + 8)))

def failed(failure):
    failure.printTraceback(sys.stderr)
    reactor.stop()

reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()).addErrback(failed))
reactor.run()
"""


def killed_after(path: Path, acknowledged: int) -> list[int]:
    """Kill a daemon that writes to ``path`` once it has acknowledged so many; return all that it has."""
    command = [sys.executable, "-c", ENDLESS, str(path.absolute())]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as daemon:
        assert daemon.stdout is not None
        numbers = [int(daemon.stdout.readline()) for _ in range(acknowledged)]
        daemon.send_signal(signal.SIGKILL)
        # What was in the pipe was acknowledged, too; the last line may be cut.
        return numbers + [int(line) for line in daemon.stdout if line.endswith("\n")]


def from_elsewhere(path: Path, script: str) -> None:
    """Run ``script`` on the database as another program would."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(script)
    connection.close()


def mode_of(path: Path | str) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(os.stat(path).st_mode)


def threads_of_records() -> list[str]:
    """Return the names of the threads that records have running."""
    return [thread.name for thread in threading.enumerate() if "sqlite" in thread.name]


def held_files() -> list[str]:
    """Return the names of the files that this process has open."""
    folder = Path("/proc/self/fd")
    # The listing's own descriptor is closed by the time its name is asked for.
    return [os.readlink(entry) for entry in folder.iterdir() if entry.is_symlink()]


def sizes(records: SQLiteRecords) -> list[int]:
    """Return the bytes of the database's files."""
    path = records._database.path
    return [os.path.getsize(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")]


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
        return await in_thread(
            cast(IReactorFromThreads, reactor), pool, lambda: connection.execute(statement, values).fetchall()
        )

    async def refusal(self, records: SQLiteRecords) -> str:
        """Return the words with which ``records`` refuse to open."""
        with self.assertRaises(StoreUnusable) as caught:
            await self.open(records)
        return str(caught.exception)


class SQLiteRecordsTests(SQLiteBase, contract.RecordsContract, TestCase):
    """The contract, as it is in use."""


class ScratchSQLiteRecordsTests(SQLiteBase, contract.RecordsContract, TestCase):
    """The contract, with ``--durability none``."""

    durable = False


class SettingTests(SQLiteBase, TestCase):
    """What SQLite is told is in force."""

    async def test_durable(self):
        """Commits go to a write-ahead log and wait for the disk."""
        records = await self.open_at(self.a_path())
        self.assertEqual([{"journal_mode": "wal"}], await self.query(records, "PRAGMA journal_mode"))
        self.assertEqual([{"synchronous": 2}], await self.query(records, "PRAGMA synchronous"))

    async def test_scratch(self):
        """With durability off nothing waits for the disk."""
        records = await self.open_at(self.a_path(), durable=False)
        self.assertEqual([{"synchronous": 0}], await self.query(records, "PRAGMA synchronous"))

    async def test_foreign_keys(self):
        """A claim without a drop is refused."""
        records = await self.open_at(self.a_path())
        with self.assertRaisesRegex(sqlite3.IntegrityError, "FOREIGN KEY"):
            await self.query(
                records,
                """INSERT INTO claims (id, "drop", number, first, length, opened_at, state, acknowledged)
                   VALUES ('c', zeroblob(32), 1, 0, 1, 0, 'open', 0)""",
            )

    async def test_modes(self):
        """Database, log and lock are for the daemon's user alone, and so is a folder that is made."""
        path = self.a_path()
        self.addCleanup(os.umask, os.umask(0))
        await self.open_at(path)
        self.assertEqual(0o700, mode_of(path.parent))
        self.assertEqual([0o600] * 3, [mode_of(f"{path}{suffix}") for suffix in ("", "-wal", ".lock")])

    async def test_mode_kept(self):
        """The mode of a database that is there already is left as its operator set it."""
        path = self.a_path()
        await (await self.open_at(path)).close()
        path.chmod(0o640)
        await self.open_at(path)
        self.assertEqual(0o640, mode_of(path))

    async def test_constraints(self):
        """The database itself refuses more deliveries than were allowed."""
        records = await self.open_at(self.a_path())
        await records.insert(a_drop())
        with self.assertRaisesRegex(sqlite3.IntegrityError, "CHECK"):
            await self.query(records, "UPDATE drops SET delivered = 2")

    async def test_indexes(self):
        """No statement that is used while serving reads a whole table, or sorts."""
        records = await self.open_at(self.a_path())
        statements = [sql.FIND_DROP, sql.HAS_BLOB, sql.DUE, sql.NEXT_DUE, sql.END_DROP, sql.TAKE_COPY, sql.FREE_COPY]
        statements += [sql.CLAIMS, sql.OPEN_CLAIM, sql.LOCK_DROP_OF, sql.PARTS, sql.END_CLAIM, sql.FORGET_CLAIMS]
        names = dict.fromkeys(re.findall(r":(\w+)", " ".join(statements)))
        for statement in statements:
            for line in await self.query(records, f"EXPLAIN QUERY PLAN {statement}", names):
                self.assertNotRegex(line["detail"], r"^SCAN|TEMP B-TREE", statement)


class ExclusionTests(SQLiteBase, TestCase):
    """One daemon at a time."""

    async def test_second_daemon(self):
        """A second daemon is refused, and told which database and why; the first works on."""
        first = await self.open_at(self.a_path())
        said = await self.refusal(self.at(first._database.path))
        self.assertIn(str(first._database.path), said)
        self.assertIn("Another filedropd", said)
        await first.insert(a_drop())
        self.assertEqual(a_drop(), await first.find(key_of(1)))

    async def test_by_another_name(self):
        """A symbolic link to a database in use is the database in use."""
        first = await self.open_at(self.a_path())
        link = Path(self.mktemp())
        os.symlink(first._database.path, link)
        self.assertIn("Another filedropd", await self.refusal(self.at(link)))

    async def test_after_close(self):
        """When the first has closed, the one that was refused can open."""
        first = await self.open_at(self.a_path())
        second = self.at(first._database.path)
        await self.refusal(second)
        await first.close()
        await self.open(second)
        await second.ping()

    async def test_other_database(self):
        """Two databases are no business of each other, also in one folder."""
        first = await self.open_at(self.a_path())
        second = await self.open_at(first._database.path.with_name("other.db"))
        await first.insert(a_drop())
        self.assertIsNone(await second.find(key_of(1)))


class CrashTests(SQLiteBase, TestCase):
    """What was acknowledged is there, whatever happens to the daemon."""

    async def test_killed(self):
        """A daemon killed in the middle of many writes loses nothing that it acknowledged, and no lock stays."""
        path = self.a_path()
        acknowledged = await deferToThread(killed_after, path, 60)
        records = await self.open_at(path)
        kept = {drop.key: drop for drop in await records.due(EXPIRY, 10**6)}
        self.assertGreaterEqual(len(acknowledged), 60)
        self.assertEqual([], [number for number in acknowledged if key_of(number) not in kept])
        self.assertEqual([1] * len(acknowledged), [kept[key_of(number)].live for number in acknowledged])

    async def test_whole_transactions(self):
        """A daemon killed in the middle of many writes leaves no claim uncounted, and none counted twice."""
        path = self.a_path()
        acknowledged = await deferToThread(killed_after, path, 60)
        records = await self.open_at(path)
        kept = await records.due(EXPIRY, 10**6)
        self.assertGreaterEqual(len(kept), len(acknowledged))
        for drop in kept:
            self.assertEqual(drop.live, len(await records.claims(drop.key)))

    async def test_wait_cancelled(self):
        """Whoever stops waiting for a write does not stop the write."""
        records = await self.open_at(self.a_path())
        writing = Deferred.fromCoroutine(records.insert(a_drop()))
        writing.cancel()
        self.failureResultOf(writing, CancelledError)
        self.assertEqual(a_drop(), await records.find(key_of(1)))


class ThreadTests(SQLiteBase, TestCase):
    """The reactor never waits for the disk."""

    async def test_slow_disk(self):
        """While the database is busy the reactor turns, and what was asked is done afterwards."""
        records = await self.open_at(self.a_path())
        assert records._pool is not None
        free = threading.Event()
        records._pool.callInThread(free.wait, 30)
        writing = Deferred.fromCoroutine(records.insert(a_drop()))
        await deferLater(cast(Any, reactor), 0, lambda: None)
        self.assertNoResult(writing)
        free.set()
        await writing
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_close_with_queue(self):
        """Closing does not hold up the reactor, and takes what is waiting with it."""
        records = await self.open_at(self.a_path())
        assert records._pool is not None
        free = threading.Event()
        records._pool.callInThread(free.wait, 30)
        writing = Deferred.fromCoroutine(records.insert(a_drop()))
        closing = Deferred.fromCoroutine(records.close())
        await deferLater(cast(Any, reactor), 0, lambda: None)
        self.assertNoResult(closing)
        free.set()
        await closing
        self.assertIsNone(self.successResultOf(writing))

    async def test_no_thread_left(self):
        """Closing ends the thread."""
        records = await self.open_at(self.a_path())
        await records.close()
        self.assertEqual([], threads_of_records())

    async def test_no_thread_left_refused(self):
        """What cannot be opened holds no thread and no file."""
        path = self.a_path()
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no database" * 100)
        await self.refusal(self.at(path))
        self.assertEqual([], threads_of_records())
        self.assertEqual([], [name for name in held_files() if name.startswith(str(path.parent.absolute()))])


class FullDiskTests(SQLiteBase, TestCase):
    """A full disk is told as such, and leaves what was there."""

    async def full(self) -> SQLiteRecords:
        """Return records with one drop and no room for many more."""
        records = await self.open_at(self.a_path())
        await records.insert(a_drop())
        (pages,) = await self.query(records, "PRAGMA page_count")
        await self.query(records, f"PRAGMA max_page_count = {pages['page_count']}")
        return records

    async def test_full(self):
        """A drop that there is no room for is refused, nothing of it is kept, and the others are there."""
        records = await self.full()
        large = attrs.evolve(a_drop(2), name="n" * 2_000_000)
        with self.assertRaises(InsufficientStorage):
            await records.insert(large)
        self.assertIsNone(await records.find(large.key))
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_claim(self):
        """A claim that there is no room for takes no copy."""
        records = await self.full()
        with self.assertRaises(InsufficientStorage):
            await records.open_claim(a_claim("c" * 2_000_000), NOW)
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_room_again(self):
        """When there is room again all is well."""
        records = await self.full()
        large = attrs.evolve(a_drop(2), name="n" * 2_000_000)
        with self.assertRaises(InsufficientStorage):
            await records.insert(large)
        await self.query(records, "PRAGMA max_page_count = 100000")
        await records.insert(large)
        self.assertEqual(large, await records.find(large.key))

    async def test_room_in_advance(self):
        """Drops and claims by the hundred need no room that the database does not have from its start."""
        records = await self.open_at(self.a_path())
        before = sizes(records)
        for number in range(200):
            drop = a_drop(number)
            await records.insert(drop)
            await records.open_claim(attrs.evolve(a_claim(f"{number:032x}"), drop=drop.key), NOW)
        self.assertEqual(before, sizes(records))

    async def test_room_left_over(self):
        """A crash while room was made is no matter."""
        path = self.a_path()
        await (await self.open_at(path)).close()
        from_elsewhere(path, "CREATE TABLE room (bytes BLOB NOT NULL); INSERT INTO room VALUES (zeroblob(9999))")
        records = await self.open_at(path)
        self.assertEqual([], await self.query(records, "SELECT * FROM sqlite_master WHERE name = 'room'"))

    async def test_ping(self):
        """A database that cannot be written to says so."""
        records = await self.open_at(self.a_path())
        await records.ping()
        await self.query(records, "PRAGMA query_only = ON")
        with self.assertRaises(Unavailable):
            await records.ping()


class ErrorTests(SynchronousTestCase):
    """What SQLite says, and what a client is told."""

    def told(self, code, begin):
        error = sqlite3.OperationalError("as SQLite words it")
        error.sqlite_errorcode = code
        return type(for_clients(error, begin))

    def test_cannot_write(self):
        """A disk that fails while it is written is one without room; while it is read, one that is away."""
        self.assertIs(InsufficientStorage, self.told(sqlite3.SQLITE_IOERR_WRITE, WRITE))
        self.assertIs(Unavailable, self.told(sqlite3.SQLITE_IOERR_READ, READ))

    def test_away(self):
        """What is locked, or cannot be opened or written, may be there again later."""
        for code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_LOCKED):
            self.assertIs(Unavailable, self.told(code, WRITE))

    def test_bugs(self):
        """What is a bug, or damage, is for the log as it is."""
        for code in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT_CHECK, sqlite3.SQLITE_CORRUPT):
            self.assertIs(type(None), self.told(code, WRITE))
        self.assertIsNone(for_clients(sqlite3.ProgrammingError("of the module itself"), WRITE))


class LockedTests(SQLiteBase, TestCase):
    """Another program has the database's own lock."""

    async def test_locked(self):
        """While another program writes for too long, a write is not available; afterwards it is."""
        records = await self.open_at(self.a_path())
        await self.query(records, "PRAGMA busy_timeout = 0")
        other = sqlite3.connect(records._database.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        with self.assertRaises(Unavailable):
            await records.insert(a_drop())
        other.execute("ROLLBACK")
        await records.insert(a_drop())

    async def test_readers(self):
        """Another program that reads (a backup) is in nobody's way."""
        records = await self.open_at(self.a_path())
        await records.insert(a_drop(1))
        other = sqlite3.connect(records._database.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN").execute("SELECT * FROM drops").fetchall()
        await records.insert(a_drop(2))
        self.assertEqual(a_drop(2), await records.find(key_of(2)))


class UnusableTests(SQLiteBase, TestCase):
    """What cannot be used is left as it is, and the operator is told why."""

    async def test_no_database(self):
        """A file that is no database is refused, and not touched."""
        path = self.a_path()
        path.parent.mkdir(parents=True)
        path.write_bytes(b"minutes of the last meeting\n" * 100)
        self.assertIn("is not a SQLite database", await self.refusal(self.at(path)))
        self.assertEqual(b"minutes of the last meeting\n" * 100, path.read_bytes())

    async def test_damaged(self):
        """A database whose pages are damaged is refused."""
        path = self.a_path()
        await (await self.open_at(path)).close()
        content = bytearray(path.read_bytes())
        # Behind the file's own header of 100 bytes: the header of the page that lists the tables.
        content[100:116] = b"\xff" * 16
        path.write_bytes(content)
        self.assertIn("is damaged", await self.refusal(self.at(path)))

    async def test_foreign(self):
        """The database of another program is refused, and not touched."""
        path = self.a_path()
        path.parent.mkdir(parents=True)
        from_elsewhere(path, "CREATE TABLE bookmarks (url TEXT)")
        before = path.read_bytes()
        self.assertIn("belongs to another program", await self.refusal(self.at(path)))
        self.assertEqual(before, path.read_bytes())

    async def test_folder(self):
        """A path that is a folder is refused."""
        path = self.a_path()
        path.mkdir(parents=True)
        self.assertIn(f"{path.absolute()} cannot be opened", await self.refusal(self.at(path)))

    async def test_no_folder(self):
        """A path below something that is no folder is refused."""
        path = self.a_path()
        path.parent.parent.mkdir(parents=True)
        path.parent.write_bytes(b"")
        self.assertIn("cannot be opened", await self.refusal(self.at(path)))

    async def test_future(self):
        """A database of a later version is refused with both versions, and not touched."""
        path = self.a_path()
        await (await self.open_at(path)).close()
        from_elsewhere(path, "INSERT INTO schema_version VALUES (999)")
        before = path.read_bytes()
        with self.assertRaises(SchemaTooNew) as caught:
            await self.open_at(path)
        said = str(caught.exception)
        self.assertIn("version 999", said)
        self.assertIn(f"up to {len(load())}", said)
        self.assertIn("Start the filedropd that wrote it", said)
        self.assertEqual(before, path.read_bytes())


class MigrationTests(SQLiteBase, TestCase):
    """A database is at a version, never between two."""

    def schema(self, **steps: str) -> Path:
        """Return a schema: ours, and further steps."""
        folder = Path(self.mktemp())
        folder.mkdir()
        for file in SCHEMA.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        for name, script in steps.items():
            (folder / f"{name.removeprefix('step_')}.sql").write_text(script)
        return folder

    async def known(self, path: Path, schema: Path) -> tuple[list[str], int]:
        """Open and close the database, and return its tables and version."""
        records = await self.open_at(path, schema=schema)
        tables = await self.query(records, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        (version,) = await self.query(records, sql.VERSION)
        await records.close()
        return [row["name"] for row in tables], version["version"]

    async def test_new(self):
        """A new database has the latest version."""
        self.assertEqual(
            (["claims", "drops", "schema_version"], len(load())), await self.known(self.a_path(), self.schema())
        )

    async def test_upgrade(self):
        """A step that comes later is applied once, and what was kept is still there."""
        path = self.a_path()
        records = await self.open_at(path)
        await records.insert(a_drop())
        await records.close()
        later = self.schema(step_0002_more="ALTER TABLE drops ADD COLUMN more TEXT; CREATE TABLE other (x TEXT);")
        for _ in range(2):
            self.assertEqual((["claims", "drops", "other", "schema_version"], 2), await self.known(path, later))
        records = await self.open_at(path, schema=later)
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_half_way(self):
        """A step that fails in the middle leaves nothing behind, and the database as it was."""
        path = self.a_path()
        before = await self.known(path, self.schema())
        bad = self.schema(step_0002_bad="CREATE TABLE other (x TEXT); INSERT INTO nowhere VALUES (1);")
        self.assertIn("nowhere", await self.refusal(self.at(path, schema=bad)))
        self.assertEqual(before, await self.known(path, self.schema()))

    async def test_step_by_step(self):
        """Steps before one that fails stay: the next attempt goes on from there."""
        path = self.a_path()
        good, bad = "CREATE TABLE other (x TEXT);", "CREATE TABLE third (x TEXT); SELECT nothing;"
        await self.refusal(self.at(path, schema=self.schema(step_0002_good=good, step_0003_bad=bad)))
        tables = ["claims", "drops", "other", "schema_version"]
        self.assertEqual((tables, 2), await self.known(path, self.schema(step_0002_good=good)))

    async def test_first_fails(self):
        """If the very first step fails, the database stays empty, and can be used later."""
        path = self.a_path()
        schema = self.schema()
        (schema / SHIPPED[0]).write_text("CREATE TABLE drops (x TEXT); INSERT INTO nowhere VALUES (1);")
        await self.refusal(self.at(path, schema=schema))
        records = await self.open_at(path)
        await records.insert(a_drop())
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    def test_gap(self):
        """Steps with a gap in their numbers are a bug that is seen at once."""
        with self.assertRaisesRegex(ValueError, "0001 without a gap"):
            load(self.schema(step_0003_gap="SELECT 1;"))

    def test_released(self):
        """The steps that are shipped have no transaction of their own, which would end ours."""
        for step in load():
            self.assertNotRegex(step.script, r"(?im)^\s*(BEGIN|COMMIT|ROLLBACK|END)\b")


class ClaimTests(SQLiteBase, TestCase):
    """Claims, in numbers."""

    async def test_many_parts(self):
        """A file that is fetched in 500 parts is one delivery, made by the last."""
        records = await self.open_at(self.a_path(), durable=False)
        await records.insert(a_drop(size=500))
        for n in range(500):
            await records.open_claim(a_claim(f"c{n}", n, 1), NOW)
            drop = await records.end_claim(f"c{n}", settled(1), NOW)
            self.assertEqual(int(n == 499), drop and drop.delivered)
