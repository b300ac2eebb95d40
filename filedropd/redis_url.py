"""``redis://…``: where a Redis is, and who we are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import attrs
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

_PORT: Final = 6379


@attrs.frozen(kw_only=True)
class RedisURL:
    """Where a Redis is, and who we are there. As text it is a URL, without the latter.

    :ivar path: of its UNIX socket; if empty, it is at ``host`` and ``port``.
    """

    host: str = ""
    port: int = _PORT
    path: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a URL says: ``redis://[name][:password]@host[:port][/db]``, ``unix://…/path[?db=N]``.

        :raises ValueError: it is no such URL; says what is wrong, and not what is secret.
        """
        # urlsplit() drops tabs and line feeds without a word.
        if not all("!" <= character <= "~" for character in text):
            raise ValueError("has a character that cannot stand in a URL: write it %-encoded")
        try:
            url = urlsplit(text)
            host, port, options = url.hostname or "", url.port or _PORT, dict(parse_qsl(url.query, True))
        except ValueError:
            raise ValueError("is not a URL: write one such as redis://127.0.0.1:6379/0") from None
        path, database = unquote(url.path), options.pop("db", "0")
        if options:
            raise ValueError(f"has an option that is not known, {min(options)}: the only one is db")
        if url.scheme == "redis":
            path, database = "", path.strip("/") or database
        elif url.scheme not in {"unix", "redis+unix"}:
            raise ValueError("is not the URL of a Redis: write redis://host:port/db or unix:///path?db=N")
        elif len(path) < 2:
            raise ValueError("has no path of a socket: write unix:///run/redis/redis.sock?db=0")
        if bool(host) == bool(path):
            raise ValueError("must have a host for redis://, and none for unix:///path")
        name, password = _login(url)
        return cls(host=host, port=port, path=path, database=_database(database), username=name, password=password)

    def __str__(self) -> str:
        """Return its URL without name and password, to show."""
        if self.path:
            return f"unix://{self.path}?db={self.database}"
        return f"redis://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/{self.database}"

    def endpoint(self, reactor: Any) -> IStreamClientEndpoint:
        """Return how it is connected to."""
        if self.path:
            return UNIXClientEndpoint(reactor, self.path)
        return HostnameEndpoint(reactor, self.host, self.port)

    def greeting(self) -> Iterator[tuple[bytes, ...]]:
        """Iterate over the commands that a connection begins with; the last shows that it can be used."""
        if self.password is not None:
            name = () if self.username is None else (self.username.encode(),)
            yield (b"AUTH", *name, self.password.encode())
        if self.database:
            yield (b"SELECT", str(self.database).encode())
        yield (b"PING",)


def _database(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError(f"has a database that is not a number: {text[:20]}")
    return int(text)


def _login(url: SplitResult) -> tuple[str | None, str | None]:
    name, password = (unquote(part) if part else None for part in (url.username, url.password))
    if name and not password:
        raise ValueError("has a name and no password: write redis://name:password@host, or redis://:password@host")
    return name, password
