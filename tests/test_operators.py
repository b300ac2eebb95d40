"""Metrics, health and readiness: on a listener of their own, and on the main port."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from klein import Klein
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from filedropd.errors import InsufficientStorage, Unavailable
from filedropd.http.server import HTTPFactory
from filedropd.metrics import CONTENT_TYPE, Metrics
from filedropd.testing import Response, Wire, request
from filedropd.testing.wire import CLIENT
from filedropd.web.forwarding import FORWARDED
from filedropd.web.operators import METRICS, Operators
from filedropd.web.problems import refusal
from filedropd.web.routing import answering

HERE: Final = IPv4Address("TCP", "127.0.0.1", 50_000)


class OperatorsTestCase(SynchronousTestCase):
    """Somebody asks on a wire."""

    def setUp(self) -> None:
        self.metrics = Metrics()
        self.trouble: Exception | None = None
        self.routes: list[str] = []
        self.operators = Operators(self.metrics, self.ready)

    async def ready(self) -> None:
        """Be ready, or not."""
        if self.trouble is not None:
            raise self.trouble

    def ask(self, method: str, target: str, client: IAddress = CLIENT, **fields: str) -> Response:
        """Ask on the operators' listener."""
        return self.asked(
            HTTPFactory(self.operators.resource(), Clock(), refusal=refusal), method, target, client, fields
        )

    def asked(
        self, factory: HTTPFactory, method: str, target: str, client: IAddress, fields: dict[str, str]
    ) -> Response:
        """Ask a server, and return its answer."""
        factory.answered = lambda request: self.routes.append(request.route)
        wire = Wire(factory, client=client)
        wire.send(request(method, target, {name.replace("_", "-"): value for name, value in fields.items()}))
        wire.close()
        (answer,) = wire.responses(method)
        return answer


class ListenerTests(OperatorsTestCase):
    """On a listener of their own, for everybody."""

    def test_metrics(self):
        """Metrics are told in the form that Prometheus reads."""
        self.metrics.kept(7)
        answer = self.ask("GET", "/metrics")
        self.assertEqual((200, CONTENT_TYPE), (answer.status, answer.header("Content-Type")))
        self.assertIn(b"\nfiledropd_uploads_bytes_total 7.0\n", answer.body)

    def test_health(self):
        """The process answers, ready or not."""
        self.trouble = Unavailable()
        answer = self.ask("GET", "/healthz")
        self.assertEqual((200, {"status": "ok"}), (answer.status, answer.json()))

    def test_ready(self):
        """It is ready when drops can be taken and handed out."""
        answer = self.ask("GET", "/readyz")
        self.assertEqual((200, {"status": "ready"}), (answer.status, answer.json()))

    def test_not_ready(self):
        """When they cannot, the answer says why, and when to ask again."""
        self.trouble = Unavailable("The database is away.", retry_after=3)
        answer = self.ask("GET", "/readyz")
        self.assertEqual((503, "3"), (answer.status, answer.header("Retry-After")))
        self.assertEqual("The database is away.", answer.json()["detail"])
        self.trouble = InsufficientStorage()
        self.assertEqual(507, self.ask("GET", "/readyz").status)

    def test_fault(self):
        """A fault of ours is no readiness, and is told as any other."""
        self.trouble = RuntimeError("a bug")
        self.assertEqual(500, self.ask("GET", "/readyz").status)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_head(self):
        """HEAD is told what GET would be, without the body."""
        answer = self.ask("HEAD", "/metrics")
        self.assertEqual((200, b""), (answer.status, answer.body))

    def test_nothing_else(self):
        """There is nothing else there, and nothing to be done with it but to read it."""
        for target in ("/", "/api/v1.0/file", "/metrics/x"):
            self.assertEqual(404, self.ask("GET", target).status, target)
        answer = self.ask("POST", "/metrics")
        self.assertEqual((405, "GET, HEAD"), (answer.status, answer.header("Allow")))

    def test_no_redirect(self):
        """Slashes too many lead nowhere else."""
        for target in ("/metrics/", "//metrics", "//example.org/metrics"):
            self.assertIn(self.ask("GET", target).status, {200, 404}, target)

    def test_routes(self):
        """Logs and metrics know the route."""
        for target in ("/metrics", "/healthz", "/readyz", "/other"):
            self.ask("GET", target)
        self.assertEqual(["/metrics", "/healthz", "/readyz", ""], self.routes)


class MainPortTests(OperatorsTestCase):
    """Metrics on the main port: for this machine alone."""

    def ask(self, method: str, target: str, client: IAddress = CLIENT, **fields: str) -> Response:
        app = Klein()
        app.route(METRICS)(answering(METRICS, self.operators.metrics_here))
        return self.asked(HTTPFactory(app.resource(), Clock(), refusal=refusal), method, target, client, fields)

    def test_here(self):
        """Whoever asks from here is answered, by whichever name of here."""
        v6 = IPv6Address("TCP", "::1", 50_000)
        mapped = IPv6Address("TCP", "::ffff:127.0.0.1", 50_000)
        for client, host in ((HERE, "localhost:8002"), (HERE, "127.0.0.1"), (v6, "[::1]:8002"), (mapped, "LOCALHOST")):
            self.assertEqual(200, self.ask("GET", "/metrics", client, Host=host).status, host)

    def test_elsewhere(self):
        """For others there is nothing, whatever they say."""
        scoped = IPv6Address("TCP", "fe80::1%eth0", 50_000)
        for client in (
            CLIENT,
            IPv4Address("TCP", "10.0.0.1", 50_000),
            scoped,
            UNIXAddress(None),
            UNIXAddress("/run/x"),
        ):
            self.assertEqual(404, self.ask("GET", "/metrics", client, Host="localhost").status, client)
        self.assertEqual(404, self.ask("GET", "/metrics", CLIENT, X_Forwarded_For="127.0.0.1").status)

    def test_socket(self):
        """A UNIX socket is a proxy's, which nothing tells from somebody of this machine; the document says so."""
        for host in ("localhost", "127.0.0.1"):
            self.assertEqual(404, self.ask("GET", "/metrics", UNIXAddress(None), Host=host).status, host)
        text = (Path(__file__).parents[1] / "docs" / "operations.md").read_text("utf-8")
        self.assertIn("On a UNIX socket of `listen` it is 404", text)

    def test_proxy(self):
        """Nor for those for whom a proxy on this machine asks, which says so, or asks by the name the world has."""
        for name in FORWARDED:
            fields = {"Host": "localhost", name.replace("-", "_"): "127.0.0.1"}
            self.assertEqual(404, self.ask("GET", "/metrics", HERE, **fields).status, name)
        for host in ("files.example.org", "192.0.2.2", "localhost.example.org"):
            self.assertEqual(404, self.ask("GET", "/metrics", HERE, Host=host).status, host)
