"""What filedropd is compared with: each a server in a process of its own, or a word on why it is not here."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Self

from bench.usage import Processes
from tests.servers import Nginx, Server, free_port, scratch

HELLO: Final = Path(__file__).with_name("hello.py")

#: One worker, as there is one process of filedropd; no log; nothing of a form or a body is limited.
_NGINX: Final = """
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
    default_type application/octet-stream;
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ root {root}; }}
        location /gone {{ return 404; }}
        {more}
    }}
}}
"""
_DAV: Final = """
        location /put {{ root {root}; dav_methods PUT; create_full_put_path on; client_body_temp_path {root}/body; }}
"""
_SEED_URL: Final = re.compile(r"http://127\.0\.0\.1:\d+(/\S*)")
#: Seconds within which its parts must have ended when they are told to.
_LEAVE: Final = 10.0
_SEED_PIDS: Final = ("uwsgi.pid", "celery.pid", "nginx.pid", "redis1.pid", "redis2.pid", "pg/postmaster.pid")


class NotHere(Exception):
    """It cannot be started on this machine; says why."""


class StaticNginx(Nginx):
    """nginx from its wheel: files by sendfile(2), and 404 for what begins with ``/gone``.

    :ivar root: the folder of its files.
    """

    def __init__(self, more: str = "") -> None:
        port = free_port()
        super().__init__("", port)
        self.root = self.folder / "files"
        self.root.mkdir()
        text = _NGINX.format(port=port, root=self.root, more=more.format(root=self.root))
        (self.folder / "nginx.conf").write_text(text, encoding="utf-8")
        (self.folder / "logs").mkdir()


class DavNginx(StaticNginx):
    """Debian's nginx, which has the module for WebDAV: PUT below ``/put``.

    :raises NotHere: it is not installed.
    """

    def __init__(self) -> None:
        found = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        if found is None:
            raise NotHere("nginx with WebDAV: not installed (Debian: apt-get install nginx-light)")
        told = subprocess.run([found, "-V"], capture_output=True, text=True, check=False).stderr
        if "http_dav_module" not in told:
            raise NotHere(f"nginx with WebDAV: {found} is built without the module")
        self._program = found
        super().__init__(_DAV)

    def _command(self) -> list[str]:
        return [self._program, *super()._command()[1:]]


class Listening(Server):
    """A server that is ready when it listens on its port."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    def _answers(self) -> bool:
        with socket.socket() as asking:
            asking.settimeout(1)
            return asking.connect_ex(("127.0.0.1", self.port)) == 0


class Hello(Listening):
    """Klein's or twisted.web's shortest way to say no.

    :param kind: ``klein`` or ``resource``.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def _command(self) -> list[str]:
        return [sys.executable, str(HELLO), self._kind, str(self.port)]


class FromPyPI(Listening):
    """A server that is installed with the extra ``bench``.

    :ivar root: the folder that files go to.
    :raises NotHere: it is not installed.
    """

    module = ""

    def __init__(self) -> None:
        if find_spec(self.module) is None:
            raise NotHere(f"{self.module}: not installed (pip install -e '.[bench]')")
        super().__init__()
        self.root = self.folder / "files"
        self.root.mkdir()


class Copyparty(FromPyPI):
    """copyparty, anybody may write; without what it does besides keeping the bytes (checksums, thumbnails)."""

    module = "copyparty"

    def _command(self) -> list[str]:
        quiet = ["-q", "--no-thumb", "--bup-ck", "no"]
        return [
            *("env", f"XDG_CONFIG_HOME={self.folder}", sys.executable, "-m", "copyparty", "-i", "127.0.0.1"),
            *("-p", str(self.port), "-v", f"{self.root}::rw", *quiet),
        ]


class UploadServer(FromPyPI):
    """uploadserver, http.server with a form to upload."""

    module = "uploadserver"
    _ends_by = signal.SIGINT

    def _command(self) -> list[str]:
        where = ["--bind", "127.0.0.1", "--directory", str(self.root), str(self.port)]
        return [sys.executable, "-m", "uploadserver", *where]


class Seedstack:
    """A file drop of many parts, made by a script that is not ours: Flask, uWSGI, Celery, nginx, PostgreSQL, Redis.

    ``up FOLDER VENV`` starts it on ``SEED_PORT`` with all it keeps in ``FOLDER`` and prints where files are put;
    ``up stop FOLDER`` ends it.

    :param folder: where ``up`` is.
    :param venv: the environment with what it imports.
    :ivar path: where files are put.
    :raises NotHere: there is no such script.
    """

    def __init__(self, folder: Path | None, venv: Path | None) -> None:
        if folder is None or venv is None:
            raise NotHere("seedstack: not named (--seedstack DIR --seedstack-venv DIR)")
        self._up = folder.resolve() / "up"
        self._venv = venv.resolve()
        for needed in (self._up, self._venv / "bin" / "python"):
            if not needed.exists():
                raise NotHere(f"seedstack: there is no {needed.name} in the folder that was named for it")
        self._folder = Path(tempfile.mkdtemp(prefix="seedstack-", dir=scratch()))
        self.port = free_port()
        self.path = ""

    def __enter__(self) -> Self:
        command = ["env", f"SEED_PORT={self.port}", str(self._up), str(self._folder), str(self._venv)]
        log = self._folder.with_suffix(".log")
        with log.open("wb") as output:  # not a pipe: what it starts keeps it open
            status = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
        told = log.read_text(encoding="utf-8", errors="replace")
        found = _SEED_URL.search(told)
        if status or found is None:
            self.__exit__()
            last = told.strip().rpartition("\n")[2]
            raise NotHere(f"seedstack: it does not start here ({last})")
        self.path = found[1]
        return self

    def __exit__(self, *exc: object) -> None:
        started = Processes(self.pids()).all()
        subprocess.run([str(self._up), "stop", str(self._folder)], check=False, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _LEAVE
        while (left := [pid for pid in started if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def pids(self) -> list[int]:
        """Return the process ids of its parts."""
        files = [self._folder / name for name in _SEED_PIDS]
        return [int(file.read_text(encoding="ascii").split()[0]) for file in files if file.exists()]
