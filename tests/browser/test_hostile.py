"""Names and types that somebody chose to do harm are text, and nothing else, wherever a page shows them."""

from __future__ import annotations

from typing import Final

from playwright.sync_api import Page, expect

from filedropd.names import safe_name
from tests.browser.case import BrowserCase
from tests.browser.giving import Given, drop
from tests.browser.recipient import Recipient
from tests.browser.test_upload import SenderCase
from tests.test_daemon import API, request

#: Markup for every place where a name might stand: text, attribute, script, style, address.
NAMES: Final = (
    "<img src=x onerror=document.title='owned'>.txt",
    "\"><script>document.title='owned'</script>.txt",
    "' onmouseover='document.title=`owned`' x='.txt",
    "javascript:document.title='owned'",
    "${document.title='owned'}{{7*7}}<%=7%>.txt",
    "&lt;b&gt;&amp;.txt",
)
#: Shown as a picture's, is a program's: U+202E turns what follows around.
TURNED: Final = "holiday\u202egpj.exe"


class HostileNameTests(BrowserCase):
    """Files that are called like that."""

    def test_download_page(self):
        """On the page behind a link a name is shown as it will be saved, and does nothing."""
        for name in NAMES:
            recipient, shown = self.opens(name), safe_name(name)
            self.assertIn(shown, recipient.reads)
            self.assertNotIn("owned", recipient.page.title().replace(shown, ""))
            self.assertEqual(
                recipient.page.locator("img[src=x], script:not([src], [type$=json]), [onmouseover]").count(), 0
            )

    def test_turned(self):
        """A name that turns its letters around cannot pass for another, nor turn the page around it."""
        recipient = self.opens(TURNED)
        self.assertNotIn("\u202e", recipient.reads)
        self.assertNotIn("\u202e", recipient.page.title())
        self.assertIn("gpj.exe", recipient.reads)

    def opens(self, name: str) -> Recipient:
        """Return somebody who looks at the page of a file of that name."""
        answer = request("PUT", self.daemon.url(API), files={"file": (name, b"content")})
        return Recipient(self.visitor(), answer.json()["url"])


class HostileUploadTests(SenderCase):
    """The same names, on the list of whoever leaves such files."""

    def test_upload_page(self):
        """On the list a name is text, before and after a reload."""
        sender = self.sender()
        drop(sender.page, *[Given(name, "content") for name in NAMES])
        links = sender.page.get_by_role("textbox")
        expect(links).to_have_count(len(NAMES))
        self.assert_inert(sender.page)
        sender.page.reload()
        expect(links).to_have_count(len(NAMES))
        self.assert_inert(sender.page)

    def test_turned(self):
        """A name that turns its letters around is shown in the order in which they are, sent or refused."""
        sender = self.sender()
        drop(sender.page, Given(TURNED, "content"), Given(f"large {TURNED}", size=17 * 2**20))
        sender.page.get_by_role("textbox").first.wait_for()
        expect(sender.page.get_by_role("heading", name="gpj.exe")).to_have_count(2)
        self.assertNotIn("\u202e", sender.page.get_by_role("main").inner_text())

    def test_joiners(self):
        """A joiner in a word stays, sent or refused; one that hides between letters has a mark."""
        sender = self.sender()
        words = "می\u200cخواهم 👩\u200d🚀"
        drop(sender.page, Given(f"{words}.txt", "content"), Given(f"{words} in\u200cvoice.txt", size=17 * 2**20))
        sender.page.get_by_role("textbox").first.wait_for()
        self.assertEqual(sender.names, [f"{words}.txt", f"{words} in\ufffdvoice.txt"])

    def assert_inert(self, page: Page) -> None:
        """Nothing of a name has become part of the page."""
        self.assertNotEqual(page.title(), "owned")
        self.assertEqual(page.locator("img[src=x], script:not([src], [type$=json]), [onmouseover]").count(), 0)
