"""What requests say in fields, headers and queries, parsed to typed values at the edge."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from werkzeug.datastructures import Authorization, MIMEAccept
from werkzeug.http import parse_accept_header

from filedropd.config import parse_duration
from filedropd.drops import Rules
from filedropd.errors import BadRequest
from filedropd.http.request import Request
from filedropd.passwords import IMPOSSIBLE, candidate, normalised
from filedropd.tokens import Token
from filedropd.upload import Terms

#: The options of an upload, as form fields, and as headers with ``Filedrop-`` before them.
OPTIONS: Final = ("password", "expires", "downloads")

BAD_NAME: Final = "The file name in the address must be one name, without / or control characters."

_COUNT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_MEDIA_TYPE: Final = re.compile(
    r"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+(?:[ \t]*;[ \t]*[!#$%&'*+.^_`|~0-9a-z-]+=(?:[!#$%&'*+.^_`|~0-9a-z-]+|\"[ !#-\[\]-~]*\"))*",
    re.ASCII | re.IGNORECASE,
)
_MAX_MEDIA_TYPE: Final = 255
_BLANKS: Final = re.compile(r"[ \t]+")
_UNKNOWN_TYPE: Final = "application/octet-stream"
# What a compressed file is, whatever is in it: mimetypes names the content and the coding apart.
_CODINGS: Final = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
# The tables that come with Python, and no file of the system's: the same name has one type everywhere.
_TYPES: Final = mimetypes.MimeTypes()


def header_options(request: Request) -> dict[str, str]:
    """Return the options of an upload that stand in its headers."""
    values = {name: request.header(f"Filedrop-{name.capitalize()}") for name in OPTIONS}
    return {name: value for name, value in values.items() if value is not None}


def terms(options: Mapping[str, str], rules: Rules) -> Terms:
    """Return what the options of an upload ask for. An empty value is none: forms send all their fields.

    :raises BadRequest: one of them asks for what makes no sense or is not allowed; says which.
    """
    given = {name: value for name, value in options.items() if value}
    return Terms(
        password=normalised(given["password"]) if "password" in given else None,
        expires=_expires(given["expires"], rules) if "expires" in given else rules.expires,
        downloads=_downloads(given["downloads"], rules) if "downloads" in given else 1,
    )


def _expires(text: str, rules: Rules) -> float:
    try:
        seconds = parse_duration(text.strip())
    except ValueError as error:
        raise BadRequest(f"expires {error}.", about="expires") from error
    if not 0 < seconds <= rules.max_expires:
        raise BadRequest(f"expires must be more than 0 and at most {rules.max_expires:.0f} seconds.", about="expires")
    return seconds


def _downloads(text: str, rules: Rules) -> int:
    text = text.strip()
    if not _COUNT.fullmatch(text) or not 1 <= int(text) <= rules.max_downloads:
        raise BadRequest(f"downloads must be a number from 1 to {rules.max_downloads}.", about="downloads")
    return int(text)


def content_type(given: str | None, name: str) -> str:
    """Return the media type of a file: as its sender says, else by its name, else that of any bytes."""
    if given is not None and given.strip():
        given = given.strip()
        return given if len(given) <= _MAX_MEDIA_TYPE and _MEDIA_TYPE.fullmatch(given) else _UNKNOWN_TYPE
    guessed, coding = _TYPES.guess_type(name)
    if coding is not None:
        return _CODINGS.get(coding, _UNKNOWN_TYPE)
    return guessed or _UNKNOWN_TYPE


def path_name(segment: bytes) -> str:
    """Return the file name that the last segment of a path gives.

    :raises BadRequest: it is a path of its own, or holds control characters.
    """
    try:
        name = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest("The file name in the address is not UTF-8.") from error
    if name in {".", ".."} or re.search(r"[\x00-\x1f\x7f/\\]", name):
        raise BadRequest(BAD_NAME)
    return name


def download_password(request: Request) -> bytes | None:
    """Return the password that a download shows: in its query, by HTTP Basic, or in its own field."""
    if b"password" in request.args:
        return candidate(request.args[b"password"][-1].decode("utf-8", "surrogateescape"))
    own = request.header("Filedrop-Password")
    if own is not None:
        return candidate(own)
    field = request.header("Authorization")
    if field is None or not field.lower().startswith("basic"):
        return None
    authorization = _authorization(request)
    if authorization is None or authorization.password is None:
        return IMPOSSIBLE
    return candidate(authorization.password)


def owner_token(request: Request) -> Token | None:
    """Return the token that an owner shows: ``Authorization: Bearer``."""
    authorization = _authorization(request)
    if authorization is None or authorization.type != "bearer" or authorization.token is None:
        return None
    return Token.parse(authorization.token)


def _authorization(request: Request) -> Authorization | None:
    field = request.header("Authorization")
    return Authorization.from_header(field) if field is not None and field.isascii() else None


def accepts(request: Request, media_type: str) -> bool:
    """Tell whether a request names ``media_type`` in Accept; a wildcard does not count."""
    field = request.header("Accept")
    if field is None or media_type not in field.lower():  # most often; and then there is nothing to parse
        return False
    # To take an element apart takes time that grows with the square of the blanks in a row.
    accept = parse_accept_header(_BLANKS.sub(" ", field), MIMEAccept)
    return any(item.lower() == media_type and quality > 0 for item, quality in accept)
