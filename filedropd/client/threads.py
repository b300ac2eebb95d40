"""Work that blocks, on a thread of its own, one piece after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")
P = ParamSpec("P")


class Thread:
    """One thread that does what it is given, in that order; started with the first piece of work.

    The order is what makes it safe to cancel whoever waits: what closes a file comes after what writes it.

    :param reactor: on whose thread results arrive.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool: ThreadPool | None = None

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run ``call``; the Deferred fires with its result on the reactor's thread.

        Cancelling ends the waiting. What has begun is done to its end.
        """
        if self._pool is None:
            self._pool = ThreadPool(minthreads=1, maxthreads=1, name="filedrop")
            self._pool.start()
        inner = deferToThreadPool(self._reactor, self._pool, call, *args, **kwargs)
        outer: Deferred[T] = Deferred(canceller=lambda _: None)
        inner.addBoth(lambda result: None if outer.called else outer.callback(result))
        return outer

    async def stop(self, last: Callable[[], None] = lambda: None) -> None:
        """Do ``last`` after all that was given, and return when that is done and the thread has ended."""
        if self._pool is None:
            last()
            return
        try:
            await self.run(last)
        finally:
            pool, self._pool = self._pool, None
            pool.stop()  # waits for what is under way, which is one piece at most
