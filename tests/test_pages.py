"""The pages for people: what they say, and that nothing on them is anybody else's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from filedropd.drops import Rules
from filedropd.model import Drop, Reason
from filedropd.web.codes import square
from filedropd.web.kinds import kind
from filedropd.web.languages import Language, shipped
from filedropd.web.pages import POLICY, REFERRER_POLICY, Pages, _data, visible

LINK = "https://drop.example/api/v1.0/file/" + "0123456789abcdef" * 2
ACTION = "/api/v1.0/file/" + "0123456789abcdef" * 2
ENGLISH, GERMAN = shipped()["en"], shipped()["de"]
RULES = Rules(max_file_size=16 * 2**20, expires=7 * 86_400.0, max_expires=30 * 86_400.0)
HOSTILE = "\"><script>alert(1)</script>'&$name ${x}{{7*7}}fdp.exe"

Tag = tuple[str, dict[str, str | None]]


class Read(HTMLParser):
    """A page, as a browser reads it: its tags, and its text by the tag that it is in."""

    #: Those that have no end.
    VOID = frozenset({"meta", "input", "br", "link"})

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[Tag] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.balanced = True
        self.feed(page.decode("utf-8"))
        self.close()
        self.balanced = self.balanced and not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag that is its own end, as SVG has them."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Take the end of one."""
        if not self._open or self._open.pop() != tag:
            self.balanced = False

    def handle_data(self, data: str) -> None:
        """Take text."""
        if data.strip():
            self.texts.append((self._open[-1] if self._open else "", data.strip()))

    def every(self, tag: str) -> Iterator[dict[str, str | None]]:
        """Return the attributes of each such tag."""
        return (attributes for name, attributes in self.tags if name == tag)

    def meta(self, name: str) -> str | None:
        """Return what the page says of itself under ``name``."""
        for each in self.every("meta"):
            if name in {each.get("name"), each.get("property")}:
                return each["content"]
        return None

    def within(self, tag: str) -> list[str]:
        """Return the texts that stand in such tags."""
        return [text for name, text in self.texts if name == tag]

    @property
    def values(self) -> set[str | None]:
        """The values of all attributes."""
        return {value for _, attributes in self.tags for value in attributes.values()}

    @property
    def text(self) -> str:
        """All that is to be read."""
        return " ".join(text for _, text in self.texts)


def a_drop(**changes: Any) -> Drop:
    """Return a drop that expires on the 22nd of November 2023."""
    facts: dict[str, Any] = {
        "key": b"k" * 32,
        "owner_key": b"o" * 32,
        "blob": "ab" * 16,
        "name": "Jahresbericht – 年報.pdf",
        "content_type": "application/pdf",
        "size": 3 * 2**20 // 2,
        "created_at": 1_700_000_000.0,
        "expires_at": 1_700_604_800.5,
        "due_at": 1_700_604_800.5,
    }
    return Drop(**(facts | changes))


def download(*, link: str = LINK, wrong_password: bool = False, language: Language = ENGLISH, **changes: Any) -> Read:
    """Return the page of a drop."""
    page = Pages().download(language, a_drop(**changes), ACTION, link=link, window=900, wrong_password=wrong_password)
    return Read(page)


def problem(code: int, words: str = "Words", detail: str = "Detail.", **more: Any) -> Read:
    """Return the page of a problem."""
    return Read(Pages().problem(ENGLISH, code, words, detail, **more))


def upload(language: Language = ENGLISH, rules: Rules = RULES) -> Read:
    """Return the form."""
    return Read(Pages().upload(language, rules))


def uploaded(name: str = "a.txt", downloads: int = 1, url: str = LINK) -> Read:
    """Return the page with the link."""
    told = {"url": url, "downloads": downloads, "owner_token": "ab" * 16, "expires_at": "2023-11-21T22:13:20Z"}
    return Read(Pages().uploaded(ENGLISH, told, a_drop(name=name), square(LINK, "the link")))


class UploadTests(SynchronousTestCase):
    """The form."""

    def test_form(self):
        """It posts a file and its options, and works as it stands."""
        page = upload()
        (form,) = page.every("form")
        self.assertEqual(("post", "/", "multipart/form-data"), (form["method"], form["action"], form["enctype"]))
        fields = [field["name"] for tag in ("input", "select") for field in page.every(tag) if "name" in field]
        self.assertEqual({"file", "password", "expires", "downloads"}, set(fields))
        self.assertIn({"type": "submit", "class": "main"}, list(page.every("button")))
        labelled = {label["for"] for label in page.every("label") if "for" in label}
        self.assertEqual({"file", "password", "expires", "downloads"}, labelled)

    def test_rules(self):
        """It offers what the operator allows, and says what goes without saying."""
        rules = Rules(max_file_size=2**30, expires=5400.0, max_expires=86_400.0, max_downloads=9)
        page = upload(rules=rules)
        self.assertEqual(["1h", "90m", "1d"], [option["value"] for option in page.every("option")])
        self.assertEqual(["90m"], [option["value"] for option in page.every("option") if "selected" in option])
        self.assertIn("1 GiB at most", page.text)
        self.assertIn("for 90 minutes", page.text)
        self.assertEqual(["9"], [field["max"] for field in page.every("input") if "max" in field])

    def test_script(self):
        """Its scripts are ours, and are asked for at once; their words are data."""
        page = upload()
        script, words = page.every("script")
        self.assertEqual(("module", "no-referrer"), (script["type"], script["referrerpolicy"]))
        self.assertRegex(script["src"] or "", r"\A/ui/[0-9a-f]{12}/upload\.js\Z")
        self.assertEqual({"type": "application/json", "id": "words"}, words)
        (text,) = page.within("script")
        self.assertEqual(ENGLISH.words["status"], json.loads(text)["status"])
        preloaded = [link["href"] for link in page.every("link") if link["rel"] == "modulepreload"]
        self.assertIn((script["src"] or "").replace("upload.js", "words.js"), preloaded)

    def test_below(self):
        """Where a proxy has put us below its root, all that it names is there."""
        page = Read(Pages(root="/drop").upload(ENGLISH, RULES))
        (form,) = page.every("form")
        self.assertEqual(("/drop/", "/drop/api/v1.0/file"), (form["action"], form["data-api"]))
        for name in [link["href"] for link in page.every("link")]:
            self.assertTrue((name or "").startswith("/drop/ui/"), name)


class UploadedTests(SynchronousTestCase):
    """The page with the link."""

    def test_link(self):
        """It has the link, to copy and as a QR code, and the owner's token as text alone."""
        page = uploaded()
        self.assertIn(LINK, [field.get("value") for field in page.every("input")])
        self.assertEqual("ab" * 16, page.within("code")[0])
        self.assertFalse(any("ab" * 16 in (value or "") for value in page.values))
        self.assertEqual(1, sum(each.get("class") == "code" for each in page.every("svg")))

    def test_owner(self):
        """It says what the owner's token is for, in commands that can be copied."""
        shown = f"curl -H 'Authorization: Bearer {'ab' * 16}' {LINK}/status"
        self.assertEqual(
            [shown, f"curl -X DELETE -H 'Authorization: Bearer {'ab' * 16}' {LINK}"], uploaded().within("code")[1:]
        )

    def test_downloads(self):
        """It says how often the link works."""
        self.assertIn("It can be downloaded once;", uploaded().text)
        self.assertIn("It can be downloaded 3 times;", uploaded(downloads=3).text)


class DownloadTests(SynchronousTestCase):
    """The page with the button."""

    def test_facts(self):
        """It says what the file is called, how large it is, what it is, and how long it is kept."""
        page = download()
        self.assertEqual(["Jahresbericht – 年報.pdf"], page.within("bdi"))
        self.assertEqual(["1.5 MiB", "PDF document"], page.within("dd"))
        self.assertIn("application/pdf", page.within("small"))
        self.assertEqual(["21 November 2023, 22:13 UTC"], page.within("time"))
        self.assertEqual([{"datetime": "2023-11-21T22:13:20Z"}], list(page.every("time")))

    def test_form(self):
        """Its one form posts to the link by its one button; there is nothing else to fill in."""
        page = download()
        (form,) = page.every("form")
        self.assertEqual(("post", ACTION), (form["method"], form["action"]))
        self.assertEqual(["submit"], [button["type"] for button in page.every("button")])
        self.assertEqual([], list(page.every("input")))

    def test_left(self):
        """It says how often the file can still be downloaded."""
        for downloads, delivered, words in [
            (1, 0, "once, and"),
            (3, 0, "3 more times, and"),
            (3, 1, "2 more times, and"),
            (3, 2, "once more, and"),
        ]:
            text = download(downloads=downloads, delivered=delivered).text
            self.assertIn(f"It can be downloaded {words} then it is gone.", text)

    def test_password(self):
        """A drop with a password asks for it, in a field with a label and a note."""
        page = download(password="$argon2id$secret")
        (field,) = page.every("input")
        self.assertEqual(("password", "password"), (field["type"], field["name"]))
        self.assertIn("required", field)
        self.assertEqual("false", field["aria-invalid"])
        self.assertEqual([{"for": field["id"]}], list(page.every("label")))
        self.assertEqual([field["aria-describedby"]], [note["id"] for note in page.every("strong")])
        self.assertNotIn("argon2", page.text)

    def test_wrong_password(self):
        """After a wrong one it says so."""
        page = download(password="$argon2id$secret", wrong_password=True)
        (field,) = page.every("input")
        self.assertEqual("true", field["aria-invalid"])
        self.assertIn("That is not the password.", page.text)
        self.assertNotIn("That is not the password.", download(password="$argon2id$secret").text)

    def test_terminal(self):
        """It says how to fetch the file in a terminal; curl asks for a password itself."""
        self.assertEqual([f"curl -OJ {LINK}"], download().within("code"))
        self.assertEqual([f"curl -OJ -u me {LINK}"], download(password="x").within("code"))
        self.assertEqual(["curl -OJ 'https://a/$(x) y'"], download(link="https://a/$(x) y").within("code"))

    def test_german(self):
        """It is in the reader's language, and the language is named."""
        page = download(language=GERMAN)
        self.assertEqual(["Eine Datei für Sie"], page.within("h1"))
        self.assertEqual(["21. November 2023, 22:13 UTC"], page.within("time"))
        self.assertEqual([{"lang": "de", "dir": "ltr"}], list(page.every("html")))
        self.assertIn("1,5 MiB", page.within("dd"))

    def test_resume(self):
        """It says what to do when the download breaks off, and for how long that can be done."""
        self.assertIn("it waits for you for 15 minutes", download().text)

    def test_preview(self):
        """A preview of it shows the file's name, its size and how long it is kept, and no link to follow."""
        page = download()
        self.assertEqual("Jahresbericht – 年報.pdf", page.meta("og:title"))
        self.assertEqual("1.5 MiB, kept until 21 November 2023, 22:13 UTC", page.meta("og:description"))
        self.assertIsNone(page.meta("og:image"))

    def test_referrer(self):
        """Its form says that it is ours: without a referrer its origin would be null."""
        self.assertEqual(REFERRER_POLICY, download().meta("referrer"))


class ProblemTests(SynchronousTestCase):
    """The page in place of an error."""

    def test_words(self):
        """It says what happened, and what to do about it."""
        page = problem(410, "Gone", said="revoked")
        self.assertEqual(["This file is gone"], page.within("h1"))
        self.assertEqual(["This file is gone"], page.within("title"))
        self.assertIn("Its sender has taken it back.", page.within("p"))
        self.assertEqual(["410 Gone"], page.within("small"))

    def test_headings(self):
        """Each problem has a heading of its own."""
        headings = {
            code: problem(code).within("h1")[0] for code in (400, 401, 403, 404, 410, 413, 423, 429, 500, 503, 507)
        }
        self.assertEqual(len(headings), len(set(headings.values())))
        self.assertEqual("There is no such file", headings[404])
        self.assertEqual(["Words"], problem(418).within("h1"))
        self.assertEqual([headings[500]], problem(502).within("h1"))

    def test_reasons(self):
        """Why a file is gone is told for each reason that there is."""
        told = {reason.value: problem(410, said=reason.value).within("p")[0] for reason in Reason}
        self.assertEqual(len(Reason), len(set(told.values())))

    def test_other_details(self):
        """What the catalogue has no words for is said as the error says it, and marked as English."""
        self.assertIn("Send it as it is.", problem(415, detail="Send it as it is.").text)
        page = Read(Pages().problem(GERMAN, 415, "Words", "A file."))
        self.assertEqual(["en"], [each["lang"] for each in page.every("p") if "lang" in each])

    def test_remark(self):
        """What is wrong with a form is said in the reader's words, and in English as programs are told it."""
        page = Read(Pages().problem(GERMAN, 400, "Words", "A part has no name."))
        self.assertIn("Gehen Sie zurück", page.text)
        self.assertIn("A part has no name.", page.text)
        self.assertEqual(["en"], [each["lang"] for each in page.every("p") if "lang" in each])

    def test_below(self):
        """Where a proxy has put us below its root, to ask again leads there."""
        page = Read(Pages(root="/drop").problem(ENGLISH, 429, "Words", "Detail.", again=ACTION))
        self.assertIn(f"/drop{ACTION}", [link["href"] for link in page.every("a")])

    def test_retry(self):
        """It says when to try again, and where, where that makes sense."""
        page = problem(429, retry_after=121, again=ACTION)
        self.assertIn("Try again in 3 minutes.", page.text)
        self.assertIn(ACTION, [link["href"] for link in page.every("a")])
        self.assertNotIn("Try again in", problem(429).text)


class EveryPageTests(SynchronousTestCase):
    """What holds for all of them."""

    def pages(self, value: str) -> Iterator[Read]:
        """Return the pages that strangers have a word in, with ``value`` where that is."""
        yield download(name=value, content_type=value, password=value, link=value)
        yield Read(Pages().download(ENGLISH, a_drop(), value, link=LINK, window=900, wrong_password=True))
        yield problem(413, value, value, retry_after=1, again=value)
        yield problem(418, value, value)
        yield uploaded(name=value, url=value)

    def test_escaped(self):
        """Whatever a file is called stays text: the tags are the same."""
        for plain, hostile in zip(self.pages("x"), self.pages(HOSTILE), strict=True):
            self.assertEqual([name for name, _ in plain.tags], [name for name, _ in hostile.tags])
            self.assertTrue(hostile.balanced)
            self.assertTrue(HOSTILE in hostile.values or HOSTILE in hostile.text)

    def test_visible(self):
        """A name shows what it hides: what would turn its letters round, or is not to be seen, has a mark."""
        name = "invoice\u202efdp.exe\u200b\n"
        self.assertEqual("invoice\ufffdfdp.exe\ufffd\ufffd", visible(name))
        for page in (download(name=name), uploaded(name=name)):
            self.assertEqual([], [value for value in page.values if "\u202e" in (value or "")])
            self.assertEqual(["invoice\ufffdfdp.exe\ufffd\ufffd"], page.within("bdi"))

    def test_joiners(self):
        """What a word or an emoji is spelt with is left as it is; the same between other letters has a mark."""
        self.assertEqual("می\u200cخواهم 👩\u200d🚀", visible("می\u200cخواهم 👩\u200d🚀"))
        self.assertEqual("in\ufffdvoice", visible("in\u200cvoice"))

    def test_basics(self):
        """They say their language, follow the reader's light or dark, are kept out of indexes, and nest well."""
        for page in self.pages("x"):
            self.assertEqual([{"lang": "en", "dir": "ltr"}], list(page.every("html")))
            self.assertEqual("light dark", page.meta("color-scheme"))
            self.assertEqual("noindex", page.meta("robots"))
            self.assertTrue(page.balanced)

    def test_told_to_nobody(self):
        """What a page loads is not told its address, which may be a secret."""
        for page in [*self.pages("x"), upload()]:
            loads = [*page.every("link"), *(each for each in page.every("script") if "src" in each)]
            self.assertEqual({"no-referrer"}, {each["referrerpolicy"] for each in loads})

    def test_policy(self):
        """No page has what the policy forbids: code or styles in the page, and anything from elsewhere."""
        for page in [*self.pages("x"), upload(), upload(GERMAN)]:
            for name, attributes in page.tags:
                self.assertNotIn(name, {"style", "img", "iframe", "base", "object"})
                self.assertEqual([], [key for key in attributes if key.startswith("on") or key == "style"])
                for key in ("src", "href", "action"):
                    self.assertRegex(attributes.get(key) or "/", r"\A[/#x]")
            self.assertLessEqual(len(page.within("script")), 1)

    def test_no_exceptions(self):
        """The policy allows nothing inline, nothing from elsewhere, and no frame."""
        self.assertTrue(POLICY.startswith("default-src 'none'; script-src 'self'; style-src 'self';"))
        self.assertNotIn("unsafe", POLICY)
        self.assertIn("frame-ancestors 'none'", POLICY)

    def test_data(self):
        """Words for scripts cannot end the element that they are in."""
        words = {"a": "</script><script>alert(1)</script><!--"}
        text = str(_data(words))
        self.assertNotIn("<", text)
        self.assertEqual(words, json.loads(text))


class KindTests(SynchronousTestCase):
    """What sort of thing a file is."""

    def test_kinds(self):
        """A media type has a name that people know, and the catalogues have a word for each."""
        for content_type, name in [
            ("application/pdf", "pdf"),
            ("image/svg+xml", "image"),
            ("VIDEO/mp4", "video"),
            ("audio/ogg; codecs=opus", "audio"),
            ("text/plain; charset=utf-8", "text"),
            ("text/csv", "sheet"),
            ("application/zip", "archive"),
            ("application/x-tar", "archive"),
            ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "document"),
            ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "sheet"),
            ("application/vnd.oasis.opendocument.presentation", "slides"),
            ("application/x-msdownload", "program"),
            ("application/octet-stream", "other"),
            ('"><script>', "other"),
        ]:
            self.assertEqual(name, kind(content_type), content_type)
            self.assertTrue(ENGLISH.has(f"kinds.{name}"))
