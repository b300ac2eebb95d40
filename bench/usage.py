"""What processes use, and what the machine does besides: CPU time and memory, of a server with all its children."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_NOW: Final = re.compile(r"^VmRSS:\s+(\d+) kB$", re.MULTILINE)


class Processes:
    """Some processes and all their descendants, as they are when something is asked.

    :param roots: their process ids.
    """

    def __init__(self, roots: Iterable[int]) -> None:
        self._roots = tuple(roots)

    def all(self) -> list[int]:
        """Return the ids of those that run."""
        found: list[int] = []
        waiting = list(self._roots)
        while waiting:
            pid = waiting.pop()
            if _exists(pid) and pid not in found:
                found.append(pid)
                waiting += _children(pid)
        return found

    def cpu(self) -> float:
        """Return the CPU seconds that those that run have used, their own and the kernel's on their behalf."""
        return sum(map(_cpu, self.all()))

    def forget_peak(self) -> bool:
        """Begin the peak of memory anew; returns whether that is permitted here."""
        try:
            for pid in self.all():
                Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
        except OSError:
            return False
        return True

    def peak(self) -> int:
        """Return the most bytes that they held, each at its own time; what they share is counted for each."""
        return sum(_status(pid, _PEAK) for pid in self.all())

    def resident(self) -> int:
        """Return the bytes that they hold; what they share is counted for each."""
        return sum(_status(pid, _NOW) for pid in self.all())


class Stopwatch:
    """Takes the time and the CPU time of processes and of the whole machine, while it is entered.

    :ivar seconds: by the clock on the wall.
    :ivar cpu: seconds of the processes.
    :ivar machine: seconds of everybody on this machine.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.seconds = self.cpu = self.machine = 0.0

    def __enter__(self) -> Self:
        self.machine, self.cpu, self.seconds = machine_seconds(), self._processes.cpu(), time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        self.seconds = time.perf_counter() - self.seconds
        self.cpu = self._processes.cpu() - self.cpu
        self.machine = machine_seconds() - self.machine


def machine_seconds() -> float:
    """Return the CPU time that was used on this machine by anybody."""
    first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()
    user, nice, system, _idle, _waiting, *interrupts = (int(field) for field in first[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def _cpu(pid: int) -> float:
    """Return the CPU time of a process, to the nanosecond: its clock, as clock_getcpuclockid(3) numbers it."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _children(pid: int) -> list[int]:
    """Return the children of all threads of a process."""
    found: list[int] = []
    for told in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, told.read_text(encoding="ascii").split())
        except OSError:  # that thread has ended
            continue
    return found


def _status(pid: int, field: re.Pattern[str]) -> int:
    try:
        found = field.search(Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace"))
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
