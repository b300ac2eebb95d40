"""Who asks for a file: rule R of claims, as requests say it.

A recipient is whoever shows the token of a claim.  Where none is shown, it is the address and the
name of the program from which the request comes, as far as the address says anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

from werkzeug.http import dump_cookie

from filedropd.http.request import Request
from filedropd.tokens import Token
from filedropd.web.fields import accepts
from filedropd.web.forwarding import NOBODY, REMEMBERED, Forwarding
from filedropd.web.previewers import previewer

#: The header field, the query parameter and the cookie in which a claim's token is shown.
FIELD: Final = "Filedrop-Claim"
PARAMETER: Final = b"claim"
COOKIE: Final = "filedrop-claim"

#: So much of a program's name tells it from others.
AGENT_LENGTH: Final = 512

# Programs that name text/html in Accept unasked, as a browser does, and have nobody to press a button:
# wget2 (which is `wget` in some distributions), java.net.URL, Scrapy.
_PROGRAMS: Final = re.compile(r"[Ww]get|Java/|Scrapy/")


# -- which claim -----------------------------------------------------------------------------------


def claim_token(request: Request) -> Token | None:
    """Return the token that a request shows: the first well-formed one in its header, query or cookies."""
    return next((token for text in _shown(request) if (token := Token.parse(text)) is not None), None)


def _stated(request: Request) -> Iterator[str]:
    yield request.header(FIELD) or ""
    for value in request.args.get(PARAMETER, []):
        yield value.decode("latin-1")


def _shown(request: Request) -> Iterator[str]:
    yield from _stated(request)
    for line in request.requestHeaders.getRawHeaders(b"Cookie", []):
        # Other cookies are others' business, whatever they look like.
        for pair in line.decode("latin-1").split(";"):
            name, _, text = pair.partition("=")
            if name.strip(" \t") == COOKIE:
                yield text.strip(" \t").removeprefix('"').removesuffix('"')


def returns(request: Request) -> bool:
    """Tell whether a person looks at a link again whose button was pressed in the same browser.

    A browser shows the cookie whatever it is about.  What it downloads, and goes on with, it asks for by the address to
    which the button led, or for a range of it: where the cookie alone shows the token it is the link that is opened,
    and nothing to be looked at would leave its tab blank.  That it is opened in a tab a browser says itself
    (Fetch Metadata, section 2.1); whoever does not say so gets the bytes, as with every token.
    """
    if request.header("Range") is not None or request.header("Sec-Fetch-Dest") != "document":
        return False
    return all(Token.parse(text) is None for text in _stated(request))


def cookie(token: Token, path: str, *, secure: bool) -> str:
    """Return the Set-Cookie that has a browser show ``token`` at the link, until it is closed.

    :param path: the link's path.
    :param secure: whether the link is under https.
    """
    return dump_cookie(COOKIE, token.text, path=path, secure=secure, httponly=True, samesite="Lax")


# -- from where ------------------------------------------------------------------------------------


def source(request: Request, forwarding: Forwarding = NOBODY) -> str | None:
    """Return who asks where no token is shown: an address and a program's name, one on a line each.

    Of an IPv6 address it is the network (/64): one machine has many in it.  ``None`` where the
    address says nothing: behind a proxy that is not trusted, or does not tell, and on a UNIX socket.
    """
    client = forwarding.client(request)
    if client.address is None or client.shared:
        return None
    return f"{_place(client.address)}\n{_agent(request)}"


def address(request: Request, forwarding: Forwarding = NOBODY) -> str | None:
    """Return from where a request comes, as limits call it; many may share it. ``None`` where that is not known."""
    text = forwarding.client(request).address
    return None if text is None else _place(text)


@lru_cache(maxsize=REMEMBERED)
def _place(text: str) -> str:
    found = ip_address(text)
    return str(IPv6Network((found, 64), strict=False)) if isinstance(found, IPv6Address) else text


def _agent(request: Request) -> str:
    """Return the program's name as text that can be stored, whatever octets were sent."""
    agent = (request.header("User-Agent") or "")[:AGENT_LENGTH]
    return agent.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


# -- how -------------------------------------------------------------------------------------------


def wants_page(request: Request) -> bool:
    """Tell whether a request for a link is a person's or a previewer's: they are shown a page first.

    Ask for :func:`claim_token` first: whoever shows one has pressed the button, and gets the bytes.
    """
    if request.method not in {b"GET", b"HEAD"}:
        return False
    return previewer(request.header("User-Agent")) is not None or reads_pages(request)


def reads_pages(request: Request) -> bool:
    """Tell whether a person is shown what is answered, and not a program that asks for pages out of habit."""
    return accepts(request, "text/html") and not _PROGRAMS.match(request.header("User-Agent") or "")
