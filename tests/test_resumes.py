"""Downloads that break and go on, for a while; :mod:`tests.resumes` does this at length."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import resumes
from tests.conformance.adapters import OwnFiledropd

ROUNDS = 9
SIZE = 2 * 2**20


class ResumesTests(SynchronousTestCase):
    """Who broke off gets the rest; nobody gets a second copy."""

    def test_at_random(self):
        """Broken at random bytes by RST, FIN and ``kill -9``, each file is whole in the end, and is one copy."""
        folder = Path(tempfile.mkdtemp(prefix="filedropd-test-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        seed = random.randrange(2**32)
        chance = random.Random(seed)
        server = OwnFiledropd(folder)
        self.addCleanup(server.kill)
        seen, faults = resumes.run(server, chance.randbytes(SIZE), chance, ROUNDS)
        self.assertEqual([], faults, f"seed {seed}")
        self.assertEqual(ROUNDS, sum(count for what, count in seen.items() if what.startswith("rounds")))
