"""Names of files, as a server gives them and as they may be used here.

A name from elsewhere is somebody else's text: it must not leave its folder, hide, address a device, or tell a
terminal anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

from filedropd.names import safe_name

#: Bytes of UTF-8 that a name may have: file systems take 255, and what is added while a file comes in needs some.
MAX_NAME: Final = 240
# What a file is called while it comes in, and what is beside it.
_OURS: Final = re.compile(r"\.part(?:\.claim~?)?$", re.IGNORECASE)
# RFC 6266 section 4.1, with the quoted strings of RFC 9110 section 5.6.4.
_PARAMETER: Final = re.compile(r';\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;]+)', re.DOTALL)


def safe(name: str) -> str:
    """Return ``name`` made safe to save under here, as :func:`filedropd.names.safe_name` does: :data:`MAX_NAME` bytes at most."""
    return safe_name(name, MAX_NAME)


def saved(name: str) -> str:
    """Return a safe name as one to save under: not such as only we give to what comes in.

    Else somebody's file could pass for what we have written down of another download.
    """
    return f"{name}_" if _OURS.search(name) else name


def told(field: str | None) -> str:
    """Return the safe name that a Content-Disposition tells (RFC 6266): ``filename*`` before ``filename``.

    :param field: the field's value; ``None`` where there is none.
    """
    found = dict(_parameters(field or ""))
    return safe(found.get("filename*") or found.get("filename") or "")


def _parameters(field: str) -> Iterator[tuple[str, str]]:
    for name, value in _PARAMETER.findall(field):
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)  # noqa: PLW2901 - the same value, unquoted
        if name.endswith("*"):
            value = _extended(value)  # noqa: PLW2901 - likewise
        yield name.lower(), value


def _extended(value: str) -> str:
    """Return what a value in the form of RFC 8187 says; nothing where it is none."""
    charset, _, rest = value.partition("'")
    _language, quote, text = rest.partition("'")
    if not quote or charset.lower() not in {"utf-8", "iso-8859-1"}:
        return ""
    return unquote_to_bytes(text).decode(charset, "replace")


def of_link(path: str) -> str:
    """Return the safe name that the last segment of a URL's path has."""
    return safe(unquote(path.rsplit("/", 1)[-1], errors="replace"))
