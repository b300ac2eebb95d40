"""Answers of HTTP/1.1, whose bodies are read piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.conformance.wire import Connection

_PIECE: Final = 256 * 1024


class Unclear(Exception):
    """An answer is not HTTP as it is understood here."""


class Answer:
    """An answer whose body is read piece by piece.

    :ivar status: 0 where the connection ended instead.
    :ivar fields: the values of each field, by its name in lower case.
    :ivar body: what was read so far.
    :ivar complete: the body was read to its end.
    """

    def __init__(self, connection: Connection, method: str, head: bytes) -> None:
        self.connection = connection
        self.status, self.fields = _parsed(head)
        self.body = bytearray()
        self.complete = False
        self._ended = False
        self._chunked = "chunked" in self.field("Transfer-Encoding").lower()
        length = self.field("Content-Length")
        self._left = 0 if self._chunked else int(length) if length.isdecimal() else None
        if method == "HEAD" or self.status in {0, 204, 304}:
            self._left, self._chunked = 0, False
        self.complete = self.status != 0 and self._left == 0 and not self._chunked

    def field(self, name: str) -> str:
        """Return the value of a field, or nothing; several in one line."""
        return ", ".join(self.fields.get(name.lower(), []))

    @property
    def told(self) -> str:
        """The answer in a few words."""
        if self.status == 0:
            return "no answer (the connection was closed)"
        length = self.field("Content-Length")
        part = "" if self.complete else " and then the end of the connection" if self._ended else " so far"
        return f"{self.status} with {len(self.body):,} bytes{f' of {int(length):,}' if length else ''}{part}"

    def read(self, octets: int) -> None:
        """Read so many bytes more of the body; fewer where it, or the connection, ends before."""
        until = len(self.body) + octets
        while len(self.body) < until and (piece := self._piece(min(_PIECE, until - len(self.body)))):
            self.body += piece

    def rest(self) -> Answer:
        """Read all that comes, and return this."""
        while piece := self._piece(_PIECE):
            self.body += piece
        return self

    def _piece(self, most: int) -> bytes:
        if self._chunked and not self._left:
            self._begin_chunk()
        if self._left == 0 or self._ended:
            return b""
        try:
            piece = self.connection.receive(most if self._left is None else min(most, self._left))
        except OSError:
            self._ended = True
            return b""
        self._count(len(piece))
        return piece

    def _count(self, octets: int) -> None:
        self._ended = not octets
        if self._left is None:
            self.complete = self._ended
            return
        self._left -= octets
        if self._left == 0 and not self._chunked:
            self.complete = True

    def _begin_chunk(self) -> None:
        """Read the line before a chunk, and the end of the one before it; the last one ends the body."""
        line = b""
        while not (line.endswith(b"\r\n") and line.strip()):
            try:
                byte = self.connection.receive(1)
            except OSError:
                byte = b""
            if not byte:
                self._ended = True
                return
            line += byte
        try:
            self._left = int(line.partition(b";")[0].strip(), 16)
        except ValueError:
            raise Unclear(f"a chunk begins with {line!r}") from None
        if self._left == 0:
            self._chunked, self.complete = False, True


def _parsed(head: bytes) -> tuple[int, dict[str, list[str]]]:
    """Return the status and the fields of a head; 0 for none."""
    lines = head.decode("latin-1").split("\r\n")
    if not head:
        return 0, {}
    words = lines[0].split(" ")
    if not lines[0].startswith("HTTP/1.") or len(words) < 2 or not words[1].isdecimal():
        raise Unclear(f"an answer begins with {lines[0][:80]!r}")
    fields: dict[str, list[str]] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), []).append(value.strip())
    return int(words[1]), fields
