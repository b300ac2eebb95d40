"""The drop that somebody means: by its link, or by the name that the logs have for it."""

from __future__ import annotations

import re
from typing import Final

from filedropd.admin.stores import Refused
from filedropd.interfaces import IRecords
from filedropd.model import Drop
from filedropd.tokens import Token, short

#: What logs call a drop, and all of its key.
_KEY: Final = re.compile(r"[0-9a-f]{8}|[0-9a-f]{64}", re.ASCII)

_KEY_BYTES: Final = 32


async def find(records: IRecords, name: str) -> Drop:
    """Return the drop that ``name`` says: the 32 hex digits of its link, or 8 or all 64 of its stored key.

    No text of an error repeats ``name``: it may open something.

    :raises Refused: it is no such name, there is none, or there are several.
    """
    token = Token.parse(name)
    if token is not None:
        drop = await records.find(token.key)
        if drop is None:
            raise Refused("There is no drop with this link: there never was, or it is forgotten.")
        return drop
    if not _KEY.fullmatch(name):
        raise Refused(
            "This names no drop: write the last 32 hex digits of its link, or the 8 hex digits by which logs know it."
        )
    return await _beginning(records, bytes.fromhex(name))


async def _beginning(records: IRecords, start: bytes) -> Drop:
    """Return the one drop whose key begins with ``start``."""
    found = [drop for drop in await records.page(_before(start), 2) if drop.key.startswith(start)]
    if not found:
        raise Refused(f"There is no drop {short(start)}: there never was, or it is forgotten.")
    if len(found) > 1:
        raise Refused(f"There are several drops {short(start)}: write all 64 digits of the key, which list --json has.")
    return found[0]


def _before(start: bytes) -> bytes:
    """Return what comes right before the first key that begins with ``start``."""
    number = int.from_bytes(start)
    if number == 0:
        return b""
    return (number - 1).to_bytes(len(start)) + b"\xff" * (_KEY_BYTES - len(start))
