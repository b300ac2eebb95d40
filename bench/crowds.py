"""Many at once: a hundred large transfers, small requests beside large ones, and connections that do nothing."""

from __future__ import annotations

import itertools
import json
import resource
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import attrs

from bench import wire
from bench.large import make_file
from bench.report import Fact, Facts
from bench.sides import FILE_PATH, MIB, Given, daemon
from bench.usage import Processes
from filedropd.descriptors import connections_within
from tests.daemon import Daemon

_KIB: Final = 1024
_TRANSFERS: Final = 100
_FULL_SPEED: Final = 8
_MOST_MEMORY: Final = 120 * MIB
_MOST_P99: Final = 0.020
_MOST_EACH: Final = 12 * _KIB
_MOST_SECONDS: Final = 10.0
#: What still counts as flat: how much more it may hold in the last third than in the first.
_FLAT: Final = 8 * MIB
#: Seconds between small requests.
_INTERVAL: Final = 0.01
#: The share of the idle connections after which memory is looked at first: what the daemon had to spare is used then.
_FIRST: Final = 5
#: Connections that are opened at the same moment.
_BATCH: Final = 100
#: Connections besides the idle ones.
_SPARE: Final = 8
_HEALTH: Final = wire.get("/healthz")

Tell = Callable[[str], None]


class Regularly:
    """Calls something again and again on a thread, while it is entered.

    :ivar found: what it returned, in order.
    """

    def __init__(self, probe: Callable[[], float], interval: float) -> None:
        self.found: list[float] = []
        self._probe = probe
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._failure is not None:
            raise RuntimeError("the daemon did not answer a small request") from self._failure

    def _run(self) -> None:
        try:
            while not self._ended.wait(self._interval):
                self.found.append(self._probe())
        except (OSError, RuntimeError) as error:
            self._failure = error


class Small:
    """A small request on a connection that is kept; tells how long it took, in seconds."""

    def __init__(self, port: int) -> None:
        self._connection = wire.connected(port)

    def __call__(self) -> float:
        """Ask."""
        began = time.perf_counter()
        self._connection.sendall(_HEALTH)
        answer = wire.receive(self._connection)
        if answer.status != 200:
            raise RuntimeError(f"a small request was answered with {answer.status}")
        return time.perf_counter() - began


def percentile(values: list[float], share: float) -> float:
    """Return what ``share`` of the values stay within."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def with_delayed(values: list[float], interval: float) -> list[float]:
    """Return latencies with those of the requests that were due while a slow one was unanswered."""
    found = []
    for value in values:
        left = value
        while left > 0:
            found.append(left)
            left -= interval
    return found


# -- transfers ---------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Crowd:
    """A drop that can be fetched often, and the file that was left.

    :ivar port: the daemon's.
    :ivar link: the path of the drop's link.
    """

    port: int
    source: Path
    size: int
    link: str

    def up(self) -> int:
        """Leave the file and take it back; returns its size."""
        answer = wire.upload(self.port, wire.raw_head(FILE_PATH, self.size), self.source, self.size).answers[0]
        if answer.status != 201:
            raise RuntimeError(f"an upload was answered with {answer.status}")
        told = json.loads(answer.body)
        wire.ask(self.port, wire.delete(urlsplit(told["url"]).path, told["owner_token"]))
        return self.size

    def down(self) -> int:
        """Fetch the drop; returns its size."""
        answer = wire.download(self.port, self.link).answers[0]
        if (answer.status, answer.size) != (200, self.size):
            raise RuntimeError(f"a download was answered with {answer.status} and {answer.size} bytes")
        return self.size


@contextmanager
def _crowd(given: Given, size: int) -> Iterator[tuple[Daemon, Crowd]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="filedropd-compare-source-")))
        source = folder / "source"
        make_file(source, size)
        made = daemon(stack, given, "--durability=none")
        head = wire.raw_head(FILE_PATH, size, "Filedrop-Downloads: 1000")
        answer = wire.upload(made.port, head, source, size).answers[0]
        link = urlsplit(json.loads(answer.body)["url"]).path
        yield made, Crowd(port=made.port, source=source, size=size, link=link)


def memory(given: Given, tell: Tell) -> Facts:
    """A hundred transfers at once, half up, half down."""
    size = given.crowd_size
    with _crowd(given, size) as (made, crowd), ThreadPoolExecutor(_TRANSFERS) as clients:
        processes = Processes([made.pid])
        processes.forget_peak()
        began = time.perf_counter()
        with Regularly(lambda: float(processes.resident()), 0.1) as resident:
            futures: list[Future[int]] = []
            for act, _ in itertools.product((crowd.up, crowd.down), range(_TRANSFERS // 2)):
                futures.append(clients.submit(act))
            moved = sum(future.result() for future in futures)
        seconds = time.perf_counter() - began
        peak = processes.peak()
    third = max(1, len(resident.found) // 3)
    growth = max(resident.found[-third:]) - max(resident.found[:third])
    tell(f"  {moved / MIB:,.0f} MiB in {seconds:.1f} s, at most {peak / MIB:.0f} MiB")
    return Facts(
        title=f"{_TRANSFERS} transfers of {size / MIB:,.0f} MiB at once",
        note=f"Half up, half down, as fast as they go: {moved / MIB / seconds:,.0f} MiB/s together.",
        facts=[
            Fact("peak memory", f"{peak / MIB:.0f} MiB", f"≤ {_MOST_MEMORY / MIB:.0f} MiB", peak <= _MOST_MEMORY),
            Fact(
                "most in the last third of the time, less most in the first",
                f"{growth / MIB:+.1f} MiB",
                f"≤ {_FLAT / MIB:.0f} MiB",
                growth <= _FLAT,
            ),
        ],
    )


def latency(given: Given, tell: Tell) -> Facts:
    """Small requests beside transfers at full speed."""
    with _crowd(given, 256 * MIB) as (made, crowd), wire.client(_FULL_SPEED) as clients:
        list(clients.map(time.sleep, [0.2] * _FULL_SPEED))
        with Regularly(Small(made.port), _INTERVAL) as alone:
            time.sleep(given.seconds)
        began = time.time()
        with Regularly(Small(made.port), _INTERVAL) as beside:
            acts = [crowd.up, crowd.down] * (_FULL_SPEED // 2)
            moved = sum(clients.map(repeat, acts, [began + 2 * given.seconds] * _FULL_SPEED))
        seconds = time.time() - began
    found = with_delayed(beside.found, _INTERVAL)
    p99 = percentile(found, 0.99)
    tell(f"  {len(found)} small requests, p99 {p99 * 1000:.1f} ms")
    return Facts(
        title=f"Small requests beside {_FULL_SPEED} transfers at full speed",
        note=f"Half up, half down, each in a process of its own: {moved / MIB / seconds:,.0f} MiB/s together.",
        facts=[
            Fact("p50, alone", _ms(statistics.median(alone.found))),
            Fact("p99, alone", _ms(percentile(alone.found, 0.99))),
            Fact("p50, beside them", _ms(statistics.median(found))),
            Fact("p99, beside them", _ms(p99), f"≤ {_ms(_MOST_P99)}", p99 <= _MOST_P99),
        ],
    )


def repeat(act: Callable[[], int], until: float) -> int:
    """Do it until that time; returns the bytes that were moved."""
    moved = 0
    while time.time() < until:
        moved += act()
    return moved


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


# -- idle connections --------------------------------------------------------------------------------


def idle(given: Given, tell: Tell) -> Facts:
    """Connections that have asked once, and are kept."""
    possible = connections_within(given.idle + _SPARE)
    wanted = min(given.idle, possible - _SPARE)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        made = daemon(stack, given)
        processes = Processes([made.pid])
        small = Small(made.port)
        before_took = [small() for _ in range(500)]
        began = time.perf_counter()
        first = _kept(stack, made.port, wanted // _FIRST)
        then = processes.resident()
        connections = first + _kept(stack, made.port, wanted - len(first))
        seconds = time.perf_counter() - began
        each = (processes.resident() - then) / (wanted - len(first))
        beside = [small() for _ in range(500)]
        alive = sum(_asked(connection) for connection in connections[:: max(1, wanted // 100)])
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    tell(f"  {wanted} connections in {seconds:.1f} s, {each / _KIB:.1f} KiB each")
    p99, p99_before = percentile(beside, 0.99), percentile(before_took, 0.99)
    limit = "" if wanted == given.idle else f" More than {wanted:,} cannot be had within {hard:,} open files."
    return Facts(
        title=f"{wanted:,} idle connections",
        note=f"Each has had one answer and is kept, a hundred at a time; of {alive} that were tried afterwards all were answered.{limit}",
        facts=[
            Fact("memory for each", f"{each / _KIB:.1f} KiB", f"≤ {_MOST_EACH / _KIB:.0f} KiB", each <= _MOST_EACH),
            Fact(
                "until all had their answer", f"{seconds:.1f} s", f"≤ {_MOST_SECONDS:.0f} s", seconds <= _MOST_SECONDS
            ),
            Fact("p99 of small requests, before", _ms(p99_before)),
            Fact("p99 of small requests, with them", _ms(p99), f"≤ {_ms(_MOST_P99)}", p99 <= _MOST_P99),
        ],
    )


def _kept(stack: ExitStack, port: int, count: int) -> list[socket.socket]:
    """Open connections, some at a time, and return them when each has had an answer; ``stack`` closes them."""
    kept: list[socket.socket] = []
    while len(kept) < count:
        batch = [stack.enter_context(wire.connected(port)) for _ in range(min(_BATCH, count - len(kept)))]
        for connection in batch:
            connection.sendall(_HEALTH)
        for connection in batch:
            _answered(connection)
        kept += batch
    return kept


def _asked(connection: socket.socket) -> bool:
    connection.sendall(_HEALTH)
    _answered(connection)
    return True


def _answered(connection: socket.socket) -> None:
    status = wire.receive(connection).status
    if status != 200:
        raise RuntimeError(f"a kept connection was answered with {status}")
