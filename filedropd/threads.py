"""Threads for what blocks: calls go out, results come back on the reactor's thread.

An upload and its download make some ten trips to a thread, so what a trip costs is a good part of what they cost.
Twisted's own pool decides on a thread for each call in three steps and three locks, and wakes the reactor for each
result.  Here a call goes through one queue that is made in C, and results that are there by the time the reactor
looks come back together: it is woken once for all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

T = TypeVar("T")
P = ParamSpec("P")

_Call: TypeAlias = tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Threads:
    """Up to ``most`` threads, begun when they are needed. Between :meth:`start` and :meth:`stop`, call :meth:`run`.

    :param reactor: on its thread all is called, and results come back.
    :param name: what the threads are called.
    """

    def __init__(self, reactor: IReactorFromThreads, most: int, name: str) -> None:
        self._reactor = reactor
        self._most = most
        self._name = name
        self._threads: list[Thread] = []
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._done: deque[tuple[Deferred[Any], Any]] = deque()
        self._woken = False
        self._running = 0  # calls whose results are not back
        self._open = True

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run ``call`` on a thread; the Deferred fires on the reactor's thread with what came of it.

        A call that was made is made: who cancels the Deferred stops waiting, and no more.

        :raises RuntimeError: after :meth:`stop`; or the system gives us no thread at all.
        """
        if not self._open:
            raise RuntimeError(f"the threads of {self._name} were stopped")
        waiting: Deferred[T] = Deferred()
        if len(self._threads) < min(self._running + 1, self._most):
            self._begin()
        self._running += 1
        self._calls.put((waiting, call, args, kwargs))
        return waiting

    def _begin(self) -> None:
        """Begin one more thread; where the system gives us none, those that there are have to do."""
        thread = Thread(target=self._work, name=f"{self._name} {len(self._threads)}")
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def stop(self) -> None:
        """Return when all calls have ended that were made, and the threads with them. This one blocks.

        A second call does nothing.
        """
        self._open = False
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _work(self) -> None:
        """Make calls, on a thread."""
        while (made := self._calls.get()) is not None:
            waiting, call, args, kwargs = made
            try:
                result: Any = call(*args, **kwargs)
            except BaseException:  # noqa: BLE001 - it is the caller's
                result = Failure()
            self._done.append((waiting, result))
            # What it holds is not to live until the next call.
            del made, waiting, call, args, kwargs, result
            if not self._woken:  # or else it has yet to look
                self._woken = True
                self._reactor.callFromThread(self._tell)

    def _tell(self) -> None:
        """Give back what has come by now."""
        self._woken = False  # before it looks: what comes from here on wakes it again
        while self._done:
            waiting, result = self._done.popleft()
            self._running -= 1
            # A Failure goes the way of errors.
            waiting.callback(result)
