"""The header field that hands a file's name on."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from werkzeug.http import dump_options_header

from filedropd.names import NAMELESS, safe_name


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
