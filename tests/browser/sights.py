"""Every page and state of a page that people meet, by name: to be looked at by tests, and for pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from tests.browser.recipient import Recipient
from tests.browser.road import Way
from tests.browser.stage import Stage
from tests.browser.visitor import ANOTHER_AGENT, Visitor
from tests.test_daemon import left, request

MIB: Final = 2**20

#: Brings a visitor to where something is to be seen.
Sight = Callable[[Stage, Visitor], None]


def upload(stage: Stage, visitor: Visitor) -> None:
    """The page on which files are left."""
    visitor.page.goto(stage.daemon.url("/"))


def download(stage: Stage, visitor: Visitor) -> None:
    """The page behind a link."""
    Recipient(visitor, left(stage.daemon, bytes(300_000))["url"])


def password(stage: Stage, visitor: Visitor) -> None:
    """The same, where a password is asked for."""
    Recipient(visitor, left(stage.daemon, b"secret", password="s3cret")["url"])


def wrong_password(stage: Stage, visitor: Visitor) -> None:
    """The same, after a password that was not the right one."""
    recipient = Recipient(visitor, left(stage.daemon, b"secret", password="s3cret")["url"])
    recipient.password.fill("other")
    recipient.button.click()
    recipient.invalid.wait_for()


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
    recipient.page.get_by_role("button", name="Download").wait_for(state="detached")


#: By name.
SIGHTS: Final[Mapping[str, Sight]] = {
    "upload": upload,
    "download": download,
    "password": password,
    "wrong-password": wrong_password,
    "gone": gone,
    "revoked": revoked,
    "unknown": unknown,
    "busy": busy,
}
