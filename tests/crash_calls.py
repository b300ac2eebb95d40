"""A daemon that is killed at its n-th system call, by :mod:`tests.tracer`."""

from __future__ import annotations

import contextlib
import http.client
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs

from tests.daemon import Daemon, eventually
from tests.tracer import CALLS

#: The names of all that are counted, and of those that change the disk.
ALL = frozenset(name for names in CALLS.values() for name in names.values())
DISK = ALL - {"write", "writev", "sendto", "sendmsg"}

_ROOT = Path(__file__).parent.parent


@attrs.frozen
class Point:
    """Where a daemon is killed: as it enters the call ``name`` for the ``number``-th time."""

    name: str
    number: int


class NotPermitted(Exception):
    """No process can be traced here; says why."""


class StoppedDaemon(Daemon):
    """A daemon that waits, before it does anything, for SIGCONT."""

    def _command(self) -> list[str]:
        return ["sh", "-c", 'kill -STOP $$; exec "$@"', "sh", *super()._command()]

    @property
    def stopped(self) -> bool:
        """Whether it waits."""
        return "\nState:\tT" in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")


@contextlib.contextmanager
def traced(process: int, names: Iterable[str], at: int = 0) -> Iterator[list[str]]:
    """Watch the calls of ``process`` with these names in the block, and kill it at the one with the number ``at``.

    :returns: their names in order, once the block has ended.
    :raises NotPermitted: that cannot be done here.
    """
    command = [sys.executable, "-m", "tests.tracer", str(process), str(at), *names]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tracer:
        if tracer.stdout is None or tracer.stderr is None:
            raise RuntimeError("there is no pipe to the tracer")
        if tracer.stdout.readline() != "attached\n":
            raise NotPermitted(f"no process can be traced here: {tracer.stderr.read().strip()[-200:]}")
        seen: list[str] = []
        try:
            yield seen
        finally:
            tracer.terminate()
            seen += tracer.stdout.read().split()


def refused() -> str:
    """Return why no process can be traced here; an empty string where one can be."""
    if platform.machine() not in CALLS:
        return f"the numbers of the system calls of {platform.machine()} are not known here"
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            with traced(process.pid, ALL):
                return ""
        except NotPermitted as reason:
            return str(reason)
        finally:
            process.kill()


def watched(daemon: Daemon, cycle: Callable[[], object]) -> list[str]:
    """Return the calls of a running daemon in ``cycle``, in order."""
    with traced(daemon.pid, ALL) as seen:
        cycle()
    return seen


def killed_at(daemon: Daemon, point: Point, cycle: Callable[[], object]) -> bool:
    """Go through ``cycle`` and be killed at ``point``; tells whether it came to that."""
    try:
        with traced(daemon.pid, [point.name], point.number):
            cycle()
    except (OSError, http.client.HTTPException):  # its connections end a moment before it does
        daemon.wait()
        return True
    if daemon.running:
        return False
    daemon.wait()
    return True


def watched_from_start(folder: Path, until: Callable[[Daemon], None]) -> list[str]:
    """Start a daemon and return its calls that change the disk, in order, before ``until`` returns."""
    seen, _ = _from_start(folder, DISK, 0, until)
    return seen


def killed_from_start(folder: Path, point: Point, until: Callable[[Daemon], None]) -> bool:
    """Start a daemon and be killed at ``point``, unless ``until`` returns before; tells which it was."""
    _, killed = _from_start(folder, [point.name], point.number, until)
    return killed


def _from_start(folder: Path, names: Iterable[str], at: int, until: Callable[[Daemon], None]) -> tuple[list[str], bool]:
    daemon = StoppedDaemon(folder)
    try:
        daemon.spawn()
        eventually(lambda: daemon.stopped, "the daemon waits")
        with traced(daemon.pid, names, at) as seen:
            daemon.signal(signal.SIGCONT)
            until(daemon)
            killed = not daemon.running
    finally:
        daemon.kill()
    return seen, killed
