"""SIGTERM under load, again and again: what had begun ends whole, what had not is refused, nothing is lost.

    .venv/bin/python -m tests.stopping --rounds 100

Each round starts a daemon, puts load on it (downloads and uploads that take their time, connections
that are idle, and clients that ask as fast as they can), sends SIGTERM at a random moment, looks at
what each client saw, and has the next daemon account for it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import attrs

from tests.daemon import PATIENCE, Daemon

_API: Final = "/api/v1.0/file"
_LENGTH: Final = re.compile(rb"\r\nContent-Length: (\d+)\r\n")
_LINK: Final = re.compile(rb"http://[^/]+(/api/v1\.0/file/[0-9a-f]{32})")
#: More than the two kernels take by themselves: 256 KiB at this end.
LARGE: Final = 6 * 2**20
SMALL: Final = 20_000
#: Seconds within which an idle connection is closed: at once, on a machine that has much else to do. Until there is no
#: more time to drain it is twice as long.
IDLE: Final = 10.0


@attrs.define(kw_only=True)
class Drop:
    """A file that was left: where, and what became of it as its recipient saw it."""

    path: str
    content: bytes
    taken: bool = False


@attrs.define
class Seen:
    """What the clients of one round saw.

    :ivar drops: what was confirmed.
    :ivar faults: what must not be, in words.
    :ivar counts: how often what happened.
    """

    drops: list[Drop] = attrs.field(factory=list)
    faults: list[str] = attrs.field(factory=list)
    counts: Counter[str] = attrs.field(factory=Counter)
    stop_at: float = float("inf")
    stopped_in: float = 0.0


class Client:
    """One connection, with a small buffer so that its pace is felt at the other end."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
        self._socket.settimeout(PATIENCE)
        self._received = b""
        self._socket.connect(("127.0.0.1", port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send ``data``."""
        self._socket.sendall(data)

    def ask(self, method: str, path: str, *fields: str) -> None:
        """Send a head."""
        self.send("\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode("ascii"))

    def head(self) -> bytes:
        """Return the head of an answer; nothing where there is none."""
        while b"\r\n\r\n" not in self._received:
            piece = self._read()
            if not piece:
                return b""
            self._received += piece
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        return head + b"\r\n"

    def body(self, head: bytes, pause: float = 0.0) -> bytes:
        """Return the body behind ``head``, or what there is of it; wait so long after each 256 KiB."""
        found = _LENGTH.search(head)
        length = int(found.group(1)) if found else 0
        pieces, octets, stop = [self._received], len(self._received), 2**18
        self._received = b""
        while octets < length and (piece := self._read()):
            pieces.append(piece)
            octets += len(piece)
            if pause and octets > stop:
                stop += 2**18
                time.sleep(pause)
        return b"".join(pieces)

    def closed(self) -> float:
        """Return when the other end has closed."""
        while self._read():
            pass
        return time.monotonic()

    def _read(self) -> bytes:
        try:
            return self._socket.recv(2**16)
        except ConnectionError:
            return b""


class Round:
    """One daemon's life under load, and its end."""

    def __init__(self, daemon: Daemon, chance: random.Random, *, clients: int, seconds: float) -> None:
        self.seen = Seen()
        self._daemon = daemon
        self._port = daemon.port
        self._chance = chance
        self._clients = clients
        self._seconds = seconds
        # Large downloads, uploads and idle connections, and who sends the signal: that is to meet all of them.
        self._all_begun = threading.Barrier(3 * clients + 1, timeout=PATIENCE)

    def run(self) -> Seen:
        """Put load on the daemon, stop it in the middle, and return what was seen."""
        content = os.urandom(LARGE)
        large = [self._leave(content) for _ in range(self._clients)]
        begins = len(self._daemon.log())
        work: list[Callable[[], None]] = [*(self._fetcher(drop) for drop in large)]
        work += [self._upload, self._idle, self._ask_on] * self._clients
        threads = [threading.Thread(target=self._guarded, args=(each,)) for each in work]
        for thread in threads:
            thread.start()
        with contextlib.suppress(threading.BrokenBarrierError):  # a client has told why
            self._all_begun.wait()
        time.sleep(self._chance.uniform(0.05, self._seconds))
        self.seen.stop_at = time.monotonic()
        self._daemon.terminate()
        status = self._daemon.wait()
        self.seen.stopped_in = time.monotonic() - self.seen.stop_at
        for thread in threads:
            thread.join()
        self._look_at_the_end(status, self._daemon.log(begins))
        return self.seen

    def account(self) -> None:
        """Ask the daemon that came after for everything that was confirmed."""
        self._port = self._daemon.port
        for drop in self.seen.drops:
            with Client(self._port) as client:
                client.ask("GET", drop.path)
                head = client.head()
                body = client.body(head)
            right = head.startswith(b"HTTP/1.1 410 ") if drop.taken else body == drop.content
            if not right:
                self._fault(f"afterwards {drop.path}, taken: {drop.taken}, is {head[:12]!r} with {len(body)} bytes")
            self.seen.counts["gone afterwards" if drop.taken else "there afterwards"] += 1

    # -- clients ----------------------------------------------------------------------------------

    def _leave(self, content: bytes) -> Drop:
        with Client(self._port) as client:
            client.ask("PUT", "/name", f"Content-Length: {len(content)}")
            client.send(content)
            head = client.head()
            found = _LINK.search(client.body(head))
        if found is None:
            raise ConnectionError
        drop = Drop(path=found.group(1).decode("ascii"), content=content)
        self.seen.drops.append(drop)
        return drop

    def _fetcher(self, drop: Drop) -> Callable[[], None]:
        return lambda: self._fetch(drop, "large", self._seconds / (LARGE / 2**18), begun=self._all_begun.wait)

    def _fetch(self, drop: Drop, what: str, pause: float, begun: Callable[[], object] = lambda: None) -> None:
        with Client(self._port) as client:
            client.ask("GET", drop.path)
            head = client.head()
            if not head:
                self._not_begun(what)
                return
            begun()
            body = client.body(head, pause)
        drop.taken = body == drop.content
        if not drop.taken:
            self._fault(f"a {what} download ended after {len(body)} of {len(drop.content)} bytes")
        self._ended(f"{what} downloads")

    def _upload(self) -> None:
        content, steps = os.urandom(2**18), 16
        with Client(self._port) as client:
            client.ask("PUT", "/name", f"Content-Length: {len(content)}", "Expect: 100-continue")
            if not client.head():
                self._not_begun("slow upload")
                return
            self._all_begun.wait()
            with contextlib.suppress(ConnectionError):  # then there is no answer, either
                for step in range(steps):
                    client.send(content[step * len(content) // steps : (step + 1) * len(content) // steps])
                    time.sleep(self._seconds / steps)
            head = client.head()
            found = _LINK.search(client.body(head))
        if found is None:
            self._fault(f"an upload that had begun was answered {head[:12]!r}")
        else:
            self.seen.drops.append(Drop(path=found.group(1).decode("ascii"), content=content))
        self._ended("uploads")

    def _idle(self) -> None:
        with Client(self._port) as client:
            client.ask("GET", "/healthz")
            if not client.body(client.head()):
                return
            self._all_begun.wait()
            waited = client.closed() - self.seen.stop_at
        if not 0 <= waited <= IDLE:
            self._fault(f"an idle connection was closed {waited:.1f} s after the signal")
        self._ended("idle connections")

    def _ask_on(self) -> None:
        while time.monotonic() < self.seen.stop_at + PATIENCE:
            self._fetch(self._leave(os.urandom(SMALL)), "small", 0.0)

    # -- what is seen -----------------------------------------------------------------------------

    def _guarded(self, work: Callable[[], None]) -> None:
        # Who comes too late is refused: nothing had begun. What had is looked at where it ended.
        try:
            work()
        except ConnectionError:
            self._not_begun("connection")
        except (OSError, threading.BrokenBarrierError) as error:
            self._fault(f"a client met {error!r}")

    def _not_begun(self, what: str) -> None:
        if time.monotonic() < self.seen.stop_at:
            self._fault(f"a {what} was refused before the signal")
        self.seen.counts["refused"] += 1

    def _ended(self, what: str) -> None:
        self.seen.counts[what] += 1
        if time.monotonic() > self.seen.stop_at:
            self.seen.counts[f"{what} that ended after the signal"] += 1

    def _fault(self, words: str) -> None:
        self.seen.faults.append(words)

    def _look_at_the_end(self, status: int, log: str) -> None:
        if status != 0:
            self._fault(f"the daemon ended with status {status}")
        for words in ("broken off", "Traceback"):
            if words in log:
                self._fault(f"the log says {words!r}")
        with contextlib.suppress(ConnectionRefusedError), Client(self._port):
            self._fault("somebody still listens")
        if any(self._daemon.files("incoming")):
            self._fault("something is left of an upload")


def rounds(
    count: int, folder: Path, *, seed: int, clients: int = 4, seconds: float = 0.8, drain: str = "20s"
) -> list[Seen]:
    """Run so many rounds on one data directory, and return what was seen in each.

    :param seed: of the moments at which the signal comes.
    :param clients: of each kind.
    :param seconds: for which a slow transfer goes on, and within which the signal comes.
    """
    chance = random.Random(seed)
    daemon = Daemon(folder, f"--drain={drain}").start()
    seen = []
    try:
        for _ in range(count):
            current = Round(daemon, chance, clients=clients, seconds=seconds)
            seen.append(current.run())
            daemon.start()
            current.account()
    finally:
        daemon.kill()
    return seen


def main() -> None:
    """Run the rounds that are asked for, and tell."""
    parser = argparse.ArgumentParser(description="SIGTERM under load.")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--clients", type=int, default=4, help="of each kind")
    parser.add_argument("--seconds", type=float, default=0.8, help="for which a slow transfer goes on")
    parser.add_argument("--drain", default="20s", help="0s shows what is seen when there is no time to drain")
    parser.add_argument("--seed", type=int, default=time.time_ns())
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="filedropd-stopping-") as folder:
        named = {name: getattr(given, name) for name in ("seed", "clients", "seconds", "drain")}
        seen = rounds(given.rounds, Path(folder), **named)
    counts: Counter[str] = Counter()
    for each in seen:
        counts.update(each.counts)
    took = sorted(each.stopped_in for each in seen)
    lines = [f"{given.rounds} rounds, seed {given.seed}"]
    lines += [f"{number:8} {what}" for what, number in sorted(counts.items())]
    lines += [f"stopping took {took[len(took) // 2]:.2f} s (median), {took[-1]:.2f} s (most)"]
    faults = [fault for each in seen for fault in each.faults]
    lines += [f"{len(faults)} faults", *faults]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
