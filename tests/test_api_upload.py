"""Leaving a file: what goes in, and what it is answered with."""

from __future__ import annotations

from filedropd.http.multipart import MAX_OVERHEAD
from filedropd.testing import Wire, request
from tests.api import BOUNDARY, FILE, APITestCase, file_part, form, part
from tests.support import LIMIT


class FormTests(APITestCase):
    """Forms, by PUT and POST."""

    def test_answer(self) -> None:
        """The answer has all that the sender needs, and the link in Location too."""
        answer = self.send_form(file_part(b"content"))
        told = answer.json()
        self.assertEqual((201, "application/json"), (answer.status, answer.header("Content-Type")))
        self.assertEqual(
            {"status", "url", "id", "size", "sha256", "expires_at", "downloads", "owner_token"},
            set(told),
        )
        self.assertEqual("File Uploaded Successfully", told["status"])
        self.assertEqual(f"http://localhost{FILE}/{told['id']}", told["url"])
        self.assertEqual(told["url"], answer.header("Location"))
        self.assertEqual((7, 1), (told["size"], told["downloads"]))
        self.assertRegex(told["id"], r"\A[0-9a-f]{32}\Z")
        self.assertRegex(told["owner_token"], r"\A[0-9a-f]{32}\Z")
        self.assertEqual("2023-11-14T23:13:20Z", told["expires_at"])

    def test_fetch(self) -> None:
        """What was left is what is fetched, with its name and type."""
        for method in ("PUT", "POST"):
            told = self.send_form(file_part(b"\x00\xffcontent", "report.xls", "text/x-odd; a=b"), method=method).json()
            answer = self.ask("GET", f"{FILE}/{told['id']}")
            self.assertEqual((200, b"\x00\xffcontent"), (answer.status, answer.body))
            self.assertEqual("text/x-odd; a=b", answer.header("Content-Type"))
            self.assertEqual("attachment; filename=report.xls", answer.header("Content-Disposition"))

    def test_fields_in_any_order(self) -> None:
        """Options count wherever in the form they stand."""
        options = [part("downloads", "3"), part("expires", "90s")]
        for parts in ([*options, file_part()], [file_part(), *options], [options[0], file_part(), options[1]]):
            told = self.send_form(*parts).json()
            self.assertEqual((3, "2023-11-14T22:14:50Z"), (told["downloads"], told["expires_at"]))

    def test_field_beats_header(self) -> None:
        """Where a header and a field say different things, the field wins."""
        told = self.send_form(part("downloads", "3"), file_part(), headers={"Filedrop-Downloads": "7"}).json()
        self.assertEqual(3, told["downloads"])

    def test_type_by_name(self) -> None:
        """A file without a type gets its name's."""
        told = self.send_form(file_part(filename="a.png")).json()
        self.assertEqual("image/png", self.ask("GET", f"{FILE}/{told['id']}").header("Content-Type"))

    def test_nameless(self) -> None:
        """A file part without a file name is a file called file."""
        told = self.send_form(part("file", "content")).json()
        answer = self.ask("GET", f"{FILE}/{told['id']}")
        self.assertEqual("attachment; filename=file", answer.header("Content-Disposition"))

    def test_unknown_fields(self) -> None:
        """Fields that are not known are ignored; so are empty options, which forms send."""
        answer = self.send_form(part("colour", "red"), part("expires", ""), part("password", ""), file_part())
        self.assertEqual(201, answer.status)

    def test_refused(self) -> None:
        """What makes no sense is a 400 that says what is wrong, and nothing stays."""
        cases = {
            "no file": [part("password", "x")],
            "two files": [file_part(), file_part()],
            "must be in the part": [part("upload", "x", '; filename="x"')],
            "expires": [file_part(), part("expires", "banana")],
            "downloads": [file_part(), part("downloads", "0")],
            "given once": [file_part(), part("expires", "1h"), part("expires", "2h")],
            "UTF-8": [file_part(), part("password", b"\xff")],
        }
        for words, parts in cases.items():
            answer = self.send_form(*parts)
            self.assertProblem(400, "Bad Request", answer)
            self.assertIn(words, answer.json()["detail"])
            self.assertNothingKept()

    def test_cut_short(self) -> None:
        """A form without its end is refused, and nothing stays."""
        fields = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        whole = form(file_part())
        for cut in (10, len(whole) - 20, len(whole) - 6):
            self.assertProblem(400, "Bad Request", self.ask("PUT", FILE, fields, whole[:cut]))
            self.assertNothingKept()

    def test_not_a_form(self) -> None:
        """POST takes forms only, and what is sent as a form's fields is no file."""
        self.assertProblem(400, "Bad Request", self.ask("POST", FILE, {"Content-Type": "text/plain"}, b"x"))
        urlencoded = {"Content-Type": "application/x-www-form-urlencoded"}
        self.assertProblem(400, "Bad Request", self.ask("PUT", FILE, urlencoded, b"password=x"))

    def test_limit(self) -> None:
        """A file of exactly the limit is kept; one byte more is not, and nothing of it stays."""
        self.assertEqual(201, self.send_form(file_part(bytes(LIMIT))).status)
        self.core.clear()
        self.assertProblem(413, "Request Entity Too Large", self.send_form(file_part(bytes(LIMIT + 1))))
        self.assertNothingKept()

    def test_declared_too_large(self) -> None:
        """A form that cannot fit is refused when its head is in, without a 100."""
        wire = Wire(self.factory)
        fields = {
            "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
            "Content-Length": str(LIMIT + MAX_OVERHEAD + 1),
            "Expect": "100-continue",
        }
        wire.send(request("PUT", FILE, fields))
        (answer,) = wire.responses("PUT")
        self.assertProblem(413, "Request Entity Too Large", answer)


class BytesTests(APITestCase):
    """The bytes alone."""

    def test_named_by_path(self) -> None:
        """PUT /name answers with the link as text, and keeps the name and its type."""
        answer = self.ask("PUT", "/r%C3%A9sum%C3%A9.pdf", None, b"content")
        self.assertEqual((201, "text/plain; charset=utf-8"), (answer.status, answer.header("Content-Type")))
        link = answer.body.decode().strip()
        self.assertEqual(link, answer.header("Location"))
        self.assertRegex(answer.header("Filedrop-Owner-Token") or "", r"\A[0-9a-f]{32}\Z")
        fetched = self.ask("GET", link.removeprefix("http://localhost"))
        self.assertEqual(b"content", fetched.body)
        self.assertEqual("application/pdf", fetched.header("Content-Type"))
        self.assertIn("filename*=UTF-8''r%C3%A9sum%C3%A9.pdf", fetched.header("Content-Disposition") or "")

    def test_nameless(self) -> None:
        """PUT / keeps a file called file."""
        link = self.ask("PUT", "/", None, b"content").body.decode().strip().removeprefix("http://localhost")
        self.assertEqual("attachment; filename=file", self.ask("HEAD", link).header("Content-Disposition"))

    def test_json(self) -> None:
        """At the root, too, JSON is answered to whoever asks for it."""
        answer = self.ask("PUT", "/name", {"Accept": "application/json"}, b"content")
        self.assertEqual(7, answer.json()["size"])

    def test_options(self) -> None:
        """Options stand in headers."""
        told = self.leave(b"content", downloads="2", expires="1h")
        self.assertEqual((2, "2023-11-14T23:13:20Z"), (told["downloads"], told["expires_at"]))

    def test_bad_option(self) -> None:
        """A bad option is refused before the body is asked for."""
        wire = Wire(self.factory)
        fields = {"Filedrop-Downloads": "0", "Content-Length": "7", "Expect": "100-continue"}
        wire.send(request("PUT", FILE, fields))
        (answer,) = wire.responses("PUT")
        self.assertProblem(400, "Bad Request", answer)

    def test_chunked(self) -> None:
        """A body of unknown length is taken as it comes."""
        wire = Wire(self.factory)
        wire.send(request("PUT", FILE, {"Transfer-Encoding": "chunked"}), b"3\r\ncon\r\n", b"4\r\ntent\r\n0\r\n\r\n")
        (answer,) = wire.responses("PUT")
        self.assertEqual((201, 7), (answer.status, answer.json()["size"]))

    def test_chunked_too_large(self) -> None:
        """A body of unknown length is refused at the byte that is too much, and nothing stays."""
        wire = Wire(self.factory)
        wire.send(request("PUT", FILE, {"Transfer-Encoding": "chunked"}))
        for _ in range(LIMIT // 50_000 + 1):
            wire.send(b"c350\r\n" + bytes(50_000) + b"\r\n")
        (answer,) = wire.responses("PUT")
        self.assertProblem(413, "Request Entity Too Large", answer)
        self.assertNothingKept()

    def test_empty(self) -> None:
        """An empty file is a file, if its length was declared."""
        told = self.leave(b"")
        answer = self.ask("GET", told["path"])
        self.assertEqual((200, b"", "0"), (answer.status, answer.body, answer.header("Content-Length")))
        self.assertEqual(410, self.ask("GET", told["path"]).status)

    def test_no_length(self) -> None:
        """Neither length nor chunks: 411."""
        for method, target in (("POST", FILE), ("PUT", FILE), ("PUT", "/name"), ("POST", "/")):
            self.assertProblem(411, "Length Required", self.ask(method, target))

    def test_content_coding(self) -> None:
        """What is coded is not taken: nobody would decode it for its recipient."""
        answer = self.ask("PUT", FILE, {"Content-Encoding": "gzip"}, b"x")
        self.assertProblem(415, "Unsupported Media Type", answer)

    def test_bad_names(self) -> None:
        """A name that is a path of its own is refused."""
        for target in ("/a%2fb", "/%2e%2e", "/a%00b", "/a%0d%0ab", "/..%5cx"):
            self.assertProblem(400, "Bad Request", self.ask("PUT", target, None, b"x"))
        self.assertNothingKept()

    def test_too_short(self) -> None:
        """A body that ends before its length leaves nothing behind."""
        wire = Wire(self.factory)
        wire.send(request("PUT", FILE, {"Content-Length": "100"}), b"only this")
        wire.close()
        self.assertProblem(400, "Bad Request", wire.responses("PUT")[0])
        self.assertNothingKept()

    def test_client_leaves(self) -> None:
        """A client that leaves in the middle leaves nothing behind, and no error in the log."""
        wire = Wire(self.factory)
        wire.send(request("PUT", FILE, {"Content-Length": "1000000"}), bytes(600_000))
        wire.reset()
        self.assertNothingKept()
        self.assertEqual([], self.flushLoggedErrors())

    def test_continue(self) -> None:
        """A client that waits for 100 gets it when its head was found good, and then 201."""
        wire = Wire(self.factory)
        wire.send(request("PUT", FILE, {"Content-Length": "7", "Expect": "100-continue"}))
        self.assertEqual([100], [answer.status for answer in wire.responses("PUT")])
        wire.send(b"content")
        self.assertEqual([100, 201], [answer.status for answer in wire.responses("PUT", "PUT")])


class PageTests(APITestCase):
    """The plain form."""

    def test_page(self) -> None:
        """The page is a form that works as it stands, under a strict policy."""
        answer = self.ask("GET", "/")
        self.assertEqual((200, "text/html; charset=utf-8"), (answer.status, answer.header("Content-Type")))
        page = answer.body.decode()
        for needed in ('enctype="multipart/form-data"', 'method="post"', 'name="file"', 'name="password"'):
            self.assertIn(needed, page)
        self.assertIn("default-src 'none'", answer.header("Content-Security-Policy") or "")

    def test_browser(self) -> None:
        """A browser gets a page with its link; a file's name can do nothing there."""
        answer = self.send_form(
            file_part(filename="<b>&.txt"), method="POST", target="/", headers={"Accept": "text/html,*/*;q=0.8"}
        )
        page = answer.body.decode()
        self.assertEqual((201, "text/html; charset=utf-8"), (answer.status, answer.header("Content-Type")))
        self.assertRegex(page, r'value="http://localhost/api/v1\.0/file/[0-9a-f]{32}"')
        self.assertNotIn("<b>", page)

    def test_program(self) -> None:
        """A program gets the link as text, or JSON where it asks for it."""
        self.assertEqual("text/plain; charset=utf-8", self._typed("*/*"))
        self.assertEqual("application/json", self._typed("application/json"))

    def _typed(self, accept: str) -> str | None:
        answer = self.send_form(file_part(), method="POST", target="/", headers={"Accept": accept})
        self.assertEqual(201, answer.status)
        return answer.header("Content-Type")


class PublicURLTests(APITestCase):
    """Links under a name that the operator gave."""

    public_url = "https://files.example.org/drop"

    def test_link(self) -> None:
        """No link is ever built from what a request says its host is."""
        for headers in ({}, {"Host": "evil.example"}):
            answer = self.ask("PUT", FILE, headers, b"x")
            self.assertTrue(answer.json()["url"].startswith("https://files.example.org/drop/api/v1.0/file/"))


class PrefixTests(APITestCase):
    """The API under another path."""

    prefix = "/vimeo/api/v1.0"

    def test_prefix(self) -> None:
        """All of it moves, its description too."""
        answer = self.ask("PUT", "/vimeo/api/v1.0/file", None, b"x")
        self.assertIn("/vimeo/api/v1.0/file/", answer.json()["url"])
        self.assertEqual(200, self.ask("GET", f"/vimeo/api/v1.0/file/{answer.json()['id']}").status)
        self.assertIn("/vimeo/api/v1.0/file/{id}", self.ask("GET", "/vimeo/api/v1.0/openapi.json").json()["paths"])
        self.assertEqual(404, self.ask("GET", f"{FILE}/x").status)
