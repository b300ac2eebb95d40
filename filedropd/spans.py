"""Sets of bytes of a file, as sorted spans that do not touch. No I/O.

``((0, 10), (20, 30))`` is the bytes from 0 to 9 and from 20 to 29.  Everything here returns such values
and takes them; a single span is half-open, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeAlias

#: From its first byte to the one behind its last.
Span: TypeAlias = tuple[int, int]

#: Sorted, none empty, no two touching.
Spans: TypeAlias = tuple[Span, ...]

NONE: Final[Spans] = ()

_WRITTEN: Final = re.compile(r"(\d+)-(\d+)", re.ASCII)


def of(first: int, end: int) -> Spans:
    """Return the bytes from ``first`` to before ``end``."""
    return ((first, end),) if first < end else NONE


def union(*sets: Spans) -> Spans:
    """Return the bytes that are in any of ``sets``."""
    joined: list[Span] = []
    for first, end in sorted(span for spans in sets for span in spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((first, end))
    return tuple(joined)


def common(one: Spans, other: Spans) -> Spans:
    """Return the bytes that are in both."""
    found: list[Span] = []
    for first, end in one:
        found += [
            (max(first, other_first), min(end, other_end))
            for other_first, other_end in other
            if max(first, other_first) < min(end, other_end)
        ]
    return tuple(found)


def less(spans: Spans, others: Spans) -> Spans:
    """Return the bytes of ``spans`` that are not in ``others``."""
    left: list[Span] = []
    for start, end in spans:
        first = start
        for other_first, other_end in others:
            if other_end <= first or other_first >= end:
                continue
            if first < other_first:
                left.append((first, other_first))
            first = other_end
        if first < end:
            left.append((first, end))
    return tuple(left)


def size(spans: Spans) -> int:
    """Return how many bytes there are."""
    return sum(end - first for first, end in spans)


def last(spans: Spans) -> int:
    """Return the offset behind the last byte; 0 where there is none."""
    return spans[-1][1] if spans else 0


# -- how often -------------------------------------------------------------------------------------


def stacked(layers: Sequence[Spans], spans: Spans) -> tuple[Spans, ...]:
    """Count ``spans`` once more in ``layers``, of which the n-th is the bytes that were counted n times or more."""
    risen: list[Spans] = []
    for layer in layers:
        risen.append(union(layer, spans))
        spans = common(layer, spans)
    return (*risen, spans) if spans else tuple(risen)


def fewest(counted: Sequence[Sequence[Spans]], extent: int) -> int:
    """Return how often that one of the bytes before ``extent`` was counted that was counted least, over all ``counted``."""
    steps: dict[int, int] = {0: 0}
    for spans in (spans for layers in counted for spans in layers):
        for first, end in spans:
            steps[first] = steps.get(first, 0) + 1
            steps[end] = steps.get(end, 0) - 1
    count, least = 0, None
    for offset in sorted(steps):
        if offset >= extent:
            break
        count += steps[offset]
        least = count if least is None else min(least, count)
    return least or 0


# -- written ---------------------------------------------------------------------------------------


def written(spans: Spans) -> str:
    """Return ``spans`` as records keep them: ``0-10,20-30``, without the byte behind each."""
    return ",".join(f"{first}-{end - 1}" for first, end in spans)


def read(text: str) -> Spans:
    """Return what :func:`written` wrote.

    :raises ValueError: it is nothing that it writes.
    """
    if not text:
        return NONE
    matches = [_WRITTEN.fullmatch(piece) for piece in text.split(",")]
    spans = tuple((int(match[1]), int(match[2]) + 1) for match in matches if match)
    if len(spans) != len(matches) or union(*(of(*span) for span in spans)) != spans:
        raise ValueError(f"{text!r} is no set of bytes.")
    return spans
