"""Taking a drop back, as its owner can."""

from __future__ import annotations

from filedropd.claims.elapsing import revoked
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import Policy
from filedropd.ledgers import Ledgers


async def revoke(ledgers: Ledgers, key: bytes) -> bool:
    """End a drop as revoked; its bytes are deleted by the daemon.

    :returns: whether it was there: one whose bytes are to be deleted already stays as it is.
    """
    return bool(await ledgers.change(key, _taken_back))


def _taken_back(ledger: Ledger, now: float, _: Policy) -> tuple[Ledger, bool]:
    if ledger.drop.finished:
        return ledger, False
    return revoked(ledger, now), True
