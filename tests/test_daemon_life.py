"""How the daemon starts and ends, in order and not, what it keeps through that, and what it lets out."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from unittest import skipUnless
from urllib.parse import urlsplit

import requests
from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import PATIENCE, Daemon, eventually
from tests.test_daemon import API, ELSE, MIB, SAME, begun, left, request, reset

#: More than the buffers of the two kernels between a daemon and a client that does not read.
LARGE = 14 * MIB


def path_of(link) -> str:
    """Return the path of a link, which stays when the daemon's port changes."""
    return str(urlsplit(link).path)


class DaemonLifeCase(SynchronousTestCase):
    """Tests that end their daemon."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="filedropd-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def daemon(self, *arguments) -> Daemon:
        """Return a daemon on this test's folder, not started yet."""
        daemon = Daemon(self.folder, *arguments)
        self.addCleanup(daemon.kill)
        return daemon

    def assert_in_order(self, daemon, status):
        """Look at what became of a daemon that was stopped."""
        self.assertEqual(status, 0)
        self.assertIn("Server Shut Down.", daemon.log())

    def download_begun(self, daemon, link) -> socket.socket:
        """Begin to download, as :func:`request` would, and read as little as tells that it goes on."""
        connection = begun(daemon.port, "GET", path_of(link), SAME)
        self.addCleanup(connection.close)
        self.assertTrue(connection.recv(1024).startswith(b"HTTP/1.1 200 "))
        return connection


class CrashTests(DaemonLifeCase):
    """What is there after SIGKILL and another start."""

    def test_in_an_upload(self):
        """Killed in the middle of an upload, the daemon leaves nothing of it once it runs again."""
        daemon = self.daemon().start()
        with begun(daemon.port, "PUT", API, f"Content-Length: {4 * MIB}") as connection:
            connection.sendall(bytes(MIB))
            eventually(lambda: any(file.stat().st_size for file in daemon.files("incoming")), "bytes are on the disk")
            daemon.kill()
        self.assertTrue(daemon.files("incoming"))
        daemon.start()
        self.assertEqual(daemon.files("incoming") + daemon.files("blobs"), [])

    def test_after_an_upload(self):
        """Killed as soon as it has said 201, the daemon has the file when it runs again: once."""
        daemon, content = self.daemon().start(), os.urandom(MIB)
        path = path_of(left(daemon, content)["url"])
        daemon.kill()
        daemon.start()
        answers = [request("GET", daemon.url(path)) for _ in range(2)]
        self.assertEqual([answer.status_code for answer in answers], [200, 410])
        self.assertEqual(answers[0].content, content)

    def test_in_a_download(self):
        """Killed in the middle of a download, the daemon keeps the copy for its recipient: he can have it again."""
        daemon, content = self.daemon().start(), os.urandom(LARGE)
        link = left(daemon, content)["url"]
        self.download_begun(daemon, link)
        daemon.kill()
        daemon.start()
        link = daemon.url(path_of(link))
        self.assertEqual(request("GET", link, headers=ELSE).status_code, 423)
        self.assertEqual(request("GET", link).content, content)
        answer = request("GET", link, headers=ELSE)
        self.assertEqual((answer.status_code, answer.json()["reason"]), (410, "delivered"))
        eventually(lambda: not daemon.files("blobs"), "the bytes are deleted")

    def test_nobody_comes_back(self):
        """When the window is over, what was not sent to its end is anybody's, and what was counts as delivered."""
        daemon = self.daemon("--resume-window=1s").start()
        small, large = (left(daemon, bytes(size))["url"] for size in (200_000, LARGE))
        connections = [self.download_begun(daemon, link) for link in (small, large)]
        daemon.kill()
        for connection in connections:
            connection.close()
        daemon.start()
        answers = [self.decided(daemon.url(path_of(link))) for link in (small, large)]
        self.assertEqual((410, 200), tuple(answer.status_code for answer in answers))
        self.assertEqual("delivered", answers[0].json()["reason"])

    def decided(self, link) -> requests.Response:
        """Ask as somebody else, until that is not answered with 423 any more; returns that answer."""
        answers: list[requests.Response] = []

        def decided() -> bool:
            answers.append(request("GET", link, headers=ELSE))
            return answers[-1].status_code != 423

        eventually(decided, "it is decided")
        return answers[-1]


class StrictTests(DaemonLifeCase):
    """--max-attempts 1."""

    def test_token_only(self):
        """What was sent once to its end is sent again to whoever shows the claim's token, and to nobody else."""
        daemon, content = self.daemon("--max-attempts=1").start(), os.urandom(50_000)
        link = left(daemon, content)["url"]
        connection = begun(daemon.port, "GET", path_of(link), SAME)
        token = re.search(rb"(?i)filedrop-claim: ([0-9a-f]{32})", connection.recv(1024))
        reset(connection)
        shown = {"Filedrop-Claim": token.group(1).decode() if token else ""}
        eventually(lambda: request("HEAD", link, headers=shown).status_code == 200, "its end is noted")
        self.assertEqual(request("GET", link).status_code, 423)
        self.assertEqual(request("GET", link, headers=shown).content, content)


class StopTests(DaemonLifeCase):
    """What SIGTERM does."""

    def test_idle(self):
        """Stopped, the daemon ends in order and gives back its folder of uploads."""
        daemon = self.daemon().start()
        self.assert_in_order(daemon, daemon.stop())
        self.assertEqual(list((daemon.data / "incoming").iterdir()), [])
        self.assertNotIn("Traceback", daemon.log())

    def test_in_a_download(self):
        """Stopped in the middle of a download, the daemon takes nothing new, and the download goes on to its end."""
        daemon, content = self.daemon("--drain=30s").start(), os.urandom(LARGE)
        link = left(daemon, content)["url"]
        connection = begun(daemon.port, "GET", path_of(link))
        received = connection.recv(1024)
        daemon.terminate()
        eventually(lambda: refuses(daemon.port), "the port is closed")
        with contextlib.closing(connection):
            while piece := connection.recv(MIB):
                received += piece
        self.assertTrue(received.endswith(content))
        self.assert_in_order(daemon, daemon.wait())
        daemon.start()
        self.assertEqual(request("GET", daemon.url(path_of(link))).status_code, 410)

    def test_with_a_watcher(self):
        """Stopped while an owner watches a drop, the daemon ends his answer in order, and waits for nobody."""
        daemon = self.daemon("--drain=60s").start()
        told = left(daemon, b"content")
        owner = f"Authorization: Bearer {told['owner_token']}"
        watched = begun(daemon.port, "GET", f"{path_of(told['url'])}/status", owner, "Accept: text/event-stream")
        with contextlib.closing(watched):
            received = b""
            while b"event: status" not in received:
                received += watched.recv(MIB)
            daemon.terminate()
            while piece := watched.recv(MIB):
                received += piece
        self.assertTrue(received.endswith(b"\r\n0\r\n\r\n"), received[-100:])
        self.assert_in_order(daemon, daemon.wait())

    def test_with_a_stalled_reader(self):
        """Stopped while somebody does not read on, the daemon ends all the same; he can have the file again."""
        daemon, content = self.daemon("--drain=1s").start(), os.urandom(LARGE)
        link = left(daemon, content)["url"]
        self.download_begun(daemon, link)
        self.assert_in_order(daemon, daemon.stop())
        daemon.start()
        self.assertEqual(request("GET", daemon.url(path_of(link)), headers=ELSE).status_code, 423)
        self.assertEqual(request("GET", daemon.url(path_of(link))).content, content)

    def test_in_an_upload(self):
        """Stopped while a sender does not go on, the daemon ends all the same, and nothing is left of the upload."""
        daemon = self.daemon("--drain=1s").start()
        with begun(daemon.port, "PUT", API, f"Content-Length: {4 * MIB}") as connection:
            connection.sendall(bytes(MIB))
            eventually(lambda: daemon.files("incoming"), "the upload is on its way to the disk")
            self.assert_in_order(daemon, daemon.stop())
        self.assertEqual(daemon.files("incoming") + daemon.files("blobs"), [])


class StartTests(DaemonLifeCase):
    """What a daemon says that cannot start."""

    def test_nginx_log_elsewhere(self):
        """How far nginx's log was read is noted in the data directory, wherever the log is: its folder is not ours."""
        log = self.folder / "log-of-nginx" / "nginx.log"
        log.parent.mkdir()
        log.write_text(f"{'0' * 32} 200 1 OK GET -\n")
        daemon = self.daemon("--delivery=nginx", f"--nginx-log={log}").start()
        self.assertEqual(0, daemon.stop())
        self.assertEqual([log], list(log.parent.iterdir()))
        self.assertIn(str(log.stat().st_ino), (daemon.data / "nginx.log.offset").read_text())

    def test_data_in_use(self):
        """A second daemon on the same data ends with status 1 and says why; the first one goes on."""
        first = self.daemon().start()
        second, begins = self.daemon(), len(first.log())
        second.spawn()
        self.assertEqual(second.wait(), 1)
        said = second.log(begins)
        self.assertIn("cannot start: ", said)
        self.assertIn(str(first.data / "drops.db"), said)
        self.assertNotIn("Traceback", said)
        self.assertEqual(request("GET", first.url("/readyz")).status_code, 200)

    def test_port_in_use(self):
        """A daemon whose port is taken ends with status 1 and names the port."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            daemon = Daemon(self.folder, listen=(f"tcp:{port}:interface=127.0.0.1",))
            self.addCleanup(daemon.kill)
            daemon.spawn()
            self.assertEqual(daemon.wait(), 1)
        self.assertIn(str(port), daemon.log())

    def test_no_endpoint(self):
        """One whose endpoint cannot be opened ends with status 1, and the last line at critical says which and why."""
        daemon = Daemon(self.folder, listen=(f"unix:{self.folder}/none/x",))
        self.addCleanup(daemon.kill)
        daemon.spawn()
        self.assertEqual(daemon.wait(), 1)
        said = [line for line in daemon.log().splitlines() if " critical " in line][-1]
        self.assertIn(f"cannot start: cannot listen on unix:{self.folder}/none/x: No such file or directory", said)
        self.assertNotIn("Traceback", daemon.log())

    def test_bad_options(self):
        """Of several bad options each is named, before anything is made."""
        daemon = self.daemon("--max-file-size=huge", "--expires=0s", "--durability=maybe")
        daemon.spawn()
        self.assertNotEqual(daemon.wait(), 0)
        for name in ("--max-file-size 'huge'", "--expires '0s'", "--durability 'maybe'"):
            self.assertIn(name, daemon.log())
        self.assertFalse(daemon.data.exists())


class AccessTests(DaemonLifeCase):
    """The access log."""

    def test_handed_over(self):
        """The line of a download that nginx sends says so: its 0 bytes are not all that its client gets."""
        daemon = self.daemon("--delivery=nginx").start()
        link = left(daemon, b"content")["url"]
        answer = request("GET", link, headers={"X-Sendfile-Type": "X-Accel-Redirect"})
        self.assertIn("X-Accel-Redirect", answer.headers)
        said = r" GET /api/v1\.0/file/<id> 200 0 bytes in \d+\.\d{3} s, the file handed over to nginx\n"
        eventually(lambda: re.search(said, daemon.log()), "it is said")
        request("GET", daemon.url("/healthz"))
        self.assertEqual(1, daemon.log().count("handed over"))
        daemon.stop()


class SecretTests(DaemonLifeCase):
    """What somebody learns who reads the log, the database or the names of the files."""

    NAME = "canary-name"
    PASSWORD = "canary-password"

    def test_text_log(self):
        """Neither the log nor the disk has a working link, a password, or an owner's token."""
        self.assert_secret(self.daemon())

    def test_json_log(self):
        """The log with all its fields, too, has none of them."""
        self.assert_secret(self.daemon("--log-format=json"))

    def assert_secret(self, daemon):
        """Do all that carries secrets, look, stop the daemon, and look again."""
        daemon.start()
        told = self.used(daemon)
        secrets = [told["id"], told["owner_token"], self.PASSWORD]
        self.assert_nowhere(daemon, secrets)
        self.assert_in_order(daemon, daemon.stop())
        self.assert_nowhere(daemon, secrets)

    def used(self, daemon) -> dict[str, str]:
        """Leave a file and fetch, look at and revoke it, also in ways that fail."""
        files = {"file": (f"{self.NAME}.txt", b"canary-content")}
        data = {"password": self.PASSWORD, "downloads": "2"}
        told: dict[str, str] = request("POST", daemon.url("/"), files=files, data=data, headers=JSON).json()
        link, owner = told["url"], {"Authorization": f"Bearer {told['owner_token']}"}
        for method, url, named in (
            ("HEAD", link, {"params": {"password": self.PASSWORD}}),
            ("GET", link, {"auth": ("canary-user", self.PASSWORD)}),
            ("GET", link, {"headers": {"Filedrop-Password": f"not {self.PASSWORD}"}}),
            ("GET", f"{link}/{self.NAME}?password={self.PASSWORD}", {}),
            ("GET", daemon.url(f"/{self.NAME}?password={self.PASSWORD}&id={told['id']}"), {}),
            ("BREW", link, {"params": {"password": self.PASSWORD}}),
            ("GET", f"{link}/status", {"headers": owner}),
            ("DELETE", link, {"headers": owner}),
        ):
            request(method, url, **named)
        return told

    def assert_nowhere(self, daemon, secrets):
        """Look into the log, the database and the names of all files."""
        # The last of what was asked; its line is written when its answer is, and may come behind that.
        eventually(lambda: "DELETE" in daemon.log(), "it is logged")
        log = daemon.log()
        stored = [path for path in daemon.data.iterdir() if path.is_file()]
        self.assertIn(daemon.data / "drops.db", stored)
        database = b"".join(path.read_bytes() for path in stored)
        names = "\n".join(str(path) for path in daemon.data.rglob("*"))
        self.assertIn(self.NAME.encode("ascii"), database)  # the name is no secret: this is where to look
        for secret in (*secrets, self.NAME):
            self.assertNotIn(secret, log)
            self.assertNotIn(secret, names)
        for secret in secrets:
            for form in (secret.encode("ascii"), *as_bytes(secret)):
                self.assertNotIn(form, database)


JSON = {"Accept": "application/json"}


def as_bytes(secret) -> list[bytes]:
    """Return the other form in which a token might be stored: the bytes that its digits mean."""
    return [bytes.fromhex(secret)] if re.fullmatch(r"[0-9a-f]{32}", secret) else []


class MemoryTests(DaemonLifeCase):
    """What a large file costs."""

    @skipUnless(shutil.which("curl"), "curl is not installed")
    def test_upload(self):
        """An upload of 64 MiB whose length nobody knows before needs less than 30 MiB of memory."""
        daemon = self.daemon("--max-file-size=64MiB", "--durability=none").start()
        request("GET", daemon.url("/healthz"))
        before = daemon.peak_memory()
        command = ["curl", "-q", "-sS", "--fail", "--noproxy", "*", "-o", os.devnull, "-T", "-", daemon.url("/")]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as curl:
            if curl.stdin is not None:
                curl.stdin.writelines(bytes(MIB) for _ in range(64))
                curl.stdin.close()
            self.assertEqual(curl.wait(PATIENCE), 0)
        self.assertEqual([file.stat().st_size for file in daemon.files("blobs")], [64 * MIB])
        self.assertLess(daemon.peak_memory() - before, 30 * MIB)


def refuses(port) -> bool:
    """Tell whether nobody listens on ``port`` any more."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False
