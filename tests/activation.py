"""A daemon that a service manager starts: as the unit says, on a socket that stays open without it."""

from __future__ import annotations

import configparser
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.daemon import Daemon, _environment

#: The folder with this project.
ROOT: Final = Path(__file__).parent.parent

# Before exec, in the process that becomes the daemon: LISTEN_PID is its own number (sd_listen_fds(3)).
_BECOME: Final = """
import os, sys
listener = int(sys.argv[1])
os.dup2(listener, 3)
if listener != 3:
    os.close(listener)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": sys.argv[2]}
os.execvp(sys.argv[3], sys.argv[3:])
"""


def unit(name: str) -> configparser.ConfigParser:
    """Return one of our units; of a key that is there several times, the last line."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # this is how it is told to keep the case
    parser.read_string((ROOT / "systemd" / name).read_text("utf-8"))
    return parser


def here(text: str) -> str:
    """Return ``text`` with this project's own paths in place of those where it is installed."""
    text = text.replace("/opt/filedropd/bin", str(Path(sys.executable).parent))
    return text.replace("/etc/filedropd.toml", str(ROOT / "etc" / "filedropd.toml"))


def exec_start() -> list[str]:
    """Return the unit's command, with this project's own paths in it."""
    return shlex.split(here(unit("filedropd.service")["Service"]["ExecStart"]))


class ActivatedDaemon(Daemon):
    """A daemon on a socket that is open before it is started and after it has ended.

    :param within: a command that runs the daemon's, such as ``unshare``.
    :param environ: variables beside our own environment's.
    """

    def __init__(self, folder: Path, *within: str, environ: Mapping[str, str] | None = None) -> None:
        super().__init__(folder)
        self._within = within
        self._environ = {"STATE_DIRECTORY": str(self.data), **(environ or {})}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.address: tuple[str, int] = self._listener.getsockname()

    def spawn(self) -> None:
        """Start it and do not wait until it serves, if it ever does."""
        name = unit("filedropd.socket")["Socket"]["FileDescriptorName"]
        listener = str(self._listener.fileno())
        command = [*self._within, sys.executable, "-c", _BECOME, listener, name, *exec_start()]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**_environment(), **self._environ},
                pass_fds=[self._listener.fileno()],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def close(self) -> None:
        """End it, and its socket."""
        self.kill()
        self._listener.close()
