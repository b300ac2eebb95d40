"""More connections than there may be, and more than the process has descriptors for."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase, TestCase

from filedropd.descriptors import EACH, RESERVED
from filedropd.http.closing import LINGER_QUIET
from filedropd.http.server import SURPLUS
from filedropd.testing import request
from tests.daemon import PATIENCE, Daemon, eventually
from tests.wired import Service, measured


class SurplusTests(SynchronousTestCase):
    """A factory that serves two connections."""

    def setUp(self):
        self.service = Service(measured, max_connections=2)
        self.first = [self.service.wire() for _ in range(2)]

    def test_told(self):
        """The surplus is told so, with when to come back, without having asked, and closed."""
        wire = self.service.wire()
        (answer,) = wire.responses("GET")
        self.assertEqual((503, "close"), (answer.status, answer.header("Connection")))
        self.assertTrue(answer.header("Retry-After"))
        self.assertEqual("Service Unavailable", answer.json()["error"])
        self.assertTrue(wire.half_closed)
        wire.close()
        self.assertTrue(wire.closed)

    def test_asked(self):
        """What it asks is not read as a request, and does not destroy its answer."""
        wire = self.service.wire()
        wire.send(request("GET", "/"))
        wire.advance(LINGER_QUIET + 0.1)
        self.assertEqual(503, wire.responses("GET")[0].status)
        self.assertEqual([], self.service.seen)
        self.assertTrue(wire.closed)

    def test_served(self):
        """Those that were there before are served, and so is whoever comes when one of them has left."""
        self.service.wire()
        self.first[0].send(request("GET", "/"))
        self.assertEqual(200, self.first[0].responses("GET")[0].status)
        self.first[1].close()
        for wire in [self.service.wire() for _ in range(2)]:
            wire.advance(LINGER_QUIET + 0.1)
        late = self.service.wire()
        late.send(request("GET", "/"))
        self.assertEqual(200, late.responses("GET")[0].status)

    def test_far_too_many(self):
        """When many wait to be told, the next is closed at once."""
        told = [self.service.wire() for _ in range(SURPLUS)]
        self.assertTrue(all(wire.responses("GET") for wire in told))
        wire = self.service.wire()
        self.assertEqual(([], True), (wire.responses("GET"), wire.was_reset))


class DescriptorsTests(SynchronousTestCase):
    """How many connections a process can hold."""

    def within(self, wanted: int, soft: int, hard: int) -> list[int]:
        """Return what a process with these limits says to ``wanted``, and its soft limit afterwards."""
        code = (
            "import resource, sys; from filedropd.descriptors import connections_within;"
            f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}));"
            f"print(connections_within({wanted}), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return [int(number) for number in done.stdout.split()]

    def test_enough(self):
        """Where the limit is high enough, it stays."""
        self.assertEqual([10, 200], self.within(10, 200, 300))

    def test_raised(self):
        """The soft limit is raised as far as needed."""
        self.assertEqual([100, 100 * EACH + RESERVED], self.within(100, 100, 1000))

    def test_bounded(self):
        """Where the hard limit is too low, there are fewer connections."""
        self.assertEqual([(200 - RESERVED) // EACH, 200], self.within(1000, 100, 200))


class FewDescriptorsTests(TestCase):
    """A real daemon that may have hardly any files open."""

    LIMIT = 100

    def test_survives(self):
        """Far more clients than descriptors: nobody is served wrongly, and it goes on when they have left."""
        folder = Path(tempfile.mkdtemp(prefix="filedropd-files-"))
        daemon = Daemon(folder)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.LIMIT, before[1]))
        try:
            # The daemon must not be able to raise it again.
            daemon.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        self.addCleanup(daemon.kill)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (self.LIMIT, self.LIMIT))
        clients = [socket.create_connection(("127.0.0.1", daemon.ports[0]), timeout=PATIENCE) for _ in range(300)]
        for client in clients:
            client.close()
        answer = eventually(lambda: self._health(daemon.ports[0]), "it answers again")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200"))
        self.assertNotIn("Traceback", daemon.log())

    @staticmethod
    def _health(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            client.sendall(request("GET", "/healthz"))
            try:
                answer = client.recv(4096)
            except ConnectionError:
                return b""
        return answer if answer.startswith(b"HTTP/1.1 200") else b""
