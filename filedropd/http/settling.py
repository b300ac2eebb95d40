"""What became of an answer's bytes: sent, acknowledged, kept or thrown away.

A body is *settled* when all of it is acknowledged and then the client

- closes (its FIN; a client that throws unread data away sends RST instead, tcp(7)), or
- asks again (the first byte of its next request comes after the acknowledgement), or
- is quiet for a second.

Nothing is written to the connection meanwhile, since a FIN or a TLS close_notify of ours would make
a client that has read everything look like one that has not.  A FIN before the last acknowledgement
confirms what was acknowledged by then; a lost or aborted connection confirms nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from filedropd.http.acknowledgement import Acknowledgements
from filedropd.http.deadline import Deadline

#: Seconds without a sign from the client after which acknowledged is taken for received.
QUIET: Final = 1.0
_FIRST_POLL: Final = 0.005
_LAST_POLL: Final = 0.1


@attrs.frozen(kw_only=True)
class Settlement:
    """What is known of an answer's bytes once nothing more will be learnt.

    :ivar acknowledged: bytes of the body, from its first on, that the client's machine has and is
        not known to have thrown away.
    :ivar complete: the body is settled: all of it was acknowledged and kept.
    """

    acknowledged: int
    complete: bool


class Settling:
    """Watches one answer. The channel tells it what happens on the connection."""

    def __init__(
        self,
        clock: IReactorTime,
        acknowledgements: Acknowledgements,
        *,
        stall: float,
        abort: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._acknowledgements = acknowledgements
        self._stall = stall
        self._abort = abort
        self._start = acknowledgements.written
        self._sent = 0
        self._finished = False
        self._mark: int | None = None
        self._confirmed = -1  # not even the head of the answer
        self._deadline = Deadline(clock)
        self._interval = _FIRST_POLL
        self._progress = (0, 0.0)
        self._result: Settlement | None = None
        self._waiter: Deferred[Settlement] | None = None

    # What the answer does.

    def sending(self, octets: int) -> None:
        """Note that ``octets`` more of the body were written."""
        self._sent += octets

    def finish(self) -> Deferred[Settlement]:
        """Note that the kernel has taken all there is, or that it was broken off; fires with what became of it."""
        if self._result is None:
            self._finished = True
            self._mark = self._acknowledgements.handed()
            if self._confirmed >= self._sent:
                self._settle(complete=True)
            else:
                self._progress = (self._acknowledgements.progress(), self._clock.seconds())
                self._poll()
        self._waiter = Deferred(canceller=lambda _: self._forget())
        if self._result is not None:
            self._waiter.callback(self._result)
        return self._waiter

    # What the client does.

    def client_closed(self) -> None:
        """Note the client's FIN, while the socket is still open."""
        self._confirm()

    def client_asked(self) -> None:
        """Note the first byte of the client's next request."""
        self._confirm()

    def connection_lost(self, *, clean: bool, acknowledged: bool) -> None:
        """Note the end of the connection.

        :param clean: the client closed it in order, where no FIN could be told before (TLS).
        :param acknowledged: what :meth:`acknowledged` said while the socket was still open.
        """
        self._settle(complete=clean and acknowledged and self._finished)

    def acknowledged(self) -> bool:
        """Tell whether all that was sent is acknowledged."""
        if self._finished:
            return self._acknowledgements.reached(self._mark)
        return self._prefix() >= self._sent

    def arrived(self) -> bool:
        """Tell whether the client's machine has the whole answer, and is not known to have thrown it away."""
        if self._result is not None:
            return self._result.complete
        return self._finished and self.acknowledged() and not self._acknowledgements.lost()

    # The rules.

    def _prefix(self) -> int:
        """Return how many bytes of the body are acknowledged; -1 where not even its head is."""
        if self._acknowledgements.exact:
            position = self._acknowledgements.position()
            return -1 if position is None else max(-1, min(position - self._start, self._sent))
        return self._sent if self._finished and self._acknowledgements.reached(self._mark) else -1

    def _confirm(self) -> None:
        self._confirmed = max(self._confirmed, self._prefix())
        if self._finished and self.acknowledged():
            self._settle(complete=True)

    def _poll(self) -> None:
        """Look again and again whether all is acknowledged: the kernel tells nobody."""
        if self.acknowledged():
            self._deadline.set(QUIET, self._quiet)
            return
        now, progress = self._clock.seconds(), self._acknowledgements.progress()
        if progress != self._progress[0]:
            self._progress = (progress, now)
        elif now - self._progress[1] >= self._stall or self._acknowledgements.lost():
            self._abort()
            return
        self._deadline.set(self._interval, self._poll)
        self._interval = min(self._interval * 2, _LAST_POLL)

    def _quiet(self) -> None:
        if self._acknowledgements.lost():
            self._abort()
        else:
            self._settle(complete=True)

    def _forget(self) -> None:
        self._waiter = None
        self._deadline.stop()

    def _settle(self, *, complete: bool) -> None:
        if self._result is not None:
            return
        self._deadline.stop()
        self._result = Settlement(acknowledged=self._sent if complete else max(0, self._confirmed), complete=complete)
        if self._waiter is not None:
            self._waiter.callback(self._result)
