"""What a drop's recipients really have, and what must therefore hold: the reference of the model test.

It is kept from what was sent and what became of it, and never asks the records.  Where it cannot know (what a
crash took, or did not), it keeps a lower and an upper bound.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import attrs

from filedropd import spans
from filedropd.claims.policy import PROBE, PROBE_WINDOW, STRIDE, STRIDES, Policy, stride
from filedropd.http.settling import AFTERMATH
from filedropd.spans import Spans
from filedropd.tokens import Token
from filedropd.upload import Receipt
from tests.machine_answer import Answer

#: Before all times.
NEVER = float("-inf")


@attrs.define(eq=False)
class Copy:
    """One claim, as its recipient knows it: by its token.

    :ivar source: who opened it.
    :ivar surely: the bytes that were handed out for certain, in answers that have ended.
    :ivar maybe: those that may have been.
    :ivar opens: until then its recipient can come back for certain.
    :ivar ends: from then on it is over for certain, unless an answer of it runs.
    :ivar closed: the first of these two times has come since it was set.
    :ivar over: it is past the second; before a clock that is put back it is not, unless that was written down.
    :ivar covered: an answer settled, all was handed out, and others ran.
    :ivar counted: it was completed.
    :ivar settled: the last that happened to it was that an answer settled.
    :ivar cut: a crash came between an outcome and its record.
    """

    name: str
    source: str | None
    extent: int
    policy: Policy
    answers: list[Answer] = attrs.field(factory=list)
    surely: Spans = spans.NONE
    maybe: Spans = spans.NONE
    opens: float = NEVER
    ends: float = NEVER
    closed: bool = False
    over: bool = False
    covered: bool = False
    counted: bool = False
    settled: bool = False
    cut: bool = False

    # -- what there is ----------------------------------------------------------------------------

    @property
    def whole(self) -> Spans:
        """All bytes of the file."""
        return spans.of(0, self.extent)

    @property
    def running(self) -> list[Answer]:
        """Its answers whose outcome is not known."""
        return [answer for answer in self.answers if answer.running]

    @property
    def lingering(self) -> list[Answer]:
        """Its answers that settled by quiet alone, and whose connection stands."""
        return [answer for answer in self.answers if answer.lingering]

    @property
    def left(self) -> Spans:
        """The bytes that its recipient may have read."""
        return spans.union(*(answer.left for answer in self.answers))

    @property
    def kept(self) -> Spans:
        """The bytes that its recipient has for certain."""
        return spans.union(*(answer.kept for answer in self.answers))

    @property
    def handed(self) -> Spans:
        """The bytes that may count as handed out, now or when what runs ends."""
        return spans.union(self.maybe, *(self.reserved(answer)[1] for answer in self.running))

    @property
    def complete(self) -> bool:
        """Whether its recipient has all of it for certain, and that is all there is to say."""
        return self.counted and self.settled and not self.cut and not self.running and not self.lingering

    @property
    def held(self) -> bool:
        """Whether it may hold a copy now."""
        return bool(self.running) or not self.over or self.maybe == self.whole

    @property
    def nothing(self) -> bool:
        """Whether it handed out nothing, and is as if it had never been."""
        return not self.running and self.maybe == spans.NONE

    def reserved(self, answer: Answer) -> tuple[Spans, Spans]:
        """Return what of an answer is reserved: at least, and at most."""
        length = spans.size(answer.asked)
        least = max(answer.written, stride(self.extent, length))
        most = min(length, max(least, answer.written + max(STRIDE, -(-self.extent // STRIDES))))
        return spans.of(answer.first, answer.first + least), spans.of(answer.first, answer.first + most)

    # -- what happens -----------------------------------------------------------------------------

    def kept_until(self, opens: float, ends: float) -> None:
        """Set the bounds of its window."""
        self.opens, self.ends = opens, ends
        self.closed = self.over = False

    def _window(self, handed: Spans) -> float:
        size = spans.size(handed)
        return PROBE_WINDOW if size < PROBE and size * STRIDES < self.extent else self.policy.window

    def tick(self, now: float, last: float) -> None:
        """Note the time; ``last`` is when all ends."""
        self.closed = self.closed or min(self.opens, last) <= now
        self.over = min(self.ends, last) <= now

    def ended(self, answer: Answer, now: float) -> None:
        """Note the outcome of an answer."""
        surely_new, maybe_new = spans.less(answer.left, self.maybe), spans.less(answer.left, self.surely)
        self.surely = spans.union(self.surely, answer.left)
        self.maybe = spans.union(self.maybe, answer.left)
        # Whoever may have all keeps nobody out, and has his time anew in any case.
        if surely_new or self.surely == self.whole:
            self.kept_until(now + self._window(self.surely), now + self._window(self.maybe))
        elif maybe_new or self.maybe == self.whole:
            self.kept_until(NEVER, now + self._window(self.maybe))
        self._conclude(now, settled=answer.settlement is not None and answer.settlement.complete)

    def _conclude(self, now: float, *, settled: bool) -> None:
        self.settled = settled
        if self.running:
            self.covered = self.covered or (settled and self.surely == self.whole)
        elif not self.counted and (self.covered or (settled and self.maybe == self.whole)):
            lingering = spans.union(*(answer.asked for answer in self.lingering))
            self.counted = self.covered or self.surely == self.whole
            if lingering and spans.union(self.kept, lingering) == self.whole:
                until = now + AFTERMATH
                self.kept_until(until if self.counted else NEVER, until if self.counted else max(self.ends, until))

    def ended_after_all(self, now: float, *, kept: bool) -> None:
        """Note the end of a connection that had settled by quiet alone."""
        self.settled = kept and not self.running
        if not kept:
            renewed = now + self.policy.window
            self.kept_until(renewed if self.counted and not self.closed else NEVER, max(renewed, self.ends))

    def killed(self, answers: Iterable[Answer], now: float, *, certain: bool) -> None:
        """Note that the daemon was killed while these answers ran, or lingered, and is back.

        :param certain: it is certain that this was all the records had.
        """
        certain = certain and (bool(self.running) or not self.closed)
        for answer in answers:
            if answer.lingering:
                continue
            least, most = self.reserved(answer)
            self.surely = spans.union(self.surely, least if certain else spans.NONE)
            self.maybe = spans.union(self.maybe, most)
        self.counted = self.counted or self.covered
        self.settled = False
        self.cut = self.cut or not certain
        self.kept_until(now + self._window(self.surely) if certain else NEVER, now + self._window(self.maybe))


@attrs.define(eq=False)
class Account:
    """One drop, all who have or had a claim on it, and what has become of it.

    :ivar revoked: its owner took it back.
    :ivar expired: its time has come.
    :ivar purged: it is over, and that was looked at.
    """

    receipt: Receipt
    content: bytes
    policy: Policy
    now: Callable[[], float]
    copies: dict[str, Copy] = attrs.field(factory=dict)
    answers: list[Answer] = attrs.field(factory=list)
    revoked: bool = False
    expired: bool = False
    purged: bool = False
    _numbers: itertools.count[int] = attrs.field(factory=itertools.count)

    @property
    def extent(self) -> int:
        """Bytes to hand over."""
        return self.receipt.drop.extent

    @property
    def whole(self) -> Spans:
        """All of them."""
        return self.receipt.drop.whole

    @property
    def last(self) -> float:
        """When all claims end (rule E)."""
        return self.receipt.drop.expires_at + self.policy.window

    # -- what is told -----------------------------------------------------------------------------

    def begun(self, answer: Answer, claim: Token) -> None:
        """See Told."""
        self.answers.append(answer)
        self.claimed(claim, answer.source).answers.append(answer)

    def claimed(self, claim: Token, source: str | None) -> Copy:
        """Return the copy whose claim has this token, now shown to somebody from ``source``."""
        copy = self.copies.get(claim.text)
        if copy is None:
            copy = self._opened(claim.text, source)
        return copy

    def _opened(self, name: str, source: str | None) -> Copy:
        copy = Copy(name, source, self.extent, self.policy)
        copy.kept_until(NEVER, self.now() + PROBE_WINDOW)
        self.copies[name] = copy
        return copy

    def ended(self, answer: Answer) -> None:
        """See Told."""
        if answer.claim is not None:
            copy = self.copies[answer.claim.text]
            self._end_of_all(copy, [answer])
            copy.ended(answer, self.now())
            if copy.nothing:
                del self.copies[copy.name]

    def ended_after_all(self, answer: Answer, *, kept: bool) -> None:
        """See Told."""
        if answer.claim is not None:
            self.copies[answer.claim.text].ended_after_all(self.now(), kept=kept)

    def tick(self) -> None:
        """Note the time."""
        now = self.now()
        self.expired = self.expired or self.receipt.drop.expires_at <= now
        for copy in self.copies.values():
            self._end_of_all(copy, copy.running)
            copy.tick(now, self.last)

    def _end_of_all(self, copy: Copy, running: list[Answer]) -> None:
        """Rule E: what runs when all claims end is taken for handed out as far as it is reserved."""
        if self.last <= self.now():
            copy.maybe = spans.union(copy.maybe, *(copy.reserved(answer)[1] for answer in running))

    def killed(self, cut: Answer | None) -> None:
        """Note that the daemon was killed, and is back.

        :param cut: one that had just begun or ended, and it is not known whether the records knew.
        """
        now = self.now()
        for copy in list(self.copies.values()):
            hit = [answer for answer in copy.answers if (answer.running or answer.lingering) and answer is not cut]
            if hit:
                copy.killed(hit, now, certain=True)
        if cut is not None:
            for copy in self._perhaps(cut):
                copy.killed([cut], now, certain=False)
        for answer in self.answers:
            answer.die()

    def _perhaps(self, cut: Answer) -> list[Copy]:
        """Return the copies that an answer may have been given under, by what the records know."""
        if cut.claim is not None:
            return [self.copies.get(cut.claim.text) or self._opened(cut.claim.text, cut.source)]
        own = [copy for copy in self.copies.values() if copy.source is not None and copy.source == cut.source]
        return [*own, self._opened(f"unknown {next(self._numbers)}", cut.source)]

    # -- what must hold ---------------------------------------------------------------------------

    def most_complete(self) -> int:
        """Return how many recipients, by rule R, may have read the whole file."""
        of: dict[str, list[Spans]] = {}
        for copy in self.copies.values():
            of.setdefault(copy.name if copy.source is None else copy.source, []).append(copy.left)
        return sum(spans.union(*left) == self.whole for left in of.values())

    def most_copies(self) -> int:
        """Return how many claims may have given somebody the whole file."""
        return sum(copy.left == self.whole for copy in self.copies.values())

    def most_together(self) -> int:
        """Return how many times the recipients of all claims together may have read the whole file."""
        return spans.fewest([[copy.left] for copy in self.copies.values()], self.extent)

    def fewest(self, *, whole: bool) -> int:
        """Return with how many claims the byte went out, at most, that went out with the fewest.

        :param whole: what may still be given counts as if it had been.
        """
        handed = [self.whole if (whole and copy.held) or copy.counted else copy.handed for copy in self.copies.values()]
        return spans.fewest([[each] for each in handed], self.extent)

    def worn_out(self) -> bool:
        """Tell whether a stranger who asks for all is one too many (strict)."""
        counted: list[Sequence[Spans]] = [[answer.left] for answer in self.answers]
        counted += [[copy.handed] for copy in self.copies.values() if copy.running or copy.maybe != copy.surely]
        return spans.fewest([*counted, [self.whole]], self.extent) > self.receipt.drop.downloads

    def returning(self) -> list[Copy]:
        """Return those whose recipients lack something, and can come back for certain."""
        if self.revoked:
            return []
        return [
            copy
            for copy in self.copies.values()
            if copy.maybe and not copy.closed and not copy.running and not copy.lingering and copy.kept != self.whole
        ]
