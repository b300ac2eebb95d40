"""One line in the log for each request, without anything that leads to a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from filedropd.http.fronting import redirected
from filedropd.http.interfaces import Connection
from filedropd.http.request import Request
from filedropd.web.forwarding import NOBODY, Forwarding, peer_address


class AccessLog:
    """Logs what was asked and answered.

    A path is written as the route that it took, with names for its variable parts: tokens, file
    names, queries and fields never reach the log.  What a trusted proxy says is an address, or is
    not logged.

    :param clock: seconds, as the server's own clock counts them.
    :param forwarding: whom to believe where a request comes from.
    :param later: calls something in so many seconds.
    :param counted: told, with their status code, of how many requests in the last second were answered from memory.
    """

    _log = Logger()

    def __init__(
        self,
        clock: Callable[[], float],
        forwarding: Forwarding = NOBODY,
        later: Callable[[float, Callable[[], None]], object] = lambda *_: None,
        counted: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        self._counted = counted
        self._clock = clock
        self._later = later
        self._at_once: Counter[int] = Counter()
        self._forwarding = forwarding

    def answered(self, request: Request) -> None:
        """Log a request whose answer is over, or whose client has left."""
        self._log.info(
            "{peer} {method} {route} {code} {octets} bytes in {seconds:.3f} s{how}",
            peer=self._from(request),
            method=request.method.decode("ascii"),
            route=request.route or "(no route)",
            code=request.code if request.startedWriting else 0,
            octets=request.sentLength,
            seconds=self._clock() - request.began,
            how=_how(request),
        )

    def answered_at_once(self, code: int) -> None:
        """Count a request for a link that is gone, or never was, and that was answered from memory.

        Of these there may be very many: they have one line in each second in which there are any.
        """
        if not self._at_once:
            self._later(1.0, self._tell_at_once)
        self._at_once[code] += 1

    def _tell_at_once(self) -> None:
        counted, self._at_once = self._at_once, Counter()
        for code, times in sorted(counted.items()):
            self._counted(code, times)
            self._log.info("links that are known to lead nowhere, answered {code}: {times}", times=times, code=code)

    def _from(self, request: Request) -> str:
        """Return the client's address, with a port where it is the connection's own."""
        address = self._forwarding.client(request).address
        return shown(request.peer) if address in {None, peer_address(request.peer)} else str(address)

    def refused(self, connection: Connection, code: int) -> None:
        """Log bytes that were no request."""
        self._log.info("{peer} (no request) {code}", peer=shown(connection.getPeer()), code=code)


def _how(request: Request) -> str:
    """Return what is to be said of an answer beside its size; that of a file that nginx sends is not ours to know."""
    if request.disconnected or not request.startedWriting:
        return ", client left"
    return ", the file handed over to nginx" if redirected(request) else ""


def shown(address: IAddress) -> str:
    """Return an address as logs have it."""
    host = getattr(address, "host", None)
    return f"{host}:{address.port}" if host is not None else "local"  # type: ignore[attr-defined]  # both IPv4Address and IPv6Address
