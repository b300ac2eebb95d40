"""What all clients of :mod:`tests.chaos` together have sent and hold, and what of that must not be."""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections import Counter
from typing import Final

import attrs

from tests.chaos_stack import Target
from tests.crash_world import content

#: Seconds after the end of an answer within which its daemon, if it is killed, may not have written that down.
#: Where the database is away it tries every 5 s.
GRACE: Final = 10.0
#: Of each file's story so much is told where something is wrong with it.
_TOLD: Final = 14


@attrs.define(eq=False)
class File:
    """A file that was uploaded.

    :ivar name: under which it was left; no other has it.
    :ivar path: of its link, once its sender saw the 201.
    :ivar takes: all who ask for it.
    :ivar winner: who holds all of it, and did so first.
    :ivar story: what was done with it and came of it, in words.
    """

    name: str
    seed: int
    size: int
    data: bytes | None = attrs.field(default=None, repr=False)
    path: str = ""
    takes: list[Take] = attrs.field(factory=list, repr=False)
    winner: Take | None = attrs.field(default=None, repr=False)
    story: list[str] = attrs.field(factory=list, repr=False)

    def content(self) -> bytes:
        """Return its bytes."""
        return content(self.seed, self.size) if self.data is None else self.data

    def told(self) -> str:
        """Return its story, or how that ended."""
        return "\n    ".join([f"{self.name}, {self.size:,} bytes, {self.path}", *self.story[-_TOLD:]])


@attrs.define(eq=False, kw_only=True)
class Take:
    """One recipient's way to a file: an address and a program that no other recipient has.

    :ivar has: he holds so many bytes, from the first on.
    :ivar token: his claim's, once an answer carried it.
    :ivar breaks: so often he will break off by himself.
    :ivar whole: he holds all.
    :ivar refused: he was told that it is gone.
    :ivar in_order: the answer that made it whole was the whole file.
    :ivar parts: the answers with bytes that he got.
    """

    file: File = attrs.field(repr=False)
    source: str
    agent: str
    breaks: int = 0
    has: int = 0
    token: str = ""
    whole: bool = False
    refused: bool = False
    in_order: bool = False
    parts: list[Part] = attrs.field(factory=list, repr=False)

    @property
    def ended(self) -> bool:
        """Whether he asks no more."""
        return self.whole or self.refused


@attrs.frozen
class Part:
    """An answer with bytes of a file: from which daemon, when it was asked for, and when its end was seen."""

    sender: Target
    began: float
    ended: float

    @property
    def killed(self) -> bool:
        """Whether the daemon was killed before it surely had written down what became of it (rule X)."""
        return self.sender.killed_between(self.began, self.ended + GRACE)


class World:
    """All files, who asks for them next, and what is wrong. Its methods may be called on any thread.

    :ivar seen: what was done and came of it, counted.
    :ivar faults: what must not be, in words.
    :ivar resting: nothing new is left any more.
    :ivar away: from when until when the database was away, each time.
    """

    def __init__(self, seed: int) -> None:
        self.seen: Counter[str] = Counter()
        self.faults: list[str] = []
        self.resting = False
        self.away: list[tuple[float, float]] = []
        self._seed = seed
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._files: dict[str, File] = {}
        self._unanswered: dict[str, str] = {}
        self._recipients = 0
        self._waiting: list[tuple[float, int, Take]] = []
        self._acting = 0

    # -- files ------------------------------------------------------------------------------------

    def new_file(self, size: int) -> File:
        """Return a file with bytes that no other has."""
        with self._lock:
            self.seen["uploads begun"] += 1
            number = self.seen["uploads begun"]
        file = File(f"chaos-{number}.bin", (self._seed << 32) + number, size)
        file.data = file.content()
        return file

    def acknowledged(self, file: File, path: str, recipients: int, chance: random.Random) -> None:
        """Note that the sender of ``file`` was told 201; ``recipients`` begin to ask for it."""
        file.path = path
        with self._lock:
            self._files[file.name] = file
            for _ in range(recipients):
                self._recipients += 1
                take = Take(file=file, source=_address(self._recipients), agent=f"chaos/{self._recipients}")
                take.breaks = chance.choice((0, 0, 0, 1, 1, 2))
                file.takes.append(take)
                heapq.heappush(self._waiting, (0.0, self._recipients, take))

    def unanswered(self, file: File, why: str) -> None:
        """Note that the sender of ``file`` does not know whether it was kept."""
        with self._lock:
            self._unanswered[file.name] = why

    def files(self) -> list[File]:
        """Return all files that were acknowledged."""
        with self._lock:
            return list(self._files.values())

    def file(self, name: str) -> File | None:
        """Return the file of this name, if it was acknowledged."""
        return self._files.get(name)

    def may_be_kept(self, name: str) -> bool:
        """Tell whether a file of which nobody has the link may be there."""
        return name in self._unanswered

    # -- who asks next ----------------------------------------------------------------------------

    def next(self) -> Take | None:
        """Return somebody who wants to ask now, who is the caller's until :meth:`asked`; ``None`` where nobody does."""
        with self._lock:
            if not self._waiting or self._waiting[0][0] > time.monotonic():
                return None
            self._acting += 1
            return heapq.heappop(self._waiting)[2]

    def asked(self, take: Take, pause: float) -> None:
        """Let somebody ask again after ``pause`` seconds, or never where he has ended."""
        with self._lock:
            self._acting -= 1
            if take.whole and take.file.winner is None:
                take.file.winner = take
            if not take.ended:
                number = int(take.agent.rpartition("/")[2])
                heapq.heappush(self._waiting, (time.monotonic() + pause, number, take))
            elif all(each.ended for each in take.file.takes):
                self._judge(take.file)

    @property
    def backlog(self) -> int:
        """How many want to ask, now or later."""
        with self._lock:
            return len(self._waiting) + self._acting

    def wanted(self) -> list[File]:
        """Return the files for which somebody asks."""
        with self._lock:
            return [file for file in self._files.values() if not all(take.ended for take in file.takes)]

    def undelivered(self) -> list[File]:
        """Return those of them that nobody holds."""
        return [file for file in self.wanted() if file.winner is None]

    # -- what came of it --------------------------------------------------------------------------

    def count(self, what: str) -> None:
        """Count something that was seen."""
        with self._lock:
            self.seen[what] += 1

    def note(self, file: File, what: str) -> None:
        """Add to a file's story."""
        file.story.append(f"{time.monotonic() - self._began:8.3f}  {what}")

    def fault(self, what: str, file: File | None = None) -> None:
        """Note something that must not be."""
        with self._lock:
            self.faults.append(what if file is None else f"{what}: {file.told()}")

    def doubtful(self, take: Take) -> bool:
        """Tell whether no daemon may know that somebody has all: then it waits for him, and others are told 423.

        So it is where one was killed before it had written down the end of a part; and where one could not while the
        database was away, and the other, which did not know of that end, had meanwhile sent the rest.
        """
        last = take.parts[-1]
        late = [part for part in take.parts if part.sender is not last.sender]
        return any(part.killed for part in take.parts) or any(
            begin - 1 <= part.ended <= end for part in late for begin, end in self.away
        )

    def _judge(self, file: File) -> None:
        """Count the complete copies of a file for which nobody asks any more."""
        holders = [take for take in file.takes if take.whole]
        file.data = None
        if len(holders) == 1:
            self.seen["files delivered right once"] += 1
            self.seen["rivals refused for good (410)"] += len(file.takes) - 1
            self.seen["files that a rival got"] += file.winner is not file.takes[0]
        elif holders:
            self.faults.append(f"{len(holders)} clients hold a complete copy: {file.told()}")
        else:
            self.faults.append(f"lost: nobody holds a complete copy: {file.told()}")


def _address(number: int) -> str:
    """Return an address of the loopback network that is nobody else's."""
    return f"127.{1 + number // 62_500 % 250}.{number // 250 % 250}.{1 + number % 250}"
