"""Where a body ends (RFC 9112 section 6): bytes of the connection in, bytes of the body out.

Both framings have one method, ``feed``, which takes what arrived and returns what of it is body,
and, once the message is complete, what lies behind it.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from filedropd.errors import BodyTooLarge, MalformedRequest
from filedropd.http.head import MAX_LENGTH

# A size as nearly all are written; any other goes the long way.
_PLAIN_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,64})(?:;[\t -~\x80-\xff]*)?")
_TRAILER_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t -~\x80-\xff]*")
# Fields that would change what the message is, were they believed (RFC 9110 section 6.5.1).
_NO_TRAILERS: Final = frozenset({b"content-length", b"host", b"transfer-encoding"})

#: Bytes of a chunk's size line, extensions included.
MAX_SIZE_LINE: Final = 256
#: Bytes of all trailer fields together.
MAX_TRAILERS: Final = 8 * 1024
#: Bytes that chunk framing may cost before it is held against the data it carries.
FREE_OVERHEAD: Final = 64 * 1024


#: Of eight bytes more than one is framing: such a body costs far more time than its length says.
_COSTLY: Final = 8


class Framing(Protocol):
    """Tells a body from what follows it."""

    @property
    def costly(self) -> bool:
        """Whether it takes long to read, for its size: no more than a little of it should be, in one go."""

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Take the next bytes of the connection.

        :returns: bytes of the body, and what follows the message or ``None`` while it goes on.
        :raises ProtocolError: the framing is broken.
        """


class LengthFraming:
    """A body of a length known beforehand."""

    costly = False

    def __init__(self, length: int) -> None:
        self._remaining = length

    @property
    def remaining(self) -> int:
        """Bytes that are still to come."""
        return self._remaining

    def skip(self, octets: int) -> bool:
        """Pass over bytes of the body that come on another way; tells whether they were the last."""
        self._remaining -= octets
        return self._remaining == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """See :class:`Framing`."""
        if len(data) < self._remaining:
            self._remaining -= len(data)
            return data, None
        body, rest = data[: self._remaining], data[self._remaining :]
        self._remaining = 0
        return body, rest


class ChunkedFraming:
    """A chunked body (RFC 9112 section 7.1). Extensions and trailer fields are read and dropped.

    A client that sends tiny chunks costs far more than it delivers: once the framing has cost more
    than 64 KiB and more than the data, the message is refused.
    """

    def __init__(self) -> None:
        self._pending = b""
        self._remaining = 0
        self._carried = 0
        self._overhead = 0
        self._trailers = -1  # bytes of trailer fields so far, once in them

    @property
    def costly(self) -> bool:
        """See :class:`Framing`."""
        return self._overhead > FREE_OVERHEAD // 16 and self._overhead * _COSTLY > self._carried

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """See :class:`Framing`."""
        data = self._pending + data if self._pending else data
        self._pending = b""
        body: list[bytes] = []
        position = 0
        while True:
            if self._remaining > 2:
                piece = data[position : position + self._remaining - 2]
                body.append(piece)
                position += len(piece)
                self._remaining -= len(piece)
                self._carried += len(piece)
                if self._remaining > 2:
                    return b"".join(body), None
            position = self._whole_chunks(data, position, body)
            advanced, done = self._step(data, position)
            if done:
                return b"".join(body), data[advanced:]
            if advanced == position:
                self._pending = data[position:]
                return b"".join(body), None
            self._charge(advanced - position)
            position = advanced

    def _whole_chunks(self, data: bytes, position: int, body: list[bytes]) -> int:
        """Read the chunks that are whole and plainly written; returns where the first other one begins."""
        if self._remaining or self._trailers >= 0:
            return position
        while (match := _PLAIN_SIZE.match(data, position)) is not None:
            begin = match.end()
            end = begin + int(match[1], 16)
            if begin == end or data[end : end + 2] != b"\r\n":
                break
            body.append(data[begin:end])
            self._carried += end - begin
            self._charge(begin - position + 2)
            position = end + 2
        return position

    def _step(self, data: bytes, position: int) -> tuple[int, bool]:
        """Read one line of framing; returns where it ends (or ``position``) and whether it was the last."""
        if self._remaining == 2:
            return self._chunk_end(data, position), False
        end = data.find(b"\r\n", position)
        if end < 0:
            self._bound_line(data[position:])
            return position, False
        line = data[position:end]
        if self._trailers >= 0:
            return end + 2, self._trailer(line)
        self._size_line(line)
        return end + 2, False

    def _chunk_end(self, data: bytes, position: int) -> int:
        end = data[position : position + 2]
        if not b"\r\n".startswith(end):
            raise MalformedRequest("A chunk does not end where its size says.")
        if len(end) < 2:
            return position
        self._remaining = 0
        return position + 2

    def _bound_line(self, begun: bytes) -> None:
        """Refuse a line that is too long, or holds a bare LF, before its end arrives."""
        limit = MAX_SIZE_LINE if self._trailers < 0 else MAX_TRAILERS
        if len(begun) > limit or b"\n" in begun:
            raise MalformedRequest("A line of the chunked coding is too long or ends in a bare LF.")

    def _size_line(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None or len(line) > MAX_SIZE_LINE:
            raise MalformedRequest("A chunk's size is malformed.")
        size = int(match[1], 16)
        if size > MAX_LENGTH:
            raise BodyTooLarge
        if size:
            self._remaining = size + 2  # its CRLF included
        else:
            self._trailers = 0

    def _trailer(self, line: bytes) -> bool:
        if not line:
            return True
        match = _TRAILER_LINE.fullmatch(line)
        self._trailers += len(line)
        if match is None or match[1].lower() in _NO_TRAILERS or self._trailers > MAX_TRAILERS:
            raise MalformedRequest("The trailer fields are malformed, too large, or not allowed there.")
        return False

    def _charge(self, octets: int) -> None:
        self._overhead += octets
        if self._overhead > max(FREE_OVERHEAD, self._carried):
            raise MalformedRequest("The chunks are too small. Send larger ones.")
