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
import os
import re
from collections.abc import Sequence
from pathlib import Path

from twisted.logger import Logger

from filedropd.blobs.folders import sync_folder, sync_folders
from filedropd.blobs.incoming import FOLDER_MODE, IncomingFile, move
from filedropd.blobs.locking import LockedFolder
from filedropd.blobs.space import Space
from filedropd.blobs.system import SystemCalls
from filedropd.errors import Unavailable
from filedropd.interfaces import StoreUnusable, Unfinished
from filedropd.tokens import Randomness, random_name

#: Folders tried before giving up: a try fails only when another daemon cleans up in that instant.
_ATTEMPTS = 100

_NAME = re.compile(r"[0-9a-f]{32}", re.ASCII)

#: What a client is told who comes before the store is open or after it is closed.
CLOSED = "The file store is closed. Try again in a moment."

_log = Logger()


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
