"""What the parts of a server know of each other: values they share, and protocols in place of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import attrs
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource

if TYPE_CHECKING:
    from filedropd.http.familiar import FamiliarHeads
    from filedropd.http.head import Head, Limits
    from filedropd.http.pipes import Pipes
    from filedropd.http.request import Request
    from filedropd.http.sendfile import Shares
    from filedropd.http.settling import Settling
    from filedropd.http.turns import Turns


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long a connection may take, in seconds.

    :ivar head: from the first byte of a request's head to its last.
    :ivar idle: from an answer to the next request.
    :ivar stall: without a byte taken by a client that is being sent to.
    """

    head: float = 10.0
    idle: float = 75.0
    stall: float = 60.0


@attrs.frozen(kw_only=True)
class Refusal:
    """An answer to something that went wrong.

    :ivar headers: its fields, Content-Length included.
    """

    code: int
    reason: bytes
    headers: Headers
    body: bytes


@attrs.frozen(kw_only=True)
class Prepared:
    """An answer that is ready to be sent.

    :ivar head: from the status line to the empty line, for a connection that goes on.
    :ivar whole: the head, and the body behind it.
    """

    code: int
    head: bytes
    whole: bytes


class AtOnce(Protocol):
    """Answers what needs nothing to be asked."""

    def __call__(self, method: bytes, target: bytes, head: Head, /) -> Prepared | None:
        """Return the answer to a request without a body; most often ``None``.

        :param head: the request's in all but ``method`` and ``target``, which may be another's.
        """


class Connection(Protocol):
    """What a request needs of the connection that it came on, beyond what ``twisted.web`` asks for."""

    @property
    def http(self) -> Server:
        """What all connections share."""

    def getPeer(self) -> IAddress:
        """Return the client's address."""

    def settling(self) -> Settling:
        """Watch what becomes of the body whose head was just written."""

    @property
    def takes_files(self) -> bool:
        """Whether the kernel can, and is to, send files on it."""

    async def send_file(self, file: int, first: int, length: int, sent: Callable[[int], None]) -> None:
        """Send a part of a file, as :meth:`filedropd.http.output.Output.send_file` does."""

    async def writable(self) -> None:
        """Return when more may be written.

        :raises ClientGone: never again.
        """

    async def flushed(self) -> None:
        """Return when the kernel has taken all that was written.

        :raises ClientGone: it never will.
        """

    def abort(self) -> None:
        """Break the connection off (RST)."""


class Server(Protocol):
    """What all connections share.

    :ivar resource: answers the requests.
    :ivar zero_copy: whether bytes may go past Python between a socket and a file.
    :ivar familiar: reads heads that are like one before.
    :ivar turns: makes the calls that fall due for many connections at once.
    :ivar pipes: through which they come in.
    :ivar shares: says how much of a file each connection may be sent at a time.
    :ivar refusal: what to answer to an exception.
    :ivar hot: returns the answer to a request without a body that needs nothing to be asked; most often ``None``.
    :ivar answered: told of each request when its answer is over, however it ended.
    :ivar answered_at_once: told of each that was ``hot``, with its status code.
    :ivar refused: told of each answer that was given to something that was no request.
    """

    resource: IResource
    clock: IReactorTime
    limits: Limits
    timeouts: Timeouts
    zero_copy: bool
    familiar: FamiliarHeads
    turns: Turns
    pipes: Pipes
    shares: Shares
    refusal: Callable[[Exception], Refusal]
    hot: AtOnce
    answered: Callable[[Request], None]
    answered_at_once: Callable[[int], None]
    refused: Callable[[Connection, int], None]

    def opened(self, connection: Closable) -> None:
        """Note a new connection."""

    def closed(self, connection: Closable) -> None:
        """Note the end of a connection."""


class Closable(Protocol):
    """A connection, to the one who ends them all."""

    @property
    def busy(self) -> bool:
        """Whether a request is being answered whose client does not have the whole answer yet."""

    def shut(self) -> None:
        """Take no further request: close when the one that is being answered is done, or at once."""

    def abort(self) -> None:
        """Break the connection off (RST). One whose client has the whole answer ends in order; a second call breaks it."""
