"""Somebody who was given a link, and the page behind it: by what it says, never by how it is built."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Download, Locator

from tests.browser.visitor import Visitor
from tests.browser.words import said


class Recipient:
    """Somebody who looks at the page of a link.

    :param visitor: who that is.
    """

    def __init__(self, visitor: Visitor, link: str) -> None:
        self.visitor = visitor
        self.page = visitor.page
        self.link = link
        self.page.goto(link)

    def in_another_tab(self) -> Recipient:
        """Open the link again, in another tab of the same browser."""
        self.visitor.another_page()
        return Recipient(self.visitor, self.link)

    @property
    def reads(self) -> str:
        """What the page says."""
        return self.page.get_by_role("main").inner_text()

    @property
    def statuses(self) -> list[int]:
        """Those of all answers to requests for the link."""
        return [status for url, status in self.visitor.statuses if url.startswith(self.link)]

    @property
    def password(self) -> Locator:
        """Where the password goes."""
        return self.page.get_by_label(said("download.password"))

    @property
    def button(self) -> Locator:
        """What begins the download."""
        return self.page.get_by_role("button", name=said("download.submit"))

    @property
    def invalid(self) -> Locator:
        """Where the password goes, once one was wrong."""
        return self.page.locator("input[type=password][aria-invalid=true]")

    def sees(self, heading: str | re.Pattern[str]) -> None:
        """Wait for a heading."""
        self.page.get_by_role("heading", name=heading).wait_for()

    def begins(self) -> Download:
        """Click on the button; returns the download that this begins."""
        with self.page.expect_download() as begun:
            self.button.click()
        download: Download = begun.value
        return download

    def fetches(self) -> bytes:
        """Click on the button; returns what is on the disk afterwards."""
        return content(self.begins())


def content(download: Download) -> bytes:
    """Return what is on the disk when a download is over."""
    return Path(download.path()).read_bytes()
