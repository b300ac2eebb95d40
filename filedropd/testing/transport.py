"""The server's end of a connection in memory: Twisted's own descriptor over queues.

What a socket adds to it (half-closing, aborting, the kernel's buffer and its counts) behaves as in
``twisted.internet.tcp``, so that what a protocol does to it has the consequences that it has there.
"""

# Half of twisted.internet.abstract has no annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IReactorFDSet,
    IReactorTime,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from filedropd.http.acknowledgement import IAcknowledging

_log = Logger()


@implementer(IAcknowledging)
class MemoryTransport(FileDescriptor):
    """A connection's descriptor.

    :ivar selector: gives it its turns.
    :ivar input: what the client sent and the server has not read, piece by piece.
    :ivar fin: the client sent FIN behind it.
    :ivar rst: the client sent RST.
    :ivar output: all that the kernel was handed for the client.
    :ivar taken: how many bytes of it the client's machine has.
    :ivar window: how many more it takes; ``None``: all.
    :ivar fin_sent: the server sent FIN behind the output.
    :ivar was_reset: the server sent RST.
    :ivar ended: the server's side is gone.
    """

    protocol: Protocol

    def __init__(
        self, clock: IReactorTime, client: IAddress, server: IAddress, send_buffer: int, tell: Callable[[], None]
    ) -> None:
        self.selector = _Selector(clock, self)
        super().__init__(self.selector)
        self.connected = 1
        self._clock = clock
        self._client, self._server = client, server
        self._send_buffer = send_buffer
        self._tell = tell
        self._aborting = False
        self.input: deque[bytes] = deque()
        self.fin = False
        self.rst = False
        self.output = bytearray()
        self.taken = 0
        self.window: int | None = None
        self.fin_sent = False
        self.was_reset = False
        self.ended = False

    # As a socket.

    @property
    def buffered(self) -> int:
        """Bytes written that the kernel has not taken."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    @property
    def _room(self) -> int:
        return self._send_buffer - (len(self.output) - self.taken)

    def readable(self) -> bool:
        """Tell whether a reactor would call it to read."""
        return self.rst or (self.selector.reading and (bool(self.input) or self.fin))

    def writable(self) -> bool:
        """Tell whether a reactor would call it to write."""
        return self.rst or (self.selector.writing and self._room > 0)

    def look(self) -> None:
        """Note that something may have changed."""
        self.selector.look()

    def deliver(self) -> None:
        """Let the client take what it may."""
        octets = len(self.output) - self.taken
        if self.window is not None:
            octets = min(octets, self.window)
            self.window -= octets
        self.taken += octets
        if octets:
            self._tell()

    def turn(self) -> None:
        """Do what a reactor does with a socket in one turn."""
        if self.rst:
            self.connectionLost(Failure(ConnectionLost()))
            return
        if self.readable():
            self._guarded(self.doRead)
        if not self.ended and not self._aborting and self.writable():
            self._guarded(self._write)

    def _guarded(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:  # noqa: BLE001 - a reactor logs what a protocol raises, and loses the connection
            failure = Failure()
            _log.failure("the protocol raised", failure=failure)
            self.connectionLost(failure)

    def doRead(self) -> None:
        """Read once."""
        if not self.input:
            self.stopReading()
            self.readConnectionLost(Failure(ConnectionDone()))
            return
        piece = self.input.popleft()
        if len(piece) > self.bufferSize:
            self.input.appendleft(piece[self.bufferSize :])
            piece = piece[: self.bufferSize]
        self.protocol.dataReceived(piece)

    def _write(self) -> None:
        why = self.doWrite()
        if why is not None:
            self.connectionLost(Failure(why))

    def writeSomeData(self, data: bytes) -> int:
        """Hand the kernel what it takes."""
        octets = min(len(data), self._room, self.SEND_LIMIT)
        self.output += memoryview(data)[:octets]
        self.deliver()
        return octets

    # As twisted.internet.tcp.Connection.

    def _closeWriteConnection(self) -> None:
        self.fin_sent = True
        self._tell()
        IHalfCloseableProtocol(self.protocol).writeConnectionLost()

    def readConnectionLost(self, reason: Failure) -> None:
        """Tell the protocol of the client's FIN."""
        IHalfCloseableProtocol(self.protocol).readConnectionLost()

    def abortConnection(self) -> None:
        """Send RST, in the next turn."""
        if self.ended or self._aborting:
            return
        self._aborting = True
        self.stopReading()
        self.stopWriting()
        self._clock.callLater(0, self.connectionLost, Failure(ConnectionAborted()))

    def connectionLost(self, reason: Failure) -> None:
        """End."""
        if self.ended:
            return
        super().connectionLost(reason)
        self.ended = True
        self.was_reset = reason.check(ConnectionDone) is None or bool(self.input)
        self.fin_sent = self.fin_sent or not self.was_reset
        self.protocol.connectionLost(reason)
        self._tell()

    def getPeer(self) -> IAddress:
        """Return the client's address."""
        return self._client

    def getHost(self) -> IAddress:
        """Return the server's address."""
        return self._server

    # What the kernel counts.

    def bytes_acked(self) -> int | None:
        """See IAcknowledging."""
        return None if self.ended or self.rst else self.taken

    def bytes_out(self) -> int:
        """See IAcknowledging."""
        return len(self.output) - self.taken

    def bytes_handed(self) -> int:
        """See IAcknowledging."""
        return len(self.output)

    def bytes_notsent(self) -> int:
        """See IAcknowledging. What the client's machine has not taken is on its way."""
        return 0


@implementer(IReactorFDSet)
class _Selector:
    """Stands where the reactor does for one transport: knows what it wants, and gives it its turns."""

    def __init__(self, clock: IReactorTime, transport: MemoryTransport) -> None:
        self.reading = False
        self.writing = False
        self._clock = clock
        self._transport = transport
        self._next: IDelayedCall | None = None

    def look(self) -> None:
        """Give the transport a turn if there is anything to do in it."""
        transport = self._transport
        busy = (self.reading and transport.readable()) or (self.writing and transport.writable())
        if self._next is None and busy and not transport.ended:
            self._next = self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._next = None
        if (self.reading or self.writing) and not self._transport.ended:
            self._transport.turn()
            self.look()

    def addReader(self, reader: IReadDescriptor) -> None:
        """Note that it wants to read."""
        self.reading = True
        self.look()

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """Note that it wants to write."""
        self.writing = True
        self.look()

    def removeReader(self, reader: IReadDescriptor) -> None:
        """Note that it does not want to read."""
        self.reading = False

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """Note that it does not want to write."""
        self.writing = False

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        """Take everybody's wishes back."""
        self.reading = self.writing = False
        return []

    def getReaders(self) -> list[IReadDescriptor]:
        """Return who wants to read."""
        return []

    def getWriters(self) -> list[IWriteDescriptor]:
        """Return who wants to write."""
        return []
