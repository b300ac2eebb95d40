"""A file while it comes in: ``NAME.part``, and ``NAME.part.claim`` with what it takes to go on with it.

The claim is written down, for our eyes alone, before the first byte is asked for; the file gets its own name when
all of it is here, is what it should be, and is on the disk. A link of ours is gone once it is delivered: from then
on there is no other copy.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from filedropd.client.downloads import notes
from filedropd.client.downloads.notes import Claimed, sync_folder, told
from filedropd.client.errors import Damaged, Exists, InTheWay

PART: Final = ".part"
CLAIM: Final = ".claim"

_READ: Final = 1024 * 1024


class PartFile:
    """A file that comes in. All calls block: they belong on a thread.

    :ivar target: what it will be.
    :ivar claimed: what is written down of it; ``None`` until :meth:`remember`.
    :ivar done: how many bytes of it are here.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + PART)
        self.claimed: Claimed | None = None
        self.done = 0
        self._notes = self.path.with_name(self.path.name + CLAIM)
        self._descriptor = -1
        self._hash: Any = None

    # -- opening ----------------------------------------------------------------------------------

    @classmethod
    def find(cls, folder: Path, link: str) -> PartFile | None:
        """Return the part in ``folder`` that belongs to the link with this hash, not yet open; ``None`` if there is none."""
        for path in sorted(folder.glob(f"*{PART}{CLAIM}")):
            claimed = notes.read(path)
            if claimed is not None and claimed.link == link:
                return cls(path.with_name(path.name.removesuffix(PART + CLAIM)))
        return None

    def open(self, link: str) -> None:
        """Go on with what is here of the link with this hash, or begin.

        :raises InTheWay: the part belongs to another link, to nobody we know, or to another process right now.
        :raises Local: it cannot be written.
        """
        try:
            self._open(link)
        except BaseException:
            self.close()
            raise

    def _open(self, link: str) -> None:
        with told(self.path):
            self._descriptor = self._opened()
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise InTheWay(self.path, "is not a plain file. Remove it, or name another file with -o.")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InTheWay(self.path, "is being downloaded by another filedrop right now.") from error
        self.done = os.lseek(self._descriptor, 0, os.SEEK_END)
        self.claimed = notes.read(self._notes)
        if self.claimed is not None and self.claimed.link != link:
            raise InTheWay(self.path, "belongs to another link. Finish or remove that, or name another file with -o.")
        if self.claimed is None and self.done:
            raise InTheWay(self.path, "is there, and is none of ours. Remove it, or name another file with -o.")
        size = self.claimed.size if self.claimed is not None else None
        if size is not None and self.done > size:
            self.restart()

    def _opened(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(self.path, flags, 0o666)

    # -- filling ----------------------------------------------------------------------------------

    def remember(self, claimed: Claimed) -> None:
        """Write down what is known, readable by nobody else, so that neither a crash nor a power cut loses it."""
        self.claimed = claimed
        notes.write(self._notes, claimed)

    def write(self, pieces: Sequence[bytes], *, hashing: bool) -> int:
        """Add some bytes.

        :param hashing: the whole is to be hashed; what was here before is read for that first.
        :returns: how many bytes are here now.
        :raises Local: the disk is full, or fails.
        """
        if hashing:
            self._catch_up()
        with told(self.path):
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.pwrite(self._descriptor, view, self.done + len(piece) - len(view)) :]
                self.done += len(piece)
                if hashing:
                    self._hash.update(piece)
        return self.done

    def _catch_up(self) -> None:
        if self._hash is not None:
            return
        self._hash = hashlib.sha256()
        at = 0
        with told(self.path):
            while at < self.done and (piece := os.pread(self._descriptor, min(_READ, self.done - at), at)):
                self._hash.update(piece)
                at += len(piece)

    def restart(self) -> None:
        """Throw away what is here."""
        with told(self.path):
            os.ftruncate(self._descriptor, 0)
        self.done = 0
        self._hash = None

    def discard(self) -> None:
        """Remove all that is here of a download of which nothing came; of one that began, nothing."""
        if self._descriptor >= 0 and not self.done:
            self.path.unlink(missing_ok=True)
            self._notes.unlink(missing_ok=True)

    # -- the end ----------------------------------------------------------------------------------

    def check(self) -> None:
        """Return if all is here and is what it should be.

        :raises Damaged: it is not.
        """
        claimed = self.claimed
        if claimed is None or (claimed.size is not None and self.done != claimed.size):
            raise Damaged
        if claimed.digest is not None:
            self._catch_up()
            if self._hash.hexdigest() != claimed.digest:
                raise Damaged

    def publish(self, *, overwrite: bool) -> Path:
        """Give the file its name, once it is on the disk.

        :returns: that name.
        :raises Exists: somebody else has it by now; the part stays.
        :raises InTheWay: what is to be overwritten is a device, a FIFO or a folder.
        :raises Local: it cannot be written.
        """
        with told(self.path):
            os.fsync(self._descriptor)
        with told(self.target):
            if overwrite:
                _may_be_replaced(self.target)
                self.path.replace(self.target)
            else:
                _rename_new(self.path, self.target)
            self._notes.unlink(missing_ok=True)
            sync_folder(self.target.parent)
        return self.target

    def close(self) -> None:
        """Let go of it; what is here stays."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _may_be_replaced(target: Path) -> None:
    """Return if there is nothing but a file, or a link."""
    with contextlib.suppress(FileNotFoundError):
        mode = target.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
            raise InTheWay(target, "is not a plain file. Name another file with -o.")


def _rename_new(path: Path, target: Path) -> None:
    """Rename, and overwrite nothing."""
    try:
        os.link(path, target, follow_symlinks=False)
    except FileExistsError as error:
        raise Exists(target) from error
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}:
            raise
        # A file system without hard links. The name is taken first, by us or by somebody else.
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
        except FileExistsError as taken:
            raise Exists(target) from taken
        path.replace(target)
    else:
        path.unlink()
