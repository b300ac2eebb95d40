"""nginx's log of the files that it sends, followed as it grows.

The log is a regular file: none of its lines is lost in a burst, nor while the daemon is away.  How far
it was read is kept in a file of ours, and never runs ahead of what the records have: a line whose
download is not written down yet is read again after a crash.

Nobody tells us that a file has grown.  While a line is awaited, its size is looked at twenty times a
second, which costs some microseconds; it is read on a thread.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Callable, Container, Iterable
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import attrs
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from filedropd.deferreds import Gathering, background, shielded
from filedropd.threads import Threads

T = TypeVar("T")
P = ParamSpec("P")

#: Seconds between looks at the log: while a line is awaited, and while none is.
BUSY: Final = 0.05
IDLE: Final = 1.0
#: Seconds between notes of how far it was read.
SAVING: Final = 5.0
#: Seconds for which a log that was renamed is read on: nginx's workers write to it until they have heard of it.
LINGER: Final = 10.0
#: Bytes that are read at a time; a line that is longer is none of ours.
PIECE: Final = 256 * 1024

# As in etc/nginx/filedropd.conf: log_format filedropd_transfers.
_LINE: Final = re.compile(
    rb"([0-9a-f]{32}) ([1-5][0-9]{2}) ([0-9]{1,18}) (OK)? (?:GET|HEAD) (?:-|(bytes [0-9*/-]{3,64}))", re.ASCII
)

_log = Logger()


@attrs.frozen(kw_only=True)
class Line:
    """What nginx tells of one download.

    :ivar transfer: the id that the daemon gave it.
    :ivar status: the answer's.
    :ivar sent: bytes of the body that nginx handed to the kernel: more than these have not left.
    :ivar complete: nginx has handed over all that there was.
    :ivar content_range: the answer's Content-Range.
    """

    transfer: str
    status: int
    sent: int
    complete: bool
    content_range: str | None = None

    @classmethod
    def parse(cls, text: bytes) -> Line | None:
        """Return what a line says, without its end; ``None`` where it is not as nginx writes them for us."""
        match = _LINE.fullmatch(text)
        if match is None:
            return None
        return cls(
            transfer=match[1].decode("ascii"),
            status=int(match[2]),
            sent=int(match[3]),
            complete=match[4] is not None,
            content_range=None if match[5] is None else match[5].decode("ascii"),
        )


class Tail:
    """One file, read from ``offset`` on.  What it does blocks: use it on a thread.

    :param offset: where a line begins. Where none does, the file is another one by now, and read from its beginning.
    :ivar offset: how far it was read.
    :ivar inode: by which it is known again when it was renamed.
    :ivar held: where the lines begin that are not to be forgotten yet, by what they are about.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise OSError(errno.EINVAL, "nginx's log is no regular file", str(path))
        self.inode = status.st_ino
        self.held: dict[str, int] = {}
        self._skipping = False
        begins_line = offset == 0 or os.pread(self._fd, 1, offset - 1) == b"\n"
        self.offset = offset if begins_line else 0

    def read(self) -> list[tuple[int, bytes]]:
        """Return the next lines that are complete, each with the offset at which it begins, as far as :data:`PIECE` goes."""
        if os.fstat(self._fd).st_size < self.offset:  # somebody has truncated it
            self.offset, self._skipping = 0, False
            self.held.clear()
        data = os.pread(self._fd, PIECE, self.offset)
        whole, newline, _ = data.rpartition(b"\n")
        if not newline:
            if len(data) == PIECE:
                self.offset += len(data)
                self._skipping = True
            return []
        lines = []
        for text in whole.split(b"\n"):
            if not self._skipping:
                lines.append((self.offset, text))
            self._skipping = False
            self.offset += len(text) + 1
        return lines

    def position(self, unrecorded: Container[str]) -> int:
        """Return from where on it is to be read by the next process; forget what is recorded."""
        self.held = {about: begins for about, begins in self.held.items() if about in unrecorded}
        return min(self.held.values(), default=self.offset)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class Trail:
    """The log under its name, and what had that name before and is not read to its end.  Blocks, as :class:`Tail` does.

    :param kept: the file in which it is noted how far the log was read.
    """

    def __init__(self, path: Path, kept: Path) -> None:
        self._path = path
        self._kept = kept
        self._tails: list[Tail] = []
        self._since = 0.0  # when the newest of them was found
        self._noted: list[list[int]] = []

    def open(self) -> None:
        """Go on where the last process was. Where that is noted is made, if nobody else keeps anything there."""
        self._kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._noted = _noted(self._kept)
        known = {path.stat().st_ino: path for path in self._path.parent.glob(f"{self._path.name}*") if path.is_file()}
        for inode, offset in self._noted:
            if inode in known:
                self._tails.append(Tail(known[inode], offset))
            else:
                _log.warn(
                    "nginx's log was rotated while the daemon was away, and what it was is not to be found: "
                    "what it said of downloads is lost"
                )

    @property
    def rotating(self) -> bool:
        """Whether there is more to read than what has the log's name."""
        return len(self._tails) > 1

    def read(self, wanted: Container[str], now: float) -> tuple[list[Line], bool]:
        """Return the next lines that are about what is ``wanted``, and whether there is more to be read at once.

        :param now: seconds of a clock that is not set.
        """
        self._find(now)
        found: list[Line] = []
        more = False
        for tail in self._tails[:]:
            before = tail.offset
            texts = tail.read()
            more = more or tail.offset != before
            for begins, text in texts:
                line = Line.parse(text)
                if line is not None and line.transfer in wanted:
                    found.append(line)
                    tail.held.setdefault(line.transfer, begins)
            over = tail is not self._tails[-1] and now - self._since >= LINGER
            if over and tail.offset == before and not tail.held:
                self._tails.remove(tail)
                tail.close()
        return found, more

    def _find(self, now: float) -> None:
        """Take note of a new file under the log's name, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            if not self._tails or self._path.stat().st_ino != self._tails[-1].inode:
                self._tails.append(Tail(self._path))
                self._since = now

    def save(self, unrecorded: Container[str]) -> None:
        """Note durably how far it was read, except for what is about something ``unrecorded``."""
        positions = [[tail.inode, tail.position(unrecorded)] for tail in self._tails]
        if positions == self._noted:
            return
        aside = self._kept.with_name(f"{self._kept.name}.new")
        with aside.open("w", encoding="ascii") as file:
            json.dump(positions, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._kept)
        self._noted = positions

    def close(self) -> None:
        """Close the files."""
        while self._tails:
            self._tails.pop().close()


def _noted(kept: Path) -> list[list[int]]:
    """Return what :meth:`Trail.save` noted: nothing where it is not to be read, and all is read again."""
    try:
        noted = json.loads(kept.read_text(encoding="ascii"))
        return [[int(inode), max(0, int(offset))] for inode, offset in noted]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError):
        _log.warn("how far nginx's log was read is not to be read in {kept}: it is read again", kept=str(kept))
        return []


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
