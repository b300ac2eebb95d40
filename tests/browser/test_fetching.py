"""What the page of a link says once its button was pressed: how far the download is, and what became of it."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from playwright.sync_api import Route, expect

from tests.browser.case import BrowserCase
from tests.browser.recipient import Recipient, content
from tests.browser.road import Road, Way
from tests.browser.visitor import ANOTHER_AGENT
from tests.daemon import eventually
from tests.test_daemon import left, request

MIB: Final = 2**20


#: Where a page asks what became of its download.
_CLAIM: Final = re.compile(r"/claim$")


def _an_hour_ago(route: Route) -> None:
    """Answer what the daemon does, as if the claim had ended an hour before."""
    response = route.fetch()
    claim = response.json()
    ended = datetime.fromisoformat(claim["ended_at"]) - timedelta(hours=1)
    route.fulfill(response=response, json=claim | {"ended_at": ended.isoformat()})


def _lapsed(route: Route) -> None:
    """Answer what the daemon does, as if nobody had gone on with the claim in time."""
    response = route.fetch()
    route.fulfill(response=response, json=response.json() | {"state": "lapsed", "transfers": 0})


class FetchingTests(BrowserCase):
    """Somebody presses the button, and goes on looking at the page."""

    def comes(self, sent: bytes, **terms: str) -> tuple[Recipient, Road, dict[str, str]]:
        """Return somebody before the page of a file, the road they came on, and what its sender was told."""
        road, told = self.road(), left(self.daemon, sent, **terms)
        return Recipient(self.visitor(), road.url(urlsplit(told["url"]).path)), road, told

    def test_have(self):
        """When the file is theirs the page says so, and that it is gone here."""
        recipient, _, told = self.comes(b"content")
        self.assertEqual(recipient.fetches(), b"content")
        recipient.sees("You have it")
        self.assertIn("deleted", recipient.reads)
        self.assertEqual(request("GET", told["url"]).status_code, 410)

    def test_tomorrow(self):
        """When midnight has passed the page says on which day it arrived."""
        visitor = self.visitor()
        visitor.page.clock.install()
        recipient = Recipient(visitor, left(self.daemon, b"content")["url"])
        self.assertEqual(recipient.fetches(), b"content")
        recipient.sees("You have it")
        self.assertRegex(recipient.reads, r"arrived whole at \d\d:\d\d\.")
        visitor.page.clock.fast_forward("24:00:00")
        recipient.page.get_by_text(re.compile(r"arrived whole on \d+ \w+ \d{4} at \d\d:\d\d\.")).first.wait_for()

    def test_earlier(self):
        """What somebody had an hour ago is not taken for what the button has begun just now."""
        recipient, told = self.has_had_one()
        recipient.page.route(told["url"], lambda route: route.fulfill(status=204))  # it takes its time
        with recipient.page.expect_response(_CLAIM):
            recipient.button.click()
        with recipient.page.expect_response(_CLAIM):  # when it asks again it has read the first answer
            recipient.page.clock.run_for(1000)
        recipient.sees("Your download begins")

    def test_nothing_came(self):
        """Where nothing comes of it the page offers the button again, and what that begins is what it tells of."""
        recipient, told = self.has_had_one()
        recipient.page.route(told["url"], lambda route: route.fulfill(status=204))
        recipient.button.click()
        recipient.sees("Your download begins")

        def gives_up() -> bool:
            recipient.page.clock.run_for(1000)
            return recipient.button.is_visible()

        eventually(gives_up, "the page offers the button again")
        self.assertIn("once more", recipient.reads)
        recipient.page.unroute(told["url"])
        recipient.page.unroute(_CLAIM)
        self.assertEqual(recipient.fetches(), b"content")
        recipient.sees("You have it")

    def test_lapsed(self):
        """Who opens the link again when the time to go on is over is offered the button."""
        recipient, road, _ = self.comes(os.urandom(15 * MIB))
        road.hold(Way.DOWN, MIB)
        download = recipient.begins()
        road.bar()
        self.assertIsNotNone(download.failure())
        road.release(Way.DOWN)
        road.open()
        recipient.visitor.context.route(_CLAIM, _lapsed)
        with recipient.visitor.context.expect_event(
            "response", lambda response: _CLAIM.search(response.url) is not None
        ):
            again = recipient.in_another_tab()
        expect(again.button).to_be_visible()
        again.sees("A file for you")

    def has_had_one(self) -> tuple[Recipient, dict[str, str]]:
        """Return somebody who had one of two copies an hour ago, and is before the page again."""
        visitor, told = self.visitor(), left(self.daemon, b"content", downloads="2")
        visitor.page.clock.install()
        recipient = Recipient(visitor, told["url"])
        self.assertEqual(recipient.fetches(), b"content")
        recipient.sees("You have it")
        recipient.page.route(_CLAIM, _an_hour_ago)
        recipient.page.reload()
        return recipient, told

    def test_more(self):
        """Where others may still have it the page says that instead."""
        recipient, _, told = self.comes(b"content", downloads="2")
        self.assertEqual(recipient.fetches(), b"content")
        recipient.sees("You have it")
        self.assertIn("others", recipient.reads)
        self.assertEqual(request("GET", told["url"], headers={"User-Agent": ANOTHER_AGENT}).content, b"content")

    def test_running(self):
        """While it is on its way the page says how far it is, and so does its title."""
        sent = os.urandom(12 * MIB)
        recipient, road, _ = self.comes(sent)
        road.hold(Way.DOWN, 4 * MIB)
        download = recipient.begins()
        recipient.sees(re.compile(r"[1-9]\d?\s?%"))
        expect(recipient.page).to_have_title(re.compile(r"[1-9]\d?\s?%"))
        road.release(Way.DOWN)
        self.assertEqual(content(download), sent)
        recipient.sees("You have it")
        expect(recipient.page).not_to_have_title(re.compile("%"))

    def test_broken(self):
        """When the connection breaks the page says what to do, and what it says gets the file."""
        sent = os.urandom(15 * MIB)  # more than the kernels hold: the daemon knows that some of it never left
        recipient, road, _ = self.comes(sent, password="s3cret")
        recipient.password.fill("s3cret")
        road.hold(Way.DOWN, MIB)
        download = recipient.begins()
        road.bar()
        self.assertIsNotNone(download.failure(), "the browser has given up by itself")
        road.release(Way.DOWN)
        road.open()
        recipient.sees("broke off")
        self.assertIn("Nothing is lost", recipient.reads)
        self.assertEqual(recipient.password.count(), 0, "who has begun is not asked again")
        self.assertEqual(recipient.fetches(), sent)
        recipient.sees("You have it")

    def test_by_itself(self):
        """When a connection breaks the browser goes on where it was, by itself or at another click: that is one copy."""
        sent = os.urandom(15 * MIB)
        recipient, road, told = self.comes(sent)
        road.hold(Way.DOWN, MIB)
        download = recipient.begins()
        road.cut()
        road.release(Way.DOWN)
        # Most often Chromium resumes unasked; whether it does is its own affair.
        self.assertEqual(content(download) if download.failure() is None else recipient.fetches(), sent)
        answer = request("GET", told["url"], headers={"User-Agent": ANOTHER_AGENT})
        self.assertEqual((answer.status_code, answer.json()["reason"]), (410, "delivered"))
        owner = {"Authorization": f"Bearer {told['owner_token']}"}
        events = [each["event"] for each in request("GET", f"{told['url']}/status", headers=owner).json()["events"]]
        self.assertEqual((events.count("resumed"), events.count("delivered")), (1, 1))

    def test_revoked(self):
        """When its sender takes it back meanwhile the page says that."""
        recipient, road, told = self.comes(os.urandom(15 * MIB))
        road.hold(Way.DOWN, MIB)
        download = recipient.begins()
        request("DELETE", told["url"], headers={"Authorization": f"Bearer {told['owner_token']}"})
        road.release(Way.DOWN)
        self.assertIsNotNone(download.failure())
        recipient.sees("sender has taken the file back")
