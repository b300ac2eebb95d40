"""Pipes through which bytes go from a socket to a file, shared by all connections.

What a user's pipes can hold is bounded by the kernel: 64 MiB for an unprivileged one.  So there are
few of them, and a pipe belongs to a body only while bytes are in it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from typing import Final

#: Bytes that a pipe is asked to hold, which is what the kernel lets anybody ask for, and that are put into it.
PIPE_SIZE: Final = 1024 * 1024
#: A pipe of a size below this is not worth its while.
LEAST_SIZE: Final = 64 * 1024
#: Pipes of one server: half of what an unprivileged user may have.
PIPES: Final = 32


class Pipe:
    """A pipe, neither end of which blocks.

    :ivar fileno: its read end.
    :ivar size: bytes that are in it.
    """

    def __init__(self, fileno: int, entry: int) -> None:
        self.fileno = fileno
        self.size = 0
        self._entry = entry

    @classmethod
    def make(cls) -> Pipe:
        """Make a pipe.

        :raises OSError: there can be none, or none of a useful size.
        """
        fileno, entry = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        pipe = cls(fileno, entry)
        # Not where the pipes of this user hold so much already that he gets small ones only, or there is no memory.
        with contextlib.suppress(OSError):
            fcntl.fcntl(entry, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        if fcntl.fcntl(entry, fcntl.F_GETPIPE_SZ) < LEAST_SIZE:
            pipe.close()
            raise OSError(errno.ENOSPC, "pipes are too small here")
        return pipe

    def fill(self, socket: int, most: int) -> int:
        """Move up to ``most`` bytes from ``socket`` to here; returns how many, 0 at their end.

        :raises BlockingIOError: nothing has come, or nothing more fits in.
        :raises OSError: the connection is broken.
        """
        octets = os.splice(
            socket,
            self._entry,
            min(most, PIPE_SIZE - self.size),
            flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE,
        )
        self.size += octets
        return octets

    def emptied(self) -> None:
        """Note that somebody has taken all that was in it."""
        self.size = 0

    def read(self) -> bytes:
        """Take all that is in it."""
        data = b""
        while len(data) < self.size:
            data += os.read(self.fileno, self.size - len(data))
        self.emptied()
        return data

    def close(self) -> None:
        """Close both ends; what is in it is lost, unless somebody else has the read end open, too."""
        os.close(self._entry)
        os.close(self.fileno)


class Pipes:
    """All pipes of a server, made as they are needed.

    :param most: how many.
    """

    def __init__(self, most: int = PIPES) -> None:
        self._most = most
        self._made = 0
        self._free: list[Pipe] = []
        self._waiting: dict[Callable[[], None], None] = {}  # in the order in which they came
        self._serving = False
        self._closed = False

    def take(self) -> Pipe | None:
        """Return an empty pipe; ``None`` while all are in use.

        :raises OSError: there is none to wait for.
        """
        if self._free:
            return self._free.pop()
        if self._made == self._most:
            return None
        pipe = Pipe.make()
        self._made += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Take back a pipe. One that is not known to be empty is closed."""
        if pipe.size or self._closed:
            pipe.close()
            self._made -= 1
        else:
            self._free.append(pipe)
        self._serve()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for one."""
        return bool(self._waiting)

    def wait(self, call: Callable[[], None]) -> None:
        """Call ``call`` when there may be a pipe. It is called once, and need not take it."""
        self._waiting[call] = None

    def forget(self, call: Callable[[], None]) -> None:
        """Do not call ``call`` any more."""
        self._waiting.pop(call, None)

    def _serve(self) -> None:
        if self._serving:  # who is called may give back what he was called for
            return
        self._serving = True
        try:
            while self._waiting and (self._free or self._made < self._most):
                call = next(iter(self._waiting))
                del self._waiting[call]
                call()
        finally:
            self._serving = False

    def close(self) -> None:
        """Close the pipes that are not in use now, and the others when they are given back."""
        self._closed = True
        while self._free:
            self._free.pop().close()
            self._made -= 1
