"""Who we are to servers: a random word of this user on this machine, which says nothing else.

Behind one address there may be many who run filedrop; a server should not take one for the other.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Final

_FORM: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)


def identity(folder: Path) -> str:
    """Return the word that is kept in ``folder``, made now where there is none; another each time where it cannot be kept.

    Blocks.
    """
    path = folder / "identity"
    word = secrets.token_hex(8)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="ascii"
        ) as new:
            new.write(word)
    except FileExistsError:
        return _kept(path) or word
    except OSError:
        pass
    return word


def _kept(path: Path) -> str | None:
    try:
        found = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
    return found if _FORM.fullmatch(found) else None
