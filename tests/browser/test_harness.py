"""What the other tests in a browser rely on: that it notices what is wrong."""

from __future__ import annotations

import os
import sys
from threading import Thread, Timer

import requests
from playwright.sync_api import Error

from tests.browser.axe import findings
from tests.browser.case import BrowserCase
from tests.browser.chromium import chromium, kill
from tests.browser.road import Way
from tests.daemon import PATIENCE, eventually


class WitnessTests(BrowserCase):
    """Faults that are planted, and seen."""

    def test_policy(self):
        """A script that a page's policy forbids is noticed."""
        visitor = self.visitor()
        visitor.page.goto(self.daemon.url("/"))
        visitor.page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:1/'}))")
        eventually(lambda: self.turned(visitor) and visitor.violations, "the browser says what it refused")
        self.assertIn("img-src", " ".join(visitor.violations))
        self.stage.visitors.clear()

    def test_uncaught(self):
        """A script that fails is noticed."""
        visitor = self.visitor()
        visitor.page.goto(self.daemon.url("/"))
        visitor.page.evaluate("queueMicrotask(() => { throw new Error('planted'); })")
        eventually(lambda: self.turned(visitor) and visitor.uncaught, "the browser says what failed")
        self.assertIn("planted", visitor.uncaught[0])
        self.stage.visitors.clear()

    def test_owner_token(self):
        """A URL with the token of an owner is noticed."""
        visitor = self.visitor()
        visitor.page.goto(self.daemon.url("/"))
        visitor.context.request.get(self.daemon.url("/"))
        visitor.owner_tokens.add("0123456789abcdef")
        visitor.page.goto(self.daemon.url("/?token=0123456789abcdef"))
        self.assertEqual(len(visitor.betrayed), 1)
        self.stage.visitors.clear()

    def test_unreadable(self):
        """Text that is hardly to be told from its ground, and a picture without words, are noticed."""
        visitor = self.visitor()
        visitor.page.set_content(
            "<html lang=en><title>A</title><main><h1>A</h1><p style='color:#ccc;background:#fff'>grey</p>"
            "<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='></main>"
        )
        found = " ".join(findings(visitor.page))
        self.assertIn("color-contrast", found)
        self.assertIn("image-alt", found)

    def test_failure(self):
        """A test that fails says what was on the page, and leaves a picture of it."""
        visitor = self.visitor()
        visitor.page.goto(self.daemon.url("/"))
        picture = self.folder / "picture.png"
        told = visitor.evidence(picture)
        self.assertIn("heading", told)
        self.assertIn(str(picture), told)
        self.assertTrue(picture.read_bytes().startswith(b"\x89PNG"))

    def test_hangs(self):
        """A page whose script never comes back ends with its browser, and the next test has another."""
        page = self.visitor().page
        Timer(1, kill).start()
        with self.assertRaises(Error):
            page.evaluate("new Promise(() => {})")
        self.visitor().page.goto(self.daemon.url("/"))

    @staticmethod
    def turned(visitor) -> bool:
        """Let the browser's events come in."""
        visitor.page.evaluate("0")
        return True


class ChromiumTests(BrowserCase):
    """The browser, beside the tests that need none."""

    def test_generators(self):
        """Whose asynchronous generators are to be closed, and by whom, is not its concern."""
        before = sys.get_asyncgen_hooks()
        self.assertTrue(chromium().is_connected())
        self.assertEqual(((None, None), (None, None)), (before, sys.get_asyncgen_hooks()))


class RoadTests(BrowserCase):
    """The road to the daemon."""

    def test_holds(self):
        """Of a file as much passes as is let through; the rest comes when it may."""
        content, road = os.urandom(2**20), self.road()
        link = requests.put(road.url("/file.bin"), data=content, timeout=PATIENCE).text.strip()
        road.hold(Way.DOWN, 100_000)
        got: list[bytes] = []
        reader = Thread(target=lambda: got.append(requests.get(link, timeout=PATIENCE).content))
        passed = road.passed(Way.DOWN)
        reader.start()
        eventually(lambda: road.passed(Way.DOWN) == passed + 100_000, "what may pass has passed")
        self.assertEqual(got, [])
        road.release(Way.DOWN)
        reader.join()
        self.assertEqual(got, [content])

    def test_cut(self):
        """A road that is cut breaks what is on its way, and serves who comes afterwards."""
        road = self.road()
        link = requests.put(road.url("/file.bin"), data=bytes(2**20), timeout=PATIENCE).text.strip()
        road.hold(Way.DOWN, 100_000)
        with requests.get(link, stream=True, timeout=PATIENCE) as answer:
            answer.raw.read(1000)
            road.cut()
            road.release(Way.DOWN)
            with self.assertRaises(requests.RequestException):
                list(answer.iter_content(65536))
        self.assertEqual(requests.get(link, timeout=PATIENCE).content, bytes(2**20))
