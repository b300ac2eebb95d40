"""The fast way: the kernel moves the bytes from the file to the connection (``sendfile(2)``).

A window of the file is brought into memory while the one before it is sent, so that the reactor never
waits for the disk, and the recipient for the first window alone, which is a small one.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from zope.interface import implementer

from filedropd.delivery.settled import outcome_of
from filedropd.errors import ClientGone
from filedropd.interfaces import FileSending, IDelivery
from filedropd.model import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from filedropd.interfaces import Exchange, IBlob

#: Bytes of the first window; each has twice as many as the one before it, up to the last of these.
FIRST_WINDOW: Final = 1024 * 1024
WINDOW: Final = 8 * 1024 * 1024
#: Bytes up to which a download goes out in one write with its head, and costs least so.
SMALL: Final = 64 * 1024


@implementer(IDelivery)
class SendfileDelivery:
    """Lets the kernel send what is in a file, where it can.

    :param otherwise: sends what it cannot: small downloads, other blobs, connections on which that is not possible.
    """

    def __init__(self, otherwise: IDelivery) -> None:
        self._otherwise = otherwise

    async def deliver(self, blob: IBlob, first: int, length: int, exchange: Exchange) -> Outcome:
        """See :class:`~filedropd.interfaces.IDelivery`."""
        fast = length > SMALL and blob.descriptor is not None
        if not (fast and isinstance(exchange, FileSending) and exchange.takes_files):
            return await self._otherwise.deliver(blob, first, length, exchange)
        whole = await _sent(blob, first, length, exchange)
        return outcome_of(await exchange.settle(), whole=whole)


async def _sent(blob: IBlob, first: int, length: int, exchange: FileSending) -> bool:
    """Send a range, and tell whether all of it was, or the recipient has left."""
    try:
        async with aclosing(_windows(blob, first, first + length)) as windows:
            async for position, octets in windows:
                if blob.descriptor is None:
                    raise ValueError("the blob was closed while it was sent")
                await exchange.send_file(blob.descriptor, position, octets)
    except ClientGone:
        return False
    return True


async def _windows(blob: IBlob, first: int, end: int) -> AsyncGenerator[tuple[int, int], None]:
    """Iterate over the parts of a range, each of which is in memory by then, and the next one soon."""
    window = FIRST_WINDOW
    ahead = _ready(blob, first, min(first + window, end))
    try:
        while ahead is not None:
            waiting, ahead = ahead, None
            octets = await waiting
            window = min(2 * window, WINDOW)
            ahead = _ready(blob, first + octets, min(first + octets + window, end))
            yield first, octets
            first += octets
    finally:
        # No await here: what comes of it interests nobody any more.
        if ahead is not None:
            ahead.addErrback(lambda _: None)


def _ready(blob: IBlob, first: int, end: int) -> Deferred[int] | None:
    """Begin to bring in a window; fires with its size. ``None``: it is empty."""
    octets = end - first
    return Deferred.fromCoroutine(blob.ready(first, octets)).addCallback(lambda _: octets) if octets else None
