"""Leaving files on the upload page: by picker, drop and paste; what is seen meanwhile; and the link at the end."""

from __future__ import annotations

import io
import os
import re
from typing import Any, Final

from PIL import Image
from playwright.sync_api import expect

from tests.browser.case import BrowserCase
from tests.browser.giving import Given, drag_over, drop, paste_image, paste_text
from tests.browser.qr import decoded
from tests.browser.road import Way
from tests.browser.sender import CLIPBOARD, Sender
from tests.browser.words import said
from tests.daemon import eventually
from tests.test_daemon import LINK, request

MIB: Final = 2**20
# A share sheet is the system's, and there is none here: what a page would have it show is kept.
_SHARE: Final = "navigator.share = async told => { window.shared = told; }; navigator.canShare = () => true;"


class SenderCase(BrowserCase):
    """Somebody on the upload page."""

    def sender(self, url: str | None = None, **options: Any) -> Sender:
        """Return somebody who opens the upload page."""
        visitor = self.visitor(**{"permissions": CLIPBOARD} | options)
        return Sender(visitor, self.daemon.url("/") if url is None else url)


class GivingTests(SenderCase):
    """Every way to give the page a file."""

    def test_picker(self):
        """A file that is picked comes back from its link, once."""
        content, sender = os.urandom(MIB), self.sender()
        sender.picks(self.file("photo.jpg", content))
        link = sender.left("photo.jpg").link
        answers = [request("GET", link) for _ in range(2)]
        self.assertEqual([answer.status_code for answer in answers], [200, 410])
        self.assertEqual(answers[0].content, content)
        self.assertEqual(answers[0].headers["Content-Type"], "image/jpeg")
        self.assertIn("photo.jpg", answers[0].headers["Content-Disposition"])

    def test_drop(self):
        """A file that is dropped anywhere comes back from its link."""
        sender = self.sender()
        drop(sender.page, Given("notes.txt", "dropped"))
        self.assertEqual(request("GET", sender.left("notes.txt").link).content, b"dropped")

    def test_several(self):
        """Of several files at once each has a link of its own, in one list."""
        sender = self.sender()
        drop(sender.page, *[Given(f"{name}.txt", name) for name in ("one", "two", "three")])
        links = {name: sender.left(f"{name}.txt").link for name in ("one", "two", "three")}
        self.assertEqual(len(set(links.values())), 3)
        self.assertEqual(
            {name: request("GET", link).text for name, link in links.items()}, {name: name for name in links}
        )

    def test_order(self):
        """They stand in the order in which they were given, whichever is done first; a reload changes nothing."""
        road = self.road()
        sender = self.sender(road.url())
        road.hold(Way.UP, MIB)
        drop(sender.page, Given("big.bin", size=4 * MIB), Given("b.txt", "b"), Given("a.txt", "a"))
        self.assertTrue(sender.left("a.txt").link and sender.left("b.txt").link)
        drop(sender.page, Given("c.txt", "c"))
        self.assertTrue(sender.left("c.txt").link)
        self.assertEqual(sender.names, ["big.bin", "b.txt", "a.txt", "c.txt"], "big.bin is still on its way")
        road.release(Way.UP)
        self.assertTrue(sender.left("big.bin").link)
        drop(sender.page, Given("new.txt", "new"))
        self.assertTrue(sender.left("new.txt").link)
        self.assertEqual(sender.names, ["new.txt", "big.bin", "b.txt", "a.txt", "c.txt"])
        sender.page.reload()
        self.assertTrue(sender.left("c.txt").link)
        self.assertEqual(sender.names, ["new.txt", "big.bin", "b.txt", "a.txt", "c.txt"])

    def test_paste_text(self):
        """A text that is pasted becomes a file."""
        sender = self.sender()
        paste_text(sender.page, "grüße")
        answer = request("GET", sender.left(".txt").link)
        self.assertEqual(answer.content, "grüße".encode())
        self.assertTrue(answer.headers["Content-Type"].startswith("text/plain"))

    def test_paste_image(self):
        """A picture that is pasted becomes a file."""
        sender = self.sender()
        paste_image(sender.page)
        answer = request("GET", sender.left(".png").link)
        self.assertEqual(answer.headers["Content-Type"], "image/png")
        with Image.open(io.BytesIO(answer.content)) as image:
            self.assertEqual(image.size, (32, 32))

    def test_paste_from_office(self):
        """Of a text with a picture of it beside it, as Office copies a table, it is the text that is meant."""
        sender = self.sender()
        paste_image(sender.page, plain="1\t2", html="<table><tr><td>1</td><td>2</td></tr></table>")
        self.assertEqual(request("GET", sender.left(".txt").link).content, b"1\t2")
        self.assertEqual(len(sender.names), 1)

    def test_paste_picture_of_a_page(self):
        """Of a picture with its address beside it, as browsers copy one of a page, it is the picture that is meant."""
        sender = self.sender()
        paste_image(sender.page, plain="https://a.example/b.png", html='<img src="https://a.example/b.png" alt="">')
        self.assertEqual(request("GET", sender.left(".png").link).headers["Content-Type"], "image/png")

    def test_too_large(self):
        """A file above the limit is refused before a byte of it is sent, and the page says what the limit is."""
        sender = self.sender()
        drop(sender.page, Given("film.mkv", size=16 * MIB + 1))
        sender.left("film.mkv").says(re.compile(r"limit here is 16\sMiB"))
        self.assertEqual(sender.visitor.sent, [])

    def test_empty(self):
        """An empty file is a file."""
        sender = self.sender()
        drop(sender.page, Given("empty.txt", ""))
        self.assertEqual(request("GET", sender.left("empty.txt").link).content, b"")


class SendingTests(SenderCase):
    """While a file is on its way."""

    def held(self, name: str = "film.mkv", after: int = MIB) -> tuple[Sender, Any]:
        """Return somebody of whose file so much has been sent, and the road that holds the rest."""
        road = self.road()
        sender = self.sender(road.url())
        road.hold(Way.UP, after)
        drop(sender.page, Given(name, size=12 * MIB))
        return sender, road

    def test_progress(self):
        """How far it is, how fast, and how long it will take is to be seen, and how far in the title, too."""
        sender, road = self.held()
        bar = sender.left("film.mkv").progress
        bar.wait_for()
        expect(sender.page).to_have_title(re.compile(r"\d+\s?%"))
        pace = sender.left("film.mkv").item.get_by_text(said("drops.sending_pace"))
        eventually(lambda: road.hold(Way.UP, 48 * 1024) or pace.is_visible(), "the page says how fast it goes")
        road.hold(Way.UP)
        self.assertRegex(pace.inner_text(), r"\d.*B/s, .*\d.* left")
        road.release(Way.UP)
        self.assertRegex(sender.left("film.mkv").link, f"^{LINK.pattern}$")
        expect(bar).to_have_count(0)
        expect(sender.page).not_to_have_title(re.compile(r"\d+\s?%"))

    def test_cancel(self):
        """An upload that is cancelled leaves nothing on the server, and the page takes the next file."""
        sender, road = self.held()
        eventually(lambda: self.daemon.files("incoming"), "the upload is on its way to the disk")
        kept = len(self.daemon.files("blobs"))
        sender.left("film.mkv").button("list.cancel").click()
        sender.left("film.mkv").item.wait_for(state="detached")
        road.release(Way.UP)  # the end of a connection comes after what is held of it
        eventually(lambda: not self.daemon.files("incoming"), "nothing is left of it")
        self.assertEqual(len(self.daemon.files("blobs")), kept)
        drop(sender.page, Given("next.txt", "next"))
        self.assertEqual(request("GET", sender.left("next.txt").link).content, b"next")

    def test_cancel_at_the_end(self):
        """One that is cancelled when all of it is sent is taken back as soon as the server has answered."""
        road = self.road()
        sender = self.sender(road.url())
        with sender.page.expect_response(re.compile("/file$")) as answered:
            # The modules that it needs then come first.
            drop(sender.page, Given("before.txt", "content"))
        self.assertTrue(answered.value.ok and sender.left("before.txt").link)
        road.hold(Way.DOWN)
        drop(sender.page, Given("a.txt", "content"))
        left = sender.left("a.txt")
        left.says(said("drops.finishing"))
        with sender.page.expect_response(re.compile("/file$")) as answered:
            left.button("list.cancel").click()
            expect(left.item).to_be_visible()
            road.release(Way.DOWN)
        left.item.wait_for(state="detached")
        self.assertEqual(request("GET", answered.value.json()["url"]).json()["reason"], "revoked")

    def test_broken(self):
        """When the connection breaks the page says so, and a second try gets the link."""
        sender, road = self.held()
        road.bar()
        retry = sender.left("film.mkv").button("list.retry")
        retry.wait_for()
        road.open()
        road.release(Way.UP)
        retry.click()
        self.assertEqual(len(request("GET", sender.left("film.mkv").link).content), 12 * MIB)


class ViewTests(SenderCase):
    """What was given to the page while it was scrolled down."""

    def scrolled(self, **options: Any) -> Sender:
        """Return somebody at the end of a long list."""
        sender = self.sender(**options)
        drop(sender.page, *[Given(f"{number}.txt", "content") for number in range(6)])
        self.assertTrue(all(sender.left(f"{number}.txt").link for number in range(6)))
        sender.page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        expect(sender.left("0.txt").item).not_to_be_in_viewport()
        return sender

    def test_brought(self):
        """It is brought into view, and so is the link that it gets."""
        sender = self.scrolled()
        drop(sender.page, Given("new.txt", "content"))
        left = sender.left("new.txt")
        self.assertTrue(left.link)
        expect(left.item).to_be_in_viewport(ratio=1)
        expect(left.button("drops.copy")).to_be_in_viewport(ratio=1)

    def test_at_once(self):
        """For whoever wants no motion it is there at once."""
        sender = self.scrolled(reduced_motion="reduce")
        drop(sender.page, Given("large.bin", size=16 * MIB + 1))
        shown = sender.left("large.bin").item.evaluate("item => item.getBoundingClientRect().top >= 0")
        self.assertTrue(shown)


class OptionsTests(SenderCase):
    """What is behind 'options'."""

    def test_options(self):
        """Password, expiry and number of downloads count."""
        sender = self.sender()
        sender.opens_options()
        sender.option("password").fill("s3cret")
        sender.option("downloads").fill("2")
        drop(sender.page, Given("a.txt", "secret"))
        link = sender.left("a.txt").link
        answers = [request("GET", link, params=params) for params in ({}, *[{"password": "s3cret"}] * 3)]
        self.assertEqual([answer.status_code for answer in answers], [401, 200, 200, 410])


class LinkTests(SenderCase):
    """What can be done with the link."""

    def test_copy(self):
        """One click, and the link is on the clipboard; the page says that it is."""
        sender = self.sender()
        drop(sender.page, Given("a.txt", "content"))
        left = sender.left("a.txt")
        link = left.link
        left.button("drops.copy").click()
        left.says("Copied")
        self.assertEqual(sender.page.evaluate("navigator.clipboard.readText()"), link)

    def test_share(self):
        """Where the system has a share sheet it is given the link."""
        visitor = self.visitor(permissions=CLIPBOARD)
        visitor.context.add_init_script(_SHARE)
        sender = Sender(visitor, self.daemon.url("/"))
        drop(sender.page, Given("a.txt", "content"))
        left = sender.left("a.txt")
        left.button("list.share").click()
        self.assertEqual(sender.page.evaluate("window.shared.url"), left.link)

    def test_qr(self):
        """The QR code is that of the link, in light and in dark."""
        sender = self.sender()
        drop(sender.page, Given("a.txt", "content"))
        left = sender.left("a.txt")
        link = left.link
        left.shows_code()
        for scheme in ("light", "dark"):
            sender.page.emulate_media(color_scheme=scheme)
            self.assertEqual(decoded(left.qr.screenshot()), [link])


class DraggingTests(SenderCase):
    """While a file is held over the page."""

    def test_said(self):
        """That files can be dropped is said where there is something to drop them with, and not on a phone."""
        for phone in (False, True):
            sender = self.sender(is_mobile=phone, has_touch=phone)
            expect(sender.page.get_by_text(said("upload.or_drop"))).to_be_visible(visible=not phone)

    def test_drag_over(self):
        """The page shows that it takes what is dropped anywhere."""
        sender = self.sender()
        before = sender.page.screenshot()
        drag_over(sender.page, Given("a.txt", "content"))
        eventually(lambda: sender.page.screenshot() != before, "it is to be seen")
