"""Behind proxies: from where a request comes, and under which scheme and host it was asked for.

Anybody can write a forwarding field.  They are believed only where the connection comes from a
proxy that is trusted, and of the list in them only the end that trusted proxies wrote: it is walked
from the right, over their own addresses, to the first that is not trusted.

There are two families: X-Forwarded-For, -Proto, -Host and -Port, and Forwarded (RFC 7239).  A proxy
that writes one lets a client's own fields of the other through, and which one it writes cannot be
seen.  So neither wins: where both are there, only that is believed which both say.  Within a family
a proxy must write, or take away, each field.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, Self, TypeAlias
from weakref import WeakKeyDictionary

import attrs
from twisted.internet.address import IPv4Address as IPv4Peer
from twisted.internet.address import IPv6Address as IPv6Peer
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress

from filedropd.config.parse import Network
from filedropd.http.head import _HOST as AUTHORITY
from filedropd.http.request import Request

Address: TypeAlias = IPv4Address | IPv6Address

#: What proxies add.
FORWARDED: Final = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Real-IP",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
)

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

# RFC 7239 section 6: a port is a number, or a word that hides it.  An IPv6 address stands in brackets
# there; X-Forwarded-For has it bare, too.
_NODE: Final = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+))(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]+))?|(?P<bare>[0-9A-Fa-f:.]+)"
)
# RFC 7239 section 4.  Possessive: no text, however malformed, is looked at twice.
_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_PAIR: Final = re.compile(rf'[ \t]*+(?:({_NAME})=({_NAME}|"(?:[^"\\]|\\.)*+"))?+[ \t]*+([,;]|\Z)')
_NAMES_PORT: Final = re.compile(r":[0-9]*\Z")
_PORT: Final = re.compile(r"[0-9]{1,5}")


#: Clients whose addresses are remembered as they are to be written.
REMEMBERED: Final = 4096


@attrs.frozen(kw_only=True)
class Client:
    """Whoever asks, as far as that is known.

    :ivar address: where it is; ``None`` on a UNIX socket, and where a trusted proxy does not say it.
    :ivar shared: many may be behind the address: a proxy that is not trusted, it has forwarded this itself.
    :ivar scheme: ``http`` or ``https``, as the client asked.
    :ivar host: the host that it asked, with its port where it is not the scheme's own.
    """

    address: str | None
    shared: bool
    scheme: str
    host: str


@attrs.frozen(kw_only=True)
class _Word:
    """What trusted proxies say; ``None`` where they say nothing that can be read."""

    address: str | None = None
    shared: bool = False
    scheme: str | None = None
    host: str | None = None

    def agreed(self, other: Self) -> _Word:
        """Return what ``other`` says, too."""
        return _Word(
            address=self.address if self.address == other.address else None,
            shared=self.shared or other.shared,
            scheme=self.scheme if self.scheme == other.scheme else None,
            host=self.host if self.host == other.host else None,
        )


class Forwarding:
    """Knows whose forwarding fields are to be believed.

    :param trusted: networks in which proxies are; ``unix`` for whoever comes by a UNIX socket.
    """

    def __init__(self, trusted: Iterable[Network] = ()) -> None:
        given = list(trusted)
        self._networks = tuple(each for each in given if isinstance(each, IPv4Network | IPv6Network))
        self._trusts_unix = "unix" in given
        self._clients: WeakKeyDictionary[Request, Client] = WeakKeyDictionary()

    def client(self, request: Request) -> Client:
        """Return who asks. It is found out once, the first time: ask before the answer has ended."""
        client = self._clients.get(request)
        if client is None:
            client = self._clients[request] = self._client(request)
        return client

    def _client(self, request: Request) -> Client:
        scheme, host = "https" if request.isSecure() else "http", request.authority
        if not self._trusts_peer(request.peer):
            return Client(address=peer_address(request.peer), shared=forwarded(request), scheme=scheme, host=host)
        word = self._word(request, scheme, host)
        return Client(address=word.address, shared=word.shared, scheme=word.scheme or scheme, host=word.host or host)

    # -- who is trusted ---------------------------------------------------------------------------

    def _trusts_peer(self, peer: IAddress) -> bool:
        if isinstance(peer, UNIXAddress):
            return self._trusts_unix
        if not self._networks:  # most often
            return False
        address = _peer(peer)
        return address is not None and self._trusts(address)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _walk(self, nodes: Sequence[str]) -> tuple[str | None, int]:
        """Return the address at which the trusted ones end, and its place, 1 being the last of ``nodes``.

        Where all are trusted, it is the first: a trusted machine asks for itself.
        """
        address: Address | None = None
        place = 0
        for place, node in enumerate(reversed(nodes), 1):  # noqa: B007 - where it ended is asked below
            address = _node(node)
            if address is None or not self._trusts(address):
                break
        return (None if address is None else str(address)), place

    # -- what they say ----------------------------------------------------------------------------

    def _word(self, request: Request, scheme: str, host: str) -> _Word:
        """Return what is believed; ``scheme`` and ``host`` are what the last proxy itself asked for."""
        words = [word for word in (self._standard(request), self._usual(request, scheme, host)) if word is not None]
        if len(words) == 2:
            return words[0].agreed(words[1])
        return words[0] if words else _Word()

    def _standard(self, request: Request) -> _Word | None:
        """Return what Forwarded says; ``None`` where it is not there."""
        elements = [element for line in _lines(request, "Forwarded") for element in _elements(line)]
        if not elements:
            return None
        address, place = self._walk([element.get("for", "") for element in elements])
        outermost = elements[-place]
        return _Word(
            address=address,
            shared=place < len(elements),
            scheme=_scheme(outermost.get("proto")),
            host=_host(outermost.get("host")),
        )

    def _usual(self, request: Request, scheme: str, host: str) -> _Word | None:
        """Return what X-Forwarded-… say; ``None`` where none is there."""
        nodes, schemes, hosts, ports = (
            [
                text
                for line in _lines(request, f"X-Forwarded-{name}")
                for each in line.split(",")
                if (text := each.strip())
            ]
            for name in ("For", "Proto", "Host", "Port")
        )
        if not (nodes or schemes or hosts or ports):
            return None
        address, place = self._walk(nodes)
        told_scheme, told_host = _scheme(_at(schemes, place)), _host(_at(hosts, place))
        port = _port(_at(ports, place))
        if port is not None:
            told_host = _with_port(told_scheme or scheme, told_host or host, port)
        return _Word(address=address, shared=place < len(nodes), scheme=told_scheme, host=told_host)


#: Believes nobody.
NOBODY: Final = Forwarding()


def forwarded(request: Request) -> bool:
    """Tell whether a request says that it was forwarded, whoever says it."""
    return any(request.requestHeaders.hasHeader(name) for name in FORWARDED)


def peer_address(peer: IAddress) -> str | None:
    """Return the address at the other end of a connection; ``None`` where it has none."""
    address = _peer(peer)
    return None if address is None else _written(address)


@lru_cache(maxsize=REMEMBERED)
def _written(address: Address) -> str:
    return str(address)


def _peer(peer: IAddress) -> Address | None:
    return _parsed(peer.host) if isinstance(peer, IPv4Peer | IPv6Peer) else None


@lru_cache(maxsize=REMEMBERED)
def _parsed(host: str) -> Address:
    """Return the address that the kernel writes so; it is asked for several times for each request."""
    return _plain(IPv6Address(host.partition("%")[0]) if ":" in host else IPv4Address(host))


def _plain(address: Address) -> Address:
    """Return an IPv4 address that is written as IPv6 as what it is."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


# -- values: they come from anybody, and are made anew or matched whole ----------------------------


def _lines(request: Request, name: str) -> list[str]:
    """Return the field's lines, an octet a character."""
    return [line.decode("latin-1") for line in request.requestHeaders.getRawHeaders(name.encode("ascii"), [])]


def _elements(line: str) -> list[dict[str, str]]:
    """Return the elements of a line of Forwarded; of a malformed one, an element that says nothing."""
    elements: list[dict[str, str]] = [{}]
    place = 0
    while match := _PAIR.match(line, place):
        name, value, mark = match.groups()
        if name is not None:
            if name.lower() in elements[-1]:  # RFC 7239 section 4: once at most
                break
            elements[-1][name.lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        if not mark:
            return [element for element in elements if element]
        if mark == ",":
            elements.append({})
        place = match.end()
    return [{}]


def _node(text: str) -> Address | None:
    """Return the address in an element of a list; ``None`` where it is malformed, unknown or hidden."""
    match = _NODE.fullmatch(text)
    if match is None:
        return None
    try:
        return IPv4Address(match["v4"]) if match["v4"] else _plain(IPv6Address(match["v6"] or match["bare"]))
    except ValueError:
        return None


def _at(values: Sequence[str], place: int) -> str | None:
    """Return the value at ``place`` from the right, or the first: not every proxy adds one to each list."""
    return values[-min(max(place, 1), len(values))] if values else None


def _scheme(text: str | None) -> str | None:
    return text.lower() if text is not None and text.lower() in _DEFAULT_PORTS else None


def _host(text: str | None) -> str | None:
    """Return a host that could stand in Host."""
    return text if text is not None and AUTHORITY.fullmatch(text.encode("latin-1")) else None


def _port(text: str | None) -> int | None:
    if text is None or not _PORT.fullmatch(text) or not 1 <= int(text) <= 65_535:
        return None
    return int(text)


def _with_port(scheme: str, host: str, port: int) -> str:
    """Return ``host`` with a port: its own, else ``port``, unless that goes without saying."""
    return host if _NAMES_PORT.search(host) or port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"
