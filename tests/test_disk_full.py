"""No room, at each step of an upload; and folders in which nothing can be kept."""

from __future__ import annotations

import errno
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.trial.unittest import SkipTest, TestCase

from filedropd.blobs.disk import DiskBlobs
from filedropd.blobs.system import SystemCalls
from filedropd.cache.memory import MemoryCache
from filedropd.claims.policy import Policy
from filedropd.delivery.stream import StreamDelivery
from filedropd.drops import Drops
from filedropd.http.server import HTTPFactory
from filedropd.ledgers import Ledgers
from filedropd.limiter import Limiter
from filedropd.metrics import Metrics
from filedropd.passwords import Passwords
from filedropd.peers import Peers
from filedropd.reaper import Reaper
from filedropd.records.sqlite import SQLiteRecords
from filedropd.records.sqlite_database import ROOM
from filedropd.testing import Response, Wire, request
from filedropd.transfers import Transfers
from filedropd.watching import Watches
from filedropd.web.api import API
from filedropd.web.operators import Operators
from filedropd.web.problems import refusal
from tests.api import FILE
from tests.daemon import Daemon
from tests.disk_full import SKIPPED, possible
from tests.support import RULES, PlainHash, at_once
from tests.test_daemon_life import DaemonLifeCase

CONTENT = b"content" * 100_000

T = TypeVar("T")


class FullAt:
    """A disk that is full at one step of what is asked of the system.

    :ivar step: a field of SystemCalls; ``None`` while there is room.
    :ivar passes: how often that step succeeds before.
    """

    def __init__(self) -> None:
        self.step: str | None = None
        self.passes = 0
        self.calls = SystemCalls(
            create=self._checked("create", os.open),
            write=self._checked("write", os.write),
            sync=self._checked("sync", os.fsync),
            rename=self._checked("rename", os.rename),
        )

    def _checked(self, step: str, call: Callable[..., T]) -> Callable[..., T]:
        def checked(*arguments: Any) -> T:
            if step == self.step:
                self.passes -= 1
                if self.passes < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*arguments)

        return checked


class StepTests(TestCase):
    """The disk is full at one step of an upload to the real stores."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        self.root = Path(self.mktemp())
        self.disk = FullAt()
        threads, clock = cast(IReactorFromThreads, reactor), cast(IReactorTime, reactor)
        self.records = SQLiteRecords(threads, self.root / "drops.db")
        await self.records.open()
        self.addCleanup(self.records.close)
        blobs = DiskBlobs(threads, self.root, calls=self.disk.calls)
        await blobs.open_store()
        self.addCleanup(blobs.close_store)
        ledgers, transfers = Ledgers(self.records, Policy(), time.time), Transfers()
        reaper = Reaper(
            records=self.records,
            ledgers=ledgers,
            blobs=blobs,
            transfers=transfers,
            clock=clock,
            now=time.time,
            metrics=Metrics(),
        )
        reaper.start()
        self.addCleanup(reaper.stop)
        watches = Watches()
        drops = Drops(
            records=self.records,
            watches=watches,
            peers=Peers(
                "", records=self.records, transfers=transfers, cache=MemoryCache(clock), watches=watches, clock=clock
            ),
            ledgers=ledgers,
            transfers=transfers,
            blobs=blobs,
            cache=MemoryCache(clock),
            delivery=StreamDelivery(),
            passwords=Passwords(threads, PlainHash()),
            reaper=reaper,
            limiter=Limiter(MemoryCache(clock), time.time),
            metrics=Metrics(),
            rules=RULES,
            clock=clock,
            now=time.time,
            randomness=secrets.token_bytes,
            aside=at_once,
        )
        self.addCleanup(drops.stop)
        api = API(drops, Operators(Metrics(), drops.ready), prefix="/api/v1.0", public_url=None)
        self.factory = HTTPFactory(api.resource(), clock, refusal=refusal)

    async def ask(self, method: str, target: str, body: bytes | None = None) -> Response:
        """Ask on a connection of its own, and return the answer."""
        wire = Wire(self.factory)
        wire.send(request(method, target, None, body))
        (answer,) = await wire.answers(1, method)
        wire.close()
        return answer

    async def upload(self) -> Response:
        """Leave a file."""
        return await self.ask("PUT", FILE, CONTENT)

    async def kept(self) -> str:
        """Leave a file, which must succeed; returns the path of its link."""
        answer = await self.upload()
        self.assertEqual(201, answer.status)
        return f"{FILE}/{answer.json()['id']}"

    def stored(self) -> list[Path]:
        """Return the files of all uploads, whole or not."""
        return sorted(path for path in self.root.glob("*/*/*") if path.is_file())

    async def available(self) -> int:
        """Return how many drops can be downloaded, as the records have it."""
        (row,) = await self.query("SELECT COUNT(*) AS count FROM drops WHERE state = 'available'")
        return int(row["count"])

    async def query(self, statement: str) -> list[dict[str, Any]]:
        """Execute ``statement`` on the connection that the records have open."""
        pool, connection = self.records._pool, self.records._database._connection
        assert pool is not None
        assert connection is not None
        return await pool.run(lambda: connection.execute(statement).fetchall())

    async def assert_refused(self, step: str, passes: int = 0) -> None:
        """An upload that fails at ``step`` is 507 and leaves nothing; others go on, then and later."""
        link = await self.kept()
        before = self.stored()
        self.disk.step, self.disk.passes = step, passes
        refused = await self.upload()
        self.assertEqual((507, "Insufficient Storage"), (refused.status, refused.json()["error"]))
        self.assertEqual((before, 1), (self.stored(), await self.available()))
        self.assertEqual((200, CONTENT), self.seen(await self.ask("GET", link)))
        self.disk.step = None
        self.assertEqual((200, CONTENT), self.seen(await self.ask("GET", await self.kept())))

    def seen(self, answer: Response) -> tuple[int, bytes]:
        """Return what a recipient sees."""
        return answer.status, answer.body

    async def test_open(self):
        """No room for a new file."""
        await self.assert_refused("create")

    async def test_write(self):
        """No room for the first bytes."""
        await self.assert_refused("write")

    async def test_write_on(self):
        """No room for more bytes."""
        await self.assert_refused("write", passes=1)

    async def test_sync(self):
        """The room turns out to be missing when the file is synced."""
        await self.assert_refused("sync")

    async def test_sync_folder(self):
        """No room for the file's name."""
        await self.assert_refused("sync", passes=1)

    async def test_rename(self):
        """No room for the name that it is to have, when its row is committed."""
        await self.assert_refused("rename")

    async def test_commit(self):
        """No room for its row."""
        link = await self.kept()
        await self.no_room_for_rows()
        status, count = 201, 0
        while status == 201:
            count += 1
            status = (await self.upload()).status
        self.assertEqual(507, status)
        self.assertEqual([count, count], [len(self.stored()), await self.available()])
        self.assertEqual((200, CONTENT), self.seen(await self.ask("GET", link)))
        await self.query("PRAGMA max_page_count = 1000000")
        await self.kept()

    async def no_room_for_rows(self) -> None:
        """Take the room that the database has, and let it grow no more."""
        await self.query("CREATE TABLE filler (bytes BLOB)")
        for pages in (ROOM // 2, *[2] * ROOM):
            (free,) = await self.query("PRAGMA freelist_count")
            if free["freelist_count"] < 2:
                break
            await self.query(f"INSERT INTO filler VALUES (zeroblob({pages * 4000}))")
        (now,) = await self.query("PRAGMA page_count")
        await self.query(f"PRAGMA max_page_count = {now['page_count']}")

    async def test_readiness(self):
        """What cannot take files says so, and says soon when it can again."""
        for step in ("create", "write", "sync"):
            self.disk.step, self.disk.passes = step, 0
            self.assertEqual(507, (await self.ask("GET", "/readyz")).status)
            self.disk.step = None
            self.assertEqual(200, (await self.ask("GET", "/readyz")).status)


class DiskTests(DaemonLifeCase):
    """A real daemon on a real disk that is full."""

    def test_full(self):
        """Uploads are 507 or 413 and leave nothing, downloads go on, and with room again all is well."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.disk_full", "--uploads", "30"],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == SKIPPED:
            raise SkipTest(done.stdout.strip())
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)


class RefusalTests(DaemonLifeCase):
    """A daemon that cannot keep anything in its folder does not start, and says why in one line."""

    def assert_refuses(self, daemon: Daemon, where: Path, why: str) -> None:
        """``daemon`` ends with status 1 and one line that names ``where`` and ``why``."""
        self.addCleanup(daemon.kill)
        daemon.spawn()
        self.assertEqual(1, daemon.wait(), daemon.log())
        said = [line for line in daemon.log().splitlines() if "cannot start: " in line]
        self.assertEqual(1, len(said), daemon.log())
        self.assertIn(str(where), said[0])
        self.assertIn(why, said[0])
        self.assertNotIn("Traceback", daemon.log())

    def test_file_in_its_place(self):
        """A file where the folder should be."""
        daemon = self.daemon()
        daemon.data.write_bytes(b"")
        self.assert_refuses(daemon, daemon.data, "it is a file, and no folder")

    def test_below_a_file(self):
        """A file where a folder above it should be."""
        daemon = self.daemon()
        daemon.data = self.folder / "file" / "data"
        (self.folder / "file").write_bytes(b"")
        self.assert_refuses(daemon, self.folder / "file", "it is a file, and no folder")

    def test_cannot_be_made(self):
        """A folder that is missing, where none can be made."""
        daemon = self.daemon()
        daemon.data = Path("/proc/filedropd")
        self.assert_refuses(daemon, daemon.data, os.strerror(errno.ENOENT))

    def test_not_writable(self):
        """A folder in which the daemon's user may not write."""
        daemon = Confined(self.folder)
        daemon.data.mkdir(0o555)
        self.assert_refuses(daemon, daemon.data, os.strerror(errno.EACCES))

    def test_read_only(self):
        """A file system that is mounted to be read."""
        daemon = ReadOnly(self.folder)
        daemon.data.mkdir()
        self.assert_refuses(daemon, daemon.data, os.strerror(errno.EROFS))

    def test_blobs_read_only(self):
        """The same of a folder for the bytes alone."""
        daemon = ReadOnly(self.folder, f"--data-dir={self.folder / 'other'}", f"--blobs=file:{self.folder / 'data'}")
        daemon.data.mkdir()
        self.assert_refuses(daemon, daemon.data, os.strerror(errno.EROFS))

    def test_another_daemon(self):
        """The folder of a daemon that runs: the second one does not start, the first one goes on."""
        first, second = self.daemon().start(), Daemon(Path(self.mktemp()).absolute())
        second.folder.mkdir(parents=True)
        second.data = first.data
        self.assert_refuses(second, first.data, "Another filedropd uses")
        self.assertTrue(first.running)


class Confined(Daemon):
    """A daemon for which modes hold, also when it is root's."""

    def _command(self) -> list[str]:
        # With an empty bounding set root has no capability, so that no mode is overridden.
        return [*(["setpriv", "--bounding-set=-all"] if os.geteuid() == 0 else []), *super()._command()]


class ReadOnly(Daemon):
    """A daemon whose ``data`` is on a file system that is mounted to be read."""

    def _command(self) -> list[str]:
        if not possible():
            raise SkipTest("this machine lets us make no mount namespace (unshare -Urm)")
        mount = 'mount -t tmpfs -o ro none "$0" && exec "$@"'
        return ["unshare", "-Urm", "sh", "-c", mount, str(self.data), *super()._command()]
