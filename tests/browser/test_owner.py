"""Looking after what was left: what becomes of it as it happens, taking it back, and the list that a reload keeps."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from playwright.sync_api import expect

from tests.browser.giving import Given, drop
from tests.browser.recipient import Recipient, content
from tests.browser.road import Way
from tests.browser.sender import Left, Sender
from tests.browser.test_upload import SenderCase
from tests.browser.visitor import ANOTHER_AGENT
from tests.browser.words import said
from tests.test_daemon import request

MIB: Final = 2**20
SLACK: Final = "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"


class StatusTests(SenderCase):
    """What its sender sees of a drop, without touching the page."""

    def leaves(self, size: int = 0) -> tuple[Sender, Left]:
        """Return somebody who left a file, and what the page says of it."""
        sender = self.sender()
        drop(sender.page, Given("a.bin", None if size else "content", size=size, type="application/octet-stream"))
        left = sender.left("a.bin")
        self.assertTrue(left.link)
        return sender, left

    def test_waiting(self):
        """Nobody has come yet."""
        _, left = self.leaves()
        left.says(said("status.waiting"))

    def test_delivered(self):
        """When somebody else has the file its sender sees that it was delivered, and when."""
        sender, left = self.leaves()
        self.assertEqual(request("GET", left.link).content, b"content")
        left.says(re.compile(r"delivered.*\d{1,2}[:.]\d\d", re.IGNORECASE))
        self.assertTrue(sender.visitor.owner_tokens, "the stream was asked for with the token in a head")

    def test_tomorrow(self):
        """When midnight has passed, what happened has its day, in words that fit."""
        for language, today, before in (
            ("en-GB", r"^Delivered at \d\d:\d\d$", r"^Delivered on \d+ \w+ \d{4} at \d\d:\d\d$"),
            ("de", r"^Zugestellt um \d\d:\d\d$", r"^Zugestellt am \d+\. \w+ \d{4} um \d\d:\d\d$"),
        ):
            visitor = self.visitor(locale=language)
            visitor.page.clock.install()
            sender = Sender(visitor, self.daemon.url("/"))
            drop(sender.page, Given("a.txt", "content"))
            left = sender.left("a.txt")
            request("GET", left.link)
            left.says(re.compile(today))
            visitor.page.clock.fast_forward("24:00:00")
            left.says(re.compile(before))
            left.item.get_by_text(said("list.history")).click()
            moments = left.item.locator("time").all_inner_texts()
            self.assertTrue(moments and all(re.search(r"\d{4}, \d\d:\d\d$", each) for each in moments), moments)

    def test_opened(self):
        """When somebody looks at the page of the link its sender sees that."""
        _, left = self.leaves()
        Recipient(self.visitor(user_agent=ANOTHER_AGENT), left.link)
        left.says(said("status.opened"))

    def test_previewed(self):
        """When a chat's robot previews the link its sender sees whose it was, and that the file is still there."""
        _, left = self.leaves()
        request("GET", left.link, headers={"User-Agent": SLACK})
        left.says(re.compile(r"previewed.*slack", re.IGNORECASE))
        self.assertEqual(request("GET", left.link).content, b"content")

    def test_downloading(self):
        """While somebody downloads it its sender sees how far that is."""
        _, left = self.leaves(12 * MIB)
        road = self.road()
        recipient = Recipient(self.visitor(user_agent=ANOTHER_AGENT), road.url(urlsplit(left.link).path))
        road.hold(Way.DOWN, 4 * MIB)
        download = recipient.begins()
        left.says(re.compile(r"downloading.*[1-9]\d?\s?%", re.IGNORECASE))
        road.release(Way.DOWN)
        self.assertEqual(len(content(download)), 12 * MIB)
        left.says(said("status.delivered"))

    def test_revoke(self):
        """Taken back, the link says so to others, and the page to its sender."""
        _, left = self.leaves()
        link = left.link
        left.button("list.revoke").click()
        left.button("list.revoke_yes").click()
        left.says(said("status.revoked"))
        self.assertEqual(request("GET", link).json()["reason"], "revoked")

    def test_revoke_fails(self):
        """Where taking back fails that is seen, and asked again; it works when the server is there."""
        sender, left = self.leaves()
        link = left.link
        sender.page.route(re.compile("/file/"), lambda route: route.abort())
        left.button("list.revoke").click()
        left.button("list.revoke_yes").click()
        fault = left.item.locator("[data-part=fault]")
        expect(fault).to_have_text(said("faults.revoke"))
        expect(fault).to_be_visible()
        sender.page.unroute(re.compile("/file/"))
        left.button("list.revoke_yes").click()
        left.says(said("status.revoked"))
        expect(fault).to_be_hidden()
        self.assertEqual(request("GET", link).json()["reason"], "revoked")


class RestartTests(SenderCase):
    """The daemon ends, and is started again."""

    own_daemon = True

    def test_goes_on(self):
        """What becomes of a drop is seen again by itself, when the daemon is back."""
        road = self.road()
        sender = self.sender(road.url())
        drop(sender.page, Given("a.txt", "content"))
        left = sender.left("a.txt")
        left.says(said("status.waiting"))
        link = left.link
        self.daemon.stop()
        left.says(said("status.away"))
        self.daemon.start()
        left.says(said("status.waiting"))
        self.assertEqual(request("GET", link).content, b"content")
        left.says(said("status.delivered"))


class ListTests(SenderCase):
    """The list of somebody's drops, which only their browser has."""

    def test_reload(self):
        """The list survives a reload, and what becomes of a drop is still seen as it happens."""
        sender = self.sender()
        drop(sender.page, Given("a.txt", "content"))
        link = sender.left("a.txt").link
        sender.page.reload()
        left = sender.left("a.txt")
        left.says(said("status.waiting"))
        request("GET", link)
        left.says(said("status.delivered"))

    def test_kept_nowhere(self):
        """Where the browser keeps nothing that is said: the keys are lost with the page."""
        visitor = self.visitor()
        visitor.context.add_init_script("Storage.prototype.setItem = () => { throw new Error('no room'); };")
        sender = Sender(visitor, self.daemon.url("/"))
        drop(sender.page, Given("a.txt", "content"))
        self.assertEqual(request("GET", sender.left("a.txt").link).content, b"content")
        expect(sender.page.locator("#list-note")).to_have_text(said("faults.unkept"))

    def test_while_away(self):
        """What happened while the page was closed is seen when it is opened again."""
        sender = self.sender()
        drop(sender.page, Given("a.txt", "content"))
        link = sender.left("a.txt").link
        sender.page.close()
        request("GET", link)
        page = sender.visitor.another_page()
        page.goto(self.daemon.url("/"))
        page.get_by_text(said("status.delivered")).first.wait_for()

    def test_theirs_alone(self):
        """Somebody else's browser shows none of it."""
        sender = self.sender()
        drop(sender.page, Given("a.txt", "content"))
        self.assertTrue(sender.left("a.txt").link)
        other = self.sender()
        self.assertEqual(other.page.get_by_text("a.txt").count(), 0)

    def test_remove(self):
        """What is over can be taken off the list, and stays off it."""
        sender = self.sender()
        drop(sender.page, Given("a.txt", "content"))
        left = sender.left("a.txt")
        request("GET", left.link)
        left.says(said("status.delivered"))
        left.button("list.forget").click()
        sender.page.reload()
        self.assertEqual(sender.page.get_by_text("a.txt").count(), 0)
