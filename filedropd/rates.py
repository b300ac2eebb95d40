"""How many of something in how much time: what is written as ``100/h``."""

from __future__ import annotations

import re
from typing import Final

import attrs

#: What a rate may be of, in seconds.
UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/([smhd])", re.ASCII)


@attrs.frozen
class Rate:
    """So many in so much time.

    :ivar count: one at least.
    :ivar seconds: of one of :data:`UNITS`.
    """

    count: int
    seconds: int

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{self.count}/{next(unit for unit, seconds in UNITS.items() if seconds == self.seconds)}"


def parse_rate(text: str) -> Rate | None:
    """Return the rate that ``text`` says: ``10/m``, ``100/h``, ``5/s``, ``1000/d``; ``None`` for ``none``.

    :raises ValueError: it is neither; the text completes the sentence "<key> <value>: …".
    """
    if text == "none":
        return None
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError("is not a rate: write how many in a second, minute, hour or day, as in 10/m or 100/h, or none")
    return Rate(int(match[1]), UNITS[match[2]])
