"""The head of a request: from bytes to a :class:`Head` that can be trusted.

llhttp (`httptools`) reads the header fields.  What it lets through and RFC 9112 does not is refused
here: the request line is held to its grammar before llhttp sees it, and Host, Transfer-Encoding,
Content-Length and Expect are judged once the fields are in.

The parser is fed with the bytes of one head and nothing else.  That is what keeps ``Upgrade`` from
being a way to smuggle: llhttp would take such a request for complete at the end of its head and
read the body as the next request, but here the framing comes from the fields, and the body never
reaches the parser.
"""

from __future__ import annotations

import re
from typing import Final

import attrs
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from filedropd.errors import (
    BodyTooLarge,
    ExpectationFailed,
    HeadTooLarge,
    MalformedRequest,
    MethodNotImplemented,
    ProtocolError,
    TargetTooLong,
    VersionNotSupported,
)

#: The largest length that is taken for a number: a file offset must hold it.
MAX_LENGTH: Final = 2**63 - 1

_METHODS: Final = frozenset({b"GET", b"HEAD", b"PUT", b"POST", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE"})
# Methods whose targets or whose very use belong to something that this server is not.
_REFUSED: Final = frozenset({b"CONNECT", b"PRI"})

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb"+) ([!-~]+) HTTP/([0-9])\.([0-9])")
# What the beginning of a request line may look like, so that noise is refused before its end arrives.
_REQUEST_LINE_BEGUN: Final = re.compile(_TOKEN + rb"{0,32}(?: (?:[!-~]+(?: [HTP/0-9.]*\r?)?)?)?")
_ORIGIN_FORM: Final = re.compile(rb"/[!-\"$-~]*")
_ABSOLUTE_FORM: Final = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]+)([/?][!-\"$-~]*)?")
# RFC 3986 section 3.2.2 without percent-encoding, which no name of a host needs.
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~!$&'()*+,;=-]+)(?::[0-9]{0,5})?")

#: The fields that say how the rest of the message is to be read.
_JUDGED: Final = frozenset({b"host", b"connection", b"content-length", b"transfer-encoding", b"expect"})

_LINE_SLACK: Final = 64  # what a request line has besides its target


@attrs.frozen(kw_only=True)
class Limits:
    """How large a head may be.

    :ivar head: bytes, request line included.
    :ivar count: header fields.
    :ivar target: bytes of the request target.
    """

    head: int = 16 * 1024
    count: int = 100
    target: int = 8 * 1024


@attrs.define(kw_only=True)  # nobody changes one; to have it frozen would cost a microsecond of the thirty of an answer
class Head:
    """A request without its body.

    :ivar target: in origin-form, or ``*``.
    :ivar version: ``HTTP/1.0`` or ``HTTP/1.1``.
    :ivar fields: names as sent and values without surrounding white space, in order.
    :ivar host: the authority that the request is for; empty where an HTTP/1.0 client names none.
    :ivar length: the body's length in bytes (0: none), or ``None`` where it is chunked.
    :ivar expects_continue: the client waits for ``100 Continue`` before it sends the body.
    :ivar persistent: the connection may be used again after the answer (RFC 9112 section 9.3).
    """

    method: bytes
    target: bytes
    version: bytes
    fields: list[tuple[bytes, bytes]] = attrs.field(repr=False)
    host: bytes
    length: int | None
    expects_continue: bool
    persistent: bool


class HeadReader:
    """Reads one head from pieces of any size."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parser = HttpRequestParser(self)
        self._fields: list[tuple[bytes, bytes]] = []
        self._line: re.Match[bytes] | None = None
        self._begun = b""
        self._tail = b""
        self._size = 0
        self._complete = False
        self._empty_line = False

    @property
    def started(self) -> bool:
        """Whether a byte of the request itself has arrived."""
        return self._size > 0 or bool(self._begun)

    def feed(self, data: bytes) -> tuple[Head, bytes] | None:
        """Take the next bytes of the connection.

        :returns: the head and the bytes behind it, or ``None`` where its end has not arrived.
        :raises ProtocolError: it is not a head; the reader is of no use any more.
        """
        if self._line is None:
            data = self._read_line(self._begun + data)
            if self._line is None:
                return None
        window = self._tail + data
        found = window.find(b"\r\n\r\n")
        end = len(data) if found < 0 else found + 4 - len(self._tail)
        self._size += end
        if self._size > self._limits.head:
            raise HeadTooLarge
        self._parse(data[:end], final=found >= 0)
        if found < 0:
            self._tail = window[-3:]
            return None
        return self._head(), data[end:]

    def _read_line(self, data: bytes) -> bytes:
        """Hold the bytes back until the request line is complete and right; then return all of them."""
        if not self._empty_line and data[:2] == b"\r\n":
            # RFC 9112 section 2.2: one empty line before a request is ignored.
            self._empty_line = True
            data = data[2:]
        line, crlf, _ = data.partition(b"\r\n")
        if len(line) > self._limits.target + _LINE_SLACK:
            raise TargetTooLong
        if crlf:
            self._line = self._check_line(line)
            self._begun = b""
        elif self._may_begin(data):
            self._begun = data
        else:
            raise MalformedRequest
        return data

    def _may_begin(self, data: bytes) -> bool:
        if data == b"\r":
            return not self._empty_line
        return _REQUEST_LINE_BEGUN.fullmatch(data) is not None

    def _check_line(self, line: bytes) -> re.Match[bytes]:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None or match[1] in _REFUSED:
            raise MalformedRequest
        if match[3] + match[4] not in {b"10", b"11"}:
            raise VersionNotSupported
        if match[1] not in _METHODS:
            raise MethodNotImplemented
        if len(match[2]) > self._limits.target:
            raise TargetTooLong
        return match

    def _parse(self, data: bytes, *, final: bool) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            # We do not upgrade (RFC 9110 section 7.8 leaves that to us) and frame the body ourselves.
            pass
        except HttpParserError as error:
            raise _refusal(error) from error
        if len(self._fields) > self._limits.count:
            raise HeadTooLarge
        if self._complete is not final:
            # llhttp and we disagree about where the head ends: somebody plays with line ends.
            raise MalformedRequest

    # Called by llhttp.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field."""
        self._fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """Take the end of the head."""
        self._complete = True

    # The judgement.

    def _head(self) -> Head:
        line = self._line
        if line is None:
            raise MalformedRequest
        modern = line[4] == b"1"
        named: dict[bytes, list[bytes]] = {}
        for name, value in self._fields:
            name = name.lower()  # noqa: PLW2901 - the same one
            if name in _JUDGED:
                named.setdefault(name, []).append(value)
        target, authority = _target(line[1], line[2])
        host = _host(named.get(b"host", []), required=modern)
        return Head(
            method=line[1],
            target=target,
            version=b"HTTP/1.1" if modern else b"HTTP/1.0",
            fields=self._fields,
            host=authority or host,
            length=_length(named, modern=modern),
            expects_continue=_expects_continue(named.get(b"expect", []), modern=modern),
            persistent=_persistent(named[b"connection"], modern=modern) if b"connection" in named else modern,
        )


def _refusal(error: HttpParserError) -> ProtocolError:
    """Tell a number that is too large from a message that is malformed."""
    return BodyTooLarge() if "Content-Length overflow" in str(error) else MalformedRequest()


def _target(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Return the target in origin-form and the authority it names, if any (RFC 9112 section 3.2)."""
    if _ORIGIN_FORM.fullmatch(target) is not None:
        return target, b""
    if target == b"*" and method == b"OPTIONS":
        return target, b""
    absolute = _ABSOLUTE_FORM.fullmatch(target)
    if absolute is None or not _HOST.fullmatch(absolute[1]):
        raise MalformedRequest
    path = absolute[2] or b"/"
    return (path if path.startswith(b"/") else b"/" + path), absolute[1]


def _host(values: list[bytes], *, required: bool) -> bytes:
    """Return the one Host (RFC 9112 section 3.2: anything but exactly one is refused)."""
    if not values and not required:
        return b""
    if len(values) != 1 or not _HOST.fullmatch(values[0]):
        raise MalformedRequest
    return values[0]


def _length(named: dict[bytes, list[bytes]], *, modern: bool) -> int | None:
    """Return the body's length, or ``None`` where it is chunked (RFC 9112 section 6.3).

    llhttp has refused Content-Length together with Transfer-Encoding, two of one of them, and all
    but digits.
    """
    codings = named.get(b"transfer-encoding")
    if codings is not None:
        if not modern or [coding.lower() for coding in codings] != [b"chunked"]:
            raise MalformedRequest
        return None
    if b"content-length" not in named:
        return 0
    digits = named[b"content-length"][0]
    # Leading zeros are legal, and int() takes no more than a few thousand digits.
    length = int(digits.lstrip(b"0") or b"0")
    if length > MAX_LENGTH:
        raise BodyTooLarge
    return length


def _persistent(values: list[bytes], *, modern: bool) -> bool:
    options = {option.strip() for value in values for option in value.lower().split(b",")}
    return b"close" not in options and (modern or b"keep-alive" in options)


def _expects_continue(values: list[bytes], *, modern: bool) -> bool:
    if not values or not modern:
        return False
    if [value.lower() for value in values] != [b"100-continue"]:
        raise ExpectationFailed
    return True
