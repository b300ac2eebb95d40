"""Which names are in a folder, made durable: one sync serves all who wait for one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from filedropd.blobs.system import Sync


def sync_folder(path: Path, sync: Sync) -> None:
    """Make durable which names are in the folder ``path``."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)


class FolderSyncs:
    """Syncs folders for callers on any number of threads.

    Each call returns when a sync that began after it has ended: while one is under way, all who come wait, and the
    next one is for all of them.  It is group commit, as databases have it.
    """

    def __init__(self, sync: Sync) -> None:
        self._sync = sync
        self._lock = threading.Lock()
        self._turns: dict[Path, _Turn] = {}

    def __call__(self, path: Path) -> None:
        """Make durable which names are in the folder ``path``.

        :raises OSError: that failed, for this caller.
        """
        with self._lock:
            turn = self._turns.setdefault(path, _Turn())
            turn.users += 1
        try:
            turn.take(lambda: sync_folder(path, self._sync))
        finally:
            with self._lock:
                turn.users -= 1
                if not turn.users:
                    del self._turns[path]


class _Turn:
    """One folder's: who syncs, and who waits."""

    def __init__(self) -> None:
        self.users = 0
        self._changed = threading.Condition()
        self._begun = 0
        self._done = 0  # the last one that ended well
        self._running = False

    def take(self, sync: Callable[[], None]) -> None:
        """Return when a sync has ended that began from now on; do it where nobody else does."""
        with self._changed:
            wanted = self._begun + 1
            while self._running and self._done < wanted:
                self._changed.wait()
            if self._done >= wanted:
                return
            self._running = True
            self._begun += 1
            number = self._begun
        try:
            sync()
        except BaseException:
            self._over(0)
            raise
        self._over(number)

    def _over(self, number: int) -> None:
        with self._changed:
            self._running = False
            self._done = max(self._done, number)
            self._changed.notify_all()
