"""Sides are measured in turn, again and again, so that what else the machine does meets all of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import attrs

from bench.usage import Processes, Stopwatch
from tests.daemon import Daemon

GIB: Final = 2**30
MIB: Final = 2**20
FILE_PATH: Final = "/api/v1.0/file"


@attrs.frozen(kw_only=True)
class Given:
    """What all rows are told.

    :ivar size: of a large file.
    :ivar crowd_size: of each file of the row with a hundred transfers.
    :ivar seconds: for which a side is asked for small things.
    :ivar connections: for small things.
    :ivar idle: connections that stay idle.
    :ivar wrk: where wrk is, if it is to be used.
    :ivar seedstack: the folder and the environment of the stack to compare with.
    :ivar daemon_args: more options for every daemon.
    """

    runs: int
    size: int
    crowd_size: int
    seconds: float
    connections: int
    idle: int
    wrk: str | None
    seedstack: tuple[Path | None, Path | None]
    daemon_args: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Done:
    """What a side has done in one run.

    :ivar units: what is counted in this row: MiB, answers, drops.
    :ivar seconds: that it took.
    :ivar client: CPU seconds of the client.
    """

    units: float
    seconds: float
    client: float


@attrs.frozen(kw_only=True)
class Side:
    """One of those that are compared.

    :ivar act: does it once.
    :ivar after: is called when all is measured, to clean up.
    """

    name: str
    processes: Processes
    act: Callable[[], Done]
    after: Callable[[], None] = lambda: None


@attrs.frozen(kw_only=True)
class Figures:
    """What one run of a side came to.

    :ivar rate: units a second.
    :ivar cpu: seconds of the server for each unit.
    :ivar peak: bytes of memory that it held at most.
    :ivar client: share of the time for which the client was busy.
    :ivar others: processors that were busy with something else.
    """

    rate: float
    cpu: float
    peak: int
    client: float
    others: float


def measured(side: Side) -> Figures:
    """Let a side do it once."""
    side.processes.forget_peak()
    with Stopwatch(side.processes) as watch:
        done = side.act()
    peak = side.processes.peak()
    side.after()
    return Figures(
        rate=done.units / done.seconds,
        cpu=watch.cpu / done.units,
        peak=peak,
        client=done.client / done.seconds,
        others=max(0.0, watch.machine - watch.cpu - done.client) / watch.seconds,
    )


def alternate(sides: Sequence[Side], runs: int, tell: Callable[[str], None]) -> dict[str, list[Figures]]:
    """Run all sides ``runs`` times in turn, forth and back; returns what each came to, run by run."""
    ran: dict[str, list[Figures]] = {side.name: [] for side in sides}
    for number in range(runs):
        for side in sides if number % 2 == 0 else reversed(sides):
            figures = measured(side)
            ran[side.name].append(figures)
            tell(f"  run {number + 1}: {side.name}: {figures.rate:,.0f}/s, others {figures.others:.2f} CPUs")
    return ran


def daemon(stack: ExitStack, given: Given, *arguments: str) -> Daemon:
    """Start a daemon with its data in a scratch folder; ``stack`` ends it."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="filedropd-compare-")))
    made = Daemon(folder, f"--max-file-size={max(given.size, given.crowd_size, GIB)}", *arguments, *given.daemon_args)
    stack.callback(made.kill)
    return made.start()
