"""Records in memory."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from filedropd.interfaces import IRecords
from filedropd.testing import MemoryRecords
from tests.contracts import records as contract


class MemoryRecordsTests(contract.RecordsContract, TestCase):
    """The contract, in memory: what is kept lives as long as the object."""

    shared = True

    async def make(self) -> IRecords:
        return MemoryRecords()

    async def reborn(self, records: IRecords) -> IRecords:
        return records
