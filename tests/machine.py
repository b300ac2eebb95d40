"""The model test's machine: what clients, owners, clocks and crashes may do, in any order, and that nothing breaks by it."""

from __future__ import annotations

import contextlib
from typing import Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test
from twisted.internet.defer import CancelledError

from filedropd.claims.policy import Policy
from filedropd.errors import Gone, Locked, NotFound
from filedropd.model import DropState
from filedropd.reaper import LONGEST_RETRY, LONGEST_SLEEP
from tests.journal import KilledError
from tests.machine_account import Account
from tests.machine_answer import LAST, Answer
from tests.machine_promises import Promises, Written
from tests.machine_stage import BORROWED_TOKEN, LAST_TOKEN, NO_TOKEN, PEOPLE, TOKEN_BEFORE, Stage
from tests.machine_world import DAY, LONG, SIZES, Stores
from tests.support import Faults, result_of

#: How a request may end: answered, refused, left by its client, cut off by a crash.
_WORDS: Final = (type(None), Gone, Locked, NotFound, CancelledError, KilledError)

#: See :meth:`Stage.the_drop`.
_which = st.sampled_from((1, 1, 1, 1, 2, 0))
_person = st.integers(0, len(PEOPLE) - 1)
_shown = st.sampled_from((NO_TOKEN, LAST_TOKEN, TOKEN_BEFORE, BORROWED_TOKEN))
_any = st.integers(0, 3)
_size = st.sampled_from(SIZES)
_downloads = st.sampled_from((1, 1, 2, 3))
#: Where in a file something begins or ends: its edges, a probe's, a stride's, its middle.
_place = st.sampled_from((0.0, 0.0, 0.04, 0.3, 0.34, 0.5, 0.6, 0.9, 1.0))
_part = st.sampled_from((0.0, 0.0, 0.1, 0.4, 0.7, 1.0, 1.0))
_credit = st.sampled_from((0, 1, 2, LAST, LAST, None))


class Machine(Stage):
    """Everything that may happen."""

    @initialize(
        strict=st.sampled_from((False, False, False, True)),
        size=_size,
        downloads=_downloads,
        expires=st.sampled_from((1500.0, DAY, DAY, 20 * DAY)),
    )
    def start(self, strict, size, downloads, expires):
        self.begin(Policy(max_attempts=1 if strict else 3))
        self.leave_a_file(size, downloads, expires)

    # -- senders ----------------------------------------------------------------------------------

    @precondition(lambda self: sum(not account.purged for account in self.accounts) < 2)
    @rule(size=_size, downloads=_downloads, expires=st.sampled_from((60.0, 1500.0, DAY, DAY)))
    def upload(self, size, downloads, expires):
        self.leave_a_file(size, downloads, expires)

    @rule(which=_which, what=st.sampled_from(("look", "look", "take back")), sure=_any)
    def owner(self, which, what, sure):
        if what == "look":
            self.status(self.the_drop(which))
        elif not sure:
            self.revoke(self.the_drop(which))

    # -- recipients ask ---------------------------------------------------------------------------

    @rule(which=_which, person=_person, shown=_shown, settles=st.booleans())
    def fetch_all(self, which, person, shown, settles):
        """Read all, and then close, or throw away what was not looked at."""
        answer = self.ask(self.the_drop(which), person, shown, auto=settles)
        if answer.running:
            answer.leave(sent=answer.written)

    @rule(which=_which, person=_person, shown=_shown, credit=_credit)
    def begin_to_fetch(self, which, person, shown, credit):
        self.ask(self.the_drop(which), person, shown, credit=credit)

    @rule(which=_which, person=_person, shown=_shown, places=st.tuples(_place, _place), credit=_credit)
    def fetch_part(self, which, person, shown, places, credit):
        account = self.the_drop(which)
        size = len(account.content)
        first = min(int(size * min(places)), max(0, size - 1))
        end = max(int(size * max(places)), min(first + 1, size))
        self.ask(account, person, shown, first=first, end=end, credit=credit, auto=credit is None)

    @rule(which=_which, person=_person, shown=_shown, credit=_credit, others=st.booleans())
    def go_on(self, which, person, shown, credit, others):
        """Ask for what is not there yet, as ``curl -C -`` does; or for what others have not."""
        account = self.the_drop(which)
        parts = [ask.answer for ask in self.asks if ask.account is account and (others or ask.person == person)]
        have = max((answer.first + answer.written for answer in parts), default=0)
        if have < len(account.content):
            self.ask(account, person, shown, first=have, credit=credit, auto=credit is None)

    @rule(which=_which, people=st.lists(_person, min_size=2, max_size=4), shown=_shown, auto=st.booleans())
    def all_at_once(self, which, people, shown, auto):
        account = self.the_drop(which)
        for person in people:
            self.ask(account, person, shown, credit=0, auto=auto)

    @rule(which=_which, turns=st.lists(st.tuples(_person, _place), min_size=2, max_size=3))
    def take_turns(self, which, turns):
        """One after the other, each for what the others have not, and each leaves it then."""
        account = self.the_drop(which)
        for person, place in turns:
            have = max(
                (ask.answer.first + ask.answer.written for ask in self.asks if ask.account is account), default=0
            )
            end = max(int(len(account.content) * place), have + 1)
            if end <= len(account.content):
                answer = self.ask(account, person, NO_TOKEN, first=have, end=end)
                answer.leave(sent=answer.written)
                self.world.pass_by(self.policy.window + 1.0)

    @rule(which=_which, person=_person, shown=_shown)
    def press_the_button(self, which, person, shown):
        self.post(self.the_drop(which), person, shown)

    @rule(which=_which, person=_person, shown=_shown)
    def look_only(self, which, person, shown):
        """HEAD changes nothing."""
        account = self.the_drop(which)
        before = result_of(self.world.kept.ledger(account.receipt.drop.key))
        with contextlib.suppress(Gone, Locked, NotFound):
            result_of(self.head(self.recipient(account, person, shown)))
        assert before == result_of(self.world.kept.ledger(account.receipt.drop.key)), "HEAD has changed something"

    # -- what becomes of it -----------------------------------------------------------------------

    @precondition(lambda self: self.running)
    @rule(index=_any, pieces=st.sampled_from((1, 2, None)), acknowledged=_part)
    def take(self, index, pieces, acknowledged):
        answer = self.running[-1 - index % len(self.running)]
        answer.take(pieces)
        answer.acknowledge(int(answer.written * acknowledged))

    @precondition(lambda self: self.running)
    @rule(index=_any, how=st.sampled_from(("close", "quiet", "quiet and close", "quiet and reset")))
    def settle(self, index, how):
        answer = self.running[-1 - index % len(self.running)]
        answer.take(None)
        if how == "close":
            answer.close()
            return
        answer.be_quiet()
        if how != "quiet":
            answer.end_after_all(kept=how == "quiet and close")

    @precondition(lambda self: self.running)
    @rule(index=_any, all_taken=st.booleans(), parts=st.tuples(_part, _part), fin=st.booleans(), begun=st.booleans())
    def leave(self, index, all_taken, parts, fin, begun):
        """Break off: some of what was written had been acknowledged, and some more had left."""
        answer = self.running[-1 - index % len(self.running)]
        if all_taken:
            answer.take(None)
        acknowledged, sent = (int(answer.written * part) for part in parts)
        answer.acknowledge(acknowledged)
        answer.leave(sent=max(answer.acked, sent), acknowledged=answer.acked if fin else 0, begun=begun)

    @precondition(lambda self: self.lingering)
    @rule(index=_any, kept=st.booleans())
    def end_after_all(self, index, kept):
        self.lingering[index % len(self.lingering)].end_after_all(kept=kept)

    @precondition(lambda self: any(ask.waiting for ask in self.asks))
    @rule(index=_any)
    def leave_while_waiting(self, index):
        waiting = [ask for ask in self.asks if ask.waiting]
        ask = waiting[index % len(waiting)]
        ask.answer.leave(sent=0)
        ask.result.cancel()

    # -- time, and what breaks --------------------------------------------------------------------

    @rule(seconds=st.sampled_from((0.5, 1.6, 5.1, 5.1, 61.0, 61.0, 400.0, DAY)))
    def time_passes(self, seconds):
        self.world.pass_by(seconds)

    @rule(all_leave=st.booleans())
    def window_passes(self, all_leave):
        for answer in self.running if all_leave else []:
            answer.leave(sent=answer.written)
        self.world.pass_by(self.policy.window + 1.0)

    @rule(seconds=st.sampled_from((-500.0, 500.0)))
    def wall_is_set(self, seconds):
        self.latest = max(self.latest, self.world.wall())
        self.world.wall.jump(seconds)

    @rule()
    def deletion_fails(self):
        self.world.stored.fail_next("delete", OSError(16, "busy"))

    @rule(
        moment=st.sampled_from((None, None, "before records.change", "after records.change")),
        which=_which,
        person=_person,
        close=st.booleans(),
    )
    def killed(self, moment, which, person, close):
        """Be killed: between two steps, or in the midst of one."""
        account = self.the_drop(which)
        cut = None if moment is None else self.cut(moment, account, person, close=close)
        for ask in self.asks:
            if ask.waiting:
                ask.answer.die()
        self.world.killed()
        result_of(self.world.reaper.recover())
        for each in self.accounts:
            each.killed(cut if each is account else None)
        self.world.reaper.start()

    def cut(self, moment: str, account: Account, person: int, *, close: bool) -> Answer:
        """Begin something that is held at ``moment``, and return the answer that it concerns."""
        self.world.journal.hold(moment)
        running = [answer for answer in account.answers if answer.running]
        if not running:
            return self.ask(account, person, NO_TOKEN)
        answer = running[0]
        answer.take(None)
        if close:
            answer.close()
        else:
            answer.leave(sent=answer.written)
        return answer

    # -- what holds all the time ------------------------------------------------------------------

    @invariant()
    def promised(self):
        self.failed = True
        for account in self.accounts:
            if not account.purged:
                self.look_at(account)
            else:
                assert not any(answer.running for answer in account.answers), "bytes go out that are deleted"
        assert not self.world.stored.incoming and not self.world.stored.left
        for ask in self.asks:
            assert isinstance(ask.error, _WORDS), repr(ask.error)
        self.failed = False

    def look_at(self, account: Account) -> None:
        """Look at all that must hold of a drop."""
        account.tick()
        ledger = result_of(self.world.kept.ledger(account.receipt.drop.key))
        if ledger is not None and self.within:
            Written(account, ledger).check()
        Promises(self.world, account, ledger).check()
        account.purged = ledger is None or ledger.drop.state is DropState.PURGED

    def teardown(self):
        """Let all leave: then nobody is locked out, in the end nothing is left, and stopping does not hang."""
        if self.failed:
            return
        self.world.stored.faults = Faults()
        for answer in self.running:
            answer.leave(sent=answer.written)
        self.world.wall.jump(max(0.0, self.latest - self.world.wall()))
        self.world.pass_by(self.policy.window + LONGEST_SLEEP)
        self.promised()
        last = max(account.last for account in self.accounts)
        self.world.pass_by(max(LONG, last - self.world.wall()) + LONGEST_SLEEP)
        self.world.pass_by(LONGEST_RETRY + LONGEST_SLEEP)
        self.promised()
        assert not any(account.receipt.drop.blob in self.world.stored.published for account in self.accounts)
        assert self.world.running == self.world.stored.open_blobs == 0
        result_of(self.world.drops.stop())
        result_of(self.world.reaper.stop())
        self.stores.gone(self.world)
        type(self).passed += 1


def machine(stores: Stores, *, within: bool = True) -> type[Machine]:
    """Return a machine whose worlds come from ``stores``."""
    return type("DropsMachine", (Machine,), {"stores": stores, "within": within})


def ran(machine: type[Machine], *, examples: int, steps: int, seed: int, shrink: bool = True) -> None:
    """Run a machine; raises where something that was promised breaks.

    The same numbers are the same run.
    """
    seeded(seed)(machine)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
