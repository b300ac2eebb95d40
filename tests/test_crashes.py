"""The daemon, killed at any moment, keeps what it said and nothing else; :mod:`tests.crashes` does this at length."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests import crashes
from tests.crash_calls import refused
from tests.crash_world import RECIPIENTS, Answer, Left, World, content
from tests.daemon import Daemon

IN_WORK = crashes.first_of("fsync", "rename", "renameat", "unlink", "unlinkat", "sendto")
IN_RECOVERY = crashes.first_of("fdatasync", "rename", "renameat", "unlink", "unlinkat")


A, B, _ = RECIPIENTS
GONE = Answer(410, b'{"reason": "delivered"}', whole=True)
LOCKED = Answer(423, b"{}", whole=True)


class WorldTests(SynchronousTestCase):
    """Those who look at it know what may be, and see what may not."""

    def setUp(self):
        self.world = World(0)
        self.drop = self.left()

    def left(self, downloads: int = 1) -> Left:
        """Leave a drop."""
        drop = Left("/link", "owner", 1, 100, downloads)
        self.world.add(drop, "raw")
        return drop

    def seen(self, *answers: tuple[str, Answer]) -> bool:
        """Let recipients see these answers, one after the other; tell whether all is as it may be."""
        for who, answer in answers:
            self.world.asked(self.drop, who)
            self.world.answered(self.drop, who, answer, 40 if answer.status == 206 else 0)
        return not self.world.faults

    @property
    def whole(self) -> Answer:
        """All of it."""
        return Answer(200, content(1, 100), whole=True)

    @property
    def rest(self) -> Answer:
        """All of it from byte 40 on."""
        return Answer(206, content(1, 100)[40:], whole=True)

    def broken_off(self, who: str, *, early: bool = False) -> None:
        """Break a download off."""
        self.world.asked(self.drop, who)
        self.world.broken_off(self.drop, who, early=early)

    def test_once(self):
        """One copy is one copy, whoever comes."""
        self.assertTrue(self.seen((A, self.whole), (A, GONE), (B, GONE)))
        self.assertFalse(self.seen((B, self.whole)))

    def test_not_to_the_same(self):
        """As long as nothing was killed, the same recipient gets no second one, either."""
        self.assertFalse(self.seen((A, self.whole), (A, self.whole)))

    def test_lost(self):
        """What nobody had is not gone."""
        self.assertFalse(self.seen((A, GONE)))

    def test_wrong_bytes(self):
        """Other bytes are a fault, whole or not."""
        self.assertFalse(self.seen((A, Answer(200, b"x" * 100, whole=True))))
        self.drop, self.world.faults = self.left(), []
        self.assertFalse(self.seen((A, Answer(200, b"x"))))

    def test_after_a_crash(self):
        """After a crash he who had all may have it again, once; and nobody else."""
        for again in (
            [(B, LOCKED), (A, self.whole), (B, GONE), (A, GONE)],
            [(A, GONE), (B, GONE)],
            [(B, GONE), (A, self.whole)],
        ):
            self.drop = self.left()
            self.assertTrue(self.seen((A, self.whole)))
            self.world.crashed()
            self.assertTrue(self.seen(*again), self.world.faults)
            self.assertFalse(self.seen((B, self.whole)))
            self.world.faults.clear()
        self.drop = self.left()
        self.seen((A, self.whole))
        self.world.crashed()
        self.assertFalse(self.seen((B, LOCKED), (A, GONE)))

    def test_cut_off_by_a_crash(self):
        """What a crash cut off waits for its recipient, and is lost to nobody."""
        self.assertTrue(self.seen((A, Answer(200, content(1, 100)[:9]))))
        self.world.crashed()
        self.assertTrue(self.seen((B, LOCKED), (A, self.whole), (B, GONE)))
        for wrong in ((A, LOCKED), (A, GONE), (B, self.whole), (B, GONE)):
            self.drop, self.world.faults = self.left(), []
            self.seen((A, Answer(200)))
            self.world.crashed()
            self.assertFalse(self.seen(wrong), wrong)

    def test_without_an_answer(self):
        """What was asked for in vain may have been begun, or not."""
        for after in ([(B, self.whole), (A, GONE)], [(B, LOCKED), (A, self.whole)]):
            self.drop = self.left()
            self.seen((A, Answer(0)))
            self.world.crashed()
            self.assertTrue(self.seen(*after), self.world.faults)

    def test_broken_off(self):
        """What was broken off waits for its recipient; with the rest it is a copy, which he may have again."""
        self.broken_off(A)
        self.assertTrue(self.seen((B, LOCKED), (A, self.rest), (B, GONE), (A, self.whole), (A, GONE)))
        self.drop = self.left()
        self.broken_off(A)
        self.assertFalse(self.seen((B, self.whole)))

    def test_broken_off_early(self):
        """What was broken off early may be anybody's some seconds later."""
        for after in ([(B, LOCKED), (B, self.whole)], [(A, self.whole)]):
            self.drop = self.left()
            self.broken_off(A, early=True)
            self.assertTrue(self.seen(*after), self.world.faults)
        self.assertFalse(self.seen((B, self.whole)))

    def test_several(self):
        """Of several copies each may have one, and the same may have two."""
        self.drop = self.left(2)
        self.assertTrue(self.seen((A, self.whole), (A, self.whole), (B, GONE)))
        self.drop = self.left(2)
        self.broken_off(A)
        self.assertTrue(self.seen((B, self.whole), (B, LOCKED), (A, self.whole), (A, GONE)))

    def test_taken_back(self):
        """What was taken back is gone for everybody, for that reason, unless it was delivered."""
        self.world.taking_back(self.drop)
        self.world.took_back(self.drop, Answer(204))
        self.assertFalse(self.seen((A, GONE)))
        self.drop, self.world.faults = self.left(), []
        self.seen((A, self.whole))
        self.world.taking_back(self.drop)
        self.world.took_back(self.drop, GONE)
        self.assertTrue(self.seen((A, GONE)))


class KillTests(SynchronousTestCase):
    """Each drop whose 201 was seen is there, once, with its bytes; nothing else is."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="filedropd-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        seed = random.randrange(2**32)
        self.world, self.chance = World(seed), random.Random(seed)

    def running(self) -> Daemon:
        """Start a daemon."""
        daemon = Daemon(self.folder, *crashes.PATIENT)
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
