"""Threads that touch the disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from twisted.internet.interfaces import IReactorFromThreads

from filedropd.blobs.journal import CLOSED
from filedropd.deferreds import Gathering
from filedropd.errors import Unavailable
from filedropd.threads import Threads

#: How many calls to the disk are under way at once.
THREADS = 8

T = TypeVar("T")
P = ParamSpec("P")


class DiskThreads:
    """The store's own threads: a slow disk delays nothing else, and stopping waits for what is under way."""

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._pool: Threads | None = None
        self._under_way = Gathering()

    def start(self) -> None:
        """Take calls from now on."""
        self._pool = Threads(self._reactor, THREADS, "blobs")

    async def stop(self, last: Callable[[], None]) -> None:
        """Take no more calls, let those under way end, run ``last``. A second call does nothing."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        await self._under_way.empty()
        try:
            await pool.run(last)
        finally:
            pool.stop()

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``call`` on a thread and return what it returns.

        Callers shield this: only then does it end when the thread has, and not before.

        :raises Unavailable: the threads are not running.
        """
        if self._pool is None:
            raise Unavailable(CLOSED)
        with self._under_way:
            return await self._pool.run(call, *args, **kwargs)

    async def give_back(self, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a ``call`` that gives something back: on a thread, or at once if the threads have stopped."""
        if self._pool is None:
            call(*args, **kwargs)
        else:
            await self.run(call, *args, **kwargs)
