"""The few ways in which we touch Deferreds.

Everything else is ``async def``.  Twisted and Klein meet us here, threads in :mod:`.threads`, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from filedropd.errors import FiledropError

T = TypeVar("T")

_log = Logger()


def shielded(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Run ``work`` to its end whatever becomes of whoever waits for it.

    Klein cancels a route whose client has left.  A step that changes state must not stop half-way
    for that: cancelling the Deferred returned here ends the waiting and not the work.  A failure
    that then has nobody to tell is logged.
    """
    inner = Deferred.fromCoroutine(work)
    outer: Deferred[T] = Deferred(canceller=lambda _: None)

    def relay(result: T | Failure) -> None:
        if not outer.called:
            outer.callback(result)
        elif isinstance(result, Failure) and result.check(FiledropError) is not None:
            _log.warn("work that nobody waits for any more ended: {error}", error=result.value)
        elif isinstance(result, Failure):
            _log.failure("work that nobody waits for any more failed", failure=result)

    inner.addBoth(relay)
    return outer


async def within(clock: IReactorTime, seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return what ``work`` returns, if that takes no longer than ``seconds``; it goes on to its end in any case.

    :raises TimeoutError: it takes longer.
    """
    try:
        return await shielded(work).addTimeout(seconds, clock)
    except defer.TimeoutError as error:
        raise TimeoutError(f"not within {seconds:g} s") from error


def background(work: Coroutine[Any, Any, None], what: str) -> Deferred[None]:
    """Start ``work`` that nobody waits for; log its failure under the name ``what``.

    :returns: a Deferred that fires with ``None`` when the work has ended, and never fails.
    """
    started = Deferred.fromCoroutine(work)

    def failed(failure: Failure) -> None:
        if isinstance(failure.value, FiledropError):  # it happens, and is no bug
            _log.warn("{what} was given up: {error}", what=what, error=failure.value)
        elif not isinstance(failure.value, CancelledError):
            _log.failure("{what} failed", failure=failure, what=what)

    return started.addErrback(failed)


async def together(works: Sequence[Coroutine[Any, Any, None]]) -> list[Exception]:
    """Let all of ``works`` run at once; returns, when each has ended, what they raised."""
    failures: list[Exception] = []

    async def noted(work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whoever asked decides
            failures.append(error)

    await DeferredList([Deferred.fromCoroutine(noted(work)) for work in works])
    return failures


def sleep(clock: IReactorTime, seconds: float) -> Deferred[None]:
    """Fire after ``seconds`` of ``clock``; can be cancelled."""
    waiting: Deferred[None] = Deferred(canceller=lambda _: timer.cancel())
    timer = clock.callLater(seconds, waiting.callback, None)
    return waiting


class Happening:
    """Something that happens once, and for which any number may wait."""

    def __init__(self) -> None:
        self._happened = False
        self._waiting: list[Deferred[bool]] = []

    def happen(self) -> None:
        """Let everybody who waits go on. A second call does nothing."""
        self._happened = True
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(True)

    async def wait(self) -> None:
        """Wait until it happens."""
        if not self._happened:
            waiter: Deferred[bool] = Deferred(canceller=self._waiting.remove)
            self._waiting.append(waiter)
            await waiter

    async def within(self, clock: IReactorTime, seconds: float) -> bool:
        """Wait until it happens, ``seconds`` at most; tell whether it did."""
        if self._happened:
            return True
        waiter: Deferred[bool] = Deferred(canceller=self._waiting.remove)
        self._waiting.append(waiter)
        timer = clock.callLater(seconds, self._give_up, waiter)
        try:
            return await waiter
        finally:
            if timer.active():
                timer.cancel()

    def _give_up(self, waiter: Deferred[bool]) -> None:
        self._waiting.remove(waiter)
        waiter.callback(False)


class Gathering:
    """Counts work that is under way, so that stopping can wait for it."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: list[Deferred[None]] = []

    def __enter__(self) -> None:
        self._count += 1

    def __exit__(self, *exc: object) -> None:
        self._count -= 1
        if self._count == 0:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.callback(None)

    def __len__(self) -> int:
        return self._count

    async def empty(self) -> None:
        """Return when nothing is under way."""
        if self._count:
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            await waiter
