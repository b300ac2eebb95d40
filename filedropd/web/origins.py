"""Whose page a request comes from: what changes something here is not done for pages of others.

Browsers say it in Sec-Fetch-Site under https, and in Origin otherwise.  Programs say nothing, and are nobody's tool.
What needs the owner's token needs no such check: no other site knows it, and none can send it unasked.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from filedropd.errors import ForeignOrigin
from filedropd.http.request import Request

_PORTS: Final = {"http": 80, "https": 443}


def same_origin(request: Request, ours: str) -> bool:
    """Tell whether a form comes from a page of ours, or from no page at all, as with ``curl``.

    A page without a referrer has the origin ``null``: those with forms must be served with one.

    :param ours: a URL of ours, or what it begins with.
    """
    site = request.header("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.header("Origin")
    if origin is None:
        return True
    theirs = _origin(origin)
    return theirs is not None and theirs == _origin(ours)


def check_origin(request: Request, ours: str) -> None:
    """Return if :func:`same_origin` says so.

    :raises ForeignOrigin: it does not.
    """
    if not same_origin(request, ours):
        raise ForeignOrigin


def _origin(url: str) -> tuple[str, str, int | None] | None:
    """Return the scheme, host and port of a URL; ``None`` where it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, _PORTS.get(parts.scheme) if port is None else port
