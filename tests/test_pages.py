"""The pages for people: what they say, and that nothing on them is anybody else's."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from filedropd.model import Drop
from filedropd.web.pages import HEADINGS, REFERRER_POLICY, Pages

LINK = "https://drop.example/api/v1.0/file/" + "0123456789abcdef" * 2
ACTION = "/api/v1.0/file/" + "0123456789abcdef" * 2
HOSTILE = "\"><script>alert(1)</script>'&$name ${x}\u202efdp.exe"

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


def download(*, link: str = LINK, wrong_password: bool = False, **changes: Any) -> Read:
    """Return the page of a drop."""
    return Read(Pages().download(a_drop(**changes), ACTION, link=link, wrong_password=wrong_password))


class DownloadTests(SynchronousTestCase):
    """The page with the button."""

    def test_facts(self):
        """It says what the file is called, how large it is, what it is, and how long it is kept."""
        page = download()
        self.assertEqual(["Jahresbericht – 年報.pdf"], page.within("bdi"))
        self.assertEqual(["1.5 MiB", "application/pdf"], page.within("dd"))
        self.assertEqual(["21 November 2023, 22:13 UTC"], page.within("time"))
        self.assertEqual([{"datetime": "2023-11-21T22:13:20Z"}], list(page.every("time")))

    def test_form(self):
        """Its one form posts to the link by its one button; there is nothing else to fill in."""
        page = download()
        self.assertEqual([{"method": "post", "action": ACTION}], list(page.every("form")))
        self.assertEqual([{"type": "submit"}], list(page.every("button")))
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
        self.assertEqual([{"id": field["aria-describedby"]}], list(page.every("strong")))
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
        page = Read(Pages().problem(410, "Gone", "The file was taken back by its sender."))
        self.assertEqual(["This file is gone"], page.within("h1"))
        self.assertEqual(["This file is gone"], page.within("title"))
        self.assertEqual(["The file was taken back by its sender."], page.within("p"))
        self.assertEqual(["410 Gone"], page.within("small"))

    def test_headings(self):
        """Each problem has a heading of its own."""
        for code, heading in [(code, HEADINGS[code]) for code in HEADINGS] + [
            (507, HEADINGS[500]),
            (502, HEADINGS[500]),
            (418, "Words"),
        ]:
            self.assertEqual([heading], Read(Pages().problem(code, "Words", "Detail.")).within("h1"), code)

    def test_retry(self):
        """It says when to try again, where that makes sense."""
        for seconds, words in [
            (0, "1 second"),
            (1, "1 second"),
            (5, "5 seconds"),
            (90, "90 seconds"),
            (121, "3 minutes"),
            (900, "15 minutes"),
            (7200, "2 hours"),
            (200_000, "3 days"),
        ]:
            text = Read(Pages().problem(423, "Locked", "Wait.", retry_after=seconds)).text
            self.assertIn(f"Try again in {words}.", text)
        self.assertNotIn("Try again in", Read(Pages().problem(423, "Locked", "Wait.")).text)


class EveryPageTests(SynchronousTestCase):
    """What holds for all of them."""

    def pages(self, value: str) -> Iterator[Read]:
        """Return the pages that strangers have a word in, with ``value`` where that is."""
        yield download(name=value, content_type=value, password=value, link=value)
        yield Read(Pages().download(a_drop(), value, link=LINK, wrong_password=True))
        yield Read(Pages().problem(410, value, value, retry_after=1))
        yield Read(Pages().problem(418, value, value))

    def test_escaped(self):
        """Whatever a file is called stays text: the tags are the same."""
        for plain, hostile in zip(self.pages("x"), self.pages(HOSTILE), strict=True):
            self.assertEqual([name for name, _ in plain.tags], [name for name, _ in hostile.tags])
            self.assertTrue(hostile.balanced)
            self.assertTrue(HOSTILE in hostile.values or HOSTILE in hostile.text)

    def test_basics(self):
        """They say their language, follow the reader's light or dark, are kept out of indexes, and nest well."""
        for page in self.pages("x"):
            self.assertEqual([{"lang": "en"}], list(page.every("html")))
            self.assertEqual("light dark", page.meta("color-scheme"))
            self.assertEqual("noindex", page.meta("robots"))
            self.assertTrue(page.balanced)

    def test_policy(self):
        """No template has what the policy forbids: scripts, styles, and anything from elsewhere."""
        for template in (files("filedropd.web") / "ui").iterdir():
            page = Read(template.read_bytes())
            for name, attributes in page.tags:
                self.assertNotIn(name, {"script", "style", "img", "iframe", "link", "base"}, template.name)
                self.assertEqual(
                    [], [key for key in attributes if key.startswith("on") or key in {"style", "src"}], template.name
                )
