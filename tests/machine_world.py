"""What the model test drives: the core on doubles, with its records in memory or in SQLite."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar, cast

import attrs
from twisted.internet import reactor
from twisted.internet.interfaces import IReactorFromThreads

from filedropd.claims.policy import STRIDE, Policy
from filedropd.deferreds import background
from filedropd.drops import Rules
from filedropd.interfaces import IRecords
from filedropd.reaper import LONGEST_SLEEP
from filedropd.records.sqlite import SQLiteRecords
from filedropd.records.sqlite_database import Begin
from filedropd.records.transactions import Transaction
from filedropd.testing import MemoryRecords
from tests.support import Core, result_of

T = TypeVar("T")

DAY: Final = 86_400.0
#: Seconds above which time passes at once.
LONG: Final = 1000.0

#: Sizes of files: none, one stride, several strides of which the last is short, more strides than sixteenths.
SIZES: Final = (0, 5, 200_000, 2 * STRIDE + 5, 3 * STRIDE + 5, 5 * 1024 * 1024)

#: The bytes of files, by their size: no two pieces are alike.
_BYTES: Final = b"".join(number.to_bytes(4, "big") for number in range(max(SIZES) // 4 + 1))

CONTENT: Final = {size: _BYTES[:size] for size in SIZES}

RULES: Final = Rules(max_file_size=max(SIZES), expires=DAY, max_expires=30 * DAY)


class SameThread(SQLiteRecords):
    """SQLite without its thread: every call is over when it returns."""

    def __init__(self, path: Path) -> None:
        super().__init__(cast(IReactorFromThreads, reactor), path, durable=False)
        self.folder = path.parent

    async def open(self) -> None:
        """See IRecords."""
        self._database.open()

    async def close(self) -> None:
        """See IRecords."""
        self._database.close()

    def crash(self) -> None:
        """Lose the connection, and whatever was not committed on it."""
        self._database.close()
        self._database.open()

    async def _run(self, begin: Begin, transaction: Transaction[T]) -> T:
        return self._database.run(begin, transaction)


@attrs.define(kw_only=True)
class World(Core):
    """A core that can be killed whatever its records are."""

    def pass_by(self, seconds: float) -> None:
        """Let time pass; of a long time most at once, since nobody looks at each minute of a day."""
        if seconds > LONG:
            self.elapse(LONGEST_SLEEP)
            self.wall.jump(seconds - 2 * LONGEST_SLEEP)
            seconds = LONGEST_SLEEP
        self.elapse(seconds)

    def killed(self) -> None:
        """Be killed, and be started again up to, but without, recovery."""
        background(self.reaper.stop(), "the reaper of a daemon that is no more")
        super().killed()
        if isinstance(self.kept, SameThread):
            self.kept.crash()


class Stores:
    """Makes worlds, each with new records.

    :param folder: where databases go; ``None``: records are in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._numbers = itertools.count()

    def world(self, policy: Policy) -> World:
        """Return one in which nothing has happened yet."""
        return World(kept=self._records(), rules=RULES, policy=policy)

    def gone(self, world: World) -> None:
        """Give back what a world holds."""
        if isinstance(world.kept, SameThread):
            result_of(world.kept.close())
            shutil.rmtree(world.kept.folder)

    def _records(self) -> IRecords:
        if self._folder is None:
            return cast(IRecords, MemoryRecords())
        return cast(IRecords, SameThread(self._folder / str(next(self._numbers)) / "drops.db"))


@contextlib.contextmanager
def sqlite_stores() -> Iterator[Stores]:
    """Make worlds with their records in SQLite, in memory where there is a place for files in it."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Stores(Path(folder))
