"""Three faults that the model test must find, each planted by putting another in the place of one collaborator.

``python -m tests.model_faults --seeds 1,2,3`` says which seeds find which fault, and after how many examples.
``--promises`` looks at what was promised alone, and not at what is on record.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from unittest.mock import patch

import attrs
from twisted.logger import globalLogBeginner
from zope.interface import implementer

from filedropd import downloads
from filedropd.claims.ledger import Ledger
from filedropd.delivery.stream import StreamDelivery
from filedropd.interfaces import IDelivery, IRecords, Rule
from filedropd.ledgers import Ledgers
from filedropd.model import Outcome
from filedropd.transfers import Sending
from tests import support
from tests.machine import machine, ran
from tests.machine_world import Stores

if TYPE_CHECKING:
    from filedropd.interfaces import Exchange, IBlob

T = TypeVar("T")


# -- claim after first byte ------------------------------------------------------------------------


class HastyRecords:
    """Records that answer a request for bytes at once, and write the claim down when something else is written."""

    def __init__(self, records: IRecords) -> None:
        self._records = records
        self._late: list[tuple[bytes, Rule[Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    async def change(self, key: bytes, rule: Rule[T]) -> T | None:
        """See IRecords; breaks what it promises."""
        before = await self._records.ledger(key)
        if before is not None:
            after, result = rule(before)
            if len(_transfers(after)) > len(_transfers(before)):
                self._late.append((key, rule))
                return result
        late, self._late = self._late, []
        for late_key, late_rule in late:
            await self._records.change(late_key, late_rule)
        return await self._records.change(key, rule)


def _transfers(ledger: Ledger) -> set[str]:
    return {transfer.id for transfer in ledger.transfers}


class HastyLedgers(Ledgers):
    """Ledgers on such records."""

    def __init__(self, records: IRecords, *arguments: Any) -> None:
        super().__init__(cast(IRecords, HastyRecords(records)), *arguments)


def claim_after_first_byte() -> contextlib.AbstractContextManager[object]:
    """Send bytes before the claim is committed."""
    return patch.object(support, "Ledgers", HastyLedgers)


# -- handed out recorded after sending -------------------------------------------------------------


class HastySending(Sending):
    """Sends a stride, and then has it reserved."""

    async def send(self, data: bytes) -> None:
        """See Exchange; breaks what it promises."""
        self._begun = True
        self._sent += len(data)
        await self._exchange.send(data)
        while self._sent > self._reserved:
            await self._reserve_more()


def recorded_after_sending() -> contextlib.AbstractContextManager[object]:
    """Reserve strides after they were sent."""
    return patch.object(downloads, "Sending", HastySending)


# -- complete when written -------------------------------------------------------------------------


@implementer(IDelivery)
class HastyDelivery(StreamDelivery):
    """Takes written for delivered."""

    async def deliver(self, blob: IBlob, first: int, length: int, exchange: Exchange) -> Outcome:
        """See IDelivery; breaks what it promises."""
        written = _Written(exchange)
        await super().deliver(blob, first, length, written)
        return Outcome(acknowledged=written.sent, sent=written.sent, complete=written.sent == length)


@attrs.define
class _Written:
    """An Exchange that asks nobody what became of what was sent."""

    exchange: Exchange
    sent: int = 0

    async def send(self, data: bytes) -> None:
        await self.exchange.send(data)
        self.sent += len(data)

    async def settle(self) -> Outcome:
        return Outcome(acknowledged=self.sent, sent=self.sent, complete=True)

    def acknowledged(self) -> int:
        return self.exchange.acknowledged()

    async def confirmed(self) -> bool:
        return True

    def abort(self) -> None:
        self.exchange.abort()


def complete_when_written() -> contextlib.AbstractContextManager[object]:
    """Say that a transfer is complete when all of it was written."""
    return patch.object(support, "StreamDelivery", HastyDelivery)


#: All of them, by their names.
FAULTS: Final[Mapping[str, Callable[[], contextlib.AbstractContextManager[object]]]] = {
    "claim after first byte": claim_after_first_byte,
    "handed-out recorded after sending": recorded_after_sending,
    "complete at 'written'": complete_when_written,
}


def found(
    fault: Callable[[], contextlib.AbstractContextManager[object]],
    *,
    examples: int,
    steps: int,
    seed: int,
    within: bool = True,
) -> tuple[int, str] | None:
    """Return after how many examples the machine finds a fault, and what it says; ``None``: within so many it does not."""
    planted = machine(Stores(), within=within)
    with fault():
        try:
            ran(planted, examples=examples, steps=steps, seed=seed, shrink=False)
        except Exception as error:  # noqa: BLE001 - whatever breaks, breaks by what was planted
            return planted.passed + 1, str(error).partition("\n")[0] or type(error).__name__
    return None


def main() -> None:
    """Plant each fault, and say which seeds find it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1,2,3", help="seeds, separated by commas")
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--promises", action="store_true", help="look at what was promised alone")
    options = parser.parse_args()
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False)
    for name, fault in FAULTS.items():
        for seed in map(int, options.seeds.split(",")):
            began = time.process_time()
            outcome = found(
                fault, examples=options.examples, steps=options.steps, seed=seed, within=not options.promises
            )
            told = "NOT FOUND" if outcome is None else f"found by example {outcome[0]}: {outcome[1]}"
            sys.stdout.write(f"{name}, seed {seed}: {told} ({time.process_time() - began:.0f} s)\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
