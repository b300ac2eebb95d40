"""Every page and state of a page that people meet, by name: to be looked at by tests, and for pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from playwright.sync_api import Download, FilePayload, expect

from tests.browser.giving import Given, drop
from tests.browser.recipient import Recipient
from tests.browser.road import Road, Way
from tests.browser.sender import Sender
from tests.browser.stage import Stage
from tests.browser.visitor import ANOTHER_AGENT, Visitor
from tests.browser.words import said
from tests.test_daemon import API, left, request

MIB: Final = 2**20

#: Brings a visitor to where something is to be seen.
Sight = Callable[[Stage, Visitor], None]


def upload(stage: Stage, visitor: Visitor) -> None:
    """The page on which files are left."""
    visitor.page.goto(stage.daemon.url("/"))


def options(stage: Stage, visitor: Visitor) -> None:
    """The same, with its options open."""
    Sender(visitor, stage.daemon.url("/")).opens_options()


def sending(stage: Stage, visitor: Visitor) -> None:
    """A file on its way."""
    road = stage.road()
    sender = Sender(visitor, road.url())
    road.hold(Way.UP, MIB)
    drop(visitor.page, Given("holidays.mp4", size=12 * MIB))
    sender.left("holidays.mp4").progress.wait_for()
    expect(visitor.page).to_have_title(re.compile(r"[1-9]\d?\s?%"))


def uploaded(stage: Stage, visitor: Visitor) -> None:
    """What the plain form is answered with. Scripts are kept away, not off: axe-core is one."""
    visitor.page.route("**/*.js", lambda route: route.abort())
    visitor.page.goto(stage.daemon.url("/"))
    file = FilePayload(name="report.pdf", mimeType="application/pdf", buffer=bytes(300_000))
    visitor.page.get_by_label(said("upload.choose")).set_input_files(file)
    visitor.page.locator("form").evaluate("form => form.requestSubmit()")
    visitor.page.get_by_role("heading", name=said("uploaded.heading")).wait_for()
    visitor.page.unroute("**/*.js")


def too_large(stage: Stage, visitor: Visitor) -> None:
    """A file that is refused."""
    sender = Sender(visitor, stage.daemon.url("/"))
    drop(visitor.page, Given("film.mkv", size=17 * MIB))
    sender.left("film.mkv").item.wait_for()


def link(stage: Stage, visitor: Visitor) -> None:
    """A link, just made, with its QR code and what becomes of the file."""
    sender = Sender(visitor, stage.daemon.url("/"))
    drop(visitor.page, Given("report.pdf", size=300_000, type="application/pdf"))
    sender.left("report.pdf").shows_code()


def drops(stage: Stage, visitor: Visitor) -> None:
    """The list of what somebody has left: delivered, previewed, opened, and not looked at yet."""
    sender = Sender(visitor, stage.daemon.url("/"))
    names = ("notes.txt", "holidays.jpg", "a very long name that says all that there is to say about it.xlsx", "cv.pdf")
    sizes = (14_000, 3_600_000, 96_000, 410_000)
    drop(visitor.page, *[Given(name, size=size) for name, size in zip(names, sizes, strict=True)])
    links = [sender.left(name).link for name in names]
    request("GET", links[0])
    request("GET", links[1], headers={"User-Agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"})
    request("GET", links[2], headers={"Accept": "text/html", "User-Agent": ANOTHER_AGENT})
    for name, stage_of in zip(names, ("delivered", "previewed", "opened", "waiting"), strict=True):
        sender.left(name).says(said(f"status.{stage_of}"))


def download(stage: Stage, visitor: Visitor) -> None:
    """The page behind a link."""
    Recipient(visitor, _left(stage, bytes(2_900_000)))


def _left(stage: Stage, content: bytes) -> str:
    """Leave a file that looks like somebody's; returns its link."""
    files = {"file": ("Holidays 2026.zip", content, "application/zip")}
    answer = request("POST", stage.daemon.url(API), files=files)
    return str(answer.json()["url"])


def password(stage: Stage, visitor: Visitor) -> None:
    """The same, where a password is asked for."""
    Recipient(visitor, left(stage.daemon, b"secret", password="s3cret")["url"])


def wrong_password(stage: Stage, visitor: Visitor) -> None:
    """The same, after a password that was not the right one."""
    recipient = Recipient(visitor, left(stage.daemon, b"secret", password="s3cret")["url"])
    recipient.password.fill("other")
    recipient.button.click()
    recipient.invalid.wait_for()


def too_often(stage: Stage, visitor: Visitor) -> None:
    """A password tried once too often."""
    link = left(stage.daemon, b"secret", password="s3cret")["url"]
    recipient = Recipient(visitor, link)
    while request("GET", link, params={"password": "other"}).status_code == 401:
        pass
    recipient.password.fill("other")
    recipient.button.click()
    recipient.password.wait_for(state="detached")


def fetching(stage: Stage, visitor: Visitor) -> None:
    """A download on its way."""
    _fetching(stage, visitor)
    expect(visitor.page).to_have_title(re.compile(r"[1-9]\d?\s?%"))


def broken(stage: Stage, visitor: Visitor) -> None:
    """A download that broke off."""
    road, download = _fetching(stage, visitor)
    road.bar()  # it is tried again by the browser itself, some times
    download.failure()
    road.release(Way.DOWN)
    road.open()
    visitor.page.get_by_role("heading", name=said("fetching.broken")).wait_for()


def _fetching(stage: Stage, visitor: Visitor) -> tuple[Road, Download]:
    road = stage.road()
    recipient = Recipient(visitor, road.url(urlsplit(_left(stage, bytes(15 * MIB))).path))
    road.hold(Way.DOWN, 2 * MIB)
    return road, recipient.begins()


def have(stage: Stage, visitor: Visitor) -> None:
    """A download that has arrived."""
    recipient = Recipient(visitor, _left(stage, bytes(300_000)))
    recipient.fetches()
    visitor.page.get_by_role("heading", name=said("fetching.have")).wait_for()


def gone(stage: Stage, visitor: Visitor) -> None:
    """A link whose file was downloaded."""
    link = left(stage.daemon, b"once")["url"]
    request("GET", link)
    Recipient(visitor, link)


def revoked(stage: Stage, visitor: Visitor) -> None:
    """A link whose file was taken back."""
    told = left(stage.daemon, b"mine")
    request("DELETE", told["url"], headers={"Authorization": f"Bearer {told['owner_token']}"})
    Recipient(visitor, told["url"])


def unknown(stage: Stage, visitor: Visitor) -> None:
    """A link that never was."""
    Recipient(visitor, stage.daemon.url("/api/v1.0/file/" + "0" * 32))


def busy(stage: Stage, visitor: Visitor) -> None:
    """A file whose last copy somebody else is being handed."""
    link, road = left(stage.daemon, bytes(8 * MIB))["url"], stage.road()
    other = Recipient(stage.visitor(user_agent=ANOTHER_AGENT), road.url(urlsplit(link).path))
    recipient = Recipient(visitor, link)
    road.hold(Way.DOWN, MIB)
    other.begins()
    recipient.button.click()
    recipient.button.wait_for(state="detached")


#: By name.
SIGHTS: Final[Mapping[str, Sight]] = {
    "upload": upload,
    "options": options,
    "sending": sending,
    "uploaded": uploaded,
    "too-large": too_large,
    "link": link,
    "drops": drops,
    "download": download,
    "password": password,
    "wrong-password": wrong_password,
    "too-often": too_often,
    "fetching": fetching,
    "broken": broken,
    "have": have,
    "gone": gone,
    "revoked": revoked,
    "unknown": unknown,
    "busy": busy,
}
