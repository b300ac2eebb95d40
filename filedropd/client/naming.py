"""Names of files, as a server gives them and as they may be used here.

A name from elsewhere is somebody else's text: it must not leave its folder, hide, address a device, or tell a
terminal anything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

#: Bytes of UTF-8 that a name may have: file systems take 255, and what is added while a file comes in needs some.
MAX_NAME: Final = 240
#: What a file without a usable name is called.
NAMELESS: Final = "file"

# Names that Windows keeps for devices, whatever extension they carry (Microsoft, "Naming Files").
_DEVICES: Final = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])\s*(?=\.|$)", re.IGNORECASE)
_FORBIDDEN: Final = re.compile(r'[<>:"|?*\\/]')
# What hides a name or makes an option of it at its beginning, and what Windows drops at its end.
_EDGES: Final = re.compile(r"^[\s.-]+|[\s.]+$")
# Cc: control, Cf: format (zero-width, bidi), Cs: surrogates, Co, Cn: no character at all, Zl, Zp: line ends.
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# What a file is called while it comes in, and what is beside it.
_OURS: Final = re.compile(r"\.part(?:\.claim~?)?$", re.IGNORECASE)
# RFC 6266 section 4.1, with the quoted strings of RFC 9110 section 5.6.4.
_PARAMETER: Final = re.compile(r';\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;]+)', re.DOTALL)


def safe(name: str) -> str:
    """Return ``name`` made safe to save under: one segment of a path, visible, not hidden, :data:`MAX_NAME` bytes at most.

    Directories before it are dropped; control, bidi and zero-width characters too; characters that some systems
    refuse become ``_``; device names are given a ``_``. What has nothing left is called ``file``.
    To make a safe name safe changes nothing.
    """
    name = "".join(character for character in name if unicodedata.category(character) not in _UNSAFE)
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    name = _EDGES.sub("", _FORBIDDEN.sub("_", name))
    if _DEVICES.match(name):
        name = "_" + name
    return _cut(name) or NAMELESS


def saved(name: str) -> str:
    """Return a safe name as one to save under: not such as only we give to what comes in.

    Else somebody's file could pass for what we have written down of another download.
    """
    return f"{name}_" if _OURS.search(name) else name


def _cut(name: str) -> str:
    """Shorten ``name`` to :data:`MAX_NAME` bytes, from its stem where the extension is a real one."""
    if len(name.encode()) <= MAX_NAME:
        return name
    stem, dot, extension = name.rpartition(".")
    suffix = (dot + extension).encode()
    if not stem or len(suffix) > 32:
        stem, suffix = name, b""
    kept = stem.encode()[: MAX_NAME - len(suffix)].decode("utf-8", "ignore")
    return _EDGES.sub("", kept) + suffix.decode()


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
