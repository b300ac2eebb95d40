"""Small requests over many connections, each with one at a time: by wrk where that is, else by clients of our own.

Ours is an epoll loop in each of some processes.  A connection follows a *talk*: a generator that yields requests, is
sent what came back, and counts what it is about.
"""

from __future__ import annotations

import itertools
import os
import re
import resource
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import attrs

from bench import wire

#: What a talk yields, and what it is sent: the status and the body.
Talk = Generator[bytes, tuple[int, bytes], None]

_PIECE: Final = 65536
_HEAD_END: Final = b"\r\n\r\n"
_LAST_CHUNK: Final = b"0\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LINK: Final = re.compile(rb'https?://[^/"]+(/[^"\s]+)')
_TOLD: Final = re.compile(r"^BENCH (\d+) (\d+) (\d+)$", re.MULTILINE)
_HERE: Final = Path(__file__).parent
_PROCESSES: Final = 2


@attrs.define
class Count:
    """What was counted.

    :ivar right: answers that were as they must be.
    :ivar wrong: others.
    :ivar seconds: by the clock.
    :ivar client: CPU seconds of the client.
    """

    right: int = 0
    wrong: int = 0
    seconds: float = 0.0
    client: float = 0.0

    def tell(self, right: bool) -> None:
        """Count an answer."""
        if right:
            self.right += 1
        else:
            self.wrong += 1


# -- by wrk ------------------------------------------------------------------------------------------


def wrk(program: str, port: int, script: str, *, threads: int, connections: int, seconds: float, **told: str) -> Count:
    """Run wrk with a script from this folder, which is told ``told`` as its environment."""
    command = [program, f"-t{threads}", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
    before = _children_cpu()
    done = subprocess.run(
        [*command, "-s", str(_HERE / script), f"http://127.0.0.1:{port}/"],
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=False,
    )
    found = _TOLD.search(done.stdout)
    if found is None:
        raise RuntimeError(f"wrk said nothing that is understood here: {done.stdout}{done.stderr}")
    right, wrong, microseconds = map(int, found.groups())
    return Count(right, wrong, microseconds / 1e6, _children_cpu() - before)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# -- by ourselves ------------------------------------------------------------------------------------


def gone_talk(requests: Sequence[bytes], count: Count) -> Talk:
    """Ask for what is gone or was never there, one after the other."""
    for request in itertools.cycle(requests):
        status, _ = yield request
        count.tell(status in {404, 410})


def drop_talk(path: str, size: int, count: Count) -> Talk:
    """Leave a file, fetch it, and fetch it again, which must be refused."""
    content = b"x" * size
    before, after = wire.form(path, size)
    upload = before + content + after
    while True:
        status, body = yield upload
        link = _LINK.search(body) if status == 201 else None
        count.tell(link is not None)
        if link is not None:
            fetch = wire.get(link[1].decode("ascii"))
            count.tell((yield fetch) == (200, content))
            count.tell((yield fetch)[0] == 410)


class _Connection:
    """A connection and its talk."""

    def __init__(self, port: int, talk: Talk) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._talk = talk
        self._received = b""

    def begin(self) -> None:
        """Send the first request."""
        self.socket.sendall(next(self._talk))

    def take(self) -> None:
        """Read what is there; go on with the talk when the answer is whole."""
        piece = self.socket.recv(_PIECE)
        if not piece:
            raise RuntimeError(f"a connection ended before its answer: {self._received[:200]!r}")
        received = self._received = self._received + piece if self._received else piece
        head = received.find(_HEAD_END)
        if head < 0:
            return
        body = head + len(_HEAD_END)
        length = _LENGTH.search(received, 0, head + 2)
        # What comes in chunks is small here: the last one cannot be mistaken.
        if len(received) - body >= int(length[1]) if length else received.endswith(_LAST_CHUNK):
            self._received = b""
            self.socket.sendall(self._talk.send((int(received[9:12]), received[body:])))


def converse(make: Callable[[Count], Talk], port: int, connections: int, seconds: float) -> Count:
    """Let each of some connections follow a talk, for ``seconds``."""
    count = Count()
    busy = time.process_time()
    talking = {each.socket.fileno(): each for each in (_Connection(port, make(count)) for _ in range(connections))}
    poll = select.epoll()
    for number in talking:
        poll.register(number, select.EPOLLIN)
    began = time.perf_counter()
    for each in talking.values():
        each.begin()
    while (now := time.perf_counter()) < began + seconds:
        for number, _ in poll.poll(began + seconds - now):
            talking[number].take()
    for each in talking.values():
        each.socket.close()
    return Count(count.right, count.wrong, now - began, time.process_time() - busy)


def ourselves(make: Callable[[Count], Talk], port: int, connections: int, seconds: float) -> Count:
    """Share the connections among processes; return what all of them counted."""
    with ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as processes:
        list(processes.map(time.sleep, [0.2] * _PROCESSES))  # all of them are there
        shares = [connections // _PROCESSES + (number < connections % _PROCESSES) for number in range(_PROCESSES)]
        futures = [processes.submit(converse, make, port, share, seconds) for share in shares if share]
        counts = [future.result() for future in futures]
    return Count(
        sum(count.right for count in counts),
        sum(count.wrong for count in counts),
        max(count.seconds for count in counts),
        sum(count.client for count in counts),
    )


# -- by either ---------------------------------------------------------------------------------------


def ask_gone(program: str | None, port: int, paths: Sequence[str], connections: int, seconds: float) -> Count:
    """Ask for ``paths`` again and again; count the answers."""
    if program is None:
        return ourselves(partial(gone_talk, [wire.get(path) for path in paths]), port, connections, seconds)
    with tempfile.NamedTemporaryFile("w", prefix="filedropd-compare-") as file:
        file.write("\n".join(paths) + "\n")
        file.flush()
        return wrk(
            program, port, "gone.lua", threads=1, connections=connections, seconds=seconds, BENCH_PATHS=file.name
        )


def make_drops(program: str | None, port: int, path: str, size: int, *, connections: int, seconds: float) -> Count:
    """Leave, fetch and fetch again; count the steps that were right, three to a drop."""
    if program is None:
        return ourselves(partial(drop_talk, path, size), port, connections, seconds)
    told = {"BENCH_PATH": path, "BENCH_SIZE": str(size)}
    return wrk(program, port, "drops.lua", threads=connections, connections=connections, seconds=seconds, **told)
