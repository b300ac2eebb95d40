"""A time-out that is set anew far more often than it passes."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadline:
    """At most one call in the future.

    Moving it later, which a busy connection does with every request, costs an assignment: the timer
    that is already under way looks, when it fires, whether its time has come.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._at = 0.0
        self._call: Callable[[], object] | None = None

    def set(self, seconds: float, call: Callable[[], object]) -> None:
        """Call ``call`` in ``seconds``, and nothing that was set before."""
        self._at = self._clock.seconds() + seconds
        self._call = call
        if self._timer is not None and self._timer.getTime() > self._at:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._fire)

    def clear(self) -> None:
        """Call nothing. The timer may stay, to be used again."""
        self._call = None

    def stop(self) -> None:
        """Call nothing, and leave no timer behind."""
        self._call = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        if self._call is None:
            return
        remaining = self._at - self._clock.seconds()
        if remaining > 0:
            self._timer = self._clock.callLater(remaining, self._fire)
            return
        call, self._call = self._call, None
        call()
