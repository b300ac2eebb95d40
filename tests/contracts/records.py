"""What every :class:`filedropd.interfaces.IRecords` promises. Mix :class:`RecordsContract` into a test case."""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from filedropd.errors import Unavailable
from filedropd.interfaces import IRecords
from filedropd.model import DropState, Reason
from tests.contracts.records_agreement import AgreementContract
from tests.contracts.records_base import EXPIRY, NOW, RecordsBase, a_claim, a_drop, key_of, settled, together
from tests.contracts.records_claims import ClaimsContract
from tests.contracts.records_states import StatesContract


class LifeContract(RecordsBase):
    """Opening, closing, and what outlives that."""

    async def test_port(self):
        """It provides the port."""
        self.assertTrue(verifyObject(IRecords, await self.make()))

    async def test_ping(self):
        """Open records answer."""
        await (await self.opened()).ping()

    async def test_not_open(self):
        """Before it is opened, a call says that it is not available."""
        records = await self.make()
        with self.assertRaises(Unavailable):
            await records.find(key_of(1))

    async def test_closed(self):
        """After it is closed, every call says that it is not available."""
        records = await self.holding(a_drop())
        await records.close()
        for call in (
            records.ping(),
            records.insert(a_drop(2)),
            records.find(key_of(1)),
            records.open_claim(a_claim(), NOW),
            records.due(NOW, 1),
        ):
            with self.assertRaises(Unavailable):
                await call

    async def test_close_twice(self):
        """A second close does nothing."""
        records = await self.opened()
        await records.close()
        await records.close()

    async def test_close_unopened(self):
        """Closing what was never opened does nothing."""
        await (await self.make()).close()

    async def test_close_waits(self):
        """Closing lets what was asked for before end; it is kept."""
        records = await self.opened()
        asked = [Deferred.fromCoroutine(records.insert(a_drop(number))) for number in range(20)]
        await records.close()
        self.assertTrue(all(each.called for each in asked))
        records = await self.open(await self.reborn(records))
        self.assertEqual(20, len(await records.due(EXPIRY, 100)))

    async def test_drops_outlive(self):
        """What was inserted is there, as it was, after a restart."""
        drop = attrs.evolve(a_drop(), password="$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA")
        records = await self.holding(drop)
        await records.close()
        records = await self.open(await self.reborn(records))
        self.assertEqual(drop, await records.find(drop.key))

    async def test_claims_outlive(self):
        """An open claim is there, and holds its copy, after a restart."""
        records = await self.holding(a_drop())
        await records.open_claim(a_claim(), NOW)
        await records.close()
        records = await self.open(await self.reborn(records))
        self.assertEqual([a_claim()], await records.claims(key_of(1)))
        self.assertIsNone(await records.open_claim(a_claim("c2"), NOW))

    async def test_tombstones_outlive(self):
        """Why a drop is gone is known after a restart."""
        records = await self.holding(a_drop())
        gone = await records.end(key_of(1), Reason.REVOKED, NOW)
        await records.close()
        records = await self.open(await self.reborn(records))
        self.assertEqual(gone, await records.find(key_of(1)))


class DropsContract(RecordsBase):
    """Drops, until they are forgotten."""

    async def test_round_trip(self):
        """A drop is found as it was inserted, every attribute of it."""
        drop = attrs.evolve(
            a_drop(downloads=5),
            name="'; DROP TABLE drops; -- \U0001f4c4 %s :name ?",
            size=2**40 + 1,
            password="$argon2id$",
            delivered=2,
            live=1,
            created_at=NOW + 0.123456,
            state=DropState.GONE,
            reason=Reason.EXPIRED,
            gone_at=NOW + 0.654321,
            purge_attempts=3,
        )
        records = await self.holding(drop)
        self.assertEqual(drop, await records.find(drop.key))

    async def test_absent(self):
        """What was never there is not found."""
        self.assertIsNone(await (await self.holding(a_drop(1))).find(key_of(2)))

    async def test_same_key(self):
        """A second drop under one key is refused, and the first stays as it is."""
        records = await self.holding(a_drop(1))
        with self.assertRaises(Exception):  # noqa: B017 - a bug comes out as the store tells it
            await records.insert(attrs.evolve(a_drop(2), key=key_of(1)))
        self.assertEqual(a_drop(1), await records.find(key_of(1)))

    async def test_same_blob(self):
        """A second drop with the bytes of another is refused: deleting one would delete both."""
        records = await self.holding(a_drop(1))
        with self.assertRaises(Exception):  # noqa: B017 - a bug comes out as the store tells it
            await records.insert(attrs.evolve(a_drop(2), blob=a_drop(1).blob))
        self.assertIsNone(await records.find(key_of(2)))

    async def test_many_at_once(self):
        """200 inserts at once are all kept."""
        records = await self.opened()
        await together(*(records.insert(a_drop(number)) for number in range(200)))
        self.assertEqual(
            [key_of(number) for number in range(200)], [drop.key for drop in await records.due(EXPIRY, 999)]
        )

    async def test_has_blob(self):
        """The blob of an available drop is one that is needed, another is not."""
        records = await self.holding(a_drop(1))
        self.assertTrue(await records.has_blob(a_drop(1).blob))
        self.assertFalse(await records.has_blob(a_drop(2).blob))

    async def test_has_blob_gone(self):
        """The blob of a gone drop is there until it is purged."""
        records = await self.holding(a_drop())
        await records.end(key_of(1), Reason.EXPIRED, NOW)
        self.assertTrue(await records.has_blob(a_drop().blob))
        await records.purged(key_of(1), NOW + 9)
        self.assertFalse(await records.has_blob(a_drop().blob))

    async def test_end(self):
        """An available drop that ends is gone, for that reason, since then, and due at once."""
        records = await self.holding(a_drop())
        for_once = attrs.evolve(a_drop(), state=DropState.GONE, reason=Reason.REVOKED, gone_at=NOW + 5, due_at=NOW + 5)
        self.assertEqual(for_once, await records.end(key_of(1), Reason.REVOKED, NOW + 5))
        self.assertEqual(for_once, await records.find(key_of(1)))

    async def test_end_twice(self):
        """What is gone stays gone for its first reason."""
        records = await self.holding(a_drop())
        first = await records.end(key_of(1), Reason.EXPIRED, NOW)
        self.assertIsNone(await records.end(key_of(1), Reason.REVOKED, NOW + 1))
        self.assertEqual(first, await records.find(key_of(1)))

    async def test_end_race(self):
        """Of many that end one drop at once, one does."""
        records = await self.holding(a_drop())
        ended = await together(*(records.end(key_of(1), Reason.REVOKED, NOW) for _ in range(16)))
        self.assertEqual(1, len(list(filter(None, ended))))

    async def test_end_absent(self):
        """Nothing ends that is not there."""
        self.assertIsNone(await (await self.opened()).end(key_of(1), Reason.EXPIRED, NOW))


class ReapingContract(RecordsBase):
    """What is due, and when."""

    async def test_due_order(self):
        """The most overdue come first."""
        records = await self.holding(
            *(a_drop(number, due_at=NOW - overdue) for number, overdue in enumerate([2, 9, 0, 5]))
        )
        self.assertEqual([key_of(1), key_of(3), key_of(0), key_of(2)], [drop.key for drop in await records.due(NOW, 9)])

    async def test_due_now(self):
        """What is due at this moment is due; what is due later is not."""
        records = await self.holding(a_drop(1, due_at=NOW), a_drop(2, due_at=NOW + 0.001))
        self.assertEqual([a_drop(1, due_at=NOW)], await records.due(NOW, 9))

    async def test_due_limit(self):
        """No more come than were asked for: the most overdue."""
        records = await self.holding(*(a_drop(number, due_at=NOW - number) for number in range(5)))
        self.assertEqual([key_of(4), key_of(3)], [drop.key for drop in await records.due(NOW, 2)])

    async def test_next_due(self):
        """The next due time is the earliest there is, gone drops and tombstones included."""
        records = await self.holding(a_drop(1), a_drop(2))
        self.assertEqual(EXPIRY, await records.next_due())
        await records.end(key_of(2), Reason.REVOKED, NOW)
        self.assertEqual(NOW, await records.next_due())
        await records.purged(key_of(2), NOW + 7)
        self.assertEqual(NOW + 7, await records.next_due())

    async def test_nothing_due(self):
        """Without drops, nothing is ever due."""
        records = await self.opened()
        self.assertIsNone(await records.next_due())
        self.assertEqual([], await records.due(NOW, 9))

    async def test_tombstone(self):
        """A purged drop is still found, with its reason, and is due when it may be forgotten."""
        records = await self.holding(a_drop())
        gone = await records.end(key_of(1), Reason.EXPIRED, NOW)
        assert gone is not None
        await records.purged(key_of(1), NOW + 50)
        self.assertEqual(attrs.evolve(gone, state=DropState.PURGED, due_at=NOW + 50), await records.find(key_of(1)))

    async def test_purged_available(self):
        """An available drop is never purged."""
        records = await self.holding(a_drop())
        await records.purged(key_of(1), NOW)
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_purged_twice(self):
        """A second note that a drop is purged changes nothing: it is forgotten no later for it."""
        records = await self.holding(a_drop())
        await records.end(key_of(1), Reason.EXPIRED, NOW)
        await records.purged(key_of(1), NOW + 50)
        await records.purged(key_of(1), NOW + 99)
        self.assertEqual(NOW + 50, await records.next_due())

    async def test_purge_failed(self):
        """A failed deletion is counted, and the drop is due again at the time given."""
        records = await self.holding(a_drop())
        gone = await records.end(key_of(1), Reason.EXPIRED, NOW)
        assert gone is not None
        await records.purge_failed(key_of(1), NOW + 10)
        await records.purge_failed(key_of(1), NOW + 30)
        self.assertEqual(attrs.evolve(gone, due_at=NOW + 30, purge_attempts=2), await records.find(key_of(1)))

    async def test_purge_failed_after(self):
        """A failure that is noted after the drop was purged changes nothing."""
        records = await self.holding(a_drop())
        await records.end(key_of(1), Reason.EXPIRED, NOW)
        await records.purged(key_of(1), NOW + 50)
        await records.purge_failed(key_of(1), NOW + 10)
        self.assertEqual(NOW + 50, await records.next_due())

    async def test_forget(self):
        """A purged drop that is forgotten is as if it had never been there, and so are its claims."""
        records = await self.holding(a_drop())
        await records.open_claim(a_claim(), NOW)
        await records.end_claim("c1", settled(), NOW)
        await records.purged(key_of(1), NOW)
        await records.forget(key_of(1))
        self.assertIsNone(await records.find(key_of(1)))
        self.assertEqual([], await records.claims(key_of(1)))

    async def test_forget_early(self):
        """What is not purged yet is not forgotten: its bytes would stay for ever."""
        records = await self.holding(a_drop(1), a_drop(2))
        await records.end(key_of(2), Reason.EXPIRED, NOW)
        await records.forget(key_of(1))
        await records.forget(key_of(2))
        self.assertEqual(DropState.AVAILABLE, (await self.found(records, 1)).state)
        self.assertEqual(DropState.GONE, (await self.found(records, 2)).state)

    async def test_forget_others(self):
        """Forgetting one drop leaves the claims of the others."""
        records = await self.holding(a_drop(1), a_drop(2))
        await records.open_claim(a_claim("c2", number=2), NOW)
        await records.end(key_of(1), Reason.EXPIRED, NOW)
        await records.purged(key_of(1), NOW)
        await records.forget(key_of(1))
        self.assertEqual([a_claim("c2", number=2)], await records.claims(key_of(2)))

    async def test_forget_with_open_claim(self):
        """A claim that is still open when its drop is forgotten ends without a trace."""
        records = await self.holding(a_drop())
        await records.open_claim(a_claim(), NOW)
        await records.end(key_of(1), Reason.REVOKED, NOW)
        await records.purged(key_of(1), NOW)
        await records.forget(key_of(1))
        self.assertIsNone(await records.end_claim("c1", settled(), NOW))


class RecordsContract(LifeContract, DropsContract, ReapingContract, ClaimsContract, StatesContract, AgreementContract):
    """The whole suite. Say how records are made, and what a restart makes of them."""
