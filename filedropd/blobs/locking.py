"""Folders that belong to a process while it lives: the kernel gives the lock back however it ends (flock(2))."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

import attrs
from twisted.logger import Logger

_log = Logger()


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
