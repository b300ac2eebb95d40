"""What every :class:`filedropd.interfaces.IRecords` promises. Mix :class:`RecordsContract` into a test case."""

from __future__ import annotations

from functools import partial

import attrs
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from filedropd.claims.ledger import Ledger
from filedropd.errors import Unavailable
from filedropd.interfaces import IRecords
from filedropd.model import Drop, DropState, Reason, Touch
from tests.contracts.records_agreement import AgreementContract
from tests.contracts.records_base import (
    EXPIRY,
    NOW,
    RecordsBase,
    a_drop,
    a_wish,
    asking,
    doing,
    key_of,
    together,
)
from tests.contracts.records_changes import ChangesContract
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
            records.has_blob(a_drop().blob),
            records.ledger(key_of(1)),
            records.events(key_of(1)),
            records.change(key_of(1), asking(a_wish())),
            records.interrupted(),
            records.take_due(NOW, 1, NOW),
            records.next_due(),
            records.purged(key_of(1), NOW),
            records.purge_failed(key_of(1), NOW),
            records.forget(key_of(1)),
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
        self.assertEqual(20, len(await records.take_due(EXPIRY, 100, EXPIRY)))

    async def test_drops_outlive(self):
        """What was inserted is there, as it was, after a restart."""
        drop = attrs.evolve(a_drop(), password="$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA")
        records = await self.restarted(await self.holding(drop))
        self.assertEqual(drop, await records.find(drop.key))

    async def test_claims_outlive(self):
        """A claim, its transfer and the events about it are there, as they were, after a restart."""
        records = await self.holding(a_drop())
        await records.change(key_of(1), asking(a_wish()))
        before = (await records.ledger(key_of(1)), await records.events(key_of(1)))
        records = await self.restarted(records)
        self.assertEqual(before, (await records.ledger(key_of(1)), await records.events(key_of(1))))

    async def test_tombstones_outlive(self):
        """Why a drop is gone is known after a restart."""
        records = await self.holding(a_drop())
        gone = await self.gone(records, reason=Reason.REVOKED)
        records = await self.restarted(records)
        self.assertEqual(gone, await records.find(key_of(1)))


class DropsContract(RecordsBase):
    """Drops, as they are left here."""

    def full(self) -> Drop:
        """Return a drop of which every attribute is another than a new drop's."""
        return attrs.evolve(
            a_drop(downloads=5),
            name="'; DROP TABLE drops; -- \U0001f4c4 %s :name ?",
            size=2**40 + 1,
            sha256=bytes(range(32)),
            password="$argon2id$",
            delivered=2,
            live=1,
            presumed=1,
            opened=7,
            touches=20,
            created_at=NOW + 0.123456,
            state=DropState.GONE,
            reason=Reason.ABANDONED,
            gone_at=NOW + 0.654321,
            due_at=NOW + 0.5,
            purge_attempts=3,
        )

    async def test_round_trip(self):
        """A drop is found as it was inserted, every attribute of it."""
        records = await self.holding(self.full())
        self.assertEqual(self.full(), await records.find(key_of(1)))

    async def test_digest(self):
        """What a drop's bytes are is kept of those that have one, also where many are written at once, and never changes."""
        drops = [attrs.evolve(a_drop(n), sha256=bytes([n]) * 32 if n % 2 else None) for n in range(40)]
        records = await self.opened()
        await together(*map(records.insert, drops))
        await together(*(records.change(drop.key, asking(a_wish(f"{n}"))) for n, drop in enumerate(drops)))
        records = await self.restarted(records)
        expected = [drop.sha256 for drop in drops]
        self.assertEqual(expected, [drop.sha256 for drop in await records.page(b"", 99)])
        self.assertEqual(expected, [(await self.ledger(records, n)).drop.sha256 for n in range(40)])
        self.assertEqual(expected[1], (await self.gone(records, 1)).sha256)
        await records.purged(key_of(1), NOW)
        self.assertEqual(expected[1], (await self.found(records)).sha256)

    async def test_restored(self):
        """It comes along when a drop is restored from other records."""
        drop = attrs.evolve(a_drop(), sha256=bytes(range(32)))
        source = await self.holding(drop)
        await source.change(key_of(1), asking(a_wish()))
        ledger, events = await self.ledger(source), await source.events(key_of(1))
        records = await self.opened()
        await records.restore(ledger, events)
        self.assertEqual(drop.sha256, (await self.found(records)).sha256)

    async def test_ledger(self):
        """A drop's ledger has the drop as it is found, and begins without claims, transfers and events."""
        records = await self.holding(a_drop())
        ledger = await self.ledger(records)
        self.assertEqual((a_drop(), (), (), ()), (ledger.drop, ledger.claims, ledger.transfers, ledger.events))
        self.assertEqual([], await records.events(key_of(1)))

    async def test_reasons(self):
        """Why a drop is gone is kept, whatever it is."""
        for number, reason in enumerate(Reason):
            drop = attrs.evolve(self.full(), key=key_of(number), blob=f"{number}", reason=reason)
            records = await self.holding(drop)
            self.assertEqual(drop, await records.find(drop.key))

    async def test_absent(self):
        """What was never there is not found; nothing hangs on it."""
        records = await self.holding(a_drop(1))
        self.assertIsNone(await records.find(key_of(2)))
        self.assertIsNone(await records.ledger(key_of(2)))
        self.assertEqual([], await records.events(key_of(2)))

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
        self.assertEqual([key_of(number) for number in range(200)], [drop.key for drop in await records.page(b"", 999)])

    async def test_has_blob(self):
        """The blob of an available drop is one that is needed, another is not."""
        records = await self.holding(a_drop(1))
        self.assertTrue(await records.has_blob(a_drop(1).blob))
        self.assertFalse(await records.has_blob(a_drop(2).blob))

    async def test_has_blob_gone(self):
        """The blob of a gone drop is there until it is purged."""
        records = await self.holding(a_drop())
        await self.gone(records)
        self.assertTrue(await records.has_blob(a_drop().blob))
        await records.purged(key_of(1), NOW + 9)
        self.assertFalse(await records.has_blob(a_drop().blob))


class ReapingContract(RecordsBase):
    """What is due, and when."""

    async def test_due_order(self):
        """The most overdue come first; each comes once, until its new time has come."""
        records = await self.holding(
            *(a_drop(number, due_at=NOW - overdue) for number, overdue in enumerate([2, 9, 0, 5]))
        )
        self.assertEqual([{1, 3}, {0, 2}, set()], [await self.taken(records, NOW, 2) for _ in range(3)])
        self.assertEqual(NOW + 30, await records.next_due())
        self.assertEqual({0, 1, 2, 3}, await self.taken(records, NOW + 30, 9))

    async def taken(self, records: IRecords, now: float, limit: int) -> set[int]:
        """Take what is due, for half a minute; returns the numbers."""
        drops = await records.take_due(now, limit, now + 30)
        self.assertEqual([], [drop for drop in drops if drop.due_at != now + 30])
        return {int.from_bytes(drop.key, "big") for drop in drops}

    async def test_due_divided(self):
        """Of several who ask at once, no two are given the same, and together they are given everything."""
        records = await self.holding(*(a_drop(number, due_at=NOW) for number in range(40)))
        found: list[list[Drop]] = []
        for _ in range(4):  # one whose rows another has locked is given fewer, or none
            found += await together(*(records.take_due(NOW, 5, NOW + 30) for _ in range(4)))
        keys = [drop.key for drops in found for drop in drops]
        self.assertEqual(sorted(set(keys)), sorted(keys))
        while more := await records.take_due(NOW, 5, NOW + 30):
            keys += [drop.key for drop in more]
        self.assertEqual([key_of(number) for number in range(40)], sorted(keys))

    async def test_due_now(self):
        """What is due at this moment is due; what is due later is not."""
        records = await self.holding(a_drop(1, due_at=NOW), a_drop(2, due_at=NOW + 0.001))
        self.assertEqual([a_drop(1, due_at=NOW + 30)], await records.take_due(NOW, 9, NOW + 30))

    async def test_due_limit(self):
        """No more come than were asked for: the most overdue."""
        records = await self.holding(*(a_drop(number, due_at=NOW - number) for number in range(5)))
        self.assertEqual({4, 3}, await self.taken(records, NOW, 2))

    async def test_due_changed(self):
        """A drop is due when the last change to it says."""
        records = await self.holding(a_drop(1), a_drop(2))
        for number, at in ((1, NOW + 8), (2, NOW + 4)):
            drop = a_drop(number, due_at=at)
            await records.change(key_of(number), doing(partial(attrs.evolve, drop=drop)))
        self.assertEqual(NOW + 4, await records.next_due())
        self.assertEqual([{2}, {1}], [await self.taken(records, NOW + at, 9) for at in (7, 8)])

    async def test_next_due(self):
        """The next due time is the earliest there is, gone drops and tombstones included."""
        records = await self.holding(a_drop(1), a_drop(2))
        self.assertEqual(EXPIRY, await records.next_due())
        await self.gone(records, 2)
        self.assertEqual(NOW, await records.next_due())
        await records.purged(key_of(2), NOW + 7)
        self.assertEqual(NOW + 7, await records.next_due())

    async def test_nothing_due(self):
        """Without drops, nothing is ever due."""
        records = await self.opened()
        self.assertIsNone(await records.next_due())
        self.assertEqual([], await records.take_due(NOW, 9, NOW))

    async def test_tombstone(self):
        """A purged drop is still found, with its reason, and is due when it may be forgotten."""
        records = await self.holding(a_drop())
        gone = await self.gone(records)
        await records.purged(key_of(1), NOW + 50)
        self.assertEqual(attrs.evolve(gone, state=DropState.PURGED, due_at=NOW + 50), await records.find(key_of(1)))

    async def test_purged_available(self):
        """An available drop is never purged, and its recipients are kept."""
        records = await self.holding(a_drop())
        await records.change(key_of(1), asking(a_wish()))
        before = await self.ledger(records)
        await records.purged(key_of(1), NOW)
        self.assertEqual(before, await self.ledger(records))

    async def test_purged_twice(self):
        """A second note that a drop is purged changes nothing: it is forgotten no later for it."""
        records = await self.holding(a_drop())
        await self.gone(records)
        await records.purged(key_of(1), NOW + 50)
        await records.purged(key_of(1), NOW + 99)
        self.assertEqual(NOW + 50, await records.next_due())

    async def test_purged_recipients(self):
        """Who had a drop's bytes is erased with them, and nothing else of the claims is."""
        records = await self.holding(a_drop(downloads=2))
        for name in ("1", "2"):
            await records.change(key_of(1), asking(a_wish(name)))
        await self.gone(records)
        before = (await self.ledger(records)).claims
        await records.purged(key_of(1), NOW + 50)
        self.assertNotIn(None, [claim.recipient for claim in before])
        self.assertEqual(
            tuple(attrs.evolve(claim, recipient=None) for claim in before), (await self.ledger(records)).claims
        )

    async def test_purged_others(self):
        """Who has the bytes of another drop is kept."""
        records = await self.holding(a_drop(1), a_drop(2))
        for number in (1, 2):
            await records.change(key_of(number), asking(a_wish(str(number))))
        before = await self.ledger(records, 2)
        await self.gone(records, 1)
        await records.purged(key_of(1), NOW)
        self.assertEqual(before, await self.ledger(records, 2))

    async def test_purged_absent(self):
        """A note about a drop that is not there does nothing, whatever it says."""
        records = await self.opened()
        await records.purged(key_of(1), NOW)
        await records.purge_failed(key_of(1), NOW)
        await records.forget(key_of(1))
        self.assertIsNone(await records.find(key_of(1)))

    async def test_purge_failed(self):
        """A failed deletion is counted, and the drop is due again at the time given."""
        records = await self.holding(a_drop())
        gone = await self.gone(records)
        await records.purge_failed(key_of(1), NOW + 10)
        await records.purge_failed(key_of(1), NOW + 30)
        self.assertEqual(attrs.evolve(gone, due_at=NOW + 30, purge_attempts=2), await records.find(key_of(1)))

    async def test_purge_failed_available(self):
        """An available drop's deletion does not fail."""
        records = await self.holding(a_drop())
        await records.purge_failed(key_of(1), NOW + 10)
        self.assertEqual(a_drop(), await records.find(key_of(1)))

    async def test_purge_failed_after(self):
        """A failure that is noted after the drop was purged changes nothing."""
        records = await self.holding(a_drop())
        await self.gone(records)
        await records.purged(key_of(1), NOW + 50)
        await records.purge_failed(key_of(1), NOW + 10)
        self.assertEqual(NOW + 50, await records.next_due())

    async def test_attempts_kept(self):
        """How often a deletion failed is kept when the drop is changed."""
        records = await self.holding(a_drop())
        await self.gone(records)
        await records.purge_failed(key_of(1), NOW + 10)
        await records.change(key_of(1), doing(lambda ledger: ledger.noted(Touch.OPENED, NOW)))
        self.assertEqual(1, (await self.found(records)).purge_attempts)

    async def test_forget(self):
        """A purged drop that is forgotten is as if it had never been there, and so is what hung on it."""
        records = await self.holding(a_drop())
        await records.change(key_of(1), asking(a_wish()))
        await self.gone(records)
        await records.purged(key_of(1), NOW)
        await records.forget(key_of(1))
        self.assertIsNone(await records.find(key_of(1)))
        self.assertIsNone(await records.ledger(key_of(1)))
        self.assertEqual([], await records.events(key_of(1)))
        self.assertEqual([], await records.interrupted())
        self.assertIsNone(await records.next_due())

    async def test_forget_anew(self):
        """What is left here anew under the key of a drop that is forgotten begins from nothing."""
        records = await self.holding(a_drop())
        await records.change(key_of(1), asking(a_wish()))
        await self.gone(records)
        await records.purged(key_of(1), NOW)
        await records.forget(key_of(1))
        await records.insert(attrs.evolve(a_drop(), opened=1))
        self.assertEqual((), (await self.ledger(records)).claims)
        self.assertEqual([], await records.events(key_of(1)))

    async def test_forget_early(self):
        """What is not purged yet is not forgotten, and nothing that hangs on it: its bytes would stay for ever."""
        records = await self.holding(a_drop(1), a_drop(2))
        for number in (1, 2):
            await records.change(key_of(number), asking(a_wish(str(number))))
        await self.gone(records, 2)
        before = [(await self.ledger(records, number), await records.events(key_of(number))) for number in (1, 2)]
        for number in (1, 2):
            await records.forget(key_of(number))
        after = [(await self.ledger(records, number), await records.events(key_of(number))) for number in (1, 2)]
        self.assertEqual(before, after)

    async def test_forget_others(self):
        """Forgetting one drop leaves what hangs on the others."""
        records = await self.holding(a_drop(1), a_drop(2))
        await records.change(key_of(2), asking(a_wish()))
        before = (await self.ledger(records, 2), await records.events(key_of(2)))
        await self.gone(records, 1)
        await records.purged(key_of(1), NOW)
        await records.forget(key_of(1))
        self.assertEqual(before, (await self.ledger(records, 2), await records.events(key_of(2))))

    async def test_change_forgotten(self):
        """What comes too late for a drop that is forgotten changes nothing."""
        records = await self.holding(a_drop())
        await self.gone(records)
        await records.purged(key_of(1), NOW)
        await records.forget(key_of(1))
        self.assertIsNone(await records.change(key_of(1), asking(a_wish())))


class MovingContract(RecordsBase):
    """All drops, from one end to the other, and into other records."""

    async def test_page(self):
        """Drops come in the order of their keys, so many at a time, each once."""
        records = await self.holding(*map(a_drop, (3, 1, 2, 5)))
        first = await records.page(b"", 3)
        self.assertEqual([key_of(1), key_of(2), key_of(3)], [drop.key for drop in first])
        self.assertEqual([a_drop(5)], await records.page(first[-1].key, 3))
        self.assertEqual([], await records.page(key_of(5), 3))

    async def test_page_tombstones(self):
        """What is purged is among them."""
        records = await self.holding(a_drop())
        await self.gone(records)
        await records.purged(key_of(1), NOW)
        self.assertEqual([await self.found(records)], await records.page(b"", 10))

    async def test_restore(self):
        """A drop with its claims, transfers and events is in other records as it was in the first."""
        records = await self.holding(a_drop(downloads=2))
        await records.change(key_of(1), asking(a_wish("1")))
        await records.change(key_of(1), asking(a_wish("2")))
        before = (await self.ledger(records), await records.events(key_of(1)))
        others = await self.opened()
        await others.restore(*before)
        self.assertEqual(before, (await self.ledger(others), await others.events(key_of(1))))
        self.assertEqual([key_of(1)], await others.interrupted())

    async def test_restore_twice(self):
        """What is there already stays as it is."""
        records = await self.holding(a_drop())
        with self.assertRaises(Exception):  # noqa: B017 - each database has a name of its own for it
            await records.restore(Ledger(drop=a_drop(size=7)), [])
        self.assertEqual(a_drop(), await self.found(records))


class LeasesContract(RecordsBase):
    """Which daemons live."""

    async def test_leases(self):
        """A daemon lives until its lease ends, which can be renewed."""
        records = await self.opened()
        await records.lease("a", NOW + 10)
        await records.lease("b", NOW + 20)
        self.assertEqual({"a", "b"}, await records.alive(NOW))
        await records.lease("a", NOW + 30)
        self.assertEqual({"a"}, await records.alive(NOW + 20))

    async def test_release(self):
        """One that has stopped does not live; to stop twice is no error."""
        records = await self.opened()
        await records.lease("a", NOW + 10)
        await records.release("a")
        await records.release("a")
        self.assertEqual(frozenset(), await records.alive(NOW))


class WordsContract(RecordsBase):
    """What daemons tell each other."""

    #: Whether several daemons may have the records open.
    shared = False

    async def test_alone(self):
        """To tell something where nobody listens is no error."""
        await (await self.opened()).notify(["one", "two"])

    async def test_words(self):
        """Who listens hears each word, in order, whoever of those on the same records tells it."""
        if not self.shared:
            return  # there is nobody else
        one = await self.opened()
        two = await self.open(await self.reborn(one))
        for records in (one, two):
            heard: list[str] = []
            all_heard: Deferred[None] = Deferred()

            def hear(word: str, heard: list[str] = heard, all_heard: Deferred[None] = all_heard) -> None:
                heard.append(word)
                if len(heard) == 3:
                    all_heard.callback(None)

            await records.listen(hear, self.fail)
            await two.notify(["one it's", "two"])
            await two.notify([])
            await two.notify(["three"])
            await all_heard
            self.assertEqual(["one it's", "two", "three"], heard)


class RecordsContract(
    LifeContract,
    DropsContract,
    ReapingContract,
    LeasesContract,
    MovingContract,
    WordsContract,
    ChangesContract,
    StatesContract,
    AgreementContract,
):
    """The whole suite. Say how records are made, and what a restart makes of them."""
