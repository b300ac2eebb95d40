"""What things are called on the pages, in each language that they speak."""

from __future__ import annotations

import re
from typing import Final


def _any_of(*words: str) -> re.Pattern[str]:
    return re.compile("|".join(words), re.IGNORECASE)


# -- to click on, and to fill in ------------------------------------------------------------------

CHOOSE: Final = _any_of("choose", "pick", "select", "auswählen", "wählen")
OPTIONS: Final = _any_of("^options$", "^optionen$")
PASSWORD: Final = _any_of("^password", "^passwort")
DOWNLOADS: Final = _any_of("^downloads")
DOWNLOAD: Final = _any_of("^download", "^herunterladen")
QR: Final = _any_of("QR")

# -- what becomes of a drop -----------------------------------------------------------------------

WAITING: Final = _any_of("waiting", "wartet")
OPENED: Final = _any_of("opened", "geöffnet", "angesehen")
PREVIEWED: Final = _any_of("previewed", "vorschau")
DELIVERED: Final = _any_of("delivered", "zugestellt", "abgeholt", "heruntergeladen")
REVOKED: Final = _any_of("revoked", "taken back", "zurückgezogen", "zurückgenommen")
