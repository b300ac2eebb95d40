"""Looking after a drop, probes, and what is asked of no route."""

from __future__ import annotations

from typing import Any

from filedropd.errors import Unavailable
from filedropd.testing import Wire, request
from tests.api import ELSEWHERE, FILE, APITestCase


def bearer(told: dict[str, Any]) -> dict[str, str]:
    """Return the header field that shows who the owner is."""
    return {"Authorization": f"Bearer {told['owner_token']}"}


class StatusTests(APITestCase):
    """GET …/status."""

    def test_available(self) -> None:
        """Before it is fetched, the status says so."""
        told = self.leave(b"content")
        status = self.ask("GET", told["path"] + "/status", bearer(told)).json()
        self.assertEqual(
            ("available", None, None, 7, 1, 0, []),
            tuple(status[name] for name in ("state", "reason", "gone_at", "size", "downloads", "delivered", "claims")),
        )

    def test_claims(self) -> None:
        """Each claim is told, in order, with what came of it."""
        told = self.leave(b"0123456789")
        self.ask("GET", told["path"], {"Range": "bytes=0-3"})
        self.core.elapse(15 * 60)
        self.ask("GET", told["path"], client=ELSEWHERE)
        status = self.ask("GET", told["path"] + "/status", bearer(told)).json()
        self.assertEqual(("gone", "delivered", 1), (status["state"], status["reason"], status["delivered"]))
        self.assertEqual(
            [(1, "lapsed", 4, 4), (2, "delivered", 10, 10)],
            [
                tuple(claim[name] for name in ("number", "state", "handed_out", "acknowledged"))
                for claim in status["claims"]
            ],
        )

    def test_expired(self) -> None:
        """What is past its expiry is told as gone, whether or not the reaper has come by."""
        told = self.leave(b"content", expires="1s")
        self.core.wall.jump(2)
        status = self.ask("GET", told["path"] + "/status", bearer(told)).json()
        self.assertEqual(("gone", "expired"), (status["state"], status["reason"]))

    def test_refused(self) -> None:
        """Without the owner's token nothing is told."""
        told = self.leave(b"content")
        fields: list[dict[str, str]] = [
            {},
            {"Authorization": "Bearer " + "0" * 32},
            {"Authorization": f"Bearer {told['id']}"},
            {"Authorization": f"Basic {told['owner_token']}"},
            {"Authorization": "Bearer"},
        ]
        for headers in fields:
            answer = self.ask("GET", told["path"] + "/status", headers)
            self.assertProblem(401, "Unauthorized", answer)
            self.assertIn("Bearer", answer.header("WWW-Authenticate") or "")
        self.assertEqual(404, self.ask("GET", f"{FILE}/{'0' * 32}/status", bearer(told)).status)


class RevokeTests(APITestCase):
    """DELETE."""

    def test_revoke(self) -> None:
        """The drop is gone, with its bytes; a second DELETE says so too."""
        told = self.leave(b"content")
        answer = self.ask("DELETE", told["path"], bearer(told))
        self.assertEqual((204, b""), (answer.status, answer.body))
        self.assertEqual({}, dict(self.core.stored.published))
        for method in ("GET", "DELETE"):
            gone = self.ask(method, told["path"], bearer(told))
            self.assertEqual((410, "revoked"), (gone.status, gone.json()["reason"]))

    def test_refused(self) -> None:
        """Somebody else cannot, and the file stays."""
        told = self.leave(b"content")
        self.assertEqual(401, self.ask("DELETE", told["path"]).status)
        self.assertEqual(401, self.ask("DELETE", told["path"], {"Authorization": "Bearer " + "0" * 32}).status)
        self.assertEqual(200, self.ask("GET", told["path"]).status)

    def test_running(self) -> None:
        """A download that runs is broken off, not ended as if it were whole."""
        told = self.leave(bytes(900_000))
        slow = Wire(self.factory)
        slow.stop_reading()
        slow.send(request("GET", told["path"]))
        slow.take(100_000)
        self.assertEqual(204, self.ask("DELETE", told["path"], bearer(told)).status)
        slow.read_on()
        self.assertTrue(slow.was_reset)
        self.assertFalse(slow.responses("GET")[0].complete)


class RoutingTests(APITestCase):
    """Paths and methods that are not there, and those for programs."""

    def test_unknown_paths(self) -> None:
        """What is not there is 404, for GET and HEAD, and never a redirect to somewhere else."""
        for target in ("/name", "/a/b", "//evil.example/x", "/%zz", "/%ff", "/../../etc/passwd", FILE + "/x/y"):
            for method in ("GET", "HEAD"):
                answer = self.ask(method, target)
                self.assertEqual((404, None), (answer.status, answer.header("Location")), target)

    def test_methods(self) -> None:
        """A method that a path of the API does not have is 405, with those that it has."""
        cases = {
            ("GET", FILE): "POST, PUT",
            ("DELETE", FILE): "POST, PUT",
            ("PATCH", f"{FILE}/{'0' * 32}"): "DELETE, GET, HEAD, POST",
            ("TRACE", "/"): "GET, HEAD, POST, PUT",
            ("POST", "/healthz"): "GET, HEAD, PUT",
        }
        for (method, target), allowed in cases.items():
            answer = self.ask(method, target)
            self.assertProblem(405, "Method not Allowed", answer)
            self.assertEqual(allowed, answer.header("Allow"))

    def test_probes(self) -> None:
        """Alive and ready are two things."""
        self.assertEqual((200, 200), (self.ask("GET", "/healthz").status, self.ask("GET", "/readyz").status))
        self.core.journal.fail("records.ping", Unavailable("The database is away."))
        self.assertEqual(200, self.ask("GET", "/healthz").status)
        answer = self.ask("GET", "/readyz")
        self.assertProblem(503, "Service Unavailable", answer)
        self.assertTrue(answer.header("Retry-After"))

    def test_described(self) -> None:
        """Each route is in the API's description, and what is described is a route."""
        described = {
            (method.upper(), path)
            for path, methods in self.ask("GET", "/api/v1.0/openapi.json").json()["paths"].items()
            for method in methods
            if method != "parameters"
        }
        routed = {
            (method, rule.rule.replace("<", "{").replace(">", "}"))
            for rule in self.api._app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        }
        self.assertEqual(routed, described)
