"""The daemon, killed at any moment, keeps what it said and nothing else; :mod:`tests.crashes` does this at length."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests import crashes
from tests.crash_calls import refused
from tests.crash_world import World
from tests.daemon import Daemon

IN_WORK = crashes.first_of("fsync", "rename", "renameat", "unlink", "unlinkat", "sendto")
IN_RECOVERY = crashes.first_of("fdatasync", "rename", "renameat", "unlink", "unlinkat")


class KillTests(SynchronousTestCase):
    """Each drop whose 201 was seen is there, once, with its bytes; nothing else is."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="filedropd-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        seed = random.randrange(2**32)
        self.world, self.chance = World(seed), random.Random(seed)

    def running(self) -> Daemon:
        """Start a daemon."""
        daemon = Daemon(self.folder)
        self.addCleanup(daemon.kill)
        return daemon.start()

    def needs_tracing(self) -> None:
        """Leave where no process may be traced."""
        if reason := refused():
            raise SkipTest(reason)

    def test_at_random(self):
        """Killed in the middle of uploads, downloads and revocations, five times."""
        daemon = self.running()
        crashes.kills(daemon, self.world, self.chance, rounds=5, clients=3, seconds=0.5)
        self.assertEqual([], self.world.faults)
        self.assertNotIn("Traceback", daemon.log())

    def test_at_calls(self):
        """Killed as it is about to sync, rename, delete or send for the first time."""
        self.needs_tracing()
        _, killed = crashes.killed_at_calls(self.running(), self.world, self.chance, IN_WORK)
        self.assertEqual([], self.world.faults)
        self.assertEqual(4, killed.total())

    def test_at_commits(self):
        """Killed in each commit while files are left, fetched and taken back, just before it counts."""
        self.needs_tracing()
        _, killed = crashes.killed_at_calls(self.running(), self.world, self.chance, crashes.torn_commits)
        self.assertEqual([], self.world.faults)
        self.assertGreaterEqual(killed.total(), 5)

    def test_in_recovery(self):
        """Killed as it is about to commit, rename or delete what a crash has left."""
        self.needs_tracing()
        _, killed = crashes.killed_at_calls_of_recovery(self.folder, self.world, self.chance, IN_RECOVERY)
        self.assertEqual([], self.world.faults)
        self.assertEqual(3, killed.total())
