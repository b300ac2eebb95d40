# ruff: noqa: T201 - it prints
"""Runs the cases and prints what came of each.

    python -m tests.conformance [--url http://127.0.0.1:8002] [--adapter filedropd] [--case NAME]

Without ``--url`` it starts a server of its own, and kills some; with it, what needs that is not run.
``limited`` is a case that the server is known not to keep, and did not, as it is known to; ``not limited`` one that
it did keep.  The exit status is 0 if no case failed, 1 if one did, 2 if nothing could be tested.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.conformance import report
from tests.conformance.adapters import ADAPTERS, Unfit, named
from tests.conformance.catalogue import THEMES, chosen
from tests.conformance.running import Result, suite


def options() -> argparse.Namespace:
    """Return what stands on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description="Test a one-time file drop.")
    parser.add_argument("--url", help="of a server on this machine; without one a server is started")
    parser.add_argument("--adapter", default="filedropd", help=f"{', '.join(ADAPTERS)} or module:Class [filedropd]")
    parser.add_argument(
        "--option", action="append", default=[], type=_option, metavar="NAME=VALUE", help="for the adapter; repeatable"
    )
    parser.add_argument("--case", action="append", default=[], metavar="NAME", help="this one alone; repeatable")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what came of each case for programs, too")
    parser.add_argument("--markdown", action="store_true", help="print the tables of docs/exactly-once.md")
    parser.add_argument("--list", action="store_true", help="run nothing, say what there is")
    return parser.parse_args()


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def listed() -> str:
    """Return the cases with what they promise."""
    lines = []
    for theme in THEMES:
        lines += [f"{theme.title}:", *(f"    {case.name:<24} {case.promise}" for case in theme.cases), ""]
    return "\n".join(lines).rstrip()


def main() -> int:
    """Run what is asked for."""
    given = options()
    if given.list:
        print(f"{report.stacks()}\n\n{report.markdown({})}" if given.markdown else listed())
        return 0
    try:
        cases = chosen(given.case)
        with suite(named(given.adapter), given.url, dict(given.option)) as prepared:
            outcomes = prepared.run(cases)
    except (ValueError, Unfit) as error:
        print(f"conformance: {report.shortened(str(error))}", file=sys.stderr)
        return 2
    if given.json:
        given.json.write_text(report.as_json(outcomes), encoding="utf-8")
    if given.markdown:
        print(f"{report.stacks()}\n\n{report.markdown(report.results(outcomes))}")
        print(report.counts(outcomes), file=sys.stderr)
    else:
        print(report.table(outcomes))
    return 1 if any(outcome.result is Result.FAILED for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
