"""Transactions, step by step, as if several daemons had one database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs
from twisted.trial.unittest import SynchronousTestCase

from filedropd.claims.asking import Granted, Taken, Verdict
from filedropd.claims.ledger import Ledger
from filedropd.model import DropState, Reason, Touch
from filedropd.records import sql, transactions
from filedropd.records.migrations import load
from filedropd.records.rows import Row, drop_row
from filedropd.records.sqlite_database import _executed
from filedropd.records.transactions import Asked, Conflict, Deciding, Keyed, Many, Step, Transaction
from tests.contracts.records_base import NOW, a_drop, a_wish, arrived, asking, doing, ending, key_of

T = TypeVar("T")


def _by_name(cursor: sqlite3.Cursor, values: tuple[object, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.description, values, strict=True)}


class Shared:
    """A database to which several speak in turns, each statement by itself."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.row_factory = _by_name
        self.connection.execute("PRAGMA foreign_keys = ON")
        for migration in load():
            self.connection.executescript(migration.script)

    def rows(self, step: Asked) -> Any:
        """Execute a step, or several."""
        return _executed(self.connection, step)

    def run(self, transaction: Transaction[T], step: Asked | None = None) -> T:
        """Execute ``transaction``, from ``step`` on where it has begun."""
        try:
            step = next(transaction) if step is None else step
            while True:
                step = transaction.send(self.rows(step))
        except StopIteration as end_of_it:
            result: T = end_of_it.value
            return result

    def read_by(self, transaction: Transaction[T]) -> Step:
        """Execute the steps of ``transaction`` that read; return the first that writes."""
        step = one(next(transaction))
        while step[0].split()[0] == "SELECT":
            step = one(transaction.send(self.rows(step)))
        return step

    def known(self) -> tuple[Ledger | None, list[Touch]]:
        """Return the drop, what hangs on it and what happened to it."""
        events = self.run(transactions.events(key_of(1)))
        return self.run(transactions.ledger(key_of(1))), [event.touch for event in events]


def one(step: Asked) -> Step:
    """Return a step that is one statement."""
    if isinstance(step, Keyed | Many | Deciding):
        raise TypeError(step)
    return step


def noting(ledger: Ledger) -> tuple[Ledger, None]:
    """Note that somebody looked."""
    return ledger.noted(Touch.OPENED, NOW), None


def row(**columns: Any) -> Row:
    """Return the row of a drop as a database gives it."""
    return {**drop_row(a_drop()), "revision": 7, **columns}


class StepTests(SynchronousTestCase):
    """What a change asks of a database, one statement after the other."""

    def after(self, transaction: Transaction[T], *answers: Sequence[Row]) -> Step:
        """Return the step that comes after these answers."""
        step = next(transaction)
        for answer in answers:
            step = transaction.send(answer)
        return one(step)

    def test_condition(self):
        """What is written is written on condition that the revision is the one that was read."""
        statement, values = self.after(transactions.change(key_of(1), noting), [row()])
        self.assertEqual((sql.CHANGE_DROP, 7, key_of(1)), (statement, values["revision"], values["key"]))

    def test_conflict(self):
        """Where it is not, that is a conflict, and nothing more is written."""
        transaction = transactions.change(key_of(1), noting)
        self.after(transaction, [row()])
        with self.assertRaises(Conflict):
            transaction.send([])
        self.assertRaises(StopIteration, next, transaction)

    def test_no_conflict(self):
        """Where it is, what hangs on the drop is written, and the result comes."""
        transaction = transactions.change(key_of(1), lambda ledger: (ledger.noted(Touch.OPENED, NOW), "result"))
        statement, _ = self.after(transaction, [row()], [{"revision": 8}])
        self.assertEqual(sql.INSERT_EVENT, statement)
        with self.assertRaises(StopIteration) as caught:
            transaction.send([])
        self.assertEqual("result", caught.exception.value)

    def test_nothing(self):
        """A rule that returns what it was given ends the transaction without a statement that writes."""
        transaction = transactions.change(key_of(1), lambda ledger: (ledger, "result"))
        next(transaction)
        with self.assertRaises(StopIteration) as caught:
            transaction.send([row()])
        self.assertEqual("result", caught.exception.value)

    def test_nothing_opened(self):
        """The claims of a drop of which none was ever opened are not asked for."""
        statement, _ = self.after(transactions.change(key_of(1), noting), [row(opened=1)])
        self.assertEqual(sql.CLAIMS, statement)
        statement, _ = self.after(transactions.change(key_of(1), noting), [row(opened=0)])
        self.assertEqual(sql.CHANGE_DROP, statement)

    def test_recipients(self):
        """Recipients are erased where the drop was purged, and nowhere else."""
        statement, _ = self.after(transactions.purged(key_of(1), NOW), [{"key": key_of(1)}])
        self.assertEqual(sql.ERASE_RECIPIENTS, statement)
        transaction = transactions.purged(key_of(1), NOW)
        next(transaction)
        self.assertRaises(StopIteration, transaction.send, [])


class ConflictTests(SynchronousTestCase):
    """Whatever somebody else does between reading and writing, none undoes what the other did."""

    def shared(self, *, gone: bool = False) -> Shared:
        """Return a database with one drop of two copies, one of them claimed."""
        shared = Shared()
        self.addCleanup(shared.connection.close)
        shared.run(transactions.insert(a_drop(downloads=2)))
        shared.run(transactions.change(key_of(1), asking(a_wish("1"))))
        if gone:
            shared.run(transactions.change(key_of(1), doing(lambda ledger: ledger.ended(Reason.REVOKED, NOW))))
        return shared

    def refused(self, shared: Shared, between: Transaction[Any]) -> None:
        """Do something between the reading and the writing of a change, which then writes nothing."""
        late = transactions.change(key_of(1), noting)
        step = shared.read_by(late)
        shared.run(between)
        before = shared.known()
        self.assertRaises(Conflict, shared.run, late, step)
        self.assertEqual(before, shared.known())

    def test_changed(self):
        """Another change of the drop, of a claim, of a transfer or of the events alone."""
        changes: list[Callable[[Ledger], Ledger]] = [
            lambda ledger: ledger.noted(Touch.PREVIEWED, NOW),
            lambda ledger: ledger.with_claim(attrs.evolve(ledger.claims[0], until=NOW + 99)),
            lambda ledger: ledger.with_transfer(attrs.evolve(ledger.transfers[0], acknowledged=5)),
            lambda ledger: ledger.without_transfers(*ledger.transfers),
            lambda ledger: ending("t1", arrived())(ledger)[0],
            lambda ledger: ledger.ended(Reason.REVOKED, NOW),
            attrs.evolve,
        ]
        for change in changes:
            self.refused(self.shared(), transactions.change(key_of(1), doing(change)))

    def test_purged(self):
        """The drop is purged: it does not come back as gone, nor its recipients."""
        shared = self.shared(gone=True)
        self.refused(shared, transactions.purged(key_of(1), NOW + 50))
        ledger, _ = shared.known()
        assert ledger is not None
        self.assertEqual((DropState.PURGED, None), (ledger.drop.state, ledger.claims[0].recipient))

    def test_purge_failed(self):
        """Deleting its bytes failed: it is tried again when it was to be."""
        shared = self.shared(gone=True)
        self.refused(shared, transactions.purge_failed(key_of(1), NOW + 50))
        ledger, _ = shared.known()
        assert ledger is not None
        self.assertEqual((NOW + 50, 1), (ledger.drop.due_at, ledger.drop.purge_attempts))

    def test_forgotten(self):
        """The drop is forgotten: nothing of it comes back, and the next attempt finds nothing."""
        shared = self.shared(gone=True)
        shared.run(transactions.purged(key_of(1), NOW))
        self.refused(shared, transactions.forget(key_of(1)))
        self.assertIsNone(shared.run(transactions.change(key_of(1), noting)))

    def test_again(self):
        """Of two that want the last copy at once, one gets it; the other, run again, sees that."""
        shared = self.shared()
        one, other = (transactions.change(key_of(1), asking(a_wish(name))) for name in "23")
        step_of_one, step_of_other = shared.read_by(one), shared.read_by(other)
        self.assertIsInstance(shared.run(other, step_of_other), Granted)
        self.assertRaises(Conflict, shared.run, one, step_of_one)
        again: Verdict | None = shared.run(transactions.change(key_of(1), asking(a_wish("2"))))
        self.assertEqual(Taken(), again)
        ledger, touches = shared.known()
        assert ledger is not None
        self.assertEqual(["c1", "c3"], [claim.id for claim in ledger.claims])
        self.assertEqual([Touch.CLAIMED] * 2, touches)

    def test_others(self):
        """What is done to another drop is no conflict."""
        shared = self.shared()
        shared.run(transactions.insert(a_drop(2)))
        late = transactions.change(key_of(1), noting)
        step = shared.read_by(late)
        shared.run(transactions.change(key_of(2), asking(a_wish("2"))))
        shared.run(late, step)
        self.assertEqual([Touch.CLAIMED, Touch.OPENED], shared.known()[1])

    def test_readers(self):
        """Who only reads makes no conflict."""
        shared = self.shared()
        late = transactions.change(key_of(1), noting)
        step = shared.read_by(late)
        for reading in (transactions.ledger(key_of(1)), transactions.change(key_of(1), doing(lambda ledger: ledger))):
            shared.run(reading)
        shared.run(late, step)
        self.assertEqual([Touch.CLAIMED, Touch.OPENED], shared.known()[1])
