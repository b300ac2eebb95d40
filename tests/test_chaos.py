"""Whatever breaks under load, each file comes once and no daemon needs a restart; :mod:`tests.chaos` does this at length."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import chaos
from tests.chaos_stack import Target
from tests.chaos_world import GRACE, File, Part, World


class WorldTests(SynchronousTestCase):
    """Those who look at it see what may not be."""

    def setUp(self):
        self.world = World(0)

    def left(self, recipients: int = 2) -> File:
        """Leave a file."""
        file = self.world.new_file(100)
        self.world.acknowledged(file, "/link", recipients, random.Random(0))
        return file

    def end(self, file: File, *holders: bool) -> None:
        """Let all who ask for a file end, with all of it or without."""
        for whole in holders:
            take = self.world.next()
            assert take is not None
            take.whole, take.refused = whole, not whole
            self.world.asked(take, 0.0)
        self.assertEqual(0, self.world.backlog)

    def test_once(self):
        """One complete copy is right, whoever has it."""
        for holders in ((True, False), (False, True)):
            file = self.left()
            self.end(file, *holders)
            self.assertEqual(([], file.takes[holders.index(True)]), (self.world.faults, file.winner))
        self.assertEqual(2, self.world.seen["files delivered right once"])

    def test_twice(self):
        """Two are a fault, which tells the file's story."""
        file = self.left()
        self.world.note(file, "what happened")
        self.end(file, True, True)
        self.assertRegex(self.world.faults[0], "(?s)^2 clients hold a complete copy.*what happened$")

    def test_lost(self):
        """None is a fault."""
        self.end(self.left(), False, False)
        self.assertRegex(self.world.faults[0], "^lost")

    def test_waiting(self):
        """Whoever is to wait does not ask before, and is not forgotten."""
        file = self.left(1)
        take = self.world.next()
        assert take is not None
        self.world.asked(take, 1_000.0)
        self.assertIsNone(self.world.next())
        self.assertEqual((1, [file], [file]), (self.world.backlog, self.world.wanted(), self.world.undelivered()))

    def test_strangers(self):
        """No recipient has another's address or name."""
        takes = [take for _ in range(300) for take in self.left().takes]
        self.assertEqual(len(takes), len({take.source for take in takes}))
        self.assertEqual(len(takes), len({take.agent for take in takes}))

    def test_killed(self):
        """A copy is in doubt if a daemon was killed while it sent a part of it, or soon after, and no other."""
        take, sender = self.left().takes[0], Target(Path("nowhere"))
        sender.kill()  # it does not run: it is but noted
        (killed,) = sender.kills
        for began, ended, doubtful in (
            (killed - 2, killed - 1, True),
            (killed - 1, killed + 1, True),
            (killed + 1, killed + 2, False),
            (killed - GRACE - 2, killed - GRACE - 1, False),
        ):
            take.parts = [Part(sender, began, ended), Part(sender, killed + 5, killed + 6)]
            self.assertEqual(doubtful, self.world.doubtful(take))

    def test_away(self):
        """So is one that came from two daemons, the first of which could not write down its end; and no other."""
        take = self.left().takes[0]
        one, two = Target(Path("one")), Target(Path("two"))
        self.world.away = [(10.0, 12.0)]
        for first, ended, doubtful in ((one, 11.0, True), (two, 11.0, False), (one, 5.0, False)):
            take.parts = [Part(first, ended - 1, ended), Part(two, 12.5, 13.0)]
            self.assertEqual(doubtful, self.world.doubtful(take))


class ChaosTests(SynchronousTestCase):
    """The database, the cache and a daemon, each broken once under load."""

    #: What is wrong is told with its whole story.
    maxDiff = None

    def test_once_each(self):
        """Each file whose 201 was seen is held by one client, its link gone and its bytes deleted; no log has a traceback."""
        with tempfile.TemporaryDirectory(prefix="filedropd-test-") as folder:
            plan = chaos.Plan(seed=random.randrange(2**32), rounds=1, clients=4, seconds=2.0)
            world, _ = chaos.run(plan, Path(folder))
        self.assertEqual([], world.faults, plan)
        self.assertGreater(world.seen["files delivered right once"], 0)
        self.assertEqual(3, sum(count for what, count in world.seen.items() if what.startswith("outages")))
