"""What is done together on the disk."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from filedropd.blobs.batches import Batches
from filedropd.blobs.folders import sync_folders
from filedropd.blobs.threads import DiskThreads
from filedropd.errors import Unavailable

PATIENCE = 10.0


class BatchesTests(TestCase):
    """What comes while a batch is under way makes the next."""

    def setUp(self) -> None:
        self.threads = DiskThreads(cast(IReactorFromThreads, reactor))
        self.threads.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.threads.stop(lambda: None)))
        self.batches: list[list[str]] = []
        self.failing: dict[str, OSError] = {}
        self.broken: Exception | None = None
        self.gate = threading.Semaphore(0)

    def do(self, batch: Sequence[str]) -> list[OSError | None]:
        """Do what is asked, when it is told to."""
        self.batches.append(list(batch))
        assert self.gate.acquire(timeout=PATIENCE)
        if self.broken is not None:
            raise self.broken
        return [self.failing.get(each) for each in batch]

    def ask(self, batches: Batches[str], *asked: str) -> list[Deferred[None]]:
        """Ask for several, one after the other."""
        return [Deferred.fromCoroutine(batches.do(each)) for each in asked]

    async def test_together(self):
        """Those who come while one is under way are served by the next, and not before it has ended."""
        batches = Batches(self.threads, self.do)
        (first,) = self.ask(batches, "a")
        others = self.ask(batches, "b", "c", "d")
        self.gate.release()
        await first
        for other in others:
            self.assertNoResult(other)
        self.gate.release()
        await gatherResults(others)
        self.assertEqual([["a"], ["b", "c", "d"]], self.batches)

    async def test_again(self):
        """When all is done, the next one begins at once."""
        batches = Batches(self.threads, self.do)
        for each in ("a", "b"):
            self.gate.release()
            await batches.do(each)
        self.assertEqual([["a"], ["b"]], self.batches)

    async def test_lanes(self):
        """As many batches run at once as there are lanes."""
        batches = Batches(self.threads, self.do, lanes=2)
        asked = self.ask(batches, "a", "b", "c", "d")
        while len(self.batches) < 2:
            await deferLater(cast(IReactorFromThreads, reactor), 0.001)  # type: ignore[arg-type]  # it is both
        self.assertEqual([["a"], ["b"]], sorted(self.batches))
        self.gate.release(3)
        await gatherResults(asked)
        self.assertEqual([["a"], ["b"], ["c", "d"]], sorted(self.batches))

    async def test_one_fails(self):
        """What fails for one is told to him alone."""
        batches = Batches(self.threads, self.do)
        self.failing = {"b": OSError(5, "bad disk")}
        asked = self.ask(batches, "a", "b", "c")
        self.gate.release(2)
        await asked[0]
        await asked[2]
        with self.assertRaises(OSError):
            await asked[1]

    async def test_all_fail(self):
        """What fails for the batch is told to all of it, and to nobody after."""
        batches = Batches(self.threads, self.do)
        self.broken = OSError(5, "bad disk")
        self.gate.release()
        with self.assertRaises(OSError):
            await batches.do("a")
        self.broken = None
        self.gate.release()
        await batches.do("b")

    async def test_stopped(self):
        """When the threads have stopped, that is told."""
        batches = Batches(self.threads, self.do)
        await self.threads.stop(lambda: None)
        for _ in range(2):
            with self.assertRaises(Unavailable):
                await batches.do("a")


class FoldersTests(SynchronousTestCase):
    """Several folders, each synced once."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.root.mkdir()
        self.synced: list[int] = []

    def test_once(self) -> None:
        """A folder that is asked for twice is synced once."""
        (self.root / "other").mkdir()
        self.assertEqual({}, sync_folders([self.root, self.root / "other", self.root], self.synced.append))
        self.assertEqual(2, len(self.synced))

    def test_absent(self) -> None:
        """A folder that is not there is said to be missing, and the others are synced."""
        failures = sync_folders([self.root / "none", self.root], self.synced.append)
        self.assertEqual([FileNotFoundError], list(map(type, failures.values())))
        self.assertEqual(1, len(self.synced))
