"""Records hold to the tables of :mod:`filedropd.model`: every operation, from every state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import attrs

from filedropd.claims.asking import Verdict, ask
from filedropd.claims.elapsing import revoked
from filedropd.claims.ending import end
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import Policy
from filedropd.interfaces import IRecords
from filedropd.ledgers import TimedRule
from filedropd.model import CLAIM_TRANSITIONS, DROP_TRANSITIONS, ClaimState, Drop, DropState, Outcome
from tests.contracts.records_base import (
    EXPIRY,
    NOW,
    POLICY,
    SIZE,
    RecordsBase,
    a_claim,
    a_drop,
    a_wish,
    arrived,
    broken,
    does,
    key_of,
    putting,
)

S = TypeVar("S")

#: Something done to the drop of a number, whose claims and transfers are called after it.
Deed = Callable[[IRecords, int], Awaitable[object]]

HALF = SIZE // 2


def asks(name: str, first: int, length: int, *, bytes_too: bool = True) -> Deed:
    """Return the deed that somebody, always the same, asks for bytes."""

    def deed(records: IRecords, n: int) -> Awaitable[Verdict | None]:
        wish = a_wish(f"{n}{name}", first, length, source="198.51.100.7\ncurl")
        wish = wish if bytes_too else attrs.evolve(wish, transfer=None)

        def rule(ledger: Ledger, now: float, policy: Policy) -> tuple[Ledger, Verdict]:
            anew = attrs.evolve(wish, claim=f"{n}.{ledger.drop.opened}")
            return ask(ledger, anew, {}, now, policy)

        return does(records, rule, number=n)

    return deed


def ends(name: str, outcome: Outcome) -> Deed:
    """Return the deed that what was asked for under that name ends."""
    return lambda records, n: does(
        records, lambda ledger, now, policy: (end(ledger, f"t{n}{name}", outcome, now, policy), None), number=n
    )


def passes(now: float) -> Deed:
    """Return the deed that time passes."""
    looked_at: TimedRule[None] = lambda ledger, *_: (ledger, None)  # noqa: E731 - of this type
    return lambda records, n: does(records, looked_at, number=n, now=now)


DEEDS: dict[str, Deed] = {
    "a claim is asked for": asks("p", 0, SIZE, bytes_too=False),
    "all is": asks("a", 0, SIZE),
    "half is": asks("h", 0, HALF),
    "the rest is": asks("r", HALF, SIZE - HALF),
    "a bit is again": asks("b", 0, 10),
    "all arrives": ends("a", arrived()),
    "all breaks at its end": ends("a", broken(SIZE)),
    "all breaks half-way": ends("a", broken(HALF + 1)),
    "all breaks before it began": ends("a", broken(0)),
    "half arrives": ends("h", arrived(HALF)),
    "half breaks at its end": ends("h", broken(HALF)),
    "the rest arrives": ends("r", arrived(SIZE - HALF)),
    "the bit arrives": ends("b", arrived(10)),
    "the bit breaks": ends("b", broken(10)),
    "the window ends": passes(NOW + POLICY.window),
    "it expires": passes(EXPIRY),
    "it is revoked": lambda records, n: does(
        records, lambda ledger, now, _: (ledger if ledger.drop.finished else revoked(ledger, now), None), number=n
    ),
    "it is purged": lambda records, n: records.purged(key_of(n), NOW),
    "a purge fails": lambda records, n: records.purge_failed(key_of(n), NOW),
    "it is forgotten": lambda records, n: records.forget(key_of(n)),
}

COVERED = ["half is", "the rest is", "half arrives", "a bit is again", "the rest arrives"]
PRESUMED = ["half is", "half breaks at its end", "the rest is", "the rest arrives"]

#: Ways into every state of a drop and of its claims.
WAYS: list[list[str]] = [
    [],
    ["a claim is asked for"],
    ["all is"],
    ["all is", "all arrives"],
    ["all is", "all breaks half-way"],
    ["all is", "all breaks half-way", "the window ends"],
    ["all is", "all breaks at its end"],
    ["half is"],
    COVERED[:-1],
    COVERED,
    ["half breaks at its end" if step == "half arrives" else step for step in COVERED],
    PRESUMED[:-1],
    PRESUMED,
    ["it expires"],
    ["all is", "it expires"],
    ["all is", "it expires", "it is purged"],
    ["it is revoked"],
    ["all is", "it is revoked"],
    ["it is revoked", "it is purged"],
    ["all is", "it is revoked", "all breaks half-way", "it is purged"],
]

Drops = list[tuple[DropState | None, DropState | None]]
Claims = list[tuple[ClaimState, ClaimState | None]]


def counted(state: ClaimState) -> Drop:
    """Return a drop of which one claim, in ``state``, is counted."""
    presumed = int(state is ClaimState.PRESUMED)
    return attrs.evolve(
        a_drop(downloads=2), opened=1, live=int(state.live), delivered=int(state.counts), presumed=presumed
    )


class StatesContract(RecordsBase):
    """No operation does what the model does not know, and every transition that it knows can be seen."""

    async def observed(self) -> tuple[Drops, Claims]:
        """Do every deed at the end of every way; return each state before and after it."""
        records = await self.opened()
        drops: Drops = []
        claims: Claims = []
        for number, (way, deed) in enumerate(self.tried()):
            await records.insert(a_drop(number, downloads=2))
            for step in way:
                await DEEDS[step](records, number)
            drop, before = await self.states(records, number)
            await DEEDS[deed](records, number)
            drop_after, after = await self.states(records, number)
            drops.append((drop, drop_after))
            claims += [(state, after.get(id)) for id, state in before.items()]  # noqa: A001 - its name
        return drops, claims

    def tried(self) -> Iterator[tuple[list[str], str]]:
        """Iterate over each way with each deed after it."""
        return ((way, deed) for way in WAYS for deed in DEEDS)

    async def states(self, records: IRecords, number: int) -> tuple[DropState | None, dict[str, ClaimState]]:
        """Return the state of a drop, ``None`` if it is forgotten, and those of its claims."""
        ledger = await records.ledger(key_of(number))
        return (None, {}) if ledger is None else (ledger.drop.state, {each.id: each.state for each in ledger.claims})

    async def test_tables(self):
        """What becomes of drops and claims is in the tables, in one step or several; and all that is there is seen."""
        drops, claims = await self.observed()
        # Only what is purged is forgotten.
        self.assertEqual(_steps(DROP_TRANSITIONS) | {(DropState.PURGED, None)}, _moves(drops))
        known = _steps(CLAIM_TRANSITIONS)
        several = known | {(one, three) for one, two in known for also_two, three in known if two is also_two}
        # A claim that goes was never sent anything, or its drop is forgotten.
        seen = {(before, after) for before, after in _moves(claims) if after is not None}
        self.assertEqual((set(), set()), (known - seen, seen - several))

    async def test_moves(self):
        """Every transition that the table has is kept, with what it makes of the drop's counts."""
        for before, afters in CLAIM_TRANSITIONS.items():
            for after in afters:
                records = await self.holding(counted(before))
                claim = attrs.evolve(a_claim(), state=before, ended_at=None if before.live else NOW)
                await records.change(key_of(1), putting(claim))
                moved = await records.change(key_of(1), _moving(after))
                self.assertEqual(moved, await self.ledger(records))
                self.assertEqual([after], [claim.state for claim in (await self.ledger(records)).claims])


def _moving(state: ClaimState) -> Callable[[Ledger], tuple[Ledger, Ledger]]:
    """Return the rule that moves a drop's claim, and has for its result what there is to be, without events."""

    def rule(ledger: Ledger) -> tuple[Ledger, Ledger]:
        ledger = ledger.moved(ledger.claims[0], state, NOW)
        return ledger, attrs.evolve(ledger, events=())

    return rule


def _steps(table: Mapping[S, Iterable[S]]) -> set[tuple[S, S | None]]:
    return {(before, after) for before, afters in table.items() for after in afters}


def _moves(seen: Iterable[tuple[S, S | None]]) -> set[tuple[S, S | None]]:
    return {(before, after) for before, after in seen if before is not after}
