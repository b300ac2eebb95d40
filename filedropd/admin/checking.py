"""Rows without bytes and bytes without rows: finding them, and putting them right.

Daemons may be at work meanwhile (on PostgreSQL).  A row is committed before its bytes are published, and
bytes are deleted before their row is purged; so the bytes are looked at first, and what seems wrong is
looked at again.
"""

from __future__ import annotations

import attrs

from filedropd.admin.revoking import revoke
from filedropd.admin.stores import Files, Refused, drops
from filedropd.interfaces import IRecords
from filedropd.ledgers import Ledgers
from filedropd.model import Drop, DropState


@attrs.frozen
class Findings:
    """What there is.

    :ivar matched: how many drops have their bytes.
    :ivar arriving: how many have bytes that a daemon is about to publish, or will at its next start.
    :ivar lost: drops that can be had, or will be come back for, and have no bytes.
    :ivar stray: names of bytes that belong to no drop.
    """

    matched: int
    arriving: int
    lost: tuple[Drop, ...]
    stray: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.lost and not self.stray


async def look(records: IRecords, files: Files) -> Findings:
    """Compare all drops with all bytes."""
    files.check()
    published = files.published()
    left = set(published)
    matched = arriving = 0
    lost = []
    async for drop in drops(records):
        if drop.state is DropState.PURGED:
            continue
        if drop.blob in published:
            matched += 1
            left.discard(drop.blob)
        elif not drop.finished:  # of what is finished, the bytes are to go
            if files.arriving(drop.blob):
                arriving += 1
            elif await _lost(records, files, drop):
                lost.append(drop)
    stray = [blob for blob in sorted(left) if not await records.has_blob(blob) and files.has(blob)]
    return Findings(matched, arriving, tuple(lost), tuple(stray))


async def _lost(records: IRecords, files: Files, drop: Drop) -> bool:
    """Tell whether a drop that has no bytes should have some, looking again."""
    if files.has(drop.blob):
        return False
    now = await records.find(drop.key)
    return now is not None and now.state is not DropState.PURGED and not now.finished


async def repair(ledgers: Ledgers, files: Files, findings: Findings, *, force: bool = False) -> None:
    """End the drops that have no bytes as revoked, and delete the bytes that have no drop.

    :param force: even where no drop has its bytes.
    :raises Refused: none has; most likely these are another daemon's. Nothing was changed.
    """
    if not findings.matched and not findings.clean and not force:
        raise Refused(
            "Nothing was repaired: not one file here belongs to these records. Are --records and --blobs those of one "
            "daemon? If they are, add --force."
        )
    for drop in findings.lost:
        await revoke(ledgers, drop.key)
    for blob in findings.stray:
        files.delete(blob)
