"""The daemon as users run it: ``twistd`` in a process of its own, for tests and for ``bench/``."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self, TypeVar

#: Any free port: the log tells which it became.
ANY_PORT: Final = "tcp:0:interface=127.0.0.1"

#: Seconds within which a daemon starts, stops or answers, on a machine that has much else to do.
PATIENCE: Final = 60.0

_POLL: Final = 0.01
# In the text log, and in the JSON log.
_PORT: Final = re.compile(r"HTTPFactory(?: \(TLS\))? starting on (\d+)")
_READY: Final = re.compile(r'(?:Daemon#info\]|filedropd:) ready$|"text": "ready"', re.MULTILINE)

T = TypeVar("T")


def eventually(probe: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Call ``probe`` until what it returns is true, and return that.

    :raises AssertionError: it was not within ``seconds``; says ``what`` was waited for.
    """
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(_POLL)
    return found


#: Options that every daemon of a test run is given besides its own: ``DAEMON_OPTIONS=--no-zero-copy trial tests``.
OPTIONS: Final = "DAEMON_OPTIONS"


class Daemon:
    """A daemon with its data in ``folder``.  It may be started again when it has ended.

    :param folder: where ``data/`` and ``log`` are, or will be.
    :param arguments: options of ``filedropd``; ``--data-dir`` and ``--listen`` go before them.
    :param listen: the endpoints.
    :ivar data: its data directory.
    :ivar ports: those of the endpoints that have one, in the same order, since the last start.
    """

    def __init__(self, folder: Path, *arguments: str, listen: tuple[str, ...] = (ANY_PORT,)) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.ports: list[int] = []
        self._arguments = arguments
        self._listen = listen
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    # -- its life ---------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start it; returns when it serves.

        :raises AssertionError: it does not; says what it logged.
        """
        begins = self._log.stat().st_size if self._log.exists() else 0
        self.spawn()
        try:
            eventually(lambda: self._has_started(begins), "the daemon is ready")
        except BaseException:
            self.kill()
            raise
        self.ports = [int(found.group(1)) for found in _PORT.finditer(self.log(begins))]
        return self

    def _has_started(self, begins: int) -> bool:
        ended = not self.running  # looked at first: what it logged last is there then
        log = self.log(begins)
        if ended:
            raise AssertionError(f"the daemon ended:\n{log}")
        return _READY.search(log) is not None

    def spawn(self) -> None:
        """Start it and do not wait until it serves, if it ever does."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), cwd=self.folder, env=_environment(), stdout=log, stderr=subprocess.STDOUT
            )

    def kill(self) -> None:
        """End it as a crash does (SIGKILL). Does nothing where it has ended."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """End it as an operator does (SIGTERM); returns its status."""
        self.terminate()
        return self.wait()

    def terminate(self) -> None:
        """Ask it to end (SIGTERM), and do not wait until it has."""
        self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self) -> int:
        """Return its status when it has ended.

        :raises subprocess.TimeoutExpired: it has not, in time.
        """
        return 0 if self._process is None else self._process.wait(PATIENCE)

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def _command(self) -> list[str]:
        listen = [f"--listen={description}" for description in self._listen]
        twistd = Path(sys.executable).with_name("twistd")
        given = shlex.split(os.environ.get(OPTIONS, ""))
        return [
            str(twistd),
            "-n",
            "--pidfile=",
            "filedropd",
            f"--data-dir={self.data}",
            *listen,
            *given,
            *self._arguments,
        ]

    # -- what it shows ----------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The first of its ports."""
        return self.ports[0]

    def url(self, path: str = "/") -> str:
        """Return where ``path`` is now: its port is another one after each start."""
        return f"http://127.0.0.1:{self.port}{path}"

    def log(self, begins: int = 0) -> str:
        """Return what it has logged, from byte ``begins`` on."""
        return self._log.read_bytes()[begins:].decode("utf-8", "replace")

    def files(self, folder: str) -> list[Path]:
        """Return the files below ``incoming`` or ``blobs``."""
        found = []
        for parent, _, names in os.walk(self.data / folder):
            found += [Path(parent, name) for name in names]
        return found

    # -- what it uses -----------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Its process id.

        :raises RuntimeError: it was never started.
        """
        if self._process is None:
            raise RuntimeError("the daemon was not started")
        return self._process.pid

    def peak_memory(self) -> int:
        """Return the most bytes of memory that it has held at once (VmHWM) since :meth:`forget_peak`."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        if found is None:
            raise RuntimeError("this kernel does not tell VmHWM")
        return int(found.group(1)) * 1024

    def forget_peak(self) -> None:
        """Begin the peak anew (proc(5): clear_refs).

        :raises OSError: that is not permitted here.
        """
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used, its own and the kernel's on its behalf."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _environment() -> Mapping[str, str]:
    """Return our environment without what would configure the daemon behind our back."""
    ours = {"STATE_DIRECTORY", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"}
    kept = {name: value for name, value in os.environ.items() if name not in ours and not name.startswith("FILEDROPD_")}
    return kept | {"PYTHONUNBUFFERED": "1"}
