"""A large file in and out: what the daemon uses for it, and whether it still answers others meanwhile.

Starts a daemon of its own with its data in a scratch folder, and measures, with curl as the client:

- ``cp``: no daemon, a copy of the file and ``sync``: what this disk can do;
- ``PUT``: ``curl -T``, the bytes alone;
- ``GET``: the download of the same, to ``/dev/null``;
- ``form``: ``curl -F``, a multipart upload.

All the while one keep-alive connection asks ``GET /healthz`` every 50 ms.  A question that is due
while the last one is still unanswered counts from when it was due: a stall of a second is seen as
all the questions that it delays.  What was kept is checked by SHA-256 in a second download, outside
of what is measured.

Run it from the repository: ``python -m bench.large --size 4GiB``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import attrs

from filedropd.config import parse_size
from tests.daemon import Daemon

MIB = 2**20
BLOCK = MIB
#: Seconds between questions.
INTERVAL = 0.05
#: Seconds for which an idle daemon is asked, to know what the machine itself contributes.
IDLE = 5.0
FILE_PATH = "/api/v1.0/file"


@attrs.frozen(kw_only=True)
class Phase:
    """What one phase took.

    :ivar size: bytes moved.
    :ivar seconds: by the clock on the wall, until curl had its answer.
    :ivar cpu: seconds that the daemon used.
    :ivar peak: bytes of memory that it held at most.
    :ivar latencies: seconds, of each small request, in order of size.
    """

    name: str
    size: int
    seconds: float
    cpu: float
    peak: int
    latencies: list[float]

    def percentile(self, share: float) -> float:
        """Return the latency in milliseconds that ``share`` of the requests stayed within."""
        rank = max(1, math.ceil(share * len(self.latencies)))
        return self.latencies[rank - 1] * 1000

    def misses(self, most_memory: int, most_p99: float) -> list[str]:
        """Return which limits it misses, in words."""
        missed = []
        if self.peak > most_memory:
            missed.append(f"{self.name}: peak memory {self.peak / MIB:.0f} MiB is above {most_memory / MIB:.0f} MiB")
        if self.percentile(0.99) > most_p99:
            missed.append(f"{self.name}: p99 {self.percentile(0.99):.1f} ms is above {most_p99:g} ms")
        return missed


class Probe:
    """Asks a daemon the same small thing again and again, on a thread, while it is entered."""

    def __init__(self, port: int) -> None:
        self.latencies: list[float] = []
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probe")
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()
        self._connection.close()
        self.latencies.sort()
        if self._failure is not None:
            raise RuntimeError("the daemon did not answer a small request") from self._failure

    def _run(self) -> None:
        try:
            self._ask()  # connects: what is measured is requests
            due, answered = time.perf_counter(), 0.0
            while True:
                began = due if answered > due else time.perf_counter()
                self._ask()
                answered = time.perf_counter()
                self.latencies.append(answered - began)
                due += INTERVAL
                if self._ended.wait(max(0.0, due - answered)):
                    return
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            self._failure = error

    def _ask(self) -> None:
        self._connection.request("GET", "/healthz")
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"GET /healthz answered {answer.status}")


class Bench:
    """The phases, one after the other.

    :param scratch: a folder for the files that go in and come out.
    """

    def __init__(self, daemon: Daemon, scratch: Path, size: int) -> None:
        self._daemon = daemon
        self._size = size
        self._source = scratch / "source"
        self._copy = scratch / "copy"
        self._digest = b""
        self._link = ""
        self.resets = True

    def run(self) -> Iterator[Phase]:
        """Run them all; yields what each took.

        :raises RuntimeError: bytes came out that did not go in, or a request was refused.
        """
        self._digest = make_file(self._source, self._size)
        yield self._measured("idle", lambda: time.sleep(IDLE), 0)
        yield self._measured("cp", self._copied, self._size)
        yield self._measured("PUT", lambda: self._leave("-T", str(self._source)), self._size)
        yield self._measured("GET", lambda: curl("-o", os.devnull, self._link), self._size)
        self._check()
        yield self._measured("form", lambda: self._leave("-F", f"file=@{self._source}"), self._size)
        curl("-o", os.devnull, self._link)
        self._check()

    def _copied(self) -> None:
        """Copy the file and sync the copy: what this disk can do at all."""
        subprocess.run(["cp", str(self._source), str(self._copy)], check=True)
        subprocess.run(["sync", str(self._copy)], check=True)
        self._copy.unlink()

    def _leave(self, *arguments: str) -> None:
        told = curl(*arguments, "-H", "Filedrop-Downloads: 2", self._daemon.url(FILE_PATH))
        self._link = json.loads(told)["url"]

    def _check(self) -> None:
        """Download once more, which is the last time: the bytes are those that went in."""
        digest = hashlib.sha256()
        with subprocess.Popen(["curl", "-sS", "--fail", self._link], stdout=subprocess.PIPE) as download:
            while download.stdout is not None and (block := download.stdout.read(BLOCK)):
                digest.update(block)
        if download.returncode or digest.digest() != self._digest:
            raise RuntimeError("the bytes that came out are not those that went in")

    def _measured(self, name: str, act: Callable[[], object], size: int) -> Phase:
        try:
            self._daemon.forget_peak()
        except OSError:
            self.resets = False
        with Probe(self._daemon.port) as probe:
            cpu, began = self._daemon.cpu_seconds(), time.perf_counter()
            act()
            seconds = time.perf_counter() - began
        return Phase(
            name=name,
            size=size,
            seconds=seconds,
            cpu=self._daemon.cpu_seconds() - cpu,
            peak=self._daemon.peak_memory(),
            latencies=probe.latencies,
        )


def curl(*arguments: str) -> bytes:
    """Run curl and return what it prints.

    :raises RuntimeError: it failed, or was answered with an error.
    """
    done = subprocess.run(["curl", "-sS", "--fail", *arguments], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise RuntimeError(f"curl ended with status {done.returncode}")
    return done.stdout


def make_file(path: Path, size: int) -> bytes:
    """Write ``size`` random bytes, block by block and through to the disk; returns their digest."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        left = size
        while left:
            block = os.urandom(min(BLOCK, left))
            file.write(block)
            digest.update(block)
            left -= len(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.digest()


def check_room(folder: Path, size: int) -> None:
    """Make sure that the file fits three times: itself, what the daemon keeps, and what it still deletes.

    :raises SystemExit: they do not; says what is needed.
    """
    needed, free = 3 * size + 256 * MIB, shutil.disk_usage(folder).free
    print(f"{folder}: {free / MIB:,.0f} MiB free, {needed / MIB:,.0f} MiB needed at most")
    if free < needed:
        raise SystemExit("There is no room for that. Name a roomier folder with --scratch, or a smaller --size.")


def print_row(phase: Phase) -> None:
    """Print a line of the table."""
    rate = f"{phase.size / MIB / phase.seconds:.0f}" if phase.size else "-"
    cpu = f"{phase.cpu / (phase.size / 2**30):.2f}" if phase.size else "-"
    p50, p99, most = (f"{phase.percentile(share):.1f}" for share in (0.5, 0.99, 1.0))
    cells = (f"{phase.seconds:.1f}", rate, cpu, f"{phase.peak / MIB:.0f}", str(len(phase.latencies)), p50, p99, most)
    print(f"{phase.name:6}" + "".join(f"{cell:>10}" for cell in cells), flush=True)


def options() -> argparse.Namespace:
    """Return what stands on the command line."""
    parser = argparse.ArgumentParser(description="Measure a large upload and download.")
    parser.add_argument("--size", type=parse_size, default=parse_size("4GiB"), help="of the file [4GiB]")
    parser.add_argument("--daemon-args", type=shlex.split, default=[], help="more options for the daemon, in one word")
    parser.add_argument("--scratch", type=Path, help="make the scratch folder in here [the usual place]")
    parser.add_argument(
        "--memory-limit", type=parse_size, default=parse_size("90MiB"), help="peak that is fine [90MiB]"
    )
    parser.add_argument("--p99-limit", type=float, default=50.0, help="p99 that is fine, in milliseconds [50]")
    return parser.parse_args()


def main() -> int:
    """Measure; returns 1 where a limit is missed."""
    given = options()
    with contextlib.ExitStack() as undo:
        scratch = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="filedropd-large-", dir=given.scratch)))
        check_room(scratch, given.size)
        limit = f"--max-file-size={max(given.size, parse_size('8GiB'))}"
        daemon = Daemon(scratch, limit, *given.daemon_args)
        undo.callback(daemon.kill)
        daemon.start()
        bench = Bench(daemon, scratch, given.size)
        heads = ("seconds", "MiB/s", "CPU s/GiB", "peak MiB", "asked", "p50 ms", "p99 ms", "max ms")
        print(f"{'':6}" + "".join(f"{head:>10}" for head in heads), flush=True)
        missed = []
        for phase in bench.run():
            print_row(phase)
            missed += phase.misses(given.memory_limit, given.p99_limit)
        if not bench.resets:
            print("Peaks are since the daemon's start: /proc/PID/clear_refs cannot be written here.")
    for line in missed:
        print(f"missed: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
