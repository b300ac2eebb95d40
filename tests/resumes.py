# ruff: noqa: T201 - it prints
"""Break downloads at random bytes, go on where they broke, and count who got what.

A round: a fresh file is left; a client begins to fetch it; at a random byte the client leaves (by RST,
or by FIN), or the daemon is killed and started again; perhaps that happens once more; the client
asks for the rest as ``curl -C -`` does, and again while it is told 423.  Then somebody at another address
asks, as he did in between.  It is a fault if two recipients had a complete copy, or if the client could
not get the rest though its machine had never said that it had the last byte.

Run it from the repository root: ``python -m tests.resumes --rounds 300 --size 64MiB``.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shlex
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from filedropd.config import parse_size
from tests.conformance.adapters import Left, OwnFiledropd, Unfit
from tests.conformance.answers import Answer
from tests.conformance.stage import FIRST, KIB, OTHER
from tests.conformance.wire import Connection, Deadline, Recipient

#: Seconds for which one download may last.
PATIENCE: Final = 120.0
#: Seconds for which a client is told 423 at most, once nothing runs any more.
BUSY: Final = 10.0
#: How often a download is broken off, most: each time again in one case of three.
_MOST_BREAKS: Final = 4
_PAUSE: Final = 0.05
_WAYS: Final = ("rst", "fin", "kill")


class Lost(Exception):
    """A client cannot go on; the text says why."""


class Wrong(Exception):
    """A client was sent what it must not be sent."""


class Round:
    """One file, from its upload until it is known who got it.

    :param seen: counts what happens.
    :ivar has: bytes that the client has, from the first on.
    :ivar certain: its machine may have said that it has all of it, although it has thrown a part away.
    """

    def __init__(self, server: OwnFiledropd, content: bytes, chance: random.Random, seen: Counter[str]) -> None:
        self._server = server
        self._content = content
        self._chance = chance
        self._seen = seen
        self._narrow = chance.random() < 0.5
        self._left = Left("")
        self._others_copies = 0
        self._last_way = ""
        self.has = 0
        self.certain = False

    def run(self) -> list[str]:
        """Run it; returns the faults."""
        self._left = self._server.leave(self._content)
        ways = [self._chance.choice(_WAYS)]
        while len(ways) < _MOST_BREAKS and self._chance.random() < 1 / 3:
            ways.append(self._chance.choice(_WAYS))
        self._seen[f"rounds that began with {ways[0]}"] += 1
        try:
            faults = self._told(ways)
        finally:
            with contextlib.suppress(Unfit):  # it is gone, as it should be
                self._server.revoke(self._left)
        return [f"{fault} (after {', '.join(ways)})" for fault in faults]

    def _told(self, ways: list[str]) -> list[str]:
        """Run it up to its end; returns the faults."""
        try:
            for way in ways:
                if self.has < self._size:
                    self._break(way)
                    self._look_as_other()
            in_order = self._complete()
        except Lost as lost:
            return self._judged(str(lost))
        except Wrong as wrong:
            return [str(wrong)]
        return self._refused_to_others(for_good=in_order)

    def _judged(self, lost: str) -> list[str]:
        """Return what is wrong with a client's not getting the rest."""
        if self._others_copies and self._is_probe:
            self._seen["  given to another after a mere probe"] += 1
            return []
        if self.certain:
            self._seen["  thrown away by a machine that had said it had all"] += 1
            return []
        return [f"lost at {self.has:,} of {self._size:,} bytes: {lost}"]

    @property
    def _size(self) -> int:
        return len(self._content)

    @property
    def _is_probe(self) -> bool:
        return self.has < min(64 * KIB, self._size // 16)

    # -- the client -------------------------------------------------------------------------------

    def _break(self, way: str) -> None:
        """Fetch up to a random byte, and break off in this way."""
        answer = self._ask_for_rest()
        edges = (self.has, self._size - 1, self._size)
        until = (
            self._chance.choice(edges) if self._chance.random() < 0.15 else self._chance.randint(self.has, self._size)
        )
        answer.read(until - self.has)
        if way == "kill":
            self._server.kill()
            answer.rest()  # what the kernels had
        elif way == "fin":
            answer.connection.half_close()
            self.certain = self.has + len(answer.body) + answer.connection.waiting() >= self._size
            answer.connection.close()
        else:
            answer.connection.reset()
        self._take(answer)
        answer.connection.reset()
        if way == "kill":
            self._server.restart()
        self._seen[f"breaks by {way}"] += 1
        self._last_way = way

    def _complete(self) -> bool:
        """Fetch what is lacking; returns whether the daemon was told, in order, that all has arrived."""
        if self.has == self._size:
            self._seen["had all of it when it broke"] += 1
            if self._last_way == "fin" or self._chance.random() < 0.5:
                return self._last_way == "fin"
            self.has = 0
            self._seen["  and asked for it again"] += 1
        answer = self._ask_for_rest().rest()
        self._take(answer)
        answer.connection.close()
        if self.has < self._size:
            raise Lost(f"the rest came as {answer.told}")
        self._seen["resumed, and whole"] += 1
        return True

    def _ask_for_rest(self) -> Answer:
        """Ask as ``curl -C -`` does, until the answer is not 423.

        :raises Lost: it is not the rest.
        """
        fields = {"Range": f"bytes={self.has}-"} if self.has else {}
        ends = time.monotonic() + BUSY
        while (answer := self._ask(FIRST, narrow=self._narrow, fields=fields)).status == 423:
            answer.connection.close()
            self._seen["told 423, and asked again"] += 1
            if time.monotonic() > ends:
                raise Lost(f"told 423 for {BUSY:g} s")
            time.sleep(_PAUSE)
        if answer.status != (206 if self.has else 200):
            told = bytes(answer.rest().body[:200])
            answer.connection.close()
            raise Lost(f"{answer.status} {told!r}")
        self.certain = False
        return answer

    def _ask(self, who: Recipient, *, narrow: bool = False, fields: dict[str, str] | None = None) -> Answer:
        connection = Connection(self._server.endpoint, who, Deadline(PATIENCE), narrow=narrow)
        return connection.ask(self._left.link.partition(self._server.endpoint.authority)[2], fields=fields)

    def _take(self, answer: Answer) -> None:
        """Keep what came.

        :raises Wrong: it is not what belongs there.
        """
        self._seen["bytes served"] += len(answer.body)
        if self._content[self.has : self.has + len(answer.body)] != answer.body:
            raise Wrong(f"at {self.has:,} other bytes came")
        self.has += len(answer.body)

    # -- somebody else ----------------------------------------------------------------------------

    def _look_as_other(self) -> None:
        """Ask from another address, now and then; take what comes."""
        if self._chance.random() < 0.5:
            status = self._fetch_as_other()
            self._seen[f"another asked in between: {status}"] += 1

    def _fetch_as_other(self) -> int:
        answer = self._ask(OTHER).rest()
        answer.connection.close()
        if answer.status == 200:
            self._seen["bytes served"] += len(answer.body)
            self._others_copies += answer.complete
        return answer.status

    def _refused_to_others(self, *, for_good: bool) -> list[str]:
        """Ask from another address when the client has all: it is gone, or at least not to be had."""
        ends = time.monotonic() + BUSY
        while (status := self._fetch_as_other()) == 423 and for_good and time.monotonic() < ends:
            self._seen["another was told 423 after the end, and asked again"] += 1
            time.sleep(_PAUSE)
        if self._others_copies:
            return ["two recipients have a complete copy"]
        right = {410} if for_good else {410, 423}
        return [] if status in right else [f"after a complete download another is told {status}"]


def run(server: OwnFiledropd, content: bytes, chance: random.Random, rounds: int) -> tuple[Counter[str], list[str]]:
    """Run all rounds; returns what was seen, and the faults."""
    seen: Counter[str] = Counter()
    faults: list[str] = []
    for number in range(1, rounds + 1):
        faults += [f"round {number}: {fault}" for fault in Round(server, content, chance, seen).run()]
    if "Traceback" in server.daemon.log():
        faults.append("there is a traceback in the daemon's log")
    return seen, faults


def report(seen: Counter[str], faults: list[str], seconds: float) -> None:
    """Print what was seen, and what was wrong."""
    for what, count in sorted(seen.items()):
        print(f"{count:16,}  {what}")
    for fault in faults:
        print(f"wrong: {fault}")
    print(f"{len(faults)} faults; {seconds:.0f} s")


def options() -> argparse.Namespace:
    """Return what stands on the command line."""
    parser = argparse.ArgumentParser(description="Break downloads, resume them, count who got what.")
    parser.add_argument("--rounds", type=int, default=300, help="files [300]")
    parser.add_argument("--size", type=parse_size, default="64MiB", help="of each [64MiB]")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of what is left to chance")
    parser.add_argument("--daemon-args", type=shlex.split, default=[], help="more options for the daemon, in one word")
    return parser.parse_args()


def main() -> int:
    """Run, and report; returns 1 unless all was fine."""
    given = options()
    print(f"--seed {given.seed}")
    chance = random.Random(given.seed)
    content = chance.randbytes(given.size)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="filedropd-resumes-") as folder:
        server = OwnFiledropd(Path(folder), f"--max-file-size={given.size}", *given.daemon_args)
        try:
            seen, faults = run(server, content, chance, given.rounds)
        finally:
            server.kill()
    report(seen, faults, time.monotonic() - began)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
