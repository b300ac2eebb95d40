"""The rules of claims against everything that can happen, to a depth, with what really arrived beside it.

The world here is one drop of two or three strides, a few people, and the rules alone.  From each state every
event is tried.  Beside the ledger goes the truth that no server can see, in its two extremes: ``left`` is what
each claim's recipient has if he read all that was sent, ``kept`` what he has if he read nothing that he has
not confirmed.  What is promised is checked in every state, against the worse of the two.

``FILEDROPD_EXHAUSTIVE`` adds to the depth: 1 takes a minute or two, 2 a quarter of an hour or more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs
from twisted.trial.unittest import SynchronousTestCase

from filedropd import spans
from filedropd.claims.asking import Granted, Recipient, Wish, ask, reserve
from filedropd.claims.elapsing import due, elapsed, recovered, revoked
from filedropd.claims.ending import confirm, end
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import AFTERMATH, STRIDE, Policy
from filedropd.model import Claim, ClaimState, Drop, DropState, Outcome, Reason, Transfer
from filedropd.spans import Spans
from filedropd.tokens import Token, claim_token

DEEPER: Final = int(os.environ.get("FILEDROPD_EXHAUSTIVE", "0"))
LINK: Final = Token("0" * 32)
#: So far away that no window meets it: expiry is an event here.
FAR: Final = 1e9
#: A person who has no address: a claim is his by its token alone.
NOBODY: Final = "nobody"

Had: TypeAlias = Mapping[str, Spans]


@attrs.frozen(kw_only=True)
class World:
    """One drop, and the truth about it.

    :ivar left: what may have arrived of each claim.
    :ivar kept: what has, for certain.
    :ivar whose: who opened each.
    :ivar rested: when a transfer of each ended last.
    :ivar names: how many names were given.
    :ivar living: transfers that were taken for a dead daemon's, and go on to their ends.
    """

    ledger: Ledger
    policy: Policy
    now: float = 0.0
    left: Had = attrs.field(factory=dict)
    kept: Had = attrs.field(factory=dict)
    whose: Mapping[str, str] = attrs.field(factory=dict)
    rested: Mapping[str, float] = attrs.field(factory=dict)
    names: int = 0
    living: tuple[Transfer, ...] = ()

    def more(self, had: Had, claim: str, arrived: Spans) -> Had:
        """Return ``had`` with ``arrived`` for a claim."""
        return {**had, claim: spans.union(had.get(claim, spans.NONE), arrived)}

    @property
    def key(self) -> object:
        """All that decides what can come, but for names and for when it is."""
        drop, order = self.ledger.drop, {claim.id: index for index, claim in enumerate(self.ledger.claims)}
        ago = {id: min(self.now - at, self.policy.window) for id, at in self.rested.items()}  # noqa: A001 - its name
        claims = tuple(
            (
                *(claim.state, claim.copy, claim.handed, claim.confirmed, claim.lapses, claim.recipient),
                max(0.0, claim.until - self.now) if claim.state is not ClaimState.DELIVERED else 0.0,
                *(self.left.get(claim.id), self.kept.get(claim.id), self.whose[claim.id], ago.get(claim.id)),
            )
            for claim in self.ledger.claims
        )
        transfers = sorted(
            (order[each.claim], each.first, each.length, each.reserved, each.acknowledged, each.settling, each.settled)
            for each in self.ledger.transfers
        )
        living = tuple((order.get(each.claim), each.first, each.reserved, each.settled) for each in self.living)
        return (
            claims,
            tuple(transfers),
            living,
            drop.state,
            drop.reason,
            drop.expires_at < FAR and drop.expires_at - self.now,
        )


# -- what can happen -------------------------------------------------------------------------------

Step: TypeAlias = tuple[str, World]
Events: TypeAlias = Callable[[World, tuple[str, ...]], Iterator[Step]]


def passed(world: World, ledger: Ledger, **changes: Any) -> World:
    """Return the world with ``ledger``, and what time has brought by then; what time may do is checked."""
    world = attrs.evolve(world, **changes)
    after = elapsed(ledger, world.now, world.policy)
    left, kept = world.left, world.kept
    for transfer in ledger.transfers:
        if after.transfer(transfer.id) is not None:
            continue
        if transfer.settled:
            if after.claim(transfer.claim).state is ClaimState.DELIVERED:
                check(world.now >= world.rested[transfer.claim] + AFTERMATH, "quiet is waited out")
                kept = world.more(kept, transfer.claim, transfer.asked)
        else:
            check(world.now >= ledger.drop.expires_at + world.policy.window, "time alone breaks nothing off")
            left = world.more(left, transfer.claim, transfer.handed)
    for claim in ledger.claims:
        same = [each.state for each in after.claims if each.id == claim.id]
        if same == [ClaimState.DELIVERED] and claim.state is not ClaimState.DELIVERED:
            until = world.now >= min(world.rested.get(claim.id, FAR), ledger.drop.expires_at) + world.policy.window
            check(until or kept.get(claim.id) == ledger.drop.whole, "a copy that may be lost is kept for a window")
    return attrs.evolve(world, ledger=attrs.evolve(after, events=()), left=left, kept=kept)


def asked(world: World, who: str, token: str | None, first: int, length: int) -> World | None:
    """Let somebody ask for bytes; ``None`` where he does not get them."""
    recipient = Recipient(
        link=LINK,
        token=None if token is None else claim_token(LINK, token),
        source=None if who == NOBODY else who,
    )
    name = str(world.names)
    wish = Wish(
        recipient=recipient, claim=f"c{name}", transfer=f"t{name}" if length else None, first=first, length=length
    )
    ledger, verdict = ask(world.ledger, wish, {}, world.now, world.policy)
    if not isinstance(verdict, Granted):
        return passed(world, ledger) if ledger is not world.ledger else None
    claim = verdict.claim.id
    check(world.whose.get(claim, who) == who, "nobody gets what is another's")
    return passed(world, ledger, whose={**world.whose, claim: who}, names=world.names + 1)


def ended(world: World, transfer: Transfer, outcome: Outcome) -> World:
    """Let a transfer end."""
    ledger = end(world.ledger, transfer.id, outcome, world.now, world.policy, begun=transfer)
    left = world.more(world.left, transfer.claim, spans.of(transfer.first, transfer.first + outcome.sent))
    kept = world.kept
    if not outcome.quiet:
        kept = world.more(kept, transfer.claim, spans.of(transfer.first, transfer.first + outcome.acknowledged))
    rested = world.rested if ledger is world.ledger else {**world.rested, transfer.claim: world.now}
    world = attrs.evolve(world, left=left, kept=kept, rested=rested)
    certain(world, ledger)
    return passed(world, ledger)


def confirmed(world: World, transfer: Transfer, *, kept: bool) -> World:
    """Let it turn out what became of a transfer that settled by quiet."""
    ledger = confirm(world.ledger, transfer.id, world.now, world.policy, kept=kept, begun=transfer)
    if kept:
        world = attrs.evolve(world, kept=world.more(world.kept, transfer.claim, transfer.asked))
    elif world.ledger.transfer(transfer.id) is None:
        pass
    elif world.ledger.claim(transfer.claim).state is ClaimState.PRESUMED:
        world = attrs.evolve(world, rested={**world.rested, transfer.claim: world.now})
    certain(world, ledger)
    return passed(world, ledger)


def certain(world: World, after: Ledger) -> None:
    """Check that what comes to be delivered by itself is with its recipient."""
    for claim in world.ledger.claims:
        delivered = any(each.id == claim.id and each.state is ClaimState.DELIVERED for each in after.claims)
        if delivered and claim.state is not ClaimState.DELIVERED and world.ledger.drop.reason is not Reason.REVOKED:
            check(world.kept.get(claim.id) == after.drop.whole, "a completion loses the file to nobody")


def outcomes(transfer: Transfer) -> Iterator[tuple[str, Outcome]]:
    """All that a transfer can come to."""
    sent, acknowledged = transfer.reserved, transfer.acknowledged
    before = max(acknowledged, (sent - 1) // STRIDE * STRIDE)
    yield "reset", Outcome(sent=sent, acknowledged=0, complete=False)
    yield "reset before the last stride", Outcome(sent=before, acknowledged=0, complete=False, begun=before > 0)
    if sent == transfer.length:
        yield "settles", Outcome(sent=sent, acknowledged=sent, complete=True)
        yield "is quiet", Outcome(sent=sent, acknowledged=sent, complete=True, quiet=True)
    if acknowledged and acknowledged < transfer.length:
        yield "FIN", Outcome(sent=sent, acknowledged=acknowledged, complete=False)


def ranges(drop: Drop) -> list[tuple[int, int]]:
    """The ranges that are asked for: the whole, each rest, the first stride, one in the middle."""
    size = drop.size
    rests = [(first, size - first) for first in range(0, size, STRIDE)]
    return sorted({*rests, (0, STRIDE), (STRIDE, STRIDE)})


def tokens(world: World, who: str) -> list[str | None]:
    """What somebody can show: who has an address shows nothing here, who has none what he has."""
    own = [claim.id for claim in world.ledger.claims if world.whose[claim.id] == who]
    return [None, *own] if who == NOBODY else [None]


def times(world: World) -> Iterator[Step]:
    """What time brings, the owner, and the machine."""
    now, drop = world.now, world.ledger.drop
    at = due(world.ledger, now, world.policy).drop.due_at
    if now < at < FAR:
        yield "the next deadline", waited(world, at)
    if world.ledger.transfers:
        yield "a window passes", waited(world, now + world.policy.window + 1)
        left, rested = world.left, dict(world.rested)
        for transfer in world.ledger.transfers:
            rested[transfer.claim] = now
            if not transfer.settled:
                left = world.more(left, transfer.claim, transfer.handed)
        yield "crash", passed(world, recovered(world.ledger, now, world.policy), left=left, rested=rested)
    if drop.state is DropState.AVAILABLE:
        over = attrs.evolve(world.ledger, drop=attrs.evolve(drop, expires_at=now))
        yield "expiry", passed(world, over)
    if drop.reason is not Reason.REVOKED:
        yield "revoked", passed(world, revoked(world.ledger, now))


def waited(world: World, until: float) -> World:
    """Let time pass. Who was quiet for more than a minute has kept what he got."""
    for transfer in world.ledger.transfers:
        if transfer.settled and until > world.now + AFTERMATH:
            world = confirmed(world, transfer, kept=True)
    return passed(attrs.evolve(world, now=until), world.ledger)


def steps(world: World, people: tuple[str, ...], most: int = 2) -> Iterator[Step]:
    """Everything, each step by itself: transfers run beside each other."""
    yield from times(world)
    for transfer in world.ledger.transfers:
        yield from (settled if transfer.settled else runs)(world, transfer)
    if sum(not transfer.settled for transfer in world.ledger.transfers) >= most:
        return
    # Who comes first has a name of his own: it is one search less for each of the others.
    for who in people if world.ledger.claims else people[:1]:
        for first, length in [*ranges(world.ledger.drop), (0, 0)]:
            after = asked(world, who, None, first, length)
            if after is not None:
                yield f"{who} asks for {first // STRIDE}+{length // STRIDE}", after


def settled(world: World, transfer: Transfer) -> Iterator[Step]:
    """What can become of a transfer that settled by quiet."""
    for kept in (True, False):
        yield f"{transfer.id} is kept: {kept}", confirmed(world, transfer, kept=kept)


def runs(world: World, transfer: Transfer) -> Iterator[Step]:
    """What can become of a transfer that runs."""
    for name, outcome in outcomes(transfer):
        yield f"{transfer.id} {name}", ended(world, transfer, outcome)
    if transfer.acknowledged < transfer.reserved:
        seen = attrs.evolve(transfer, acknowledged=transfer.reserved, settling=transfer.reserved == transfer.length)
        yield f"{transfer.id} is acknowledged", passed(world, world.ledger.with_transfer(seen))
    if transfer.reserved == transfer.length:
        return
    ledger, reserved = reserve(world.ledger, transfer.id, {})
    if reserved is not None:
        yield f"{transfer.id} goes on", passed(world, ledger)
    else:
        sent = Outcome(sent=transfer.reserved, acknowledged=0, complete=False)
        yield f"{transfer.id} runs into another", ended(world, transfer, sent)


def outages(world: World, people: tuple[str, ...]) -> Iterator[Step]:
    """Everything, and daemons that live although they were taken for dead: what they send ends after that."""
    yield from steps(world, people)
    if world.ledger.transfers and not world.living:
        (_, crashed), *_ = (step for step in times(world) if step[0] == "crash")
        yield "taken for dead", attrs.evolve(crashed, living=world.ledger.transfers)
    for transfer in world.living:
        rest = attrs.evolve(world, living=tuple(other for other in world.living if other is not transfer))
        if transfer.settled:
            for kept in (True, False):
                yield f"{transfer.id}, which lives, is kept: {kept}", confirmed(rest, transfer, kept=kept)
        else:
            for name, outcome in outcomes(transfer):
                yield f"{transfer.id}, which lives, {name}", ended(rest, transfer, outcome)


def visits(world: World, people: tuple[str, ...]) -> Iterator[Step]:
    """Everything, but one transfer after the other, each at once to its end."""
    yield from times(world)
    for name, begun in entered(world, people):
        if not begun.ledger.transfers:
            yield f"{name} is refused", begun
        else:
            yield from ((f"{name} {outcome}", after) for outcome, after in visited(begun))


def tenures(world: World, people: tuple[str, ...]) -> Iterator[Step]:
    """Visits that break off, and behind each a silence until whatever waits has ended."""
    for name, begun in entered(world, people):
        for each in strides_of(begun):
            (transfer,) = each.ledger.transfers
            sent = Outcome(sent=transfer.reserved, acknowledged=0, complete=False)
            yield f"{name} reset at {transfer.reserved // STRIDE}", silent(ended(each, transfer, sent))


def entered(world: World, people: tuple[str, ...]) -> Iterator[Step]:
    """Let each ask for each range, with each of his tokens and without."""
    for who in people:
        for token in tokens(world, who):
            for first, length in ranges(world.ledger.drop):
                begun = asked(world, who, token, first, length)
                if begun is not None:
                    yield f"{who} ({token}) {first // STRIDE}+{length // STRIDE}", begun


def strides_of(world: World) -> Iterator[World]:
    """Let the one transfer that runs, if it does, reserve stride after stride."""
    while world.ledger.transfers:
        yield world
        (transfer,) = world.ledger.transfers
        if transfer.reserved == transfer.length:
            return
        world = attrs.evolve(world, ledger=reserve(world.ledger, transfer.id, {})[0])


def visited(world: World) -> Iterator[Step]:
    """Let the one transfer that runs go to each of its ends."""
    for each in strides_of(world):
        (transfer,) = each.ledger.transfers
        for name, outcome in outcomes(transfer):
            after = ended(each, transfer, outcome)
            if not outcome.quiet:
                yield f"{name} at {transfer.reserved // STRIDE}", after
            else:  # kept is what follows when time passes
                lingering = after.ledger.transfers
                yield f"{name}, then reset", confirmed(after, *lingering, kept=False) if lingering else after


def silent(world: World) -> World:
    """Let time pass while somebody can come back."""
    while world.ledger.drop.held and (at := due(world.ledger, world.now, world.policy).drop.due_at) < FAR:
        world = waited(world, at)
    return world


# -- what is promised ------------------------------------------------------------------------------


def check(holds: bool, promise: str) -> None:
    """Fail unless it holds."""
    if not holds:
        raise AssertionError(promise)


def promised(world: World) -> None:
    """Check what holds in every state."""
    ledger, drop = world.ledger, world.ledger.drop
    everything = [
        [spans.union(had, *(each.handed for each in ledger.transfers if each.claim == claim))]
        for claim, had in world.left.items()
    ]
    # Stronger than to count people: however claims are shared out among them, no more can have it all.
    check(spans.fewest(everything, drop.extent) <= drop.downloads, "never more copies than were allowed")
    check(drop.delivered + drop.live <= drop.downloads, "never more claims than copies")
    check(drop.live == sum(claim.state.live for claim in ledger.claims), "live claims are counted")
    if drop.reason is Reason.ABANDONED:
        given_up = [claim for claim in ledger.claims if spans.size(claim.handed) * 2 > drop.extent]
        check(len(given_up) >= world.policy.max_attempts, "a drop is not abandoned because one recipient came back")
    for claim in ledger.claims:
        check(not spans.less(world.left.get(claim.id, spans.NONE), claim.handed), "what left is never forgotten")
        check(not spans.less(claim.confirmed, world.kept.get(claim.id, spans.NONE)), "what is confirmed is there")
        flights = [
            spans.of(each.first + each.acknowledged, each.first + each.reserved) for each in ledger.running(claim)
        ]
        check(spans.size(spans.union(*flights)) == sum(map(spans.size, flights)), "no byte is in flight twice")
        waits = claim.state in {ClaimState.SUSPENDED, ClaimState.PRESUMED} and not ledger.running(claim)
        if waits and drop.reason is not Reason.REVOKED and claim.sent:
            recoverable(world, claim)
    if drop.state is DropState.AVAILABLE and all(each.settled for each in ledger.transfers):
        goes_on(world)


def recoverable(world: World, claim: Claim) -> None:
    """Check that a recipient whose copy waits for him can have what he lacks, and then has it."""
    lingering = [transfer.asked for transfer in world.ledger.of(claim)]
    if spans.union(world.kept.get(claim.id, spans.NONE), *lingering) == world.ledger.drop.whole:
        return
    after = asked(world, world.whose[claim.id], claim.id, 0, world.ledger.drop.size)
    check(
        after is not None and len(after.ledger.transfers) > len(world.ledger.transfers),
        "a broken copy waits for its recipient",
    )
    while after is not None:
        transfer = after.ledger.transfers[-1]
        if transfer.reserved == transfer.length:
            after = ended(after, transfer, Outcome(sent=transfer.length, acknowledged=transfer.length, complete=True))
            states = [each.state for each in after.ledger.claims if each.id == claim.id]
            check(bool(states) and states[0].counts, "who has it all is done")
            return
        after = attrs.evolve(after, ledger=reserve(after.ledger, transfer.id, {})[0])


def goes_on(world: World) -> None:
    """Check that when all are silent for long enough, somebody can have the file, or it was delivered."""
    world = silent(world)
    if world.ledger.drop.state is not DropState.AVAILABLE:
        return
    askers: list[tuple[str, str | None]] = [("somebody else", None)]
    askers += [(world.whose[claim.id], claim.id) for claim in world.ledger.claims]
    for who, token in askers:
        after = asked(world, who, token, 0, world.ledger.drop.size)
        if after is not None and after.ledger.transfers:
            return
    raise AssertionError("there is somebody who can go on")


# -- the search ------------------------------------------------------------------------------------


def a_world(strides: int, downloads: int = 1, **policy: Any) -> World:
    """Return a world in which nothing has happened."""
    drop = Drop(
        key=LINK.key,
        owner_key=b"o" * 32,
        blob="b",
        name="n",
        content_type="t/t",
        size=strides * STRIDE,
        downloads=downloads,
        created_at=0.0,
        expires_at=FAR,
        due_at=FAR,
    )
    return World(ledger=Ledger(drop=drop), policy=Policy(**{"max_attempts": 100} | policy))


def search(world: World, successors: Callable[[World], Iterator[Step]], depth: int) -> int:
    """Check all states that can be reached in so many events, and return how many there are.

    :raises AssertionError: a promise is broken: which, and by what.
    """
    trail: dict[object, tuple[object, str]] = {world.key: (None, "")}
    level = [world]
    for _ in range(depth):
        following = []
        for before in level:
            happened = "…"
            try:
                for happened, after in successors(before):
                    key = after.key
                    if key not in trail:
                        trail[key] = (before.key, happened)
                        promised(after)
                        if after.ledger.transfers or not after.ledger.drop.finished:
                            following.append(after)
            except Exception as error:
                raise AssertionError(
                    "\n".join([str(error), *path(trail, before.key), f"then behind: {happened}"])
                ) from error
        level = following
    return len(trail)


def path(trail: dict[object, tuple[object, str]], key: object) -> list[str]:
    """Return what led to a state."""
    events: list[str] = []
    while trail[key][0] is not None:
        key, event = trail[key]
        events.insert(0, event)
    return events


class ExhaustiveTests(SynchronousTestCase):
    """Whatever happens, in whatever order: never a copy too many, and never one lost."""

    def searched(self, events: Events, *people: str, world: World, depth: int) -> None:
        """Check all that can come of ``world``; a search of too little is none."""
        found = search(world, lambda before: events(before, people), depth + DEEPER)
        self.assertGreater(found, 200)

    def test_steps(self):
        """Two recipients and one copy of two strides, each step by itself."""
        self.searched(steps, "a", "b", world=a_world(2), depth=6)

    def test_strides(self):
        """The same of three strides."""
        self.searched(steps, "a", "b", world=a_world(3), depth=5)

    def test_copies(self):
        """The same of two copies."""
        self.searched(steps, "a", "b", world=a_world(2, downloads=2), depth=4)

    def test_outages(self):
        """One copy of two strides, and daemons that were taken for dead and live."""
        self.searched(outages, "a", "b", world=a_world(2), depth=5)

    def test_visits(self):
        """One visit after the other, each to any of its ends."""
        self.searched(visits, "a", "b", world=a_world(3), depth=3)

    def test_visits_of_copies(self):
        """The same of two copies."""
        self.searched(visits, "a", "b", world=a_world(2, downloads=2), depth=3)

    def test_tokens(self):
        """The same where one has no address, and any number of claims by their tokens."""
        self.searched(visits, "a", NOBODY, world=a_world(2), depth=4)

    def test_lapses(self):
        """Visit after visit that is given up: what one without an address has is put together from all his claims."""
        self.searched(tenures, NOBODY, world=a_world(3), depth=4)

    def test_attempts(self):
        """The same where a copy may be given up twice."""
        self.searched(tenures, "a", "b", world=a_world(3, max_attempts=2), depth=4)
