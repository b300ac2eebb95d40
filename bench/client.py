"""``filedrop put`` and ``get`` of a large file beside ``curl``, on the same daemon and the same disk, in turn.

What is measured is the client: its whole run, from the command line to its end, the CPU time of it, and the most
memory that it held. ``get`` saves to a disk and syncs; curl saves and does not.

    python -m bench.client [--size 4GiB] [--runs 3]
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.large import make_file
from bench.report import Comparison, Fact, Facts, Report, Target
from bench.sides import MIB, Done, Side, alternate
from bench.usage import Processes
from filedropd.config import parse_size
from tests.daemon import Daemon, eventually

#: Bytes that the client may hold.
MOST: Final = 80 * MIB
#: The least that its rate may be of curl's.
LEAST: Final = 0.5

_OURS: Final = "filedrop"
_CURL: Final = "curl"
_POLL: Final = 0.01


class Runs(Processes):
    """Commands that are run one after the other, and what they used."""

    def __init__(self) -> None:
        super().__init__([])
        self._cpu = 0.0
        self._peak = 0

    def run(self, words: list[str], environment: dict[str, str], folder: Path) -> str:
        """Run a command to its end; returns what it prints.

        :raises RuntimeError: it failed.
        """
        before = os.times()
        with subprocess.Popen(words, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
            one = Processes([process.pid])
            # What wait4(2) says of memory has the parent's in it, from before the exec.
            while process.poll() is None:
                self._peak = max(self._peak, one.peak())
                time.sleep(_POLL)
            printed = process.stdout.read() if process.stdout is not None else ""
        after = os.times()
        self._cpu += after.children_user + after.children_system - before.children_user - before.children_system
        if process.returncode:
            raise RuntimeError(f"{words[0]} ended with status {process.returncode}")
        return printed.strip()

    def cpu(self) -> float:
        """See Processes."""
        return self._cpu

    def forget_peak(self) -> bool:
        """See Processes."""
        self._peak = 0
        return True

    def peak(self) -> int:
        """See Processes."""
        return self._peak


class Bench:
    """A daemon, a file, and two clients."""

    def __init__(self, stack: ExitStack, given: argparse.Namespace) -> None:
        self._given = given
        self._folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="filedrop-bench-", dir=given.scratch))
        )
        limit = f"--max-file-size={max(given.size, parse_size('8GiB'))}"
        self._daemon = Daemon(self._folder, limit, f"--durability={given.durability}", *given.daemon_args)
        stack.callback(self._daemon.kill)
        self._daemon.start()
        self._source = self._folder / "source"
        self._copy = self._folder / "copy"
        make_file(self._source, given.size)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FILEDROP")}
        root = str(Path(__file__).parent.parent)
        self._environment = kept | {"XDG_STATE_HOME": str(self._folder), "PYTHONPATH": root}
        self._filedrop = [sys.executable, "-m", "filedropd.client"]

    # -- the rows ---------------------------------------------------------------------------------

    def put(self, tell: Callable[[str], None]) -> Comparison:
        """Leave the file."""
        ours = [*self._filedrop, "put", "--server", self._daemon.url(), str(self._source)]
        curl = ["curl", "-sS", "--fail", "-T", str(self._source), self._daemon.url()]
        return self._row("put", [self._putting(_OURS, ours), self._putting(_CURL, curl)], tell)

    def get(self, tell: Callable[[str], None]) -> Comparison:
        """Fetch it."""
        ours = [*self._filedrop, "get", "-o", str(self._copy)]
        curl = ["curl", "-sS", "--fail", "-o", str(self._copy)]
        return self._row("get", [self._getting(_OURS, ours), self._getting(_CURL, curl)], tell)

    def _row(self, name: str, sides: list[Side], tell: Callable[[str], None]) -> Comparison:
        return Comparison(
            title=f"filedrop {name}, {self._given.size / MIB:,.0f} MiB, durability {self._given.durability}",
            note="The whole run of the command. CPU and memory are the client's.",
            unit="MiB/s",
            per=(1024.0, "GiB"),
            ours=[_OURS],
            ran=alternate(sides, self._given.runs, tell),
            targets=[Target(peer=_CURL, ours=_OURS, rate=LEAST)],
            absent=[],
        )

    def _putting(self, name: str, words: list[str]) -> Side:
        runs, links = Runs(), []

        def act() -> Done:
            began = time.perf_counter()
            links.append(runs.run(words, self._environment, self._folder))
            return self._done(began)

        def after() -> None:
            self._take(links.pop(), Path(os.devnull))

        return Side(name=name, processes=runs, act=act, after=after)

    def _getting(self, name: str, words: list[str]) -> Side:
        runs = Runs()
        link = self._left()

        def act() -> Done:
            began = time.perf_counter()
            runs.run([*words, link], self._environment, self._folder)
            return self._done(began)

        def after() -> None:
            nonlocal link
            self._check()
            link = self._left()

        return Side(name=name, processes=runs, act=act, after=after)

    def _done(self, began: float) -> Done:
        return Done(units=self._given.size / MIB, seconds=time.perf_counter() - began, client=0.0)

    # -- around them ------------------------------------------------------------------------------

    def _left(self) -> str:
        curl = ["curl", "-sS", "--fail", "-T", str(self._source), self._daemon.url()]
        return subprocess.run(curl, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def _take(self, link: str, path: Path) -> None:
        subprocess.run(["curl", "-sS", "--fail", "-o", str(path), link], check=True)
        eventually(lambda: not self._daemon.files("blobs"), "the bytes are deleted")
        os.sync()

    def _check(self) -> None:
        subprocess.run(["cmp", str(self._source), str(self._copy)], check=True)
        self._copy.unlink()
        os.sync()  # what one has written is not to be the other's burden


def memory(rows: list[Comparison]) -> Facts:
    """Return what the client held in all rows."""
    facts = []
    for row in rows:
        peak = max(figures.peak for figures in row.ran[_OURS])
        facts.append(Fact(row.title, f"{peak / MIB:.0f} MiB", f"< {MOST // MIB} MiB", peak < MOST))
    return Facts(title="Memory of the client", note="The most that it held in any run.", facts=facts)


def options() -> argparse.Namespace:
    """Return what stands on the command line."""
    parser = argparse.ArgumentParser(description="Measure filedrop beside curl.")
    add = parser.add_argument
    add("--size", type=parse_size, default=parse_size("4GiB"), help="of the file [4GiB]")
    add("--runs", type=int, default=3, help="of each side [3]")
    add("--durability", choices=["fsync", "none"], default="none", help="of the daemon [none]")
    add("--daemon-args", type=shlex.split, default=[], help="more options for the daemon, in one word")
    add("--scratch", type=Path, help="make the scratch folder in here [the usual place]")
    return parser.parse_args()


def main() -> int:
    """Measure; returns 1 where a target is missed."""
    given = options()
    with ExitStack() as stack:
        bench = Bench(stack, given)
        rows = [row(lambda line: print(line, file=sys.stderr, flush=True)) for row in (bench.put, bench.get)]
    reports: list[Report] = [*rows, memory(rows)]
    for report in reports:
        print(report.text(), end="\n\n", flush=True)
    missed = [line for report in reports for line in report.missed()]
    print(*(f"missed: {line}" for line in missed), sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
