"""What is to be written while the database is busy gathers, and is written together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from filedropd.deferreds import Gathering, background
from filedropd.errors import Unavailable
from filedropd.records.together import Apart, Change, Done, Write

#: Writes in one transaction, at most: others wait for all of it.
MOST: Final = 64

#: A write, and what tells its caller what came of it.
Waiting: TypeAlias = tuple[Write, Deferred[Any]]


class Grouping:
    """Gathers writes.

    :param together: does several in one transaction; where that fails, none was done.
    :param alone: does one in a transaction of its own.
    :param lanes: transactions at once.
    """

    def __init__(
        self,
        together: Callable[[Sequence[Write]], Coroutine[Any, Any, list[Done | Apart]]],
        alone: Callable[[Write], Coroutine[Any, Any, Any]],
        lanes: int = 1,
    ) -> None:
        self._together = together
        self._alone = alone
        self._free = lanes
        self._waiting: deque[Waiting] = deque()
        self._under_way = Gathering()

    async def do(self, write: Write) -> Any:
        """Do ``write`` and return its result, once it is committed.

        :raises Exception: what the database, or the write's rule, says against it.
        """
        with self._under_way:
            done: Deferred[Any] = Deferred()
            self._waiting.append((write, done))
            self._begin()
            return await done

    async def empty(self) -> None:
        """Return when all that was to be done is."""
        await self._under_way.empty()

    def _begin(self) -> None:
        while self._free and self._waiting:
            self._free -= 1
            background(self._run(self._gathered()), "writing")

    def _gathered(self) -> list[Waiting]:
        """Return those that can be written together, in the order in which they came."""
        gathered: list[Waiting] = []
        left: list[Waiting] = []
        single: set[bytes] = set()  # drops of which there is a write that goes with no other
        keys: set[bytes] = set()
        while self._waiting and len(gathered) < MOST:
            write, done = self._waiting.popleft()
            if write.key in single or (write.key in keys and not isinstance(write, Change)):
                left.append((write, done))
                single.add(write.key)  # nor is what comes behind it to pass it
                continue
            keys.add(write.key)
            if not isinstance(write, Change):
                single.add(write.key)
            gathered.append((write, done))
        self._waiting.extendleft(reversed(left))
        return gathered

    async def _run(self, gathered: list[Waiting]) -> None:
        """Do them; the next ones begin before anybody is told, who may have more to write."""
        told: list[Callable[[], None]] = []
        try:
            left = gathered if len(gathered) == 1 else await self._grouped(gathered, told)
            for write, done in left:
                told.append(await self._by_itself(write, done))
        finally:
            self._free += 1
            self._begin()
            for tell in told:
                tell()

    async def _grouped(self, gathered: list[Waiting], told: list[Callable[[], None]]) -> list[Waiting]:
        """Do them together; returns those that are left to be done one by one, all where it did not work."""
        try:
            outcomes = await self._together([write for write, _ in gathered])
        except Unavailable:  # so it is for each; to find that out one by one could take minutes
            told += [partial(done.errback, Failure()) for _, done in gathered]
            return []
        except Exception:  # noqa: BLE001 - whose fault it was is found out by doing each alone
            return gathered
        for (write, done), outcome in zip(gathered, outcomes, strict=True):
            if isinstance(outcome, Apart):  # it may have to wait, and nobody else with it
                background(self._apart(write, done), "writing")
            elif outcome.error is not None:
                told.append(partial(done.errback, Failure(outcome.error)))
            else:
                told.append(partial(done.callback, outcome.result))
        return []

    async def _apart(self, write: Write, done: Deferred[Any]) -> None:
        (await self._by_itself(write, done))()

    async def _by_itself(self, write: Write, done: Deferred[Any]) -> Callable[[], None]:
        """Do one; returns what tells what came of it."""
        try:
            return partial(done.callback, await self._alone(write))
        except Exception:  # noqa: BLE001 - it is its caller's
            return partial(done.errback, Failure())
