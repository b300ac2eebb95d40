"""The schema and the statements say what the model says."""

from __future__ import annotations

import itertools
import re
import sqlite3
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from filedropd.claims.ledger import Ledger, UnlawfulMove
from filedropd.model import (
    CLAIM_TRANSITIONS,
    DROP_TRANSITIONS,
    Claim,
    ClaimState,
    Drop,
    DropState,
    Event,
    Reason,
    Transfer,
)
from filedropd.records import sql
from filedropd.records.migrations import load
from filedropd.records.rows import claim_row, drop_row
from tests.contracts.records_base import NOW, a_claim, a_drop, key_of

#: The statements that may change where a drop stands, or end it, and what they are given besides its key.
MOVING: dict[str, dict[str, Any]] = {
    sql.PURGED: {"forget_at": NOW},
    sql.PURGE_FAILED: {"retry_at": NOW},
    sql.ERASE_RECIPIENTS: {},
    **{statement: {} for statement in sql.FORGET},
    sql.FORGET_DROP: {},
}


def a_drop_in(state: DropState, number: int = 1) -> Drop:
    """Return a drop in ``state``."""
    if state is DropState.AVAILABLE:
        return a_drop(number)
    return attrs.evolve(a_drop(number), state=state, reason=Reason.EXPIRED, gone_at=NOW)


def a_claim_in(state: ClaimState) -> Claim:
    """Return a claim in ``state``."""
    return attrs.evolve(a_claim(), state=state, ended_at=None if state.live else NOW)


def attributes(cls: type) -> set[str]:
    """Return the names of the attributes of what ``cls`` holds."""
    return {field.name for field in attrs.fields(cls)}


class SchemaCase(SynchronousTestCase):
    """Has a new database of the latest version."""

    def setUp(self):
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.database.close)
        self.database.execute("PRAGMA foreign_keys = ON")
        for step in load():
            self.database.executescript(step.script)

    def state(self) -> DropState | None:
        """Return where the one drop stands; ``None`` if it is not there."""
        found = self.database.execute("SELECT state FROM drops").fetchone()
        return None if found is None else DropState(found[0])


class WordsTests(SchemaCase):
    """The words of the schema are those of the enumerations, and its columns the attributes."""

    def words(self, table: str, pattern: str) -> set[str]:
        """Return the words of the list after ``pattern`` in the definition of ``table``."""
        (text,) = self.database.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        (found,) = re.findall(rf"CHECK \({pattern} IN \(([^)]*)\)", text)
        return set(re.findall(r"'(\w+)'", found))

    def columns(self, table: str) -> set[str]:
        """Return the names of the columns of ``table``."""
        return {column[1] for column in self.database.execute(f"PRAGMA table_info({table})")}

    def test_states(self):
        """The states of drops and of claims."""
        self.assertEqual({state.value for state in DropState}, self.words("drops", "state"))
        self.assertEqual({state.value for state in ClaimState}, self.words("claims", "state"))

    def test_reasons(self):
        """The reasons for which a drop is gone."""
        self.assertEqual({reason.value for reason in Reason}, self.words("drops", "reason"))

    def test_live(self):
        """The states in which a claim has not ended."""
        self.assertEqual({state.value for state in ClaimState if state.live}, self.words("claims", r"\(state"))

    def test_columns(self):
        """What is kept has a column named as its attribute, and there is no other."""
        self.assertEqual(attributes(Drop) | {"revision"}, self.columns("drops"))
        self.assertEqual(attributes(Claim), self.columns("claims"))
        self.assertEqual(attributes(Transfer) - {"settling", "wanted"} | {"drop"}, self.columns("transfers"))
        self.assertEqual(attributes(Event), self.columns("events"))


class DropMoveTests(SchemaCase):
    """What a statement makes of a drop is in DROP_TRANSITIONS."""

    def moved(self, statement: str, before: DropState) -> DropState | None:
        """Return where a drop stands after ``statement``."""
        self.database.execute("DELETE FROM drops")
        self.database.execute(sql.INSERT_DROP, drop_row(a_drop_in(before)))
        self.database.execute(statement, {"key": key_of(1), **MOVING[statement]}).fetchall()
        return self.state()

    def test_statements(self):
        """Only what is gone is purged, and only what is purged is forgotten; nothing else moves."""
        moves = {
            (statement, before, after)
            for statement in MOVING
            for before in DropState
            if (after := self.moved(statement, before)) is not before
        }
        self.assertEqual(
            {(sql.PURGED, DropState.GONE, DropState.PURGED), (sql.FORGET_DROP, DropState.PURGED, None)}, moves
        )
        self.assertIn(DropState.PURGED, DROP_TRANSITIONS[DropState.GONE])

    def test_rules(self):
        """A drop that ends becomes gone, as the table has it; one that is gone or purged stays that."""
        for before, reason in itertools.product(DropState, Reason):
            after = Ledger(drop=a_drop_in(before)).ended(reason, NOW).drop.state
            self.assertIn(after, {before} if DropState.GONE not in DROP_TRANSITIONS[before] else {DropState.GONE})

    def test_change(self):
        """What such a rule makes of a drop is what the database then has, with its reason."""
        for before, reason in itertools.product(DropState, Reason):
            self.database.execute("DELETE FROM drops")
            self.database.execute(sql.INSERT_DROP, drop_row(a_drop_in(before)))
            after = Ledger(drop=a_drop_in(before)).ended(reason, NOW).drop
            self.database.execute(sql.CHANGE_DROP, {**drop_row(after), "revision": 0}).fetchall()
            self.assertEqual((after.state, reason), (self.state(), after.reason))

    def test_others(self):
        """No statement touches another drop."""
        for number, state in enumerate(DropState, 2):
            self.database.execute(sql.INSERT_DROP, drop_row(a_drop_in(state, number)))
        before = self.database.execute("SELECT * FROM drops").fetchall()
        for statement, values in MOVING.items():
            self.database.execute(statement, {"key": key_of(1), **values}).fetchall()
        self.database.execute(sql.CHANGE_DROP, {**drop_row(a_drop()), "revision": 0}).fetchall()
        self.assertEqual(before, self.database.execute("SELECT * FROM drops").fetchall())


class ClaimMoveTests(SchemaCase):
    """What becomes of a claim is in CLAIM_TRANSITIONS, and can be stored."""

    def test_table(self):
        """A ledger allows what the table has, and nothing else."""
        for before, after in itertools.product(ClaimState, ClaimState):
            ledger = Ledger(drop=attrs.evolve(a_drop(downloads=9), live=1, delivered=1, presumed=1))
            ledger = ledger.with_claim(a_claim_in(before))
            if after in CLAIM_TRANSITIONS[before]:
                self.assertIs(after, ledger.moved(ledger.claims[0], after, NOW).claims[0].state)
            else:
                self.assertRaises(UnlawfulMove, ledger.moved, ledger.claims[0], after, NOW)

    def test_inserted(self):
        """A claim can be stored in each state."""
        self.database.execute(sql.INSERT_DROP, drop_row(a_drop()))
        for number, state in enumerate(ClaimState):
            claim = attrs.evolve(a_claim_in(state), id=state.value, number=number)
            self.database.execute(sql.INSERT_CLAIM, claim_row(claim))
        stored = self.database.execute("SELECT state FROM claims ORDER BY number").fetchall()
        self.assertEqual([state.value for state in ClaimState], [state for (state,) in stored])

    def test_changed(self):
        """Each move of the table can be stored."""
        self.database.execute(sql.INSERT_DROP, drop_row(a_drop()))
        for before, afters in CLAIM_TRANSITIONS.items():
            for after in afters:
                self.database.execute("DELETE FROM claims")
                self.database.execute(sql.INSERT_CLAIM, claim_row(a_claim_in(before)))
                self.database.execute(sql.CHANGE_CLAIM, claim_row(a_claim_in(after)))
                stored = self.database.execute("SELECT state, ended_at FROM claims").fetchone()
                self.assertEqual((after.value, a_claim_in(after).ended_at), stored)
