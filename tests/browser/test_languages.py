"""The language is the one that the browser asks for, if there is one of those that we have."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.browser.case import BrowserCase
from tests.browser.sights import SIGHTS


class LanguageTests(BrowserCase):
    """Somebody who reads one language, and perhaps another."""

    def page(self, sight: str, wanted: str) -> Page:
        """Return a page as somebody sees it whose browser asks for these languages."""
        visitor = self.visitor(locale=None, extra_http_headers={"Accept-Language": wanted})
        SIGHTS[sight](self.stage, visitor)
        return visitor.page

    def language(self, wanted: str) -> str | None:
        """Return the language of the upload page, for those who want these."""
        return self.page("upload", wanted).locator("html").get_attribute("lang")

    def test_german(self):
        """Who reads German is served in German, from the upload page to the last error."""
        for sight in ("upload", "download", "password", "gone", "unknown"):
            german, english = self.page(sight, "de-AT,de;q=0.9,en;q=0.5"), self.page(sight, "en-GB,en")
            self.assertEqual(german.locator("html").get_attribute("lang"), "de")
            self.assertEqual(english.locator("html").get_attribute("lang"), "en")
            headings = [page.get_by_role("heading", level=1).first.inner_text() for page in (german, english)]
            self.assertNotEqual(headings[0], headings[1])

    def test_preferred(self):
        """Of two languages that somebody reads the one is taken that they like better."""
        self.assertEqual(self.language("en;q=0.4, de;q=0.8"), "de")
        self.assertEqual(self.language("fr, en;q=0.9, de;q=0.1"), "en")

    def test_unknown(self):
        """Who reads neither is served in English; so is whoever's browser does not say."""
        self.assertEqual(self.language("tlh, ja;q=0.3"), "en")
        self.assertEqual(self.language("*"), "en")
        self.assertEqual(self.language("de;q=0"), "en")
