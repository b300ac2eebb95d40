"""What came of the cases, for people, for pages and for programs."""

from __future__ import annotations

import collections
import json
from collections.abc import Mapping, Sequence
from typing import Final

from tests.conformance.case import Case
from tests.conformance.catalogue import CASES, THEMES
from tests.conformance.running import Outcome, Result
from tests.conformance.stacks import STACKS

#: Characters of what was seen that are shown in a table.
_SHOWN: Final = 300


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a table for a terminal, and a line that counts."""
    width = max((len(outcome.case.name) for outcome in outcomes), default=0)
    lines = [f"{'case':<{width}}  {'result':<11} {'seconds':>7}  seen"]
    for outcome in outcomes:
        seconds = "" if outcome.result is Result.NOT_RUN else f"{outcome.seconds:.1f}"
        lines.append(
            f"{outcome.case.name:<{width}}  {outcome.result.value:<11} {seconds:>7}  {shortened(outcome.seen)}".rstrip()
        )
    return "\n".join([*lines, "", counts(outcomes)])


def shortened(seen: str) -> str:
    """Return what was seen as one line: of something long its beginning and its end."""
    line = " ".join(seen.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN // 3]} … {line[-2 * _SHOWN // 3 :]}"


def counts(outcomes: Sequence[Outcome]) -> str:
    """Return how many passed, failed, and else what came of any."""
    by_result = collections.Counter(outcome.result for outcome in outcomes)
    told = [result for result in Result if by_result[result] or result in {Result.PASSED, Result.FAILED}]
    return ", ".join(f"{by_result[result]} {result.value}" for result in told)


def row(case: Case) -> str:
    """Return a case's row in Markdown, all but its result."""
    cells = (f"`{case.name}`", case.promise, case.means)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def markdown(results: Mapping[str, str]) -> str:
    """Return a table for each theme, with the results of cases by name."""
    lines: list[str] = []
    for theme in THEMES:
        lines += [f"### {theme.title}", "", "| case | what is promised | what it means for you | result |"]
        lines += ["|---|---|---|---|"]
        lines += [f"{row(case)} {results.get(case.name, '')} |" for case in theme.cases]
        lines += [""]
    return "\n".join(lines).rstrip()


def stacks() -> str:
    """Return in Markdown what each stack keeps, and which limits it has."""
    lines = ["| stack | adapter | cases kept | limits |", "|---|---|---|---|"]
    for name, (kind, what) in STACKS.items():
        limits = len(kind.dialect.limits)
        lines += [f"| {what} | `{name}` | {len(CASES) - limits} of {len(CASES)} | {limits or 'none'} |"]
    for kind, what in STACKS.values():
        if kind.dialect.limits:
            lines += ["", f"### Limits: {what}", "", "| case | what happens instead | why |", "|---|---|---|"]
            lines += [
                f"| `{case.name}` | {limit.instead} | {limit.why} |"
                for case in CASES
                if (limit := kind.dialect.limits.get(case.name)) is not None
            ]
    return "\n".join(lines)


def results(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Return in a word or two what came of each."""
    return {
        outcome.case.name: f"not run: {outcome.seen}" if outcome.result is Result.NOT_RUN else outcome.result.value
        for outcome in outcomes
    }


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Return all of it for programs."""
    themes = {case.name: theme.title for theme in THEMES for case in theme.cases}
    told = [
        {
            "case": outcome.case.name,
            "theme": themes[outcome.case.name],
            "promise": outcome.case.promise,
            "means": outcome.case.means,
            "result": outcome.result.value,
            "seconds": round(outcome.seconds, 3),
            "seen": outcome.seen,
        }
        for outcome in outcomes
    ]
    return json.dumps(told, ensure_ascii=False, indent=2) + "\n"
