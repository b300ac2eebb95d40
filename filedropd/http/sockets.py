"""The socket under a transport, where there is one."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import ISSLTransport


def plain_socket(transport: Any) -> socket.socket | None:
    """Return the socket of a transport whose bytes are its socket's; ``None`` of any other (TLS's, memory's)."""
    get_handle = getattr(transport, "getHandle", None)
    handle = get_handle() if get_handle is not None else None
    return handle if isinstance(handle, socket.socket) else None


def socket_under(transport: Any) -> socket.socket | None:
    """Return the socket that bytes go to in the end, under TLS, too; ``None`` for a transport in memory."""
    # TLS's getHandle is OpenSSL's connection; the socket is that of the transport below it.
    secure = ISSLTransport.providedBy(transport)
    return plain_socket(transport.transport if secure else transport)
