"""Where the daemon's time goes under one of the loads of ``bench.compare``.

Runs ``twistd``, puts the load on it, and prints in which functions it spent the most time of their own meanwhile
(``--sort cumulative``: with what they call), by cProfile.  That makes calls dearer than they are: it tells where to look, and
``bench.compare`` what came of it.  Threads other than the reactor's are not seen.

With ``--perf`` the daemon runs as it is, and ``perf record`` samples it, the kernel's part included; that needs perf,
and shows Python's own functions only by the name of the interpreter's loop.

    python -m bench.profile gone|unknown|drops|raw|form|download [--seconds 5] [--size 256MiB] [--save FILE]
"""

from __future__ import annotations

import argparse
import json
import pstats
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import attrs

from bench import wire
from bench.asking import ask_gone, make_drops
from bench.large import make_file
from bench.sides import FILE_PATH, GIB
from bench.small import spent, unknown
from filedropd.config import parse_size
from tests.daemon import Daemon, eventually

Act = Callable[[], object]

_CONNECTIONS: Final = 100
_LINKS: Final = 200


#: Runs a script, under cProfile from SIGUSR1 to SIGUSR2.
_PROFILED: Final = """
import cProfile, runpy, signal, sys
stats = sys.argv[1]
profile = cProfile.Profile()
signal.signal(signal.SIGUSR1, lambda *_: profile.enable())
signal.signal(signal.SIGUSR2, lambda *_: profile.dump_stats(stats))
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Profiled(Daemon):
    """A daemon that cProfile can be let look at.

    :ivar stats: where what it saw is written.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__(folder, *arguments)
        self.stats = folder / "stats"

    def _command(self) -> list[str]:
        return [sys.executable, "-c", _PROFILED, str(self.stats), *super()._command()]

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """Let cProfile look meanwhile."""
        self.signal(signal.SIGUSR1)
        yield
        self.signal(signal.SIGUSR2)
        eventually(lambda: self.stats.exists() and self.stats.stat().st_size, "the profile is written")


class Sampled(Daemon):
    """A daemon that perf can be let look at.

    :ivar stats: where what it saw is written.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__(folder, *arguments)
        self.stats = folder / "perf.data"

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """Let perf look meanwhile."""
        command = ["perf", "record", "-q", "-g", "-p", str(self.pid), "-o", str(self.stats)]
        with subprocess.Popen(command) as perf:
            yield
            perf.send_signal(signal.SIGINT)


@attrs.frozen(kw_only=True)
class Load:
    """What is put on the daemon: each makes what it needs, and returns what is to be looked at.

    :ivar source: a file of ``size``.
    """

    port: int
    seconds: float
    source: Path
    size: int

    def gone(self) -> Act:
        """Ask for what is gone."""
        return self._asking([spent(self.port, FILE_PATH) for _ in range(_LINKS)])

    def unknown(self) -> Act:
        """Ask for what was never there."""
        return self._asking([unknown(spent(self.port, FILE_PATH)) for _ in range(_LINKS)])

    def _asking(self, paths: list[str]) -> Act:
        return lambda: ask_gone(shutil.which("wrk"), self.port, paths, _CONNECTIONS, self.seconds)

    def drops(self) -> Act:
        """Make whole drops."""
        wrk = shutil.which("wrk")
        return lambda: make_drops(wrk, self.port, FILE_PATH, 4096, connections=_CONNECTIONS, seconds=self.seconds)

    def raw(self) -> Act:
        """Upload raw."""
        return self._again(lambda: self._revoke(self._left(wire.raw_head(FILE_PATH, self.size))))

    def form(self) -> Act:
        """Upload as a form."""
        return self._again(lambda: self._revoke(self._left(*wire.form(FILE_PATH, self.size))))

    def download(self) -> Act:
        """Download."""
        link = urlsplit(self._left(wire.raw_head(FILE_PATH, self.size, "Filedrop-Downloads: 1000"))["url"]).path
        return self._again(lambda: wire.download(self.port, link))

    def _left(self, before: bytes, after: bytes = b"") -> Mapping[str, str]:
        answer = wire.upload(self.port, before, self.source, self.size, after).answers[0]
        told: Mapping[str, str] = json.loads(answer.body)
        return told

    def _revoke(self, told: Mapping[str, str]) -> None:
        wire.ask(self.port, wire.delete(urlsplit(told["url"]).path, told["owner_token"]))

    def _again(self, act: Act) -> Act:
        def acting() -> None:
            until = time.monotonic() + self.seconds
            while time.monotonic() < until:
                act()

        return acting


LOADS: Final[Mapping[str, Callable[[Load], Act]]] = {
    "gone": Load.gone,
    "unknown": Load.unknown,
    "drops": Load.drops,
    "raw": Load.raw,
    "form": Load.form,
    "download": Load.download,
}


def run(given: argparse.Namespace, folder: Path) -> Path:
    """Look at a daemon under the load; returns where what was seen is written."""
    source = folder / "source"
    make_file(source, given.size)
    kind = Sampled if given.perf else Profiled
    daemon = kind(folder, f"--max-file-size={max(given.size, GIB)}", *given.daemon_args)
    try:
        daemon.start()
        act = LOADS[given.load](Load(port=daemon.port, seconds=given.seconds, source=source, size=given.size))
        with daemon.looked_at():
            act()
        daemon.stop()
    finally:
        daemon.kill()
    return daemon.stats


def print_samples(stats: Path, most: int) -> None:
    """Print what perf saw."""
    command = ["perf", "report", "--stdio", "--no-children", "-g", "none", "--percent-limit", "0.5", "-i", str(stats)]
    report = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in report.stdout.splitlines() if line and not line.startswith("#")]
    print(*lines[:most], sep="\n")


def options() -> argparse.Namespace:
    """Return what stands on the command line."""
    parser = argparse.ArgumentParser(description="Show where the daemon's time goes under a load.")
    parser.add_argument("load", choices=LOADS)
    parser.add_argument("--seconds", type=float, default=5.0, help="of the load [5]")
    parser.add_argument("--size", type=parse_size, default=parse_size("256MiB"), help="of a large file [256MiB]")
    parser.add_argument("--sort", default="tottime", choices=("tottime", "cumulative", "ncalls"), help="[tottime]")
    parser.add_argument("--lines", type=int, default=40, help="how many are printed [40]")
    parser.add_argument("--perf", action="store_true", help="sample with perf instead")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the profile, for snakeviz, pstats or perf")
    parser.add_argument("--daemon-args", type=shlex.split, default=[], help="more options for the daemon, in one word")
    return parser.parse_args()


def main() -> None:
    """Profile."""
    given = options()
    if given.perf and shutil.which("perf") is None:
        raise SystemExit("perf is not installed (Debian: apt-get install linux-perf)")
    with tempfile.TemporaryDirectory(prefix="filedropd-profile-") as folder:
        stats = run(given, Path(folder))
        if given.save is not None:
            shutil.copyfile(stats, given.save)
        if given.perf:
            print_samples(stats, given.lines)
        else:
            pstats.Stats(str(stats)).strip_dirs().sort_stats(given.sort).print_stats(given.lines)


if __name__ == "__main__":
    main()
