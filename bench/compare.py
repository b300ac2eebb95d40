"""filedropd beside others that do parts of the same: what each row of ``docs/performance.md`` says is measured here.

All that is compared is started here, on loopback, and measured in turn: the sides of a row run one after the other,
``--runs`` times, forth and back. Rates are medians with the least and the greatest; ratios are medians of the ratios
of pairs, one of each run. Who cannot be had here is left out, and a line says so.

    python -m bench.compare [--rows raw,form,download,gone,drops,memory,latency,idle] [--write docs/performance.md]

A row can be named by its number, too; ``upload`` is raw and form.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bench import bulk, crowds, report, small
from bench.sides import Given
from filedropd.config import parse_size

Row = Callable[[Given, Callable[[str], None]], report.Report]

ROWS: Final[Mapping[str, Row]] = {
    "raw": bulk.raw,
    "form": bulk.form,
    "download": bulk.download,
    "gone": small.gone,
    "drops": small.drops,
    "memory": crowds.memory,
    "latency": crowds.latency,
    "idle": crowds.idle,
}
_ALIASES: Final = {"upload": ["raw", "form"], "all": list(ROWS)} | {
    str(number): [name] for number, name in enumerate(ROWS, 1)
}


def tell(line: str) -> None:
    """Print how far it is."""
    print(line, file=sys.stderr, flush=True)


def machine(given: Given, seconds: float) -> str:
    """Return what it ran on, and how."""
    processor = "a processor that the kernel does not name"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    client = "wrk" if given.wrk else "a client of our own"
    return (
        f"{time.strftime('%Y-%m-%d')}: {os.cpu_count()} × {processor}, Linux {platform.release().partition('-')[0]}, "
        f"Python {platform.python_version()}; server and client on the same machine. {given.runs} runs of each side, "
        f"{seconds:.0f} s in all; small things for {given.seconds:g} s over {given.connections} connections by {client}."
    )


def rows(text: str) -> list[str]:
    """Return the rows that are meant by a list of names."""
    found: list[str] = []
    for name in text.replace(" ", "").split(","):
        if name not in ROWS and name not in _ALIASES:
            raise argparse.ArgumentTypeError(f"no row {name!r}; there are {', '.join(ROWS)}")
        found += _ALIASES.get(name, [name])
    return found


def options() -> argparse.Namespace:
    """Return what stands on the command line."""
    parser = argparse.ArgumentParser(description="Compare filedropd with others, side by side.")
    add = parser.add_argument
    add("--rows", type=rows, default=list(ROWS), help="which, with commas [all]")
    add("--runs", type=int, default=3, help="of each side [3]")
    add("--size", type=parse_size, default=parse_size("1GiB"), help="of a large file [1GiB]")
    add("--crowd-size", type=parse_size, default=parse_size("128MiB"), help="of each of 100 at once [128MiB]")
    add("--seconds", type=float, default=3.0, help="for which small things are asked for [3]")
    add("--connections", type=int, default=100, help="for small things [100]")
    add("--idle", type=int, default=10_000, help="connections that stay idle [10000]")
    add("--no-wrk", action="store_true", help="use our own client where wrk is installed")
    add("--seedstack", type=Path, metavar="DIR", help="where the script `up` of a stack to compare with is")
    add("--seedstack-venv", type=Path, metavar="DIR", help="the environment that it needs")
    add("--daemon-args", type=shlex.split, default=[], help="more options for every daemon, in one word")
    add("--scratch", type=Path, help="keep all files below this folder [the usual place]")
    add("--write", type=Path, metavar="FILE", help="put the tables between the marks in this document")
    add("--strict", action="store_true", help="end with status 1 where a target is missed")
    return parser.parse_args()


def given_by(arguments: argparse.Namespace) -> Given:
    """Return what the rows are told."""
    return Given(
        runs=arguments.runs,
        size=arguments.size,
        crowd_size=arguments.crowd_size,
        seconds=arguments.seconds,
        connections=arguments.connections,
        idle=arguments.idle,
        wrk=None if arguments.no_wrk else shutil.which("wrk"),
        seedstack=(arguments.seedstack, arguments.seedstack_venv),
        daemon_args=tuple(arguments.daemon_args),
    )


def main() -> int:
    """Run the rows and print their tables."""
    arguments = options()
    if arguments.scratch is not None:
        tempfile.tempdir = str(arguments.scratch.resolve())
    given = given_by(arguments)
    began, reports = time.monotonic(), []
    for name in arguments.rows:
        tell(f"{name} …")
        reports.append(ROWS[name](given, tell))
        print(reports[-1].text(), end="\n\n", flush=True)
    about = machine(given, time.monotonic() - began)
    missed = [line for each in reports for line in each.missed()]
    print(about, *(f"missed: {line}" for line in missed), sep="\n")
    if arguments.write is not None:
        report.write(arguments.write, "\n\n".join([about, *(each.text() for each in reports)]))
    return 1 if missed and arguments.strict else 0


if __name__ == "__main__":
    sys.exit(main())
