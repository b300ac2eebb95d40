"""The answers that a client got: from bytes to values, and by the letter."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import attrs
from httptools import HttpParserError, HttpResponseParser

_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]+)\r\n")


@attrs.frozen(kw_only=True)
class Response:
    """One answer.

    :ivar headers: names as sent, and values, in order.
    :ivar body: without its framing; what has come of it so far.
    :ivar complete: it has all come.
    """

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    complete: bool

    def header(self, name: str) -> str | None:
        """Return a field's value.

        :raises ValueError: there are several.
        """
        values = [value for other, value in self.headers if other.lower() == name.lower()]
        if len(values) > 1:
            raise ValueError(f"{name} was sent {len(values)} times.")
        return values[0] if values else None

    def json(self) -> Any:
        """Return what the body says."""
        return json.loads(self.body)


class _Head:
    """Takes what the parser finds in an answer's head."""

    def __init__(self, data: bytes) -> None:
        self.reason = ""
        self.headers: list[tuple[str, str]] = []
        parser = HttpResponseParser(self)
        try:
            parser.feed_data(data)
        except HttpParserError as error:
            raise ValueError(f"This is not an answer: {data!r}") from error
        self.status: int = parser.get_status_code()

    def on_status(self, status: bytes) -> None:
        self.reason += status.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def header(self, name: str) -> str | None:
        values = [value for other, value in self.headers if other.lower() == name]
        if len(values) > 1:
            raise ValueError(f"{name} was sent {len(values)} times.")
        return values[0] if values else None


def parse_responses(data: bytes, methods: Sequence[str] = (), *, ended: bool = False) -> list[Response]:
    """Return the answers that ``data`` holds, those of 1xx included, the last one possibly in part.

    :param methods: of the requests; where there are fewer, the rest is taken for GET.
    :param ended: no more will come, which is what ends a body that says nothing about its length.
    :raises ValueError: that is not HTTP.
    """
    answers: list[Response] = []
    final = 0
    while data:
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            if not b"HTTP/1.".startswith(data[:7]):
                raise ValueError(f"This is not an answer: {data[:80]!r}")
            break
        head, data = _Head(data[:end]), data[end:]
        method = methods[final] if final < len(methods) else "GET"
        final += head.status >= 200
        body, rest = _body(head, data, method, ended=ended)
        answers.append(
            Response(status=head.status, reason=head.reason, headers=head.headers, body=body, complete=rest is not None)
        )
        data = rest or b""
    return answers


def _body(head: _Head, data: bytes, method: str, *, ended: bool) -> tuple[bytes, bytes | None]:
    """Return an answer's body and what follows it, ``None`` where the body goes on (RFC 9112 section 6.3)."""
    if method == "HEAD" or head.status < 200 or head.status in {204, 304}:
        return b"", data
    length, coding = head.header("content-length"), head.header("transfer-encoding")
    if length is not None and coding is not None:
        raise ValueError("An answer has both a Content-Length and a Transfer-Encoding.")
    if coding == "chunked":
        return _dechunked(data)
    if length is None:
        return data, b"" if ended else None
    octets = int(length)
    return data[:octets], data[octets:] if len(data) >= octets else None


def _dechunked(data: bytes) -> tuple[bytes, bytes | None]:
    body = b""
    while match := _CHUNK.match(data):
        size = int(match[1], 16)
        piece, mark = data[match.end() : match.end() + size], data[match.end() + size : match.end() + size + 2]
        body += piece
        if not b"\r\n".startswith(mark):
            raise ValueError(f"A chunk ends in {mark!r}.")
        if len(mark) < 2:
            return body, None
        data = data[match.end() + size + 2 :]
        if size == 0:
            return body, data
    if data and not re.fullmatch(rb"[0-9A-Fa-f]+\r?", data):
        raise ValueError(f"This is not a chunk: {data[:80]!r}")
    return body, None
