"""A road to the daemon on which a test decides how many bytes pass.

What happens while a file is on its way is over in milliseconds on the machine that runs the tests.  On a road
it lasts as long as the test wants to look at it, without anybody waiting for time to pass.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from threading import Condition, Thread
from typing import Final, Self

_PIECE: Final = 16 * 1024
# Of ours on both sides, so that what is held does not vanish in the kernel's memory first.
_BUFFER: Final = 64 * 1024


class Way(Enum):
    """Which way bytes go."""

    UP = "to the daemon"
    DOWN = "to the browser"


class Road:
    """A port that stays where it is, and from which everything goes to the daemon's.

    :param target: returns the port of the daemon, which is another one after each start.
    """

    def __init__(self, target: Callable[[], int]) -> None:
        self._target = target
        self._gate = Condition()
        self._allowed: dict[Way, int | None] = {Way.UP: None, Way.DOWN: None}
        self._passed = {Way.UP: 0, Way.DOWN: 0}
        self._spent: Counter[tuple[socket.socket, Way]] = Counter()
        self._ends: list[socket.socket] = []
        self._threads: list[Thread] = []
        self._closed = self._barred = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._go(self._accept)

    @property
    def port(self) -> int:
        """Where it begins."""
        return int(self._listener.getsockname()[1])

    def url(self, path: str = "/") -> str:
        """Return how a browser goes to ``path`` on this road."""
        return f"http://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- what a test decides ----------------------------------------------------------------------

    def hold(self, way: Way, after: int = 0) -> None:
        """Let ``after`` more bytes of each connection pass that way, and hold the rest of it.

        What is smaller passes: pages go on asking while a file is held.
        """
        with self._gate:
            self._allowed[way] = after
            self._spent.clear()
            self._gate.notify_all()

    def release(self, way: Way) -> None:
        """Let everything pass that way from now on, what was held first."""
        with self._gate:
            self._allowed[way] = None
            self._gate.notify_all()

    def passed(self, way: Way) -> int:
        """Return how many bytes have passed that way."""
        with self._gate:
            return self._passed[way]

    def bar(self) -> None:
        """Break every connection, and every new one until :meth:`open`: browsers try again by themselves, once."""
        self._barred = True
        self.cut()

    def open(self) -> None:
        """Take new connections again."""
        self._barred = False

    def cut(self) -> None:
        """Break every connection, as a network does that is gone; new ones can be made."""
        with self._gate:
            ends, self._ends = self._ends, []
            self._gate.notify_all()
        for end in ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        """Break every connection, and take no new ones."""
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in list(self._threads):
            thread.join()

    # -- what its threads do ----------------------------------------------------------------------

    def _go(self, act: Callable[..., None], *arguments: object) -> None:
        thread = Thread(target=act, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._barred:
                near.close()
                continue
            far = socket.socket()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            try:
                far.connect(("127.0.0.1", self._target()))
            except OSError:  # the daemon is down: the browser's connection breaks
                near.close()
                continue
            with self._gate:
                self._ends += [near, far]
            self._go(self._carry, near, far, Way.UP)
            self._go(self._carry, far, near, Way.DOWN)

    def _carry(self, source: socket.socket, sink: socket.socket, way: Way) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                while piece:
                    allowed = self._let(way, len(piece), sink)
                    sink.sendall(piece[:allowed])
                    piece = piece[allowed:]
            sink.shutdown(socket.SHUT_WR)
            return
        for end in (source, sink):  # what breaks on one side breaks on the other
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _let(self, way: Way, wanted: int, sink: socket.socket) -> int:
        """Return how many bytes may pass, at least one; waits until one may.

        :raises OSError: the connection is broken meanwhile.
        """
        with self._gate:
            self._gate.wait_for(lambda: sink not in self._ends or self._left(way, sink) > 0)
            if sink not in self._ends:
                raise ConnectionResetError
            count = min(wanted, self._left(way, sink))
            self._spent[sink, way] += count
            self._passed[way] += count
            return count

    def _left(self, way: Way, sink: socket.socket) -> int:
        allowed = self._allowed[way]
        return _PIECE if allowed is None else allowed - self._spent[sink, way]
