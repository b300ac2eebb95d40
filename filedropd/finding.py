"""Drops that are there, that are gone, or that never were; and what of that may be remembered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from filedropd.deferreds import background
from filedropd.errors import Gone, NotFound
from filedropd.model import Drop, Reason
from filedropd.tokens import Token

if TYPE_CHECKING:
    from filedropd.interfaces import ICache, IRecords

#: Seconds for which it is remembered that an id was never there, or is gone.
CACHE_NEVER: Final = 60.0
CACHE_GONE: Final = 3600.0

_NEVER: Final = b"never"


def remembered(verdict: bytes) -> NotFound | Gone:
    """Return what somebody is told who asks for a link of which ``verdict`` is remembered."""
    return NotFound() if verdict == _NEVER else Gone(verdict.decode("ascii"))


async def remember(cache: ICache, key: bytes, reason: Reason) -> None:
    """Keep for a while that the drop stored as ``key`` is gone for everybody, and why."""
    await cache.set(key, reason.value.encode("ascii"), CACHE_GONE)


def remembering(cache: ICache) -> Callable[[Drop], None]:
    """Return what notes in ``cache``, which is in this process's memory, that a drop is gone, as soon as it is."""

    def changed(drop: Drop) -> None:
        if drop.finished and drop.reason is not None:
            background(remember(cache, drop.key, drop.reason), "remembering what is gone")

    return changed


class Finding:
    """Finds drops.

    :param now: the time on the wall, in seconds since the epoch.
    """

    def __init__(self, records: IRecords, cache: ICache, now: Callable[[], float]) -> None:
        self._records = records
        self._cache = cache
        self._now = now

    async def there(self, link: Token) -> Drop:
        """Return the drop behind ``link``, gone or not.

        :raises NotFound: it was never there, or is forgotten.
        :raises Gone: it was there, and that is remembered.
        """
        await self.check_remembered(link)
        drop = await self._records.find(link.key)
        if drop is None:
            await self._cache.set(link.key, _NEVER, CACHE_NEVER)
            raise NotFound
        return drop

    async def check_remembered(self, link: Token) -> None:
        """Return unless it is remembered that ``link`` leads nowhere.

        :raises NotFound: it was never there, or is forgotten.
        :raises Gone: it was there.
        """
        verdict = await self._cache.get(link.key)
        if verdict is not None:
            raise remembered(verdict)

    async def check_gone(self, drop: Drop) -> None:
        """Return if ``drop`` is not gone.

        :raises Gone: it is.
        """
        reason = drop.gone(self._now())
        if reason is None:
            return
        # Only what is gone for everybody is remembered as gone: not what somebody may still come back for, nor
        # what is over by a clock that may be put back.
        if drop.finished:
            await remember(self._cache, drop.key, reason)
        raise Gone(reason.value)

    async def found(self, key: bytes) -> Drop:
        """Return the drop stored as ``key`` as it is now.

        :raises NotFound: it is forgotten.
        """
        drop = await self._records.find(key)
        if drop is None:
            raise NotFound
        return drop
