"""Who has a complete copy, from all that came on a case's connections."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from tests.conformance.answers import Answer
    from tests.conformance.stage import Drop
    from tests.conformance.wire import Connection

#: An address and a program's name; or a token, where who it was given to is not known.
Holder: TypeAlias = tuple[str, str]

_PLACE: Final = re.compile(r"bytes (\d+)-")


def holders(drop: Drop, connections: Iterable[Connection]) -> set[Holder]:
    """Return who has all of a file that is not empty, in whatever pieces.

    Whoever shows a claim's token is who it was given to, wherever it comes from.
    """
    owners: dict[str, Holder] = {}
    pieces: dict[Holder, list[tuple[int, int]]] = defaultdict(list)
    for connection in connections:
        for answer in connection.answers:
            piece = _piece(drop, answer)
            if piece is not None:
                pieces[_holder(answer, owners)].append(piece)
    return {holder for holder, had in pieces.items() if _make_up(had, len(drop.content))}


def _holder(answer: Answer, owners: dict[str, Holder]) -> Holder:
    who = (answer.connection.who.address, answer.connection.who.agent)
    token = answer.field("Filedrop-Claim")
    if not token:
        return who
    if answer.connection.shows_token:
        return owners.get(token, ("whoever has", token))
    owners.setdefault(token, who)
    return who


def _piece(drop: Drop, answer: Answer) -> tuple[int, int] | None:
    """Return which bytes of the file an answer brought, from the first to behind the last; ``None`` for none."""
    place = _PLACE.match(answer.field("Content-Range"))
    first = int(place[1]) if place else 0
    end = first + len(answer.body)
    if answer.status not in {200, 206} or not answer.body or drop.content[first:end] != answer.body:
        return None
    return first, end


def _make_up(pieces: Iterable[tuple[int, int]], size: int) -> bool:
    reached = 0
    for first, end in sorted(pieces):
        if first > reached:
            return False
        reached = max(reached, end)
    return reached >= size > 0
