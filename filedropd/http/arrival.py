"""The body of one request as it arrives: where it ends, whether it comes fast enough, and on which way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from filedropd.http.framing import ChunkedFraming, Framing, LengthFraming
from filedropd.http.output import BUFFER, RESTING

if TYPE_CHECKING:
    from filedropd.errors import FiledropError
    from filedropd.http.body import Body
    from filedropd.http.deadline import Deadline
    from filedropd.http.output import Output

#: Bytes that are read at once of a body that takes long to read.
COSTLY_READ: Final = 16 * 1024
#: Bytes that are read at once of a body that comes faster than it is read.
LARGE_READ: Final = 1024 * 1024
#: A body must bring so many bytes in so many seconds (and what `--stall-timeout` says, if less).
BODY_RATE_BYTES: Final = 30 * 1024
BODY_RATE_SECONDS: Final = 30.0


class Arrival:
    """Takes what the connection brings to a body, until that has ended.

    :param deadline: the connection's.
    :param stall: seconds in which a body that brings too little is given up, if they are less than :data:`BODY_RATE_SECONDS`.
    :param excused: tells whether it is no fault of the client's now that nothing comes.
    :param late: called when the body comes too slowly.
    """

    def __init__(
        self,
        body: Body,
        framing: Framing,
        *,
        output: Output,
        deadline: Deadline,
        stall: float,
        excused: Callable[[], bool],
        late: Callable[[], None],
    ) -> None:
        self._body = body
        self._framing = framing
        self._output = output
        self._deadline = deadline
        self._stall = stall
        self._excused = excused
        self._late = late
        self._received = 0  # in the current window of the rate
        # Until it is known what its chunks cost, others have their turn after each read.
        output.read_at_once(COSTLY_READ if isinstance(framing, ChunkedFraming) else BUFFER)

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes of the connection; returns what lies behind the body, ``None`` while that goes on.

        :raises ProtocolError: the framing is broken.
        """
        octets, rest = self._framing.feed(data)
        self._received += len(octets)
        self._body.arrived(octets)
        if rest is None:
            self._output.read_at_once(self._next_read(len(data)))
        else:
            self._end()
        return rest

    def _next_read(self, octets: int) -> int:
        """Return how much to read at once after a read that brought so many bytes."""
        if self._framing.costly:
            return COSTLY_READ
        # Who sends faster than we read has more there, and each read costs the same.
        return LARGE_READ if octets >= BUFFER else BUFFER

    def spliced(self, framing: LengthFraming, octets: int) -> bool:
        """Count bytes that went another way, past ``framing``; tells whether they were the last."""
        self._received += octets
        self._body.spliced(octets)
        last = framing.skip(octets)
        if last:
            self._end()
        return last

    def _end(self) -> None:
        self._output.read_at_once(RESTING)
        self._deadline.clear()
        self._body.end()

    def spoil(self, error: FiledropError) -> None:
        """Trust nothing that still comes: it is swallowed."""
        self._framing = LengthFraming(2**63)
        self._deadline.clear()
        self._body.fail(error)

    def watch(self) -> None:
        """Begin to look at the rate."""
        self._received = 0
        self._deadline.set(min(BODY_RATE_SECONDS, self._stall), self._look)

    def _look(self) -> None:
        enough = BODY_RATE_BYTES * min(1.0, self._stall / BODY_RATE_SECONDS)
        if self._received >= enough or not self._body.invited or self._excused():
            self.watch()
        else:
            self._late()
