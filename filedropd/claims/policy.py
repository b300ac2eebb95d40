"""The numbers in the rules."""

from __future__ import annotations

from typing import Final

import attrs

#: Bytes up to which a range is reserved at once (strides).
STRIDE: Final = 256 * 1024
#: Into so many strides a longer file is divided.
STRIDES: Final = 16
#: Bytes below which a claim is a probe, if they are less than a sixteenth of the file, too (rule W).
PROBE: Final = 64 * 1024
#: Seconds for which a probe is waited for.
PROBE_WINDOW: Final = 5.0
#: Seconds for which bytes are kept after a settlement by quiet, while the connection stands (rule C).
AFTERMATH: Final = 60.0


@attrs.frozen(kw_only=True)
class Policy:
    """What the operator sets.

    :ivar window: seconds for which a claim waits for its recipient to come back.
    :ivar max_attempts: how often a copy may be given up after more than half of it; 1 is strict.
    """

    window: float = 15 * 60.0
    max_attempts: int = 3


def stride(size: int, remaining: int) -> int:
    """Return how many of ``remaining`` bytes of a file of ``size`` are reserved at once."""
    return remaining if remaining <= STRIDE else min(remaining, max(STRIDE, -(-size // STRIDES)))
