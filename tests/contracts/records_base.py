"""What the parts of the suite for :class:`filedropd.interfaces.IRecords` share."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from filedropd.interfaces import IRecords
from filedropd.model import Claim, Drop, Outcome

if TYPE_CHECKING:
    _Base = TestCase
else:
    _Base = object

T = TypeVar("T")

#: The time at which everything here happens, unless it says otherwise.
NOW = 1_000_000.0

#: When the drops here expire.
EXPIRY = NOW + 1000

#: Bytes of the files here.
SIZE = 100


def key_of(number: int) -> bytes:
    """Return the key of the drop of that number; a greater number has a greater key."""
    return number.to_bytes(32, "big")


def a_drop(number: int = 1, *, size: int = SIZE, downloads: int = 1, due_at: float = EXPIRY) -> Drop:
    """Return a new drop, the same for the same number."""
    return Drop(
        key=key_of(number),
        owner_key=bytes(reversed(key_of(number))),
        blob=f"{number:032x}",
        name="Jahresbericht – 年報.pdf",
        content_type="application/pdf",
        size=size,
        downloads=downloads,
        created_at=NOW,
        expires_at=EXPIRY,
        due_at=due_at,
    )


def a_claim(id: str = "c1", first: int = 0, length: int = SIZE, *, number: int = 1) -> Claim:  # noqa: A002 - its name
    """Return a new claim on the drop of that number."""
    return Claim(id=id, drop=key_of(number), first=first, length=length, opened_at=NOW)


def settled(length: int = SIZE) -> Outcome:
    """Return the outcome of an answer of ``length`` bytes that arrived."""
    return Outcome(acknowledged=length, complete=True)


def broken(acknowledged: int) -> Outcome:
    """Return the outcome of an answer that broke off after so many bytes."""
    return Outcome(acknowledged=acknowledged, complete=False)


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Run all of ``work`` at once and return the results in the same order."""
    return await gatherResults([Deferred.fromCoroutine(each) for each in work], consumeErrors=True)


class RecordsBase(_Base):
    """Says what an implementation must supply, and opens and closes what is made."""

    async def make(self) -> IRecords:
        """Return new, empty records that are not open yet."""
        raise NotImplementedError

    async def reborn(self, records: IRecords) -> IRecords:
        """Return what the next start of the daemon would make of closed ``records``; not open yet."""
        raise NotImplementedError

    async def opened(self) -> IRecords:
        """Return new, empty, open records, which are closed after the test."""
        return await self.open(await self.make())

    async def open(self, records: IRecords) -> IRecords:
        """Open ``records``, and close them after the test."""
        self.addCleanup(lambda: Deferred.fromCoroutine(records.close()))
        await records.open()
        return records

    async def holding(self, *drops: Drop) -> IRecords:
        """Return open records that hold ``drops``."""
        records = await self.opened()
        for drop in drops:
            await records.insert(drop)
        return records

    async def found(self, records: IRecords, number: int = 1) -> Drop:
        """Return a drop that must be there."""
        drop = await records.find(key_of(number))
        assert drop is not None
        return drop
