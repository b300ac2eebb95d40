"""Many clients race for one link, round after round: exactly one gets the file.

Each round leaves a file, opens the connections, and asks for the link on all of them.  With
``--freeze`` the daemon is stopped (SIGSTOP) while the requests are sent, so that it finds them all
at once when it goes on; without, they leave within the time that as many system calls take.

A round is right when there is one ``200`` with the bytes that were left, and ``410`` or ``423`` for
everybody else.  The time of a round is from the first request until the last answer.

Run it from the repository: ``python -m bench.race --rounds 200``.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import os
import selectors
import shlex
import signal
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from filedropd.config import parse_size
from tests.daemon import PATIENCE, Daemon

FILE_PATH = "/api/v1.0/file"
#: How those are answered who do not get the file.
LOST = frozenset({410, 423})
_HEAD_END = b"\r\n\r\n"
_PIECE = 256 * 1024


class Racer:
    """One client: a connection, and what came back on it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.body = b""
        self._received = bytearray()
        self._ends: tuple[int, int] | None = None

    @property
    def status(self) -> int:
        """The status of the answer; 0 while there is none, or where the connection broke."""
        return int(self._received[9:12]) if len(self._received) >= 12 else 0

    def take(self) -> bool:
        """Read what is there; tells whether the answer, or the connection, has ended."""
        try:
            piece = self.socket.recv(_PIECE)
        except OSError:
            return True
        self._received += piece
        if not piece:
            return True
        if self._ends is None:
            self._ends = self._end_of_answer()
        if self._ends is None or len(self._received) < self._ends[1]:
            return False
        self.body = bytes(self._received[self._ends[0] :])
        return True

    def _end_of_answer(self) -> tuple[int, int] | None:
        """Return where the body begins and ends, once the head is there."""
        head, end, _ = bytes(self._received).partition(_HEAD_END)
        if not end:
            return None
        begins = len(head) + len(end)
        fields = (line.partition(b":") for line in head.lower().split(b"\r\n")[1:])
        return begins, begins + next(int(value) for name, _, value in fields if name == b"content-length")


@attrs.frozen
class Round:
    """What one round came to.

    :ivar statuses: how many of each.
    :ivar whole: answers that were the file, byte for byte.
    :ivar seconds: from the first request to the last answer.
    """

    statuses: collections.Counter[int]
    whole: int
    seconds: float

    @property
    def right(self) -> bool:
        """Whether exactly one got the file, and everybody else was told so."""
        return self.whole == 1 and self.statuses[200] == 1 and set(self.statuses) <= LOST | {200}


def leave(connection: http.client.HTTPConnection, content: bytes) -> str:
    """Leave ``content``; returns the path of its link."""
    connection.request("PUT", FILE_PATH, body=content)
    answer = connection.getresponse()
    told = answer.read()
    if answer.status != 201:
        raise RuntimeError(f"the upload was answered with {answer.status}")
    return str(urlsplit(json.loads(told)["url"]).path)


def race(daemon: Daemon, path: str, content: bytes, clients: int, *, freeze: bool) -> Round:
    """Let ``clients`` ask for ``path`` at once."""
    racers = [Racer(daemon.port) for _ in range(clients)]
    question = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("ascii")
    if freeze:
        daemon.signal(signal.SIGSTOP)
    began = time.perf_counter()
    for racer in racers:
        racer.socket.sendall(question)
    if freeze:
        began = time.perf_counter()
        daemon.signal(signal.SIGCONT)
    with selectors.DefaultSelector() as selector:
        for racer in racers:
            selector.register(racer.socket, selectors.EVENT_READ, racer)
        _finish(selector)
    seconds = time.perf_counter() - began
    statuses = collections.Counter(racer.status for racer in racers)
    return Round(statuses, sum(racer.status == 200 and racer.body == content for racer in racers), seconds)


def _finish(selector: selectors.BaseSelector) -> None:
    """Read all the answers; each connection is closed when its own is there."""
    deadline = time.monotonic() + PATIENCE
    while selector.get_map():
        for key, _ in selector.select(1.0):
            racer: Racer = key.data
            if racer.take():
                selector.unregister(racer.socket)
                racer.socket.close()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(selector.get_map())} clients were not answered within {PATIENCE:g} s")


def run(daemon: Daemon, size: int, rounds: int, clients: int, *, freeze: bool) -> list[Round]:
    """Run all the rounds for one size of file."""
    ran = []
    for _ in range(rounds):
        # A connection for each: the daemon closes what is idle while a slow round goes on.
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE)
        content = os.urandom(size)
        with contextlib.closing(connection):
            path = leave(connection, content)
        ran.append(race(daemon, path, content, clients, freeze=freeze))
    return ran


def report(size: int, ran: list[Round]) -> int:
    """Print what came of one size; returns how many rounds were wrong."""
    totals: collections.Counter[int] = collections.Counter()
    for each in ran:
        totals += each.statuses
    times = sorted(each.seconds * 1000 for each in ran)
    p99 = times[max(0, -(-99 * len(times) // 100) - 1)]
    counts = ", ".join(f"{count} x {status or 'broken'}" for status, count in sorted(totals.items()))
    wrong = [each for each in ran if not each.right]
    print(
        f"{size:,} bytes: {len(ran)} rounds, {len(wrong)} wrong; {counts}; "
        f"{statistics.median(times):.1f} ms a round (p99 {p99:.1f}, most {times[-1]:.1f})"
    )
    for each in wrong[:5]:
        print(f"  wrong: {dict(each.statuses)}, {each.whole} whole")
    return len(wrong)


def options() -> argparse.Namespace:
    """Return what stands on the command line."""
    parser = argparse.ArgumentParser(description="Race for one link.")
    parser.add_argument("--clients", type=int, default=64, help="in each round [64]")
    parser.add_argument("--rounds", type=int, default=200, help="for each size [200]")
    parser.add_argument(
        "--sizes", type=lambda text: [parse_size(size) for size in text.split(",")], default="4KiB,4MiB"
    )
    parser.add_argument("--freeze", action="store_true", help="stop the daemon while the requests are sent")
    parser.add_argument("--daemon-args", type=shlex.split, default=[], help="more options for the daemon, in one word")
    return parser.parse_args()


def main() -> int:
    """Race; returns 1 unless every round was right."""
    given = options()
    wrong = 0
    with contextlib.ExitStack() as undo:
        scratch = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="filedropd-race-")))
        daemon = Daemon(scratch, *given.daemon_args)
        undo.callback(daemon.kill)
        daemon.start()
        for size in given.sizes:
            wrong += report(size, run(daemon, size, given.rounds, given.clients, freeze=given.freeze))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
