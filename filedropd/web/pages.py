"""The pages for people. They work without JavaScript, and nothing on them comes from elsewhere."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from filedropd.drops import Rules

#: What a page may do: send a form back here, and nothing else.
POLICY: Final = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

_UNITS: Final = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_TIMES: Final = ((86400, "d"), (3600, "h"), (60, "m"))


class Pages:
    """Fills the templates in ``ui/``. Every value is escaped."""

    def __init__(self) -> None:
        folder = files("filedropd.web") / "ui"
        self._upload = Template((folder / "upload.html").read_text("utf-8"))
        self._uploaded = Template((folder / "uploaded.html").read_text("utf-8"))

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


def _filled(template: Template, **values: str) -> bytes:
    return template.substitute({name: escape(value) for name, value in values.items()}).encode("utf-8")
