"""Opening the endpoints of ``--listen``, with words fit for whoever wrote them where one cannot be opened."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, VerifyError
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory

from filedropd.config.endpoints import BACKLOG

__all__ = ["CannotListen", "listen", "written"]


class CannotListen(Exception):
    """An endpoint cannot be opened; as text, which one and why."""


async def listen(reactor: Any, description: str, factory: IProtocolFactory) -> IListeningPort:
    """Return the port that ``description`` names, open.

    :param description: as :func:`~filedropd.config.parse_endpoint` returned it.
    :raises CannotListen: it cannot be opened here and now.
    """
    try:
        port: IListeningPort = await serverFromString(reactor, description).listen(factory)
    except (CannotListenError, OSError, LookupError, ValueError, VerifyError, SSL.Error, crypto.Error) as error:
        # As it was written: nobody wrote the backlog that is ours.
        raise CannotListen(
            f"cannot listen on {description.removesuffix(f':backlog={BACKLOG}')}: {_reason(error)}"
        ) from error
    return port


def written(address: IAddress) -> str:
    """Return where one listens."""
    host = getattr(address, "host", None)
    if host is None:
        name = getattr(address, "name", None)
        return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"  # type: ignore[attr-defined]  # both IPv4Address and IPv6Address


def _reason(error: Exception) -> str:
    match error:
        case CannotListenError():
            cause = error.socketError
            return getattr(cause, "strerror", None) or str(cause)
        case OSError():
            # The lock of a UNIX socket is a link, which has its path in second place.
            path = error.filename2 or error.filename
            said = error.strerror or str(error)
            return said if path is None else f"{said}: {path.decode() if isinstance(path, bytes) else path}"
        case LookupError():  # in what systemd has given us: of the endpoints, none but systemd: looks anything up
            return "systemd has given no such socket; see FileDescriptorName= and Sockets= in systemd.socket(5)"
        case SSL.Error() | crypto.Error():
            return f"its key or certificate cannot be used: {_told_by_openssl(error)}"
        case _:
            return str(error)


def _told_by_openssl(error: Exception) -> str:
    """Return the words of OpenSSL, which come as ``[(library, function, reason), ...]``."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [": ".join(part for part in each if part) for each in queue]
    return ", ".join(dict.fromkeys(reasons)) or str(error) or type(error).__name__
