"""What may have become of a drop's claims, as far as its recipients can tell: the rules of claims, seen from without.

A :class:`State` is what the daemon may have written down of one drop.  Where an answer was awaited when the
daemon was killed there are several that are possible; what is seen later leaves fewer of them, and one at
least: else the daemon has broken a rule.  Windows do not end here, but for those of a few seconds.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import attrs


class Kind(enum.Enum):
    """What is known of a claim."""

    #: Its recipient can have the bytes, and nobody else this copy.
    HELD = "held"
    #: Likewise for some seconds, if it is there at all: it was given up before much was sent.
    PROBED = "probed"
    #: It counts as delivered, and its own recipient can have the bytes.
    PRESUMED = "presumed"
    #: The rest was resumed, and all came: it is presumed, once that is written down.
    RESUMED = "resumed"
    #: All came at once, since the last crash: it is delivered, once that is written down.
    ARRIVED = "arrived"
    #: Likewise of one that was presumed before.
    REPEATED = "repeated"
    DELIVERED = "delivered"


LIVE = frozenset({Kind.HELD, Kind.PROBED})
#: Those whose recipients can have the bytes.
OPEN = LIVE | {Kind.PRESUMED, Kind.RESUMED}
#: What each may be after a crash.
CRASHED = {
    Kind.HELD: (Kind.HELD,),
    Kind.PROBED: (Kind.PROBED, Kind.HELD),
    Kind.PRESUMED: (Kind.PRESUMED,),
    Kind.RESUMED: (Kind.PRESUMED, Kind.HELD),
    Kind.ARRIVED: (Kind.DELIVERED, Kind.PRESUMED, Kind.HELD),
    Kind.REPEATED: (Kind.DELIVERED, Kind.PRESUMED),
    Kind.DELIVERED: (Kind.DELIVERED,),
}

#: A recipient, and what is known of a claim of his. Whose a delivered copy was is of no concern.
Claim: TypeAlias = tuple[str, Kind]


@attrs.frozen
class State:
    """What may be written down of a drop.

    :ivar claims: sorted.
    :ivar ended: why it is gone for everybody, where its owner took it back.
    """

    claims: tuple[Claim, ...] = ()
    ended: str = ""

    @property
    def delivered(self) -> int:
        """How many copies are."""
        return sum(kind not in LIVE for _, kind in self.claims)

    def with_claim(self, who: str, kind: Kind, instead: Claim | None = None) -> State:
        """Return it with a claim more, or with another in the place of one."""
        claims = list(self.claims)
        if instead is not None:
            claims.remove(instead)
        claims.append(("" if kind is Kind.DELIVERED else who, kind))
        return State(tuple(sorted(claims, key=_order)), self.ended)

    def __str__(self) -> str:
        told = [f"{kind.value} by {who}" if who else kind.value for who, kind in self.claims]
        return self.ended or ", ".join(told) or "untouched"


def _order(claim: Claim) -> tuple[str, str]:
    who, kind = claim
    return who, kind.value


@attrs.frozen
class Verdict:
    """What a request for bytes is answered with.

    :ivar claim: under which they are sent; ``None``: one that is opened for them.
    :ivar owned: how many claims its recipient has.
    """

    status: int
    reason: str = ""
    claim: Claim | None = None
    owned: int = 0


def verdicts(state: State, downloads: int, who: str) -> Iterator[Verdict]:
    """Yield with what ``who`` may be answered."""
    own = [claim for claim in state.claims if claim[0] == who and claim[1] in OPEN]
    if state.ended:
        yield Verdict(410, state.ended)
    elif own:
        yield from (Verdict(200, claim=claim, owned=len(own)) for claim in dict.fromkeys(own))
    elif state.delivered >= downloads:
        yield Verdict(410, "delivered")
    elif len(state.claims) >= downloads:
        yield Verdict(423)
    else:
        yield Verdict(200)


# -- what may come next ----------------------------------------------------------------------------


def later(states: Iterable[State]) -> frozenset[State]:
    """Return what may be after some seconds: probes may be over."""
    return frozenset(
        State(tuple(claim for claim in state.claims if claim not in over or claim[1] is not Kind.PROBED), state.ended)
        for state in states
        for number in range(len(_probes(state)) + 1)
        for over in itertools.combinations(_probes(state), number)
    )


def _probes(state: State) -> list[Claim]:
    return [claim for claim in state.claims if claim[1] is Kind.PROBED]


def crashed(states: Iterable[State]) -> frozenset[State]:
    """Return what may be after a crash."""
    return frozenset(
        _made(state, kinds)
        for state in states
        for kinds in itertools.product(*(CRASHED[kind] for _, kind in state.claims))
    )


def _made(state: State, kinds: tuple[Kind, ...]) -> State:
    made = State(ended=state.ended)
    for (who, _), kind in zip(state.claims, kinds, strict=True):
        made = made.with_claim(who, kind)
    return made


def whole(state: State, who: str, verdict: Verdict) -> Iterator[State]:
    """Yield what is when all came at once."""
    again = verdict.claim is not None and verdict.claim[1] not in LIVE
    yield state.with_claim(who, Kind.REPEATED if again else Kind.ARRIVED, verdict.claim)


def rest(state: State, who: str, verdict: Verdict) -> Iterator[State]:
    """Yield what may be when the rest came of what had broken off."""
    if verdict.claim is not None and verdict.claim[1] not in LIVE:
        yield state.with_claim(who, Kind.PRESUMED, verdict.claim)
        return
    yield state.with_claim(who, Kind.RESUMED, verdict.claim)
    if verdict.owned != 1:  # it is the rest of another, or of one that is forgotten: there is a hole before it
        yield state.with_claim(who, Kind.HELD, verdict.claim)


def cut(state: State, who: str, verdict: Verdict, *, early: bool = False) -> Iterator[State]:
    """Yield what is when it broke off; ``early``: perhaps before much was sent."""
    kind = Kind.HELD if verdict.claim is None else verdict.claim[1]
    if kind not in LIVE:
        yield state.with_claim(who, Kind.PRESUMED, verdict.claim)
    elif early and verdict.claim != (who, Kind.HELD):
        yield state.with_claim(who, Kind.PROBED, verdict.claim)
    else:
        yield state.with_claim(who, Kind.HELD, verdict.claim)


def taken_back(state: State, downloads: int) -> Iterator[tuple[int, str, State]]:
    """Yield with what its owner may be answered who takes it back: status, reason, and what is then."""
    gone = state.delivered >= downloads
    kinds = {kind for _, kind in state.claims}
    if state.ended:
        yield 410, state.ended, state
    elif gone and not kinds & OPEN:
        yield 410, "delivered", state
    else:
        yield 204, "", State(ended="delivered" if gone else "revoked")
    if not state.ended and kinds & {Kind.ARRIVED, Kind.REPEATED}:  # not written down yet
        yield from ((204, "", State(ended=reason)) for reason in ("delivered", "revoked"))
