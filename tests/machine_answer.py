"""One answer in the model test: what of it left, what its client has for certain, and how it ends."""

from __future__ import annotations

from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from filedropd import spans
from filedropd.errors import ClientGone
from filedropd.http.settling import AFTERMATH, Settlement
from filedropd.spans import Spans
from filedropd.tokens import Token

#: Seconds without progress after which a connection is given up.
STALL: Final = 60.0
#: See ``credit`` of :class:`Answer`.
LAST: Final = -1


class Told(Protocol):
    """Whoever keeps account of answers."""

    def begun(self, answer: Answer, claim: Token) -> None:
        """Note that the head was written."""

    def ended(self, answer: Answer) -> None:
        """Note that it is known what became of it."""

    def ended_after_all(self, answer: Answer, *, kept: bool) -> None:
        """Note how a connection ended that had been settled by quiet alone."""


class Answer:
    """An Exchange whose client takes pieces one by one, and comes to one of the ends that there are.

    :param content: the file.
    :param credit: so many pieces are taken before it waits; ``None``: all of them; :data:`LAST`: all are written,
        and the last is not taken.
    :param auto: what is sent to the end settles at once, by the client's FIN.
    :param steady: the client takes a byte now and then, and never stalls.

    :ivar written: bytes of the body that were written: they may leave at any moment.
    :ivar acked: bytes that were seen to arrive.
    :ivar settling: all was written, and the outcome is awaited.
    :ivar settlement: the outcome, once it is known.
    :ivar lingering: it was settled by quiet alone, and the connection stands.
    :ivar killed: the daemon was.
    """

    def __init__(
        self,
        clock: Clock,
        told: Told,
        content: bytes,
        first: int,
        length: int,
        *,
        source: str | None,
        credit: int | None = None,
        auto: bool = False,
        steady: bool = False,
    ) -> None:
        self.first, self.length = first, length
        self.source = source
        self.claim: Token | None = None
        self.written = self.acked = 0
        self.settling = self.lingering = self.killed = False
        self.settlement: Settlement | None = None
        self._clock = clock
        self._told = told
        self._content = memoryview(content)
        self._empty = not content
        self._credit = credit
        self._auto = auto
        self._steady = steady
        self._gate: Deferred[None] | None = None
        self._after: bool | None = None
        self._asking: Deferred[bool] | None = None
        self._timer: IDelayedCall | None = None

    # -- what is known of it ----------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether its head was written, and its outcome is not known."""
        return self.claim is not None and self.settlement is None

    @property
    def asked(self) -> Spans:
        """The bytes that were asked for; an empty file's is its head."""
        return spans.of(self.first, self.first + (1 if self._empty else self.length))

    @property
    def left(self) -> Spans:
        """The bytes that may have left the machine, and so may have been read."""
        if self.claim is None:
            return spans.NONE
        if self._empty:
            return self.asked if self.settlement is None or self.settlement.begun else spans.NONE
        return spans.of(self.first, self.first + (self.settlement.sent if self.settlement else self.written))

    @property
    def in_flight(self) -> Spans:
        """The bytes that were written and are not seen to have arrived."""
        return spans.of(self.first + self.acked, self.first + self.written)

    @property
    def kept(self) -> Spans:
        """The bytes that its client has for certain."""
        if self.settlement is None or self.killed:
            return spans.NONE
        if self.settlement.complete:
            return self.asked if self._after or not self.settlement.quiet else spans.NONE
        return spans.NONE if self._empty else spans.of(self.first, self.first + self.settlement.acknowledged)

    @property
    def _full(self) -> bool:
        return self._credit == 0 or (self._credit == LAST and self.written == self.length)

    # -- Exchange ---------------------------------------------------------------------------------

    def begin(self, claim: Token) -> None:
        """Write the head."""
        self.claim = claim
        self._told.begun(self, claim)
        self._progress()

    async def send(self, data: bytes) -> None:
        """See Exchange."""
        if self.settlement is not None:
            raise ClientGone
        start = self.first + self.written
        if self._content[start : start + len(data)] != data:
            raise AssertionError("other bytes than the file's were sent")
        self.written += len(data)
        self._progress()
        while self._full and self.settlement is None:
            await self._wait()
        if self.settlement is not None:
            raise ClientGone
        if self._credit:
            self._credit = LAST if self._credit == LAST else self._credit - 1

    async def settle(self) -> Settlement:
        """See Exchange."""
        self.settling = True
        if self.settlement is None and self._auto:
            self.close()
        while self.settlement is None:
            await self._wait()
        return self.settlement

    def acknowledged(self) -> int:
        """See Exchange."""
        return self.acked if self.settlement is None else self.settlement.acknowledged

    async def confirmed(self) -> bool:
        """See Exchange."""
        if self._after is not None:
            return self._after
        self._asking = Deferred()
        return await self._asking

    def abort(self) -> None:
        """See Exchange: all that the kernel took may leave, and nothing is confirmed."""
        self._end(Settlement(acknowledged=0, sent=self.written, begun=self.claim is not None, complete=False))

    # -- what the client does ---------------------------------------------------------------------

    def take(self, pieces: int | None) -> None:
        """Take so many pieces more, or all of them."""
        self._credit = None if pieces is None or self._credit in {None, LAST} else self._credit + pieces
        self._go_on()

    def acknowledge(self, octets: int) -> None:
        """Let it be seen that so many bytes more arrived."""
        self.acked = min(self.written, self.acked + octets)
        self._progress()

    def close(self) -> None:
        """Close in order, or ask again on the same connection, having read all."""
        if self.settling:
            self.acked = self.written
            self._end(Settlement(acknowledged=self.written, sent=self.written, begun=True, complete=True))

    def be_quiet(self) -> None:
        """Acknowledge all, and give no other sign for a second."""
        if not self.settling or self.settlement is not None:
            return
        self.lingering = True
        self.acked = self.written
        self._end(Settlement(acknowledged=self.written, sent=self.written, begun=True, complete=True, quiet=True))
        self._timer = self._clock.callLater(AFTERMATH, self.end_after_all, kept=True)

    def end_after_all(self, *, kept: bool) -> None:
        """Close in order, or reset, after having been quiet."""
        if self.lingering:
            self._stop()
            self._linger_no_more(kept=kept)
            self._told.ended_after_all(self, kept=kept)
            self._tell_after()

    def leave(self, *, sent: int, acknowledged: int = 0, begun: bool = True) -> None:
        """Break off.

        :param sent: bytes that had left.
        :param acknowledged: of these, what was acknowledged before a FIN.
        :param begun: something, and be it of the head, had left.
        """
        sent = max(acknowledged, min(sent, self.written))
        begun = self.claim is not None and (begun or sent > 0)
        self._end(Settlement(acknowledged=acknowledged, sent=sent, begun=begun, complete=False))

    def die(self) -> None:
        """Lose the daemon: without a word, and all that it had written may have left."""
        self._stop()
        self.killed = self.killed or self.lingering or self.settlement is None
        if self.lingering:
            self._linger_no_more(kept=False)
            self._tell_after()
        elif self.settlement is None:
            self.settlement = Settlement(
                acknowledged=0, sent=self.written, begun=self.claim is not None, complete=False
            )
            self._go_on()

    # -- inside -----------------------------------------------------------------------------------

    def _end(self, settlement: Settlement) -> None:
        if self.settlement is None:
            self._stop()
            self.settlement = settlement
            self._told.ended(self)
            self._go_on()

    def _linger_no_more(self, *, kept: bool) -> None:
        self.lingering, self._after = False, kept

    def _tell_after(self) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.callback(self._after is True)

    def _progress(self) -> None:
        self._stop()
        if not self._steady:
            self._timer = self._clock.callLater(STALL, self.abort)

    def _stop(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():  # a crash cancels all
            timer.cancel()

    async def _wait(self) -> None:
        self._gate = Deferred()
        await self._gate

    def _go_on(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.callback(None)
