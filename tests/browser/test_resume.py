"""A download that breaks because the daemon does, and what somebody with a browser can do about it."""

from __future__ import annotations

import os
from typing import Any, Final
from urllib.parse import urlsplit

from tests.browser.case import BrowserCase
from tests.browser.recipient import Recipient
from tests.browser.road import Way
from tests.browser.visitor import ANOTHER_AGENT
from tests.test_daemon import left, request

MIB: Final = 2**20
ELSE: Final = {"User-Agent": ANOTHER_AGENT}


class ResumeTests(BrowserCase):
    """The daemon is killed in mid-download and started again; with scripts."""

    scripts = True
    own_daemon = True

    def recipient(self, link: str, **options: Any) -> Recipient:
        """Return somebody who opens a link."""
        return Recipient(self.visitor(java_script_enabled=self.scripts, **options), link)

    def test_killed(self):
        """Whoever's download broke with the daemon clicks again, and has all of it; nobody else can meanwhile."""
        sent, road = os.urandom(12 * MIB), self.road()
        link = road.url(urlsplit(left(self.daemon, sent)["url"]).path)
        recipient = self.recipient(link)
        road.hold(Way.DOWN, MIB)
        broken = recipient.begins()
        self.daemon.kill()
        road.cut()
        road.release(Way.DOWN)
        self.daemon.start()
        self.assertIsNotNone(broken.failure())
        self.assertEqual(request("GET", link, headers=ELSE).status_code, 423)
        self.assertEqual(recipient.fetches(), sent)
        answer = request("GET", link, headers=ELSE)
        self.assertEqual((answer.status_code, answer.json()["reason"]), (410, "delivered"))

    def test_new_tab(self):
        """Who opens the link again, in another tab, finds the page there, and gets the file from it."""
        sent, road = os.urandom(15 * MIB), self.road()
        link = road.url(urlsplit(left(self.daemon, sent)["url"]).path)
        recipient = self.recipient(link)
        road.hold(Way.DOWN, MIB)
        broken = recipient.begins()
        road.bar()
        self.assertIsNotNone(broken.failure())
        road.release(Way.DOWN)
        road.open()
        again = recipient.in_another_tab()
        again.sees("broke off" if self.scripts else "A file for you")
        self.assertEqual(again.fetches(), sent)


class ResumeWithoutScriptsTests(ResumeTests):
    """The same, without scripts."""

    scripts = False
