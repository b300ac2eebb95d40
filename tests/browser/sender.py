"""Somebody who leaves files on the upload page, and looks after them: by what it says, never by how it is built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from playwright.sync_api import FileChooser, Locator

from tests.browser.visitor import Visitor
from tests.browser.words import said

#: Lets a page copy and paste.
CLIPBOARD: Final = ("clipboard-read", "clipboard-write")


class Sender:
    """Somebody on the upload page.

    :param visitor: who that is.
    :param url: where the page is.
    """

    def __init__(self, visitor: Visitor, url: str) -> None:
        self.visitor = visitor
        self.page = visitor.page
        # From now on the system's window is left to us. To ask for that only when it is to open can be too late.
        self.page.on("filechooser", lambda chooser: None)
        self.page.goto(url)

    @property
    def picker(self) -> Locator:
        """What opens the system's window for picking files."""
        return self.page.get_by_label(said("upload.choose_several"))

    @property
    def options(self) -> Locator:
        """What hides the options, and shows them."""
        return self.page.get_by_text(said("options.heading")).first

    def picks(self, *files: Path) -> None:
        """Open the picker, and pick files."""
        with self.page.expect_file_chooser() as opened:
            self.picker.click()
        chooser: FileChooser = opened.value
        chooser.set_files(files)

    def opens_options(self) -> None:
        """Open what is behind 'options'."""
        self.options.click()

    def option(self, name: str) -> Locator:
        """Return the field of an option: ``password``, ``expires`` or ``downloads``."""
        return self.page.get_by_label(re.compile(f"^({said(f'options.{name}').pattern})$"))

    def says(self, text: str | re.Pattern[str]) -> None:
        """Wait until the page says something."""
        self.page.get_by_text(text).first.wait_for()

    @property
    def names(self) -> list[str]:
        """The names of the files on the list, from the top."""
        return self.page.get_by_role("listitem").get_by_role("heading").all_inner_texts()

    def left(self, name: str) -> Left:
        """Return what the page says of a file."""
        return Left(self.page.get_by_role("listitem").filter(has_text=name))


class Left:
    """A file on the list of somebody's drops."""

    def __init__(self, item: Locator) -> None:
        self.item = item

    @property
    def link(self) -> str:
        """The link, once there is one."""
        return self.item.get_by_role("textbox").input_value()

    @property
    def qr(self) -> Locator:
        """The QR code."""
        return self.item.get_by_role("img", name=said("drops.code_alt"))

    def shows_code(self) -> None:
        """Have the QR code shown, where it is not."""
        if self.button("list.code").get_attribute("aria-expanded") == "false":
            self.button("list.code").click()
        self.qr.wait_for()

    def button(self, name: str) -> Locator:
        """Return a button by its name in the catalogues, as ``list.cancel``."""
        return self.item.get_by_role("button", name=said(name))

    @property
    def progress(self) -> Locator:
        """Return the bar that grows while a file is sent."""
        return self.item.get_by_role("progressbar")

    def says(self, text: str | re.Pattern[str]) -> None:
        """Wait until it says something."""
        self.item.get_by_text(text).first.wait_for()
