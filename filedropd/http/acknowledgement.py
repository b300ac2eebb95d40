"""What the other end's machine has acknowledged, as far as the kernel tells.

Written is not delivered: a body of megabytes sits in two kernels' buffers long after the last
``write``.  On a TCP socket ``tcpi_bytes_acked`` (RFC 4898, ``struct tcp_info`` in linux/tcp.h)
counts what has arrived on the other machine, and ``SIOCOUTQ`` (tcp(7)) what is still out; together
they are what the kernel was ever handed.  A UNIX socket tells nothing: there, handed to the kernel
is the best that can be said.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import termios
from typing import Final

from twisted.internet.interfaces import ISSLTransport, ITransport
from zope.interface import Interface

# struct tcp_info begins with the connection's state; the numbers are those of net/tcp_states.h.
_CLOSED: Final = 7
_AFTER_FIN: Final = frozenset({8, 9, 11})  # CLOSE_WAIT, LAST_ACK, CLOSING
_BYTES_ACKED: Final = struct.Struct("@Q")
_BYTES_ACKED_OFFSET: Final = 120
_INT: Final = struct.Struct("@i")


class IAcknowledging(Interface):
    """A transport that is not a socket, and counts for itself (one in memory)."""

    def bytes_acked() -> int | None:
        """Return how many bytes the peer's machine has acknowledged; ``None`` once it is closed or reset."""

    def bytes_out() -> int:
        """Return how many bytes were handed over and are not acknowledged."""


class Acknowledgements:
    """Follows what one connection's peer has acknowledged. All positions are bytes since its start.

    :ivar written: where the channel has got with writing; the channel keeps it.
    :ivar exact: positions on the wire are positions in ``written``. Under TLS they are not (records
        add to them), and where the kernel tells nothing there are none.
    """

    def __init__(self, transport: ITransport) -> None:
        self.written = 0
        self._piped = self._secure = False
        self._own = IAcknowledging(transport, None)
        self._socket = _socket_of(transport)
        base = self._bytes_acked()
        self._counted = base is not None
        self._base = base or 0
        self._secure = ISSLTransport.providedBy(transport)
        self.exact = self._counted and not self._secure

    def position(self) -> int | None:
        """Return up to where the wire is acknowledged; ``None`` where that is not known (any more)."""
        acked = self._bytes_acked()
        return None if acked is None else acked - self._base

    def handed(self) -> int | None:
        """Return up to where the kernel was handed bytes; ``None`` where that is not known."""
        position = self.position()
        return None if position is None else position + self._unacknowledged()

    def reached(self, mark: int | None) -> bool:
        """Tell whether the wire is acknowledged up to ``mark``, a value that :meth:`handed` returned."""
        if mark is None:
            return not self._counted
        position = self.position()
        return position is not None and position >= mark

    def progress(self) -> int:
        """Return a number that changes whenever the peer takes something."""
        acked = self._bytes_acked()
        return self._unacknowledged() if acked is None else acked

    def lost(self) -> bool:
        """Tell whether the kernel says that the connection is over. After a FIN, Twisted looks no more for a RST."""
        return self._counted and self._bytes_acked() is None

    def fin_received(self) -> bool:
        """Tell whether the peer's FIN has come, and no RST; false where the kernel does not tell."""
        info = self._tcp_info()
        return bool(info) and (info[0] in _AFTER_FIN or (info[0] == _CLOSED and self._reset_after_fin()))

    def _bytes_acked(self) -> int | None:
        if self._own is not None:
            own: int | None = self._own.bytes_acked()
            return own
        info = self._tcp_info()
        # After a RST the count still stands, but what it counts was thrown away.
        # A shorter struct is that of a kernel before 4.1.
        if len(info) < _BYTES_ACKED_OFFSET + _BYTES_ACKED.size:
            return None
        if info[0] == _CLOSED and not self._reset_after_fin():
            return None
        return int(_BYTES_ACKED.unpack_from(info, _BYTES_ACKED_OFFSET)[0])

    def _reset_after_fin(self) -> bool:
        """Tell whether the peer closed in order, and its RST only answers what we sent after that.

        Under TLS the peer's close_notify is answered before anybody is told of it; a peer that has
        closed resets then, having read everything.  Linux notes EPIPE for a RST in CLOSE_WAIT, and
        ECONNRESET for one that comes without a FIN (tcp_reset in net/ipv4/tcp_input.c).  Without TLS
        nothing is sent after a close, and a RST after an early FIN throws away what it always does.
        """
        if self._secure and self._socket is not None and not self._piped:  # asking clears it
            self._piped = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EPIPE
        return self._piped

    def _tcp_info(self) -> bytes:
        """Return the beginning of ``struct tcp_info``; nothing where there is none."""
        if self._socket is None or self._socket.family not in {socket.AF_INET, socket.AF_INET6}:
            return b""
        try:
            return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED_OFFSET + _BYTES_ACKED.size)
        except OSError:  # it is closed
            return b""

    def _unacknowledged(self) -> int:
        if self._own is not None:
            return int(self._own.bytes_out())
        if self._socket is None:
            return 0
        try:
            queued = fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(_INT.size))
        except (OSError, ValueError):  # it is closed
            return 0
        return int(_INT.unpack(queued)[0])


def _socket_of(transport: ITransport) -> socket.socket | None:
    """Return the socket under ``transport``; ``None`` for a transport in memory."""
    # TLS's getHandle is OpenSSL's connection; the socket is that of the transport below it.
    lower = transport.transport if ISSLTransport.providedBy(transport) else transport  # type: ignore[attr-defined]  # TLSMemoryBIOProtocol wraps one
    get_handle = getattr(lower, "getHandle", None)
    handle = get_handle() if get_handle is not None else None
    return handle if isinstance(handle, socket.socket) else None
