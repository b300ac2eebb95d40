"""With the keyboard alone: from the upload page to a link, and from a link to the file."""

from __future__ import annotations

from typing import Final

from playwright.sync_api import FileChooser, Locator, Page, expect

from tests.browser.recipient import Recipient, content
from tests.browser.test_upload import SenderCase
from tests.test_daemon import left, request

#: Presses of Tab within which everything on a page is reached.
_MOST: Final = 40
_HAS_FOCUS: Final = "element => element.closest(':focus') !== null"
_SHOWS_IT: Final = "element => element.closest(':focus-visible') !== null"


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until something has the focus.

    :raises AssertionError: it is not reached, or is, and nobody would see that.
    """
    for _ in range(_MOST):
        page.keyboard.press("Tab")
        if wanted.evaluate(_HAS_FOCUS):
            if not wanted.evaluate(_SHOWS_IT):
                raise AssertionError("what has the focus does not show it")
            return
    raise AssertionError(f"the keyboard does not reach {wanted}")


class KeyboardTests(SenderCase):
    """Somebody without a mouse."""

    def test_upload(self):
        """Tab and Enter lead from the page to the link, and copy it."""
        sender = self.sender()
        tab_to(sender.page, sender.picker)
        with sender.page.expect_file_chooser() as opened:
            sender.page.keyboard.press("Enter")
        chooser: FileChooser = opened.value
        chooser.set_files(self.file("a.txt", b"content"))
        link = sender.left("a.txt").link
        tab_to(sender.page, sender.left("a.txt").button("drops.copy"))
        sender.page.keyboard.press("Enter")
        sender.left("a.txt").says("Copied")
        self.assertEqual(sender.page.evaluate("navigator.clipboard.readText()"), link)
        self.assertEqual(request("GET", link).content, b"content")

    def test_options(self):
        """What is behind 'options' is reached, too."""
        sender = self.sender()
        tab_to(sender.page, sender.options)
        sender.page.keyboard.press("Enter")
        tab_to(sender.page, sender.option("password"))
        sender.page.keyboard.type("s3cret")
        self.assertEqual(sender.option("password").input_value(), "s3cret")

    def test_download(self):
        """Tab and Enter lead from a link to the file."""
        recipient = Recipient(self.visitor(), left(self.daemon, b"content")["url"])
        tab_to(recipient.page, recipient.button)
        with recipient.page.expect_download() as begun:
            recipient.page.keyboard.press("Enter")
        self.assertEqual(content(begun.value), b"content")

    def test_password(self):
        """The password is asked for at once: type it, and press Enter."""
        recipient = Recipient(self.visitor(), left(self.daemon, b"secret", password="s3cret")["url"])
        expect(recipient.password).to_be_focused()  # unasked, when the page is drawn
        recipient.page.keyboard.type("s3cret")
        with recipient.page.expect_download() as begun:
            recipient.page.keyboard.press("Enter")
        self.assertEqual(content(begun.value), b"secret")
