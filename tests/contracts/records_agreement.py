"""Whatever is done in whatever order: every :class:`filedropd.interfaces.IRecords` does the same as one in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import blockingCallFromThread, deferToThread

from filedropd.claims.asking import Progress, Recipient, Wish, ask, reserve
from filedropd.claims.elapsing import recovered, revoked
from filedropd.claims.ending import confirm, end
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import STRIDE, Policy
from filedropd.interfaces import IRecords
from filedropd.ledgers import Ledgers, TimedRule
from filedropd.model import Outcome, Touch, Transfer
from filedropd.testing import MemoryRecords
from filedropd.tokens import claim_token
from tests.contracts.records_base import EXPIRY, LINK, NOW, RecordsBase, a_drop, key_of

DROPS = 2

#: A rule, and a name for what comes of it: ids are random, and never given twice.
NamedRule = Callable[[Ledger, float, Policy, str], tuple[Ledger, object]]

#: Something done to records, with a name of its own, and what comes of it.
Deed = Callable[[IRecords, str], Awaitable[object]]

# Most of it happens at once, some when windows are over, and little when the drops are; a clock may be put back.
_times = st.sampled_from([NOW] * 6 + [NOW + 3, NOW + 10, NOW + 70, NOW + 140, EXPIRY])
_numbers = st.integers(0, DROPS - 1)
_quarters = st.sampled_from([4, 4, 4, 2, 1, 0])


# -- deeds -----------------------------------------------------------------------------------------


@attrs.frozen
class Changing:
    """A drop is changed as the daemon changes it."""

    number: int
    now: float
    rule: NamedRule
    strict: bool = False

    async def __call__(self, records: IRecords, name: str) -> object:
        ledgers = Ledgers(records, Policy(window=60.0, max_attempts=1 if self.strict else 2), lambda: self.now)
        named: TimedRule[object] = lambda ledger, now, policy: self.rule(ledger, now, policy, name)  # noqa: E731 - of this type
        return await ledgers.change(key_of(self.number), named)


@attrs.frozen
class Recovering:
    """The daemon starts after a crash."""

    now: float

    async def __call__(self, records: IRecords, name: str) -> list[bytes]:
        interrupted = await records.interrupted()
        for key in interrupted:
            await Ledgers(records, Policy(), lambda: self.now).change(key, lambda *ledger: (recovered(*ledger), None))
        return interrupted


@attrs.frozen
class Reaping:
    """What is due, and finished, is deleted, or cannot be; what was deleted before is forgotten."""

    now: float
    deleted: bool

    async def __call__(self, records: IRecords, name: str) -> list[bytes]:
        due = sorted(await records.take_due(self.now, 3, self.now + 1), key=lambda drop: drop.key)
        for drop in due:
            await records.forget(drop.key)
            if drop.finished:
                await (records.purged if self.deleted else records.purge_failed)(drop.key, self.now)
        return [drop.key for drop in due]


# -- rules, on whatever is there -------------------------------------------------------------------


def _progress(ledger: Ledger, quarters: int) -> dict[str, Progress]:
    """Return how far the transfers are that run: so many quarters of what they may have sent are acknowledged."""
    running = [transfer for transfer in ledger.transfers if not transfer.settled]
    return {
        transfer.id: Progress(transfer.reserved * quarters // 4, settling=transfer.reserved == transfer.length)
        for transfer in running
    }


def _running(ledger: Ledger, which: int) -> Transfer | None:
    running = [transfer for transfer in ledger.transfers if not transfer.settled]
    return running[which % len(running)] if running else None


@attrs.frozen
class Asking:
    """Somebody asks for some quarters of the file, with or without the token of a claim that is there."""

    who: str | None
    shown: int | None
    first: int
    quarters: int
    acknowledged: int

    def __call__(self, ledger: Ledger, now: float, policy: Policy, name: str) -> tuple[Ledger, object]:
        claims, extent = ledger.claims, ledger.drop.extent
        shown = claims[self.shown % len(claims)] if claims and self.shown is not None else None
        first = min(extent * self.first // 4, extent - 1)
        wish = Wish(
            recipient=Recipient(
                link=LINK, token=None if shown is None else claim_token(LINK, shown.id), source=self.who
            ),
            claim=f"c{name}",
            transfer=f"t{name}" if self.quarters else None,
            first=first if self.quarters else 0,
            length=max(1, min(extent * self.quarters // 4, extent - first)),
        )
        return ask(ledger, wish, _progress(ledger, self.acknowledged), now, policy)


@attrs.frozen
class Reserving:
    """A transfer reserves its next stride."""

    which: int
    acknowledged: int

    def __call__(self, ledger: Ledger, now: float, policy: Policy, name: str) -> tuple[Ledger, object]:
        transfer = _running(ledger, self.which)
        if transfer is None:
            return ledger, None
        return reserve(ledger, transfer.id, _progress(ledger, self.acknowledged))


@attrs.frozen
class Ending:
    """A transfer ends after some quarters of what is reserved: it arrived where that is all, or it broke off."""

    which: int
    sent: int
    acknowledged: int
    quiet: bool

    def __call__(self, ledger: Ledger, now: float, policy: Policy, name: str) -> tuple[Ledger, object]:
        transfer = _running(ledger, self.which)
        if transfer is None:
            return ledger, None
        sent = transfer.reserved * self.sent // 4
        acknowledged = sent * self.acknowledged // 4
        complete = acknowledged == transfer.length
        outcome = Outcome(
            acknowledged=acknowledged, sent=sent, begun=sent > 0, complete=complete, quiet=complete and self.quiet
        )
        return end(ledger, transfer.id, outcome, now, policy), None


@attrs.frozen
class Confirming:
    """The connection ends of a transfer that settled by quiet alone."""

    kept: bool

    def __call__(self, ledger: Ledger, now: float, policy: Policy, name: str) -> tuple[Ledger, object]:
        settled = next((transfer for transfer in ledger.transfers if transfer.settled), None)
        return ledger if settled is None else confirm(ledger, settled.id, now, policy, kept=self.kept), None


def _revoking(ledger: Ledger, now: float, policy: Policy, name: str) -> tuple[Ledger, object]:
    return ledger if ledger.drop.finished else revoked(ledger, now), None


def _looking(ledger: Ledger, now: float, policy: Policy, name: str) -> tuple[Ledger, object]:
    return (ledger if ledger.drop.finished else attrs.evolve(ledger)), ledger


def _noting(ledger: Ledger, now: float, policy: Policy, name: str) -> tuple[Ledger, object]:
    return ledger.noted(Touch.PREVIEWED, now, who="Slackbot"), None


# -- what is tried ---------------------------------------------------------------------------------


_askings = st.builds(
    Asking,
    st.sampled_from(["192.0.2.1\ncurl", "192.0.2.2\ncurl", None]),
    st.none() | st.integers(0, 3),
    st.sampled_from([0, 0, 0, 2, 3]),
    _quarters,
    _quarters,
)
_which = st.integers(0, 3)
_rules: st.SearchStrategy[NamedRule] = st.one_of(
    st.builds(Reserving, _which, _quarters),
    st.builds(Ending, _which, _quarters, _quarters, st.booleans()),
    st.builds(Ending, _which, st.just(4), st.just(4), st.booleans()),
    st.builds(Confirming, st.booleans()),
    st.sampled_from([_revoking, _looking, _looking, _noting]),
)

_deeds: st.SearchStrategy[list[Deed]] = st.lists(
    st.one_of(
        st.builds(Changing, _numbers, _times, _askings, st.booleans()),
        st.builds(Changing, _numbers, _times, _rules),
        st.builds(Changing, _numbers, _times, _rules),
        st.builds(Recovering, _times),
        st.builds(Reaping, _times, st.booleans()),
    ),
    min_size=10,
    max_size=40,
)

_drops = st.tuples(
    *(
        st.builds(
            lambda size, downloads, expires_at, number=number: attrs.evolve(
                a_drop(number, size=size, downloads=downloads), expires_at=expires_at, due_at=expires_at
            ),
            st.sampled_from([0, 1, 4, 1000, 4 * STRIDE, 40 * STRIDE + 1]),
            st.integers(1, 3),
            st.sampled_from([EXPIRY, EXPIRY, NOW + 100]),
        )
        for number in range(DROPS)
    )
)


async def everything(records: IRecords) -> list[object]:
    """Return all that can be known."""
    known: list[object] = [await records.next_due(), await records.page(b"", 99), await records.interrupted()]
    for number in range(DROPS):
        key = key_of(number)
        known += [await records.find(key), await records.ledger(key), await records.events(key)]
        known.append(await records.has_blob(a_drop(number).blob))
    return known


class AgreementContract(RecordsBase):
    """It does what :class:`filedropd.testing.MemoryRecords` does."""

    #: How many sequences are tried.
    examples = 100

    async def test_agreement(self):
        """After any sequence of what the daemon does, both gave the same answers and know the same."""

        @settings(
            max_examples=self.examples,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(_drops, _deeds)
        def agree(drops, deeds):
            blockingCallFromThread(
                cast(IReactorFromThreads, reactor), lambda: Deferred.fromCoroutine(self.agree(drops, deeds))
            )

        await deferToThread(agree)

    # Where they do not agree, the shortest sequence is looked for; that takes up to five minutes.
    test_agreement.timeout = 600  # type: ignore[attr-defined]  # trial looks for it there

    async def agree(self, drops, deeds):
        """Do the same to one of each. No rule may meet what it takes for a bug."""
        memory, records = MemoryRecords(), await self.make()
        await memory.open()
        await records.open()
        try:
            for drop in drops:
                await memory.insert(drop)
                await records.insert(drop)
            for number, deed in enumerate(deeds):
                self.assertEqual(await deed(memory, f"{number}"), await deed(records, f"{number}"), deed)
            self.assertEqual(await everything(memory), await everything(records))
        finally:
            await records.close()
