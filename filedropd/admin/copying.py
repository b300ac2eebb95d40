"""All records, from one database into another."""

from __future__ import annotations

import attrs

from filedropd.admin.stores import Records, Refused, drops


@attrs.define
class Copied:
    """How much was copied.

    :ivar transfers: those that a crash of the daemon cut off, which its next start accounts for.
    """

    drops: int = 0
    claims: int = 0
    transfers: int = 0
    events: int = 0


async def copy(source: Records, target: Records, now: float) -> Copied:
    """Copy every drop and what hangs on it.

    :raises Refused: a daemon is at work on one of them, or there is something in ``target``.
    """
    for records in (source, target):
        if await records.alive(now):
            raise Refused(
                f"A daemon is at work on {records.name}. Stop all of them first; one that was killed counts as "
                "running until its lease is over: try again in a minute."
            )
    if await target.page(b"", 1):
        raise Refused(f"{target.name} is not empty. Name a new database to copy to.")
    copied = Copied()
    async for drop in drops(source):
        ledger = await source.ledger(drop.key)
        if ledger is None:
            continue
        events = await source.events(drop.key)
        await target.restore(ledger, events)
        copied.drops += 1
        copied.claims += len(ledger.claims)
        copied.transfers += len(ledger.transfers)
        copied.events += len(events)
    return copied
