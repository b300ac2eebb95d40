"""What a first visit costs: bytes and requests, and that the second costs less."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from tests.browser.case import BrowserCase
from tests.browser.loading import Loading
from tests.test_daemon import left

#: Bytes on the wire that a first visit may cost, heads and all.
MOST_BYTES: Final = 60 * 1024
#: The page, its style, its icon, and the modules of its script. Think twice before there is one more.
MOST_REQUESTS: Final = 13


class FirstLoadTests(BrowserCase):
    """Somebody comes for the first time, and again."""

    def assert_light(self, url: str) -> None:
        """A first visit costs little, a second hardly anything, and nothing moves under the reader's eyes."""
        visitor = self.visitor()
        loading = Loading(visitor)
        first, second = loading.visit(url), loading.visit(url)
        self.assertGreater(first.octets, 0)
        self.assertLess(first.octets, MOST_BYTES)
        self.assertLessEqual(first.requests, MOST_REQUESTS)
        self.assertEqual(second.requests, 1, "only the page itself is asked for again")
        self.assertLess(first.shift, 0.1)  # what Core Web Vitals call good
        self.assertEqual({urlsplit(each).netloc for each in visitor.requested}, {urlsplit(url).netloc})

    def test_upload(self):
        """The page on which files are left is light, and nothing on it is anybody else's."""
        self.assert_light(self.daemon.url("/"))

    def test_download(self):
        """So is the page behind a link."""
        self.assert_light(left(self.daemon, b"content")["url"])
