"""The pages for people. They work without JavaScript, and nothing on them comes from elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from filedropd.drops import Rules
from filedropd.model import Drop

#: What a page may do: send a form back here, and nothing else.
POLICY: Final = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

#: What a page with a form is served with. Without a referrer the origin of its form would be ``null``.
REFERRER_POLICY: Final = "same-origin"

#: What has happened, in the words of whoever clicked on a link.
HEADINGS: Final[Mapping[int, str]] = {
    401: "The password is missing or wrong",
    404: "There is no such file",
    410: "This file is gone",
    423: "Somebody is downloading this file",
    429: "That was too often",
    500: "Something went wrong here",
    503: "Not now",
}

_UNITS: Final = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_TIMES: Final = ((86400, "d"), (3600, "h"), (60, "m"))
_WAITS: Final = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


class _HTML(str):
    """Text that is HTML already."""

    __slots__ = ()


class Pages:
    """Fills the templates in ``ui/``. Every value is escaped."""

    def __init__(self) -> None:
        folder = files("filedropd.web") / "ui"
        self._upload = Template((folder / "upload.html").read_text("utf-8"))
        self._uploaded = Template((folder / "uploaded.html").read_text("utf-8"))
        self._download = Template((folder / "download.html").read_text("utf-8"))
        self._password = Template((folder / "password.html").read_text("utf-8"))
        self._problem = Template((folder / "problem.html").read_text("utf-8"))

    def upload(self, rules: Rules) -> bytes:
        """Return the form that leaves a file."""
        return _filled(
            self._upload,
            max_size=size(rules.max_file_size),
            expires=duration(rules.expires),
            max_downloads=str(rules.max_downloads),
        )

    def uploaded(self, told: dict[str, object], name: str) -> bytes:
        """Return the page with the link; ``told`` is what the JSON API would have answered."""
        downloads = told["downloads"]
        return _filled(
            self._uploaded,
            name=name,
            url=str(told["url"]),
            size=size(int(str(told["size"]))),
            expires_at=str(told["expires_at"]),
            downloads="once" if downloads == 1 else f"{downloads} times",
            owner_token=str(told["owner_token"]),
        )

    def download(self, drop: Drop, action: str, *, link: str, wrong_password: bool = False) -> bytes:
        """Return the page with the button that claims a drop. To show it claims nothing.

        :param action: where the form goes, the link's path.
        :param link: the whole link, for those who fetch it otherwise.
        :param wrong_password: one was given, and it was not the drop's.
        """
        until = datetime.fromtimestamp(drop.expires_at, UTC)
        kept = f"{until.day} {until:%B %Y, %H:%M} UTC"
        secret = drop.password is not None
        return _filled(
            self._download,
            name=drop.name,
            size=size(drop.size),
            type=drop.content_type,
            moment=f"{until:%Y-%m-%dT%H:%M:%SZ}",
            until=kept,
            left=_left(drop),
            summary=f"{size(drop.size)}, kept until {kept}",
            action=action,
            password=self._asked(wrong=wrong_password) if secret else _HTML(),
            # With a name and no password curl asks for it: it stays out of the shell's history.
            command=f"curl -OJ {'-u me ' if secret else ''}{shlex.quote(link)}",
        )

    def problem(self, code: int, words: str, detail: str, *, retry_after: int | None = None) -> bytes:
        """Return what a person is shown in place of an error's JSON.

        :param words: what the error is called on the wire.
        :param detail: what happened and what to do about it.
        :param retry_after: seconds after which it makes sense to ask again.
        """
        return _filled(
            self._problem,
            heading=HEADINGS.get(code, HEADINGS[500] if code >= 500 else words),
            detail=detail if retry_after is None else f"{detail} Try again in {_wait(retry_after)}.",
            code=str(code),
            words=words,
        )

    def _asked(self, *, wrong: bool) -> _HTML:
        """Return the part of a form that asks for a drop's password."""
        note = "That is not the password. Try again." if wrong else "It is not in the link: ask whoever sent it to you."
        return _HTML(_filled(self._password, invalid="true" if wrong else "false", note=note).decode("utf-8"))


def size(octets: int) -> str:
    """Return a number of bytes as people read it, exact where it is a whole number of units."""
    for unit, name in _UNITS:
        if octets >= unit:
            return f"{octets / unit:.1f} {name}".replace(".0 ", " ")
    return f"{octets} bytes"


def duration(seconds: float) -> str:
    """Return a time as the form takes it."""
    for unit, name in _TIMES:
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds // unit:.0f}{name}"
    return f"{seconds:.0f}s"


def _left(drop: Drop) -> str:
    """Return how often a drop can still be downloaded."""
    left = drop.downloads - drop.delivered
    if left > 1:
        return f"It can be downloaded {left} more times, and then it is gone."
    return f"It can be downloaded once{' more' if drop.downloads > 1 else ''}, and then it is gone."


def _wait(seconds: int) -> str:
    """Return a time to wait in whole units, and never too short."""
    unit, name = next((each for each in _WAITS if seconds >= 2 * each[0]), _WAITS[-1])
    count = max(-(-seconds // unit), 1)
    return f"{count} {name}{'' if count == 1 else 's'}"


def _filled(template: Template, **values: str) -> bytes:
    escaped = {name: value if isinstance(value, _HTML) else escape(value) for name, value in values.items()}
    return template.substitute(escaped).encode("utf-8")
