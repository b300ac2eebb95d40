"""Names of files from elsewhere, made safe to save under. For both sides of the wire: the daemon and its client.

A name from elsewhere is somebody else's text: it must not leave its folder, hide, address a device, or tell a
terminal anything.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

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


def safe_name(name: str, most: int = MAX_NAME) -> str:
    """Return ``name`` made safe to save under, on any system: one segment of a path, visible, not hidden.

    Directories before it are dropped; control, bidi and zero-width characters too; characters that
    Windows refuses become ``_``; device names are given a ``_``; the whole is cut to ``most`` bytes of
    UTF-8 between characters, its extension kept.  What has nothing left is called ``file``.
    To make a safe name safe changes nothing.
    """
    # Normal form comes second: what is dropped may have kept two characters from being one.
    name = "".join(character for character in name if unicodedata.category(character) not in _UNSAFE)
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    name = _EDGES.sub("", _FORBIDDEN.sub("_", name))
    if _DEVICES.match(name):
        name = "_" + name
    return _cut(name, most) or NAMELESS


def _cut(name: str, most: int) -> str:
    """Shorten ``name`` to ``most`` bytes, from its stem where the extension is a real one."""
    if len(name.encode()) <= most:
        return name
    stem, dot, extension = name.rpartition(".")
    suffix = (dot + extension).encode()
    if not stem or len(suffix) > 32:
        stem, suffix = name, b""
    kept = stem.encode()[: most - len(suffix)].decode("utf-8", "ignore")
    return _EDGES.sub("", kept) + suffix.decode()
