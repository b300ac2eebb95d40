"""nginx's log of the files that it sends, as it lies on the disk, rotated or not.  All here blocks: use it on a thread.

The log is a regular file: none of its lines is lost in a burst, nor while the daemon is away.  How far
it was read is kept in a file of ours, and never runs ahead of what the records have: a line whose
download is not written down yet is read again after a crash.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Container
from pathlib import Path
from typing import Final

import attrs
from twisted.logger import Logger

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
