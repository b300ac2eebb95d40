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
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from filedropd.claims.ledger import Ledger
from filedropd.errors import InsufficientStorage, Unavailable
from filedropd.interfaces import SchemaTooNew
from filedropd.model import ClaimState, Event, Reason, Touch
from filedropd.records import sql
from filedropd.records.migrations import load
from filedropd.records.sqlite import SQLiteRecords
from filedropd.records.sqlite_database import READ, WRITE, for_clients
from tests.contracts import records as contract
from tests.contracts.records_base import (
    NOW,
    SIZE,
    a_claim,
    a_drop,
    a_transfer,
    a_wish,
    arrived,
    asking,
    doing,
    ending,
    key_of,
)
from tests.contracts.records_sqlite import SQLiteBase, from_elsewhere

#: Statements that are refused: a bug is to be seen when it happens, and not when a copy too many is out.
REFUSED = [
    "UPDATE drops SET delivered = 2",
    "UPDATE drops SET delivered = 1, live = 1",
    "UPDATE drops SET live = -1",
    "UPDATE drops SET presumed = 1",
    "UPDATE drops SET reason = 'delivered'",
    "UPDATE drops SET state = 'gone'",
    "UPDATE drops SET state = 'gone', reason = 'delivered'",
    "UPDATE drops SET state = 'lost', reason = 'delivered', gone_at = 0",
    "UPDATE drops SET state = 'gone', reason = 'lost', gone_at = 0",
    "UPDATE drops SET key = zeroblob(31)",
    "UPDATE claims SET state = 'part'",
    "UPDATE claims SET state = 'lapsed'",
    "UPDATE claims SET ended_at = 0",
    "UPDATE claims SET recipient = zeroblob(31)",
    "UPDATE claims SET lapses = -1",
    "UPDATE transfers SET reserved = 0",
    "UPDATE transfers SET reserved = length + 1",
    "UPDATE transfers SET length = 0",
    "UPDATE transfers SET acknowledged = length + 1",
    "UPDATE transfers SET settled = 2",
]

#: What refers to nothing that is there.
DANGLING = [
    """INSERT INTO claims (id, "drop", number, copy, opened_at, state, sent, confirmed, until, lapses)
       VALUES ('c', zeroblob(32), 1, 0, 0, 'open', '', '', 0, 0)""",
    """INSERT INTO transfers (id, "drop", claim, first, length, reserved, acknowledged, settled)
       SELECT 't', key, 'c', 0, 1, 1, 0, 0 FROM drops""",
    """INSERT INTO transfers (id, "drop", claim, first, length, reserved, acknowledged, settled)
       SELECT 't', zeroblob(32), id, 0, 1, 1, 0, 0 FROM claims""",
    """INSERT INTO events ("drop", number, at, touch) VALUES (zeroblob(32), 1, 0, 'opened')""",
    "DELETE FROM claims",
    "DELETE FROM drops",
]

#: Every statement that is used while serving: not those of a start, nor those on the few daemons that there are.
SERVING = [
    *(
        sql.without_locks(statement)
        for name, statement in vars(sql).items()
        if isinstance(statement, str)
        and re.fullmatch("(?!.*(ROOM|VERSION|INTERRUPTED|DAEMON|NOTIFY|LISTEN))[A-Z_]+", name)
    ),
    *sql.FORGET,
]

#: Inserts drops until it is killed; prints the number of each that was acknowledged.
ENDLESS = """
import sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from filedropd.records.sqlite import SQLiteRecords
from tests.contracts.records_base import a_drop, a_wish, asking, key_of, together

async def one(records, number):
    await records.insert(a_drop(number))
    await records.change(key_of(number), asking(a_wish(str(number))))
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


class SQLiteRecordsTests(SQLiteBase, contract.RecordsContract, TestCase):
    """The contract, as it is in use."""

    # Each commit waits for the disk; the same is tried more often without.
    examples = 25


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
        """What hangs on nothing is refused, and so is to delete what something hangs on."""
        records = await self.open_at(self.a_path())
        await records.insert(a_drop())
        await records.change(key_of(1), asking(a_wish()))
        for statement in DANGLING:
            with self.assertRaisesRegex(sqlite3.IntegrityError, "FOREIGN KEY"):
                await self.query(records, statement)

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
        """The database itself refuses more copies than were allowed, and what no drop, claim or transfer is."""
        records = await self.open_at(self.a_path())
        await records.insert(a_drop())
        await records.change(key_of(1), asking(a_wish()))
        for statement in REFUSED:
            with self.assertRaisesRegex(sqlite3.IntegrityError, "CHECK", msg=statement):
                await self.query(records, statement)

    async def test_indexes(self):
        """No statement that is used while serving reads a whole table, or sorts."""
        records = await self.open_at(self.a_path())
        names = dict.fromkeys(re.findall(r":(\w+)", " ".join(SERVING)))
        for statement in SERVING:
            for line in await self.query(records, f"EXPLAIN QUERY PLAN {statement}", names):
                self.assertNotRegex(line["detail"], r"^SCAN|TEMP B-TREE", statement)


class RevisionTests(SQLiteBase, TestCase):
    """What is written of a drop is written once, whole, and as another revision."""

    async def revision(self, records: SQLiteRecords) -> int:
        """Return the revision of the one drop."""
        (row,) = await self.query(records, "SELECT revision FROM drops")
        return int(row["revision"])

    async def writes(self, records: SQLiteRecords) -> int:
        """Return how many rows were written since the database was opened."""
        connection = records._database._connection
        assert connection is not None
        assert records._pool is not None
        return await records._pool.run(lambda: connection.total_changes)

    async def test_nothing(self):
        """A rule that returns what it was given writes nothing at all."""
        records = await self.open_at(self.a_path())
        await records.insert(a_drop())
        before = (await self.revision(records), await self.writes(records))
        await records.change(key_of(1), doing(lambda ledger: ledger))
        await records.change(key_of(2), doing(lambda ledger: ledger))
        self.assertEqual(before, (await self.revision(records), await self.writes(records)))

    async def test_grows(self):
        """Whatever changes a drop makes another revision of it; nobody writes who has read an earlier one."""
        records = await self.open_at(self.a_path())
        await records.insert(a_drop())
        seen = [await self.revision(records)]
        for change in (
            records.change(key_of(1), asking(a_wish())),
            records.change(key_of(1), doing(lambda ledger: ledger.ended(Reason.EXPIRED, NOW))),
            records.purge_failed(key_of(1), NOW),
            records.purged(key_of(1), NOW),
        ):
            await change
            seen.append(await self.revision(records))
        self.assertEqual(sorted(set(seen)), seen)

    async def test_little(self):
        """Of what hangs on a drop only that is written which a rule changed."""
        records = await self.open_at(self.a_path())
        await records.insert(a_drop(downloads=9))
        for n in range(9):
            await records.change(key_of(1), asking(a_wish(f"{n}")))
        before = await self.writes(records)
        more = attrs.evolve(a_transfer("t4", "c4"), reserved=SIZE, acknowledged=1)
        await records.change(key_of(1), doing(lambda ledger: ledger.with_transfer(more)))
        self.assertEqual(2, await self.writes(records) - before)

    async def test_refused(self):
        """Where the database refuses a part of what a rule made, nothing of it is kept."""
        records = await self.open_at(self.a_path())
        await records.insert(a_drop(downloads=2))
        await records.change(key_of(1), asking(a_wish()))
        before = (await records.ledger(key_of(1)), await records.events(key_of(1)))
        same_number = a_claim("c2", number=1)
        with self.assertRaises(sqlite3.IntegrityError):
            await records.change(key_of(1), doing(lambda ledger: ledger.opened(same_number)))
        twice = Event(drop=key_of(1), number=1, at=NOW, touch=Touch.OPENED)
        with self.assertRaises(sqlite3.IntegrityError):
            await records.change(key_of(1), doing(lambda ledger: attrs.evolve(_suspended(ledger), events=(twice,))))
        self.assertEqual(before, (await records.ledger(key_of(1)), await records.events(key_of(1))))


def _suspended(ledger: Ledger) -> Ledger:
    return ledger.moved(ledger.claims[0], ClaimState.SUSPENDED, NOW)


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
        kept = {drop.key: drop for drop in await records.page(b"", 10**6)}
        self.assertGreaterEqual(len(acknowledged), 60)
        self.assertEqual([], [number for number in acknowledged if key_of(number) not in kept])
        self.assertEqual([1] * len(acknowledged), [kept[key_of(number)].live for number in acknowledged])

    async def test_whole_transactions(self):
        """A daemon killed in the middle of many writes leaves no claim uncounted, and none counted twice."""
        path = self.a_path()
        acknowledged = await deferToThread(killed_after, path, 60)
        records = await self.open_at(path)
        kept = await records.page(b"", 10**6)
        self.assertGreaterEqual(len(kept), len(acknowledged))
        for drop in kept:
            ledger = await records.ledger(drop.key)
            assert ledger is not None
            numbers = [drop.live, drop.opened, len(ledger.claims), len(ledger.transfers), drop.touches]
            self.assertIn(numbers, ([0] * 5, [1] * 5))
            self.assertEqual(drop.touches, len(await records.events(drop.key)))

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
        records._pool.run(free.wait, 30)
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
        records._pool.run(free.wait, 30)
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
            await records.change(key_of(1), asking(a_wish("c" * 2_000_000)))
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
            await records.insert(a_drop(number))
            await records.change(key_of(number), asking(a_wish(f"{number:032x}")))
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


class ClaimTests(SQLiteBase, TestCase):
    """Claims, in numbers."""

    async def test_many_parts(self):
        """A file that is fetched in 500 parts is one delivery, made by the last."""
        records = await self.open_at(self.a_path(), durable=False)
        await records.insert(a_drop(size=500))
        for n in range(500):
            self.assertEqual(0, (await self.found(records)).delivered)
            await records.change(key_of(1), asking(a_wish(f"{n}", n, 1, source="198.51.100.7\ncurl")))
            await records.change(key_of(1), ending(f"t{n}", arrived(1)))
        ledger = await self.ledger(records)
        self.assertEqual((1, 1, ()), (ledger.drop.delivered, len(ledger.claims), ledger.transfers))

    async def test_many_copies(self):
        """A drop with 1000 copies has as many claims, in order."""
        records = await self.open_at(self.a_path(), durable=False)
        await records.insert(a_drop(downloads=1000))
        claims = tuple(a_claim(f"{(n * 7919) % 1000}", number=n + 1) for n in range(1000))
        whole = doing(lambda ledger: attrs.evolve(ledger, drop=attrs.evolve(ledger.drop, opened=1000), claims=claims))
        await records.change(key_of(1), whole)
        self.assertEqual(claims, (await self.ledger(records)).claims)
