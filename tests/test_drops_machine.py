"""Drops under whatever happens in whatever order: the model test.

Clients, breaks, ranges, clocks and crashes against the real :class:`~filedropd.drops.Drops`, on records in memory and
in SQLite.  What must hold is in :mod:`tests.machine_promises`, and who really has what in :mod:`tests.machine_account`.

``FILEDROPD_MODEL_EXAMPLES``, ``FILEDROPD_MODEL_STEPS`` and ``FILEDROPD_MODEL_SEED`` say how many, how long, and which.
"""

from __future__ import annotations

import os
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from filedropd.errors import FiledropError
from tests.journal import KilledError
from tests.machine import machine, ran
from tests.machine_world import Stores, sqlite_stores
from tests.model_faults import FAULTS, found

EXAMPLES: Final = os.environ.get("FILEDROPD_MODEL_EXAMPLES")
STEPS: Final = int(os.environ.get("FILEDROPD_MODEL_STEPS", "40"))
SEED: Final = int(os.environ.get("FILEDROPD_MODEL_SEED", "1"))


class MachineTests(SynchronousTestCase):
    """The machine, run."""

    def test_memory(self):
        """Whatever happens in whatever order, nothing that was promised breaks."""
        ran(machine(Stores()), examples=int(EXAMPLES or 300), steps=STEPS, seed=SEED)
        self.forget()

    def test_sqlite(self):
        """The same holds when what is written is written to SQLite, and read back."""
        with sqlite_stores() as stores:
            ran(machine(stores), examples=int(EXAMPLES or 60), steps=STEPS, seed=SEED)
        self.forget()

    def test_finds(self):
        """Each of three faults, planted, is found by what was promised, or by what must be on record, at once."""
        for name, fault in FAULTS.items():
            self.assertIsNotNone(found(fault, examples=100, steps=STEPS, seed=SEED), name)
        self.forget()

    def forget(self) -> None:
        """Forget what was logged of requests that nobody waited for any more, and of those that a crash cut off."""
        self.flushLoggedErrors(FiledropError, KilledError)
