"""Closing a connection so that the client sees the last answer (RFC 9112 section 9.6).

A socket that is closed with input unread sends RST, which can destroy the answer on its way.  So our
side is closed first; then what the client still sends is read and dropped, within bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

from filedropd.http.deadline import Deadline
from filedropd.http.output import Output

#: Bytes, and seconds, for which a client that goes on sending is listened to after its last answer.
LINGER_BYTES: Final = 64 * 1024 * 1024
LINGER_SECONDS: Final = 10.0
#: Seconds without a byte after which it is not waited for.
LINGER_QUIET: Final = 1.0


class Closing:
    """The end of a connection.

    :param closed: called when both sides are closed in order, so that nothing more can be learnt of the client.

    :ivar begun: the last answer is written; nothing that still comes counts.
    """

    def __init__(
        self, clock: IReactorTime, transport: object, output: Output, *, closed: Callable[[], None] = lambda: None
    ) -> None:
        self._clock = clock
        self._closed = closed
        self._transport = transport
        self._output = output
        self._deadline = Deadline(clock)
        self._remaining = LINGER_BYTES
        self._ends = 0.0
        self._quiet = LINGER_QUIET
        self.begun = False

    def begin(self, *, eof: bool, patience: float = 0.0) -> None:
        """Close our side, and then, unless the client has closed its own already, wait for that.

        :param patience: seconds to wait at least, because the client's end tells what became of an answer.
        """
        if self.begun:
            return
        self.begun = True
        self._ends = self._clock.seconds() + max(LINGER_SECONDS, patience)
        self._quiet = max(LINGER_QUIET, patience)
        if eof:
            self.close()
            return
        self._output.end(wait=True)
        self._transport.resumeProducing()  # type: ignore[attr-defined]  # every transport has it; no interface says so
        self.drop(0)

    def drop(self, octets: int) -> None:
        """Take note of bytes that came after the last answer."""
        self._remaining -= octets
        seconds = self._ends - self._clock.seconds()
        if self._remaining <= 0 or seconds <= 0:
            self.abort()
        else:
            self._deadline.set(min(self._quiet, seconds), self._close_unless_more)

    def _close_unless_more(self) -> None:
        """Close, unless something has come that nobody had time to read: timers are called before what is read."""
        self._deadline.set(0, self.close)

    def close(self) -> None:
        """Close both sides once what was written has gone out."""
        self._closed()
        self._output.end(wait=False)
        if self.begun:
            # Our close_notify is out, and the client had its time for its own.
            self._output.end_below()

    def abort(self) -> None:
        """Break off (RST)."""
        self.begun = True
        self._transport.abortConnection()  # type: ignore[attr-defined]  # likewise

    def lost(self) -> None:
        """Note that the connection is lost."""
        self.begun = True
        self._deadline.stop()
