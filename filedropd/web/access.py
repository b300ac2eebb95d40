"""One line in the log for each request, without anything that leads to a file."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from filedropd.http.interfaces import Connection
from filedropd.http.request import Request


class AccessLog:
    """Logs what was asked and answered.

    A path is written as the route that it took, with names for its variable parts: tokens, file
    names, queries and fields never reach the log.

    :param clock: seconds, as the server's own clock counts them.
    """

    _log = Logger()

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def answered(self, request: Request) -> None:
        """Log a request whose answer is over, or whose client has left."""
        self._log.info(
            "{peer} {method} {route} {code} {octets} bytes in {seconds:.3f} s{how}",
            peer=shown(request.peer),
            method=request.method.decode("ascii"),
            route=request.route or "(no route)",
            code=request.code if request.startedWriting else 0,
            octets=request.sentLength,
            seconds=self._clock() - request.began,
            how=", client left" if request.disconnected or not request.startedWriting else "",
        )

    def refused(self, connection: Connection, code: int) -> None:
        """Log bytes that were no request."""
        self._log.info("{peer} (no request) {code}", peer=shown(connection.getPeer()), code=code)


def shown(address: IAddress) -> str:
    """Return an address as logs have it."""
    host = getattr(address, "host", None)
    return f"{host}:{address.port}" if host is not None else "local"  # type: ignore[attr-defined]  # both IPv4Address and IPv6Address
