"""What the parts of the suite for :class:`filedropd.interfaces.IRecords` share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from filedropd.claims.asking import Recipient, Verdict, Wish, ask
from filedropd.claims.ending import end
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import Policy
from filedropd.interfaces import IRecords, Rule
from filedropd.ledgers import Ledgers, TimedRule
from filedropd.model import Claim, Drop, Outcome, Reason, Transfer
from filedropd.tokens import Token

if TYPE_CHECKING:
    _Base = TestCase
else:
    _Base = object

T = TypeVar("T")

#: The time at which everything here happens, unless it says otherwise.
NOW = 1_000_000.0

#: When the drops here expire.
EXPIRY = NOW + 1000

#: Bytes of the files here.
SIZE = 100

#: The numbers of the rules here.
POLICY = Policy(window=600, max_attempts=3)

#: The link that everybody here has.
LINK = Token("0123456789abcdef" * 2)


# -- values ----------------------------------------------------------------------------------------


def key_of(number: int) -> bytes:
    """Return the key of the drop of that number; a greater number has a greater key."""
    return number.to_bytes(32, "big")


def a_drop(number: int = 1, *, size: int = SIZE, downloads: int = 1, due_at: float = EXPIRY) -> Drop:
    """Return a new drop, the same for the same number."""
    return Drop(
        key=key_of(number),
        owner_key=bytes(reversed(key_of(number))),
        blob=f"{number:032x}",
        name="Jahresbericht – 年報.pdf",
        content_type="application/pdf",
        size=size,
        downloads=downloads,
        created_at=NOW,
        expires_at=EXPIRY,
        due_at=due_at,
    )


def a_claim(id: str = "c1", *, on: int = 1, number: int = 1) -> Claim:  # noqa: A002 - its name
    """Return a new claim, the so-manieth on the drop of the number ``on``."""
    return Claim(id=id, drop=key_of(on), number=number, opened_at=NOW, until=NOW + 5)


def a_transfer(id: str = "t1", claim: str = "c1") -> Transfer:  # noqa: A002 - its name
    """Return a transfer of a whole file, of which half may have been sent."""
    return Transfer(id=id, claim=claim, first=0, length=SIZE, reserved=SIZE // 2)


def a_wish(name: str = "1", first: int = 0, length: int = SIZE, *, source: str | None = None) -> Wish:
    """Return what somebody asks for; the claim and the transfer that he gets are ``c<name>`` and ``t<name>``.

    :param source: address and program; somebody new where it is not given.
    """
    recipient = Recipient(link=LINK, source=f"192.0.2.1\n{name}" if source is None else source)
    return Wish(recipient=recipient, claim=f"c{name}", transfer=f"t{name}", first=first, length=length)


def arrived(length: int = SIZE) -> Outcome:
    """Return the outcome of an answer of ``length`` bytes that arrived."""
    return Outcome(acknowledged=length, sent=length, complete=True)


def broken(sent: int, acknowledged: int = 0) -> Outcome:
    """Return the outcome of an answer that broke off after so many bytes."""
    return Outcome(acknowledged=acknowledged, sent=sent, complete=False)


# -- rules -----------------------------------------------------------------------------------------


def asking(wish: Wish) -> Rule[Verdict]:
    """Return the rule that answers ``wish``."""
    return lambda ledger: ask(ledger, wish, {}, NOW, POLICY)


def doing(step: Callable[[Ledger], Ledger]) -> Rule[None]:
    """Return the rule that does ``step``, and has no result."""
    return lambda ledger: (step(ledger), None)


def ending(name: str, outcome: Outcome) -> Rule[None]:
    """Return the rule that ends the transfer of that name."""
    return doing(lambda ledger: end(ledger, name, outcome, NOW, POLICY))


def putting(*claims: Claim) -> Rule[None]:
    """Return the rule that makes ``claims`` the drop's, in the place of those with their ids."""

    def put(ledger: Ledger) -> Ledger:
        for claim in claims:
            ledger = ledger.with_claim(claim)
        return ledger

    return doing(put)


async def does(records: IRecords, rule: TimedRule[T], *, number: int = 1, now: float = NOW) -> T | None:
    """Change the drop of that number as the daemon does."""
    return await Ledgers(records, POLICY, lambda: now).change(key_of(number), rule)


async def together(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Run all of ``work`` at once and return the results in the same order."""
    return await gatherResults([Deferred.fromCoroutine(each) for each in work], consumeErrors=True)


# -- the suite -------------------------------------------------------------------------------------


class RecordsBase(_Base):
    """Says what an implementation must supply, and opens and closes what is made."""

    async def make(self) -> IRecords:
        """Return new, empty records that are not open yet."""
        raise NotImplementedError

    async def reborn(self, records: IRecords) -> IRecords:
        """Return what the next start of the daemon would make of closed ``records``; not open yet."""
        raise NotImplementedError

    async def opened(self) -> IRecords:
        """Return new, empty, open records, which are closed after the test."""
        return await self.open(await self.make())

    async def open(self, records: IRecords) -> IRecords:
        """Open ``records``, and close them after the test."""
        self.addCleanup(lambda: Deferred.fromCoroutine(records.close()))
        await records.open()
        return records

    async def restarted(self, records: IRecords) -> IRecords:
        """Close ``records`` and return, open, what the next start makes of them."""
        await records.close()
        return await self.open(await self.reborn(records))

    async def holding(self, *drops: Drop) -> IRecords:
        """Return open records that hold ``drops``."""
        records = await self.opened()
        for drop in drops:
            await records.insert(drop)
        return records

    async def found(self, records: IRecords, number: int = 1) -> Drop:
        """Return a drop that must be there."""
        drop = await records.find(key_of(number))
        assert drop is not None
        return drop

    async def ledger(self, records: IRecords, number: int = 1) -> Ledger:
        """Return the ledger of a drop that must be there."""
        ledger = await records.ledger(key_of(number))
        assert ledger is not None
        return ledger

    async def gone(
        self, records: IRecords, number: int = 1, *, reason: Reason = Reason.EXPIRED, now: float = NOW
    ) -> Drop:
        """End a drop and return it."""
        await does(records, lambda ledger, now, _: (ledger.ended(reason, now), None), number=number, now=now)
        return await self.found(records, number)
