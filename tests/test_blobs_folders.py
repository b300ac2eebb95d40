"""Syncs of folders, shared."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from filedropd.blobs.folders import FolderSyncs

PATIENCE = 10.0


class FolderSyncsTests(SynchronousTestCase):
    """One sync for all who came before it began."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.syncs = FolderSyncs(self.sync)
        self.begun: list[str] = []
        self.faults: list[OSError] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.threads = ThreadPoolExecutor(9)
        self.addCleanup(self.threads.shutdown)

    def sync(self, fd: int) -> None:
        """Sync when it is told to."""
        self.begun.append(os.readlink(f"/proc/self/fd/{fd}"))
        self.entered.release()
        self.assertTrue(self.gate.acquire(timeout=PATIENCE))
        if self.faults:
            raise self.faults.pop()

    def asked(self, count: int, folder: Path | None = None) -> list[Future[None]]:
        """Ask so often, each on a thread, and return when all wait or sync."""
        path = folder or self.folder
        turn = self.syncs._turns.get(path)
        before = turn.users if turn else 0
        futures = [self.threads.submit(self.syncs, path) for _ in range(count)]
        while self.syncs._turns[path].users < before + count if path in self.syncs._turns else True:
            pass
        return futures

    def wait(self) -> None:
        """Wait until a sync begins."""
        self.assertTrue(self.entered.acquire(timeout=PATIENCE))

    def test_shared(self):
        """Those who come while one is under way share the next."""
        (first,) = self.asked(1)
        self.wait()
        others = self.asked(5)
        self.gate.release()
        first.result(PATIENCE)
        self.wait()
        self.assertFalse(any(other.done() for other in others))
        self.gate.release()
        for other in others:
            other.result(PATIENCE)
        self.assertEqual([str(self.folder.absolute())] * 2, self.begun)
        self.assertEqual({}, self.syncs._turns)

    def test_fails(self):
        """A sync that fails has served nobody: one of those who wait makes another."""
        (first,) = self.asked(1)
        self.wait()
        others = self.asked(2)
        self.faults = [OSError(5, "bad disk")]
        self.gate.release(3)
        self.assertRaises(OSError, first.result, PATIENCE)
        for other in others:
            other.result(PATIENCE)
        self.assertEqual(2, len(self.begun))

    def test_others(self):
        """Another folder's waits for nobody."""
        other = self.folder / "other"
        other.mkdir()
        futures = self.asked(1) + self.asked(1, other)
        self.wait()
        self.wait()
        self.gate.release(2)
        for future in futures:
            future.result(PATIENCE)
        self.assertEqual(2, len(set(self.begun)))

    def test_absent(self):
        """A folder that is not there is said to be missing."""
        self.assertRaises(FileNotFoundError, self.syncs, self.folder / "none")
