"""What the clients of a daemon know of its drops, while the daemon may be killed at any moment.

Each acts on drops that nobody else acts on at that moment, so what it sees is all that there is to
know.  Of every drop the :class:`World` holds what may have become of it (:mod:`tests.crash_claims`):
several things, where an answer was awaited when the daemon was killed, until somebody asks.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

import attrs

from tests.crash_claims import State, Verdict, crashed, cut, later, rest, taken_back, verdicts, whole

#: From where they ask: each is a recipient of his own.
RECIPIENTS: Final = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@attrs.define
class Left:
    """A drop whose 201 its sender saw.

    :ivar path: of its link.
    :ivar owner: its owner's token.
    :ivar seed: makes its content again (:meth:`content`).
    :ivar size: in bytes.
    :ivar downloads: how many copies there are.
    :ivar states: what may have become of it; none: what it did was against the rules.
    :ivar before: likewise before the request whose answer is awaited.
    """

    path: str
    owner: str
    seed: int
    size: int
    downloads: int
    states: frozenset[State] = frozenset({State()})
    before: frozenset[State] = frozenset()

    @property
    def certain(self) -> bool:
        """Whether it is known what became of it."""
        return len(self.states) == 1

    @property
    def exhausted(self) -> bool:
        """Whether nobody can get anything of it any more."""
        return all({verdict.status for verdict in self.verdicts(who)} <= {410} for who in RECIPIENTS)

    def verdicts(self, who: str) -> Iterator[Verdict]:
        """Yield with what ``who`` may be answered now."""
        return (verdict for state in later(self.states) for verdict in verdicts(state, self.downloads, who))

    def content(self) -> bytes:
        """Return its bytes."""
        return content(self.seed, self.size)


def content(seed: int, size: int) -> bytes:
    """Return ``size`` bytes that no other seed makes."""
    return random.Random(seed).randbytes(size)


@attrs.define
class Answer:
    """What came of a GET.

    :ivar status: 0 where not even a head came.
    :ivar body: the bytes, those of a broken answer too.
    :ivar whole: whether they are as many as the head said.
    """

    status: int
    body: bytes = b""
    whole: bool = False

    @property
    def reason(self) -> str:
        """Why the drop is gone, where that was the answer; else nothing."""
        return str(json.loads(self.body).get("reason", "")) if self.status == 410 and self.whole else ""


class World:
    """What all clients together have seen. Its methods may be called on any thread.

    :ivar faults: what must not be, in words.
    :ivar seen: what was done and came of it, counted.
    """

    def __init__(self, seed: int) -> None:
        self.faults: list[str] = []
        self.seen: Counter[str] = Counter()
        self.random = random.Random(seed)
        self._lock = threading.Lock()
        self._drops: list[Left] = []
        self._taken = 0

    def __len__(self) -> int:
        return len(self._drops)

    def new_seed(self) -> int:
        """Return a number that was not there before."""
        with self._lock:
            self._taken += 1
            return self._taken

    def add(self, drop: Left, way: str) -> None:
        """Note a drop that has just been answered with 201."""
        with self._lock:
            self._drops.append(drop)
            self.seen[f"201 ({way})"] += 1

    @contextlib.contextmanager
    def taken(self) -> Iterator[Left | None]:
        """Take some drop away from all others, for a while; ``None`` where there is none."""
        with self._lock:
            drop = self._drops.pop(self.random.randrange(len(self._drops))) if self._drops else None
        try:
            yield drop
        finally:
            if drop is not None and drop.states:
                with self._lock:
                    self._drops.append(drop)

    def drops(self) -> list[Left]:
        """Return all drops that nobody has taken away."""
        with self._lock:
            return list(self._drops)

    def replace(self, drops: list[Left]) -> None:
        """Go back to what was known of ``drops``, and of these alone."""
        with self._lock:
            self._drops = [attrs.evolve(drop) for drop in drops]

    def forget(self, drop: Left) -> None:
        """Look at a drop no more."""
        with self._lock:
            self._drops.remove(drop)

    def count(self, what: str) -> None:
        """Count something that was seen."""
        with self._lock:
            self.seen[what] += 1

    def fault(self, what: str) -> None:
        """Note something that must not be."""
        with self._lock:
            self.faults.append(what)

    # -- what an answer means ---------------------------------------------------------------------

    def crashed(self) -> None:
        """Note that the daemon was killed."""
        with self._lock:
            for drop in self._drops:
                drop.states = crashed(drop.states)

    def asked(self, drop: Left, who: str) -> None:
        """Note that a GET is about to be sent: until its answer is known, it may have begun something."""
        drop.before = drop.states
        drop.states |= self._granted(drop, who, cut)

    def answered(self, drop: Left, who: str, answer: Answer, first: int = 0) -> None:
        """Note what came of a GET from byte ``first`` on, and judge it."""
        if answer.status in {200, 206} and answer.whole:
            self.count("whole copy" if answer.status == 200 else "rest of a copy")
            if answer.body != drop.content()[first:]:
                self.fault(f"{drop.path} came with other bytes")
            self._now(
                drop, self._granted(drop, who, whole if answer.status == 200 else rest), f"{answer.status} to {who}"
            )
        elif answer.status in {200, 206}:
            self.count("GET without an end")
            if not drop.content()[first:].startswith(answer.body):
                self.fault(f"{drop.path} came with other bytes, and broke off")
            self._now(drop, self._granted(drop, who, cut), f"{answer.status} to {who}, broken off")
        elif answer.status == 0:
            self.count("GET without an answer")
        else:
            self.refused(drop, who, answer.status, answer.reason)

    def broken_off(self, drop: Left, who: str, *, early: bool) -> None:
        """Note that a download was broken off by its client, whose head had come."""
        self.count("download broken off")
        self._now(drop, self._granted(drop, who, partial(cut, early=early)), f"200 to {who}, and broken off by him")

    def refused(self, drop: Left, who: str, status: int, reason: str = "") -> None:
        """Note that a GET was answered with ``status`` instead of bytes, and judge that."""
        self.count(f"refused: {status} {reason}".rstrip())
        possible = frozenset(
            state
            for state in later(drop.before)
            for verdict in verdicts(state, drop.downloads, who)
            if verdict.status == status and reason in {"", verdict.reason}
        )
        self._now(drop, possible, f"{status} {reason} to {who}")

    def looked(self, drop: Left, who: str, status: int) -> None:
        """Note what came of a HEAD, and judge that."""
        if status not in {verdict.status for verdict in drop.verdicts(who)}:
            self._now(drop, frozenset(), f"{status} to a HEAD of {who}")

    def taking_back(self, drop: Left) -> None:
        """Note that a DELETE is about to be sent."""
        drop.before = drop.states
        drop.states |= {after for state in drop.states for _, _, after in taken_back(state, drop.downloads)}

    def took_back(self, drop: Left, answer: Answer) -> None:
        """Note what came of a DELETE, and judge it."""
        self.count(f"DELETE: {answer.status} {answer.reason}".rstrip())
        possible = frozenset(
            after
            for state in later(drop.before)
            for status, reason, after in taken_back(state, drop.downloads)
            if status == answer.status and answer.reason in {"", reason}
        )
        self._now(drop, possible, f"{answer.status} {answer.reason} to a DELETE")

    def _granted(
        self, drop: Left, who: str, came: Callable[[State, str, Verdict], Iterable[State]]
    ) -> frozenset[State]:
        return frozenset(
            after
            for state in later(drop.before)
            for verdict in verdicts(state, drop.downloads, who)
            if verdict.status == 200
            for after in came(state, who, verdict)
        )

    def _now(self, drop: Left, possible: frozenset[State], seen: str) -> None:
        """Go on with what is still possible after what was ``seen``."""
        if not possible:
            known = " or ".join(sorted(map(str, drop.before or drop.states)))
            self.fault(f"{drop.path} ({drop.downloads} copies) was {known}, and then: {seen}")
        drop.states = possible
