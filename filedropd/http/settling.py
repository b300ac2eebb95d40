"""What became of an answer's bytes: sent, acknowledged, kept or thrown away.

A body is *settled* when all of it is acknowledged and then the client

- closes (its FIN; a client that throws unread data away sends RST instead, tcp(7)), or
- asks again (the first byte of its next request comes after the acknowledgement), or
- is quiet for a second.

Nothing is written to the connection meanwhile, since a FIN or a TLS close_notify of ours would make
a client that has read everything look like one that has not.  A FIN before the last acknowledgement
confirms what was acknowledged by then; a lost or aborted connection confirms nothing more.

A body that is settled by quiet alone is still in doubt for a minute, in which the client may reset:
its :mod:`.aftermath`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from filedropd.http.acknowledgement import Acknowledgements
from filedropd.http.aftermath import Aftermath
from filedropd.http.deadline import Deadline

#: Seconds without a sign from the client after which acknowledged is taken for received.
QUIET: Final = 1.0
#: Seconds after that in which a RST still says that it was not.
AFTERMATH: Final = 60.0
_FIRST_POLL: Final = 0.005
_LAST_POLL: Final = 0.1


@attrs.frozen(kw_only=True)
class Settlement:
    """What is known of an answer's bytes once nothing more will be learnt, unless it is ``quiet``.

    :ivar acknowledged: bytes of the body, from its first on, that the client's machine has and is
        not known to have thrown away.
    :ivar sent: bytes of the body, from its first on, that may have left this machine. Where that is
        not known, all that were given to be sent; never less than ``acknowledged``.
    :ivar begun: whether at least one byte of the answer, its head included, may have left it.
    :ivar complete: the body is settled: all of it was acknowledged and kept.
    :ivar quiet: it is settled by a second of quiet alone: the client has neither closed nor asked
        again, and may still turn out to have thrown it away.
    """

    acknowledged: int
    sent: int
    begun: bool
    complete: bool
    quiet: bool = False


class Settling:
    """Watches one answer. The connection tells it what happens there.

    :param head: the position, as ``acknowledgements`` counts it, at which the answer's head begins;
        its body begins at what is written now.
    :param stall: seconds after which a client that acknowledges nothing is given up.
    :param abort: ends the connection then, or when it turns out to be lost.
    """

    def __init__(
        self,
        clock: IReactorTime,
        acknowledgements: Acknowledgements,
        *,
        head: int,
        stall: float,
        abort: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._acknowledgements = acknowledgements
        self._stall = stall
        self._abort = abort
        self._head = head
        self._start = acknowledgements.written
        self._given = 0
        self._finished = False
        self._mark: int | None = None
        self._confirmed = -1  # not even the head of the answer
        self._asked = -1  # the client asked again when all of so many bytes was acknowledged
        self._departed: int | None = None  # as it was measured at the end
        self._aborting = self._all_at_end = self._closed = False
        self._deadline = Deadline(clock)
        self._interval = _FIRST_POLL
        self._progress = (0, 0.0)
        self._result: Settlement | None = None
        self._waiter: Deferred[Settlement] | None = None
        self._aftermath: Aftermath | None = None

    # What the answer does.

    def sending(self, octets: int) -> None:
        """Note that ``octets`` more of the body were written."""
        self._given += octets

    def finish(self) -> Deferred[Settlement]:
        """Note that the kernel has taken all there is, or that it was broken off; fires with what became of it."""
        if self._result is None:
            self._finished = True
            self._mark = self._acknowledgements.mark()
            if max(self._confirmed, self._asked) >= self._given:
                self._settle(complete=True)
            else:
                self._progress = (self._acknowledgements.progress(), self._clock.seconds())
                self._poll()
        self._waiter = Deferred(canceller=lambda _: self._forget())
        if self._result is not None:
            self._waiter.callback(self._result)
        return self._waiter

    async def confirmed(self) -> bool:
        """Tell whether the client has kept the body; of one that is in doubt, when that is over.

        Without a settlement, nothing is known to be kept.
        """
        if self._aftermath is not None:
            return await self._aftermath.wait()
        return self._result is not None and self._result.complete

    # What happens to the connection.

    def client_closed(self) -> None:
        """Note the client's FIN, while the socket is still open."""
        self._closed = True
        self._go_on()
        self._confirmed = max(self._confirmed, self._prefix())
        if self._finished and self.all_acknowledged():
            self._settle(complete=True)

    def client_asked(self) -> None:
        """Note the first byte of the client's next request.

        One that came before all was acknowledged says nothing: it may have been sent before the body came.
        """
        self._go_on()
        if not self.all_acknowledged():
            return
        if self._finished:
            self._settle(complete=True)
        else:
            self._asked = self._given

    def aborting(self) -> None:
        """Note that the connection is about to be broken off: until it is, the kernel sends what it has."""
        self._aborting = True
        self._measure()

    def closed_by_us(self) -> None:
        """Note that we close the connection in order."""
        if self._aftermath is not None:
            self._aftermath.closed_by_us()

    def ending(self, *, fin: bool) -> None:
        """Note that the connection is about to be lost, while the socket can still be asked.

        :param fin: the client's FIN has come, and :meth:`client_closed` will not be called for it (TLS).
        """
        self._measure()
        self._all_at_end = self.all_acknowledged()
        if fin:
            self._confirmed = max(self._confirmed, self._prefix())

    def connection_lost(self, *, clean: bool, kept: bool) -> None:
        """Note the end of the connection.

        :param clean: the client closed it in order, where no FIN could be told before (TLS).
        :param kept: it was closed in order, by whomever.
        """
        self._settle(complete=clean and self._all_at_end and self._finished)
        if self._aftermath is not None:
            self._aftermath.end(kept=kept)

    # What is known.

    def acknowledged(self) -> int:
        """Return how many bytes of the body are acknowledged now, or, once it is settled, by its settlement."""
        if self._result is not None:
            return self._result.acknowledged
        return max(0, self._confirmed, self._prefix())

    def all_acknowledged(self) -> bool:
        """Tell whether all that was sent is acknowledged."""
        if self._finished:
            return self._acknowledgements.reached(self._mark)
        return self._prefix() >= self._given

    def arrived(self) -> bool:
        """Tell whether the client's machine has the whole answer, and is not known to have thrown it away."""
        if self._result is not None:
            return self._result.complete
        return self._finished and self.all_acknowledged() and not self._acknowledgements.lost()

    @property
    def doubt(self) -> float:
        """Seconds for which it may still turn out that the client has thrown the body away."""
        return 0.0 if self._aftermath is None else self._aftermath.remaining

    # The rules.

    def _prefix(self) -> int:
        """Return how many bytes of the body are acknowledged; -1 where not even its head is."""
        if self._finished and self._acknowledgements.reached(self._mark):
            return self._given
        position = self._acknowledgements.position()
        return -1 if position is None else max(-1, min(position - self._start, self._given))

    def _go_on(self) -> None:
        """End the doubt about a body that was settled by quiet: its client is still there, and has not reset."""
        if self._aftermath is not None:
            self._aftermath.end(kept=True)

    def _poll(self) -> None:
        """Look again and again whether all is acknowledged: the kernel tells nobody."""
        if self.all_acknowledged():
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
            return
        quiet = not self._closed
        if quiet:
            self._aftermath = Aftermath(self._clock, self._acknowledgements, seconds=AFTERMATH, abort=self._abort)
        self._settle(complete=True, quiet=quiet)

    def _forget(self) -> None:
        self._waiter = None
        self._deadline.stop()

    def _measure(self) -> None:
        if self._result is None:
            self._departed = max(self._departed or 0, self._acknowledgements.departed(queued=self._aborting))

    def _settle(self, *, complete: bool, quiet: bool = False) -> None:
        if self._result is not None:
            return
        self._deadline.stop()
        acknowledged = self._given if complete else max(0, self._confirmed)
        departed = self._departed
        if complete or departed is None:
            sent, begun = self._given, True
        else:
            sent = max(acknowledged, min(departed - self._start, self._given))
            begun = departed > self._head
        self._result = Settlement(
            acknowledged=acknowledged, sent=sent, begun=begun or sent > 0, complete=complete, quiet=quiet
        )
        if self._waiter is not None:
            self._waiter.callback(self._result)
