"""File names that are safe to hand on, and the header field that hands them on."""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import quote

from werkzeug.http import dump_options_header

#: Bytes of UTF-8 that file systems take for a name.
MAX_NAME: Final = 255
#: What a file without a usable name is called.
NAMELESS: Final = "file"

# Names that Windows keeps for devices, whatever extension they carry (Microsoft, "Naming Files").
_DEVICES: Final = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])\s*(?=\.|$)", re.IGNORECASE)
_FORBIDDEN: Final = re.compile(r'[<>:"|?*\\/]')
# What hides a name at its beginning, and what Windows drops at its end.
_EDGES: Final = re.compile(r"^[\s.-]+|[\s.]+$")
# Cc: control, Cf: format (zero-width, bidi), Cs: surrogates, Co, Cn: no character at all, Zl, Zp: line ends.
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def safe_name(name: str) -> str:
    """Return ``name`` made safe to save under, on any system: one segment of a path, visible, not hidden.

    Directories before it are dropped; control, bidi and zero-width characters too; characters that
    Windows refuses become ``_``; device names are given a ``_``; the whole is cut to 255 bytes of
    UTF-8 between characters, its extension kept.  What has nothing left is called ``file``.
    """
    # Normal form comes second: what is dropped may have kept two characters from being one.
    name = "".join(character for character in name if unicodedata.category(character) not in _UNSAFE)
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    name = _EDGES.sub("", _FORBIDDEN.sub("_", name))
    if _DEVICES.match(name):
        name = "_" + name
    return _cut(name) or NAMELESS


def attachment(name: str) -> str:
    """Return a Content-Disposition that saves under ``name``, made safe (RFC 6266, RFC 8187).

    ``filename`` carries ASCII for old clients, ``filename*`` the name itself where that differs.
    """
    name = safe_name(name)
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    plain = re.sub(r"[%\x00-\x1f]", "_", plain)
    if plain != name:
        stem = plain.rpartition(".")[0] if "." in plain else plain
        plain = plain if stem.strip(" ._-") else NAMELESS + ("." + plain.rpartition(".")[2] if "." in plain else "")
        # Compatibility forms can hide slashes and dots: of what they became, too, only a safe name may go out.
        plain = safe_name(plain)
        return dump_options_header("attachment", {"filename": plain}) + f"; filename*=UTF-8''{quote(name, safe='')}"
    return dump_options_header("attachment", {"filename": plain})


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
