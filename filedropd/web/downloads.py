"""A link: the page that says what it is, the claim that its button opens, and the bytes.

People, and programs that preview for them, are shown the page; other programs get the file, and so does
whoever shows the token of a claim.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

from filedropd import errors
from filedropd.claims.asking import Recipient
from filedropd.downloads import Visit
from filedropd.drops import Drops
from filedropd.http.disposition import attachment
from filedropd.http.multipart import Field, is_form, read_form
from filedropd.http.ranges import Selection, not_matched, not_modified, select
from filedropd.http.request import Request
from filedropd.model import Drop, Touch
from filedropd.passwords import candidate
from filedropd.tokens import Token
from filedropd.web import digests, fields, recipients
from filedropd.web.forwarding import NOBODY, Forwarding
from filedropd.web.links import Links
from filedropd.web.origins import same_origin
from filedropd.web.people import People
from filedropd.web.previewers import previewer

# A file is somebody else's content under our name: it is saved, never shown (RFC 6266, CSP 3).
_FILE_FIELDS: Final = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    # A proxy that gathers answers would take what it has for what the recipient has.
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
#: What the answer to a request for a link depends on, beside the reader's language.
_VARY: Final = "Accept, User-Agent, Cookie"
#: A challenge that no browser has a dialogue for: the page itself asks for the password.
_ON_THE_PAGE: Final = 'Form realm="filedropd"'
#: Bytes that the form of the page may have.
_MAX_FORM: Final = 64 * 1024


class Downloads:
    """Answers requests for links."""

    def __init__(self, drops: Drops, links: Links, people: People, forwarding: Forwarding = NOBODY) -> None:
        self._drops = drops
        self._links = links
        self._people = people
        self._forwarding = forwarding

    # -- GET, HEAD --------------------------------------------------------------------------------

    async def download(self, request: Request, id: str) -> None:  # noqa: A002 - the route's own word
        """``GET``, ``HEAD {api}/file/<id>``: the bytes, once, or the page. HEAD says what GET would, and takes nothing."""
        await self._people.told(request, self._download, id)

    async def _download(self, request: Request, id: str) -> None:  # noqa: A002 - the route's own word
        recipient = self._recipient(request, self._links.token(request, id))
        if recipients.wants_page(request):
            claimed = await self._drops.claimed(recipient)
            if not claimed:
                await self._page(request, recipient)
                return
            if recipients.returns(request):
                visit = await self._drops.look(recipient, None)
                self._show_page(request, visit.drop, recipient.link, begun=visit.claimed)
                return
        if recipient.token is None and _asks_for_all(request) and await self._deliver_whole(request, recipient):
            return
        visit = await self._drops.look(
            recipient, fields.download_password(request), client=recipients.address(request, self._forwarding)
        )
        drop = visit.drop
        if not_matched(drop.etag, request.header("If-Match")):
            await self._drops.peek(visit, 0, drop.size)  # section 13.2.1: it is judged where there would be an answer
            raise errors.PreconditionFailed
        if not_modified(drop.etag, request.header("If-None-Match")):
            await self._drops.peek(visit, 0, drop.size)
            request.setResponseCode(304)
            request.setHeader("ETag", drop.etag)
            request.setHeader("Cache-Control", _FILE_FIELDS["Cache-Control"])
            request.finish()
        elif request.method == b"HEAD":
            # RFC 9110 section 14.2: Range is for GET alone.
            await self._drops.peek(visit, 0, drop.size)
            _describe(request, drop, select(drop.size, drop.etag, None, None))
            request.finish()
        else:
            await self._deliver(request, visit)

    async def _deliver_whole(self, request: Request, recipient: Recipient) -> bool:
        request.body.discard()  # nobody reads what may come with it

        def begin(drop: Drop, claim: Token) -> None:
            _describe(request, drop, select(drop.size, drop.etag, None, None))
            self._show(request, recipient.link, claim)

        delivered = await self._drops.deliver_whole(recipient, request, begin)
        if delivered:
            request.finish()
        return delivered

    async def _deliver(self, request: Request, visit: Visit) -> None:
        request.body.discard()
        drop = visit.drop
        selection = select(drop.size, drop.etag, request.header("Range"), request.header("If-Range"))

        def begin(claim: Token) -> None:
            _describe(request, drop, selection)
            self._show(request, visit.recipient.link, claim)

        await self._drops.deliver(visit, selection.first, selection.length, request, begin)
        request.finish()

    async def _page(self, request: Request, recipient: Recipient) -> None:
        drop = await self._drops.view(recipient.link)
        if request.method == b"GET":
            who = previewer(request.header("User-Agent"))
            await self._drops.touched(drop, Touch.OPENED if who is None else Touch.PREVIEWED, who)
        self._show_page(request, drop, recipient.link)

    def _show_page(
        self, request: Request, drop: Drop, link: Token, *, wrong_password: bool = False, begun: bool = False
    ) -> None:
        page = self._people.pages.download(
            self._people.language(request),
            drop,
            self._links.place(link),
            link=self._links.url(request, link),
            window=self._drops.rules.resume_window,
            wrong_password=wrong_password,
            begun=begun,
        )
        if wrong_password:
            request.setHeader("WWW-Authenticate", _ON_THE_PAGE)
        self._people.show(request, 401 if wrong_password else 200, page, vary=_VARY)

    # -- POST -------------------------------------------------------------------------------------

    async def claim(self, request: Request, id: str) -> None:  # noqa: A002 - the route's own word
        """``POST {api}/file/<id>``: the page's button. Opens a claim and leads to the bytes (303) with its token."""
        await self._people.told(request, self._claim, id)

    async def _claim(self, request: Request, id: str) -> None:  # noqa: A002 - the route's own word
        recipient = self._recipient(request, self._links.token(request, id))
        if not same_origin(request, self._links.url(request, recipient.link)):
            # Another site's page: whoever it sent here decides on ours.
            await self._page(request, recipient)
            return
        given = await _form_password(request)
        password = fields.download_password(request) if given is None else candidate(given)
        try:
            visit = await self._drops.look(recipient, password, client=recipients.address(request, self._forwarding))
        except errors.PasswordRequired:
            if not recipients.reads_pages(request):
                raise
            self._show_page(request, await self._drops.view(recipient.link), recipient.link, wrong_password=True)
            return
        token = await self._drops.claim(visit)
        self._show(request, recipient.link, token)
        request.setResponseCode(303)
        request.setHeader("Location", f"{self._links.url(request, recipient.link)}?claim={token.text}")
        request.setHeader("Cache-Control", "no-store")
        request.setHeader("Content-Length", "0")
        request.finish()

    # -- both -------------------------------------------------------------------------------------

    def _recipient(self, request: Request, link: Token) -> Recipient:
        source = recipients.source(request, self._forwarding)
        return Recipient(link=link, token=recipients.claim_token(request), source=source)

    def _show(self, request: Request, link: Token, claim: Token) -> None:
        """Give the claim's token to whoever is answered (rule R)."""
        secure = self._links.url(request, link).startswith("https:")
        request.setHeader(recipients.FIELD, claim.text)
        request.setHeader("Set-Cookie", recipients.cookie(claim, self._links.place(link), secure=secure))


def _asks_for_all(request: Request) -> bool:
    """Tell whether a request is for a whole file, whatever file it is, and shows no password."""
    conditions = any(request.header(name) is not None for name in ("Range", "If-Match", "If-None-Match"))
    return request.method == b"GET" and not conditions and fields.download_password(request) is None


def _describe(request: Request, drop: Drop, selection: Selection) -> None:
    """Write the head of a download."""
    _set(request, _FILE_FIELDS)
    request.setHeader("Content-Type", drop.content_type)
    request.setHeader("Content-Disposition", attachment(drop.name))
    request.setHeader("ETag", drop.etag)
    if drop.sha256 is not None:  # of the whole, also with a part of it (RFC 9530 section 3)
        request.setHeader(digests.REPR_DIGEST, digests.written(drop.sha256))
    request.setHeader("Content-Length", str(selection.length))
    if selection.partial:
        request.setResponseCode(206)
        request.setHeader("Content-Range", selection.content_range)


def _set(request: Request, names: dict[str, str]) -> None:
    for name, value in names.items():
        request.setHeader(name, value)


async def _form_password(request: Request) -> str | None:
    """Return the password in a form's body, whichever way the form is encoded; ``None`` where there is none.

    :raises TooLarge: it is more than a form for a password can be.
    """
    if (request.body.length or 0) > _MAX_FORM:
        raise errors.TooLarge(_MAX_FORM)
    content_type = request.header("Content-Type") or ""
    if is_form(content_type):
        return await _part_password(request, content_type)
    body = b""
    async for piece in request.body:
        body += piece
        if len(body) > _MAX_FORM:
            raise errors.TooLarge(_MAX_FORM)
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return None
    given = parse_qs(body.decode("utf-8", "surrogateescape"), keep_blank_values=True, errors="surrogateescape")
    return given.get("password", [""])[-1] or None


async def _part_password(request: Request, content_type: str) -> str | None:
    """Return the password in a form of parts, likewise."""
    found: str | None = None
    async for part in read_form(request.body, content_type, "file"):
        if request.body.received > _MAX_FORM:  # its length need not have been declared
            raise errors.TooLarge(_MAX_FORM)
        if isinstance(part, Field) and part.name == "password":
            found = part.value
    return found or None
