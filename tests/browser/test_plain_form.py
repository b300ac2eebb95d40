"""Leaving a file without scripts: the plain form, which is all that some browsers have."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import Final

from tests.browser.case import BrowserCase
from tests.browser.qr import decoded
from tests.test_daemon import LINK, request

MIB: Final = 2**20


def ran(command: str) -> bytes:
    """Run a command as it stands on a page; returns what it prints."""
    return subprocess.run(shlex.split(command), check=True, capture_output=True, timeout=30).stdout


class PlainFormTests(BrowserCase):
    """Somebody whose browser runs no scripts leaves a file."""

    def setUp(self):
        super().setUp()
        self.page = self.visitor(java_script_enabled=False).page
        self.page.goto(self.daemon.url("/"))

    def sends(self) -> str:
        """Send the form; returns the link that the page gives."""
        self.page.get_by_role("button", name="Upload").click()
        link = self.page.get_by_label("Link", exact=True).input_value()
        self.assertRegex(link, f"^{LINK.pattern}$")
        return link

    def pick(self, name: str, content: bytes) -> None:
        """Pick a file."""
        self.page.get_by_label("Choose a file").set_input_files(self.file(name, content))

    def test_file(self):
        """A file that is picked comes back from the link, once."""
        content = os.urandom(MIB)
        self.pick("photo.jpg", content)
        link = self.sends()
        answers = [request("GET", link) for _ in range(2)]
        self.assertEqual([answer.status_code for answer in answers], [200, 410])
        self.assertEqual(answers[0].content, content)
        self.assertEqual(answers[0].headers["Content-Type"], "image/jpeg")

    def test_link(self):
        """On the page with the link a phone reads the QR code."""
        self.pick("a.txt", b"content")
        link = self.sends()
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            self.assertEqual(decoded(self.page.get_by_role("img", name="QR code of the link").screenshot()), [link])

    def test_owner(self):
        """The page says how to see what became of the file, and how to take it back; both work as they stand."""
        self.pick("a.txt", b"content")
        link = self.sends()
        self.page.get_by_text("Look after the file").click()
        status, revoke = self.page.locator("details code").all_inner_texts()
        self.assertIn(b'"available"', ran(status))
        ran(revoke)
        self.assertIn(b'"revoked"', ran(status))
        self.assertEqual(request("GET", link).json()["reason"], "revoked")

    def test_options(self):
        """Password, expiry and number of downloads count."""
        self.pick("a.txt", b"secret")
        self.page.get_by_text("Options", exact=True).click()
        self.page.get_by_label("Password", exact=True).fill("s3cret")
        self.page.get_by_label("Keep it for").select_option("1 hour")
        self.page.get_by_label("Downloads").fill("2")
        link = self.sends()
        answers = [request("GET", link, params=params) for params in ({}, *[{"password": "s3cret"}] * 3)]
        self.assertEqual([answer.status_code for answer in answers], [401, 200, 200, 410])
