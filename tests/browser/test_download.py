"""The page behind a link: what it says, its button, its password, and who comes second, early or late."""

from __future__ import annotations

import os
from typing import Any, Final
from urllib.parse import urlsplit

from tests.browser.case import BrowserCase
from tests.browser.recipient import Recipient, content
from tests.browser.road import Way
from tests.browser.visitor import ANOTHER_AGENT
from tests.test_daemon import left, request

MIB: Final = 2**20


class DownloadTests(BrowserCase):
    """Somebody who was given a link, with scripts."""

    scripts = True

    def recipient(self, link: str, **options: Any) -> Recipient:
        """Return somebody who opens a link."""
        return Recipient(self.visitor(java_script_enabled=self.scripts, **options), link)

    def test_says_what_it_is(self):
        """The page says what the file is called and how large it is, and takes nothing, however often it is read."""
        link = left(self.daemon, b"x" * 2048)["url"]
        recipient = self.recipient(link)
        recipient.page.reload()
        self.assertIn("report.bin", recipient.reads)
        self.assertRegex(recipient.reads, r"2\sKiB")
        self.assertEqual(request("GET", link).content, b"x" * 2048)

    def test_button(self):
        """One button, and the file is on the disk under its own name."""
        sent = os.urandom(MIB)
        download = self.recipient(left(self.daemon, sent)["url"]).begins()
        self.assertEqual(download.suggested_filename, "report.bin")
        self.assertEqual(content(download), sent)

    def test_password(self):
        """A wrong password is said to be wrong, and the right one gets the file."""
        recipient = self.recipient(left(self.daemon, b"secret", password="s3cret")["url"])
        recipient.password.fill("other")
        recipient.button.click()
        recipient.page.get_by_text("That is not the password").wait_for()
        recipient.password.fill("s3cret")
        self.assertEqual(recipient.fetches(), b"secret")

    def test_second(self):
        """Of two people one has the file, and the other reads that it is gone and why."""
        link = left(self.daemon, b"once")["url"]
        first, second = self.recipient(link), self.recipient(link, user_agent=ANOTHER_AGENT)
        self.assertEqual(first.fetches(), b"once")
        second.button.click()
        second.sees("gone")
        self.assertIn("downloaded", second.reads)
        self.assertIn(410, second.statuses)

    def test_gone(self):
        """Whoever opens a link that was taken back reads that."""
        told = left(self.daemon, b"mine")
        request("DELETE", told["url"], headers={"Authorization": f"Bearer {told['owner_token']}"})
        recipient = self.recipient(told["url"])
        self.assertEqual(recipient.statuses, [410])
        recipient.sees("gone")
        self.assertIn("sender", recipient.reads)

    def test_unknown(self):
        """Whoever opens a link that never was reads that there is no such file."""
        recipient = self.recipient(self.daemon.url("/api/v1.0/file/" + "0" * 32))
        self.assertEqual(recipient.statuses, [404])
        recipient.sees("no such file")

    def test_busy(self):
        """Whoever comes while somebody else is being handed the last copy is told so, and for how long that may be."""
        sent = os.urandom(8 * MIB)
        link, road = left(self.daemon, sent)["url"], self.road()
        first, second = self.recipient(road.url(urlsplit(link).path)), self.recipient(link, user_agent=ANOTHER_AGENT)
        road.hold(Way.DOWN, MIB)
        download = first.begins()
        second.button.click()
        second.sees("begun to download this file")
        self.assertRegex(second.reads, r"waits up to \d+ minutes")
        road.release(Way.DOWN)
        self.assertEqual(content(download), sent)


class DownloadWithoutScriptsTests(DownloadTests):
    """The same, without scripts."""

    scripts = False
