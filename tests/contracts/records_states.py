"""Records hold to the tables of :mod:`filedropd.model`: every operation, from every state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from filedropd.interfaces import IRecords
from filedropd.model import CLAIM_TRANSITIONS, DROP_TRANSITIONS, ClaimState, DropState, Reason
from tests.contracts.records_base import NOW, RecordsBase, a_claim, a_drop, broken, key_of, settled

#: Something done to the drop of a number, whose claims are called ``<number>a``, ``<number>b`` and so on.
Deed = Callable[[IRecords, int], Awaitable[object]]

DEEDS: dict[str, Deed] = {
    "open a claim": lambda records, n: records.open_claim(a_claim(f"{n}z", number=n), NOW),
    "release it": lambda records, n: records.release_claim(f"{n}a"),
    "it arrives": lambda records, n: records.end_claim(f"{n}a", settled(), NOW),
    "it breaks": lambda records, n: records.end_claim(f"{n}a", broken(0), NOW),
    "it breaks half-way": lambda records, n: records.end_claim(f"{n}a", broken(50), NOW),
    "the rest arrives": lambda records, n: records.end_claim(f"{n}b", settled(50), NOW),
    "the daemon crashed": lambda records, _: records.close_open_claims(NOW),
    "it expires": lambda records, n: records.end(key_of(n), Reason.EXPIRED, NOW),
    "it is revoked": lambda records, n: records.end(key_of(n), Reason.REVOKED, NOW),
    "it is purged": lambda records, n: records.purged(key_of(n), NOW),
    "a purge fails": lambda records, n: records.purge_failed(key_of(n), NOW),
    "it is forgotten": lambda records, n: records.forget(key_of(n)),
}

#: Ways into every state of a drop and of its claims; each begins with a new drop with two claims open.
WAYS: list[list[str]] = [
    [],
    ["it arrives"],
    ["it breaks"],
    ["it breaks half-way"],
    ["it breaks half-way", "the rest arrives"],
    ["release it"],
    ["the daemon crashed"],
    ["it expires"],
    ["it is revoked"],
    ["it is revoked", "it is purged"],
    ["it is revoked", "it breaks half-way"],
    ["it is revoked", "it breaks half-way", "it is purged"],
]

Drops = list[tuple[DropState | None, DropState | None]]
Claims = list[tuple[ClaimState, ClaimState | None]]


class StatesContract(RecordsBase):
    """No operation does what the model does not know, and every transition that it knows can be seen."""

    async def observed(self) -> tuple[Drops, Claims]:
        """Do every deed at the end of every way; return each state before and after it."""
        records = await self.opened()
        drops: Drops = []
        claims: Claims = []
        for number, (way, deed) in enumerate(self.tried()):
            await records.insert(a_drop(number, downloads=2))
            await records.open_claim(a_claim(f"{number}a", number=number), NOW)
            await records.open_claim(a_claim(f"{number}b", 50, 50, number=number), NOW)
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
        drop = await records.find(key_of(number))
        claims = await records.claims(key_of(number))
        return drop.state if drop else None, {claim.id: claim.state for claim in claims}

    async def test_drops(self):
        """The transitions of drops are those of DROP_TRANSITIONS; only what is purged is forgotten."""
        drops, _ = await self.observed()
        known = {(before, after) for before, afters in DROP_TRANSITIONS.items() for after in afters}
        seen = {(before, after) for before, after in drops if before is not after}
        self.assertEqual(known | {(DropState.PURGED, None)}, seen)

    async def test_claims(self):
        """The transitions of claims are those of CLAIM_TRANSITIONS; an open one can be released."""
        _, claims = await self.observed()
        known = {(before, after) for before, afters in CLAIM_TRANSITIONS.items() for after in afters}
        seen = {(before, after) for before, after in claims if before is not after}
        # A drop is forgotten with its claims, whatever their states are.
        forgotten = {(state, None) for state in ClaimState}
        self.assertEqual(known | {(ClaimState.OPEN, None)}, seen - (forgotten - {(ClaimState.OPEN, None)}))
