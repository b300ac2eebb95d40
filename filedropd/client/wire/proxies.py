"""The proxy that the environment names, and the way through it.

``http_proxy``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` are read as Python does. Requests for http go to the
proxy whole (RFC 9112 section 3.2.2); for https it is asked for a tunnel (RFC 9110 section 9.3.6) and sees the
host's name and what is encrypted.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final
from urllib import request
from urllib.parse import unquote, urlsplit

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from filedropd.client.errors import Local, Unreachable
from filedropd.client.wire.failures import cancelled, explained

#: Bytes that the head of a proxy's answer may have.
MAX_HEAD: Final = 64 * 1024

_PORTS: Final = {"http": 80, "https": 443}


@attrs.frozen
class Proxy:
    """A proxy.

    :ivar scheme: ``http``, or ``https`` where we speak TLS with the proxy itself.
    :ivar authorization: what Proxy-Authorization says, or ``None``.
    :ivar named: by which variable it is named.
    """

    scheme: str
    host: str
    port: int
    authorization: bytes | None = attrs.field(default=None, repr=False)
    named: str = attrs.field(default="ALL_PROXY", eq=False)

    @property
    def place(self) -> str:
        """Where it is, for words."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def chosen(scheme: str, host: str, port: int, given: Mapping[str, str] | None = None) -> Proxy | None:
    """Return the proxy for requests to a server, or ``None``.

    :param given: proxies by scheme, with ``no`` for those to be met directly; those of the environment unless given.
    :raises Local: it is none that we can use.
    """
    proxies: Mapping[str, str] = request.getproxies_environment() if given is None else given
    url = proxies.get(scheme) or proxies.get("all")
    bypassed = request.proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed has it not
    if not url or bypassed(f"{host}:{port}", proxies):
        return None
    return parsed(url, f"{scheme.upper()}_PROXY" if proxies.get(scheme) else "ALL_PROXY")


def parsed(url: str, named: str = "ALL_PROXY") -> Proxy:
    """Return the proxy at ``url``.

    :param named: the variable that says so.
    :raises Local: it is none that we can use; its password is not repeated.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError as error:
        raise Local(f"The proxy that {named} names has no well-formed address.") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise Local(
            f"{named} names a proxy of the kind {parts.scheme}://, which is not supported. "
            "Name one by http:// or https://, or exempt the server with NO_PROXY."
        )
    authorization = None
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        authorization = b"Basic " + base64.b64encode(f"{user}:{password}".encode())
    return Proxy(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], authorization, named)


@implementer(IStreamClientEndpoint)
class ProxyEndpoint:
    """Connects to a proxy, and says that it is the proxy where that cannot be.

    :param endpoint: leads there.
    """

    def __init__(self, endpoint: Any, proxy: Proxy) -> None:
        self._endpoint = endpoint
        self._proxy = proxy

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See IStreamClientEndpoint."""
        return self._endpoint.connect(protocolFactory).addErrback(self._failed)  # type: ignore[no-any-return]

    def _failed(self, reason: Failure) -> Failure:
        error = reason.value
        if not isinstance(error, Exception) or cancelled(error):
            return reason
        ours = explained(error, self._proxy.place)
        what = ours.detail.partition(". ")[0].rstrip(".")
        return Failure(
            type(ours)(
                f"{what}. That is the proxy that {self._proxy.named} names: correct it, or exempt the server with NO_PROXY."
            )
        )


@implementer(IStreamClientEndpoint)
class TunnelEndpoint:
    """Connects to a server through a proxy, by CONNECT.

    :param proxy: leads to the proxy.
    :param host: of the server.
    :param authorization: what Proxy-Authorization is to say.
    """

    def __init__(self, proxy: Any, host: str, port: int, authorization: bytes | None = None) -> None:
        self._proxy = proxy
        self._authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._authorization = authorization

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See IStreamClientEndpoint.

        The Deferred fails with :class:`Unreachable` where the proxy refuses.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        tunnel = await self._proxy.connect(Factory.forProtocol(_Tunnel))
        return await tunnel.open(self._request(), factory)  # type: ignore[no-any-return]  # as its factory builds it

    def _request(self) -> bytes:
        lines = [f"CONNECT {self._authority} HTTP/1.1".encode("ascii"), b"Host: " + self._authority.encode("ascii")]
        if self._authorization is not None:
            lines.append(b"Proxy-Authorization: " + self._authorization)
        return b"\r\n".join(lines) + b"\r\n\r\n"


class _Tunnel(Protocol):
    """Asks for a tunnel, and gives the connection to whom it is for when it stands."""

    def __init__(self) -> None:
        self._head = b""
        self._opened: Deferred[None] | None = None

    async def open(self, request: bytes, factory: IProtocolFactory) -> IProtocol:
        """Ask, and return the protocol that has the connection from then on."""
        assert self.transport is not None  # noqa: S101 - it is connected
        self._opened = Deferred(canceller=lambda _: self.transport.abortConnection())  # type: ignore[union-attr]
        self.transport.write(request)
        await self._opened
        protocol = factory.buildProtocol(self.transport.getPeer())
        if protocol is None:
            raise Unreachable
        transport: Any = self.transport
        transport.protocol = protocol
        protocol.makeConnection(transport)
        transport.resumeProducing()
        return protocol

    def dataReceived(self, data: bytes) -> None:
        """Read the head of the answer (RFC 9110 section 9.3.6): a 2xx has nothing else."""
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end and len(self._head) <= MAX_HEAD:
            return
        status = head.split(b" ", 2)[1:2]
        transport: Any = self.transport
        if end and not rest and head.startswith(b"HTTP/1.") and status and status[0].startswith(b"2"):
            transport.pauseProducing()  # what comes next is for the next protocol
            self._end(None)
        else:
            code = status[0].decode("ascii", "replace") if status else "nothing that is HTTP"
            transport.abortConnection()
            self._end(Failure(Unreachable(f"The proxy refused to connect: it answered {code[:20]}.")))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail, if the tunnel does not stand yet."""
        self._end(reason)

    def _end(self, result: Failure | None) -> None:
        opened, self._opened = self._opened, None
        if opened is not None and not opened.called:
            opened.callback(result)
