"""The grammar of the settings: text in, a typed value out, or a ValueError whose text says why not.

The texts of the errors complete the sentence "<key> <value>: …", without the value, and name what
may be written instead.  Digits are ASCII digits; signs, blanks and underscores are refused.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

import attrs
from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn

from filedropd.redis_url import RedisURL

T = TypeVar("T")

#: Where proxies are that are trusted: a network, or the other end of a UNIX socket.
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network | Literal["unix"]

#: The largest number of bytes: what a file offset and SQL's BIGINT hold.
LARGEST_SIZE = 2**63 - 1
#: The longest time, in seconds: 100 years of 365 days. It keeps a moment in time that a calendar can show.
LONGEST_DURATION = 36_500 * 86_400
#: The largest plain number.
LARGEST_COUNT = 2**31 - 1

# As many digits as LARGEST_SIZE has.  It also keeps int() clear of its limit on long strings.
_MOST_DIGITS = 19

# ASCII matters beside IGNORECASE too: without it, K matches the Kelvin sign.
_SIZE = re.compile(r"([0-9]+)([KMGT]I?B)?", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(r"([0-9]+)([smhd])?", re.ASCII)
_PORTS = re.compile(r"[0-9,]*", re.ASCII)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_SECONDS = {None: 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}

# RFC 3986, sections 2.3 (unreserved) and 3.3 (path).
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+", re.ASCII)
_URL_PATH = re.compile(r"(/([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*", re.ASCII)
# No masks, which ipaddress would take in two ways, and no zones.
_NETWORK = re.compile(r"([0-9A-Fa-f:.]+)(/[0-9]{1,3})?", re.ASCII)
# RFC 4291, section 2.5.5.2: IPv4 as a socket for both has it.
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[A-Za-z0-9._~-]+)(:(?P<port>[0-9]+))?", re.ASCII)


@attrs.frozen
class SQLiteURL:
    """``sqlite:PATH``: records in an SQLite database.

    :ivar path: of the database; the other files that SQLite makes lie beside it.
    """

    path: Path

    def within(self, folder: Path) -> Self:
        """Return it with a relative path taken from ``folder``."""
        return attrs.evolve(self, path=folder / self.path)


@attrs.frozen
class PostgresURL:
    """``postgresql://…``: records in a PostgreSQL database.

    :ivar url: as libpq takes it; it may hold a password.
    """

    url: str = attrs.field(repr=False)

    def within(self, folder: Path) -> Self:
        """Return it as it is: it is in no folder."""
        return self


@attrs.frozen
class FileURL:
    """``file:PATH``: bytes in a folder.

    :ivar path: of the folder that holds ``blobs/`` and ``incoming/``.
    """

    path: Path

    def within(self, folder: Path) -> Self:
        """Return it with a relative path taken from ``folder``."""
        return attrs.evolve(self, path=folder / self.path)


@attrs.frozen
class MemoryURL:
    """``memory:``: in the daemon's own memory, lost when it ends."""


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"has more than {_MOST_DIGITS} digits")
    return int(digits)


def parse_size(text: str) -> int:
    """Return the bytes that ``text`` says: ``4096``, ``16MiB`` (powers of 1024), ``8KB`` (powers of 1000).

    Capitals and small letters mean the same.

    :raises ValueError: it is no size, or larger than :data:`LARGEST_SIZE`.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(
            "is not a size: write a whole number of bytes, or one with KiB, MiB, GiB, TiB (powers of 1024) "
            "or KB, MB, GB, TB (powers of 1000), such as 16MiB"
        )
    size = _integer(match[1])
    unit = (match[2] or "").upper()
    if unit:
        size *= (1024 if "I" in unit else 1000) ** ("KMGT".index(unit[0]) + 1)
    if size > LARGEST_SIZE:
        raise ValueError("is larger than any file can be")
    return size


def parse_duration(text: str) -> int:
    """Return the seconds that ``text`` says: ``90s``, ``15m``, ``12h``, ``7d``, or ``90`` (seconds).

    Zero is a duration; who needs more must say so.

    :raises ValueError: it is no duration, or longer than :data:`LONGEST_DURATION`.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("is not a time: write a whole number with s, m, h or d, such as 90s, 15m, 12h or 7d")
    seconds = _integer(match[1]) * _SECONDS[match[2]]
    if seconds > LONGEST_DURATION:
        raise ValueError("is longer than 100 years")
    return seconds


def parse_count(text: str) -> int:
    """Return the number that ``text`` says in decimal digits.

    :raises ValueError: it is none, or larger than :data:`LARGEST_COUNT`.
    """
    if not _DIGITS.fullmatch(text):
        raise ValueError("is not a number: write it in digits, such as 100")
    count = _integer(text)
    if count > LARGEST_COUNT:
        raise ValueError(f"must be at most {LARGEST_COUNT}")
    return count


def parse_flag(text: str) -> bool:
    """Return what ``text`` says of something that is so or not: ``true`` or ``false``.

    :raises ValueError: neither.
    """
    if text not in {"true", "false"}:
        raise ValueError("is neither true nor false")
    return text == "true"


def bounded(parse: Callable[[str], int], least: str, most: str | None = None) -> Callable[[str], int]:
    """Return a parser like ``parse`` that refuses what is less than ``least`` or more than ``most``."""
    floor = parse(least)
    ceiling = None if most is None else parse(most)

    def parse_bounded(text: str) -> int:
        value = parse(text)
        if value < floor:
            raise ValueError(f"must be at least {least}")
        if ceiling is not None and value > ceiling:
            raise ValueError(f"must be at most {most}")
        return value

    return parse_bounded


def one_of(*known: str) -> Callable[[str], str]:
    """Return a parser that takes the words ``known`` as they are, and no others."""

    def parse_word(text: str) -> str:
        if text not in known:
            raise ValueError("is not known: write " + " or ".join(known))
        return text

    return parse_word


def optional(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """Return a parser like ``parse`` that takes the empty text for ``None``."""
    return lambda text: parse(text) if text else None


def parse_path(text: str) -> Path:
    """Return the absolute path that ``text`` says; a relative one is taken from the working directory.

    :raises ValueError: it is empty, no file system can have it, or the working directory is gone.
    """
    try:
        return _path(text).absolute()
    except OSError as error:
        raise ValueError(f"is relative, and the working directory cannot be used: {error.strerror}") from None


def _path(text: str) -> Path:
    if not text:
        raise ValueError("is empty: write a path")
    if "\0" in text:
        raise ValueError("has a NUL character, which no path can have")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise ValueError("has a character that cannot stand in a path here") from None
    return Path(text)


def _located(text: str, scheme: str, default: str) -> Path:
    """Return the path after ``scheme:``, or ``default`` where there is none."""
    found, colon, rest = text.partition(":")
    if not colon or found != scheme:
        raise ValueError(f"is not known: write {scheme}: or {scheme}:PATH")
    if rest.startswith("//"):
        raise ValueError(f"has two slashes: write {scheme}:PATH, as in {scheme}:/srv/filedropd")
    return _path(rest or default)


def parse_records(text: str) -> SQLiteURL | PostgresURL:
    """Return where the records are: ``sqlite:`` (``drops.db``), ``sqlite:PATH``, or a URL of libpq's.

    A relative path is left relative: it is meant from the data directory.

    :raises ValueError: it is none of them.
    """
    if not text.startswith(("postgresql:", "postgres:")):
        try:
            return SQLiteURL(_located(text, "sqlite", "drops.db"))
        except ValueError as error:
            raise ValueError(f"{error}, or a URL such as postgresql://user@host/database") from None
    try:
        found = parse_dsn(text)
    except ProgrammingError as error:
        # libpq's words may have a part of the URL, and that a part of the password.
        raise ValueError("is not a URL of libpq's: write one such as postgresql://user@host/database") from error
    # An @ or / of a password cuts it in two, and the rest would be tried, and told of, as the host or the port. (A host
    # that begins with @ or / is a socket.)
    hosts = [host for host in found.get("host", "").split(",") if not host.startswith("/")]
    if any("@" in host[1:] for host in hosts) or not _PORTS.fullmatch(found.get("port", "")):
        raise ValueError("has a host or port that is none: write an @ of the password as %40, a / as %2F, a : as %3A")
    return PostgresURL(text)


def parse_blobs(text: str) -> FileURL:
    """Return where the bytes are: ``file:`` (the data directory) or ``file:PATH``.

    A relative path is left relative: it is meant from the data directory.

    :raises ValueError: it is neither.
    """
    return FileURL(_located(text, "file", "."))


def parse_cache(text: str) -> MemoryURL | RedisURL:
    """Return where the cache is: ``memory:``, or the URL of a Redis.

    :raises ValueError: it is neither.
    """
    if text == "memory:":
        return MemoryURL()
    if not text.startswith(("redis:", "unix:", "redis+unix:")):
        raise ValueError("is not known: write memory: or redis://host:port/db")
    return RedisURL.parse(text)


def parse_public_url(text: str) -> str:
    """Return an http or https URL under which links are written, without a slash at its end.

    :raises ValueError: it is no such URL, or has user information, a query or a fragment.
    """
    # urlsplit() drops tabs and line feeds without a word: what is checked must be what was written.
    if not all("!" <= character <= "~" for character in text):
        raise ValueError("has a character that cannot stand in a URL: write it %-encoded, a host name as xn--…")
    if "?" in text or "#" in text:
        raise ValueError("must have neither a query nor a fragment: links are written after it")
    try:
        url = urlsplit(text)
    except ValueError as error:
        raise ValueError(f"is not a URL: {error}") from None
    if url.scheme not in {"http", "https"}:
        raise ValueError("is not an http or https URL: write one such as https://files.example.org")
    if "@" in url.netloc:
        raise ValueError("must not have a user name or password: everybody who gets a link would see them")
    _check_authority(url.netloc)
    if not _URL_PATH.fullmatch(url.path):
        raise ValueError("has a path with a character that must be %-encoded")
    return f"{url.scheme}://{url.netloc}{url.path.rstrip('/')}"


def _check_authority(text: str) -> None:
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise ValueError("has no valid host: write a URL such as https://files.example.org")
    if match["host"].startswith("["):
        try:
            ipaddress.IPv6Address(match["host"][1:-1])
        except ValueError:
            raise ValueError("has no valid IPv6 address in its brackets") from None
    if match["port"] is not None and not 1 <= _integer(match["port"]) <= 65_535:
        raise ValueError("has a port outside of 1 to 65535")


def parse_api_prefix(text: str) -> str:
    """Return the path under which the API stands: it begins with a slash and ends without one.

    :raises ValueError: it is empty, is "/", or has more than slashes and unreserved characters (RFC 3986
        section 2.3), an empty segment, or one of "." and "..", which clients take away.
    """
    prefix = text.removesuffix("/")
    if not _PREFIX.fullmatch(prefix):
        raise ValueError("is not a path: write one such as /api/v1.0, of letters, digits and . _ ~ - between slashes")
    if {".", ".."} & set(prefix.split("/")):
        raise ValueError('must not have the segments "." or "..": clients take them away')
    return prefix


def parse_network(text: str) -> Network:
    """Return the network that ``text`` says: ``10.0.0.0/8``, ``fd00::/8``, an address for it alone, or ``unix``.

    An IPv4 network that is written as IPv6 (``::ffff:10.0.0.0/104``) is the IPv4 network.

    :raises ValueError: it is none, or has bits set behind its prefix.
    """
    if text == "unix":
        return "unix"
    match = _NETWORK.fullmatch(text)
    try:
        network = None if match is None else ipaddress.ip_network(text, strict=False)
    except ValueError:
        network = None
    if match is None or network is None:
        raise ValueError(
            "is not an address or a network: write one such as 192.0.2.1, 10.0.0.0/8 or fd00::/8, or unix for UNIX sockets"
        )
    if ipaddress.ip_address(match[1]) != network.network_address:
        raise ValueError(f"has bits set behind its prefix: write {network}, or the address alone")
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        return ipaddress.IPv4Network((network.network_address.packed[12:], network.prefixlen - 96))
    return network
