"""Steps from one version of the schema to the next, and what the first version left, in the second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from filedropd.claims.asking import Granted, Over
from filedropd.claims.elapsing import due, elapsed
from filedropd.model import Claim, ClaimState, DropState, Reason
from filedropd.records import sql
from filedropd.records.migrations import SCHEMA, load
from filedropd.records.rows import drop_row
from filedropd.records.sqlite import SQLiteRecords
from tests.contracts.records_base import (
    EXPIRY,
    NOW,
    POLICY,
    SIZE,
    a_drop,
    a_wish,
    arrived,
    asking,
    doing,
    ending,
    key_of,
)
from tests.contracts.records_sqlite import SQLiteBase

#: The names of the steps that are shipped.
SHIPPED = sorted(file.name for file in SCHEMA.iterdir() if file.name.endswith(".sql"))

#: The version that a database has after them.
LATEST = len(SHIPPED)

#: What of a drop version 1 had no column for.
LATER = frozenset({"presumed", "touches", "sha256"})


def schema_in(folder: Path, shipped: list[str], *steps: str) -> Path:
    """Make ``folder`` a schema of those of our steps, and further ones."""
    folder.mkdir()
    for name in shipped:
        (folder / name).write_bytes((SCHEMA / name).read_bytes())
    for number, script in enumerate(steps, len(shipped) + 1):
        (folder / f"{number:04}_more.sql").write_text(script)
    return folder


class MigrationTests(SQLiteBase, TestCase):
    """A database is at a version, never between two."""

    tables = "claims", "daemons", "drops", "events", "schema_version", "transfers"

    def schema(self, *steps: str) -> Path:
        """Return a schema: ours, and further steps."""
        return schema_in(Path(self.mktemp()), SHIPPED, *steps)

    async def known(self, path: Path, schema: Path) -> tuple[list[str], int]:
        """Open and close the database, and return its tables and version."""
        records = await self.open_at(path, schema=schema)
        tables = await self.query(records, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        (version,) = await self.query(records, sql.VERSION)
        await records.close()
        return [row["name"] for row in tables], version["version"]

    async def test_new(self):
        """A new database has the latest version."""
        self.assertEqual(([*self.tables], LATEST), await self.known(self.a_path(), self.schema()))

    async def test_upgrade(self):
        """A step that comes later is applied once, and what was kept is still there."""
        path = self.a_path()
        records = await self.open_at(path)
        await records.insert(a_drop())
        await records.close()
        later = self.schema("ALTER TABLE drops ADD COLUMN more TEXT; CREATE TABLE other (x TEXT);")
        for _ in range(2):
            self.assertEqual((sorted([*self.tables, "other"]), LATEST + 1), await self.known(path, later))
        records = await self.open_at(path, schema=later)
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_logged(self):
        """The log says what is made or brought up to date, and from where to where; nothing where nothing is."""
        path = self.a_path()
        with capturedLogs() as logged:
            for schema in (self.schema(), self.schema(), self.schema("SELECT 1;", "SELECT 2;")):
                await self.known(path, schema)
        self.assertEqual(
            [
                f"making the tables of the database {path.absolute()}: version {LATEST}",
                f"bringing the database {path.absolute()} up to date: from version {LATEST} to version {LATEST + 2}",
            ],
            list(map(formatEvent, logged)),
        )

    async def test_half_way(self):
        """A step that fails in the middle leaves nothing behind, and the database as it was."""
        path = self.a_path()
        before = await self.known(path, self.schema())
        bad = self.schema("CREATE TABLE other (x TEXT); INSERT INTO nowhere VALUES (1);")
        self.assertIn("nowhere", await self.refusal(self.at(path, schema=bad)))
        self.assertEqual(before, await self.known(path, self.schema()))

    async def test_step_by_step(self):
        """Steps before one that fails stay: the next attempt goes on from there."""
        path = self.a_path()
        good, bad = "CREATE TABLE other (x TEXT);", "CREATE TABLE third (x TEXT); SELECT nothing;"
        await self.refusal(self.at(path, schema=self.schema(good, bad)))
        tables = sorted([*self.tables, "other"])
        self.assertEqual((tables, LATEST + 1), await self.known(path, self.schema(good)))

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
            load(schema_in(Path(self.mktemp()), SHIPPED[1:]))

    def test_released(self):
        """The steps that are shipped have no transaction of their own, which would end ours."""
        for step in load():
            self.assertNotRegex(step.script, r"(?im)^\s*(BEGIN|COMMIT|ROLLBACK|END)\b")


class DigestsTests(SQLiteBase, TestCase):
    """What a database has that was written before digests were kept."""

    async def test_before(self):
        """What was left before has none, and is a drop as any other; what is left from then on has one."""
        path = self.a_path()
        third = await self.open_at(path, schema=schema_in(Path(self.mktemp()), SHIPPED[:3]))
        row = drop_row(a_drop()) | {"revision": 7}
        columns, names = ", ".join(row.keys() - {"sha256"}), ", ".join(f":{name}" for name in row.keys() - {"sha256"})
        await self.query(third, f"INSERT INTO drops ({columns}) VALUES ({names})", row)
        await third.close()
        records = await self.open_at(path)
        later = attrs.evolve(a_drop(2), sha256=bytes(range(32)))
        await records.insert(later)
        self.assertEqual([a_drop(), later], await records.page(b"", 9))
        self.assertIsInstance(await records.change(key_of(1), asking(a_wish())), Granted)
        self.assertIsNone((await self.found(records)).sha256)


class FirstVersionTests(SQLiteBase, TestCase):
    """What a database of version 1 has means in version 2 what it meant there."""

    async def left(self, *rows: tuple[str, dict[str, Any]]) -> SQLiteRecords:
        """Return open records in a database that was written at version 1."""
        path = self.a_path()
        first = await self.open_at(path, schema=schema_in(Path(self.mktemp()), SHIPPED[:1]))
        for table, row in rows:
            columns, names = ", ".join(f'"{name}"' for name in row), ", ".join(f":{name}" for name in row)
            await self.query(first, f"INSERT INTO {table} ({columns}) VALUES ({names})", row)
        await first.close()
        return await self.open_at(path)

    async def claims(self, *rows: tuple[str, dict[str, Any]]) -> tuple[Claim, ...]:
        """Return what became of the claims."""
        return (await self.ledger(await self.left(*rows))).claims

    async def test_version(self):
        """It is brought to the latest version, and needs no step when it is opened again."""
        records = await self.left(old_drop())
        for _ in range(2):
            self.assertEqual([{"version": LATEST}], await self.query(records, sql.VERSION))
            path = records._database.path
            await records.close()
            records = await self.open_at(path)
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_available(self):
        """An available drop is as it was, and can be claimed and delivered."""
        records = await self.left(old_drop(password="$argon2id$", name="n\u00e4me"))
        self.assertEqual(attrs.evolve(a_drop(), password="$argon2id$", name="n\u00e4me"), await self.found(records))
        self.assertIsInstance(await records.change(key_of(1), asking(a_wish())), Granted)
        await records.change(key_of(1), ending("t1", arrived()))
        self.assertEqual(Reason.DELIVERED, (await self.found(records)).reason)

    async def test_gone(self):
        """A gone drop is gone for its reason, and its bytes can be deleted; a purged one is its tombstone."""
        gone: dict[str, Any] = {"gone_at": NOW, "due_at": NOW, "purge_attempts": 2}
        records = await self.left(
            old_drop(1, state="gone", reason="revoked", **gone),
            old_drop(2, state="purged", reason="expired", **gone),
        )
        for number, state, reason in ((1, DropState.GONE, Reason.REVOKED), (2, DropState.PURGED, Reason.EXPIRED)):
            expected = attrs.evolve(a_drop(number), state=state, reason=reason, **gone)
            self.assertEqual(expected, await self.found(records, number))
            self.assertTrue(expected.finished)
        self.assertEqual([key_of(1), key_of(2)], sorted(drop.key for drop in await records.take_due(NOW, 9, NOW)))

    async def test_gone_interrupted(self):
        """A gone drop whose last download was cut off is kept for nobody: nobody could be told from another."""
        records = await self.left(
            old_drop(state="gone", reason="expired", gone_at=NOW, due_at=NOW, live=1, opened=1), old_claim()
        )
        self.assertTrue((await self.found(records)).finished)
        await records.purged(key_of(1), NOW)
        await records.forget(key_of(1))
        self.assertIsNone(await records.find(key_of(1)))

    async def test_open(self):
        """A download that was cut off holds no copy, and all of it is presumed to have left."""
        records = await self.left(old_drop(live=1, opened=1), old_claim())
        self.assertEqual(attrs.evolve(a_drop(), opened=1), await self.found(records))
        (claim,) = (await self.ledger(records)).claims
        self.assertEqual(
            (ClaimState.LAPSED, (((0, SIZE),),), (), NOW + 3),
            (claim.state, claim.sent, claim.confirmed, claim.ended_at),
        )

    async def test_open_next(self):
        """Of a one-time drop whose download was cut off, nobody gets another copy: it counts as delivered."""
        records = await self.left(old_drop(live=1, opened=1), old_claim())
        self.assertEqual(Over(Reason.DELIVERED), await records.change(key_of(1), asking(a_wish())))
        drop = await self.found(records)
        self.assertEqual((DropState.GONE, Reason.DELIVERED), (drop.state, drop.reason))

    async def test_open_empty(self):
        """So it is with an empty file."""
        records = await self.left(old_drop(size=0, live=1, opened=1), old_claim(length=0))
        self.assertEqual(Over(Reason.DELIVERED), await records.change(key_of(1), asking(a_wish("1", 0, 1))))

    async def test_open_part(self):
        """Of a part that was cut off that part is presumed to have left; the rest is there for the next one."""
        records = await self.left(old_drop(live=1, opened=1), old_claim(first=10, length=20))
        self.assertEqual((((10, 30),),), (await self.ledger(records)).claims[0].sent)
        self.assertIsInstance(await records.change(key_of(1), asking(a_wish())), Granted)

    async def test_open_copies(self):
        """Of a drop with three copies, one delivered and one cut off, one is left."""
        records = await self.left(
            old_drop(downloads=3, delivered=1, live=1, opened=2),
            old_claim("old1", 1, state="delivered", acknowledged=SIZE, ended_at=NOW),
            old_claim("old2", 2),
        )
        self.assertEqual(1, await self.copies(records))

    async def test_part(self):
        """A part that arrived stays handed out, and confirmed; it holds no copy."""
        (claim,) = await self.claims(
            old_drop(opened=1), old_claim(first=10, length=20, state="part", acknowledged=20, ended_at=NOW + 9)
        )
        self.assertEqual((ClaimState.LAPSED, NOW + 9, 1), (claim.state, claim.ended_at, claim.number))
        self.assertEqual(((((10, 30),),), ((10, 30),)), (claim.sent, claim.confirmed))

    async def test_broken(self):
        """Of a download that broke off what was acknowledged stays handed out, and confirmed."""
        (claim,) = await self.claims(
            old_drop(opened=1), old_claim(first=10, length=20, state="broken", acknowledged=5, ended_at=NOW + 9)
        )
        self.assertEqual(ClaimState.LAPSED, claim.state)
        self.assertEqual(((((10, 15),),), ((10, 15),)), (claim.sent, claim.confirmed))

    async def test_broken_nothing(self):
        """Of one that broke off at once nothing was handed out."""
        (claim,) = await self.claims(old_drop(opened=1), old_claim(state="broken", ended_at=NOW))
        self.assertEqual(((), ()), (claim.sent, claim.confirmed))

    async def test_delivered(self):
        """A copy that was delivered stays one, whole: of two, one is left."""
        records = await self.left(
            old_drop(downloads=2, delivered=1, opened=1),
            old_claim(state="delivered", acknowledged=SIZE, ended_at=NOW + 9),
        )
        (claim,) = (await self.ledger(records)).claims
        self.assertEqual((ClaimState.DELIVERED, ((0, SIZE),)), (claim.state, claim.confirmed))
        self.assertEqual(1, await self.copies(records))

    async def test_delivered_in_parts(self):
        """A copy that was delivered in parts is one copy, and not as many as it had parts."""
        parts = [
            old_claim(f"old{n}", n, first=25 * n - 25, length=25, state="delivered", acknowledged=25, ended_at=NOW)
            for n in (1, 2, 3, 4)
        ]
        records = await self.left(old_drop(downloads=3, delivered=1, opened=4), *parts)
        (claim,) = (await self.ledger(records)).claims
        self.assertEqual((4, ((0, SIZE),)), (claim.number, claim.confirmed))
        self.assertEqual(2, await self.copies(records))

    async def test_delivered_both_ways(self):
        """A copy that was delivered in parts and one that was delivered whole are two."""
        done = {"state": "delivered", "ended_at": NOW}
        records = await self.left(
            old_drop(downloads=4, delivered=2, opened=3),
            old_claim("old1", 1, length=50, acknowledged=50, **done),
            old_claim("old2", 2, acknowledged=SIZE, **done),
            old_claim("old3", 3, first=50, length=50, acknowledged=50, **done),
        )
        self.assertEqual(2, await self.copies(records))

    async def copies(self, records: SQLiteRecords) -> int:
        """Return how many complete copies are handed out before the drop is closed as delivered."""
        for n in range(9):
            verdict = await records.change(key_of(1), asking(a_wish(f"next-{n}")))
            if not isinstance(verdict, Granted):
                self.assertEqual(Over(Reason.DELIVERED), verdict)
                return n
            await records.change(key_of(1), ending(f"tnext-{n}", arrived()))
        raise AssertionError("There is no end of copies.")

    async def test_time(self):
        """Time ends what is left as it ends everything: at its expiry the drop is gone, and nothing is kept."""
        records = await self.left(
            old_drop(downloads=3, delivered=1, live=1, opened=3),
            old_claim("old1", 1, state="delivered", acknowledged=SIZE, ended_at=NOW),
            old_claim("old2", 2, state="broken", acknowledged=7, ended_at=NOW),
            old_claim("old3", 3),
        )
        await records.change(key_of(1), doing(lambda ledger: due(elapsed(ledger, EXPIRY, POLICY), EXPIRY, POLICY)))
        drop = await self.found(records)
        self.assertEqual((Reason.EXPIRED, True, EXPIRY), (drop.reason, drop.finished, drop.due_at))

    async def test_references(self):
        """What hangs on a drop is held to it as in a database that was new at this version."""
        records = await self.left(old_drop(live=1, opened=1), old_claim())
        new = await self.open_at(self.a_path())
        tables = "SELECT name, type, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
        self.assertEqual(await self.query(new, tables), await self.query(records, tables))
        self.assertEqual([], await self.query(records, "PRAGMA foreign_key_check"))


def old_drop(number: int = 1, **columns: Any) -> tuple[str, dict[str, Any]]:
    """Return a row of version 1 as its INSERT wrote it, with what later statements made of it."""
    row = attrs.asdict(a_drop(number)) | {"state": "available"} | columns
    return "drops", {name: value for name, value in row.items() if name not in LATER}


def old_claim(id: str = "old1", number: int = 1, **columns: Any) -> tuple[str, dict[str, Any]]:  # noqa: A002 - its name
    """Return a row of version 1: a download of all that is under way, with what later statements made of it."""
    row = {"id": id, "drop": key_of(1), "number": number, "first": 0, "length": SIZE, "opened_at": NOW + 3}
    return "claims", row | {"state": "open", "acknowledged": 0, "ended_at": None} | columns
