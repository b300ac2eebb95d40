"""The plain way: the daemon reads the bytes and writes them to the connection."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from zope.interface import implementer

from filedropd.delivery.settled import outcome_of
from filedropd.errors import ClientGone
from filedropd.interfaces import IDelivery
from filedropd.model import Outcome

if TYPE_CHECKING:
    from filedropd.interfaces import Exchange, IBlob


@implementer(IDelivery)
class StreamDelivery:
    """Sends piece by piece, each when the connection wants it. Works on every kind of connection."""

    async def deliver(self, blob: IBlob, first: int, length: int, exchange: Exchange) -> Outcome:
        """See :class:`~filedropd.interfaces.IDelivery`."""
        sent = 0
        try:
            async with aclosing(blob.read(first, length)) as pieces:
                async for piece in pieces:
                    await exchange.send(piece)
                    sent += len(piece)
        except ClientGone:
            pass  # what became of what was sent is told below
        return outcome_of(await exchange.settle(), whole=sent == length)
