"""What every :class:`filedropd.interfaces.IRecords` promises of claims: at most N copies, ever."""

from __future__ import annotations

import attrs

from filedropd.interfaces import IRecords
from filedropd.model import ClaimState, DropState, Outcome, Reason
from tests.contracts.records_base import (
    EXPIRY,
    NOW,
    SIZE,
    RecordsBase,
    a_claim,
    a_drop,
    broken,
    key_of,
    settled,
    together,
)

#: How many want one drop at once.
RACERS = 64


async def sent(records: IRecords, id: str, first: int, length: int, outcome: Outcome) -> None:  # noqa: A002 - its name
    """Open a claim on part of the first drop, and end it."""
    assert await records.open_claim(a_claim(id, first, length), NOW) is not None
    assert await records.end_claim(id, outcome, NOW) is not None


class OpeningContract(RecordsBase):
    """Who gets a copy."""

    async def test_open(self):
        """A claim that is opened is kept as it is, and counts as live."""
        records = await self.holding(a_drop())
        self.assertEqual(attrs.evolve(a_drop(), live=1), await records.open_claim(a_claim("c1", 10, 20), NOW))
        self.assertEqual([a_claim("c1", 10, 20)], await records.claims(key_of(1)))

    async def test_no_copy_free(self):
        """While the only copy is claimed nobody else gets one, and nothing is changed."""
        records = await self.holding(a_drop())
        await records.open_claim(a_claim("c1"), NOW)
        self.assertIsNone(await records.open_claim(a_claim("c2"), NOW))
        self.assertEqual([a_claim("c1")], await records.claims(key_of(1)))
        self.assertEqual(1, (await self.found(records)).live)

    async def test_none_left(self):
        """Copies that were delivered are not free again."""
        records = await self.holding(attrs.evolve(a_drop(downloads=3), delivered=2))
        self.assertIsNotNone(await records.open_claim(a_claim("c1"), NOW))
        self.assertIsNone(await records.open_claim(a_claim("c2"), NOW))

    async def test_expiry(self):
        """Until its expiry a drop can be claimed, from then on not."""
        records = await self.holding(a_drop(downloads=2))
        self.assertIsNone(await records.open_claim(a_claim("late"), EXPIRY))
        self.assertIsNotNone(await records.open_claim(a_claim("early"), EXPIRY - 0.001))

    async def test_gone(self):
        """What is gone cannot be claimed."""
        records = await self.holding(a_drop())
        await records.end(key_of(1), Reason.REVOKED, NOW)
        self.assertIsNone(await records.open_claim(a_claim(), NOW))

    async def test_open_absent(self):
        """What is not there cannot be claimed, and no claim is left."""
        records = await self.opened()
        self.assertIsNone(await records.open_claim(a_claim(), NOW))
        self.assertEqual([], await records.claims(key_of(1)))

    async def test_same_id(self):
        """A second claim under one id is refused, and takes no copy."""
        records = await self.holding(a_drop(downloads=2))
        await records.open_claim(a_claim("c1"), NOW)
        with self.assertRaises(Exception):  # noqa: B017 - a bug comes out as the store tells it
            await records.open_claim(a_claim("c1"), NOW)
        self.assertEqual(1, (await self.found(records)).live)

    async def test_race_for_one(self):
        """Of 64 that want a one-time drop at once, one gets it."""
        records = await self.holding(a_drop())
        opened = await together(*(records.open_claim(a_claim(f"c{n}"), NOW) for n in range(RACERS)))
        self.assertEqual(1, len(list(filter(None, opened))))
        self.assertEqual(1, len(await records.claims(key_of(1))))

    async def test_race_for_five(self):
        """Of 64 that want a drop with five copies at once, five get one."""
        records = await self.holding(a_drop(downloads=5))
        opened = await together(*(records.open_claim(a_claim(f"c{n}"), NOW) for n in range(RACERS)))
        self.assertEqual([1, 2, 3, 4, 5], sorted(drop.live for drop in opened if drop))
        self.assertEqual(5, len(await records.claims(key_of(1))))

    async def test_order(self):
        """Claims come in the order in which they were opened, though it was at one moment."""
        records = await self.holding(a_drop(downloads=9))
        for id in "fbhacgdei":  # noqa: A001 - its name
            await records.open_claim(a_claim(id), NOW)
        self.assertEqual(list("fbhacgdei"), [claim.id for claim in await records.claims(key_of(1))])

    async def test_others(self):
        """A drop's claims are its own."""
        records = await self.holding(a_drop(1), a_drop(2))
        await records.open_claim(a_claim("c1", number=1), NOW)
        await records.open_claim(a_claim("c2", number=2), NOW)
        self.assertEqual([a_claim("c2", number=2)], await records.claims(key_of(2)))


class ReleasingContract(RecordsBase):
    """A claim is reversible until the first byte."""

    async def test_release(self):
        """A claim that is released leaves no trace, and its copy is free."""
        records = await self.holding(a_drop())
        await records.open_claim(a_claim(), NOW)
        await records.release_claim("c1")
        self.assertEqual(a_drop(), await records.find(key_of(1)))
        self.assertEqual([], await records.claims(key_of(1)))
        self.assertIsNotNone(await records.open_claim(a_claim("c2"), NOW))

    async def test_release_twice(self):
        """A second release gives nothing back that another holds."""
        records = await self.holding(a_drop(downloads=2))
        await records.open_claim(a_claim("c1"), NOW)
        await records.open_claim(a_claim("c2"), NOW)
        await together(records.release_claim("c1"), records.release_claim("c1"))
        self.assertEqual(1, (await self.found(records)).live)

    async def test_release_ended(self):
        """A claim that has ended stays."""
        records = await self.holding(a_drop())
        await sent(records, "c1", 0, SIZE, broken(10))
        before = await records.claims(key_of(1))
        await records.release_claim("c1")
        self.assertEqual(before, await records.claims(key_of(1)))
        self.assertEqual(0, (await self.found(records)).live)

    async def test_release_absent(self):
        """Releasing what is not there does nothing."""
        records = await self.holding(a_drop())
        await records.release_claim("c1")
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_release_gone(self):
        """A claim can be released when its drop is gone; the reason stays."""
        records = await self.holding(a_drop())
        await records.open_claim(a_claim(), NOW)
        gone = await records.end(key_of(1), Reason.EXPIRED, NOW)
        assert gone is not None
        await records.release_claim("c1")
        self.assertEqual(attrs.evolve(gone, live=0), await records.find(key_of(1)))


class EndingContract(RecordsBase):
    """What a claim leaves behind."""

    async def test_delivered(self):
        """A whole file that arrived is a delivery; the last makes the drop gone, and due, at once."""
        records = await self.holding(a_drop())
        await records.open_claim(a_claim(), NOW)
        expected = attrs.evolve(
            a_drop(), delivered=1, state=DropState.GONE, reason=Reason.DELIVERED, gone_at=NOW + 3, due_at=NOW + 3
        )
        self.assertEqual(expected, await records.end_claim("c1", settled(), NOW + 3))
        self.assertEqual(expected, await records.find(key_of(1)))
        ended = attrs.evolve(a_claim(), state=ClaimState.DELIVERED, acknowledged=SIZE, ended_at=NOW + 3)
        self.assertEqual([ended], await records.claims(key_of(1)))

    async def test_not_the_last(self):
        """A delivery that is not the last leaves the drop available, and due as before."""
        records = await self.holding(a_drop(downloads=2))
        await sent(records, "c1", 0, SIZE, settled())
        self.assertEqual(attrs.evolve(a_drop(downloads=2), delivered=1), await records.find(key_of(1)))

    async def test_never_more(self):
        """However many claim and end at once, N are delivered."""
        records = await self.holding(a_drop(downloads=5))

        async def download(id: str) -> bool:  # noqa: A002 - its name
            taken = await records.open_claim(a_claim(id), NOW)
            return taken is not None and await records.end_claim(id, settled(), NOW) is not None

        served = await together(*(download(f"c{n}") for n in range(RACERS)))
        self.assertEqual(5, sum(served))
        drop = await self.found(records)
        self.assertEqual((5, 0, Reason.DELIVERED), (drop.delivered, drop.live, drop.reason))

    async def test_broken(self):
        """An answer of which nothing arrived frees its copy and is kept as broken."""
        records = await self.holding(a_drop())
        await sent(records, "c1", 0, SIZE, broken(0))
        self.assertEqual(a_drop(), await records.find(key_of(1)))
        self.assertEqual(ClaimState.BROKEN, (await records.claims(key_of(1)))[0].state)

    async def test_broken_whole(self):
        """An answer that broke off does not count, even when all of it is said to have arrived."""
        records = await self.holding(a_drop())
        await sent(records, "c1", 0, SIZE, broken(SIZE))
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_claim_ends_once(self):
        """A claim ends once: of many that end it at the same time, one does."""
        records = await self.holding(a_drop(downloads=2))
        await records.open_claim(a_claim(), NOW)
        ended = await together(*(records.end_claim("c1", settled(), NOW) for _ in range(8)))
        self.assertEqual(1, len(list(filter(None, ended))))
        self.assertEqual(1, (await self.found(records)).delivered)

    async def test_end_absent_claim(self):
        """A claim that is not there does not end."""
        records = await self.holding(a_drop())
        self.assertIsNone(await records.end_claim("c1", settled(), NOW))

    async def test_end_released(self):
        """A claim that was released does not end."""
        records = await self.holding(a_drop())
        await records.open_claim(a_claim(), NOW)
        await records.release_claim("c1")
        self.assertIsNone(await records.end_claim("c1", settled(), NOW))
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_end_gone(self):
        """A claim that ends on a drop that is gone is recorded and counted; reason and times stay."""
        records = await self.holding(a_drop())
        await records.open_claim(a_claim(), NOW)
        gone = await records.end(key_of(1), Reason.EXPIRED, NOW + 1)
        assert gone is not None
        self.assertEqual(attrs.evolve(gone, live=0, delivered=1), await records.end_claim("c1", settled(), NOW + 2))
        self.assertEqual(ClaimState.DELIVERED, (await records.claims(key_of(1)))[0].state)

    async def test_empty_file(self):
        """An empty file is delivered when its answer settled, and not when it broke."""
        records = await self.holding(a_drop(size=0))
        await sent(records, "c1", 0, 0, broken(0))
        self.assertEqual(0, (await self.found(records)).delivered)
        await sent(records, "c2", 0, 0, settled(0))
        self.assertEqual(Reason.DELIVERED, (await self.found(records)).reason)

    async def test_too_much(self):
        """What is acknowledged beyond what was asked for is not counted."""
        records = await self.holding(a_drop())
        await sent(records, "c1", 0, 99, settled(100))
        self.assertEqual(99, (await records.claims(key_of(1)))[0].acknowledged)
        self.assertEqual(0, (await self.found(records)).delivered)


class PartsContract(RecordsBase):
    """Parts that together make the file are a delivery."""

    async def claim_states(self, records: IRecords) -> list[ClaimState]:
        """Return the states of the first drop's claims."""
        return [claim.state for claim in await records.claims(key_of(1))]

    async def test_one_part(self):
        """A part that arrived frees the copy and is no delivery."""
        records = await self.holding(a_drop())
        await sent(records, "c1", 0, 50, settled(50))
        self.assertEqual(a_drop(), await records.find(key_of(1)))
        self.assertEqual([ClaimState.PART], await self.claim_states(records))

    async def test_probe(self):
        """A player's probe for the first byte, and one for the last, take nothing away."""
        records = await self.holding(a_drop())
        await sent(records, "c1", 0, 1, settled(1))
        await sent(records, "c2", SIZE - 1, 1, settled(1))
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_resumed(self):
        """A transfer that broke and one that brought the rest are one delivery, of all of them."""
        records = await self.holding(a_drop())
        await sent(records, "c1", 0, SIZE, broken(40))
        await sent(records, "c2", 40, 60, settled(60))
        self.assertEqual([ClaimState.DELIVERED] * 2, await self.claim_states(records))
        drop = await self.found(records)
        self.assertEqual((1, Reason.DELIVERED, NOW), (drop.delivered, drop.reason, drop.due_at))

    async def test_any_order(self):
        """Parts may come in any order and may overlap."""
        records = await self.holding(a_drop())
        await sent(records, "c1", 60, 40, settled(40))
        await sent(records, "c2", 20, 45, settled(45))
        self.assertEqual(0, (await self.found(records)).delivered)
        await sent(records, "c3", 0, 30, settled(30))
        self.assertEqual(1, (await self.found(records)).delivered)
        self.assertEqual([ClaimState.DELIVERED] * 3, await self.claim_states(records))

    async def test_hole(self):
        """Parts that leave out a byte are no delivery."""
        records = await self.holding(a_drop())
        await sent(records, "c1", 0, 50, settled(50))
        await sent(records, "c2", 51, 49, settled(49))
        self.assertEqual([ClaimState.PART] * 2, await self.claim_states(records))
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_broken_last_part(self):
        """A part that broke off does not complete a delivery, even if all bytes are there then."""
        records = await self.holding(a_drop())
        await sent(records, "c1", 0, 50, settled(50))
        await sent(records, "c2", 50, 50, broken(50))
        self.assertEqual([ClaimState.PART] * 2, await self.claim_states(records))
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_settled_after_broken(self):
        """A part that settles completes a delivery with what broken ones brought."""
        records = await self.holding(a_drop())
        await sent(records, "c1", 50, 50, broken(50))
        await sent(records, "c2", 0, 50, settled(50))
        self.assertEqual(1, (await self.found(records)).delivered)

    async def test_spent(self):
        """Parts that made a delivery do not make another."""
        records = await self.holding(a_drop(downloads=2))
        await sent(records, "c1", 0, 50, settled(50))
        await sent(records, "c2", 50, 50, settled(50))
        await sent(records, "c3", 50, 50, settled(50))
        self.assertEqual(1, (await self.found(records)).delivered)
        self.assertEqual(
            [ClaimState.DELIVERED, ClaimState.DELIVERED, ClaimState.PART], await self.claim_states(records)
        )

    async def test_at_once(self):
        """Two halves that end at the same moment are one delivery."""
        records = await self.holding(a_drop(downloads=2))
        await records.open_claim(a_claim("c1", 0, 50), NOW)
        await records.open_claim(a_claim("c2", 50, 50), NOW)
        await together(records.end_claim("c1", settled(50), NOW), records.end_claim("c2", settled(50), NOW))
        drop = await self.found(records)
        self.assertEqual((1, 0), (drop.delivered, drop.live))

    async def test_open_part(self):
        """What an open claim asks for is not counted."""
        records = await self.holding(a_drop(downloads=2))
        await records.open_claim(a_claim("c1", 0, 50), NOW)
        await sent(records, "c2", 50, 50, settled(50))
        self.assertEqual(0, (await self.found(records)).delivered)

    async def test_others_parts(self):
        """The parts of another drop are not counted."""
        records = await self.holding(a_drop(1), a_drop(2))
        await records.open_claim(a_claim("c2", 0, 50, number=2), NOW)
        await records.end_claim("c2", settled(50), NOW)
        await sent(records, "c1", 50, 50, settled(50))
        self.assertEqual(0, (await self.found(records, 1)).delivered)
        self.assertEqual(0, (await self.found(records, 2)).delivered)


class CrashContract(RecordsBase):
    """After a crash nobody knows: what was open counts as if it had arrived."""

    async def test_whole(self):
        """A whole file that was on its way is delivered, and the drop gone if that was the last copy."""
        records = await self.holding(a_drop())
        await records.open_claim(a_claim(), NOW)
        self.assertEqual(1, await records.close_open_claims(NOW + 60))
        drop = await self.found(records)
        self.assertEqual((1, 0, Reason.DELIVERED, NOW + 60), (drop.delivered, drop.live, drop.reason, drop.due_at))

    async def test_copies_left(self):
        """A drop with copies left stays available."""
        records = await self.holding(a_drop(downloads=3))
        await records.open_claim(a_claim("c1"), NOW)
        await records.open_claim(a_claim("c2"), NOW)
        self.assertEqual(2, await records.close_open_claims(NOW))
        self.assertEqual(attrs.evolve(a_drop(downloads=3), delivered=2), await records.find(key_of(1)))

    async def test_part(self):
        """A part that was on its way is a part, as if all of it had arrived."""
        records = await self.holding(a_drop())
        await records.open_claim(a_claim("c1", 10, 20), NOW)
        await records.close_open_claims(NOW)
        ended = attrs.evolve(a_claim("c1", 10, 20), state=ClaimState.PART, acknowledged=20, ended_at=NOW)
        self.assertEqual([ended], await records.claims(key_of(1)))
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_parts(self):
        """Parts that were on their way, with those before, are a delivery if they cover the file."""
        records = await self.holding(a_drop(downloads=2))
        await sent(records, "c1", 0, 30, settled(30))
        await records.open_claim(a_claim("c2", 30, 30), NOW)
        await records.open_claim(a_claim("c3", 60, 40), NOW)
        self.assertEqual(2, await records.close_open_claims(NOW))
        self.assertEqual(attrs.evolve(a_drop(downloads=2), delivered=1), await records.find(key_of(1)))

    async def test_every_drop(self):
        """The claims of every drop are closed, those of gone drops too; reasons stay."""
        records = await self.holding(a_drop(1), a_drop(2))
        await records.open_claim(a_claim("c1", number=1), NOW)
        await records.open_claim(a_claim("c2", number=2), NOW)
        await records.end(key_of(2), Reason.REVOKED, NOW)
        self.assertEqual(2, await records.close_open_claims(NOW))
        reasons = [(await self.found(records, number)).reason for number in (1, 2)]
        self.assertEqual([Reason.DELIVERED, Reason.REVOKED], reasons)

    async def test_none(self):
        """Where nothing is open nothing is changed, also the second time."""
        records = await self.holding(a_drop())
        await sent(records, "c1", 0, SIZE, broken(10))
        before = (await records.find(key_of(1)), await records.claims(key_of(1)))
        self.assertEqual(0, await records.close_open_claims(NOW))
        self.assertEqual(before, (await records.find(key_of(1)), await records.claims(key_of(1))))


class ClaimsContract(OpeningContract, ReleasingContract, EndingContract, PartsContract, CrashContract):
    """All that is promised of claims."""
