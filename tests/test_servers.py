"""The servers that tests start: each starts, answers, comes back, and is gone afterwards, whatever happens."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from twisted.trial.unittest import SynchronousTestCase

from tests import servers
from tests.daemon import eventually
from tests.servers import Nginx, PostgreSQL, Redis, Server, free_port


def listening(port: int) -> bool:
    """Tell whether anybody listens there."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of the processes whose working directory is in ``folder``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(folder):
                found.append((process / "cmdline").read_text(encoding="utf-8", errors="replace"))
    return found


class ServerTestCase(SynchronousTestCase):
    """A test on servers, none of which outlives it."""

    def started(self, server: Server) -> None:
        """Start a server that ends with the test."""
        self.addCleanup(server.close)
        server.start()

    def assert_gone(self, server: Server, port: int) -> None:
        """Fail unless nothing of a server is left."""
        self.assertEqual((False, [], False), (listening(port), processes_in(server.folder), server.folder.exists()))


class PostgreSQLTests(ServerTestCase):
    """PostgreSQL."""

    def test_ways_in(self):
        """It answers by TCP, and by its UNIX socket."""
        server = servers.postgresql()
        for url in (server.url(), server.url(socket=True)):
            psql = str(servers._postgresql() / "psql")
            self.assertEqual(b"1\n", subprocess.check_output([psql, "-XAt", "-d", url, "-c", "SELECT 1"]))

    def test_databases(self):
        """Each test can have a database of its own, made after a template, and dropped even while it is used."""
        server = servers.postgresql()
        with server.database() as template:
            server.psql("CREATE TABLE t AS SELECT 7 AS n", template)
            with server.database(template) as name:
                self.assertEqual("7", server.psql("SELECT n FROM t", name))
        self.assertNotIn(name, server.psql("SELECT datname FROM pg_database").split())

    def test_errors(self):
        """A statement that fails says why."""
        with self.assertRaisesRegex(AssertionError, 'relation "nothing" does not exist'):
            servers.postgresql().psql("SELECT * FROM nothing")

    def test_life(self):
        """What was committed is there after a stop and after a kill; a closed one is gone."""
        server = PostgreSQL()
        self.started(server)
        server.psql("CREATE TABLE t AS SELECT 7 AS n")
        server.restart()
        self.assertEqual("7", server.psql("SELECT n FROM t"))
        server.kill()
        self.assertFalse(listening(server.port))
        server.start()
        self.assertEqual("7", server.psql("SELECT n FROM t"))
        server.close()
        self.assert_gone(server, server.port)

    def test_settings(self):
        """It takes settings, and syncs only for who asks it to."""
        server = PostgreSQL(fsync=True, max_connections="20")
        self.started(server)
        self.assertEqual(["on", "20"], [server.psql("SHOW fsync"), server.psql("SHOW max_connections")])
        self.assertEqual("off", servers.postgresql().psql("SHOW fsync"))


class RedisTests(ServerTestCase):
    """Redis."""

    def test_life(self):
        """It answers, comes back empty after a stop and after a kill, where it was; a closed one is gone."""
        server = Redis()
        self.started(server)
        for end in (server.stop, server.kill):
            server.cli("SET", "key", "value")
            self.assertEqual("value", server.cli("GET", "key"))
            end()
            self.assertFalse(listening(server.port))
            server.start()
            self.assertEqual("", server.cli("GET", "key"))
        server.close()
        self.assert_gone(server, server.port)

    def test_options(self):
        """It takes options."""
        server = Redis("--requirepass", "secret")
        self.started(server)
        self.assertEqual("PONG", server.cli("PING", password="secret"))
        self.assertIn("NOAUTH", server.cli("PING"))

    def test_pause(self):
        """It can stand still: what it is asked then is answered when it goes on. A paused one can be stopped."""
        server = Redis()
        self.started(server)
        with socket.create_connection(("127.0.0.1", server.port)) as asking:
            server.pause()
            asking.sendall(b"PING\r\n")
            asking.settimeout(0.1)
            self.assertRaises(TimeoutError, asking.recv, 64)
            server.go_on()
            asking.settimeout(10)
            self.assertEqual(b"+PONG\r\n", asking.recv(64))
        server.pause()
        server.stop()
        self.assertFalse(server.running)

    def test_shared(self):
        """Those who ask for the shared one get the same, running."""
        self.assertIs(servers.redis(), servers.redis())
        self.assertTrue(servers.redis().running)

    def test_fails(self):
        """One that does not start says what it logged."""
        with self.assertRaisesRegex(AssertionError, "(?s)ended.*Bad directive"):
            self.started(Redis("--no-such-option", "1"))


NGINX = """
events {{}}
http {{
    access_log access.log;
    server {{
        listen 127.0.0.1:{port};
        location / {{ root html; }}
        location /{answer} {{ return 200 {answer}; }}
    }}
}}
"""


class NginxTests(ServerTestCase):
    """nginx."""

    def nginx(self, **options: str) -> Nginx:
        """Return one that runs, with a file in its folder."""
        port = free_port()
        server = Nginx(NGINX.format(port=port, answer="first"), port, **options)
        (server.folder / "html").mkdir()
        (server.folder / "html" / "file").write_text("content")
        self.started(server)
        return server

    def get(self, server: Nginx, path: str) -> str:
        """Return what it answers."""
        try:
            with urlopen(server.url(path)) as answer:
                return str(answer.read().decode())
        except HTTPError as error:
            with error:
                return str(error.code)

    def test_life(self):
        """It answers, comes back after a stop and after a kill, its workers ended with it; a closed one is gone."""
        server = self.nginx()
        for end in (server.stop, server.kill):
            self.assertEqual("first", self.get(server, "/first"))
            end()
            self.assertEqual((False, []), (listening(server.port), processes_in(server.folder)))
            server.start()
        server.close()
        self.assert_gone(server, server.port)

    def test_reads(self):
        """Its workers can read what only the account of the tests can, and write their log."""
        server = self.nginx()
        (server.folder / "html" / "file").chmod(0o600)
        self.assertEqual("content", self.get(server, "/file"))
        log = server.folder / "access.log"  # nginx writes it after the answer, which may be here before
        eventually(lambda: "GET /file" in log.read_text(), "the request is in its log")

    def test_worker(self):
        """Workers of another account, which root may ask for, read what all can in its folder, and no more."""
        server = self.nginx(worker="nobody nogroup")
        self.assertEqual("content", self.get(server, "/file"))
        (server.folder / "html" / "file").chmod(0o600)
        self.assertEqual("403" if servers._ROOT else "content", self.get(server, "/file"))

    def test_reload(self):
        """It can be given another configuration while it runs."""
        server = self.nginx()
        server.reload(NGINX.format(port=server.port, answer="second"))
        eventually(lambda: self.get(server, "/second") == "second", "it has its new configuration")


ORPHANS = """
import sys
from tests.servers import Nginx, PostgreSQL, Redis, free_port, scratch
port = free_port()
servers = [PostgreSQL().start(), Redis().start(), Nginx(sys.argv[1].replace("PORT", str(port)), port).start()]
print(scratch(), *(server.port for server in servers), flush=True)
sys.stdin.read()
"""


class OrphanTests(SynchronousTestCase):
    """Whatever becomes of the process that started them."""

    def begin(self) -> tuple[subprocess.Popen[str], Path, list[int]]:
        """Start servers in a process of their own; return it, its folder and their ports."""
        configuration = NGINX.format(port="PORT", answer="first")
        process = subprocess.Popen(
            [sys.executable, "-c", ORPHANS, configuration],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        if process.stdout is None:
            raise AssertionError("its output is a pipe")
        folder, *ports = process.stdout.readline().split()
        self.assertEqual(3, len(ports))
        return process, Path(folder), [int(port) for port in ports]

    def assert_ended(self, folder: Path, ports: list[int]) -> None:
        """Wait until nothing runs any more."""
        eventually(lambda: not processes_in(folder), "no server runs")
        # A process that ends leaves its folder before its sockets.
        eventually(lambda: not any(map(listening, ports)), "nobody listens")

    def test_killed(self):
        """A test process that is killed takes them along; the next one sweeps what is left of them."""
        process, folder, ports = self.begin()
        process.kill()
        process.wait()
        self.assert_ended(folder, ports)
        servers._sweep(folder)
        self.assertFalse(folder.exists())

    def test_forgotten(self):
        """A test process that ends without having ended them takes them along, and their folder."""
        process, folder, ports = self.begin()
        process.communicate("")
        self.assert_ended(folder, ports)
        self.assertFalse(folder.exists())

    def test_not_swept(self):
        """The folder of a process that runs stays."""
        folder = servers.scratch()
        servers._sweep(folder)
        self.assertTrue(folder.exists())
