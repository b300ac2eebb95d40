"""Drops are changed here: by the rules, durably, and with word to whoever is concerned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from twisted.logger import Logger

from filedropd.claims.elapsing import due, elapsed
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import Policy
from filedropd.model import Drop, Event, Touch
from filedropd.tokens import short

if TYPE_CHECKING:
    from filedropd.interfaces import IRecords

T = TypeVar("T")

#: A rule as :mod:`filedropd.claims` has it: given the time and the numbers, too.
TimedRule: TypeAlias = Callable[[Ledger, float, Policy], tuple[Ledger, T]]


#: What the log has a line for anyway: that of the request.
_UNLOGGED: Final = frozenset({Touch.CLAIMED, Touch.OPENED})


class Ledgers:
    """Changes drops, one at a time each.

    :param now: the time on the wall, in seconds since the epoch.
    :param happened: told of each event, by its touch.
    """

    _log = Logger()

    def __init__(
        self,
        records: IRecords,
        policy: Policy,
        now: Callable[[], float],
        happened: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.policy = policy
        self._records = records
        self._now = now
        self._happened = happened
        self._told: list[Callable[[Drop], None]] = []

    def tell(self, told: Callable[[Drop], None]) -> None:
        """Call ``told`` with every drop that is changed, once that is durable."""
        self._told.append(told)

    async def read(self, key: bytes) -> Ledger | None:
        """Return a drop with its claims and transfers as they are now, written down or not."""
        ledger = await self._records.ledger(key)
        return None if ledger is None else elapsed(ledger, self._now(), self.policy)

    async def change(self, key: bytes, rule: TimedRule[T]) -> T | None:
        """Let what time has brought happen to a drop, and then what ``rule`` says.

        :returns: the rule's result; ``None`` where there is no such drop.
        """
        return self._told_of(await self._records.change(key, partial(self._timed, rule, self._now())))

    async def change_all(self, keys: Sequence[bytes], rule: TimedRule[T]) -> list[T | None]:
        """Do what :meth:`change` does with several drops at once, and return the results in order."""
        changes = await self._records.change_all(keys, partial(self._timed, rule, self._now()))
        return [self._told_of(change) for change in changes]

    def _timed(self, rule: TimedRule[T], now: float, before: Ledger) -> tuple[Ledger, tuple[Ledger | None, T]]:
        after, result = rule(elapsed(before, now, self.policy), now, self.policy)
        if after is before:
            return before, (None, result)
        if not before.drop.finished:
            after = due(after, now, self.policy)
        return after, (after, result)

    def _told_of(self, change: tuple[Ledger | None, T] | None) -> T | None:
        if change is None:
            return None
        after, result = change
        if after is not None:
            self._note(after.drop, after.events)
        return result

    def _note(self, drop: Drop, events: Iterable[Event]) -> None:
        for event in events:
            self._happened(event.touch.value)
            if event.touch in _UNLOGGED:
                continue
            self._log.info(
                "drop {drop} {touch}{claim}{offset}{who}",
                drop=short(drop.key),
                touch=event.touch.value,
                claim="" if event.claim is None else f", claim {event.claim}",
                offset="" if event.offset is None else f", byte {event.offset} of {drop.size}",
                who="" if event.who is None else f", {event.who}",
            )
        for told in self._told:
            told(drop)
