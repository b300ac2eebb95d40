"""``docs/lifecycle.md`` says what the code does, as far as a test can tell."""

from __future__ import annotations

import ast
import enum
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

import filedropd.claims
import filedropd.records
from filedropd.claims import policy
from filedropd.model import CLAIM_TRANSITIONS, DROP_TRANSITIONS, ClaimState, DropState, Reason
from filedropd.reaper import TOMBSTONE

State = TypeVar("State", bound=enum.Enum)

DOC = (Path(__file__).parent.parent / "docs" / "lifecycle.md").read_text(encoding="utf-8")
RULES = Path(filedropd.claims.__file__).parent
SCHEMA = sorted((Path(filedropd.records.__file__).parent / "schema").glob("*.sql"))


def section(title: str) -> str:
    """Return what stands under a heading, up to the next one."""
    (found,) = re.findall(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", DOC, re.MULTILINE | re.DOTALL)
    return str(found)


def rows(title: str) -> list[list[str]]:
    """Return the rows of the table under a heading, without its head."""
    lines = [line.strip("| ").split(" | ") for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip(" `") for cell in line] for line in lines[2:]]


def checked(table: str, column: str) -> set[str]:
    """Return the words that the newest schema file which creates ``table`` allows in ``column``."""
    created = [
        match[1]
        for path in SCHEMA
        for match in re.finditer(rf"CREATE TABLE {table}(?:_now)? \((.*?)^\);", path.read_text(), re.M | re.S)
    ]
    (words,) = re.findall(rf"^    {column} [^(]*\({column} IN \((.*?)\)\)", created[-1], re.MULTILINE)
    return set(re.findall(r"'(\w+)'", words))


def homes() -> dict[str, list[str]]:
    """Return, for each letter, what in the rules' code has a docstring that begins a sentence with 'Rule X'."""
    found: dict[str, list[str]] = {}
    for path in sorted(RULES.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                for letter in re.findall(r"Rule ([A-Z])\b", ast.get_docstring(node) or ""):
                    found.setdefault(letter, []).append(f"filedropd.claims.{path.stem}.{node.name}")
    return found


class TableTests(SynchronousTestCase):
    """The tables of transitions."""

    def check(self, title: str, table: Mapping[State, frozenset[State]]) -> None:
        """Check that a table on the page is the one in the code."""
        found = [(before, after) for before, after, _ in rows(title)]
        expected = {(before.value, after.value) for before, ahead in table.items() for after in ahead}
        self.assertEqual(expected, set(found))
        self.assertEqual(len(expected), len(found))

    def test_drop(self):
        """What becomes of a drop."""
        self.check("A drop", DROP_TRANSITIONS)

    def test_claim(self):
        """What becomes of a claim."""
        self.check("A claim", CLAIM_TRANSITIONS)

    def test_by_rules(self):
        """Each move of a claim names the rule behind it, and the rule is one of those below."""
        letters = set(re.findall(r"^### ([A-Z]): ", DOC, re.MULTILINE))
        for *_, when in rows("A claim"):
            named = set(re.findall(r"\b[A-Z]\b", " ".join(re.findall(r"\(([A-Z, ]+)\)", when))))
            self.assertTrue(named and named <= letters, when)


class SchemaTests(SynchronousTestCase):
    """The words that the database allows."""

    def test_states(self):
        """They are the states on the page, and the model's."""
        for title, table, states in (("A drop", "drops", DropState), ("A claim", "claims", ClaimState)):
            listed = {word for before, after, _ in rows(title) for word in (before, after)}
            self.assertEqual({state.value for state in states}, listed)
            self.assertEqual(listed, checked(table, "state"))

    def test_reasons(self):
        """So are the reasons."""
        (sentence,) = re.findall(r"The reasons are (.*?);", section("A drop"))
        listed = set(re.findall(r"`(\w+)`", sentence))
        self.assertEqual({reason.value for reason in Reason}, listed)
        self.assertEqual(listed, checked("drops", "reason"))

    def test_positions(self):
        """The positions of a transfer are columns of its."""
        created = [
            match[1]
            for path in SCHEMA
            for match in re.finditer(r"CREATE TABLE transfers \((.*?)^\);", path.read_text(), re.M | re.S)
        ]
        for position, *_ in rows("A transfer"):
            self.assertRegex(created[-1], rf"(?m)^    {position} ")


class RuleTests(SynchronousTestCase):
    """The rules, under their letters."""

    def test_letters(self):
        """Each is on the page once; P alone is nowhere in the code."""
        letters = re.findall(r"^### ([A-Z]): ", DOC, re.MULTILINE)
        self.assertEqual(sorted({*homes(), "P"}), sorted(letters))

    def test_homes(self):
        """Each has one home in the code, which the page names first."""
        for letter, (home, *others) in homes().items():
            (title,) = re.findall(rf"^### ({letter}: .+)$", DOC, re.MULTILINE)
            self.assertEqual(([], home), (others, re.findall(r"`(filedropd[\w.]+)`", section(title))[0]), letter)

    def test_modules(self):
        """A module that has homes says of which rules, in its first lines."""
        for letter, (home,) in homes().items():
            head = ast.get_docstring(ast.parse((RULES / f"{home.split('.')[2]}.py").read_text(encoding="utf-8")))
            self.assertRegex(head or "", rf"(?s)Rules .*\b{letter} \([\w ]+\)")

    def test_names(self):
        """What the page names is there."""
        for name in re.findall(r"`(filedropd[\w.]+)`", DOC):
            namedAny(name)
        for path in re.findall(r"`((?:filedropd|tests)/[\w/.]+)`", DOC):
            self.assertTrue((Path(__file__).parent.parent / path).exists(), path)


class NumberTests(SynchronousTestCase):
    """The numbers."""

    def test_numbers(self):
        """They are those in the code."""
        for number, _, name in rows("The numbers"):
            where = policy.Policy() if name.startswith("Policy.") else policy
            self.assertEqual(float(number.split()[0]), getattr(where, name.removeprefix("Policy.")), name)

    def test_tombstone(self):
        """A tombstone stands for as long as it is said."""
        self.assertIn(f"for {TOMBSTONE / 86_400:.0f} days", " ".join(section("A drop").split()))
