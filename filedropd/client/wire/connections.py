"""Connections to servers: treq, on an agent that reads and writes in large pieces.

Redirects are not followed and no cookies are kept: where a password or a token goes is decided here, by the
address that was given, and nowhere else.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import attrs
from hyperlink import URL
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.web.client import URI, Agent, HTTPConnectionPool, ProxyAgent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from filedropd.client.version import VERSION
from filedropd.client.wire import proxies
from filedropd.client.wire.failures import cancelled, explained
from filedropd.client.wire.proxies import Proxy, ProxyEndpoint, TunnelEndpoint
from filedropd.client.wire.tls import Anybody, Trust

#: Bytes that are read, and written, at once. Twisted's own 64 and 128 KiB cost twice the time for each byte.
READ: Final = 256 * 1024
WRITE: Final = 4 * 1024 * 1024
#: Seconds within which a connection stands.
CONNECT: Final = 15.0
#: Seconds within which one is closed in order.
CLOSE: Final = 5.0
#: Seconds within which an answer to a small request begins.
ANSWER: Final = 60.0

#: What we call ourselves to servers.
AGENT: Final = f"filedrop/{VERSION}"


@attrs.frozen(kw_only=True)
class Reach:
    """How servers are reached.

    :ivar ca: a file of PEM certificates that alone are trusted; ``None``: those whom this machine trusts, or
        ``SSL_CERT_FILE`` says.
    :ivar insecure: trust anybody.
    :ivar proxies: by scheme, as :func:`urllib.request.getproxies` has them; ``None``: those of the environment.
    :ivar identity: tells us from others who run filedrop at our address. To a filedropd, programs of one name at one
        address are one recipient, who may go on with what he began; where a claim's token is known that alone counts.
    """

    ca: Path | None = None
    insecure: bool = False
    proxies: Mapping[str, str] | None = None
    identity: str = attrs.field(default="", repr=False)

    @property
    def agent(self) -> str:
        """What we call ourselves to servers."""
        return f"{AGENT} ({self.identity})" if self.identity else AGENT


class _AsItIs(URL):
    """A URL in ASCII. To make a URI of it hyperlink would take an IPv6 address for a name."""

    def to_uri(self) -> Self:
        """Return it."""
        return self


class Connections:
    """Connections to servers, which are kept for the next request.

    :param reactor: the global one unless given.
    """

    def __init__(self, reach: Reach | None = None, reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it
        self.reactor: Any = reactor
        reach = reach or Reach()
        self._agent = reach.agent
        self._open: set[Any] = set()
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = 8
        self._pool.retryAutomatically = False  # we know better which requests may be sent twice
        self._treq = HTTPClient(_Routed(reactor, reach, self._pool, self._connected))

    async def __aenter__(self) -> Self:
        """Be ready."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close what is open."""
        await self.close()

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str | bytes] | None = None,
        body: IBodyProducer | None = None,
        within: float | None = ANSWER,
    ) -> IResponse:
        """Send a request and return the head of its answer, of whatever status; its body is to be read, or aborted.

        :param within: seconds within which the answer begins; ``None`` where the body takes what it takes.
        :raises Unreachable: there is no connection, or it broke.
        """
        fields = Headers({"User-Agent": [self._agent], "Accept": ["application/json, */*;q=0.5"]})
        for name, value in (headers or {}).items():
            fields.setRawHeaders(name, [value.encode("utf-8") if isinstance(value, str) else value])
        sent: Deferred[IResponse] = self._treq.request(
            method, _AsItIs.from_text(url), headers=fields, data=body, allow_redirects=False, unbuffered=True
        )  # type: ignore[assignment]  # treq's own IResponse
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            sent.cancel()

        timer = None if within is None else self.reactor.callLater(within, give_up)
        try:
            return await sent
        except Exception as error:
            if cancelled(error) and not late:
                raise CancelledError from error
            raise explained(error, urlsplit(url).hostname or url) from error
        finally:
            if timer is not None and timer.active():
                timer.cancel()

    def abort(self) -> None:
        """Reset all connections: what arrived on them last is not to count as read.

        A server of ours takes a reset, up to a minute after the last byte, for a delivery that failed.
        """
        for transport in list(self._open):
            transport.abortConnection()

    async def close(self) -> None:
        """Close all connections in order: what arrived on them was read, and is safe here."""
        for transport in self._open:
            _reset_at_end(transport, wanted=False)
        # Under TLS the other side has a word in it, too; it need not ever say it.
        timer = self.reactor.callLater(CLOSE, self.abort)
        await self._pool.closeCachedConnections()
        if timer.active():
            timer.cancel()
        self.abort()  # those that are in the middle of something

    def _connected(self, protocol: IProtocol) -> None:
        transport: Any = protocol.transport  # type: ignore[attr-defined]
        beneath = _beneath(transport)
        beneath.bufferSize = READ
        beneath.SEND_LIMIT = WRITE
        # What we have read, and not yet written, is lost when we are killed; a FIN would say that it is safe here.
        _reset_at_end(transport, wanted=True)
        self._open.add(transport)
        lost = protocol.connectionLost

        def forget(*reason: Any) -> None:
            self._open.discard(transport)
            lost(*reason)

        protocol.connectionLost = forget  # type: ignore[method-assign, assignment]


def _beneath(transport: Any) -> Any:
    """Return what ``transport`` is on in the end: TLS, perhaps under TLS, is on a socket."""
    while hasattr(transport, "transport"):
        transport = transport.transport
    return transport


def _reset_at_end(transport: Any, *, wanted: bool) -> None:
    """Have the kernel end a connection by a reset, or not, whoever closes it: we or the end of our process (socket(7))."""
    handle = getattr(_beneath(transport), "socket", None)
    if handle is not None:
        with contextlib.suppress(OSError):  # it is closed by now
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", wanted, 0))


@implementer(IAgent)
class _Routed:
    """Sends requests directly or through a proxy, and asks for bytes as they are."""

    def __init__(self, reactor: Any, reach: Reach, pool: HTTPConnectionPool, connected: Any) -> None:
        self._reactor = reactor
        self._reach = reach
        self._pool = pool
        self._endpoints = _Endpoints(reactor, reach, connected)
        self._direct = Agent.usingEndpointFactory(reactor, self._endpoints, pool)
        self._proxied: dict[Proxy, ProxyAgent] = {}

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """See IAgent."""
        headers = Headers() if headers is None else headers.copy()
        # A coding would have other sizes, offsets and validators than the file (treq asks for gzip).
        headers.setRawHeaders("Accept-Encoding", ["identity"])
        parsed = URI.fromBytes(uri)
        proxy = self._endpoints.proxy(parsed) if parsed.scheme == b"http" else None
        if proxy is None:
            return self._direct.request(method, uri, headers, bodyProducer)  # type: ignore[no-any-return]
        if proxy.authorization is not None:
            headers.setRawHeaders("Proxy-Authorization", [proxy.authorization])
        if proxy not in self._proxied:
            self._proxied[proxy] = ProxyAgent(self._endpoints.of_proxy(proxy, watched=True), self._reactor, self._pool)
        agent: Any = self._proxied[proxy]
        return agent.request(method, uri, headers, bodyProducer)  # type: ignore[no-any-return]


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(self, reactor: Any, reach: Reach, connected: Any) -> None:
        self._reactor = reactor
        self._reach = reach
        self._connected = connected
        self._policy: IPolicyForHTTPS = Anybody() if reach.insecure else Trust(reach.ca)

    def proxy(self, uri: URI) -> Proxy | None:
        """Return the proxy by which ``uri`` is reached."""
        return proxies.chosen(uri.scheme.decode(), uri.host.decode("ascii"), uri.port, self._reach.proxies)

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See IAgentEndpointFactory."""
        host = uri.host.decode("ascii")
        proxy = self.proxy(uri) if uri.scheme == b"https" else None
        if proxy is None:
            endpoint: Any = HostnameEndpoint(self._reactor, host, uri.port, timeout=CONNECT)
        else:
            endpoint = TunnelEndpoint(self.of_proxy(proxy), host, uri.port, proxy.authorization)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return _Watched(endpoint, self._connected)

    def of_proxy(self, proxy: Proxy, *, watched: bool = False) -> Any:
        """Return what leads to a proxy."""
        endpoint: Any = HostnameEndpoint(self._reactor, proxy.host, proxy.port, timeout=CONNECT)
        if proxy.scheme == "https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(proxy.host.encode("idna"), proxy.port), endpoint)
        endpoint = ProxyEndpoint(endpoint, proxy)
        return _Watched(endpoint, self._connected) if watched else endpoint


@implementer(IStreamClientEndpoint)
class _Watched:
    """Tells of each connection that is made."""

    def __init__(self, endpoint: Any, connected: Any) -> None:
        self._endpoint = endpoint
        self._connected = connected

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See IStreamClientEndpoint."""

        def made(protocol: IProtocol) -> IProtocol:
            self._connected(protocol)
            return protocol

        return self._endpoint.connect(protocolFactory).addCallback(made)  # type: ignore[no-any-return]
