"""Where a visit takes place: a daemon, roads to it, and people with browsers."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Final, Self

from tests.browser.road import Road
from tests.browser.visitor import Visitor
from tests.daemon import Daemon

#: Options of a daemon whose passwords cost little.
FAST_PASSWORDS: Final = ("--password-memory=1MiB", "--password-time=1")


class Stage:
    """A daemon and who visits it. All but the daemon leave when it is closed.

    :ivar visitors: those who are there, in the order in which they came.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.visitors: list[Visitor] = []
        self._leaving = ExitStack()

    def visitor(self, **options: Any) -> Visitor:
        """Return somebody with a browser window of their own."""
        visitor = Visitor(**options)
        self._leaving.callback(visitor.close)
        self.visitors.append(visitor)
        return visitor

    def road(self) -> Road:
        """Return a road to the daemon, for somebody to decide what passes on it."""
        return self._leaving.enter_context(Road(lambda: self.daemon.port))

    def close(self) -> None:
        """Close every window, and every road."""
        self.visitors.clear()
        self._leaving.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
