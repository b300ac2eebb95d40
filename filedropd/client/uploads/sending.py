"""A request's body: what a source has, as fast as the connection takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from filedropd.client.errors import ClientError, NotReadable, Stalled
from filedropd.client.resuming import sleep
from filedropd.client.uploads.sources import Source

#: Bytes that are written at once, at least. More where that takes less than so many seconds, and less again where it
#: takes more: whoever watches a slow connection sees it go on.
LEAST: Final = 128 * 1024
QUICK: Final = 0.05
SLOW: Final = 0.2
#: Seconds in which nothing is taken of a body, after which it is given up.
STALL: Final = 60.0
#: Seconds for an answer once the body is out: a large file is synced to a disk first.
ANSWER: Final = 600.0


@implementer(IBodyProducer)
class Outgoing:
    """Sends what ``source`` has.

    :param sent: is called with the number of bytes that went out so far.
    :param give_up: is called when the other side has taken nothing for :data:`STALL` seconds, or has not answered
        :data:`ANSWER` seconds after the end.
    :ivar failure: why the source could not be read, if that is what happened.
    :ivar stalled: whether it was given up.
    """

    def __init__(
        self, source: Source, clock: IReactorTime, sent: Callable[[int], None], give_up: Callable[[], None]
    ) -> None:
        self.length: Any = UNKNOWN_LENGTH if source.length is None else source.length
        self.failure: ClientError | None = None
        self.stalled = False
        self._source = source
        self._clock = clock
        self._sent = sent
        self._give_up = give_up
        self._paused: Deferred[None] | None = None
        self._work: Deferred[None] | None = None
        self._timer: Any = None
        self._ended = False
        self._portion = LEAST
        self._limit: Callable[[int], float] = lambda _: 0.0

    def limited(self, delay: Callable[[int], float]) -> Outgoing:
        """Wait after so many bytes as long as ``delay`` says."""
        self._limit = delay
        return self

    # -- for Twisted ------------------------------------------------------------------------------

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """See IBodyProducer."""
        finished: Deferred[None] = Deferred()
        self._work = Deferred.fromCoroutine(self._produce(consumer))
        # Once we are stopped, IBodyProducer has it, the Deferred is not to fire any more.
        self._work.addBoth(lambda result: None if self._ended else finished.callback(result))
        return finished

    def pauseProducing(self) -> None:
        """See IPushProducer."""
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """See IProducer."""
        self.end()
        if self._work is not None:
            self._work.cancel()

    # -- the work ---------------------------------------------------------------------------------

    async def _produce(self, consumer: IConsumer) -> None:
        done = 0
        try:
            while piece := await self._source.read():
                if self.length is not UNKNOWN_LENGTH and done + len(piece) > self.length:
                    raise NotReadable("The file grew while it was sent. Try again when it is left alone.")
                at = 0
                while at < len(piece):
                    part = piece[at : at + self._portion]
                    await self._write(consumer, part)
                    at += len(part)
                    self._sent(done + at)
                done += len(piece)
            if self.length is not UNKNOWN_LENGTH and done < self.length:
                raise NotReadable("The file shrank while it was sent. Try again when it is left alone.")
        except ClientError as error:
            self.failure = error
            raise
        self._expect(ANSWER)

    async def _write(self, consumer: IConsumer, part: bytes) -> None:
        """Return when a part is with the connection, and it is time for the next one."""
        began = self._clock.seconds()
        consumer.write(part)
        if self._paused is not None:  # from here it is the other side's turn
            self._expect(STALL)
            await self._paused
            self._end_timer()
        took = self._clock.seconds() - began
        if (seconds := self._limit(len(part))) > 0:
            await sleep(self._clock, seconds)
        elif took < QUICK:
            self._portion *= 2
        elif took > SLOW:
            self._portion = max(LEAST, self._portion // 2)

    # -- quiet ------------------------------------------------------------------------------------

    def _expect(self, seconds: float) -> None:
        """Begin the time anew that may pass until something goes on."""
        self._end_timer()
        if not self._ended:
            self._timer = self._clock.callLater(seconds, self._over)

    def _over(self) -> None:
        self._timer = None
        self.stalled = True
        self.failure = Stalled()
        self._give_up()

    def end(self) -> None:
        """Watch no more: it is answered, or it failed."""
        self._ended = True
        self._end_timer()

    def _end_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
