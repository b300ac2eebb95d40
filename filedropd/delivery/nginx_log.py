"""nginx's log of the files that it sends (:mod:`.nginx_trail`), followed as it grows.

Nobody tells us that a file has grown.  While a line is awaited, its size is looked at twenty times a
second, which costs some microseconds; it is read on a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import attrs
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from filedropd.deferreds import Gathering, background, shielded
from filedropd.delivery.nginx_trail import Line, Trail
from filedropd.threads import Threads

T = TypeVar("T")
P = ParamSpec("P")

#: Seconds between looks at the log: while a line is awaited, and while none is.
BUSY: Final = 0.05
IDLE: Final = 1.0
#: Seconds between notes of how far it was read.
SAVING: Final = 5.0

_log = Logger()


@attrs.frozen
class _Either:
    """What is in one or the other."""

    one: Container[str]
    other: Container[str]

    def __contains__(self, transfer: object) -> bool:
        return transfer in self.one or transfer in self.other


class NginxLog:
    """Tells what nginx writes about the downloads that somebody asks about.

    :param reactor: timers, and the way back from threads.
    :param path: the log, which need not be there yet.
    :param kept: the file in which it is noted how far it was read; beside it, unless said otherwise.
    :param unrecorded: returns the ids of downloads whose end is not written down yet.
    """

    def __init__(
        self,
        reactor: Any,
        path: Path,
        kept: Path | None = None,
        *,
        unrecorded: Callable[[], Container[str]] = frozenset,
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._trail = Trail(path, kept or path.with_name(f"{path.name}.offset"))
        self._unrecorded = unrecorded
        self._told: dict[str, Callable[[Line], None]] = {}
        self._left: set[str] = set()
        self._pool: Threads | None = None
        self._timer: IDelayedCall | None = None
        self._following = self._followed = False
        self._turns = Gathering()
        self._seen: tuple[int, int] | None = None
        self._saved = 0.0
        self._failing = False

    # -- its life ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Go on where the last process was; nothing is read yet.

        :raises OSError: there is something that cannot be read.
        """
        self._pool = Threads(self._reactor, 1, "nginx's log")
        try:
            await self._run(self._trail.open)
        except BaseException:
            await self.close()
            raise

    async def replay(self, wanted: Container[str]) -> dict[str, Line]:
        """Return what was written about these since the last process was there. Call it before :meth:`follow`.

        It is read again by the next process, unless this one gets to follow the log.
        """
        lines: dict[str, Line] = {}
        more = True
        while more:
            found, more = await self._run(self._trail.read, wanted, self._reactor.seconds())
            for line in found:
                lines.setdefault(line.transfer, line)
        return lines

    def follow(self) -> None:
        """Begin to read what is written."""
        self._following = self._followed = True
        self._arm()

    async def close(self) -> None:
        """Read no more, and note how far it was read. A second call does nothing."""
        self._following = False
        self._disarm()
        await self._turns.empty()
        if self._pool is None:
            return
        try:
            if self._followed:
                await self._save()
        finally:
            await self._run(self._trail.close)
            pool, self._pool = self._pool, None
            pool.stop()

    # -- whoever asks -----------------------------------------------------------------------------

    def expect(self, transfer: str, told: Callable[[Line], None]) -> None:
        """Call ``told`` once, with the line about ``transfer``, when it is written; it is not yet."""
        self._told[transfer] = told
        if self._timer is not None and self._timer.getTime() > self._reactor.seconds() + BUSY:
            self._arm()

    def forget(self, transfer: str) -> None:
        """Call nobody about it any more."""
        self._told.pop(transfer, None)

    def leave(self, transfer: str) -> None:
        """Call nobody about it any more, and leave its line to the next process, whether it was written by now or not."""
        self.forget(transfer)
        self._left.add(transfer)

    # -- following --------------------------------------------------------------------------------

    def _arm(self) -> None:
        self._disarm()
        if self._following:
            self._timer = self._reactor.callLater(BUSY if self._told else IDLE, self._look)

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        self._timer = None
        background(self._turn(), "following nginx's log")

    async def _turn(self) -> None:
        with self._turns:
            try:
                await self._read()
                if self._reactor.seconds() - self._saved >= SAVING:
                    await self._save()
                self._failing = False
            except OSError as error:
                if not self._failing:  # once, and not twenty times a second
                    _log.error("nginx's log cannot be read: {reason}; trying on", reason=str(error))
                self._failing = True
        self._arm()

    async def _read(self) -> None:
        seen = self._signature()
        if seen == self._seen and not self._trail.rotating:
            return
        more = True
        while more:
            lines, more = await self._run(self._trail.read, _Either(self._told, self._left), self._reactor.seconds())
            self._tell(lines)
        self._seen = seen

    def _signature(self) -> tuple[int, int] | None:
        """Return what changes when something is written; taken before it is read, so that nothing is overlooked."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_size

    def _tell(self, lines: Iterable[Line]) -> None:
        for line in lines:
            told = self._told.pop(line.transfer, None)
            if told is not None:
                told(line)

    async def _save(self) -> None:
        self._saved = self._reactor.seconds()
        await self._run(self._trail.save, _Either(self._unrecorded(), self._left))

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._pool is None:
            raise RuntimeError("the log is not open")
        return await shielded(self._in_thread(self._pool, call, *args, **kwargs))

    async def _in_thread(self, pool: Threads, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await pool.run(call, *args, **kwargs)
