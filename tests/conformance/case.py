"""A case: one promise, and what is done to see whether it is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from tests.conformance.stage import Stage

Act: TypeAlias = Callable[[Stage], None]

#: Seconds within which a case is over, unless it says otherwise.
SECONDS: Final = 20.0


@attrs.frozen
class Case:
    """One promise.

    :ivar name: for the command line.
    :ivar promise: one sentence.
    :ivar means: what it is worth to somebody who uses the server.
    :ivar act: sees whether it is kept; raises an :class:`~tests.conformance.stage.Unkept` where it is not.
    :ivar needs: abilities of the server (:data:`~tests.conformance.adapters.ABILITIES`), and programs.
    :ivar own: it needs a server that it may kill.
    :ivar window: for such a server: how many seconds a broken download is kept for its recipient.
    :ivar seconds: within which it is over.
    """

    name: str
    promise: str
    means: str
    act: Act = attrs.field(repr=False)
    needs: frozenset[str] = frozenset()
    own: bool = False
    window: float | None = None
    seconds: float = SECONDS


class Theme:
    """Cases about one thing, in the order in which they were noted.

    :ivar title: a heading.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._cases: list[Case] = []

    @property
    def cases(self) -> tuple[Case, ...]:
        """All of them."""
        return tuple(self._cases)

    def case(
        self,
        name: str,
        *,
        promise: str,
        means: str,
        needs: str = "",
        own: bool = False,
        window: float | None = None,
        seconds: float = SECONDS,
    ) -> Callable[[Act], Act]:
        """Note a function as a case. ``needs`` are words."""

        def noted(act: Act) -> Act:
            needed = frozenset(needs.split())
            self._cases.append(Case(name, promise, means, act, needed, own or window is not None, window, seconds))
            return act

        return noted
