"""All cases, by theme, in the order in which they are reported."""

from __future__ import annotations

from typing import Final

from tests.conformance import aborts, crashes, ends, lapses, looking, parallel, passwords, ranges, resumes, tokens
from tests.conformance.case import Case, Theme

THEMES: Final[tuple[Theme, ...]] = (
    parallel.theme,
    looking.theme,
    ranges.theme,
    aborts.theme,
    resumes.theme,
    tokens.theme,
    passwords.theme,
    ends.theme,
    crashes.theme,
    lapses.theme,
)

CASES: Final[tuple[Case, ...]] = tuple(case for theme in THEMES for case in theme.cases)


def chosen(names: list[str]) -> tuple[Case, ...]:
    """Return the cases of these names; all where there are none.

    :raises ValueError: a name is nobody's.
    """
    if strange := sorted(set(names) - {case.name for case in CASES}):
        raise ValueError(f"there is no case {strange[0]!r}; --list shows all")
    return tuple(case for case in CASES if not names or case.name in names)
