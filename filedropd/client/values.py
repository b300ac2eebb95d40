"""What the library gives and takes, as values."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

import attrs
import idna

from filedropd.client.errors import ClientError, NotADrop

#: What stands in a path as it is (RFC 3986 section 3.3), and what is quoted already.
_PATH: Final = "/%:@!$&'()*+,;=~"
_TOKEN: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


@attrs.frozen
class Progress:
    """How far a transfer is.

    :ivar done: bytes that are through.
    :ivar total: of how many; ``None`` where that is not known.
    :ivar waiting: why nothing goes on for now, ``None`` while something does.
    """

    done: int
    total: int | None = None
    waiting: ClientError | None = None


#: Is told how far a transfer is, often. It must not block.
Watcher: TypeAlias = Callable[[Progress], None]


def nobody(_: Progress) -> None:
    """Tell nobody."""


@attrs.frozen(repr=False)
class Link:
    """An address that opens a file. Its ``repr`` does not show it.

    :ivar url: all of it.
    """

    url: str

    @classmethod
    def parse(cls, text: str) -> Link:
        """Return the link that ``text`` is, without a query and a fragment.

        :raises NotADrop: it is no address, or one with a password in it.
        """
        try:
            parts = urlsplit(text.strip())
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise NotADrop("This is no well-formed address.") from error
        if parts.scheme not in {"http", "https"} or not host:
            raise NotADrop("A link begins with http:// or https://.")
        if "@" in parts.netloc:
            raise NotADrop("Take what stands before @ out of the address: a password is not safe there.")
        place = _ascii(host) + ("" if port is None else f":{port}")
        return cls(urlunsplit((parts.scheme, place, quote(parts.path, safe=_PATH), "", "")))

    @property
    def host(self) -> str:
        """The server's name."""
        return urlsplit(self.url).hostname or ""

    @property
    def path(self) -> str:
        """What comes after the server's name."""
        return urlsplit(self.url).path

    @property
    def key(self) -> str:
        """What stands for the link where the link itself must not: 64 hex digits.

        Of a link to filedropd it is the hash under which the daemon keeps it; logs show the first 8 digits.
        """
        token = self.path.rsplit("/", 1)[-1]
        return hashlib.sha256((token if _TOKEN.fullmatch(token) else self.url).encode()).hexdigest()

    def __repr__(self) -> str:
        return f"<Link {self.key[:8]}>"

    __str__ = __repr__


def _ascii(host: str) -> str:
    """Return a host's name, or its address, as an address on the wire has it.

    :raises NotADrop: it is neither.
    """
    if ":" in host:
        return f"[{host}]"
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        # Names that are none by the letter, with a _ in them, are used all the same.
        if not re.fullmatch(r"[a-z0-9_.-]{1,253}", host, re.ASCII | re.IGNORECASE):
            raise NotADrop("This is no well-formed address.") from None
        return host


@attrs.frozen(kw_only=True)
class Receipt:
    """What one has of a file that was left.

    :ivar url: the link that opens it.
    :ivar owner_token: looks after it.
    :ivar expires_at: when its time is over.
    :ivar downloads: how many complete copies may be fetched.
    """

    url: str = attrs.field(repr=False)
    owner_token: str = attrs.field(repr=False)
    name: str
    size: int
    expires_at: datetime | None
    downloads: int


@attrs.frozen(kw_only=True)
class Received:
    """What came of a download.

    :ivar path: where it is, if it was saved.
    :ivar name: what the server calls it, made safe.
    :ivar verified: whether its digest was compared with one that the server told.
    """

    path: Path | None
    name: str
    size: int
    verified: bool


@attrs.frozen(kw_only=True)
class Event:
    """Something that happened to a drop.

    :ivar what: ``opened``, ``previewed``, ``claimed``, ``broken``, ``resumed``, ``delivered``, …
    :ivar claim: the number of the claim that it concerns.
    :ivar byte: where it broke.
    :ivar by: which program looked.
    """

    at: datetime | None
    what: str
    claim: int | None = None
    byte: int | None = None
    by: str | None = None


@attrs.frozen(kw_only=True)
class Status:
    """Where a drop stands.

    :ivar state: ``available`` or ``gone``.
    :ivar reason: why it is gone: ``delivered``, ``expired``, ``revoked``, ``abandoned``.
    :ivar downloads: how many complete copies may be fetched; ``delivered`` were.
    :ivar claims: as the server tells them: ``number``, ``state``, ``handed_out``, ``acknowledged``, …
    :ivar events: all that happened, in order.
    """

    name: str
    size: int
    state: str
    reason: str | None
    created_at: datetime | None
    expires_at: datetime | None
    gone_at: datetime | None
    downloads: int
    delivered: int
    claims: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Event] = ()

    @property
    def acknowledged(self) -> int:
        """Bytes that the recipient who is farthest has."""
        return max((int(claim.get("acknowledged") or 0) for claim in self.claims), default=0)


def status_of(told: Mapping[str, Any]) -> Status:
    """Return the status that a server tells.

    :raises NotADrop: it is none.
    """
    try:
        events = [
            Event(
                at=moment(each.get("at")),
                what=str(each["event"]),
                claim=each.get("claim"),
                byte=each.get("byte"),
                by=each.get("by"),
            )
            for each in told["events"]
        ]
        return Status(
            name=str(told["name"]),
            size=int(told["size"]),
            state=str(told["state"]),
            reason=told.get("reason"),
            created_at=moment(told.get("created_at")),
            expires_at=moment(told.get("expires_at")),
            gone_at=moment(told.get("gone_at")),
            downloads=int(told["downloads"]),
            delivered=int(told["delivered"]),
            claims=tuple(told["claims"]),
            events=tuple(events),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotADrop from error


def moment(text: object) -> datetime | None:
    """Return the moment that ``text`` says (RFC 3339); ``None`` where it says none."""
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
