"""The reading side of a connection: what is held until its turn comes, and the transport's own back-pressure.

What a client sends behind the request that is being answered (RFC 9112 section 9.3.2) is not looked at before that is
done: pipelining costs a bounded buffer and no queue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IReactorTime

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

#: Bytes of requests behind the one that is being answered, held before reading stops.
PIPELINED: Final = 64 * 1024


class Input:
    """Reads from ``transport``, as far as there is room.

    :param go_on: called when the turn of what is held has come.

    :ivar held: what came, and waits.
    :ivar turn: in which it goes on by itself, where it does: until then all that comes is to be held.
    :ivar paused: nothing is read.
    """

    def __init__(self, transport: Any, clock: IReactorTime, go_on: Callable[[], None]) -> None:
        self._transport = transport
        self._clock = clock
        self._go_on = go_on
        self._lost = False
        self.held = b""
        self.turn: IDelayedCall | None = None
        self.paused = False

    def hold(self, data: bytes) -> None:
        """Keep what came behind what is held; reads no more beyond a limit."""
        self.held += data
        if len(self.held) > PIPELINED:
            self.pause()

    def put_back(self, data: bytes) -> None:
        """Keep what was taken, and not used, before what came since."""
        self.held = data + self.held
        self.hold(b"")

    def take(self) -> bytes:
        """Return what is held, which is used now, and read on."""
        data, self.held = self.held, b""
        self.resume()
        return data

    def drop(self) -> None:
        """Forget what is held: nothing more is answered."""
        self.held = b""
        self.paused = False

    def take_turn(self, seconds: float = 0) -> None:
        """Let what is held go on in a turn of the reactor's, in ``seconds`` at the latest."""
        self.turn = self._clock.callLater(seconds, self._take_turn)

    def hurry(self) -> None:
        """Let the turn that waits come now."""
        if self.turn is not None:
            self.turn.reset(0)

    def end_turn(self) -> None:
        """Take no turn."""
        turn, self.turn = self.turn, None
        if turn is not None:
            turn.cancel()

    def pause(self) -> None:
        """Read nothing."""
        self.paused = True
        self._transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if self.paused and not self._lost:
            self.paused = False
            self._transport.resumeProducing()

    def lost(self) -> None:
        """Note that the connection is lost."""
        self._lost = True
        self.end_turn()

    def _take_turn(self) -> None:
        self.turn = None
        self._go_on()
