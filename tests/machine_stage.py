"""The stage of the model test: one daemon, the drops that were left, and those who ask for them."""

from __future__ import annotations

from typing import Any, Final

import attrs
from hypothesis.stateful import RuleBasedStateMachine
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from filedropd.claims import asking
from filedropd.claims.policy import Policy
from filedropd.errors import Gone, Locked, NotFound
from filedropd.tokens import Token
from tests.journal import KilledError
from tests.machine_account import Account
from tests.machine_answer import Answer
from tests.machine_world import CONTENT, Stores, World
from tests.support import result_of

#: Two addresses with two programs each, and two who come from nowhere: tokens are all that they have.
PEOPLE: Final = ("192.0.2.1\ncurl", "192.0.2.1\nwget", "192.0.2.2\ncurl", "192.0.2.2\nwget", None, None)
#: What somebody shows: nothing, the last token that he was given, the one before, the last that anybody was given.
NO_TOKEN, LAST_TOKEN, TOKEN_BEFORE, BORROWED_TOKEN = range(4)


@attrs.define(eq=False)
class Ask:
    """A request, until its answer begins or it is refused."""

    account: Account
    person: int
    answer: Answer
    result: Deferred[Any]
    error: BaseException | None = None

    @property
    def waiting(self) -> bool:
        """Whether it waits for the outcome of something else."""
        return self.answer.claim is None and not self.result.called

    def failed(self, failure: Failure) -> None:
        """Note how it was refused."""
        self.error = failure.value


class Stage(RuleBasedStateMachine):
    """What there is, and how requests are made.

    :cvar stores: makes records.
    :cvar within: look at what is on record, too, and not only at what was promised.
    :cvar passed: how many examples have passed.
    :ivar failed: something broken was found, or nothing has begun.
    :ivar latest: the latest time that the clock on the wall showed before it was put back.
    """

    stores: Stores = Stores()
    within = True
    passed = 0
    failed = True

    policy: Policy
    world: World
    accounts: list[Account]
    asks: list[Ask]
    latest: float

    def begin(self, policy: Policy) -> None:
        """Start the daemon."""
        self.policy = policy
        self.world = self.stores.world(policy)
        self.world.reaper.start()
        self.accounts, self.asks = [], []
        self.latest = self.world.wall()

    # -- drops ------------------------------------------------------------------------------------

    def leave_a_file(self, size: int, downloads: int, expires: float) -> None:
        """Upload a file."""
        receipt = result_of(self.world.upload(CONTENT[size], downloads=downloads, expires=expires))
        self.accounts.append(Account(receipt, CONTENT[size], self.policy, self.world.wall))

    def the_drop(self, which: int) -> Account:
        """Return one: the n-th newest of those that are not over, if there is one; for 0, the oldest of all."""
        going = [account for account in self.accounts if not account.purged] if which else []
        return going[-which % len(going)] if going else self.accounts[0]

    def revoke(self, account: Account) -> None:
        """Take a drop back: whatever runs of it is broken off."""
        try:
            result_of(self.world.drops.revoke(account.receipt.link, account.receipt.owner))
        except (Gone, NotFound):
            return
        account.revoked = True
        assert not any(answer.running for answer in account.answers), "something went on after a drop was taken back"

    def status(self, account: Account) -> None:
        """Ask as its owner does."""
        try:
            standing = result_of(self.world.drops.status(account.receipt.link, account.receipt.owner))
        except NotFound:
            return
        told = [event.touch.value for event in standing.history]
        assert told.count("delivered") >= standing.ledger.drop.delivered
        assert [event.number for event in standing.history] == list(range(1, len(told) + 1))

    # -- requests ---------------------------------------------------------------------------------

    @property
    def running(self) -> list[Answer]:
        """The answers whose outcome is not known."""
        return [ask.answer for ask in self.asks if ask.answer.running]

    @property
    def lingering(self) -> list[Answer]:
        """The answers that settled by quiet alone, and whose connection stands."""
        return [ask.answer for ask in self.asks if ask.answer.lingering]

    def token(self, account: Account, person: int, shown: int) -> Token | None:
        """Return the token that a person shows."""
        begun = [ask for ask in self.asks if ask.account is account and ask.answer.claim is not None]
        if shown != BORROWED_TOKEN:
            begun = [ask for ask in begun if ask.person == person]
        if shown == NO_TOKEN or not begun:
            return None
        return begun[-min(2 if shown == TOKEN_BEFORE else 1, len(begun))].answer.claim

    def recipient(self, account: Account, person: int, shown: int) -> asking.Recipient:
        """Return a person who asks for a drop."""
        return asking.Recipient(
            link=account.receipt.link, token=self.token(account, person, shown), source=PEOPLE[person]
        )

    def ask(
        self,
        account: Account,
        person: int,
        shown: int,
        *,
        first: int = 0,
        end: int | None = None,
        credit: int | None = None,
        auto: bool = False,
    ) -> Answer:
        """Ask for bytes; what becomes of them is left open, unless it is ``auto``."""
        length = (len(account.content) if end is None else end) - first
        answer = Answer(
            self.world.clock,
            account,
            account.content,
            first,
            length,
            source=PEOPLE[person],
            credit=credit,
            auto=auto,
            steady=bool(length % 2),
        )
        who = self.recipient(account, person, shown)
        ask = Ask(account, person, answer, Deferred.fromCoroutine(self._fetch(who, answer)))
        ask.result.addErrback(ask.failed)
        self.asks.append(ask)
        return answer

    async def _fetch(self, who: asking.Recipient, answer: Answer) -> None:
        """Do as the API does for a GET."""
        whole = who.token is None and (answer.first, answer.length) == (0, len(answer._content))
        if whole and await self.world.drops.deliver_whole(who, answer, lambda _, claim: answer.begin(claim)):
            return
        visit = await self.world.drops.look(who, None)
        await self.world.drops.deliver(visit, answer.first, answer.length, answer, answer.begin)

    def post(self, account: Account, person: int, shown: int) -> None:
        """Claim, without asking for bytes."""
        who = self.recipient(account, person, shown)
        claimed = Deferred.fromCoroutine(self._post(account, who))
        claimed.addErrback(lambda failure: failure.trap(Gone, Locked, NotFound, KilledError))

    async def _post(self, account: Account, who: asking.Recipient) -> None:
        visit = await self.world.drops.look(who, None)
        account.claimed(await self.world.drops.claim(visit), who.source)

    async def head(self, who: asking.Recipient) -> None:
        """Do as the API does for a HEAD."""
        visit = await self.world.drops.look(who, None)
        await self.world.drops.peek(visit, 0, visit.drop.size)
