"""Somebody with a browser of their own: cookies, storage, language and taste; and what their browser had to say."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import ConsoleMessage, Error, Page, Request, Response, ViewportSize, expect

from tests.browser.chromium import chromium
from tests.daemon import PATIENCE

DESKTOP: Final = ViewportSize(width=1280, height=800)
PHONE: Final = ViewportSize(width=390, height=844)

#: That of another browser than the one the tests run in: somebody else, where addresses are the same.
ANOTHER_AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"

# A page's own word on what its policy refused; without scripts the console still has it.
_TELL_OF_VIOLATIONS: Final = """
    addEventListener("securitypolicyviolation", event => console.error(
        `Refused by policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""
_REFUSED: Final = re.compile(r"^Refused |Content Security Policy|Content-Security-Policy|Permissions-Policy")
_BEARER: Final = re.compile(r"^Bearer (\S+)$", re.IGNORECASE)

expect.set_options(timeout=PATIENCE * 1000)


class Visitor:
    """Somebody with a browser context and one page in it.

    :param options: of :meth:`playwright.sync_api.Browser.new_context`.
    :ivar page: what they look at.
    :ivar console: what the browser said on the console, errors that nobody caught among it.
    :ivar requested: the URL of every request, in order.
    :ivar sent: the URL of every request that sends something, or changes it.
    :ivar statuses: of every answer: its URL and status.
    :ivar owner_tokens: every token with which one of the requests proved that its drop is theirs.
    """

    def __init__(self, **options: Any) -> None:
        self.console: list[str] = []
        self.uncaught: list[str] = []
        self.requested: list[str] = []
        self.sent: list[str] = []
        self.statuses: list[tuple[str, int]] = []
        self.owner_tokens: set[str] = set()
        self.context = chromium().new_context(**({"viewport": DESKTOP, "locale": "en-GB"} | options))
        self.context.set_default_timeout(PATIENCE * 1000)
        self.context.on("console", self._said)
        self.context.on("request", self._requested)
        self.context.on("response", self._answered)
        self.context.on("weberror", lambda error: self._uncaught(error.error))
        self.context.add_init_script(_TELL_OF_VIOLATIONS)
        self.page = self.context.new_page()

    def _said(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")

    def _uncaught(self, error: Error) -> None:
        self.uncaught.append(f"uncaught: {error}")
        self.console.append(self.uncaught[-1])

    def _requested(self, request: Request) -> None:
        self.requested.append(request.url)
        if request.method != "GET":
            self.sent.append(request.url)
        shown = _BEARER.match(request.headers.get("authorization", ""))
        if shown is not None:
            self.owner_tokens.add(shown.group(1))

    def _answered(self, response: Response) -> None:
        self.statuses.append((response.url, response.status))

    def close(self) -> None:
        """Close the browser window, and forget cookies and storage."""
        with suppress(Error):  # the browser has crashed, and them with it
            self.context.close()

    def another_page(self) -> Page:
        """Open another tab, and look at that from now on."""
        self.page = self.context.new_page()
        return self.page

    # -- what is wrong ----------------------------------------------------------------------------

    @property
    def violations(self) -> list[str]:
        """What the policies of the pages forbade."""
        return [said for said in self.console if _REFUSED.search(said.partition(": ")[2])]

    @property
    def betrayed(self) -> list[str]:
        """The URLs that hold the token of a drop's owner, for logs and histories to keep."""
        return [url for url in self.requested if any(token in url for token in self.owner_tokens)]

    def evidence(self, picture: Path) -> str:
        """Return what there is to say of a test that failed, and leave a picture of the page."""
        try:
            self.page.screenshot(path=picture, full_page=True, timeout=5000)
            shown = self.page.locator("body").aria_snapshot(timeout=5000)
        except Error as error:  # a page that is closed, or hangs
            shown = f"(no picture: {error.message})"
        told = [f"The page {self.page.url}, see {picture.resolve()}:", shown]
        told += ["On its console:", *self.console[-20:]]
        told += ["Last answers:", *(f"{status} {url}" for url, status in self.statuses[-12:])]
        return "\n".join(told)
