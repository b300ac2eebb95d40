# ruff: noqa: T201 - it prints
"""Prints every bad input with the answer that is right and the one that is seen, as a table in Markdown.

    python -m tests.bad_inputs_table [--brief] [--wrong]

With ``--brief`` a line for each row and what was seen of its inputs together, with ``--wrong`` only
the inputs that are not answered as they should be.  The exit status is 1 where one does, or where a test fails.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import re
import sys
import tempfile
from typing import Any, Final

from twisted.trial.runner import TestLoader
from twisted.trial.unittest import TestCase

from tests.bad_inputs import SHOWN, Row

MODULES: Final = ("inputs", "bodies", "forms", "names", "clients")


def collected(suite: Any) -> list[TestCase]:
    """Return the tests of a suite and of those in it."""
    if isinstance(suite, TestCase):
        return [suite]
    return [test for part in suite for test in collected(part)]


def place(row: Row) -> tuple[int, str]:
    """Return where a row stands in the table: by its number, and those without one behind."""
    number = re.match("[0-9]+", row.number)
    return (int(number[0]) if number else 1000, row.number.partition(",")[0].partition(":")[0])


def escaped(cell: str) -> str:
    """Return a cell for Markdown: one line of printable ASCII that ends where it ends."""
    return cell.encode("ascii", "backslashreplace").decode().replace("|", "\\|").replace("\r\n", "\\r\\n")


def brief(rows: list[Row]) -> list[str]:
    """Return a line for each number: how many inputs there were, and which answers were seen, each once."""
    lines = []
    for number, group in itertools.groupby(rows, key=lambda row: row.number.partition(",")[0].partition(":")[0]):
        inputs = list(group)
        told = list(dict.fromkeys(row.seen for row in inputs))
        more = f"; {len(told) - 4} more" if len(told) > 4 else ""
        right = sum(row.right for row in inputs)
        shown = " / ".join(text if len(text) <= SHOWN else text[: SHOWN - 2] + " ..." for text in told[:4])
        lines.append(f"| {number} | {len(inputs)} | {right} | {escaped(shown)}{more} |")
    return lines


def main() -> int:
    """Run the tests and print their rows."""
    parser = argparse.ArgumentParser(description="Print every bad input with what is expected and what is seen.")
    parser.add_argument("--wrong", action="store_true", help="only those that differ")
    parser.add_argument("--brief", action="store_true", help="a line for each row")
    arguments = parser.parse_args()
    tests = collected(TestLoader().loadByNames([f"tests.test_bad_{name}" for name in MODULES]))
    failed = []
    # Tests leave their files where they are run.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for test in tests:
            result = test.defaultTestResult()
            test.run(result)
            if not result.wasSuccessful():
                failed.append(test.id())
    rows = sorted((row for test in tests for row in getattr(test, "rows", [])), key=place)
    wrong = [row for row in rows if not row.right]
    if arguments.brief:
        print("| row | inputs | right | seen |\n|---|---|---|---|", *brief(rows), sep="\n")
    else:
        print("| row | input | right | seen |\n|---|---|---|---|")
        for row in wrong if arguments.wrong else rows:
            print("|", " | ".join(map(escaped, (row.number, row.shown, row.expected, row.seen))), "|")
    print(f"\n{len(rows)} inputs, {len(wrong)} of them not answered as they should be; {len(tests)} tests.")
    for name in failed:
        print(f"failed: {name}")
    return 1 if wrong or failed else 0


if __name__ == "__main__":
    sys.exit(main())
