"""What people are shown over HTTP: in their language, kept by the right ones, and a page where something went wrong."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import Any

from filedropd.web.pages import POLICY
from tests.api import ELSEWHERE, FILE, file_part, part
from tests.test_downloads import BROWSER, DownloadsTestCase, bearer, place

GERMAN = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}


class LanguageTests(DownloadsTestCase):
    """The language of an answer."""

    def test_pages(self) -> None:
        """Each page is in the reader's language, says so, and says that it depends on him."""
        told = self.leave()
        for target in ("/", told["path"], f"{FILE}/{'0' * 32}", "/nothing/here"):
            answer = self.ask("GET", target, BROWSER | GERMAN)
            self.assertEqual("de", answer.header("Content-Language"), target)
            self.assertIn(b'<html lang="de" dir="ltr">', answer.body)
            varies = ", ".join(value for name, value in answer.headers if name == "Vary")
            self.assertIn("Accept-Language", varies)

    def test_programs(self) -> None:
        """What programs read has none."""
        answer = self.ask("GET", f"{FILE}/{'0' * 32}", GERMAN)
        self.assertProblem(404, "Not Found", answer)
        self.assertIsNone(answer.header("Content-Language"))


class UploadPageTests(DownloadsTestCase):
    """``GET /``."""

    def test_kept(self) -> None:
        """A browser keeps it, and asks whether it has changed; each language and coding has a tag of its own."""
        tags = set()
        for headers in ({}, GERMAN, {"Accept-Encoding": "gzip"}, GERMAN | {"Accept-Encoding": "gzip"}):
            answer = self.ask("GET", "/", headers)
            self.assertEqual("no-cache", answer.header("Cache-Control"))
            tags.add(etag := answer.header("ETag") or "")
            again = self.ask("GET", "/", headers | {"If-None-Match": etag})
            self.assertEqual((304, b""), (again.status, again.body))
        self.assertEqual(4, len(tags))

    def test_compressed(self) -> None:
        """It is compressed for whoever takes that."""
        packed = self.ask("GET", "/", {"Accept-Encoding": "gzip"})
        self.assertEqual(self.ask("GET", "/").body, gzip.decompress(packed.body))

    def test_found(self) -> None:
        """It is no secret, and has the policy of all pages."""
        answer = self.ask("GET", "/")
        self.assertIsNone(answer.header("X-Robots-Tag"))
        self.assertEqual(POLICY, answer.header("Content-Security-Policy"))


class ProblemTests(DownloadsTestCase):
    """Where something went wrong."""

    def test_unknown_path(self) -> None:
        """A person at an address that leads nowhere is told so on a page."""
        self.assertPage(self.ask("GET", "/nothing/here", BROWSER), 404)
        self.assertProblem(404, "Not Found", self.ask("GET", "/nothing/here"))

    def test_form(self) -> None:
        """So is one whose form cannot be taken."""
        answer = self.ask("POST", "/", BROWSER | {"Content-Type": "text/plain"}, b"x")
        self.assertPage(answer, 400)
        self.assertPage(self.send_form(method="POST", target="/", headers=BROWSER), 400)

    def test_said(self) -> None:
        """What is wrong with a form, and how large a file may be, is said in the reader's language."""
        for parts, code, words in (
            ([part("downloads", "x"), file_part()], 400, "Anzahl von Downloads von 1 bis 1000"),
            ([part("expires", "99d"), file_part()], 400, "höchstens 30 Tage"),
            ([part("password", "x" * 1100), file_part()], 400, "Dieses Passwort geht nicht"),
            ([], 400, "Es muss eine Datei dabei sein"),
            ([file_part(b"x" * 2**21)], 413, "höchstens 976,6 KiB"),
        ):
            page = self.send_form(*parts, method="POST", target="/", headers=BROWSER | GERMAN)
            self.assertPage(page, code)
            self.assertIn(words, page.body.decode())
            self.assertNotIn(b'lang="en"', page.body)
            self.assertIn(b'<a class="button main" href="/">', page.body)
            self.assertNotIn(b"Selbst eine Datei hinterlegen", page.body)

    def test_locked(self) -> None:
        """Where somebody else has begun, it says for how long that can be, and leads there; programs may ask sooner."""
        told = self.leave()
        self.ask("POST", told["path"], BROWSER, b"")
        page = self.ask("POST", told["path"], BROWSER, b"", client=ELSEWHERE)
        self.assertPage(page, 423)
        self.assertIn(b"Somebody has begun to download", page.body)
        self.assertIn(b"waits up to 15 minutes", page.body)
        self.assertNotIn(b"5 seconds", page.body)
        self.assertEqual("5", page.header("Retry-After"))
        self.assertIn(f'href="{told["path"]}"'.encode(), page.body)

    def test_gone(self) -> None:
        """Why a file is gone is said in the reader's language."""
        told = self.leave()
        self.ask("DELETE", told["path"], bearer(told))
        page = self.ask("GET", told["path"], BROWSER | GERMAN)
        self.assertPage(page, 410)
        self.assertIn("Ihr Absender hat sie zurückgenommen.".encode(), page.body)


class LinkPageTests(DownloadsTestCase):
    """The page that answers the plain form."""

    def test_language(self) -> None:
        """It is in the sender's language, has a QR code, and is kept by nobody."""
        answer = self.send_form(file_part(), method="POST", target="/", headers=BROWSER | GERMAN)
        self.assertPage(answer, 201)
        self.assertIn(b"<svg", answer.body)
        self.assertIn(b"Ihr Link", answer.body)


class CodeTests(DownloadsTestCase):
    """``GET …/code``."""

    def test_owner(self) -> None:
        """Its owner gets the link as a QR code, a picture that is kept by nobody."""
        told = self.leave()
        answer = self.ask("GET", f"{told['path']}/code", bearer(told))
        self.assertEqual((200, "image/svg+xml"), (answer.status, answer.header("Content-Type")))
        self.assertEqual("no-store", answer.header("Cache-Control"))
        self.assertIn(f"<title>{told['url']}</title>".encode(), answer.body)

    def test_nobody_else(self) -> None:
        """Nobody else does, and of nothing but a link that is here is one made."""
        told, other = self.leave(), self.leave()
        self.assertProblem(401, "Unauthorized", self.ask("GET", f"{told['path']}/code"))
        self.assertProblem(401, "Unauthorized", self.ask("GET", f"{told['path']}/code", bearer(other)))
        self.assertProblem(404, "Not Found", self.ask("GET", f"{FILE}/{'0' * 32}/code", bearer(told)))


class ClaimTests(DownloadsTestCase):
    """``GET …/claim``: a recipient's page asks what became of its download."""

    def claim(self, told: Mapping[str, Any], token: str) -> dict[str, object]:
        """Return what is told of a claim, whose token the browser shows as its cookie."""
        answer = self.ask("GET", f"{told['path']}/claim", {"Cookie": f"filedrop-claim={token}"})
        self.assertEqual((200, "no-store"), (answer.status, answer.header("Cache-Control")))
        found: dict[str, object] = answer.json()
        return found

    def test_life(self) -> None:
        """It is told from its beginning to its end, also when its token opens nothing any more."""
        told = self.leave(b"content")
        pressed = self.ask("POST", told["path"], BROWSER, b"")
        token = pressed.header("Filedrop-Claim") or ""
        begun = self.claim(told, token)
        self.assertEqual(("suspended", 0, False), (begun["state"], begun["acknowledged"], begun["gone"]))
        self.ask("GET", place(pressed), BROWSER)
        ended = self.claim(told, token)
        self.assertEqual(("delivered", 7, 7, None), tuple(ended[n] for n in ("state", "acknowledged", "size", "until")))
        self.assertEqual((True, "delivered"), (ended["gone"], ended["reason"]))

    def test_no_secrets(self) -> None:
        """It says nothing of other claims, and has no secret in it."""
        told = self.leave(b"content", downloads="2")
        self.ask("GET", told["path"], client=ELSEWHERE)
        token = self.ask("POST", told["path"], BROWSER, b"").header("Filedrop-Claim") or ""
        answer = self.ask("GET", f"{told['path']}/claim", {"Filedrop-Claim": token})
        self.assertNotIn("number", answer.json())
        for secret in (told["id"], told["owner_token"], token):
            self.assertNotIn(secret.encode(), answer.body)

    def test_nobody_else(self) -> None:
        """Without its token nothing is told, whoever asks."""
        told = self.leave(b"content")
        self.ask("POST", told["path"], BROWSER, b"")
        for headers in ({}, {"Filedrop-Claim": "0" * 32}, bearer(told)):
            self.assertProblem(404, "Not Found", self.ask("GET", f"{told['path']}/claim", headers))

    def test_released(self) -> None:
        """A claim of which nothing was fetched is not there any more once its time is over."""
        told = self.leave(b"content")
        token = self.ask("POST", told["path"], BROWSER, b"").header("Filedrop-Claim") or ""
        self.core.elapse(6)
        self.assertEqual(404, self.ask("GET", f"{told['path']}/claim", {"Filedrop-Claim": token}).status)
