"""Whose page asks: our own and programs may, other sites' may not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from filedropd.web.origins import same_origin
from tests.api import FILE, APITestCase, file_part
from tests.test_recipients import a_request

#: Pages of others, as browsers tell of them.
ELSEWHERE = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
    {"Origin": "http://elsewhere.example"},
    {"Origin": "null"},
)


class OriginTests(SynchronousTestCase):
    """Whose form it is."""

    def same(self, *lines: bytes, ours: str = "https://drop.example") -> bool:
        """Tell whether a POST with these header lines passes."""
        return same_origin(a_request(*lines, b"Content-Length: 0", method=b"POST"), ours)

    def test_programs(self):
        """A program says nothing and passes."""
        self.assertTrue(self.same())

    def test_ours(self):
        """A form of ours passes, however the origin is written."""
        for origin, ours in [
            (b"https://drop.example", "https://drop.example"),
            (b"https://drop.example", "https://drop.example:443/base/"),
            (b"https://drop.example:443", "https://DROP.example"),
            (b"http://localhost:8002", "http://localhost:8002/api/v1.0/file/x"),
            (b"http://[::1]:8002", "http://[::1]:8002"),
        ]:
            self.assertTrue(self.same(b"Origin: " + origin, ours=ours), (origin, ours))

    def test_others(self):
        """One of somebody else's does not."""
        for origin in [
            b"https://evil.example",
            b"http://drop.example",
            b"https://drop.example:8443",
            b"https://drop.example.evil.example",
            b"https://evil.example/https://drop.example",
            b"null",
            b"",
            b"https://drop.example:port",
            b"https://[drop.example",
            b"drop.example",
            b"\xff",
        ]:
            self.assertFalse(self.same(b"Origin: " + origin), origin)

    def test_fetch_metadata(self):
        """Where the browser itself says whose it is, that counts: a page without a referrer has no origin."""
        for site, same in [
            (b"same-origin", True),
            (b"none", True),
            (b"same-site", False),
            (b"cross-site", False),
            (b"", False),
        ]:
            for origin in (b"Origin: null", b"Origin: https://drop.example", b"X: y"):
                self.assertEqual(same, self.same(b"Sec-Fetch-Site: " + site, origin), (site, origin))


class UploadTests(APITestCase):
    """Who may leave a file."""

    def test_from_another_site(self) -> None:
        """A form of another site leaves nothing, wherever it is sent."""
        for headers in ELSEWHERE:
            for target, method in [("/", "POST"), (FILE, "POST"), (FILE, "PUT"), ("/report.xls", "PUT")]:
                answer = self.send_form(file_part(), method=method, target=target, headers=headers)
                self.assertProblem(403, "Forbidden", answer)
        self.assertNothingKept()

    def test_shown(self) -> None:
        """Whoever was sent here by one is told so on a page."""
        headers = {"Accept": "text/html", "Origin": "http://elsewhere.example"}
        answer = self.send_form(file_part(), method="POST", target="/", headers=headers)
        self.assertEqual((403, "text/html; charset=utf-8"), (answer.status, answer.header("Content-Type")))
        self.assertNothingKept()

    def test_from_here(self) -> None:
        """Our own page does, and so does a program."""
        for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}, {}):
            for target in ("/", FILE):
                answer = self.send_form(file_part(), method="POST", target=target, headers=headers)
                self.assertEqual(201, answer.status, headers)


class PublicURLTests(APITestCase):
    """Whose page it is under a name that the operator gave."""

    public_url = "https://files.example.org/drop"

    def test_origin(self) -> None:
        """Ours is the one under that name, whatever the request calls this host."""
        headers = {"Origin": "https://files.example.org", "Host": "internal:8002"}
        self.assertEqual(201, self.send_form(file_part(), method="POST", headers=headers).status)
        headers = {"Origin": "http://evil.example", "Host": "evil.example"}
        self.assertEqual(403, self.send_form(file_part(), method="POST", headers=headers).status)
