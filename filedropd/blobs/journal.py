"""Where the disk keeps blobs and uploads in flight. Every call here blocks: make it on a thread.

::

    <root>/incoming/<daemon>/<blob>      an upload in flight, or what a crash left of one
    <root>/blobs/<first two digits>/<blob>

The ``incoming`` folders are the journal.  Each daemon has one of its own, under a random name, and
holds an ``flock`` on it while it lives; the kernel gives the lock back however the daemon ends.  So
a folder whose lock can be had belongs to a daemon that is dead, and nobody needs a list of them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Sequence
from pathlib import Path

import attrs
from twisted.logger import Logger

from filedropd.blobs.folders import sync_folder, sync_folders
from filedropd.blobs.space import Space
from filedropd.blobs.system import SystemCalls
from filedropd.errors import Unavailable
from filedropd.interfaces import StoreUnusable, Unfinished
from filedropd.tokens import Randomness, random_name

#: What folders and files are made with, less the process's umask: a group may be let in to read.
FOLDER_MODE = 0o750
FILE_MODE = 0o640

#: Folders tried before giving up: a try fails only when another daemon cleans up in that instant.
_ATTEMPTS = 100

#: Bytes of an upload that come in before the disk is told to begin with them.
WRITE_BACK = 8 * 2**20

_NAME = re.compile(r"[0-9a-f]{32}", re.ASCII)

#: What a client is told who comes before the store is open or after it is closed.
CLOSED = "The file store is closed. Try again in a moment."

_log = Logger()


class IncomingFile:
    """The file of one upload.  Its calls come one at a time; whoever makes them sees to that.

    :ivar path: where it is until it is published.
    """

    def __init__(self, path: Path, calls: SystemCalls, space: Space) -> None:
        self.path = path
        self._calls = calls
        self._space = space
        self._fd: int | None = None
        self._size = 0
        self._begun = 0  # of it, what the disk was told to write
        self._there = False
        self._sealed = False

    def create(self) -> None:
        """Make the file, which must not be there yet."""
        with self._space.new_file():
            self._fd = self._calls.create(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        self._there = True

    def write(self, data: bytes) -> None:
        """Append all of ``data``, however many calls it takes."""
        fd = self._open()
        left = memoryview(data)
        with self._space.taken(len(data)):
            while left:
                left = left[self._calls.write(fd, left) :]
        self._grown(fd, len(data))

    def splice(self, pipe: int, size: int) -> None:
        """Append ``size`` bytes that are in ``pipe``, however many calls it takes."""
        fd = self._open()
        left = size
        with self._space.taken(size):
            while left:
                moved = self._calls.splice(pipe, fd, left)
                if not moved:
                    raise OSError(errno.EPIPE, "there is less in the pipe than was said")
                left -= moved
        self._grown(fd, size)

    def _open(self) -> int:
        if self._fd is None:
            raise ValueError("nothing can be written to a blob that is sealed or discarded")
        return self._fd

    def _grown(self, fd: int, octets: int) -> None:
        """Count what was written, and let the disk begin with it while more comes in."""
        self._size += octets
        if self._size - self._begun >= WRITE_BACK:
            self._calls.write_back(fd, self._begun, self._size - self._begun)
            self._begun = self._size

    def seal(self) -> None:
        """Sync the file, and close it. Its name is durable once :meth:`Journal.sync` has synced its folder."""
        if self._fd is None:
            raise ValueError("a blob can be sealed once, unless it is discarded")
        self._calls.sync(self._fd)
        self._close()
        self._sealed = True

    def keep(self, data: bytes) -> None:
        """Make the file of all its bytes, and seal it."""
        self.create()
        self.write(data)
        self.seal()

    def publish(self, target: Path) -> None:
        """Rename a sealed file to ``target``."""
        if not (self._there and self._sealed):
            raise ValueError("only a blob that is sealed, and not discarded, can be published")
        move(self.path, target, self._calls)
        self._there = False

    def discard(self) -> None:
        """Close and delete the file, if it is there and not published. It may be tried again when it fails."""
        if not self._there:
            return
        try:
            self._close()
        finally:
            self.path.unlink(missing_ok=True)
        self._there = False

    def _close(self) -> None:
        # A close that fails has closed all the same (Linux): never try one number twice.
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def move(source: Path, target: Path, calls: SystemCalls) -> None:
    """Rename ``source`` to ``target``, whose folder is made where it is missing.

    The folders are not synced.  If a power cut undoes the rename, the synced journal still has the
    file, its row is committed, and recovery makes this call again.
    """
    try:
        calls.rename(source, target)
    except FileNotFoundError:  # most often the folder is there
        target.parent.mkdir(FOLDER_MODE, exist_ok=True)
        calls.rename(source, target)


@attrs.frozen
class LockedFolder:
    """A folder whose lock this process holds."""

    path: Path
    _fd: int

    @classmethod
    def take(cls, path: Path) -> LockedFolder | None:
        """Lock ``path``; ``None`` where another process has the lock, or the folder is gone.

        Between opening and locking, its holder may have removed the folder: a lock on what has no
        name any more protects nothing, so the path must still lead to what was locked.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.path.samestat(path.stat(), os.fstat(fd)):
                    return None
            except (BlockingIOError, FileNotFoundError):
                return None
            undo.pop_all()
        return cls(path, fd)

    def release(self) -> None:
        """Give the lock back and leave the folder."""
        os.close(self._fd)

    def remove(self) -> None:
        """Remove the folder if it is empty, then give the lock back."""
        try:
            # Locked still: nobody can lose a folder that he has just taken.
            self.path.rmdir()
        except OSError as error:
            _log.warn("the folder {path} stays: {reason}", path=self.path, reason=error.strerror)
        finally:
            os.close(self._fd)


class Journal:
    """The folders of a store, seen by one daemon.

    ``unfinished``, ``finish``, ``abandon`` and ``close`` come one at a time; whoever makes them sees
    to that.

    :param reserve: bytes of the disk that uploads leave free; ``None``: see :class:`Space`.
    :param daemon: the daemon's name, which no other has or had, and which is its folder's; a random one without.
    """

    def __init__(
        self, root: Path, calls: SystemCalls, randomness: Randomness, reserve: int | None = 0, daemon: str = ""
    ) -> None:
        self._root = root
        self._blobs = root / "blobs"
        self._folders: dict[str, Path] = {}
        self._incoming = root / "incoming"
        self._calls = calls
        self._space = Space(root, reserve, calls.statvfs)
        self._randomness = randomness
        self._daemon = daemon
        self._own: LockedFolder | None = None
        self._left: dict[str, LockedFolder] = {}
        self._dead: set[str] = set()

    def open(self) -> None:
        """Make the folders that are missing, and one for this daemon.

        :raises StoreUnusable: that is not possible here.
        """
        try:
            self._prepare()
        except OSError as error:
            self.close()
            raise StoreUnusable(
                f"The folder {self._root} cannot keep files: {error.strerror} ({error.filename or self._incoming}). "
                "Let the daemon's user write there, or name another folder with --blobs."
            ) from error

    def _prepare(self) -> None:
        made = [folder for folder in (self._root, *self._root.parents) if not folder.exists()]
        self._root.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        self._blobs.mkdir(FOLDER_MODE, exist_ok=True)
        self._incoming.mkdir(FOLDER_MODE, exist_ok=True)
        if self._blobs.stat().st_dev != self._incoming.stat().st_dev:
            raise StoreUnusable(
                f"{self._blobs} and {self._incoming} are on different file systems. Files are moved from one to the "
                "other by renaming, which works within one only: mount it at the folder that holds both."
            )
        self._own = self._new_folder()
        # An upload's own sync is worth nothing in a folder that a power cut takes away.
        for folder in (self._incoming, self._root, *(new.parent for new in made)):
            sync_folder(folder, self._calls.sync)

    def _new_folder(self) -> LockedFolder:
        for _ in range(_ATTEMPTS):
            path = self._incoming / (self._daemon or random_name(self._randomness))
            # Until it is locked, the folder looks like a dead daemon's, and may be cleaned up as one.
            with contextlib.suppress(FileExistsError):
                path.mkdir(FOLDER_MODE)
                if folder := LockedFolder.take(path):
                    return folder
        raise StoreUnusable(f"No new folder in {self._incoming} stays there: something else removes them.")

    def close(self) -> None:
        """Give back all locks; the daemon's own folder goes if nothing is left in it."""
        if self._own is not None:
            self._own.remove()
            self._own = None
        for folder in set(self._left.values()):
            folder.release()
        self._left.clear()

    def new_file(self) -> IncomingFile:
        """Return the file of a new upload, not created yet. This one call does not block.

        :raises Unavailable: the journal is not open.
        """
        if self._own is None:
            raise Unavailable(CLOSED)
        return IncomingFile(self._own.path / random_name(self._randomness), self._calls, self._space)

    def try_out(self) -> None:
        """Do to a small file all that an upload needs."""
        file = self.new_file()
        file.create()
        try:
            file.write(b"\0")
            file.seal()
            sync_folder(file.path.parent, self._calls.sync)
        finally:
            file.discard()

    def sync(self, folders: Sequence[Path]) -> list[OSError | None]:
        """Make durable which names are in some folders; returns for each what that failed with."""
        failures = sync_folders(folders, self._calls.sync)
        return [failures.get(folder) for folder in folders]

    def published(self, blob: str) -> Path:
        """Return where ``blob`` is once it is published.

        :raises FileNotFoundError: it is no blob's name, so there is none.
        """
        if not _NAME.fullmatch(blob):
            raise _absent(blob)
        # Paths are dear to make, and of these folders there are 256.
        folder = self._folders.get(blob[:2])
        if folder is None:
            folder = self._folders[blob[:2]] = self._blobs / blob[:2]
        return folder / blob

    def delete_all(self, blobs: Sequence[str]) -> list[OSError | None]:
        """Delete published blobs, so that no power cut brings them back. What is absent is deleted.

        :returns: for each, why it may still be there.
        """
        # Its row may be marked purged next, in a database that knows nothing of this disk's order:
        # bytes that came back after that would have nobody to delete them.
        failures: dict[str, OSError] = {}
        folders: dict[Path, list[str]] = {}
        for blob in blobs:
            with contextlib.suppress(FileNotFoundError):
                path = self.published(blob)
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    failures[blob] = error
                else:
                    folders.setdefault(path.parent, []).append(blob)
        for folder, failure in sync_folders(folders, self._calls.sync).items():
            if not isinstance(failure, FileNotFoundError):  # without its folder it is nowhere
                failures.update(dict.fromkeys(folders[folder], failure))
        return [failures.get(blob) for blob in blobs]

    def unfinished(self) -> Unfinished:
        """Return what dead daemons left; their folders stay locked until each is finished or abandoned."""
        held = {folder.path for folder in self._left.values()}
        if self._own is not None:
            held.add(self._own.path)
        for path in sorted(self._incoming.iterdir()):
            if path not in held:
                self._adopt(path)
        return Unfinished(tuple(sorted(self._left)), frozenset(self._dead))

    def _adopt(self, path: Path) -> None:
        if not _NAME.fullmatch(path.name):
            _log.warn("{path} is left alone: it has no daemon's name", path=path)
            return
        try:
            folder = LockedFolder.take(path)
        except OSError as error:
            _log.warn("{path} is left alone: {reason}", path=path, reason=error.strerror)
            return
        if folder is None:
            return
        try:
            names = set(os.listdir(path))
        except BaseException:
            folder.release()
            raise
        self._dead.add(path.name)
        blobs = {name for name in names if _NAME.fullmatch(name)}
        if names - blobs:
            _log.warn("in {path} {count} names are no blob's; they are left alone", path=path, count=len(names - blobs))
        self._left.update(dict.fromkeys(blobs, folder))
        if not blobs:
            folder.remove()

    def finish(self, blob: str) -> None:
        """Publish what a dead daemon left; what is published already is finished.

        :raises FileNotFoundError: it is neither here nor there.
        """
        target = self.published(blob)
        folder = self._left.get(blob)
        if folder is not None and (folder.path / blob).exists():
            move(folder.path / blob, target, self._calls)
            # A rename between two links to one file does nothing (POSIX), and both stay.
            (folder.path / blob).unlink(missing_ok=True)
        elif not target.exists():
            raise _absent(blob)
        self._settled(blob)

    def abandon(self, blob: str) -> None:
        """Delete what a dead daemon left."""
        if folder := self._left.get(blob):
            (folder.path / blob).unlink(missing_ok=True)
        self._settled(blob)

    def _settled(self, blob: str) -> None:
        folder = self._left.pop(blob, None)
        if folder is not None and folder not in self._left.values():
            folder.remove()


def _absent(blob: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), blob)
