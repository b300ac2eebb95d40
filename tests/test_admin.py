"""``filedropd-admin``: its coroutines on records in memory, on SQLite and PostgreSQL, and the command as a process."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from filedropd.admin import describing
from filedropd.admin.checking import Findings, look, repair
from filedropd.admin.copying import Copied, copy
from filedropd.admin.finding import find
from filedropd.admin.revoking import revoke
from filedropd.admin.stores import Files, Records, Refused, opened
from filedropd.config import PostgresURL, SQLiteURL
from filedropd.interfaces import IRecords, StoreUnusable
from filedropd.ledgers import Ledgers
from filedropd.model import Drop, DropState, Reason
from filedropd.records.migrations import load
from filedropd.testing import MemoryRecords
from filedropd.tokens import Token
from tests.contracts.records_base import (
    LINK,
    NOW,
    POLICY,
    SIZE,
    a_drop,
    a_wish,
    arrived,
    asking,
    broken,
    doing,
    ending,
    key_of,
)
from tests.servers import postgresql

_REACTOR: Any = reactor


async def in_memory(*drops: Drop) -> IRecords:
    """Return open records that hold ``drops``."""
    records: IRecords = MemoryRecords()
    await records.open()
    for drop in drops:
        await records.insert(drop)
    return records


def ledgers(records: IRecords) -> Ledgers:
    """Return what changes them at the time of the drops here."""
    return Ledgers(records, POLICY, lambda: NOW)


async def state_of(records: IRecords, number: int) -> tuple[DropState, Reason | None]:
    """Return where a drop that must be there stands, and why."""
    drop = await records.find(key_of(number))
    assert drop is not None
    return drop.state, drop.reason


def keep(root: Path, blob: str) -> Path:
    """Put bytes where the daemon keeps those that are published."""
    return put(root / "blobs" / blob[:2] / blob)


def put(path: Path) -> Path:
    """Make a file of a few bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"bytes")
    return path


class FindTests(TestCase):
    """Drops by their names."""

    async def test_link(self):
        """The hex digits of its link name a drop."""
        drop = attrs.evolve(a_drop(), key=LINK.key)
        self.assertEqual(drop, await find(await in_memory(a_drop(2), drop), LINK.text))

    async def test_short_key(self):
        """So do the eight digits that logs have, and all of its key."""
        drops = [attrs.evolve(a_drop(n), key=bytes([0, 0, 0, n]) + bytes(28)) for n in (0, 1, 2)]
        records = await in_memory(*drops)
        for drop in drops:
            self.assertEqual(drop, await find(records, drop.key[:4].hex()))
            self.assertEqual(drop, await find(records, drop.key.hex()))

    async def test_several(self):
        """What names two drops names none."""
        with self.assertRaisesRegex(Refused, "several"):
            await find(await in_memory(a_drop(1), a_drop(2)), "00000000")

    async def test_none(self):
        """What is not there, or is no name, is refused, and a link is not repeated."""
        records = await in_memory(a_drop())
        for name in (LINK.text, "ffffffff", "", "0000", "g" * 32, LINK.text.upper(), f"/{LINK.text}"):
            with self.assertRaises(Refused) as caught:
                await find(records, name)
            self.assertNotIn(LINK.text, str(caught.exception).lower())


class CheckTests(TestCase):
    """Rows without bytes, bytes without rows."""

    def setUp(self):
        self.root = Path(self.mktemp())
        (self.root / "blobs").mkdir(parents=True)
        self.files = Files(self.root)

    async def looked(self, records: IRecords) -> Findings:
        """Return what is found."""
        return await look(records, self.files)

    async def test_clean(self):
        """Where every drop has its bytes, nothing is wrong."""
        keep(self.root, a_drop().blob)
        self.assertEqual(Findings(1, 0, (), ()), await self.looked(await in_memory(a_drop())))

    async def test_found(self):
        """A drop without bytes is found, and bytes without a drop are."""
        keep(self.root, a_drop(1).blob)
        keep(self.root, a_drop(3).blob)
        found = await self.looked(await in_memory(a_drop(1), a_drop(2)))
        self.assertEqual(Findings(1, 0, (a_drop(2),), (a_drop(3).blob,)), found)

    async def test_arriving(self):
        """Bytes that are not published yet are not missing."""
        put(self.root / "incoming" / ("d" * 32) / a_drop().blob)
        self.assertEqual(Findings(0, 1, (), ()), await self.looked(await in_memory(a_drop())))

    async def test_finished(self):
        """What is gone for everybody needs no bytes; where it still has some, they are the reaper's."""
        records = await in_memory(a_drop(1), a_drop(2))
        for number in (1, 2):
            await revoke(ledgers(records), key_of(number))
        keep(self.root, a_drop(2).blob)
        self.assertEqual(Findings(1, 0, (), ()), await self.looked(records))

    async def test_purged(self):
        """Bytes that are still there although their deletion was noted belong to no drop."""
        records = await in_memory(a_drop())
        await revoke(ledgers(records), key_of(1))
        await records.purged(key_of(1), NOW)
        keep(self.root, a_drop().blob)
        self.assertEqual((a_drop().blob,), (await self.looked(records)).stray)

    async def test_others(self):
        """Files that are no blobs are left alone."""
        put(self.root / "blobs" / "00" / "README")
        put(self.root / "blobs" / "ff" / a_drop().blob)
        self.assertTrue((await self.looked(await in_memory())).clean)

    async def test_no_store(self):
        """A folder that holds no files is taken for a mistake, and not for the loss of all of them."""
        (self.root / "blobs").rmdir()
        with self.assertRaisesRegex(Refused, "--blobs"):
            await self.looked(await in_memory(a_drop()))

    async def test_repair(self):
        """Repairing revokes the one, deletes the other, and leaves the rest."""
        kept, stray = keep(self.root, a_drop(1).blob), keep(self.root, a_drop(3).blob)
        records = await in_memory(a_drop(1), a_drop(2))
        await repair(ledgers(records), self.files, await self.looked(records))
        self.assertEqual((DropState.GONE, Reason.REVOKED), await state_of(records, 2))
        self.assertEqual((DropState.AVAILABLE, None), await state_of(records, 1))
        self.assertEqual((True, False), (kept.exists(), stray.exists()))
        self.assertTrue((await self.looked(records)).clean)

    async def test_strangers(self):
        """Where nothing belongs together nothing is changed, unless it is insisted on."""
        stray = keep(self.root, a_drop(3).blob)
        records = await in_memory(a_drop(1))
        findings = await self.looked(records)
        with self.assertRaises(Refused):
            await repair(ledgers(records), self.files, findings)
        self.assertTrue(stray.exists())
        self.assertEqual((DropState.AVAILABLE, None), await state_of(records, 1))
        await repair(ledgers(records), self.files, findings, force=True)
        self.assertFalse(stray.exists())


class RevokeTests(TestCase):
    """Taking back."""

    async def test_revoke(self):
        """A drop is gone, and due to be deleted."""
        records = await in_memory(a_drop())
        self.assertTrue(await revoke(ledgers(records), key_of(1)))
        self.assertEqual((DropState.GONE, Reason.REVOKED), await state_of(records, 1))
        self.assertEqual([key_of(1)], [drop.key for drop in await records.take_due(NOW, 10, NOW)])

    async def test_twice(self):
        """What is gone already stays as it is."""
        records = await in_memory(a_drop())
        await revoke(ledgers(records), key_of(1))
        self.assertFalse(await revoke(ledgers(records), key_of(1)))


class DescribingTests(TestCase):
    """What is told of drops."""

    async def test_secrets(self):
        """Neither in words nor in JSON are there claims' ids, or what is stored of passwords and owners."""
        drop = attrs.evolve(a_drop(), password="$argon2id$stored", owner_key=b"\xab" * 32)
        records = await in_memory(drop)
        await records.change(drop.key, asking(a_wish("secret")))
        ledger = await records.ledger(drop.key)
        assert ledger is not None
        events = await records.events(drop.key)
        told = "\n".join(describing.whole(ledger, events)) + json.dumps(describing.whole_json(ledger, events))
        for secret in ("csecret", "tsecret", "argon2id", "ab" * 8):
            self.assertNotIn(secret, told)
        self.assertIn("claim 1: open", told)

    def test_terminal(self):
        """What a terminal would act on is not printed as it is."""
        self.assertNotIn("\x1b", describing.line(attrs.evolve(a_drop(), name="\x1b[2Jx")))


class OpeningTests(TestCase):
    """Which records are worked on."""

    async def test_missing(self):
        """A database that is not there is not made, but where it is to be."""
        path = Path(self.mktemp()) / "drops.db"
        with self.assertRaises(Refused):
            async with opened(_REACTOR, SQLiteURL(path)):
                pass
        self.assertFalse(path.exists())
        async with opened(_REACTOR, SQLiteURL(path), new=True):
            pass
        self.assertTrue(path.exists())

    async def test_in_use(self):
        """A SQLite database that somebody has is refused in words."""
        where = SQLiteURL(Path(self.mktemp()) / "drops.db")
        async with opened(_REACTOR, where, new=True):
            with self.assertRaisesRegex(StoreUnusable, "Another filedropd uses"):
                async with opened(_REACTOR, where):
                    pass


class CopyTests(TestCase):
    """From one database into another."""

    async def filled(self, stack: contextlib.AsyncExitStack) -> Records:
        """Return a SQLite database with a drop in each state, one of which a daemon's crash cut off."""
        records = await stack.enter_async_context(opened(_REACTOR, SQLiteURL(Path(self.mktemp()) / "a.db"), new=True))
        for number in range(1, 5):
            await records.insert(attrs.evolve(a_drop(number, downloads=2), name=f"файл {number} ' %s :x"))
        for number, outcome in ((1, None), (2, arrived()), (3, broken(SIZE // 2))):
            await records.change(key_of(number), asking(a_wish(f"{number}")))
            if outcome is not None:
                await records.change(key_of(number), ending(f"t{number}", outcome))
        await records.change(key_of(4), doing(lambda ledger: ledger.ended(Reason.EXPIRED, NOW)))
        await records.purged(key_of(4), NOW + 9)
        return records

    async def everything(self, records: Records) -> list[object]:
        """Return all that records hold."""
        drops = await records.page(b"", 100)
        return [(await records.ledger(drop.key), await records.events(drop.key)) for drop in drops]

    async def moved(self, stack: contextlib.AsyncExitStack, target: Records) -> Copied:
        """Copy to ``target`` and back into a database of its own; all three hold the same."""
        source = await self.filled(stack)
        copied = await copy(source, target, NOW)
        back = await stack.enter_async_context(opened(_REACTOR, SQLiteURL(Path(self.mktemp()) / "c.db"), new=True))
        await copy(target, back, NOW)
        before = await self.everything(source)
        self.assertEqual(4, len(before))
        self.assertEqual(before, await self.everything(target))
        self.assertEqual(before, await self.everything(back))
        return copied

    async def test_sqlite(self):
        """All is in the other database as it was, and is counted."""
        async with contextlib.AsyncExitStack() as stack:
            where = SQLiteURL(Path(self.mktemp()) / "b.db")
            target = await stack.enter_async_context(opened(_REACTOR, where, new=True))
            copied = await self.moved(stack, target)
            self.assertEqual((4, 3, 1), (copied.drops, copied.claims, copied.transfers))
            self.assertEqual([key_of(1)], await target.interrupted())

    async def test_postgres(self):
        """From SQLite to PostgreSQL and back nothing changes."""
        async with contextlib.AsyncExitStack() as stack:
            url = postgresql().url(stack.enter_context(postgresql().database()))
            target = await stack.enter_async_context(opened(_REACTOR, PostgresURL(url)))
            await self.moved(stack, target)

    async def test_not_empty(self):
        """What holds a drop is not copied to."""
        async with contextlib.AsyncExitStack() as stack:
            source, target = await self.filled(stack), await self.filled(stack)
            with self.assertRaisesRegex(Refused, "not empty"):
                await copy(source, target, NOW)

    async def test_at_work(self):
        """Nothing is copied while a daemon lives on either."""
        async with contextlib.AsyncExitStack() as stack:
            url = postgresql().url(stack.enter_context(postgresql().database()))
            one = await stack.enter_async_context(opened(_REACTOR, PostgresURL(url)))
            other = await stack.enter_async_context(opened(_REACTOR, SQLiteURL(Path(self.mktemp()) / "b"), new=True))
            await one.lease("a", NOW + 10)
            for source, target in ((one, other), (other, one)):
                with self.assertRaisesRegex(Refused, "at work"):
                    await copy(source, target, NOW)


class CommandTests(TestCase):
    """The command, as a process."""

    def setUp(self):
        self.folder = Path(self.mktemp()).absolute()

    def admin(self, *words: str, given: str = "") -> tuple[int, str, str]:
        """Return what the command ends with, and what it prints on either output."""
        done = subprocess.run(
            [sys.executable, "-m", "filedropd.admin", *words],
            env={"FILEDROPD_DATA_DIR": str(self.folder), "PYTHONPATH": str(Path(__file__).parent.parent)},
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    async def fill(self, *drops: Drop) -> None:
        """Let the data directory hold ``drops``, with their bytes."""
        async with opened(_REACTOR, SQLiteURL(self.folder / "drops.db"), new=True) as records:
            for drop in drops:
                await records.insert(drop)
                keep(self.folder, drop.blob)

    async def test_life(self):
        """A drop is listed, checked, shown, revoked by its link on the standard input, and is gone then."""
        far = 4e9
        link = Token("fedcba98" * 4)
        await self.fill(attrs.evolve(a_drop(), key=link.key, expires_at=far, due_at=far))
        status, listed, _ = self.admin("list", "--json", "--state", "available")
        self.assertEqual((0, [link.key.hex()]), (status, [drop["key"] for drop in json.loads(listed)]))
        status, checked, _ = self.admin("check")
        self.assertEqual((0, "1 drops have their files, 0 have none; 0 files belong to no drop.\n"), (status, checked))
        status, said, _ = self.admin("revoke", "-", given=f"{link.text}\n")
        self.assertEqual(0, status, said)
        status, shown, _ = self.admin("show", link.key.hex()[:8], "--json")
        self.assertEqual((0, "revoked"), (status, json.loads(shown)["reason"]))
        status, _, complaint = self.admin("revoke", link.text)
        self.assertEqual(1, status)
        self.assertIn("gone already", complaint)
        self.assertNotIn(link.text, listed + said + shown + complaint)

    async def test_migrate(self):
        """What it is at is said, since it may take a while; once the records are up to date, nothing is."""
        path = self.folder / "drops.db"
        made = f"filedropd-admin: making the tables of the database {path}: version {len(load())}\n"
        for expected in (made, ""):
            told = self.admin("migrate")
            self.assertEqual((0, f"The records in {path} are up to date.\n", expected), told)

    async def test_check(self):
        """What is wrong is status 1, and 0 once it is repaired."""
        await self.fill(a_drop(1))
        keep(self.folder, a_drop(3).blob)
        self.assertEqual([1, 0, 0], [self.admin("check", *more)[0] for more in ((), ("--repair",), ())])

    async def test_statuses(self):
        """A wrong command line is 2; what cannot be done is 1 and is said without a traceback."""
        self.assertEqual(2, self.admin("list", "--records", "nowhere:")[0])
        self.assertEqual(0, self.admin("migrate")[0])
        async with opened(_REACTOR, SQLiteURL(self.folder / "drops.db")):
            status, said, complaint = self.admin("list")
        self.assertEqual((1, ""), (status, said))
        self.assertIn("Another filedropd uses", complaint)
        self.assertNotIn("Traceback", complaint)
        copied = self.admin("copy-records", "sqlite:drops.db", "sqlite:new.db")
        self.assertEqual(0, copied[0], copied)
        self.assertIn("0 drops", copied[1])


class DocumentTests(TestCase):
    """What docs/admin.md has to be copied."""

    def setUp(self):
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.file = self.folder / "filedropd.toml"
        self.file.write_text('public_url = "https://files.example.org"\n')

    def commands(self, heading: str) -> list[str]:
        """Return the document's commands below a heading, each as one line, to be run here."""
        text = (Path(__file__).parents[1] / "docs" / "admin.md").read_text("utf-8")
        section = re.split(r"^## ", text.partition(f"\n{heading}\n")[2], flags=re.MULTILINE)[0]
        blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", section, re.MULTILINE | re.DOTALL)
        return [" ".join(block.replace("\\\n", " ").split()) for block in blocks]

    def run_here(self, command: str, database: str) -> tuple[int, str]:
        """Run a command as the document has it, but on our folder and database; returns how it ends and what it says."""
        for before, after in (
            ("runuser -u filedropd -- /opt/filedropd/bin/filedropd-admin", f"{sys.executable} -m filedropd.admin"),
            ("--config=/etc/filedropd.toml", f"--config={self.file}"),
            ("--data-dir=/var/lib/filedropd", f"--data-dir={self.folder}/data"),
        ):
            self.assertEqual(1, command.count(before), command)
            command = command.replace(before, after)
        command = command.replace("postgresql://filedropd@/filedropd?host=/run/postgresql", database)
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env={"PYTHONPATH": str(Path(__file__).parent.parent), "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout

    async def test_move(self):
        """Records move from SQLite to PostgreSQL as it says, and all files are found then."""
        async with opened(_REACTOR, SQLiteURL(self.folder / "data" / "drops.db"), new=True) as records:
            for number in (1, 2):
                await records.insert(a_drop(number))
                keep(self.folder / "data", a_drop(number).blob)
        copy_command, check_command = self.commands("## From SQLite to PostgreSQL")
        with contextlib.ExitStack() as stack:
            url = postgresql().url(stack.enter_context(postgresql().database()))
            status, said = self.run_here(copy_command, url)
            self.assertEqual(0, status, said)
            self.assertIn("2 drops", said)
            self.file.write_text(f'{self.file.read_text()}records = "{url}"\n')
            status, said = self.run_here(check_command, url)
            self.assertEqual((0, "2 drops have their files, 0 have none; 0 files belong to no drop.\n"), (status, said))
