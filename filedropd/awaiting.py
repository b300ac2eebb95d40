"""A request that meets bytes under way waits for what becomes of them, if that is soon known.

``curl link; curl link`` is 200, then 410: the second waits while the first settles (rule G).  Who shows the claim's
token ends what is in his way, and waits until that is accounted for (rule F).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs
from twisted.internet.interfaces import IReactorTime

from filedropd.transfers import Sending

#: Seconds for which a request waits for a claim that is settling.
SETTLING: Final = 1.5
#: Seconds after which a transfer that somebody else sends is superseded: until then it may turn out to be over.
HANDED_OVER: Final = 0.5


@attrs.frozen(kw_only=True)
class Met:
    """What a request met.

    :ivar transfers: the ids of those that send bytes it asks for; ``None``: all copies are others'.
    :ivar superseding: the claim's token was shown: those are to end.
    """

    transfers: frozenset[str] | None = None
    superseding: bool = False


def ending_soon(met: Met, here: Iterable[Sending]) -> Sending | None:
    """Return a transfer whose end will soon let the rules decide otherwise, if there is one; end what is superseded.

    :param here: the drop's transfers that run in this daemon.
    """
    if met.transfers is not None:
        here = [sending for sending in here if sending.id in met.transfers]
    awaited = next((sending for sending in here if sending.awaited), None)
    if awaited is None and met.superseding:
        for sending in here:
            sending.abort()
        awaited = next(iter(here), None)
    return awaited


async def ended(sending: Sending, met: Met, clock: IReactorTime, seconds: float) -> bool:
    """Wait until a transfer is over, ``seconds`` at most, and tell whether it is.

    One that somebody else sends, and that is superseded, is given up soon: it is over some moments later.
    """
    superseded = sending.handed_over and met.superseding and met.transfers is not None
    over = await sending.over.within(clock, HANDED_OVER if superseded else seconds)
    if superseded and not over:
        sending.abort()
        over = await sending.over.within(clock, seconds - HANDED_OVER)
    return over
