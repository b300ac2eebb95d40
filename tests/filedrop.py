"""``filedrop`` as people run it: a process with a home of its own, without a terminal or with one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import attrs

from tests.daemon import PATIENCE

_ROOT: Final = Path(__file__).parent.parent
#: What would lead a command elsewhere than a test means.
_OURS: Final = re.compile(r"(?:FILEDROP|XDG|SSL_CERT|SSH)_?|.*_proxy$", re.IGNORECASE)


@attrs.frozen
class Ended:
    """What a command ended with, and what it printed."""

    status: int
    out: str
    err: str


class Home:
    """A place to run ``filedrop`` in: a folder that is its working directory, with its home in it.

    :param server: where ``put`` leaves files.
    """

    def __init__(self, folder: Path, server: str = "") -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.home = folder / ".home"
        self.home.mkdir(exist_ok=True)
        self.server = server

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the commands."""
        kept = {name: value for name, value in os.environ.items() if not _OURS.match(name)}
        kept |= {"HOME": str(self.home), "PYTHONPATH": str(_ROOT), "TERM": "xterm", "COLUMNS": "100"}
        return kept | ({"FILEDROP_SERVER": self.server} if self.server else {}) | more

    def run(self, *words: str, given: bytes = b"", **environment: str) -> Ended:
        """Run a command to its end, without a terminal, not even to ask at."""
        done = subprocess.run(
            command(*words),
            cwd=self.folder,
            env=self.environment(**environment),
            input=given,
            capture_output=True,
            timeout=2 * PATIENCE,
            check=False,
            start_new_session=True,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    def redirected(self, redirections: str, *words: str, output: int = subprocess.PIPE) -> Ended:
        """Run a command to its end as a shell does that is told ``redirections``: ``>&-``, ``2>/dev/full``.

        :param output: the standard output that it has before that. (A shell need not know descriptors beyond 9.)
        """
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {redirections}', "sh", *command(*words)],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            timeout=2 * PATIENCE,
            check=False,
            start_new_session=True,
        )
        return Ended(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())

    def start(self, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command without a terminal."""
        return subprocess.Popen(
            command(*words),
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def terminal(self, *words: str, **environment: str) -> Terminal:
        """Start a command at a terminal."""
        return Terminal(command(*words), self.folder, self.environment(**environment))


def command(*words: str) -> list[str]:
    """Return what runs ``filedrop`` with these words."""
    return [sys.executable, "-m", "filedropd.client", *words]


class Terminal:
    """A process at a pseudo-terminal of its own, which is its input, its output and where it asks.

    :ivar shown: all that the terminal was sent.
    """

    def __init__(self, words: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.shown = ""
        self._pid, self._screen = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execve(words[0], words, environment)
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self._status: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._screen)

    def until(self, there: Callable[[], object] | str, seconds: float = PATIENCE) -> Self:
        """Let it run until something is true, or until this text was shown.

        :raises AssertionError: it was not, in time or before the process ended; says what was shown.
        """
        deadline = time.monotonic() + seconds
        while not (there in self.shown if isinstance(there, str) else there()):
            if time.monotonic() > deadline or not self._read():
                raise AssertionError(f"not shown: {there}\n{self.shown}")
        return self

    def type(self, text: str) -> Self:
        """Type something. ``\\x03`` is Ctrl-C."""
        os.write(self._screen, text.encode())
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self._pid, number)

    def end(self, seconds: float = PATIENCE) -> int:
        """Let it run to its end; returns its status."""
        deadline = time.monotonic() + seconds
        while self._read():
            if time.monotonic() > deadline:
                raise AssertionError(f"it does not end:\n{self.shown}")
        self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._status

    def _read(self) -> bool:
        """Read what there is, waiting a moment; returns whether there may be more."""
        if not select.select([self._screen], [], [], 0.02)[0]:
            return True
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # EIO: nobody has it open any more
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)
