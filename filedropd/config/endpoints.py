"""The grammar of ``--listen``: descriptions of endpoints, as ``serverFromString`` of Twisted reads them.

They are checked here without being opened, so that a mistake is reported with all others before
anything starts.  Twisted's own parser cannot be asked: it reads the certificates that ``ssl:``
names and looks for the descriptors that ``systemd:`` names.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping

#: How many connections may wait to be accepted where a description does not say it. Twisted's own
#: default of 50 makes clients that come at once wait for a second SYN.
BACKLOG = 4096

# Bytes of a UNIX socket's path: sun_path of unix(7), less the NUL at its end.
_LONGEST_ADDRESS = 107

_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_OCTAL = re.compile(r"[0-7]{1,4}", re.ASCII)
# Of OpenSSL.SSL, which has nothing else that ends so.
_METHOD = re.compile(r"(?:SSLv23|TLS|TLSv1|TLSv1_[12])_METHOD", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)

# Fields in the order in which they may stand without a name; the first must be there.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "tcp": ("port", "interface", "backlog"),
    "ssl": (
        "port",
        "privateKey",
        "certKey",
        "sslmethod",
        "interface",
        "backlog",
        "extraCertChain",
        "dhParameters",
    ),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
}


def parse_endpoint(text: str) -> str:
    r"""Return ``text``, the description of an endpoint, with a backlog where it names none.

    Fields are separated by colons; a backslash before a colon or an equals sign takes its meaning
    away, as in ``tcp:8002:interface=\:\:1``.  A ``systemd:`` socket listens already, and gets none.

    :raises ValueError: Twisted would not take it, or it could not be opened on any machine.
    """
    if "\0" in text:
        raise ValueError("has a NUL character")
    kind, *written = _split(text, ":")
    if kind not in _KINDS:
        raise ValueError(
            "is not an endpoint of a known kind: write one such as tcp:8002:interface=127.0.0.1, ssl:443:privateKey=PATH, "
            "unix:PATH or systemd:domain=INET:name=NAME"
        )
    fields = _bind(kind, written)
    for name, check in _CHECKS.items():
        if name in fields:
            check(fields[name])
    if kind == "systemd" and ("index" in fields) == ("name" in fields):
        raise ValueError("must have either index= or name=, to say which of systemd's sockets it is")
    return text if "backlog" in fields or kind == "systemd" else f"{text}:backlog={BACKLOG}"


def _split(text: str, separator: str, most: int = -1) -> list[str]:
    """Split at each ``separator`` that no backslash precedes, ``most`` times at most; keep the backslashes."""
    pieces = [""]
    characters = iter(text)
    for character in characters:
        if character == "\\":
            escaped = next(characters, None)
            if escaped is None:
                raise ValueError("ends with a backslash that stands before nothing")
            pieces[-1] += character + escaped
        elif character == separator and most != 0:
            pieces.append("")
            most -= 1
        else:
            pieces[-1] += character
    return pieces


def _bind(kind: str, written: list[str]) -> dict[str, str]:
    """Give each field its name, as Python binds arguments."""
    names = _KINDS[kind]
    pairs = [_split(field, "=", 1) for field in written]
    positional = [pair[0] for pair in pairs if len(pair) == 1]
    if len(positional) > len(names):
        raise ValueError(f"has too many fields: {kind}: has {', '.join(names)}")
    fields = dict(zip(names, positional, strict=False))
    for name, value in (pair for pair in pairs if len(pair) == 2):
        if name not in names:
            raise ValueError(f"has an unknown field: {kind}: has {', '.join(names)}")
        if name in fields:
            raise ValueError(f"says {name} twice (a colon within a field needs a backslash before it)")
        fields[name] = value
    if names[0] not in fields:
        raise ValueError(f"does not say its {names[0]}")
    return {name: re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL) for name, value in fields.items()}


def _check_port(text: str) -> None:
    if not _NUMBER.fullmatch(text) or int(text) > 65_535:
        raise ValueError("must have a port from 0 to 65535 (0: any that is free)")


def _check_method(text: str) -> None:
    if not _METHOD.fullmatch(text):
        raise ValueError("must have TLS_METHOD as sslmethod, or none")


def _check_interface(text: str) -> None:
    if text and not _HOST.fullmatch(text):
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise ValueError(r"must have an IP address as interface (IPv6: interface=\:\:1)") from None


def _check_backlog(text: str) -> None:
    if not _NUMBER.fullmatch(text) or int(text) < 1:
        raise ValueError("must have a backlog of 1 or more")


def _check_address(text: str) -> None:
    if not text:
        raise ValueError("must have a path, as in unix:/run/filedropd/http.sock")
    try:
        length = len(os.fsencode(text))
    except UnicodeEncodeError:
        raise ValueError("has a character that cannot stand in a path here") from None
    if length > _LONGEST_ADDRESS:
        raise ValueError(f"has a path of more than {_LONGEST_ADDRESS} bytes, which no UNIX socket can have")


def _check_mode(text: str) -> None:
    if not _OCTAL.fullmatch(text):
        raise ValueError("must have a mode in octal digits, such as 660")


def _check_lockfile(text: str) -> None:
    if text not in {"0", "1"}:
        raise ValueError("must have a lockfile of 0 or 1")


def _check_domain(text: str) -> None:
    if text not in {"INET", "INET6", "UNIX"}:
        raise ValueError("must have INET, INET6 or UNIX as domain")


def _check_index(text: str) -> None:
    if not _NUMBER.fullmatch(text):
        raise ValueError("must have a number as index")


_CHECKS: Mapping[str, Callable[[str], None]] = {
    "port": _check_port,
    "sslmethod": _check_method,
    "interface": _check_interface,
    "backlog": _check_backlog,
    "address": _check_address,
    "mode": _check_mode,
    "lockfile": _check_lockfile,
    "domain": _check_domain,
    "index": _check_index,
}
