"""TLS's records: which bytes of a connection lie in which bytes on its wire.

TCP counts what is acknowledged in bytes of ciphertext.  Whenever TLS holds nothing that is not
encrypted, so many bytes of plaintext end where so many of ciphertext do; such pairs are remembered,
one for each record as far as possible.  Between two of them nothing is known: a byte counts as
acknowledged when its whole record is, and as sent when any of its record may have been.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

#: Bytes of plaintext in a record, at most (RFC 8446 section 5.1).
RECORD: Final = 16 * 1024
#: Pairs that are remembered of what is not acknowledged. Beyond that every other one is forgotten.
MARKS: Final = 2048


class Marks:
    """Pairs of positions, in bytes since the connection's start: plaintext, and the ciphertext that ends there.

    A pair that is forgotten costs precision and never truth.
    """

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque([(0, 0)])

    def __len__(self) -> int:
        return len(self._marks)

    @property
    def newest(self) -> int:
        """The last plaintext position that is known."""
        return self._marks[-1][0]

    def note(self, plain: int, cipher: int) -> None:
        """Note that the plaintext up to ``plain`` ends with the ciphertext at ``cipher``. Neither ever shrinks."""
        marks = self._marks
        if len(marks) > 1 and marks[-2][0] == plain:
            # Ciphertext that carried no plaintext (a ticket, an alert): the first and the last such end say all.
            marks.pop()
        if marks[-1] != (plain, cipher):
            marks.append((plain, cipher))
        if len(marks) > MARKS:
            self._marks = deque([*list(marks)[:-1:2], marks[-1]])

    def acknowledged(self, cipher: int) -> int:
        """Return up to where the plaintext is acknowledged when the wire is up to ``cipher``; forgets what is passed.

        :param cipher: never less than at an earlier call.
        """
        marks = self._marks
        while len(marks) > 1 and marks[1][1] <= cipher:
            marks.popleft()
        return marks[0][0]

    def departed(self, cipher: int) -> int | None:
        """Return up to where plaintext may have left when the wire is sent up to ``cipher``; ``None``: not known."""
        return next((plain for plain, end in self._marks if end >= cipher), None)


class Records:
    """Writes to TLS's transport, record by record, and marks where each ends.

    :param transport: Twisted's. It tells nobody what it holds, so its own attributes are looked at.

    :ivar cut: the position from which on everything was dropped; ``None`` where nothing was.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._lower = transport.transport
        self._gathered = getattr(transport, "_aggregator", None)
        self.marks = Marks()
        self.cut: int | None = None

    def write(self, data: bytes, *, start: int, handed: int | None) -> None:
        """Write ``data``.

        :param start: the position of its first byte.
        :param handed: up to where the kernel was handed ciphertext; ``None`` where that is not known.
        """
        self.note(start, handed)
        if self.ended and self.cut is None:
            self.cut = start
        for offset in range(0, len(data), RECORD):
            piece = data[offset : offset + RECORD]
            self._transport.write(piece)
            if len(piece) == RECORD and self._gathered is not None:
                self._gathered.flush()  # it would gather four of them first
            self.note(start + offset + len(piece), handed)

    def note(self, written: int, handed: int | None) -> bool:
        """Mark where the plaintext ends, if TLS has encrypted all of it, and tell whether it has.

        For the arguments see :meth:`write`.
        """
        waiting = getattr(self._gathered, "_buffer", None) or self._transport._appSendBuffer  # noqa: SLF001 - see above
        if waiting or self.ended:
            return False
        if handed is not None:
            self.marks.note(written, handed + buffered(self._lower))
        return True

    @property
    def ended(self) -> bool:
        """Whether one side has said that it closes. TLS drops what it is given then."""
        return bool(self._transport._lostTLSConnection or self._transport.disconnecting)  # noqa: SLF001 - see above


def buffered(transport: Any) -> int:
    """Return how many bytes ``transport``, one of Twisted's on a socket, holds that the kernel has not taken."""
    # It moves what is to be written from the one buffer to the other, and tells of neither.
    return int(len(transport.dataBuffer) - transport.offset + transport._tempDataLen)  # noqa: SLF001 - see above
