"""What the clients of a daemon know of its drops, while the daemon may be killed at any moment.

Each acts on drops that nobody else acts on at that moment, so what it sees is all that there is to
know.  Of every drop the :class:`World` holds how many copies are left at least, and at most: the two
differ where an answer was awaited when the daemon was killed, until somebody asks.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator

import attrs


@attrs.define
class Left:
    """A drop whose 201 its sender saw.

    :ivar path: of its link.
    :ivar owner: its owner's token.
    :ivar seed: makes its content again (:meth:`content`).
    :ivar size: in bytes.
    :ivar at_least: copies that can be had for certain.
    :ivar at_most: copies that may be had.
    :ivar reasons: for which it may be gone.
    """

    path: str
    owner: str
    seed: int
    size: int
    at_least: int
    at_most: int
    reasons: frozenset[str] = frozenset({"delivered"})

    @property
    def certain(self) -> bool:
        """Whether it is known how many copies are left."""
        return self.at_least == self.at_most

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
            if drop is not None:
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

    def asked(self, drop: Left) -> None:
        """Note that a GET is about to be sent: until its answer is known, it may have taken a copy."""
        drop.at_least -= 1

    def answered(self, drop: Left, answer: Answer) -> None:
        """Note what came of a GET, and judge it."""
        if answer.status == 200 and answer.whole:
            self._whole(drop, answer.body)
        elif answer.status in {404, 410, 423} and answer.whole:
            drop.at_least += 1  # it took nothing
            self.refused(drop, answer.status, answer.reason)
        elif answer.status not in {0, 200}:
            self.fault(f"{drop.path} was answered with {answer.status}: {answer.body[:200]!r}")
        elif not drop.content().startswith(answer.body):
            self.fault(f"{drop.path} came with other bytes, and broke off")
        else:
            self.count("GET without an end")

    def refused(self, drop: Left, status: int, reason: str = "") -> None:
        """Note that a request for a drop was answered with ``status`` instead of what it asked for, and judge that."""
        self.count(f"refused: {status} {reason}".rstrip())
        if drop.at_least > 0:
            self.fault(f"{drop.path} is lost: {status} {reason}")
        if status == 404:
            self.fault(f"{drop.path} is forgotten")
        elif status == 410:
            drop.at_least = drop.at_most = 0
            if reason and reason not in drop.reasons:
                self.fault(f"{drop.path} is gone for a wrong reason: {reason}")

    def _whole(self, drop: Left, body: bytes) -> None:
        self.count("whole copy")
        if body != drop.content():
            self.fault(f"{drop.path} came with other bytes")
        if drop.at_most < 1:
            self.fault(f"{drop.path} was handed out though it was gone, as {'/'.join(drop.reasons)}")
        drop.at_most -= 1
        drop.at_least = max(0, min(drop.at_least, drop.at_most))
