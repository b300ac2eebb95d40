"""Bytes of a file that the kernel moves to a socket by itself: ``sendfile(2)``.

They come behind all that was written before, and what the kernel takes is counted at once, so that at
any moment it is known what may have left.  One call moves a bounded piece (:class:`Shares`); then it is
the others' turn.  The pages must be in memory: a call that waits for a disk holds up everybody.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

#: Bytes that all connections together are sent in one turn of the reactor: a millisecond's work.
TURN: Final = 2 * 1024 * 1024
#: Bytes that one is sent in it while there is no other: the fewer turns, the less goes by between two of its pieces.
ALONE: Final = 2 * TURN
#: Bytes that each is sent in it however many there are; less costs more than it is worth.
LEAST: Final = 256 * 1024
#: Bytes that the kernel takes and has yet to send (TCP_NOTSENT_LOWAT, tcp(7)). What is under way is not bounded by it.
UNSENT: Final = 256 * 1024

# What the socket says of a connection that is lost; anything else is about the file.
_LOST: Final = frozenset(
    {
        errno.EPIPE,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
    }
)
_LATER: Final = frozenset({errno.EAGAIN, errno.ENOBUFS})


class Shares:
    """How much each of those who send files may in one turn: more than all together, where there is nobody else.

    As a context manager it counts one who does.
    """

    def __init__(self) -> None:
        self._senders = 0

    def __enter__(self) -> None:
        self._senders += 1

    def __exit__(self, *exc: object) -> None:
        self._senders -= 1

    @property
    def share(self) -> int:
        """Bytes."""
        return ALONE if self._senders <= 1 else max(LEAST, TURN // self._senders)


def hold_little(connection: socket.socket) -> None:
    """Let the kernel take from now on little more than it can send.

    By itself it takes megabytes that wait for the recipient: they are no use to him, count as sent all the
    same, and are copied into its queue by our thread rather than when his machine makes room.
    """
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)


@implementer(IPullProducer)
class FileSender:
    """Sends ``length`` bytes of ``file``, a descriptor, from ``first`` on, once it is the producer of ``transport``.

    :param shares: says how much at a time.
    :param taken: called with the number of bytes that the kernel has just taken.
    :param done: called when all is sent, or no more will be.
    :param ending: called when the connection is about to be lost and the socket is still there to be asked.

    :ivar left: bytes that the kernel has not taken.
    :ivar dropped: the connection is lost, and the transport has no producer any more.
    :ivar lost: the kernel says that there is no connection any more.
    :ivar error: why the file cannot be read.
    """

    def __init__(
        self,
        transport: Any,
        file: int,
        first: int,
        length: int,
        *,
        shares: Shares,
        taken: Callable[[int], None],
        done: Callable[[], None],
        ending: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._socket: int = transport.fileno()
        self._file = file
        self._first = first
        self._shares = shares
        self._taken = taken
        self._done = done
        self._ending = ending
        self._registered = self._stopped = False
        self.left = length
        self.dropped = self.lost = False
        self.error: OSError | None = None

    def stop(self) -> None:
        """Send no more: neither descriptor is touched again."""
        self._stopped = True

    # IPullProducer

    def resumeProducing(self) -> None:
        """Send a piece. The first call comes with the registration, when others may have their turn first."""
        if self._registered and not self._stopped:
            self._send()
        self._registered = True
        if not self._stopped:
            self._transport.startWriting()

    def stopProducing(self) -> None:
        """The connection is about to be lost."""
        self.stop()
        self.dropped = True
        self._ending()

    def _send(self) -> None:
        try:
            octets = os.sendfile(self._socket, self._file, self._first, min(self._shares.share, self.left))
            if not octets:
                raise OSError(errno.EIO, "the file ends too early")  # noqa: TRY301 - as the kernel tells of it elsewhere
        except OSError as error:
            self._failed(error)
            return
        self._first += octets
        self.left -= octets
        self._taken(octets)
        if not self.left:
            self._end()

    def _failed(self, error: OSError) -> None:
        if error.errno in _LATER:
            return
        if error.errno in _LOST:
            self.lost = True
        else:
            self.error = error
        self._end()

    def _end(self) -> None:
        self.stop()
        self._done()
