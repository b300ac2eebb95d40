"""What Linux tells of a TCP socket: ``struct tcp_info`` (linux/tcp.h) and ``SIOCOUTQ`` (tcp(7)).

A connection that the peer has reset keeps its numbers until the socket is closed: tcp_reset in
net/ipv4/tcp_input.c empties the queue of what was not sent and leaves the counts (tried on 6.18).
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from typing import Final

import attrs

#: States of a connection, as net/tcp_states.h numbers them.
CLOSED: Final = 7
AFTER_FIN: Final = frozenset({8, 9, 11})  # CLOSE_WAIT, LAST_ACK, CLOSING

_ACKED: Final = struct.Struct("@Q")
_ACKED_OFFSET: Final = 120  # tcpi_bytes_acked; Linux 4.1
_NOTSENT: Final = struct.Struct("@I")
_NOTSENT_OFFSET: Final = 144  # tcpi_notsent_bytes; Linux 4.6
_INT: Final = struct.Struct("@i")


@attrs.frozen
class TCPInfo:
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
        info = tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _NOTSENT_OFFSET + _NOTSENT.size)
    except OSError:  # it is closed
        return None
    if len(info) < _ACKED_OFFSET + _ACKED.size:
        return None
    told = len(info) >= _NOTSENT_OFFSET + _NOTSENT.size
    return TCPInfo(
        info[0],
        _ACKED.unpack_from(info, _ACKED_OFFSET)[0],
        _NOTSENT.unpack_from(info, _NOTSENT_OFFSET)[0] if told else 0,
    )


def unacknowledged(stream: socket.socket | None) -> int:
    """Return how many bytes the kernel was handed and the peer's machine has not acknowledged; 0 where it is closed."""
    if stream is None:
        return 0
    try:
        queued = fcntl.ioctl(stream, termios.TIOCOUTQ, bytes(_INT.size))
    except (OSError, ValueError):  # it is closed
        return 0
    return int(_INT.unpack(queued)[0])
