"""What Linux tells of a TCP socket: ``struct tcp_info`` (linux/tcp.h) and ``SIOCOUTQ`` (tcp(7)).

A connection that the peer has reset keeps its numbers until the socket is closed: tcp_reset in
net/ipv4/tcp_input.c empties the queue of what was not sent and leaves the counts (tried on 6.18).
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from typing import Final, NamedTuple

#: States of a connection, as net/tcp_states.h numbers them.
CLOSED: Final = 7
AFTER_FIN: Final = frozenset({8, 9, 11})  # CLOSE_WAIT, LAST_ACK, CLOSING

# tcpi_state; tcpi_bytes_acked, at 120, since Linux 4.1; tcpi_notsent_bytes, at 144, since Linux 4.6.
_OLDER: Final = struct.Struct("@B119xQ")
_TOLD: Final = struct.Struct("@B119xQ16xI")
_INT: Final = struct.Struct("@i")


class TCPInfo(NamedTuple):
    """A socket at one moment.

    :ivar state: of the connection.
    :ivar acked: bytes that the peer's machine has acknowledged (RFC 4898, tcpEStatsAppHCThruOctetsAcked).
    :ivar notsent: bytes that the kernel was handed and has never sent; 0 where it does not tell.
    """

    state: int
    acked: int
    notsent: int


def tcp_info(tcp: socket.socket | None) -> TCPInfo | None:
    """Return what is known of ``tcp``; ``None`` where it is no TCP socket, is closed, or its kernel does not count."""
    if tcp is None or tcp.family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    try:
        info = tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TOLD.size)
    except OSError:  # it is closed
        return None
    if len(info) == _TOLD.size:
        return TCPInfo._make(_TOLD.unpack(info))
    return TCPInfo._make((*_OLDER.unpack_from(info), 0)) if len(info) >= _OLDER.size else None


def unacknowledged(stream: socket.socket | None) -> int:
    """Return how many bytes the kernel was handed and the peer's machine has not acknowledged; 0 where it is closed."""
    if stream is None:
        return 0
    try:
        queued = fcntl.ioctl(stream, termios.TIOCOUTQ, bytes(_INT.size))
    except (OSError, ValueError):  # it is closed
        return 0
    return int(_INT.unpack(queued)[0])
