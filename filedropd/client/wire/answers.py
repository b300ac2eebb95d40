"""What servers answer, as values and as errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IResponse

from filedropd.client import errors
from filedropd.client.wire.receiving import Body

#: Bytes of an answer in JSON that are read.
MOST: Final = 1024 * 1024

_DIGITS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)


def field(response: IResponse, name: str) -> str | None:
    """Return the last value of a header field as text; ``None`` where there is none."""
    values = response.headers.getRawHeaders(name.encode("ascii"))
    return values[-1].decode("utf-8", "replace") if values else None


async def told(response: IResponse, clock: IReactorTime, host: str) -> dict[str, Any]:
    """Read an answer in JSON to its end.

    :returns: the object; an empty one where it is none.
    :raises Unreachable: the connection broke.
    """
    body = await Body(response, clock, host).all(MOST)
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


async def refused(response: IResponse, clock: IReactorTime, host: str, *, owner: bool = False) -> errors.Refused:
    """Read an answer that is no success to its end, and return what it says.

    :param owner: the owner's token was shown, not a password.
    """
    try:
        said = await told(response, clock, host)
    except errors.Unreachable:  # its head says enough
        said = {}
    status, wait = response.code, retry_after(field(response, "Retry-After"))
    if status == 401 and owner:
        return errors.OwnerRequired()
    if status == 407:
        return errors.Refused("The proxy wants a user and a password. Put them into its address.", status=status)
    if status in _KINDS:
        return _KINDS[status](said, wait)
    if 300 <= status < 400:
        return errors.Redirected(printable(field(response, "Location") or ""), status=status)
    words = _words(said)
    if words:
        return errors.Refused(words, status=status)
    return errors.NotADrop(f"{errors.NotADrop.default} (It answered {status}.)", status=status)


#: What each status code is, from what the answer's JSON and its Retry-After say.
_KINDS: Final[Mapping[int, Callable[[dict[str, Any], float | None], errors.Refused]]] = {
    401: lambda _said, _wait: errors.PasswordRequired(),
    404: lambda _said, _wait: errors.NotFound(),
    410: lambda said, _: errors.Gone(_word(said.get("reason"))),
    413: lambda said, _: errors.TooLarge(_words(said)),
    423: lambda _, wait: errors.Locked(retry_after=wait),
    429: lambda _, wait: errors.TooManyRequests(retry_after=wait),
    # Those of a proxy that does not reach the server, too.
    502: lambda _, wait: errors.Unavailable(status=502, retry_after=wait),
    503: lambda _, wait: errors.Unavailable(status=503, retry_after=wait),
    504: lambda _, wait: errors.Unavailable(status=504, retry_after=wait),
    507: lambda _, wait: errors.NoRoom(retry_after=wait),
}


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After says (RFC 9110 section 10.2.3); ``None`` where it says none.

    A date is not taken at its word: clocks differ.
    """
    text = (value or "").strip()
    if _DIGITS.fullmatch(text):
        return float(text)
    try:
        parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return 60.0


def content_range(response: IResponse) -> tuple[int, int] | None:
    """Return where a 206 begins, and how many bytes the whole has; ``None`` where it does not say."""
    found = _RANGE.fullmatch((field(response, "Content-Range") or "").strip())
    return None if found is None else (int(found[1]), int(found[3]))


def length(response: IResponse) -> int | None:
    """Return the Content-Length; ``None`` where there is none.

    Twisted takes it out of the fields, but of those of an answer to HEAD, to which it gives a length of 0.
    """
    if response.request.method != b"HEAD":
        return response.length if isinstance(response.length, int) else None
    text = field(response, "Content-Length") or ""
    return int(text) if text.isascii() and text.isdigit() else None


def printable(text: str) -> str:
    """Return ``text`` without what a terminal would act on, at most 500 characters of it."""
    return "".join(character if character.isprintable() else "�" for character in text[:500])


def _words(said: dict[str, Any]) -> str:
    detail = said.get("detail")
    return printable(detail) if isinstance(detail, str) else ""


def _word(value: object) -> str:
    return value if isinstance(value, str) and value.isascii() and value.isalpha() else ""
