"""A body's bytes from the socket to a file that never pass through Python.

``splice(2)`` needs a pipe between the two.  The first half, socket to pipe, is done here, on the
reactor's thread, in place of the transport's own reading and without ever waiting.  The second half
is the reader's, who may take as long as the disk does: meanwhile what comes waits in the socket.

What is too little to pay, and whatever goes wrong, is left to the transport's own reading.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.main import CONNECTION_LOST

from filedropd.http.deadline import Deadline
from filedropd.http.pipes import Pipe, Pipes

#: Bytes that must wait in a socket, and still belong to the body, for a pipe to be begun: fewer are copied as fast.
LEAST: Final = 64 * 1024
#: Bytes that are worth a trip to a thread; and seconds for which fewer wait for more.
ENOUGH: Final = 512 * 1024
GATHERING: Final = 0.005


class Sink(Protocol):
    """Takes a body's bytes, in order; each call is awaited before the next one."""

    async def write(self, data: bytes) -> None:
        """Take ``data``."""

    async def splice(self, pipe: int, size: int) -> None:
        """Take the ``size`` bytes that are in ``pipe``, the descriptor of its read end.

        When this has returned the pipe is empty; when it has raised, nobody knows, and the pipe is closed.
        """


class Splicing:
    """One body's way through a pipe. It is in nobody's way until it has begun.

    :param transport: of TCP or of a UNIX socket.
    :param handle: its socket.
    :param remaining: tells how many bytes of the body are still to come.
    :param moved: told how many have come into the pipe, or of 0 when something became :attr:`ready`.
    :param pause: stops the transport's reading.
    :param resume: lets it go on.

    :ivar ready: something has come that is to be drained.
    """

    def __init__(
        self,
        transport: Any,
        handle: socket.socket,
        pipes: Pipes,
        clock: IReactorTime,
        *,
        remaining: Callable[[], int],
        moved: Callable[[int], None],
        pause: Callable[[], None],
        resume: Callable[[], None],
    ) -> None:
        self.ready = False
        self._transport = transport
        self._socket = handle
        self._pipes = pipes
        self._remaining = remaining
        self._moved = moved
        self._pause = pause
        self._resume = resume
        self._read_plainly: Callable[[], object] = transport.doRead
        self._deadline = Deadline(clock)
        self._pipe: Pipe | None = None  # which is being filled, or ready
        self._on = False
        self._paused = False

    # For the one who reads the body.

    @property
    def pays(self) -> bool:
        """Whether so much is still to come that it is worth to begin."""
        return self._remaining() >= LEAST

    def begin(self) -> None:
        """Read in place of the transport."""
        self._on = True
        self._transport.doRead = self._read

    def stop(self) -> None:
        """Let the transport read again. What has come may still be drained."""
        self._on = False
        self.ready = self._pipe is not None
        self._deadline.stop()
        self._pipes.forget(self._try_again)
        # An abort has put something of its own there.
        if vars(self._transport).get("doRead") == self._read:
            del self._transport.doRead
        self._go_on()

    async def drain(self, sink: Sink) -> None:
        """Let ``sink`` take what is ready, and what comes meanwhile, while that is enough and nobody else waits for a pipe."""
        pipe = self._taken()
        try:
            while pipe.size:
                await sink.splice(pipe.fileno, pipe.size)
                pipe.emptied()
                self._refill(pipe)
        finally:
            self._pipes.give_back(pipe)
            self._go_on()

    def _refill(self, pipe: Pipe) -> None:
        if self._on and not self._pipes.wanted and self._waiting() >= ENOUGH:
            octets = 0
            with contextlib.suppress(OSError):  # doRead will see
                octets = self._fill(pipe)
            self._moved(octets)

    def rest(self) -> bytes:
        """Take what has come and was not drained."""
        if self._pipe is None:
            return b""
        pipe = self._taken()
        try:
            return pipe.read()
        finally:
            self._pipes.give_back(pipe)

    def drop(self) -> None:
        """Let go of what has come and was not drained."""
        if self._pipe is not None:
            self._pipes.give_back(self._taken())

    def _taken(self) -> Pipe:
        pipe, self._pipe, self.ready = self._pipe, None, False
        if pipe is None:
            raise RuntimeError("nothing has come into a pipe")
        return pipe

    # In place of the transport's doRead.

    def _read(self) -> object:
        if self._pipe is None:
            if self._waiting() < LEAST:
                return self._read_plainly()
            try:
                self._pipe = self._pipes.take()
            except OSError:
                return self._read_plainly()
            if self._pipe is None:
                self._paused = True
                self._pause()
                self._pipes.wait(self._try_again)
                return None
            self._deadline.set(GATHERING, self._gathered)
        return self._gather(self._pipe)

    def _try_again(self) -> None:
        """Read: there may be a pipe."""
        self._go_on()
        # At once, and not when the reactor comes to it: others wait, too. What it returns is of a socket in
        # which nothing waits, and this is one in which much does.
        self._read()

    def _gather(self, pipe: Pipe) -> object:
        """Move what has come to ``pipe``; returns what doRead returns."""
        try:
            octets = self._fill(pipe)
        except BlockingIOError:  # something has come, or we would not be here: it does not fit in
            self._gathered()
            return None
        except OSError:
            if pipe.size:
                return CONNECTION_LOST  # the socket says it once
            octets = 0
        if not pipe.size:  # although something waits: it cannot be done with this socket
            self.stop()
            self.drop()
        elif pipe.size >= ENOUGH:
            self._offer()
        if not octets:
            return self._read_plainly()
        self._moved(octets)
        return None

    def _fill(self, pipe: Pipe) -> int:
        return pipe.fill(self._socket.fileno(), self._remaining())

    def _gathered(self) -> None:
        """Wait for no more."""
        self._offer()
        self._moved(0)

    def _offer(self) -> None:
        """Let the reader have the pipe. Until he has drained it, what comes waits in the socket."""
        self.ready = True
        self._deadline.clear()
        if not self._paused:
            self._paused = True
            self._pause()

    def _waiting(self) -> int:
        """Return how many bytes of the body wait in the socket."""
        octets: tuple[int] = struct.unpack("i", fcntl.ioctl(self._socket, termios.FIONREAD, bytes(4)))
        return min(octets[0], self._remaining())

    def _go_on(self) -> None:
        if self._paused:
            self._paused = False
            self._resume()
