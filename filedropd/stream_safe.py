"""How many marks may stand on one letter: beyond some, Unicode's normal forms take time that grows with their square.

UAX #15 section 13, the Stream-Safe Text Format: no writing has more than thirty.
"""

from __future__ import annotations

import unicodedata
from typing import Final

#: Characters in a row whose combining class is not 0.
MOST: Final = 30


def stream_safe(text: str) -> str:
    """Return ``text`` without the marks that stand behind thirty others."""
    if text.isascii():
        return text
    kept = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= MOST:
            kept.append(character)
    return "".join(kept)


def normal(text: str) -> str:
    """Return ``text`` in form C, stream-safe: in time that grows with its length. To do it again changes nothing."""
    # Form C takes some marks apart: of thirty there may be sixty then.
    return stream_safe(unicodedata.normalize("NFC", stream_safe(text)))
