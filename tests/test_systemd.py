"""The units: what systemd itself thinks of them, and the daemon started as they say."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import SkipTest, skipUnless

import attrs
import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from filedropd.config import SETTINGS, parse_duration
from filedropd.config.endpoints import parse_endpoint
from filedropd.descriptors import EACH, RESERVED
from filedropd.records.postgres_migrating import MIGRATING
from filedropd.tap import STOPPING
from tests.activation import ROOT, ActivatedDaemon, exec_start, here, unit
from tests.daemon import PATIENCE
from tests.servers import postgresql
from tests.test_daemon import MIB, left, request
from tests.test_notify import ServiceManager

NEEDS_SYSTEMD = skipUnless(shutil.which("systemd-analyze"), "systemd-analyze (package systemd) is not installed")
NEEDS_STRACE = skipUnless(shutil.which("strace"), "strace is not installed")

#: SQLite gives its files their owner, where it runs as root: the unit's user is none.
ROOTS_OWN = {"fchown"} if os.geteuid() == 0 else set()

#: What the exposure of the service may be, in tenths, as systemd-analyze counts it.
EXPOSURE = 15

UNITS = ("filedropd.service", "filedropd.socket")


def analyze(*arguments, **environ) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze; returns its status, and all that it said."""
    command = ["systemd-analyze", "--no-pager", *arguments]
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", **environ}
    return subprocess.run(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False
    )


def default(name) -> str:
    """Return the default of a setting, as it is written."""
    return next(setting.default for setting in SETTINGS if setting.name == name)


def values(key) -> list[str]:
    """Return all values of a key of the service that may be there several times."""
    text = (ROOT / "systemd" / "filedropd.service").read_text("utf-8")
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def in_seconds(text) -> float:
    """Return a time span of systemd.time(7), of those that our units use."""
    return parse_duration(text.replace("min", "m"))


class UnitTests(SynchronousTestCase):
    """What the units say."""

    @NEEDS_SYSTEMD
    def test_security(self):
        """The service is exposed little, as systemd counts it."""
        self.assert_safe(str(ROOT / "systemd" / "filedropd.service"))

    @NEEDS_SYSTEMD
    def test_verify(self):
        """systemd has nothing to say against either unit."""
        folder = self.installed()
        self.assert_right(folder)

    @NEEDS_SYSTEMD
    def test_tls(self):
        """Nor against the service as the documentation changes it for TLS; that is exposed little, too."""
        folder = self.installed()
        text = (ROOT / "docs" / "operations.md").read_text("utf-8")
        [changes] = [
            block for block in re.findall(r"^```ini\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if "ssl:" in block
        ]
        (folder / "filedropd.service.d").mkdir()
        (folder / "filedropd.service.d" / "override.conf").write_text(here(changes), "utf-8")
        self.assert_right(folder)
        said = self.assert_safe(str(folder / "filedropd.service"), SYSTEMD_UNIT_PATH=f"{folder}:")
        # It has been read: the unit alone allows neither.
        self.assertRegex(said, r"\u2717 MemoryDenyWriteExecute=")
        self.assertRegex(said, r"\u2717 RestrictAddressFamilies=~AF_\(INET\|INET6\)")

    def installed(self) -> Path:
        """Return a folder with the units, which start the daemon that is here."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for name in UNITS:
            (folder / name).write_text(here((ROOT / "systemd" / name).read_text("utf-8")), "utf-8")
        return folder

    def assert_right(self, folder):
        """Let systemd read the units in ``folder``. The empty element of the path: its own folders follow."""
        done = analyze("verify", *[str(folder / name) for name in UNITS], SYSTEMD_UNIT_PATH=f"{folder}:")
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def assert_safe(self, service, **environ) -> str:
        """Let systemd count what a service is exposed to; returns what it said."""
        done = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", service, **environ)
        self.assertIn("Overall exposure level", done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_socket(self):
        """The service listens on the socket that the other unit opens, of the same kind and name."""
        section = unit("filedropd.socket")["Socket"]
        endpoint = f"systemd:domain=INET:name={section['FileDescriptorName']}"
        self.assertIn(f"--listen={endpoint}", exec_start())
        self.assertEqual(parse_endpoint(endpoint), endpoint)
        self.assertRegex(section["ListenStream"], r"^\d+\.\d+\.\d+\.\d+:\d+$")

    def test_open_files(self):
        """The open files are enough for the most connections."""
        needed = int(default("max-connections")) * EACH + RESERVED
        self.assertGreaterEqual(int(unit("filedropd.service")["Service"]["LimitNOFILE"]), needed)

    def test_restarted(self):
        """Whatever ended the daemon, systemd starts it again, unless it was systemd: status 0 and SIGHUP are no failures."""
        for name in ("filedropd.service", "filedropd@.service"):
            self.assertEqual("always", unit(name)["Service"]["Restart"], name)

    def test_time_to_drain(self):
        """systemd waits longer than the daemon may take to stop."""
        patience = in_seconds(unit("filedropd.service")["Service"]["TimeoutStopSec"])
        self.assertGreater(patience, parse_duration(default("drain")) + STOPPING)


@attrs.define
class Attempt:
    """One request on a connection of its own, with the times of this machine's clock.

    :ivar outcome: ``answered``, ``refused`` (no connection), or ``closed`` (a connection and no answer).
    """

    began: float
    outcome: str = "closed"
    ended: float = 0.0


class Caller(threading.Thread):
    """Asks over and over again, each time on a new connection, until it is told to end."""

    def __init__(self, address) -> None:
        super().__init__(daemon=True)
        self.attempts: list[Attempt] = []
        self._address = address
        self._enough = threading.Event()

    def run(self):
        """Ask."""
        while not self._enough.is_set():
            attempt = Attempt(time.monotonic())
            attempt.outcome = asked(self._address)
            attempt.ended = time.monotonic()
            self.attempts.append(attempt)

    def end(self):
        """Ask no more."""
        self._enough.set()
        self.join(PATIENCE)


def asked(address) -> str:
    """Make one request; returns what came of it, as in :class:`Attempt`."""
    try:
        connection = socket.create_connection(address, timeout=PATIENCE)
    except OSError:
        return "refused"
    with connection:
        try:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return "answered" if connection.recv(MIB).startswith(b"HTTP/1.1 200 ") else "closed"
        except OSError:
            return "closed"


class ActivationCase(SynchronousTestCase):
    """Tests of a daemon on a socket that is not its own."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="filedropd-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def daemon(self, *within, **environ) -> ActivatedDaemon:
        """Return a daemon that is not started yet."""
        daemon = ActivatedDaemon(self.folder, *within, environ=environ)
        self.addCleanup(daemon.close)
        return daemon


class RestartTests(ActivationCase):
    """What clients see of a restart."""

    def test_waits(self):
        """What is asked of a daemon that is not there is answered when it is, the first time and after a stop."""
        daemon = self.daemon()
        for _ in range(2):
            with socket.create_connection(daemon.address, timeout=PATIENCE) as connection:
                connection.sendall(b"PUT /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
                daemon.start()
                self.assertTrue(connection.recv(MIB).startswith(b"HTTP/1.1 201 "))
            daemon.stop()

    def test_none_refused(self):
        """Over three restarts no connection is refused; one goes unanswered only if the stop met it half-way."""
        daemon = self.daemon().start()
        callers = [Caller(daemon.address) for _ in range(4)]
        for caller in callers:
            caller.start()
        stops, gaps = [], []
        for _ in range(3):
            began = time.monotonic()
            daemon.stop()
            ended = time.monotonic()
            daemon.start()
            stops.append((began, ended))
            gaps.append((ended, time.monotonic()))
        for caller in callers:
            caller.end()
        attempts = [attempt for caller in callers for attempt in caller.attempts]
        self.assertEqual([attempt for attempt in attempts if attempt.outcome == "refused"], [])
        unanswered = [attempt for attempt in attempts if attempt.outcome != "answered"]
        self.assertEqual([attempt for attempt in unanswered if not any(met(attempt, stop) for stop in stops)], [])
        # One request each, at the most: the next one of the same caller waits for the daemon.
        self.assertLessEqual(len(unanswered), len(callers) * len(stops))
        for gap in gaps:
            self.assertTrue([attempt for attempt in attempts if met(attempt, gap)], "nobody asked during a restart")

    def test_crash(self):
        """Nor does a crash close the socket."""
        daemon = self.daemon().start()
        daemon.kill()
        with socket.create_connection(daemon.address, timeout=PATIENCE) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            daemon.start()
            self.assertTrue(connection.recv(MIB).startswith(b"HTTP/1.1 200 "))


def met(attempt, span) -> bool:
    """Tell whether a request was under way in a span of time."""
    began, ended = span
    return bool(attempt.began < ended and attempt.ended > began)


class SandboxTests(ActivationCase):
    """What the sandbox takes away is not needed."""

    def used(self, daemon) -> None:
        """Leave files, one with a password, fetch and revoke them, and stop the daemon."""
        link = left(daemon, bytes(MIB), password="s3cret")["url"]
        self.assertEqual(request("GET", link, params={"password": "s3cret"}).content, bytes(MIB))
        told = left(daemon, b"x")
        owner = {"Authorization": f"Bearer {told['owner_token']}"}
        self.assertEqual(request("DELETE", told["url"], headers=owner).status_code, 204)
        self.assertEqual(request("GET", daemon.url("/readyz")).status_code, 200)
        daemon.stop()

    def test_no_network(self):
        """With no network but the socket that it is given, the daemon serves (PrivateNetwork=)."""
        if subprocess.run(["unshare", "-rn", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
            raise SkipTest("no network namespaces can be made here")
        self.used(self.daemon("unshare", "-rn").start())

    @NEEDS_STRACE
    @NEEDS_SYSTEMD
    def test_system_calls(self):
        """The daemon makes no system call that the unit forbids, and asks for no memory to write and execute."""
        trace = self.folder / "trace"
        traced = ("strace", "-D", "-f", "-qq", "-s", "0", "-o", str(trace))
        if subprocess.run([*traced, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
            raise SkipTest("ptrace(2) is not permitted here")
        daemon = self.daemon(*traced).start()
        self.used(daemon)
        calls = trace.read_text("ascii", "replace")
        made = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", calls, re.MULTILINE))
        self.assertGreater(made, {"accept4", "fdatasync", "fsync", "rename", "unlink"})
        self.assertEqual(made - allowed_calls() - ROOTS_OWN, set())
        writable_code = re.findall(
            r"^.*(?:mmap|mprotect)\(.*PROT_WRITE\|PROT_EXEC.*|mprotect\(.*PROT_EXEC.*$", calls, re.M
        )
        self.assertEqual(writable_code, [])
        families = set(re.findall(r"\bsocket(?:pair)?\((AF_\w+)", calls))
        self.assertLessEqual(families, set(values("RestrictAddressFamilies")[0].split()))


def allowed_calls() -> set[str]:
    """Return the system calls that the unit allows."""
    allowed: set[str] = set()
    for line in values("SystemCallFilter"):
        calls = set(expanded(line.removeprefix("~").split()))
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def expanded(names) -> Iterator[str]:
    """Iterate over the system calls that ``names`` mean; a group's begins with an @."""
    for name in names:
        if name.startswith("@"):
            said = analyze("syscall-filter", name).stdout.splitlines()[1:]
            yield from expanded(word for line in said if (word := line.strip()) and not word.startswith("#"))
        else:
            yield name


class AnnouncementTests(ActivationCase):
    """What the daemon tells the service manager (Type=notify, WatchdogSec=)."""

    def test_life(self):
        """It is ready when it serves, gives signs of life, and says that it stops before it has."""
        manager = ServiceManager(f"{self.folder}/notify")
        self.addCleanup(manager.close)
        # Not more often: the socket holds ten messages that nobody has read yet, and the rest is lost.
        daemon = self.daemon(NOTIFY_SOCKET=manager.named, WATCHDOG_USEC="1000000")
        daemon.spawn()
        told = [manager.next() for _ in range(3)]
        self.assertEqual(told, ["READY=1\nSTATUS=serving", "WATCHDOG=1", "WATCHDOG=1"])
        self.assertEqual(asked(daemon.address), "answered")
        daemon.stop()
        self.assertIn("STOPPING=1", manager.heard())

    def test_takes_long(self):
        """It asks for more time while it waits for its database: here for another, who brings that up to date."""
        manager = ServiceManager(f"{self.folder}/notify")
        self.addCleanup(manager.close)
        with (
            postgresql().database() as database,
            contextlib.closing(psycopg2.connect(postgresql().url(database))) as other,
        ):
            other.cursor().execute(f"SELECT pg_advisory_lock({MIGRATING})")
            daemon = self.daemon(NOTIFY_SOCKET=manager.named, FILEDROPD_RECORDS=postgresql().url(database))
            daemon.spawn()
            self.assertRegex(manager.next(), r"^EXTEND_TIMEOUT_USEC=\d+\nSTATUS=opening the records$")
            self.assertIn("waiting for another filedropd", daemon.log())
            other.close()
            self.assertEqual("READY=1\nSTATUS=serving", manager.next())
            daemon.stop()

    def test_not_ready(self):
        """A daemon that cannot start is never ready."""
        manager = ServiceManager(f"{self.folder}/notify")
        self.addCleanup(manager.close)
        daemon = self.daemon(NOTIFY_SOCKET=manager.named)
        daemon.data.write_bytes(b"no folder")
        daemon.spawn()
        self.assertEqual(daemon.wait(), 1)
        self.assertNotIn("READY", "".join(manager.heard()))
