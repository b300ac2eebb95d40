"""Two daemons on one database and one folder: one copy between them, and each takes over from the other."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import PATIENCE, Daemon, eventually
from tests.servers import postgresql, redis

API: Final = "/api/v1.0/file"
#: More by ``FILEDROPD_RACE=64x200``: so many racers, so many rounds.
RACERS, ROUNDS = map(int, os.environ.get("FILEDROPD_RACE", "32x10").split("x"))
#: More than the buffers of the two kernels between a daemon and a client that does not read.
LARGE: Final = 14 * 2**20


def ask(daemon: Daemon, method: str, path: str, body: bytes | None = None, source: str = "127.0.0.1") -> Any:
    """Ask, from an address; returns status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE, source_address=(source, 0))
    with contextlib.closing(connection):
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


class TwoDaemonsTests(SynchronousTestCase):
    """What is promised for one daemon holds for two."""

    def setUp(self) -> None:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = postgresql().url(stack.enter_context(postgresql().database()))
        self.daemons = []
        for name in ("one", "two"):
            home = folder / name
            home.mkdir()
            shared = (f"--records={url}", f"--blobs=file:{folder / 'shared'}", f"--cache={redis().url()}")
            self.daemons.append(Daemon(home, *shared))
            stack.callback(self.daemons[-1].kill)
        for daemon in self.daemons:
            daemon.start()

    def left(self, content: bytes) -> str:
        """Leave a file with the first daemon; returns the path of its link."""
        status, body = ask(self.daemons[0], "PUT", API, content)
        self.assertEqual(201, status)
        return f"{API}/{json.loads(body)['id']}"

    def test_race(self):
        """Of many that ask both for one link at once, one gets it, whole; then it is gone on both."""
        with ThreadPoolExecutor(RACERS) as threads:
            for _ in range(ROUNDS):
                content = os.urandom(200_000)
                path = self.left(content)
                answers = list(
                    threads.map(
                        lambda n, path=path: ask(self.daemons[n % 2], "GET", path, source=f"127.0.0.{n + 2}"),
                        range(RACERS),
                    )
                )
                self.assertEqual([content], [body for status, body in answers if status == 200])
                self.assertLessEqual({status for status, _ in answers}, {200, 410, 423})
                for daemon in self.daemons:
                    self.assertEqual(410, ask(daemon, "GET", path)[0])

    def test_revoked_elsewhere(self):
        """What is taken back at one daemon is cut off at the other, a stride later at most."""
        _, body = ask(self.daemons[0], "PUT", API, os.urandom(LARGE))
        told = json.loads(body)
        path = f"{API}/{told['id']}"
        with socket.create_connection(("127.0.0.1", self.daemons[1].port), timeout=PATIENCE) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            self.assertTrue(client.recv(1000))
            connection = http.client.HTTPConnection("127.0.0.1", self.daemons[0].port, timeout=PATIENCE)
            with contextlib.closing(connection):
                connection.request("DELETE", path, headers={"Authorization": f"Bearer {told['owner_token']}"})
                self.assertEqual(204, connection.getresponse().status)
            received = 0
            with contextlib.suppress(ConnectionError):
                while piece := client.recv(2**16):
                    received += len(piece)
            self.assertLess(received, LARGE)

    def test_killed(self):
        """When one is killed, its recipient goes on at the other; everybody else is told to wait."""
        content = os.urandom(LARGE)
        path = self.left(content)
        with socket.create_connection(("127.0.0.1", self.daemons[0].port), timeout=PATIENCE) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            self.assertTrue(client.recv(1000))
            self.daemons[0].kill()
        other = self.daemons[1]
        self.assertEqual(423, ask(other, "GET", path, source="127.0.0.9")[0])
        eventually(lambda: "were cut off" in other.log(), "the other has taken over")
        self.assertEqual(423, ask(other, "GET", path, source="127.0.0.9")[0])
        self.assertEqual((200, content), ask(other, "GET", path))
        self.assertEqual(410, ask(other, "GET", path, source="127.0.0.9")[0])

    def begun(self, daemon: Daemon, path: str, fields: str = "") -> socket.socket:
        """Begin to fetch something, and do not read on."""
        client = socket.create_connection(("127.0.0.1", daemon.port), timeout=PATIENCE)
        self.addCleanup(client.close)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())
        return client

    def test_started_again(self):
        """A daemon that is started again after it was killed takes over what it had left, at once."""
        content = os.urandom(LARGE)
        path = self.left(content)
        self.assertTrue(self.begun(self.daemons[0], path).recv(1000))
        self.daemons[0].kill()
        self.daemons[0].start()
        self.assertIn("were cut off", self.daemons[0].log())
        self.assertEqual((200, content), ask(self.daemons[0], "GET", path))

    def test_superseded_elsewhere(self):
        """Who shows the token has it from the other daemon at once; the first one stops."""
        content = os.urandom(LARGE)
        path = self.left(content)
        first = self.begun(self.daemons[0], path)
        head = first.recv(1000).decode("latin-1")
        (token,) = re.findall(r"Filedrop-Claim: (\S+)", head)
        second = self.begun(self.daemons[1], path, f"Filedrop-Claim: {token}\r\nConnection: close\r\n")
        with second.makefile("rb") as answer:
            self.assertEqual(b"HTTP/1.1 200 OK\r\n", answer.readline())
            self.assertEqual(content, answer.read()[-LARGE:])
        with contextlib.suppress(ConnectionError):
            received = 0
            while piece := first.recv(2**16):
                received += len(piece)
            self.assertLess(received, LARGE)

    def test_one_after_the_other(self):
        """Fetched from one, it is gone at the other, whose question waits for what becomes of it."""
        for number in range(20):
            path = self.left(os.urandom(1000))
            first, second = self.daemons[number % 2], self.daemons[1 - number % 2]
            with self.begun(first, path) as client, client.makefile("rb") as answer:
                self.assertEqual(b"HTTP/1.1 200 OK\r\n", answer.readline())
                while answer.readline() != b"\r\n":
                    pass
                answer.read(1000)  # to the last byte: who closes with one unread does not have it
            self.assertEqual(410, ask(second, "GET", path, source="127.0.0.9")[0])
