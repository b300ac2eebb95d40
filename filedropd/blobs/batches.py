"""What is asked for while the same is being done for others is done together, next: group commit, for folders.

A sync of a folder serves all who wait for one, and a trip to a thread all that is to be deleted by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from filedropd.blobs.threads import DiskThreads
from filedropd.deferreds import background

T = TypeVar("T")


class Batches(Generic[T]):
    """Gathers what is to be done.

    :param do: does it, for several at once, on a thread; returns for each what it failed with.
    :param lanes: batches at once.
    """

    def __init__(
        self, threads: DiskThreads, do: Callable[[Sequence[T]], Sequence[OSError | None]], lanes: int = 1
    ) -> None:
        self._threads = threads
        self._do = do
        self._free = lanes
        self._waiting: list[tuple[T, Deferred[None]]] = []

    async def do(self, what: T) -> None:
        """Have it done, by a batch that begins from now on.

        :raises OSError: it failed.
        :raises Unavailable: the threads are not running.
        """
        done: Deferred[None] = Deferred()
        self._waiting.append((what, done))
        if self._free:
            self._free -= 1
            background(self._run(), "what is done together on the disk")
        await done

    async def _run(self) -> None:
        try:
            while self._waiting:
                gathered, self._waiting = self._waiting, []
                for (_, done), failure in zip(gathered, await self._done([what for what, _ in gathered]), strict=True):
                    if failure is None:
                        done.callback(None)
                    else:
                        done.errback(failure)
        finally:
            self._free += 1

    async def _done(self, batch: list[T]) -> Sequence[Failure | OSError | None]:
        try:
            return await self._threads.run(self._do, batch)
        except Exception:  # noqa: BLE001 - it is told to all of them
            return [Failure()] * len(batch)
