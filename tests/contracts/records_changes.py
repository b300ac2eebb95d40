"""What every :class:`filedropd.interfaces.IRecords` promises of ``change``, and of what a change leaves behind."""

from __future__ import annotations

from functools import partial

import attrs
from twisted.internet.defer import Deferred, DeferredList

from filedropd.claims.asking import Granted, Taken
from filedropd.claims.elapsing import recovered
from filedropd.claims.ledger import Ledger
from filedropd.interfaces import IRecords
from filedropd.model import Claim, ClaimState, DropState, Event, Reason, Touch, Transfer
from tests.contracts.records_base import (
    NOW,
    POLICY,
    SIZE,
    RecordsBase,
    a_claim,
    a_drop,
    a_transfer,
    a_wish,
    arrived,
    asking,
    broken,
    doing,
    ending,
    key_of,
    putting,
    together,
)

#: How many want one drop at once.
RACERS = 64


class Whatever(Exception):
    """What a rule raises."""


class KeepingContract(RecordsBase):
    """What a change makes of a drop, its claims, its transfers and its events is there afterwards."""

    async def kept(self, claim: Claim, *transfers: Transfer) -> Ledger:
        """Return what there is after a change that opened ``claim`` and began ``transfers``."""
        records = await self.holding(a_drop(downloads=9))

        def opened(ledger: Ledger) -> Ledger:
            ledger = ledger.opened(claim)
            for transfer in transfers:
                ledger = ledger.with_transfer(transfer)
            return ledger

        await records.change(key_of(1), doing(opened))
        return await self.ledger(records)

    def full_claim(self, state: ClaimState) -> Claim:
        """Return a claim in ``state`` of which every attribute is another than a new claim's."""
        return Claim(
            id="' -- \U0001f4c4",
            drop=key_of(1),
            number=3,
            copy=4,
            recipient=bytes(range(32)),
            opened_at=NOW + 0.123456,
            state=state,
            sent=(((0, 2**40), (2**41, 2**41 + 1)), ((10, 20), (30, 40)), ((10, 11),)),
            confirmed=((0, 5), (7, 10)),
            until=NOW + 9.654321,
            lapses=2,
            ended_at=None if state.live else NOW + 7.5,
        )

    async def test_drop(self):
        """Every attribute of a drop that a rule changes is kept."""
        records = await self.holding(a_drop(downloads=9))
        drop = attrs.evolve(
            a_drop(downloads=9),
            delivered=4,
            live=3,
            presumed=2,
            opened=8,
            touches=5,
            state=DropState.GONE,
            reason=Reason.ABANDONED,
            gone_at=NOW + 0.654321,
            due_at=NOW + 0.25,
        )
        await records.change(key_of(1), doing(lambda ledger: attrs.evolve(ledger, drop=drop)))
        self.assertEqual(drop, await records.find(key_of(1)))

    async def test_claim(self):
        """A claim is kept as it is, every attribute of it, in every state."""
        for state in ClaimState:
            self.assertEqual((self.full_claim(state),), (await self.kept(self.full_claim(state))).claims)

    async def test_claim_new(self):
        """So is a claim of nobody who can be told, of which nothing was sent."""
        self.assertEqual((a_claim(),), (await self.kept(a_claim())).claims)

    async def test_claim_changed(self):
        """Every attribute of a claim that a rule changes is kept."""
        records = await self.holding(attrs.evolve(a_drop(downloads=9), opened=9))
        for state in ClaimState:
            old = attrs.evolve(self.full_claim(state), id=state.value, number=list(ClaimState).index(state))
            new = attrs.evolve(old, copy=5, sent=(((0, 1),),), confirmed=(), until=NOW + 77, lapses=3)
            await records.change(key_of(1), putting(old))
            await records.change(key_of(1), putting(new))
            self.assertEqual(new, (await self.ledger(records)).claim(state.value))

    async def test_transfer(self):
        """A transfer is kept as it is, whether it runs or settled by quiet alone."""
        for settled in (False, True):
            transfer = Transfer(
                id="t", claim="c1", first=2**40, length=2**41, reserved=2**41 - 1, acknowledged=17, settled=settled
            )
            self.assertEqual((transfer,), (await self.kept(a_claim(), transfer)).transfers)

    async def test_transfer_changed(self):
        """What is reserved, acknowledged and settled of a transfer is kept when it changes."""
        records = await self.holding(a_drop())
        await records.change(key_of(1), asking(a_wish()))
        (transfer,) = (await self.ledger(records)).transfers
        more = attrs.evolve(transfer, reserved=60)
        for changed in (more, attrs.evolve(more, acknowledged=50), attrs.evolve(more, settled=True)):
            await records.change(key_of(1), doing(partial(Ledger.with_transfer, transfer=changed)))
            self.assertEqual((changed,), (await self.ledger(records)).transfers)

    async def test_settling(self):
        """That all of a transfer is sent is not kept: after a crash nobody waits for what becomes of it."""
        ledger = await self.kept(a_claim(), attrs.evolve(a_transfer(), settling=True))
        self.assertEqual((a_transfer(),), ledger.transfers)

    async def test_events(self):
        """Events are kept in their order, every attribute of them, whatever they are about."""
        records = await self.holding(a_drop())
        events = [Event(drop=key_of(1), number=n, at=NOW - n / 8, touch=touch) for n, touch in enumerate(Touch, 1)]
        events[::2] = [attrs.evolve(event, claim=7, offset=2**40, who="Slackbot \U0001f916") for event in events[::2]]
        for noted in (events[:4], events[4:5], events[5:]):
            await records.change(key_of(1), doing(partial(attrs.evolve, events=tuple(noted))))
        self.assertEqual(events, await records.events(key_of(1)))

    async def test_events_apart(self):
        """A ledger has no events, nor is a rule given those that were noted before."""
        records = await self.holding(a_drop())
        await records.change(key_of(1), doing(lambda ledger: ledger.noted(Touch.OPENED, NOW)))
        self.assertEqual((), (await self.ledger(records)).events)
        self.assertEqual((), await records.change(key_of(1), lambda ledger: (ledger, ledger.events)))

    async def test_order(self):
        """Claims come in the order in which they were opened, though it was at one moment."""
        records = await self.holding(a_drop(downloads=12))
        names = list("fbhacgdeikjl")
        for name in names:
            await records.change(key_of(1), asking(a_wish(name)))
        ledger = await self.ledger(records)
        self.assertEqual([f"c{name}" for name in names], [claim.id for claim in ledger.claims])
        self.assertEqual(list(range(1, 13)), [claim.number for claim in ledger.claims])

    async def test_others(self):
        """What hangs on one drop does not hang on another."""
        records = await self.holding(a_drop(1), a_drop(2), a_drop(3))
        for number in (1, 2):
            await records.change(key_of(number), asking(a_wish(str(number))))
        ledger = await self.ledger(records, 2)
        self.assertEqual(
            (["c2"], ["t2"]), ([each.id for each in ledger.claims], [each.id for each in ledger.transfers])
        )
        self.assertEqual([key_of(2)], [event.drop for event in await records.events(key_of(2))])
        self.assertEqual(a_drop(3), (await self.ledger(records, 3)).drop)

    async def test_in_one_go(self):
        """Claims, transfers and events that one rule adds, changes and takes away are so when it is done."""
        records = await self.holding(a_drop(downloads=9))
        for name in "123":
            await records.change(key_of(1), asking(a_wish(name)))
        after = await records.change(key_of(1), _everything)
        assert after is not None
        self.assertEqual(attrs.evolve(after, events=()), await self.ledger(records))
        self.assertEqual(list(after.events), (await records.events(key_of(1)))[-2:])
        self.assertEqual(["c1", "c3", "c4"], [claim.id for claim in after.claims])
        self.assertEqual(["t1", "t4"], [transfer.id for transfer in after.transfers])


def _everything(ledger: Ledger) -> tuple[Ledger, Ledger]:
    """Take a claim and two transfers away, add one of each, change one of each, note two events."""
    gone = [transfer for transfer in ledger.transfers if transfer.id != "t1"]
    ledger = ledger.without_transfers(*gone).released(ledger.claim("c2"))
    ledger = ledger.moved(ledger.claim("c3"), ClaimState.SUSPENDED, NOW).noted(Touch.RECEIVED, NOW, claim=3)
    ledger = ledger.with_transfer(attrs.evolve(ledger.transfers[0], acknowledged=40, settled=True))
    ledger = ledger.opened(a_claim("c4", number=4)).with_transfer(a_transfer("t4", "c4"))
    ledger = ledger.noted(Touch.CLAIMED, NOW, claim=4)
    return ledger, ledger


class RuleContract(RecordsBase):
    """How a rule is called, and what becomes of what it returns."""

    async def test_result(self):
        """What comes of a change is what the rule says."""
        records = await self.holding(a_drop())
        result = object()
        self.assertIs(result, await records.change(key_of(1), lambda ledger: (ledger, result)))
        self.assertIs(result, await records.change(key_of(1), lambda ledger: (ledger.noted(Touch.OPENED, 1), result)))

    async def test_given(self):
        """A rule is given what there is."""
        records = await self.holding(a_drop())
        await records.change(key_of(1), asking(a_wish()))
        self.assertEqual(await self.ledger(records), await records.change(key_of(1), lambda ledger: (ledger, ledger)))

    async def test_change_absent(self):
        """For a drop that is not there no rule is called, and nothing comes of it."""
        records = await self.holding(a_drop())
        called: list[Ledger] = []

        def rule(ledger: Ledger) -> tuple[Ledger, str]:
            called.append(ledger)
            return ledger, "result"

        self.assertIsNone(await records.change(key_of(2), rule))
        self.assertEqual([], called)
        self.assertIsNone(await records.ledger(key_of(2)))

    async def test_nothing(self):
        """A rule that returns what it was given changes nothing."""
        records = await self.holding(a_drop())
        await records.change(key_of(1), asking(a_wish()))
        before = (await self.ledger(records), await records.events(key_of(1)))
        await records.change(key_of(1), doing(lambda ledger: ledger))
        self.assertEqual(before, (await self.ledger(records), await records.events(key_of(1))))

    async def test_raises(self):
        """What a rule raises comes out as it is, and nothing was changed; the next rule is none the worse."""
        records = await self.holding(a_drop())
        await records.change(key_of(1), asking(a_wish()))
        before = (await self.ledger(records), await records.events(key_of(1)))
        raised = Whatever()

        def rule(ledger: Ledger) -> tuple[Ledger, None]:
            ledger.noted(Touch.OPENED, NOW).ended(Reason.REVOKED, NOW)
            raise raised

        with self.assertRaises(Whatever) as caught:
            await records.change(key_of(1), rule)
        self.assertIs(raised, caught.exception)
        self.assertEqual(before, (await self.ledger(records), await records.events(key_of(1))))
        await self.gone(records)
        self.assertEqual(DropState.GONE, (await self.found(records)).state)


class TogetherContract(RecordsBase):
    """Several drops changed in one transaction."""

    async def test_all(self):
        """Each is changed, and the results come in the order in which the drops were named, absent ones as None."""
        records = await self.holding(a_drop(1), a_drop(2))

        def noting(ledger: Ledger) -> tuple[Ledger, bytes]:
            return ledger.noted(Touch.OPENED, NOW), ledger.drop.key

        keys = [key_of(2), key_of(9), key_of(1)]
        self.assertEqual([key_of(2), None, key_of(1)], await records.change_all(keys, noting))
        for number in (1, 2):
            self.assertEqual(1, len(await records.events(key_of(number))))

    async def test_all_or_none(self):
        """Where the rule raises for one of them, none is changed."""
        records = await self.holding(a_drop(1), a_drop(2))

        def noting(ledger: Ledger) -> tuple[Ledger, None]:
            if ledger.drop.key == key_of(2):
                raise Whatever
            return ledger.noted(Touch.OPENED, NOW), None

        with self.assertRaises(Whatever):
            await records.change_all([key_of(1), key_of(2)], noting)
        self.assertEqual([], await records.events(key_of(1)))


class IsolationContract(RecordsBase):
    """Of many callers, each sees what the one before him left."""

    async def test_race_for_one(self):
        """Of 64 that want a one-time drop at once, one gets it; the others change nothing."""
        records = await self.holding(a_drop())
        verdicts = await together(*(records.change(key_of(1), asking(a_wish(f"{n}"))) for n in range(RACERS)))
        (granted,) = [verdict for verdict in verdicts if isinstance(verdict, Granted)]
        self.assertEqual(RACERS - 1, verdicts.count(Taken()))
        ledger = await self.ledger(records)
        self.assertEqual(((granted.claim,), 1), (ledger.claims, ledger.drop.live))
        self.assertEqual([Touch.CLAIMED], [event.touch for event in await records.events(key_of(1))])

    async def test_race_for_five(self):
        """Of 64 that want a drop with five copies at once, five get one, each another."""
        records = await self.holding(a_drop(downloads=5))
        verdicts = await together(*(records.change(key_of(1), asking(a_wish(f"{n}"))) for n in range(RACERS)))
        granted = [verdict.claim for verdict in verdicts if isinstance(verdict, Granted)]
        self.assertEqual([1, 2, 3, 4, 5], sorted(claim.number for claim in granted))
        self.assertEqual([0, 1, 2, 3, 4], sorted(claim.copy for claim in granted))
        self.assertEqual(RACERS - 5, verdicts.count(Taken()))
        self.assertEqual(5, len((await self.ledger(records)).claims))

    async def test_never_more(self):
        """However many claim and end at once, N are delivered."""
        records = await self.holding(a_drop(downloads=5))

        async def download(name: str) -> bool:
            verdict = await records.change(key_of(1), asking(a_wish(name)))
            await records.change(key_of(1), ending(f"t{name}", arrived()))
            return isinstance(verdict, Granted)

        served = await together(*(download(f"{n}") for n in range(RACERS)))
        self.assertEqual(5, sum(served))
        drop = await self.found(records)
        self.assertEqual((5, 0, Reason.DELIVERED), (drop.delivered, drop.live, drop.reason))

    async def test_ends_once(self):
        """Of many that end one transfer at once, one does."""
        records = await self.holding(a_drop(downloads=2))
        await records.change(key_of(1), asking(a_wish()))
        await together(*(records.change(key_of(1), ending("t1", arrived())) for _ in range(16)))
        self.assertEqual((1, 0), ((await self.found(records)).delivered, (await self.found(records)).live))
        self.assertEqual(1, [event.touch for event in await records.events(key_of(1))].count(Touch.DELIVERED))

    async def test_none_lost(self):
        """Of 64 changes at once, none undoes another."""
        records = await self.holding(a_drop())
        noting = doing(lambda ledger: ledger.noted(Touch.OPENED, NOW))
        await together(*(records.change(key_of(1), noting) for _ in range(RACERS)))
        self.assertEqual(RACERS, (await self.found(records)).touches)
        self.assertEqual(list(range(1, RACERS + 1)), [event.number for event in await records.events(key_of(1))])

    async def test_one_raises(self):
        """A rule that raises among others takes nothing from them."""
        records = await self.holding(a_drop())

        def rule(ledger: Ledger) -> tuple[Ledger, None]:
            if ledger.drop.touches == 3:
                raise Whatever
            return ledger.noted(Touch.OPENED, NOW), None

        outcomes = await DeferredList(
            [Deferred.fromCoroutine(records.change(key_of(1), rule)) for _ in range(6)], consumeErrors=True
        )
        self.assertEqual(3, sum(succeeded for succeeded, _ in outcomes))
        self.assertEqual(3, (await self.found(records)).touches)


class InterruptedContract(RecordsBase):
    """At a start it is known what a crash cut off."""

    async def begun(self) -> IRecords:
        """Return records with three drops: of the first two transfers run, of the third none."""
        records = await self.holding(a_drop(1, downloads=2), a_drop(2), a_drop(3))
        for number, name in ((2, "b"), (1, "a"), (1, "z")):
            await records.change(key_of(number), asking(a_wish(name)))
        return records

    async def test_none_interrupted(self):
        """Where nothing runs nothing was cut off."""
        self.assertEqual([], await (await self.holding(a_drop())).interrupted())

    async def test_running(self):
        """The drops with transfers come, each once."""
        self.assertEqual([key_of(1), key_of(2)], sorted(await (await self.begun()).interrupted()))

    async def test_outlives(self):
        """They come after a restart."""
        records = await self.restarted(await self.begun())
        self.assertEqual([key_of(1), key_of(2)], sorted(await records.interrupted()))

    async def test_settled(self):
        """A drop comes of which a transfer settled by quiet, until its connection has ended."""
        records = await self.begun()
        await records.change(key_of(2), ending("tb", attrs.evolve(arrived(), quiet=True)))
        self.assertIn(key_of(2), await records.interrupted())

    async def test_ended(self):
        """A drop of which all transfers have ended does not come."""
        records = await self.begun()
        for name, outcome in (("ta", arrived()), ("tz", broken(SIZE // 2))):
            await records.change(key_of(1), ending(name, outcome))
        self.assertEqual([key_of(2)], await records.interrupted())

    async def test_recovered(self):
        """Once they are recovered none comes, and each claim waits for its recipient."""
        records = await self.restarted(await self.begun())
        for key in await records.interrupted():
            await records.change(key, doing(lambda ledger: recovered(ledger, NOW, POLICY)))
        self.assertEqual([], await records.interrupted())
        states = [claim.state for number in (1, 2) for claim in (await self.ledger(records, number)).claims]
        self.assertEqual([ClaimState.SUSPENDED] * 3, states)


class ChangesContract(KeepingContract, RuleContract, IsolationContract, InterruptedContract, TogetherContract):
    """All that is promised of changes."""
