"""The production set-up to try (``make stack``), and the samples and the unit that docs/deploy.md makes it from."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import requests
from twisted.trial.unittest import SynchronousTestCase

from filedropd.config import Options
from filedropd.config.parse import PostgresURL
from filedropd.redis_url import RedisURL
from tests.activation import ROOT, here, unit
from tests.daemon import PATIENCE, eventually
from tests.servers import free_port
from tests.test_systemd import EXPOSURE, NEEDS_SYSTEMD, analyze

API = "/api/v1.0/file"


def tested(url: str, content: bytes) -> list[int]:
    """Leave a file and fetch it twice; returns the statuses, -1 where it came back as another one."""
    left = requests.put(f"{url}{API}", data=content, timeout=PATIENCE)
    link = f"{url}{API}/{left.json()['id']}"
    first = requests.get(link, timeout=PATIENCE)
    same = first.status_code if first.content == content else -1
    # Its line in nginx's log is on its way: until then somebody else is told to wait.
    eventually(lambda: requests.get(link, timeout=PATIENCE).status_code == 410, "the link is gone")
    return [left.status_code, same, requests.get(link, timeout=PATIENCE).status_code]


def below(folder: Path) -> list[str]:
    """Return the processes, of any parent, whose command or working directory is in ``folder``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode("utf-8", "replace").replace("\0", " ")
            place = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(folder) in command or place.startswith(str(folder)):
            found.append(f"{process.name} {command}")
    return found


class StackTests(SynchronousTestCase):
    """One command, a file through nginx, and an end without remains."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="filedropd-test-")  # short: UNIX sockets are in it
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        self.folder.chmod(0o711)  # PostgreSQL is nobody's where we are root
        self.temporary.chmod(0o711)
        self.logs = self.folder / "logs"
        self.port = free_port()

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it; returns when it says what runs."""
        command = [sys.executable, "-m", "tests.stack", f"--port={self.port}", f"--logs={self.logs}", *arguments]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(self.temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(self.end, process)
        if process.stdout is None:
            raise RuntimeError("there is no pipe")
        self.said = ""
        for line in process.stdout:
            self.said += line
            if "Ctrl-C" in line:
                break
        else:
            self.fail(f"it ended:\n{self.said}")
        return process

    def end(self, process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> int:
        """End it, as Ctrl-C does unless said otherwise; returns its status."""
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
        return process.returncode

    def test_nginx(self):
        """A file left through nginx's port is fetched once; Ctrl-C leaves nothing running."""
        process = self.begin()
        url = f"http://127.0.0.1:{self.port}"
        self.assertIn(f"curl -T README.md {url}/", self.said)
        for _ in range(4):
            self.assertEqual([201, 200, 410], tested(url, os.urandom(300_000)))
        self.assertEqual(0, self.end(process))
        self.assertEqual([], below(self.folder))
        self.assertEqual([], list(self.temporary.iterdir()))
        logs = {path.name: path.read_text("utf-8", "replace") for path in self.logs.iterdir()}
        names = {"daemon-1.log", "daemon-2.log", "nginx.log", "postgresql.log", "redis.log"}
        self.assertEqual(names, set(logs))
        for name in ("daemon-1.log", "daemon-2.log"):
            self.assertRegex(logs[name], r"web\.access: 127\.0\.0\.1 (PUT|GET)")  # nginx asks both
            self.assertIn("delivery: nginx", logs[name])
            self.assertNotRegex(logs[name], r"Traceback|Z (error|critical) ")

    def test_stream(self):
        """So it is where the daemons send the bytes; SIGTERM is as good."""
        process = self.begin("--delivery=stream")
        self.assertEqual([201, 200, 410], tested(f"http://127.0.0.1:{self.port}", os.urandom(300_000)))
        self.assertEqual(0, self.end(process, signal.SIGTERM))
        self.assertEqual([], below(self.folder))

    def test_killed(self):
        """Even where it is killed, nothing runs on."""
        process = self.begin("--delivery=stream")
        self.assertNotEqual([], below(self.folder))
        self.end(process, signal.SIGKILL)
        eventually(lambda: not below(self.folder), "all has ended")


class DocumentTests(SynchronousTestCase):
    """What docs/deploy.md has to be copied."""

    def blocks(self, kind: str) -> list[str]:
        """Return the document's blocks of a kind."""
        text = (ROOT / "docs" / "deploy.md").read_text("utf-8")
        return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

    def test_settings(self):
        """The configuration is one, with the database and the cache on their sockets."""
        path = Path(self.mktemp()).absolute()
        path.write_text(self.blocks("toml")[0], "utf-8")
        options = Options({})
        options.parseOptions([f"--config={path}", "--data-dir=/var/lib/filedropd-1"])
        self.assertIsInstance(options.configuration.records, PostgresURL)
        self.assertIsInstance(options.configuration.cache, RedisURL)
        self.assertEqual(Path("/var/lib/filedropd"), options.configuration.blobs.path)
        self.assertEqual("nginx", options.configuration.delivery)

    def test_log(self):
        """nginx logs, as root, into a folder that is root's wherever it is told of, and that no unit gives the daemon."""
        sample = (ROOT / "etc" / "nginx" / "filedropd.conf").read_text("utf-8")
        deploy, operations = ((ROOT / "docs" / name).read_text("utf-8") for name in ("deploy.md", "operations.md"))
        for text in (sample, deploy, operations):
            self.assertEqual({"/var/log/filedropd/nginx.log"}, set(re.findall(r"/[\w/]+/nginx\.log\b", text)))
            self.assertIn("install -d -o root -g filedropd -m 2750 /var/log/filedropd\n", text)
        self.assertIn("access_log /var/log/filedropd/nginx.log ", sample)
        self.assertIn("\n/var/log/filedropd/nginx.log {\n", deploy)
        for text in (deploy, operations):
            self.assertIn('nginx_log = "/var/log/filedropd/nginx.log"', text)
        for name in ("filedropd.service", "filedropd@.service"):
            section = unit(name)["Service"]
            self.assertEqual("strict", section["ProtectSystem"])
            self.assertEqual([], [key for key in ("LogsDirectory", "ReadWritePaths") if key in section], name)

    def test_paths(self):
        """nginx's sample, the configuration and the unit agree on where the shared folder is."""
        sample = (ROOT / "etc" / "nginx" / "filedropd.conf").read_text("utf-8")
        service = (ROOT / "systemd" / "filedropd@.service").read_text("utf-8")
        self.assertIn("alias /var/lib/filedropd/blobs/;", sample)
        self.assertIn("\nStateDirectory=filedropd filedropd-%i\n", service)
        self.assertIn("server unix:/run/filedropd-1/http.sock;", "".join(self.blocks("nginx")))
        self.assertIn("--listen=unix:/run/filedropd-%i/http.sock:", service)


@NEEDS_SYSTEMD
class TemplateTests(SynchronousTestCase):
    """filedropd@.service."""

    def setUp(self):
        self.unit = Path(self.mktemp()).absolute() / "filedropd@1.service"
        self.unit.parent.mkdir()
        self.unit.write_text(here((ROOT / "systemd" / "filedropd@.service").read_text("utf-8")), "utf-8")

    def test_verify(self):
        """systemd has nothing to say against it."""
        done = analyze("verify", str(self.unit), SYSTEMD_UNIT_PATH=f"{self.unit.parent}:")
        self.assertEqual((0, ""), (done.returncode, done.stdout))

    def test_security(self):
        """It is exposed as little as the single one."""
        done = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", str(self.unit))
        self.assertIn("Overall exposure level", done.stdout)
        self.assertEqual(0, done.returncode, done.stdout)
