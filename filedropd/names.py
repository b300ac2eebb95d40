"""Names of files from elsewhere, made safe to save under. For both sides of the wire: the daemon and its client.

A name from elsewhere is somebody else's text: it must not leave its folder, hide, address a device, or tell a
terminal anything.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from filedropd.stream_safe import normal

#: Bytes of UTF-8 that file systems take for a name.
MAX_NAME: Final = 255
#: What a file without a usable name is called.
NAMELESS: Final = "file"

# Names that Windows keeps for devices, whatever extension they carry (Microsoft, "Naming Files").
_DEVICES: Final = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[0-9¹²³])\s*(?=\.|$)", re.IGNORECASE)
_FORBIDDEN: Final = re.compile(r'[<>:"|?*\\/]')
# What hides a name at its beginning, and what Windows drops at its end.
_EDGES: Final = re.compile(r"^[\s.-]+|(?<![\s.])[\s.]+$")
# Cc: control, Cf: format (zero-width, bidi), Cs: surrogates, Co, Cn: no character at all, Zl, Zp: line ends.
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Of the format characters two are part of how words are spelt, in their place: see stands().
_NON_JOINER: Final = "\N{ZERO WIDTH NON-JOINER}"
_JOINER: Final = "\N{ZERO WIDTH JOINER}"
_JOINERS: Final = re.compile(f"[{_NON_JOINER}{_JOINER}]")
# Scripts whose letters join, as the names of their letters begin.
_CURSIVE: Final = frozenset({"ARABIC", "SYRIAC", "NKO", "MANDAIC", "MONGOLIAN", "PHAGS-PA", "ADLAM"})
_VIRAMA: Final = 9  # its canonical combining class
_EMOJI: Final = re.compile("[\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]")


def safe_name(name: str, most: int = MAX_NAME) -> str:
    """Return ``name`` made safe to save under, on any system: one segment of a path, visible, not hidden.

    Directories before it are dropped; control, bidi and zero-width characters too, but for joiners in
    their place; characters that Windows refuses become ``_``; device names are given a ``_``; the whole
    is cut to ``most`` bytes of UTF-8 between characters, its extension kept.  What has nothing left is
    called ``file``.
    To make a safe name safe changes nothing.
    """
    # Normal form comes second: what is dropped may have kept two characters from being one.
    name = "".join(
        character for character in name if _JOINERS.match(character) or unicodedata.category(character) not in _UNSAFE
    )
    name = re.split(r"[/\\]", _joined(normal(name)))[-1]
    name = _EDGES.sub("", _FORBIDDEN.sub("_", name))
    if _DEVICES.match(name):
        name = "_" + name
    return _cut(name, most) or NAMELESS


def stands(name: str, place: int) -> bool:
    """Tell whether the character at ``place`` is a joiner where one is part of a word, or of a picture.

    Persian parts the letters of a word by a non-joiner, Indian scripts choose the form of a conjunct by
    either after a virama (as RFC 5892 appendix A has it), and emoji are joined to one.  Elsewhere they
    are not to be seen, and make two names of one.
    """
    if name[place] not in {_NON_JOINER, _JOINER}:
        return False
    base = place - 1
    while base >= 0 and unicodedata.category(name[base]).startswith("M"):
        base -= 1
    if base < 0:
        return False
    before, after = name[base], name[place + 1 : place + 2]
    if any(unicodedata.combining(mark) == _VIRAMA for mark in name[base + 1 : place]):
        return before.isalpha()
    if name[place] == _JOINER and _EMOJI.match(before):
        return _EMOJI.match(after) is not None
    return _cursive(before) and _cursive(after)


def _cursive(character: str) -> bool:
    return character.isalpha() and unicodedata.name(character, "").partition(" ")[0] in _CURSIVE


def _joined(name: str) -> str:
    """Return ``name`` in normal form, without the joiners that do not stand in their place."""
    name = normal(_JOINERS.sub(lambda match: match[0] * stands(name, match.start()), name))
    if all(stands(name, match.start()) for match in _JOINERS.finditer(name)):
        return name
    # Where one that went changes what another stands between, nobody has written a word.
    return normal(_JOINERS.sub("", name))


def _cut(name: str, most: int) -> str:
    """Shorten ``name`` to ``most`` bytes, from its stem where the extension is a real one."""
    if len(name.encode()) <= most:
        return name
    stem, dot, extension = name.rpartition(".")
    suffix = (dot + extension).encode()
    if not stem or len(suffix) > 32:
        stem, suffix = name, b""
    kept = stem.encode()[: most - len(suffix)].decode("utf-8", "ignore")
    # The cut may have taken what a joiner joined.
    return _joined(_EDGES.sub("", kept) + suffix.decode())
