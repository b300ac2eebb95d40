"""Options that commands share, and the values that they become."""

from __future__ import annotations

import ipaddress
import math
import os
import re
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

import click

from filedropd.client.commands.drops_file import DropsFile, place
from filedropd.client.commands.running import complain
from filedropd.client.commands.usage import Misuse
from filedropd.client.errors import ClientError, Local
from filedropd.client.values import Link
from filedropd.client.wire.connections import Reach

C = TypeVar("C", bound=Callable[..., Any])

PASSWORD_VARIABLE: Final = "FILEDROP_PASSWORD"  # noqa: S105 - a name

_DURATION: Final = re.compile(r"[0-9]{1,12}[smhd]?", re.ASCII)
_RATE: Final = re.compile(r"0*([1-9][0-9]{0,11})([kmg]?)(?:ib|b)?", re.ASCII)
_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def reaching(command: C) -> C:
    """Give ``command`` the options that say how servers are reached; it is called with ``reach``."""

    @wraps(command)
    def called(*args: Any, ca: Path | None, insecure: bool, **kwargs: Any) -> Any:
        if insecure:
            complain("warning: the server's certificate is not verified (--insecure)")
        elif ca is not None:
            _check_ca(ca)
        return command(*args, reach=Reach(ca=ca, insecure=insecure), **kwargs)

    for option in (
        click.option(
            "--insecure", is_flag=True, help="Do not verify the server's certificate: anybody may read along."
        ),
        click.option(
            "--ca",
            type=click.Path(path_type=Path, dir_okay=False),
            envvar="FILEDROP_CA",
            metavar="FILE",
            help="Trust the authorities in FILE (PEM) and no others [FILEDROP_CA; else SSL_CERT_FILE, the system's].",
        ),
    ):
        called = option(called)
    return called  # type: ignore[return-value]  # a wrapper of the same kind


def _check_ca(path: Path) -> None:
    from filedropd.client.wire.tls import Trust  # noqa: PLC0415 - OpenSSL takes its time to load

    try:
        Trust(path)
    except Local as error:
        raise Misuse(error.detail) from error


def passwords(sense: str) -> Callable[[C], C]:
    """Give a command the options that say a password; it is called with ``password``.

    :param sense: what the password is for, in words.
    """

    def decorate(command: C) -> C:
        @wraps(command)
        def called(*args: Any, ask: bool, password_file: Path | None, **kwargs: Any) -> Any:
            return command(*args, password=_password(ask=ask, file=password_file, confirm="put" in sense), **kwargs)

        for option in (
            click.option(
                "--password-file",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help=f"{sense}: the first line of FILE.",
            ),
            click.option("--password", "ask", is_flag=True, help=f"{sense}: ask for it [{PASSWORD_VARIABLE}]."),
        ):
            called = option(called)
        return called  # type: ignore[return-value]  # a wrapper of the same kind

    return decorate


def _password(*, ask: bool, file: Path | None, confirm: bool) -> str | None:
    if file is not None:
        try:
            with file.open(encoding="utf-8") as lines:
                return lines.readline().rstrip("\r\n")
        except OSError as error:
            raise Misuse(f"{file} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise Misuse(f"{file} is not UTF-8.") from error
    given = os.environ.get(PASSWORD_VARIABLE)
    if given is not None and not _is_unicode(given):
        raise Misuse(f"{PASSWORD_VARIABLE} is not UTF-8.")
    if given is not None or not ask:
        return given
    if not can_ask():
        raise Misuse(f"There is no terminal to ask at. Use --password-file or {PASSWORD_VARIABLE}.")
    return asked(confirm=confirm)


def _is_unicode(text: str) -> bool:
    """Tell whether what came from the environment is UTF-8 there."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def can_ask() -> bool:
    """Tell whether there is somebody to ask: a terminal of the process, wherever its input and output go."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def asked(*, confirm: bool = False) -> str:
    """Ask for a password at the terminal. Blocks.

    :raises click.Abort: nobody wanted to say one.
    """
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True))


def server_option(command: C) -> C:
    """Give ``command`` the option that names the server."""
    return click.option(
        "--server", envvar="FILEDROP_SERVER", metavar="URL", help="Where to leave it [FILEDROP_SERVER, config file]."
    )(command)


quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")


def rate(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Return bytes a second: a number, with K, M or G for powers of 1024.

    :raises click.BadParameter: it is none.
    """
    if value is None:
        return None
    found = _RATE.fullmatch(value.strip().lower())
    if found is None:
        raise click.BadParameter("write it as in 500K, 20M or 1G")
    return float(int(found[1]) * _UNITS[found[2]])


def duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Return a time as servers take it: a number, with s, m, h or d.

    :raises click.BadParameter: it is none.
    """
    if value is not None and not _DURATION.fullmatch(value):
        raise click.BadParameter("write it as in 90s, 15m, 12h or 7d")
    return value


def seconds(_context: click.Context, _parameter: click.Parameter, value: float) -> float:
    """Return a number of seconds.

    :raises click.BadParameter: it is none (NaN), by which nothing could ever end.
    """
    if math.isnan(value):
        raise click.BadParameter("write a number of seconds")
    return value


rate_option = click.option("--limit-rate", "rate", callback=rate, metavar="RATE", help="At most so much a second: 20M.")


def given_link(text: str) -> Link:
    """Return the link that is meant.

    :raises Misuse: it is none.
    """
    try:
        return Link.parse(text)
    except ClientError as error:
        raise Misuse(error.detail) from error


def read_link() -> str:
    """Return a line of the standard input: what stands there no list of processes shows.

    :raises Misuse: there is none to read.
    """
    try:
        return sys.stdin.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise Misuse("The standard input has no link to read.") from error


def password_in(link: str) -> str | None:
    """Return the password that a link has in it, as filedropd takes it: ``?password=``; ``None`` where there is none.

    :raises Misuse: it is not UTF-8.
    """
    try:
        found = parse_qs(urlsplit(link.strip()).query, keep_blank_values=True, errors="strict").get("password")
    except ValueError as error:
        raise Misuse("The password in the link is not UTF-8.") from error
    return None if found is None else found[-1]


def warn_of_plain_text(url: str, password: str | None) -> None:
    """Say it, where a password is about to go over a network unencrypted."""
    parts = urlsplit(url)
    if password is not None and parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        complain(f"warning: the password goes to {parts.hostname} unencrypted. Use https:// if you can.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761 section 6.3


def drops_file() -> DropsFile:
    """Return where drops that were left from here are kept.

    :raises Local: there is no such place.
    """
    return DropsFile(state_folder() / "drops.json")


def state_folder() -> Path:
    """Return where this user's state is kept (XDG Base Directory Specification).

    :raises Local: there is no such place.
    """
    try:
        return place(os.environ)
    except RuntimeError as error:  # there is no home
        raise Local("There is no home directory. Set XDG_STATE_HOME.") from error
