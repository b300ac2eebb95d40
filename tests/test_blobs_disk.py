"""Blobs on a disk: what the contract cannot say of every store."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, cast

import attrs
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

import filedropd
from filedropd.blobs import pages, system
from filedropd.blobs.batches import Batches
from filedropd.blobs.disk import DiskBlobs, DiskIncomingBlob
from filedropd.blobs.folders import sync_folder
from filedropd.blobs.incoming import WRITE_BACK, IncomingFile
from filedropd.blobs.journal import Journal
from filedropd.blobs.locking import LockedFolder
from filedropd.blobs.space import MOST_UNSEEN, NEW_FILE, Space
from filedropd.blobs.stored import DiskBlob
from filedropd.blobs.system import UNSYNCED, SystemCalls, splice
from filedropd.blobs.threads import THREADS, DiskThreads
from filedropd.deferreds import background
from filedropd.errors import InsufficientStorage, Unavailable
from filedropd.interfaces import IBlobs, StoreUnusable
from filedropd.tokens import random_name
from tests.contracts.blobs import ABSENT, PIECE, BlobsContract, collected, content, fetched, kept, sealed

reactor = cast(IReactorFromThreads, global_reactor)


def descriptors(*, first: bool = False) -> int:
    """How many descriptors this process has open.

    :param first: others are going to be compared with this: what earlier tests left is not to vanish in between.
    """
    if first:
        gc.collect()
    return len(os.listdir("/proc/self/fd"))


def names_under(folder: Path) -> list[str]:
    """Return the names of all files under ``folder``."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def killed(store: DiskBlobs) -> None:
    """Let go of ``store``'s locks, as the kernel does for a process that is killed."""
    journal = store._journal
    assert journal._own is not None
    journal._own.release()
    journal._own = None
    for folder in set(journal._left.values()):
        folder.release()
    journal._left.clear()


BLOCK = 4096
#: Bytes of a disk, and of those that are to stay free.
DISK = 100 * 2**20
RESERVE = 2**20


@attrs.define
class FakeDisk:
    """A disk that says what a test wants.

    :ivar free: bytes.
    :ivar asked: how often it was asked.
    """

    free: int = DISK
    size: int = DISK
    asked: int = 0

    def statvfs(self, path: Path) -> os.statvfs_result:
        self.asked += 1
        blocks, free = self.size // BLOCK, self.free // BLOCK
        # What only root may use is free, and not available.
        return os.statvfs_result((BLOCK, BLOCK, blocks, free + 1000, free, 0, 0, 0, 0, 255))


class DiskTestCase(TestCase):
    """A test with a folder of its own."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp())

    async def opened(self, root: Path | None = None, **options: Any) -> DiskBlobs:
        """Return an open store, which is closed when the test ends."""
        store = DiskBlobs(reactor, root or self.root, **options)
        await store.open_store()
        self.addCleanup(store.close_store)
        return store

    @contextmanager
    def busy_threads(self, store: DiskBlobs) -> Any:
        """Keep every thread of ``store`` busy: what is asked of the disk in here starts after it."""
        free = threading.Event()
        for _ in range(THREADS):
            background(cast(Any, store._threads.run(free.wait)), "keeping a thread busy")
        try:
            yield
        finally:
            free.set()


class DiskBlobsTests(BlobsContract, DiskTestCase):
    """The contract, on a disk."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = FakeDisk()

    async def make_store(self) -> IBlobs:
        return await self.opened(reserve=RESERVE, calls=SystemCalls(statvfs=self.disk.statvfs))

    async def crash(self, store: IBlobs) -> IBlobs:
        assert isinstance(store, DiskBlobs)
        killed(store)
        return await self.opened()

    def fill(self, store: IBlobs) -> None:
        self.disk.free = RESERVE

    def make_room(self, store: IBlobs) -> None:
        self.disk.free = DISK


class LayoutTests(DiskTestCase):
    """Where things are, for nginx and for whoever looks after the disk."""

    async def test_incoming(self):
        """An upload in flight is in the folder of its daemon."""
        store = await self.opened()
        incoming = await store.receive()
        (daemon,) = (self.root / "incoming").iterdir()
        self.assertRegex(daemon.name, r"\A[0-9a-f]{32}\Z")
        self.assertEqual([daemon / incoming.blob], list(daemon.iterdir()))
        await incoming.discard()

    async def test_published(self):
        """A published blob is in the folder of its first two digits, and there alone."""
        store = await self.opened()
        name = await kept(store, b"bytes")
        self.assertEqual(b"bytes", (self.root / "blobs" / name[:2] / name).read_bytes())
        self.assertEqual([name], names_under(self.root))

    async def test_modes(self):
        """The owner writes, the group reads, nobody else sees anything."""
        self.addCleanup(os.umask, os.umask(0))
        store = await self.opened()
        name = await kept(store, b"bytes")
        path = self.root / "blobs" / name[:2] / name
        folders = [self.root, self.root / "incoming", *(self.root / "incoming").iterdir(), *path.parents[:2]]
        self.assertEqual({0o750}, {folder.stat().st_mode & 0o7777 for folder in folders})
        self.assertEqual(0o640, path.stat().st_mode & 0o7777)

    async def test_umask(self):
        """Who wants less says so with the umask."""
        self.addCleanup(os.umask, os.umask(0o077))
        store = await self.opened()
        name = await kept(store, b"bytes")
        self.assertEqual(0o600, (self.root / "blobs" / name[:2] / name).stat().st_mode & 0o7777)

    async def test_close_leaves_no_folder(self):
        """A store that is closed takes its folder in ``incoming`` with it."""
        store = await self.opened()
        await store.close_store()
        self.assertEqual([], list((self.root / "incoming").iterdir()))

    async def test_canary(self):
        """Nothing that was discarded, abandoned or deleted can be found on the disk."""
        store = await self.opened()
        canary = b"canary " + os.urandom(16)
        await (await sealed(store, canary)).discard()
        left = await sealed(store, canary)
        await store.delete(await kept(store, canary))
        killed(store)
        successor = await self.opened()
        for blob in (await successor.unfinished()).blobs:
            await successor.abandon(blob)
        self.assertNotIn(left.blob, names_under(self.root))
        self.assertEqual([], [path for path in self.root.rglob("*") if path.is_file() and canary in path.read_bytes()])


class UnusableTests(DiskTestCase):
    """A folder that cannot be used is refused in words."""

    async def test_not_a_folder(self):
        """A file in the folder's place: the text names it, says why and what to do."""
        self.root.write_bytes(b"")
        with self.assertRaisesRegex(StoreUnusable, rf"{self.root}.*(exists|[Nn]ot a directory).*--blobs"):
            await DiskBlobs(reactor, self.root).open_store()

    async def test_no_thread_left(self):
        """A store that cannot be opened leaves no thread behind, and can be closed."""
        self.root.write_bytes(b"")
        store = DiskBlobs(reactor, self.root)
        with contextlib.suppress(StoreUnusable):
            await store.open_store()
        await store.close_store()
        self.assertEqual([], [thread.name for thread in threading.enumerate() if "blobs" in thread.name])

    async def test_two_file_systems(self):
        """``incoming`` and ``blobs`` on two file systems: nothing could be published."""
        (self.root / "incoming").mkdir(parents=True)
        output = await in_namespace(f"mount -t tmpfs none {self.root}/incoming", OPEN, self.root)
        self.assertIn("on different file systems", output)

    async def test_made_with_parents(self):
        """The folder is made where it is missing, with those above it."""
        store = await self.opened(self.root / "some" / "where")
        self.assertEqual(b"bytes", await fetched(store, await kept(store, b"bytes")))

    async def test_closed(self):
        """A store that is closed says that it is, and that this passes."""
        store = await self.opened()
        name = await kept(store, b"bytes")
        await store.close_store()
        for work in (store.receive(), store.open(name), store.delete(name), store.ping(), store.unfinished()):
            with self.assertRaises(Unavailable):
                await cast(Any, work)

    async def test_folder_taken_away(self):
        """When somebody deletes the folder under a running daemon, ``ping`` tells."""
        store = await self.opened()
        (own,) = (self.root / "incoming").iterdir()
        own.rmdir()
        with self.assertRaises(Unavailable) as raised:
            await store.ping()
        self.assertNotIn(str(self.root), raised.exception.detail)


class RecoveryTests(DiskTestCase):
    """What becomes of what a daemon leaves."""

    async def test_live(self):
        """The uploads of a daemon that lives are not touched by another on the same folder."""
        one, other = await self.opened(), await self.opened()
        incoming = await sealed(one, b"bytes")
        self.assertEqual((), (await other.unfinished()).blobs)
        await incoming.publish()
        self.assertEqual(b"bytes", await fetched(other, incoming.blob))

    async def test_one_recovers(self):
        """What one daemon recovers another does not see, until the first gives up."""
        dead = await self.opened()
        blob = (await sealed(dead, b"bytes")).blob
        one, other = await self.opened(), await self.opened()
        killed(dead)
        self.assertEqual((blob,), (await one.unfinished()).blobs)
        self.assertEqual((), (await other.unfinished()).blobs)
        await one.close_store()
        self.assertEqual((blob,), (await other.unfinished()).blobs)

    async def test_folder_goes(self):
        """A dead daemon's folder is removed with the last of what it left."""
        dead = await self.opened()
        first, second = await sealed(dead, b"first"), await sealed(dead, b"second")
        killed(dead)
        store = await self.opened()
        await store.unfinished()
        await store.finish(first.blob)
        self.assertEqual(2, len(list((self.root / "incoming").iterdir())))
        await store.abandon(second.blob)
        self.assertEqual(1, len(list((self.root / "incoming").iterdir())))

    async def test_empty_folder_goes(self):
        """A dead daemon that left nothing but its folder leaves nothing."""
        killed(await self.opened())
        store = await self.opened()
        self.assertEqual((), (await store.unfinished()).blobs)
        self.assertEqual(1, len(list((self.root / "incoming").iterdir())))

    async def test_strangers(self):
        """What is not ours in ``incoming`` stays as it is, and the log says so."""
        dead = await self.opened()
        (own,) = (self.root / "incoming").iterdir()
        killed(dead)
        strangers = [own / "README", self.root / "incoming" / "lost+found", self.root / "incoming" / ABSENT]
        for stranger in strangers:
            stranger.write_bytes(b"")
        store = await self.opened()
        with capturedLogs() as events:
            self.assertEqual((), (await store.unfinished()).blobs)
        self.assertTrue(all(stranger.exists() for stranger in strangers))
        warned = {str(event["path"]) for event in events if event["log_level"] is LogLevel.warn}
        self.assertEqual({str(own), *map(str, strangers[1:])}, warned)

    async def test_two_links(self):
        """A file that is both in flight and published, as two names of one, ends under the published one."""
        dead = await self.opened()
        incoming = await sealed(dead, b"bytes")
        target = self.root / "blobs" / incoming.blob[:2] / incoming.blob
        target.parent.mkdir()
        os.link(cast(DiskIncomingBlob, incoming)._file.path, target)
        killed(dead)
        store = await self.opened()
        await store.unfinished()
        await store.finish(incoming.blob)
        self.assertEqual([target], list(self.root.rglob(incoming.blob)))
        self.assertEqual((), (await store.unfinished()).blobs)

    async def test_sigkill(self):
        """A daemon killed between seal and publish leaves a whole file that the next one finishes."""
        blob = await deferToThread(self.kill_after_seal)
        store = await self.opened()
        self.assertEqual((blob,), (await store.unfinished()).blobs)
        await store.finish(blob)
        self.assertEqual(content(PIECE + 1), await fetched(store, blob))

    def kill_after_seal(self) -> str:
        """Return the name of what a daemon had sealed when it was killed."""
        with child([sys.executable, "-c", SEAL_AND_HANG, str(self.root)]) as process:
            assert process.stdout is not None
            blob = process.stdout.readline().strip()
            process.send_signal(signal.SIGKILL)
        return str(blob)

    async def test_new_folder_beside_a_cleaner(self):
        """However fast others clean up, a daemon that opens has a folder that is there and locked."""
        done = threading.Event()
        cleaners = [deferToThread(self.clean, done) for _ in range(2)]
        lost = await deferToThread(self.open_often, 300)
        done.set()
        for cleaner in cleaners:
            await cleaner
        self.assertEqual([], lost)

    def clean(self, done: threading.Event) -> None:
        """Recover over and over, as many daemons would."""
        journal = Journal(self.root, UNSYNCED, os.urandom)
        journal.open()
        while not done.is_set():
            journal.unfinished()
        journal.close()

    def open_often(self, times: int) -> list[str]:
        """Open that many journals; return what went wrong."""
        lost = []
        for _ in range(times):
            journal = Journal(self.root, UNSYNCED, os.urandom)
            journal.open()
            try:
                journal.try_out()
            except OSError as error:
                lost.append(str(error))
            journal.close()
        return lost


class LockTests(SynchronousTestCase):
    """The lock by which a dead daemon is told from a living one."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.mkdir()

    def test_held(self) -> None:
        """A folder is locked once."""
        folder = LockedFolder.take(self.path)
        assert folder is not None
        self.assertIsNone(LockedFolder.take(self.path))
        folder.release()

    def test_released(self) -> None:
        """A lock that was given back can be had again."""
        for _ in range(2):
            folder = LockedFolder.take(self.path)
            assert folder is not None
            folder.release()

    def test_absent(self) -> None:
        """A folder that is gone cannot be locked, and costs no descriptor."""
        self.path.rmdir()
        before = descriptors(first=True)
        self.assertIsNone(LockedFolder.take(self.path))
        self.assertEqual(before, descriptors())

    def test_link(self) -> None:
        """A symbolic link is no daemon's folder."""
        link = self.path / "link"
        link.symlink_to(self.path.absolute())
        with self.assertRaises(OSError):
            LockedFolder.take(link)

    def test_crowded(self) -> None:
        """When no new folder can be had, the journal says so and does not try for ever."""
        journal = Journal(self.path, UNSYNCED, bytes)
        journal.open()
        with self.assertRaises(StoreUnusable):
            Journal(self.path, UNSYNCED, bytes).open()
        journal.close()


class SyncTests(SynchronousTestCase):
    """What is synced, and before what."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.synced: list[Path] = []
        self.journal = Journal(self.root, SystemCalls(sync=self.sync), os.urandom)

    def sync(self, fd: int) -> None:
        """Note what would be synced."""
        self.synced.append(Path(f"/proc/self/fd/{fd}").readlink())

    def test_open(self) -> None:
        """An opened journal's folders are durable, with every folder above them that is new."""
        self.journal.open()
        self.addCleanup(self.journal.close)
        self.assertEqual({self.root / "incoming", self.root, self.root.parent}, set(self.synced))

    def test_seal(self) -> None:
        """A sealed file is synced, and its folder when it is asked for."""
        self.journal.open()
        self.addCleanup(self.journal.close)
        file = self.journal.new_file()
        file.create()
        self.synced.clear()
        file.seal()
        self.assertEqual([None], self.journal.sync([file.path.parent]))
        self.assertEqual([file.path, file.path.parent], self.synced)

    def test_delete(self) -> None:
        """A power cut does not bring back what was deleted, also when the first attempt broke off."""
        self.journal.open()
        self.addCleanup(self.journal.close)
        path = self.journal.published(ABSENT)
        path.parent.mkdir()
        path.write_bytes(b"")
        self.synced.clear()
        self.journal.delete_all([ABSENT])
        self.journal.delete_all([ABSENT])
        self.assertEqual([path.parent, path.parent], self.synced)

    def test_randomness(self) -> None:
        """Names come from the randomness that was given."""
        journal = Journal(self.root, UNSYNCED, lambda n: b"\xab" * n)
        journal.open()
        self.addCleanup(journal.close)
        self.assertEqual(self.root / "incoming" / ("ab" * 16) / ("ab" * 16), journal.new_file().path)


class SystemTests(SynchronousTestCase):
    """What is asked of the system, where it does not do all of it."""

    def test_no_splice(self):
        """To a file that takes nothing from a pipe it is copied."""
        size = 600_000
        pipe, entry = os.pipe2(os.O_NONBLOCK)
        self.addCleanup(os.close, pipe)
        self.addCleanup(os.close, entry)
        fcntl.fcntl(entry, fcntl.F_SETPIPE_SZ, 2**20)
        os.write(entry, content(size))
        path = Path(self.mktemp())
        # The kernel splices to no file that is open for appending.
        with path.open("ab", buffering=0) as file:
            while size:
                size -= splice(pipe, file.fileno(), size)
            self.assertRaises(BlockingIOError, splice, pipe, file.fileno(), 1)
        self.assertEqual(content(600_000), path.read_bytes())

    def test_write_back(self):
        """The disk is told to begin with each eight megabytes, once, however they came; not without durability."""
        told: list[tuple[int, int]] = []
        calls = SystemCalls(write_back=lambda _, first, length: told.append((first, length)))
        for number, kind in enumerate((calls, calls.unsynced())):
            file = IncomingFile(Path(self.mktemp()), kind, Space(Path(), 0, os.statvfs))
            file.create()
            for _ in range(5):
                file.write(bytes(WRITE_BACK // 2))
            file.discard()
            self.assertEqual([(0, WRITE_BACK), (WRITE_BACK, WRITE_BACK)], told, number)

    def test_write_back_is_not_needed(self):
        """Where the disk cannot be told, nothing is wrong."""
        self.patch(system, "_write_back", None)
        system.write_back(-1, 0, 1)


@attrs.define
class FailingSync:
    """A disk that fails the first sync and says well done to the next, as Linux does."""

    errno: int
    calls: int = 0

    def __call__(self, fd: int) -> None:
        self.calls += 1
        if self.calls == 1:
            raise OSError(self.errno, "the disk said no")


def attempted(call: Callable[..., None], *args: Any) -> OSError | None:
    """Return what a call failed with, if it did."""
    try:
        call(*args)
    except OSError as error:
        return error
    return None


class FailureTests(DiskTestCase):
    """What a client is told when the disk does not do as it is asked."""

    async def upload(self, sync: Callable[[int], None]) -> DiskIncomingBlob:
        """Return an upload whose file is synced by ``sync``."""
        store = await self.opened()
        path = self.root / "incoming" / random_name()
        incoming = DiskIncomingBlob(
            store._threads,
            IncomingFile(path, SystemCalls(sync=sync), Space(path, 0, os.statvfs)),
            self.root / path.name,
            Batches(store._threads, lambda folders: [attempted(sync_folder, folder, sync) for folder in folders]),
        )
        await incoming.create()
        self.addCleanup(incoming.discard)
        return incoming

    async def test_full_at_sync(self):
        """Room that turns out to be missing at the sync is missing room."""
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            incoming = await self.upload(FailingSync(number))
            with self.assertRaises(InsufficientStorage):
                await incoming.seal()

    async def test_broken_sync(self):
        """A disk that fails is our matter: the client hears no more than that, the log hears all."""
        incoming = await self.upload(FailingSync(errno.EIO))
        with capturedLogs() as events, self.assertRaises(Unavailable) as raised:
            await incoming.seal()
        self.assertNotIn("disk said no", raised.exception.detail)
        self.assertIn("disk said no", "".join(str(event.get("reason")) for event in events))

    async def test_no_second_sync(self):
        """A sync that failed is never tried again: the upload has failed."""
        sync = FailingSync(errno.EIO)
        incoming = await self.upload(sync)
        for step in (incoming.seal, incoming.seal, incoming.publish):
            with self.assertRaises(Unavailable):
                await step()
        self.assertEqual(1, sync.calls)

    async def test_discard_after_failure(self):
        """A failed upload can be discarded, and leaves neither a file nor a descriptor."""
        before = None
        incoming = await self.upload(FailingSync(errno.EIO))
        before = descriptors(first=True)
        with self.assertRaises(Unavailable):
            await incoming.seal()
        await incoming.discard()
        self.assertEqual(before - 1, descriptors())
        self.assertEqual([], names_under(self.root))

    async def test_threads(self):
        """The disk is waited for on a thread, never on the reactor's."""
        seen: list[int] = []
        incoming = await self.upload(lambda _: seen.append(threading.get_ident()))
        await incoming.seal()
        self.assertEqual(2, len(seen))
        self.assertNotIn(threading.get_ident(), seen)

    async def test_full_disk(self):
        """On a full disk the upload fails, nothing of it stays, and smaller ones go on."""
        self.root.mkdir()
        output = await in_namespace(f"mount -t tmpfs -o size=1m none {self.root}", FILL, self.root)
        self.assertEqual("write: no room\nping: no room\nleft: 0\nsmall: sealed\n", output)

    async def test_no_inode(self):
        """On a disk that can hold no more names, an upload does not begin."""
        self.root.mkdir()
        output = await in_namespace(f"mount -t tmpfs -o nr_inodes=8 none {self.root}", CROWD, self.root)
        self.assertEqual("receive: no room\n", output)

    async def test_too_large_a_file(self):
        """A file that may not grow further (a limit of the process or the disk) is missing room."""
        output = await deferToThread(output_of, [sys.executable, "-c", LIMIT, str(self.root)])
        self.assertEqual("write: no room\nleft: 0\n", output)

    async def test_failed_publish(self):
        """A publish that fails can be tried again when the reason is gone."""
        store = await self.opened()
        incoming = await sealed(store, b"bytes")
        obstacle = self.root / "blobs" / incoming.blob[:2]
        obstacle.write_bytes(b"")
        with self.assertRaises(Unavailable):
            await incoming.publish()
        obstacle.unlink()
        await incoming.publish()
        self.assertEqual(b"bytes", await fetched(store, incoming.blob))

    async def test_failed_discard(self):
        """A discard that fails says so, and can be tried again when the reason is gone."""
        store = await self.opened()
        incoming = await store.receive()
        path = incoming._file.path
        path.unlink()
        path.mkdir()
        with self.assertRaises(Unavailable):
            await incoming.discard()
        path.rmdir()
        path.write_bytes(b"")
        await incoming.discard()
        self.assertFalse(path.exists())

    async def test_delete_fails(self):
        """What cannot be deleted is an error: the caller tries again later."""
        store = await self.opened()
        (self.root / "blobs" / ABSENT[:2] / ABSENT).mkdir(parents=True)
        with self.assertRaises(OSError):
            await store.delete(ABSENT)

    async def test_open_fails(self):
        """What is there and cannot be read is no 404."""
        store = await self.opened()
        (self.root / "blobs" / ABSENT[:2] / ABSENT).mkdir(parents=True)
        before = descriptors(first=True)
        with self.assertRaises(Unavailable) as raised:
            await store.open(ABSENT)
        self.assertNotIn(ABSENT, raised.exception.detail)
        await store.close_store()
        self.assertLessEqual(descriptors(), before)

    async def test_truncated(self):
        """A file that somebody cut off under a reader ends in an error, not early."""
        store = await self.opened()
        name = await kept(store, content(3 * PIECE))
        blob = await store.open(name)
        self.addCleanup(blob.close)
        os.truncate(self.root / "blobs" / name[:2] / name, 2 * PIECE)
        with self.assertRaises(OSError):
            await collected(blob, 0, 3 * PIECE)


class SpaceTests(SynchronousTestCase):
    """What is to stay free, and how often the disk is asked."""

    def setUp(self) -> None:
        self.disk = FakeDisk()

    def space(self, reserve: int | None) -> Space:
        return Space(Path(), reserve, self.disk.statvfs)

    def fits(self, space: Space, size: int) -> bool:
        """Tell whether so many bytes may be written, on a disk that is asked now."""
        try:
            with space.new_file(), space.taken(size):
                return True
        except OSError as error:
            self.assertEqual(errno.ENOSPC, error.errno)
            return False

    def test_up_to_the_reserve(self) -> None:
        """All that is free and not reserved may be taken, and no byte more."""
        space = self.space(RESERVE)
        spare = DISK - RESERVE - NEW_FILE
        self.assertEqual([True, False], [self.fits(space, spare), self.fits(space, spare + 1)])

    def test_a_twentieth(self) -> None:
        """Unless somebody says otherwise, a twentieth of the disk stays free."""
        space = self.space(None)
        spare = DISK - DISK // 20 - NEW_FILE
        self.assertEqual([True, False], [self.fits(space, spare), self.fits(space, spare + 1)])

    def test_a_gibibyte(self) -> None:
        """Of a large disk no more than 1 GiB stays free."""
        self.disk = FakeDisk(free=2**40, size=2**40)
        space = self.space(None)
        spare = 2**40 - 2**30 - NEW_FILE
        self.assertEqual([True, False], [self.fits(space, spare), self.fits(space, spare + 1)])

    def test_nothing_reserved(self) -> None:
        """Where nothing is to stay free, the disk is not asked: it says itself when it is full."""
        self.disk.free = 0
        self.assertTrue(self.fits(self.space(0), 2**40))
        self.assertEqual(0, self.disk.asked)

    def test_not_each_time(self) -> None:
        """Of many writes few ask the disk."""
        space = self.space(64 * 2**20)
        for _ in range(64):
            with space.taken(256 * 1024):
                pass
        self.assertEqual(16 * 2**20 // MOST_UNSEEN, self.disk.asked)

    def test_unseen(self) -> None:
        """When others fill the disk, at most a quarter of the reserve is written before that is noticed."""
        space = self.space(RESERVE)
        with space.taken(1024):
            self.disk.free = RESERVE
        written = 0
        with self.assertRaises(OSError):
            while True:
                with space.taken(1024):
                    written += 1024
        self.assertLessEqual(written, RESERVE // 4)

    def test_new_file_asks(self) -> None:
        """A new upload begins with what the disk says then, not with what it said once."""
        space = self.space(RESERVE)
        self.assertTrue(self.fits(space, 1024))
        self.disk.free = RESERVE
        self.assertFalse(self.fits(space, 1024))

    def test_room_again(self) -> None:
        """After a refusal the disk is asked again."""
        space = self.space(RESERVE)
        self.disk.free = RESERVE
        self.assertFalse(self.fits(space, 1024))
        self.disk.free = RESERVE + 2 * NEW_FILE
        self.assertTrue(self.fits(space, 1024))

    def test_together(self) -> None:
        """What others are writing is no room for this one, before the disk tells of it."""
        space = self.space(RESERVE)
        half = (DISK - RESERVE) // 2 + 1
        with space.taken(half), self.assertRaises(OSError), space.taken(half):
            pass

    def test_given_up(self) -> None:
        """A write that failed does not count for ever."""
        space = self.space(RESERVE)
        for _ in range(10):
            with self.assertRaises(ZeroDivisionError), space.taken(DISK // 2):
                raise ZeroDivisionError
        self.assertTrue(self.fits(space, DISK // 2))


class LeavingTests(DiskTestCase):
    """Whoever waits may leave at any moment; nothing is left open, behind, or in the log."""

    async def test_receive(self):
        """A caller that leaves before its file is made leaves no file."""
        store = await self.opened()
        with self.busy_threads(store):
            receiving = Deferred.fromCoroutine(store.receive())
            receiving.cancel()
        await left(receiving)
        before = descriptors(first=True)
        await store.close_store()
        self.assertLess(descriptors(), before)
        self.assertEqual([], names_under(self.root))

    async def test_open(self):
        """A caller that leaves while a blob is opened leaves no descriptor."""
        store = await self.opened()
        name = await kept(store, b"bytes")
        await store.ping()
        before = descriptors(first=True)
        with self.busy_threads(store):
            opening = Deferred.fromCoroutine(store.open(name))
            opening.cancel()
            await left(opening)
        await store.close_store()
        self.assertEqual(before - 1, descriptors())

    async def test_discard_waits(self):
        """A discard waits for the write whose caller has left."""
        store = await self.opened()
        incoming = await store.receive()
        with self.busy_threads(store):
            writing = Deferred.fromCoroutine(incoming.write(b"bytes"))
            writing.cancel()
            await left(writing)
            discarding = Deferred.fromCoroutine(incoming.discard())
            self.assertFalse(discarding.called)
        await discarding
        self.assertEqual(5, incoming.size)
        self.assertEqual([], names_under(self.root))

    async def test_splice_goes_on(self):
        """A caller that leaves while a pipe is emptied may close it: the file gets what was in it all the same."""
        store = await self.opened()
        incoming = await store.receive()
        pipe, entry = os.pipe()
        os.write(entry, b"bytes")
        with self.busy_threads(store):
            before = descriptors(first=True)
            splicing = Deferred.fromCoroutine(incoming.splice(pipe, 5))
            splicing.cancel()
            await left(splicing)
            os.close(pipe)
            os.close(entry)
        await incoming.seal()
        self.assertEqual(b"bytes", incoming._file.path.read_bytes())
        await incoming.discard()
        self.assertLess(descriptors(), before)

    async def test_close_waits_for_a_read(self):
        """A blob closed while it is read is closed after the read, which still gets its bytes."""
        store = await self.opened()
        data = content(3 * PIECE)
        blob = await store.open(await kept(store, data))
        pieces = blob.read(0, len(data))
        got = await anext(pieces)
        with self.busy_threads(store):
            waiting = Deferred.fromCoroutine(cast(Any, anext(pieces)))
            before = descriptors(first=True)
            blob.close()
            self.assertEqual(before, descriptors())
        got += await waiting
        self.assertEqual(data[: len(got)], got)
        with self.assertRaises(OSError):
            await anext(pieces)
        await store.close_store()
        self.assertIsNone(blob._fd)

    async def test_reader_cancelled(self):
        """A reader that is cancelled between pieces leaves no descriptor and no failure."""
        store = await self.opened()
        name = await kept(store, content(3 * PIECE))
        before = descriptors(first=True)
        blob = await store.open(name)
        with self.busy_threads(store):
            reading = Deferred.fromCoroutine(collected(blob, 0, blob.size))
            reading.cancel()
            await left(reading)
            blob.close()
        await store.close_store()
        self.assertEqual(before - 1, descriptors())

    async def test_reader_dropped(self):
        """A reader that is dropped without a word, while the disk fails, leaves nothing in the log."""
        store = await self.opened()
        name = await kept(store, content(3 * PIECE))
        blob = await store.open(name)
        os.truncate(self.root / "blobs" / name[:2] / name, 100_000)
        async with aclosing(blob.read(0, 3 * PIECE)) as pieces:
            await anext(pieces)
        blob.close()
        await store.close_store()
        self.assertEqual([], self.flushLoggedErrors())

    async def test_discard_after_close(self):
        """An upload that outlives the store can still be discarded."""
        store = await self.opened()
        incoming = await store.receive()
        await store.close_store()
        await incoming.discard()
        self.assertEqual([], names_under(self.root))

    async def test_close_after_close(self):
        """A blob that outlives the store can still be closed."""
        store = await self.opened()
        blob = await store.open(await kept(store, content(PIECE)))
        await store.close_store()
        before = descriptors(first=True)
        blob.close()
        self.assertEqual(before - 1, descriptors())

    async def test_small(self):
        """A small blob is read while it is opened, as often as one likes, and keeps no descriptor."""
        store = await self.opened()
        name = await kept(store, b"bytes")
        before = descriptors(first=True)
        blob = await store.open(name)
        self.assertEqual((before, None), (descriptors(), blob.descriptor))
        for _ in range(2):
            await blob.ready(0, 5)
            self.assertEqual([b"bytes"], await collected(blob, 0, 5))
            self.assertEqual([b"yt"], await collected(blob, 1, 2))
        blob.close()
        with self.assertRaises(OSError):
            await collected(blob, 0, 5)

    async def test_sealed_in_order(self):
        """An upload that is sealed, or taken whole, has its file synced, then its folder."""
        synced: list[Path] = []
        calls = SystemCalls(sync=lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink()))
        store = await self.opened(calls=calls)
        for begin in (store.receive, lambda: store.receive_whole(b"bytes")):
            synced.clear()
            incoming = await begin()
            if not synced:
                await incoming.seal()
            self.assertEqual([incoming.blob, incoming._file.path.parent.name], [path.name for path in synced])
            await incoming.discard()

    async def test_close_store_waits(self):
        """To close the store waits for what is under way."""
        store = await self.opened()
        incoming = await store.receive()
        with self.busy_threads(store):
            writing = Deferred.fromCoroutine(incoming.write(b"bytes"))
            closing = Deferred.fromCoroutine(store.close_store())
            self.assertFalse(closing.called)
        await closing
        self.assertTrue(writing.called)
        await writing
        await incoming.discard()


@attrs.define
class CountingReactor:
    """Brings results back from threads, and counts them."""

    trips: int = 0

    def callFromThread(self, call: Callable[..., object], *args: object, **kwargs: object) -> None:
        self.trips += 1
        reactor.callFromThread(call, *args, **kwargs)


class CostTests(DiskTestCase):
    """What a transfer costs."""

    async def test_small_download(self):
        """A small file is opened and read with one trip to a thread."""
        counting = CountingReactor()
        store = DiskBlobs(cast(IReactorFromThreads, counting), self.root)
        await store.open_store()
        self.addCleanup(store.close_store)
        name = await kept(store, content(64 * 1024))
        counting.trips = 0
        blob = await store.open(name)
        self.assertEqual([64 * 1024], [len(piece) for piece in await collected(blob, 0, blob.size)])
        self.assertEqual(1, counting.trips)
        blob.close()

    async def test_memory(self):
        """Reading 64 MiB, and writing them, holds less than 1.5 MiB at any time."""
        store = await self.opened()
        piece = content(PIECE)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        incoming = await store.receive()
        for _ in range(256):
            await incoming.write(piece)
        await incoming.seal()
        await incoming.publish()
        blob = await store.open(incoming.blob)
        size = 0
        async for data in blob.read(0, blob.size):
            size += len(data)
        blob.close()
        self.assertEqual(64 * 1024 * 1024, size)
        self.assertLess(tracemalloc.get_traced_memory()[1], 3 * PIECE * 2)

    async def test_descriptors(self):
        """Uploads and downloads of every outcome leave no descriptor open."""
        store = await self.opened()
        await kept(store, b"warm up")
        before = descriptors(first=True)
        for _ in range(20):
            await (await store.receive()).discard()
            await (await sealed(store, b"bytes")).discard()
            name = await kept(store, content(2 * PIECE))
            await fetched(store, name)
            blob = await store.open(name)
            async with aclosing(blob.read(0, blob.size)) as pieces:
                await anext(pieces)
            blob.close()
            await store.delete(name)
            await store.ping()
            with contextlib.suppress(FileNotFoundError):
                await store.open(name)
        await store.close_store()
        self.assertEqual(before - 1, descriptors())

    async def test_constructor(self):
        """To make a store touches neither the disk nor a thread."""
        before = set(threading.enumerate())
        DiskBlobs(reactor, self.root)
        DiskThreads(reactor)
        self.assertFalse(self.root.exists())
        self.assertEqual(set(), set(threading.enumerate()) - before)  # others may end meanwhile


async def left(waiting: Deferred[Any]) -> None:
    """Wait for what was cancelled."""
    with contextlib.suppress(CancelledError):
        await waiting


# -- other processes -----------------------------------------------------------------------------

_PROGRAM = """
import random, resource, sys
from pathlib import Path
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from filedropd.blobs.disk import DiskBlobs
from filedropd.errors import InsufficientStorage
from filedropd.interfaces import StoreUnusable

root = Path(sys.argv[1])

async def refused(what, work):
    try:
        await work
    except InsufficientStorage:
        print(what + ": no room", flush=True)

def left():
    print("left:", sum(path.is_file() for path in root.rglob("*")), flush=True)

async def main(reactor):
    store = DiskBlobs(reactor, root, reserve=0)
    try:
        await store.open_store()
    except StoreUnusable as error:
        print(error)
        return
    try:
        await run(store)
    finally:
        await store.close_store()

async def run(store):
%s

react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""

OPEN = _PROGRAM % "    pass"

SEAL_AND_HANG = (
    _PROGRAM
    % """
    incoming = await store.receive()
    await incoming.write(random.Random(256 * 1024 + 1).randbytes(256 * 1024 + 1))
    await incoming.seal()
    print(incoming.blob, flush=True)
    await Deferred()
"""
)

FILL = (
    _PROGRAM
    % """
    async def fill():
        while True:
            await incoming.write(bytes(65_536))

    incoming = await store.receive()
    await refused("write", fill())
    await refused("ping", store.ping())
    await incoming.discard()
    left()
    incoming = await store.receive()
    await incoming.write(bytes(65_536))
    await incoming.seal()
    print("small: sealed")
    await incoming.discard()
"""
)

CROWD = (
    _PROGRAM
    % """
    begun = []

    async def crowd():
        while True:
            begun.append(await store.receive())

    await refused("receive", crowd())
    for incoming in begun:
        await incoming.discard()
"""
)

LIMIT = (
    _PROGRAM
    % """
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    incoming = await store.receive()
    await refused("write", incoming.write(bytes(65_536)))
    await incoming.discard()
    left()
"""
)


@contextmanager
def child(command: list[str]) -> Any:
    """Run ``command`` with our code to import, and end it."""
    environment = {**os.environ, "PYTHONPATH": str(Path(filedropd.__file__).parents[1])}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def output_of(command: list[str]) -> str:
    """Return what ``command`` prints."""
    with child(command) as process:
        return str(process.communicate(timeout=60)[0])


async def in_namespace(mount: str, script: str, root: Path) -> str:
    """Return what ``script`` prints where ``mount`` was made for it alone.

    It needs no root: whoever may make a user namespace may mount a tmpfs in it.
    """
    if await deferToThread(subprocess.call, ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"]):
        raise SkipTest("this machine lets us make no mount namespace (unshare -Urm)")
    shell = f'{mount} && exec "$@"'
    command = ["unshare", "-Urm", "sh", "-c", shell, "sh", sys.executable, "-c", script, str(root)]
    return await deferToThread(output_of, command)


class ColdTests(DiskTestCase):
    """Files that the kernel has not, or not all, in memory."""

    SIZE = 4 * 2**20 + 5

    async def cold(self, first: int = 0) -> tuple[DiskBlobs, DiskBlob]:
        """Return a blob of which nothing is in memory from ``first`` on."""
        store = await self.opened()
        blob = await store.open(await kept(store, content(self.SIZE)))
        self.addCleanup(blob.close)
        assert blob.descriptor is not None
        os.fsync(blob.descriptor)
        os.posix_fadvise(blob.descriptor, first, 0, os.POSIX_FADV_DONTNEED)
        if pages.resident(blob.descriptor, self.SIZE - 1, 1) is not False:
            raise SkipTest("this file system keeps all files in memory, or does not tell")
        return store, blob

    async def test_brought_in(self):
        """What is on the disk alone is in memory when it is ready."""
        _, blob = await self.cold()
        assert blob.descriptor is not None
        await blob.ready(PIECE, 2 * PIECE)
        self.assertTrue(pages.resident(blob.descriptor, PIECE, 2 * PIECE))
        await blob.ready(0, self.SIZE)
        self.assertTrue(pages.resident(blob.descriptor, 0, self.SIZE))

    async def test_on_a_thread(self):
        """The disk is waited for on a thread alone; what is in memory is ready at once."""
        store, blob = await self.cold(2 * 2**20)
        with self.busy_threads(store):
            waiting = Deferred.fromCoroutine(blob.ready(0, self.SIZE))
            self.assertFalse(waiting.called)
            self.assertTrue(Deferred.fromCoroutine(blob.ready(0, 2**20)).called)
        await waiting

    async def test_closed_meanwhile(self):
        """A blob that is closed while it is brought in is closed once that has ended."""
        store, blob = await self.cold()
        with self.busy_threads(store):
            waiting = Deferred.fromCoroutine(blob.ready(0, self.SIZE))
            blob.close()
        await waiting
        self.assertIsNone(blob.descriptor)

    async def test_truncated(self):
        """Bytes that have left the file are an error, wherever they are looked for."""
        _, blob = await self.cold()
        path = next(path for path in self.root.rglob("*") if path.is_file() and path.stat().st_size == self.SIZE)
        os.truncate(path, PIECE)
        assert blob.descriptor is not None
        with self.assertRaises(OSError):
            pages.bring_in(blob.descriptor, 0, self.SIZE)
        with self.assertRaises(OSError):
            await blob.ready(0, self.SIZE)

    async def test_nothing_told(self):
        """Where the kernel does not tell what it has in memory, all is brought in."""
        store, blob = await self.cold()

        def unknown(*_: object) -> int:
            raise OSError(errno.EOPNOTSUPP, "not here")

        self.patch(os, "preadv", unknown)
        with self.busy_threads(store):
            waiting = Deferred.fromCoroutine(blob.ready(0, 1))
            self.assertFalse(waiting.called)
        await waiting
