"""Whoever wants to know when something happens to a drop."""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IReactorTime

from filedropd.deferreds import Happening
from filedropd.errors import TooManyRequests
from filedropd.model import Drop

#: Who may watch one drop at the same time: whenever it changes each is told all of it.
MOST: Final = 16
#: Seconds after which one more may try again.
RETRY: Final = 10


class Watch:
    """One who watches a drop. What happens while he looks elsewhere is not lost to him.

    :ivar over: nothing more is told: the daemon stops.
    """

    def __init__(self) -> None:
        self.over = False
        self._changed = Happening()

    async def changed(self, clock: IReactorTime, seconds: float) -> bool:
        """Wait for something to happen since the last call, ``seconds`` at most; tell whether it did."""
        if self.over or await self._changed.within(clock, seconds):
            self._changed = Happening()
            return True
        return False

    def tell(self) -> None:
        """Say that something happened."""
        self._changed.happen()


class Watches:
    """All who watch drops of this daemon."""

    def __init__(self) -> None:
        self._of: dict[bytes, set[Watch]] = {}
        self._closed = False

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def open(self, key: bytes) -> Watch:
        """Begin to watch the drop stored as ``key``. End it with :meth:`close`.

        :raises TooManyRequests: :data:`MOST` do already.
        """
        watches = self._of.setdefault(key, set())
        if len(watches) >= MOST:
            raise TooManyRequests(RETRY, "Too many are told of this drop as it changes. Ask for its status in between.")
        watch = Watch()
        watch.over = self._closed
        watches.add(watch)
        return watch

    def close(self, key: bytes, watch: Watch) -> None:
        """End what :meth:`open` began."""
        watches = self._of.get(key, set())
        watches.discard(watch)
        if not watches:
            self._of.pop(key, None)

    def tell(self, drop: Drop) -> None:
        """Say that something happened to ``drop``."""
        self.tell_of(drop.key)

    def tell_of(self, key: bytes) -> None:
        """Say that something happened to the drop stored as ``key``."""
        for watch in list(self._of.get(key, ())):  # who is told may stop watching
            watch.tell()

    def tell_all(self) -> None:
        """Say that something may have happened to any of them."""
        for key in list(self._of):
            self.tell_of(key)

    def end(self) -> None:
        """Let all who watch, now or later, be told that nothing more comes."""
        self._closed = True
        for watch in [watch for watches in self._of.values() for watch in watches]:
            watch.over = True
            watch.tell()
