"""The core on doubles: whole, on a clock that is set by hand, with steps that can be watched, held and broken."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar, cast

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from filedropd.cache.memory import MemoryCache
from filedropd.claims import asking as claims
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import Policy
from filedropd.delivery.stream import StreamDelivery
from filedropd.downloads import Visit
from filedropd.drops import Drops, Rules
from filedropd.errors import ClientGone
from filedropd.http.settling import Settlement
from filedropd.interfaces import IBlobs, ICache, IRecords
from filedropd.ledgers import Ledgers
from filedropd.limiter import Limiter
from filedropd.metrics import Metrics
from filedropd.model import Claim, Drop
from filedropd.passwords import Passwords
from filedropd.peers import Peers
from filedropd.reaper import Reaper
from filedropd.testing import Faults, MemoryBlobs, MemoryRecords, Wire
from filedropd.tokens import Token
from filedropd.transfers import Transfers
from filedropd.upload import Receipt, Terms
from filedropd.watching import Watches
from tests.journal import Journal, Watched

#: Where the doubles come from is said here, once.
__all__ = ["Faults", "MemoryBlobs", "MemoryRecords", "Wire"]

T = TypeVar("T")

#: The time on the wall when a test begins.
BEGAN: Final = 1_700_000_000.0
#: Seconds for which drops here are kept.
KEPT: Final = 3600.0
#: Who is not the recipient that the others are: see :class:`Recipient`.
OTHER: Final = "192.0.2.7\ncurl"
#: Bytes that an upload here may have.
LIMIT: Final = 1_000_000

RULES: Final = Rules(max_file_size=LIMIT, expires=KEPT, max_expires=30 * 86_400.0)


class Wall:
    """The time on the wall, which goes with a clock until somebody sets it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = BEGAN - clock.seconds()

    def __call__(self) -> float:
        return self._clock.seconds() + self._ahead

    def jump(self, seconds: float) -> None:
        """Set it so much forward, or back."""
        self._ahead += seconds


class Recipient:
    """An Exchange whose other end does what the test says.

    :param breaks_at: after so many bytes the connection is lost.
    :param acknowledged: what is known to have arrived, once it broke; all that was sent, in a FIN's case.
    :param before: called before the first piece is taken.
    :param source: address and program; ``None`` where they say nothing.
    :param token: the claim's token that is shown.
    :param quiet: what settles does so by quiet alone, until :meth:`close` or :meth:`reset`.

    :ivar received: the bytes that were sent.
    :ivar sends: how many pieces were sent.
    :ivar late: how many more somebody tried to send when it was known that nobody is there.
    :ivar broken: whether the connection is lost.
    :ivar settling: whether it was asked what became of the bytes.
    :ivar over: whether that was answered.
    :ivar begun: how often an answer's head was asked for (:meth:`begin`).
    :ivar claim: the claim's token, as the answer's head has it.
    :ivar taken: how many bytes the recipient's machine has acknowledged while it runs.
    """

    def __init__(
        self,
        *,
        breaks_at: int | None = None,
        acknowledged: int = 0,
        before: Callable[[], None] = lambda: None,
        source: str | None = "192.0.2.1\ncurl",
        token: Token | None = None,
        quiet: bool = False,
    ) -> None:
        self.source = source
        self.token = token
        self.claim: Token | None = None
        self.taken = 0
        self._quiet = quiet
        self._after: Deferred[bool] = Deferred()
        self.received = bytearray()
        self.sends = 0
        self.late = 0
        self.begun = 0
        self.aborted = False
        self.settling = False
        self.over = False
        self.outcome: Settlement | None = None
        self._breaks_at = breaks_at
        self._acknowledged = acknowledged
        self._before = before
        self.broken = False
        self._hold_sends = False
        self._hold_settle = False
        self._gate: Deferred[None] | None = None

    def begin(self, claim: Token) -> None:
        """Write the head."""
        self.begun += 1
        self.claim = claim

    def close(self) -> None:
        """Close the connection in order, after a settlement by quiet."""
        self._after.callback(True)

    def reset(self) -> None:
        """Reset the connection, after a settlement by quiet."""
        self._after.callback(False)

    def acknowledged(self) -> int:
        """See Exchange."""
        return self.taken

    async def confirmed(self) -> bool:
        """See Exchange."""
        return await self._after

    def hold_sends(self) -> Recipient:
        """Take no piece until :meth:`go_on`."""
        self._hold_sends = True
        return self

    def hold_settle(self) -> Recipient:
        """Do not say what became of it until :meth:`go_on`."""
        self._hold_settle = True
        return self

    def go_on(self) -> None:
        """Do what was held, and hold no more."""
        self._hold_sends = self._hold_settle = False
        self._open_gate()

    def leave(self, acknowledged: int = 0) -> None:
        """Break the connection off, having acknowledged so much."""
        self.broken = True
        self._acknowledged = acknowledged
        self.go_on()

    def abort(self) -> None:
        """See Exchange."""
        self.aborted = True
        self.leave()

    async def send(self, data: bytes) -> None:
        """See Exchange."""
        self.late += self.broken
        if not self.sends:
            self._before()
        if self._hold_sends and not self.broken:
            await self._wait()
        if self.broken:
            raise ClientGone
        self.sends += 1
        self.received += data
        if self._breaks_at is not None and len(self.received) > self._breaks_at:
            del self.received[self._breaks_at :]
            self.broken = True
            raise ClientGone

    async def settle(self) -> Settlement:
        """See Exchange."""
        self.settling = True
        if self._hold_settle and not self.broken:
            await self._wait()
        self.over = True
        if self.outcome is not None:
            return self.outcome
        sent, begun = len(self.received), bool(self.sends or self.settling)
        if self.broken:
            acknowledged = min(self._acknowledged, sent)
            return Settlement(acknowledged=acknowledged, sent=sent, begun=begun, complete=False, quiet=False)
        return Settlement(acknowledged=sent, sent=sent, begun=True, complete=True, quiet=self._quiet)

    async def _wait(self) -> None:
        self._gate = Deferred()
        await self._gate

    def _open_gate(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None and not gate.called:
            gate.callback(None)


class PlainHash:
    """A password hash that hides nothing and costs nothing."""

    def hash(self, password: bytes) -> str:
        """See Algorithm."""
        return "plain:" + password.hex()

    def verify(self, password: bytes, stored: str) -> bool:
        """See Algorithm."""
        return stored == "plain:" + password.hex()


def at_once(call: Callable[[], None]) -> Deferred[None]:
    """Make a call, and not on a thread."""
    call()
    return succeed(None)


@attrs.define(kw_only=True)
class Core:
    """Drops and all that they stand on, in memory.

    :ivar kept: what the records hold, to look at past the journal.
    :ivar stored: the bytes, likewise.
    """

    clock: Clock = attrs.field(factory=Clock)
    wall: Wall = attrs.field(init=False)
    journal: Journal = attrs.field(factory=Journal)
    kept: IRecords = attrs.field(factory=MemoryRecords)
    stored: MemoryBlobs = attrs.field(factory=MemoryBlobs)
    rules: Rules = RULES
    policy: Policy = attrs.field(factory=Policy)
    daemon: str = ""
    metrics: Metrics = attrs.field(factory=Metrics)
    ledgers: Ledgers = attrs.field(init=False)
    transfers: Transfers = attrs.field(init=False)
    reaper: Reaper = attrs.field(init=False)
    watches: Watches = attrs.field(init=False)
    cache: MemoryCache = attrs.field(init=False)
    peers: Peers = attrs.field(init=False)
    passwords: Passwords = attrs.field(init=False)
    drops: Drops = attrs.field(init=False)
    _random: random.Random = attrs.field(factory=lambda: random.Random(0))

    def __attrs_post_init__(self) -> None:
        self.wall = Wall(self.clock)
        result_of(self.kept.open())
        self._build()

    def _build(self) -> None:
        records = cast(IRecords, Watched(self.kept, "records", self.journal))
        blobs = cast(IBlobs, Watched(self.stored, "blobs", self.journal))
        self.ledgers = Ledgers(records, self.policy, self.wall)
        self.transfers = Transfers()
        self.reaper = Reaper(
            records=records,
            ledgers=self.ledgers,
            blobs=blobs,
            transfers=self.transfers,
            clock=self.clock,
            now=self.wall,
            metrics=self.metrics,
        )
        self.passwords = Passwords(cast(IReactorFromThreads, reactor), PlainHash())
        self.watches = Watches()
        self.cache = MemoryCache(self.clock)
        self.peers = Peers(
            self.daemon,
            records=records,
            transfers=self.transfers,
            cache=self.cache,
            watches=self.watches,
            clock=self.clock,
        )
        self.drops = Drops(
            daemon=self.daemon,
            records=records,
            ledgers=self.ledgers,
            transfers=self.transfers,
            watches=self.watches,
            peers=self.peers,
            limiter=Limiter(MemoryCache(self.clock), self.wall),
            metrics=self.metrics,
            blobs=blobs,
            cache=cast(ICache, Watched(self.cache, "cache", self.journal)),
            delivery=StreamDelivery(),
            passwords=self.passwords,
            reaper=self.reaper,
            rules=self.rules,
            clock=self.clock,
            now=self.wall,
            randomness=self._random.randbytes,
            aside=at_once,
        )

    def elapse(self, seconds: float) -> None:
        """Let time pass; what is due meanwhile happens at its time, and not all of it at the end."""
        ends = self.clock.seconds() + seconds
        while (due := min((call.getTime() for call in self.clock.getDelayedCalls()), default=ends)) < ends:
            self.clock.advance(max(0.0, due - self.clock.seconds()))
        self.clock.advance(max(0.0, ends - self.clock.seconds()))

    def killed(self) -> None:
        """Be killed, and be started again up to, but without, recovery."""
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
        self.journal.kill()
        self.stored = self.stored.crash()
        self.journal = Journal()
        self._build()

    def rows(self) -> list[Drop]:
        """Return all drops as the records hold them, gone or not."""
        return result_of(self.kept.page(b"", 1_000_000))

    def clear(self) -> None:
        """Forget all drops and their bytes."""
        cast(MemoryRecords, self.kept)._tables.ledgers.clear()
        self.stored.published.clear()

    def row(self, receipt: Receipt) -> Drop:
        """Return a drop as the records hold it."""
        drop = result_of(self.kept.find(receipt.drop.key))
        if drop is None:
            raise AssertionError("the drop is not there")
        return drop

    def ledger(self, receipt: Receipt) -> Ledger:
        """Return a drop, its claims and its transfers as the records hold them."""
        ledger = result_of(self.kept.ledger(receipt.drop.key))
        if ledger is None:
            raise AssertionError("the drop is not there")
        return ledger

    def claims(self, receipt: Receipt) -> list[Claim]:
        """Return a drop's claims as the records hold them."""
        return list(self.ledger(receipt).claims)

    def touches(self, receipt: Receipt) -> list[str]:
        """Return what a drop's owner is told, without when and where."""
        return [event.touch.value for event in result_of(self.kept.events(receipt.drop.key))]

    @property
    def running(self) -> int:
        """How many transfers the drops believe to be running."""
        return len(self.transfers)

    async def upload(self, data: bytes = b"content", **terms: Any) -> Receipt:
        """Leave a file."""
        async with self.drops.upload() as upload:
            await upload.write(data)
            return await upload.keep("name.txt", "text/plain", Terms(**{"expires": KEPT} | terms))

    async def look(
        self, receipt: Receipt, recipient: Recipient | None = None, *, password: bytes | None = None
    ) -> Visit:
        """Let somebody in, as the API does: whoever ``recipient`` is."""
        recipient = recipient or Recipient()
        who = claims.Recipient(link=receipt.link, token=recipient.token, source=recipient.source)
        return await self.drops.look(who, password)

    async def deliver(
        self, receipt: Receipt, recipient: Recipient, first: int = 0, length: int | None = None
    ) -> Recipient:
        """Hand a file over, or a part of it, as the API does: to whoever ``recipient`` is."""
        if first == 0 and length is None and recipient.token is None:
            who = claims.Recipient(link=receipt.link, token=None, source=recipient.source)
            if await self.drops.deliver_whole(who, recipient, lambda _, claim: recipient.begin(claim)):
                return recipient
        visit = await self.look(receipt, recipient)
        wanted = receipt.drop.size - first if length is None else length
        await self.drops.deliver(visit, first, wanted, recipient, recipient.begin)
        return recipient


def result_of(work: Coroutine[Any, Any, T]) -> T:
    """Return what ``work`` returns, or raise what it raises; it must not wait for anything."""
    outcome: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(outcome.append)
    if not outcome:
        raise AssertionError("it waits")
    if hasattr(outcome[0], "raiseException"):
        outcome[0].raiseException()
    return cast(T, outcome[0])


class CoreTestCase(SynchronousTestCase):
    """A test on a :class:`Core`, in which time stands still unless the test moves it."""

    def setUp(self) -> None:
        self.core = Core()

    def begun(self, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Begin ``work`` and return what it will come to."""
        return Deferred.fromCoroutine(work)

    def done(self, work: Coroutine[Any, Any, T] | Deferred[T]) -> T:
        """Return the result of ``work``, which is there at once."""
        started = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
        return self.successResultOf(started)

    def refused(self, kind: type[Exception], work: Coroutine[Any, Any, Any] | Deferred[Any]) -> Any:
        """Return the error, of ``kind``, that ``work`` ends with at once."""
        started = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
        return self.failureResultOf(started, kind).value
