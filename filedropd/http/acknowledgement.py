"""What the other end's machine has acknowledged, and what has left this one, as far as the kernel tells.

Written is not delivered: a body of megabytes sits in two kernels' buffers long after the last
``write``.  On a TCP socket ``tcpi_bytes_acked`` counts what has arrived on the other machine, and
``SIOCOUTQ`` what is still out; together they are what the kernel was ever handed, and without
``tcpi_notsent_bytes`` what has left it (:mod:`.tcp_info`).  A UNIX socket tells nothing: there,
handed to the kernel is the best that can be said of what arrived, and written of what left.
"""

from __future__ import annotations

import errno
import socket

from twisted.internet.interfaces import ISSLTransport, ITransport
from zope.interface import Interface

from filedropd.http.records import Records
from filedropd.http.sockets import socket_under
from filedropd.http.tcp_info import AFTER_FIN, CLOSED, TCPInfo, tcp_info, unacknowledged


class IAcknowledging(Interface):
    """A transport that is not a socket, and counts for itself (one in memory)."""

    def bytes_acked() -> int | None:
        """Return how many bytes the peer's machine has acknowledged; ``None`` once it is closed or reset."""

    def bytes_out() -> int:
        """Return how many bytes were handed over and are not acknowledged."""

    def bytes_handed() -> int:
        """Return how many bytes were ever handed over, also of a connection that is over."""

    def bytes_notsent() -> int:
        """Return how many bytes were handed over and never sent, also of a connection that is over."""


class Acknowledgements:
    """Follows what one connection's peer has acknowledged. All positions are bytes since its start.

    A position without further words is one of what was *written*; one on the *wire* differs from it
    under TLS, whose records (:mod:`.records`) tell which is which.

    :ivar written: where :class:`~filedropd.http.output.Output` has got with writing; it keeps it.
    :ivar records: how TLS is written to; ``None`` without TLS.
    """

    def __init__(self, transport: ITransport) -> None:
        self.written = 0
        self._error = 0
        self._own = IAcknowledging(transport, None)
        self._socket = socket_under(transport)
        self.records = Records(transport) if ISSLTransport.providedBy(transport) else None
        base = self._bytes_acked()
        self._counted = base is not None
        self._base = base or 0

    def position(self) -> int | None:
        """Return up to where what was written is acknowledged; ``None`` where that is not known (any more)."""
        wire = self._wire()
        if wire is None or self.records is None:
            return wire
        return self.records.marks.acknowledged(wire)

    def departed(self, *, queued: bool) -> int:
        """Return up to where what was written may have left this machine; all of it where that is not known.

        It may be asked of a connection that was reset, as long as its socket is open.

        :param queued: count what lies in the kernel's queue, too: it may leave at any time.
        """
        most = self.written
        position = self._departed_wire(queued=queued)
        if self.records is not None:
            most = most if self.records.cut is None else self.records.cut
            position = None if position is None else self.records.marks.departed(position)
        return most if position is None else min(position, most)

    def note(self) -> bool:
        """Note where on the wire what was written ends; tells whether that was possible, or is not needed."""
        if self.records is None:
            return True
        return self.records.note(self.written, self._handed())

    def write_records(self, data: bytes) -> None:
        """Write ``data`` to TLS, in :attr:`records`."""
        if self.records is not None:
            self.position()  # forgets what is passed
            self.records.write(data, start=self.written, handed=self._handed())

    def mark(self) -> int | None:
        """Return where on the wire all ends that was written and handed to the kernel; ``None``: not known."""
        return self._handed() if self._encrypted() else None

    def reached(self, mark: int | None) -> bool:
        """Tell whether the wire is acknowledged up to ``mark``, a value that :meth:`mark` returned."""
        if mark is None:
            return not self._counted
        wire = self._wire()
        return wire is not None and wire >= mark

    def progress(self) -> int:
        """Return a number that changes whenever the peer takes something."""
        acked = self._bytes_acked()
        return self._unacknowledged() if acked is None else acked

    def lost(self) -> bool:
        """Tell whether the connection is over: by the kernel (after a FIN, Twisted looks no more for a RST), or for TLS.

        TLS takes nothing more when the peer has said that it closes, and drops what it is given.
        """
        if not self._counted:
            return False
        ended = self.records is not None and self.records.ended
        return self._bytes_acked() is None or (ended and not self._encrypted())

    def reset(self) -> bool:
        """Tell whether the peer has reset the connection, in whatever state ours is.

        The socket forgets it when it is asked: the connection is to be ended then.
        """
        if self._own is not None or not self._counted:
            return self.lost()
        info = tcp_info(self._socket)
        # One that both sides have closed in order is in the same state, and has no error.
        return info is not None and info.state == CLOSED and self._socket_error() not in {0, errno.EPIPE}

    def fin_received(self) -> bool:
        """Tell whether the peer's FIN has come, and no RST; false where the kernel does not tell."""
        info = tcp_info(self._socket)
        return info is not None and (info.state in AFTER_FIN or (info.state == CLOSED and self._reset_after_fin()))

    def _encrypted(self) -> bool:
        """Tell whether all that was written was seen to be encrypted, where there is TLS and it can be seen."""
        return self.records is None or not self._counted or self.records.marks.newest == self.written

    def _wire(self) -> int | None:
        acked = self._bytes_acked()
        return None if acked is None else acked - self._base

    def _handed(self) -> int | None:
        """Return up to where on the wire the kernel was handed bytes; ``None`` where that is not known."""
        acked = self._wire()
        while acked is not None:
            handed = acked + self._unacknowledged()
            again = self._wire()
            if again == acked:  # else something was acknowledged between the two questions, and counted in neither
                return handed
            acked = again
        return None

    def _departed_wire(self, *, queued: bool) -> int | None:
        if not self._counted:
            return None
        if self._own is not None:
            return int(self._own.bytes_handed() - (0 if queued else self._own.bytes_notsent()))
        # Asked in this order, something that is acknowledged or sent meanwhile makes it more, and never less.
        out = self._unacknowledged()
        info = tcp_info(self._socket)
        return None if info is None else info.acked - self._base + out - (0 if queued else info.notsent)

    def _bytes_acked(self) -> int | None:
        if self._own is not None:
            own: int | None = self._own.bytes_acked()
            return own
        info: TCPInfo | None = tcp_info(self._socket)
        # After a RST the count still stands, but what it counts was thrown away.
        if info is None or (info.state == CLOSED and not self._reset_after_fin()):
            return None
        return info.acked

    def _reset_after_fin(self) -> bool:
        """Tell whether the peer closed in order, and its RST only answers what we sent after that.

        Under TLS the peer's close_notify is answered before anybody is told of it; a peer that has
        closed resets then, having read everything.  Linux notes EPIPE for a RST in CLOSE_WAIT, and
        ECONNRESET for one that comes without a FIN (tcp_reset in net/ipv4/tcp_input.c).  Without TLS
        nothing is sent after a close, and a RST after an early FIN throws away what it always does.
        """
        return self.records is not None and self._socket_error() == errno.EPIPE

    def _socket_error(self) -> int:
        """Return the error of the socket. Asking clears it there, so it is remembered here."""
        if self._socket is not None and not self._error:
            self._error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return self._error

    def _unacknowledged(self) -> int:
        if self._own is not None:
            return int(self._own.bytes_out())
        return unacknowledged(self._socket)
