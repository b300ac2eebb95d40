"""What the other end's machine has acknowledged, as far as the kernel tells.

Written is not delivered: a body of megabytes sits in two kernels' buffers long after the last
``write``.  On a TCP socket ``tcpi_bytes_acked`` (RFC 4898, ``struct tcp_info`` in linux/tcp.h)
counts what has arrived on the other machine, and ``SIOCOUTQ`` (tcp(7)) what is still out; together
they are what the kernel was ever handed.  A UNIX socket tells nothing: there, handed to the kernel
is the best that can be said.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from typing import Final

from twisted.internet.interfaces import ISSLTransport, ITransport

_BYTES_ACKED: Final = struct.Struct("@Q")
_BYTES_ACKED_OFFSET: Final = 120
_INT: Final = struct.Struct("@i")


class Acknowledgements:
    """Follows what one connection's peer has acknowledged. All positions are bytes since its start.

    :ivar written: where the channel has got with writing; the channel keeps it.
    :ivar exact: positions on the wire are positions in ``written``. Under TLS they are not (records
        add to them), and where the kernel tells nothing there are none.
    """

    def __init__(self, transport: ITransport) -> None:
        self.written = 0
        self._socket = _socket_of(transport)
        base = self._bytes_acked()
        self._counted = base is not None
        self._base = base or 0
        self.exact = self._counted and not ISSLTransport.providedBy(transport)

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

    def _bytes_acked(self) -> int | None:
        if self._socket is None or self._socket.family not in {socket.AF_INET, socket.AF_INET6}:
            return None
        end = _BYTES_ACKED_OFFSET + _BYTES_ACKED.size
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, end)
        except OSError:  # it is closed
            return None
        if len(info) < end:  # a kernel before 4.1
            return None
        return int(_BYTES_ACKED.unpack_from(info, _BYTES_ACKED_OFFSET)[0])

    def _unacknowledged(self) -> int:
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
