"""The writing side of a connection: back-pressure, what the kernel has taken, and clients that take nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProducer, IPullProducer, IPushProducer, IReactorTime, ISSLTransport
from zope.interface import implementer

from filedropd.deferreds import sleep
from filedropd.errors import ClientGone
from filedropd.http.acknowledgement import Acknowledgements
from filedropd.http.deadline import Deadline
from filedropd.http.records import buffered
from filedropd.http.sendfile import FileSender, Shares, hold_little
from filedropd.http.sockets import plain_socket

#: Bytes read at once, and bytes written that wait for the kernel before we are paused, while a body comes in or goes out.
BUFFER: Final = 256 * 1024
#: Likewise between bodies: room for a head. To have room for more costs three times what it takes to read one.
RESTING: Final = 16 * 1024
# How often, in each time-out, a client that takes nothing is looked at.
_LOOKS: Final = 4


@implementer(IPushProducer)
class Output:
    """Writes to ``transport``, for which it is the producer.

    :param stall: seconds after which a client that takes nothing is given up.
    :param stalled: called then, and when the kernel says that nobody is there: it breaks the connection off.
    :param ending: called when the connection is about to be lost and the socket is still there to be asked.
    :param resumed: called when the kernel has taken all that was written, and more may be.
    :param shares: says how much of a file may be sent at a time.

    :ivar paused: the kernel takes less than is written.
    :ivar secure: the transport is TLS's.
    :ivar takes_files: :meth:`send_file` can be used.
    :ivar acknowledgements: what the client's machine has.
    """

    def __init__(
        self,
        transport: Any,
        clock: IReactorTime,
        *,
        stall: float,
        stalled: Callable[[], None],
        ending: Callable[[], None],
        resumed: Callable[[], None] = lambda: None,
        shares: Shares | None = None,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._stall = stall
        self._stalled = stalled
        self._ending = ending
        self._resumed = resumed
        self._shares = shares or Shares()
        self.paused = False
        self._lost = False
        self._waiter: Deferred[None] | None = None
        self._deadline = Deadline(clock)
        self._progress = ((0, 0), 0.0)
        self._of_files = 0  # bytes that the kernel took from files
        self.secure = ISSLTransport.providedBy(transport)
        self._socket = plain_socket(transport)
        self.takes_files = self._socket is not None
        # The transport on the socket itself: what TLS wraps.
        self._lower = transport.transport if self.secure else transport
        # Twisted reads pieces of this size, and pauses us when it holds more than this to write.
        self._lower.bufferSize = RESTING
        self.acknowledgements = Acknowledgements(transport)
        transport.registerProducer(self, True)

    def write(self, data: bytes) -> None:
        """Write ``data``."""
        if self.secure:
            self.acknowledgements.write_records(data)
        else:
            self._transport.write(data)
        self.acknowledgements.written += len(data)

    def write_now(self, data: bytes) -> None:
        """Write ``data``, now rather than in the reactor's next turn where the kernel takes it: a small answer."""
        if self._socket is None or not self._lower.connected or buffered(self._lower):
            self.write(data)
            return
        try:
            taken = self._socket.send(data)
        except OSError:  # it takes nothing now; or the connection is lost, as Twisted finds out
            taken = 0
        self.acknowledgements.written += taken
        if taken < len(data):
            self.write(data[taken:])

    def hand_over(self) -> None:
        """Give the kernel what was written, now rather than in the reactor's next turn, where it is little."""
        lower = self._lower
        if self._socket is None or not lower.connected or lower.disconnecting:
            return
        if 0 < buffered(lower) <= BUFFER:
            lower.doWrite()  # what it fails with, it fails with again in the next turn, when Twisted looks

    async def writable(self) -> None:
        """Return when more may be written.

        :raises ClientGone: never again.
        """
        if self.paused and not self._lost:
            await self._wait()
        if self._lost:
            raise ClientGone

    async def flushed(self) -> None:
        """Return when the kernel has taken all that was written.

        :raises ClientGone: it never will.
        """
        if not self.acknowledgements.note():
            await sleep(self._clock, 0)  # TLS's layer gathers small writes until the next turn
            self.acknowledgements.note()
        if self._lost:
            raise ClientGone
        self.hand_over()
        if self._handed_over():
            # A client may have read all of it already, and closed: the next turn would be too late to note that.
            return
        # A pull producer is asked for more when nothing is left; TLS's slot for one is below it.
        self._transport.unregisterProducer()
        self._watch()
        self._lower.registerProducer(_Flush(self), False)
        self._lower.startWriting()
        await self._wait()
        if self._lost:
            raise ClientGone
        self._lower.unregisterProducer()
        self._transport.registerProducer(self, True)

    async def send_file(self, file: int, first: int, length: int, sent: Callable[[int], None]) -> None:
        """Send ``length`` bytes of ``file``, a descriptor, from ``first`` on, behind all that was written.

        Returns when the kernel has taken them; cancelled, it takes no more.

        :param sent: called with the number of bytes that the kernel has taken, as soon as it has.
        :raises ClientGone: the connection is lost.
        :raises OSError: the file cannot be read, or ends too early.
        """
        if self._lost:
            raise ClientGone

        def taken(octets: int) -> None:
            self.acknowledgements.written += octets
            self._of_files += octets
            sent(octets)

        if self._socket is not None:
            hold_little(self._socket)
        sender = FileSender(
            self._transport,
            file,
            first,
            length,
            shares=self._shares,
            taken=taken,
            done=self.resumeProducing,
            ending=self._ending,
        )
        self._watch()
        self.lend(sender, streaming=False)
        try:
            with self._shares:
                await self._wait()
        finally:
            sender.stop()
            self._deadline.clear()
            if not sender.dropped:
                self.take_back()
        if sender.lost:
            self._stalled()  # Twisted would not see it: nothing is left that it could write
        if sender.error is not None:
            raise sender.error
        if sender.left:
            raise ClientGone

    def read_at_once(self, octets: int) -> None:
        """Let one read of the transport bring so many bytes at most."""
        self._lower.bufferSize = octets

    def _handed_over(self) -> bool:
        """Tell whether the kernel has taken all that was written."""
        return not buffered(self._lower)

    def lend(self, producer: IProducer, *, streaming: bool) -> None:
        """Let ``producer`` write in our place, as IConsumer has it, until :meth:`take_back`."""
        self._transport.unregisterProducer()
        self._transport.registerProducer(producer, streaming)

    def take_back(self) -> None:
        """End what :meth:`lend` began."""
        self._transport.unregisterProducer()
        if not self._lost:
            self._transport.registerProducer(self, True)

    def end(self, *, wait: bool) -> None:
        """Close when what was written has gone out.

        :param wait: for the client to close its side: ours alone is closed, and reading goes on.
        """
        # A transport whose producer is paused forgets, when it is flushed, that it was to be closed.
        self._transport.unregisterProducer()
        if not wait:
            self._watch()
        if wait and not self.secure:
            self._transport.loseWriteConnection()
            return
        witness = wait and self._handed_over()
        # Under TLS that is a close_notify, after which it still waits for the client's.
        self._transport.loseConnection()
        if witness and not self._lost:
            # Nothing is left that could pause us: below TLS we may stay, to be told when the client's FIN has come.
            self._lower.registerProducer(self, True)

    def end_below(self) -> None:
        """Close although the client has not answered our close_notify."""
        self._lower.loseConnection()

    def lost(self) -> None:
        """Note that the connection is lost."""
        self._lost = True
        self._deadline.stop()
        self._release()

    # IPushProducer

    def pauseProducing(self) -> None:
        """The kernel takes less than is written."""
        self.paused = True
        self._watch()

    def resumeProducing(self) -> None:
        """The kernel has taken all that was written."""
        self.paused = False
        self._deadline.clear()
        self._release()
        self._resumed()

    def stopProducing(self) -> None:
        """The connection is about to be lost."""
        self._ending()

    # A client that takes nothing.

    def _watch(self) -> None:
        self._progress = (self._taken(), self._clock.seconds())
        self._deadline.set(self._stall / _LOOKS, self._look)

    def _taken(self) -> tuple[int, int]:
        """Return what changes whenever the client's machine has taken something, or the kernel something of a file."""
        return self.acknowledgements.progress(), self._of_files

    def _look(self) -> None:
        now, progress = self._clock.seconds(), self._taken()
        if progress != self._progress[0]:
            self._progress = (progress, now)
        elif now - self._progress[1] >= self._stall:
            self._stalled()
            return
        self._deadline.set(self._stall / _LOOKS, self._look)

    # Whoever waits.

    async def _wait(self) -> None:
        self._waiter = Deferred(canceller=lambda _: self._forget())
        await self._waiter

    def _forget(self) -> None:
        self._waiter = None

    def _release(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)


@implementer(IPullProducer)
class _Flush:
    """Asked for more when the transport has nothing left: that is all it is for."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._registered = False

    def resumeProducing(self) -> None:
        """Note that nothing is left to write; the first call comes with the registration and says nothing."""
        if self._registered:
            self._output.resumeProducing()
        self._registered = True

    def stopProducing(self) -> None:
        """See :meth:`Output.stopProducing`."""
        self._output.stopProducing()
