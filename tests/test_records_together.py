"""Several writes in one transaction, and how they gather."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from filedropd.claims.asking import Granted, InTheWay, Taken
from filedropd.claims.ledger import Ledger
from filedropd.errors import Unavailable
from filedropd.model import DropState, Reason, Touch
from filedropd.records import transactions
from filedropd.records.grouping import MOST, Grouping
from filedropd.records.together import Apart, Change, Done, Insert, Purge, Write, together
from filedropd.records.transactions import Conflict
from tests.contracts.records_base import NOW, a_drop, a_wish, arrived, asking, doing, ending, key_of
from tests.test_records_transactions import Shared, noting


def failing(_: Ledger) -> tuple[Ledger, None]:
    """Be a rule with a bug."""
    raise ZeroDivisionError


class TogetherTests(SynchronousTestCase):
    """One transaction."""

    def setUp(self) -> None:
        self.shared = Shared()
        self.addCleanup(self.shared.connection.close)
        self.shared.run(transactions.insert(a_drop()))

    def done(self, *writes: Write) -> list[Any]:
        """Do them; returns results, and what is no result as it is."""
        outcomes = self.shared.run(together(writes))
        return [each.result if isinstance(each, Done) and each.error is None else each for each in outcomes]

    def test_several(self):
        """Each is done, and has its own answer."""
        asked, nothing = self.done(Change(key_of(1), asking(a_wish("1"))), Insert(a_drop(2)))
        self.assertIsInstance(asked, Granted)
        self.assertIsNone(nothing)
        self.assertEqual(a_drop(2), self.shared.run(transactions.find(key_of(2))))
        ledger, touches = self.shared.known()
        assert ledger is not None
        self.assertEqual((1, [Touch.CLAIMED]), (ledger.drop.live, touches))

    def test_of_one_drop(self):
        """Of those on one drop each sees what the one before it left, as if it had been read again."""
        first, second, same, _, gone = self.done(
            Change(key_of(1), asking(a_wish("1"))),
            Change(key_of(1), asking(a_wish("2"))),
            Change(key_of(1), asking(a_wish("3", source=f"192.0.2.1\n{1}"))),
            Change(key_of(1), ending("t1", arrived())),
            Change(key_of(1), lambda ledger: (ledger, (ledger.drop.delivered, ledger.events, ledger.transfers))),
        )
        self.assertIsInstance(first, Granted)
        self.assertEqual(Taken(), second)
        self.assertIsInstance(same, InTheWay)
        self.assertEqual((1, (), ()), gone)
        ledger, touches = self.shared.known()
        assert ledger is not None
        self.assertEqual(
            (DropState.GONE, (), [Touch.CLAIMED, Touch.DELIVERED]), (ledger.drop.state, ledger.transfers, touches)
        )

    def test_one_after_the_other(self):
        """It leaves what the same changes leave that are made one by one."""
        changes = [asking(a_wish("1")), noting, ending("t1", arrived()), noting]
        other = Shared()
        self.addCleanup(other.connection.close)
        other.run(transactions.insert(a_drop()))
        for rule in changes:
            other.run(transactions.change(key_of(1), rule))
        self.done(*(Change(key_of(1), rule) for rule in changes))
        self.assertEqual(other.known(), self.shared.known())

    def test_unchanged(self):
        """Where nothing changes, nothing is written."""
        transaction = together([Change(key_of(1), doing(lambda ledger: ledger))])
        steps = 0
        try:
            step = next(transaction)
            while True:
                steps += 1
                step = transaction.send(self.shared.rows(step))
        except StopIteration:
            pass
        self.assertEqual(1, steps)

    def test_bug(self):
        """What one's rule raises is nobody else's."""
        outcomes = self.shared.run(
            together([Change(key_of(1), noting), Change(key_of(1), failing), Change(key_of(1), noting)])
        )
        self.assertEqual(
            [Done, ZeroDivisionError, Done], [type(getattr(each, "error", None) or each) for each in outcomes]
        )
        self.assertEqual([Touch.OPENED] * 2, self.shared.known()[1])

    def test_absent(self):
        """What is not there is to be asked for by itself."""
        self.assertEqual([Apart(), None], self.done(Change(key_of(9), noting), Change(key_of(1), noting)))

    def test_purge(self):
        """Bytes are noted as deleted of what is gone, and of nothing else."""
        self.shared.run(transactions.insert(a_drop(2)))
        self.done(
            Change(key_of(1), asking(a_wish("1"))),
            Change(key_of(1), doing(lambda ledger: ledger.ended(Reason.REVOKED, NOW))),
        )
        self.done(Purge(key_of(1), NOW + 9), Purge(key_of(2), NOW + 9))
        drops = [self.shared.run(transactions.find(key_of(number))) for number in (1, 2)]
        self.assertEqual([DropState.PURGED, DropState.AVAILABLE], [drop and drop.state for drop in drops])
        ledger, _ = self.shared.known()
        assert ledger is not None
        self.assertIsNone(ledger.claims[0].recipient)

    def test_conflict(self):
        """Where somebody else has changed one since it was read, that is noticed before anything is kept."""
        transaction = together([Change(key_of(1), doing(attrs.evolve))])
        step = transaction.send(self.shared.rows(next(transaction)))
        self.shared.run(transactions.change(key_of(1), noting))
        self.assertRaises(Conflict, self.shared.run, transaction, step)


class GroupingTests(SynchronousTestCase):
    """What gathers while something is written."""

    def setUp(self) -> None:
        self.groups: list[list[bytes]] = []
        self.alone: list[bytes] = []
        self.gates: list[Deferred[None]] = []
        self.outcomes: list[Any] = []
        self.held = True
        self.grouping = self.made()

    def made(self, lanes: int = 1) -> Grouping:
        """Return one."""
        return Grouping(self.write_together, self.write_alone, lanes)

    async def write_together(self, writes: Sequence[Write]) -> list[Done | Apart]:
        """Write when it is told to."""
        self.groups.append([write.key for write in writes])
        await self.gate()
        if self.outcomes:
            outcome = self.outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return list(outcome)
        return [Done(write.key) for write in writes]

    async def write_alone(self, write: Write) -> Any:
        """Likewise."""
        self.alone.append(write.key)
        await self.gate()
        if write.key == b"bad":
            raise ZeroDivisionError
        return write.key

    async def gate(self) -> None:
        """Wait."""
        if self.held:
            self.gates.append(Deferred())
            await self.gates[-1]

    def open(self) -> None:
        """Let what is being written be committed."""
        gates, self.gates = self.gates, []
        for gate in gates:
            gate.callback(None)

    def asked(self, *keys: bytes) -> list[Deferred[Any]]:
        """Ask for a change of each."""
        return [self.ask(Change(key, noting)) for key in keys]

    def ask(self, write: Write) -> Deferred[Any]:
        """Ask for one."""
        return Deferred.fromCoroutine(self.grouping.do(write))

    def test_alone(self):
        """Who comes alone waits for nobody."""
        (one,) = self.asked(b"1")
        self.assertEqual(([b"1"], []), (self.alone, self.groups))
        self.open()
        self.assertEqual(b"1", self.successResultOf(one))

    def test_gather(self):
        """Those that come meanwhile are written together, and none is told before it is committed."""
        one, *others = self.asked(b"1", b"2", b"3", b"2")
        self.open()
        self.assertEqual([[b"2", b"3", b"2"]], self.groups)
        self.assertEqual(b"1", self.successResultOf(one))
        for other in others:
            self.assertNoResult(other)
        self.open()
        self.assertEqual([b"2", b"3", b"2"], [self.successResultOf(other) for other in others])

    def test_most(self):
        """No more than so many at once."""
        self.asked(b"1", *(b"%d" % number for number in range(MOST + 5)))
        self.open()
        self.open()
        self.assertEqual([MOST, 5], [len(group) for group in self.groups])

    def test_lanes(self):
        """As many transactions at once as there are lanes."""
        self.grouping = self.made(2)
        self.asked(b"1", b"2", b"3", b"4")
        self.assertEqual(([b"1", b"2"], []), (self.alone, self.groups))
        self.open()
        self.assertEqual([[b"3", b"4"]], self.groups)

    def test_apart(self):
        """An insertion or a purge goes with no other write of its drop, and what comes behind does not pass it."""
        self.asked(b"1")
        drop = attrs.evolve(a_drop(), key=b"2")
        for write in (Insert(drop), Change(b"2", noting), Change(b"3", noting), Purge(b"3", NOW), Change(b"3", noting)):
            self.ask(write)
        self.held = False
        self.open()
        self.assertEqual([[b"2", b"3"], [b"2", b"3"]], self.groups)
        self.assertEqual([b"1", b"3"], self.alone)

    def test_by_itself(self):
        """What could not be done with the others is done by itself, and holds up nobody."""
        self.outcomes = [[Apart(), Done(7)]]
        _, one, other = self.asked(b"1", b"2", b"3")
        self.open()
        self.open()
        self.assertEqual((7, [b"1", b"2"]), (self.successResultOf(other), self.alone))
        self.assertNoResult(one)
        (late,) = self.asked(b"4")
        self.assertEqual([b"1", b"2", b"4"], self.alone)
        self.open()
        self.assertEqual([b"2", b"4"], [self.successResultOf(each) for each in (one, late)])

    def test_bug(self):
        """What one's rule raised it alone is told."""
        self.outcomes = [[Done(error=ZeroDivisionError()), Done(7)]]
        _, one, other = self.asked(b"1", b"2", b"3")
        self.open()
        self.open()
        self.failureResultOf(one, ZeroDivisionError)
        self.assertEqual(7, self.successResultOf(other))

    def test_fails(self):
        """Where they cannot be written together, each is written alone, and told what came of that."""
        self.outcomes = [RuntimeError("away")]
        _, one, bad, other = self.asked(b"1", b"2", b"bad", b"3")
        self.held = False
        self.open()
        self.open()
        self.assertEqual([b"2", b"3"], [self.successResultOf(each) for each in (one, other)])
        self.failureResultOf(bad, ZeroDivisionError)

    def test_away(self):
        """Where the database is away, all are told so at once, and none is tried alone."""
        self.outcomes = [Unavailable("away")]
        _, one, other = self.asked(b"1", b"2", b"3")
        self.open()
        self.open()
        for each in (one, other):
            self.failureResultOf(each, Unavailable)
        self.assertEqual([b"1"], self.alone)

    def test_empty(self):
        """It is empty when all that was asked for is done."""
        self.asked(b"1", b"2")
        empty = Deferred.fromCoroutine(self.grouping.empty())
        self.open()
        self.assertNoResult(empty)
        self.open()
        self.successResultOf(empty)

    def test_cancelled(self):
        """Who waits no longer ends nothing."""
        one, other = self.asked(b"1", b"2")
        one.cancel()
        self.failureResultOf(one)
        self.open()
        self.open()
        self.assertEqual(b"2", self.successResultOf(other))
