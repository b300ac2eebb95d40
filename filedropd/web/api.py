"""The JSON API, the plain form, and what operators' probes ask for: routes, on Klein.

Klein runs a GET route on HEAD, unquotes the path before it matches, and appends an error page to
what is already out.  So: HEAD is told apart where it matters, a token is taken from the path as it
was sent, and no exception of ours reaches Klein (:meth:`API._answering`).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.resources import files
from typing import Concatenate, Final, ParamSpec

from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from werkzeug import exceptions

from filedropd import errors
from filedropd.drops import Drops
from filedropd.http.disposition import attachment
from filedropd.http.ranges import Selection, not_modified, select
from filedropd.http.request import Request
from filedropd.model import Claim, Drop, DropState
from filedropd.tokens import Token
from filedropd.upload import Receipt
from filedropd.web import fields, pages
from filedropd.web.uploads import receive

P = ParamSpec("P")

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"

# A file is somebody else's content under our name: it is saved, never shown (RFC 6266, CSP 3).
_DOWNLOAD_FIELDS: Final = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}


class API:
    """Everything that can be asked over HTTP.

    :param prefix: the path under which the API lives.
    :param public_url: what links begin with; where it is ``None``, they begin as the request did.
    :param now: the time on the wall, in seconds since the epoch.
    """

    def __init__(self, drops: Drops, *, prefix: str, public_url: str | None, now: Callable[[], float]) -> None:
        self._drops = drops
        self._prefix = prefix
        self._public_url = public_url
        self._now = now
        self._pages = pages.Pages()
        description = (files("filedropd.web") / "openapi.json").read_text("utf-8")
        self._description = description.replace("{api}", prefix).encode("utf-8")
        self._app = Klein()
        # A link is one exact path; `//host/x` must never become a redirect to somewhere else.
        self._app.url_map.merge_slashes = False
        self._app.url_map.strict_slashes = False
        file = f"{prefix}/file"
        self._route("/", ["GET"], self.upload_page)
        self._route("/", ["POST"], self.upload_form)
        self._route("/", ["PUT"], self.upload_at_root)
        self._route("/<name>", ["PUT"], self.upload_at_root)
        self._route(file, ["PUT", "POST"], self.upload)
        self._route(f"{file}/<id>", ["GET"], self.download)
        self._route(f"{file}/<id>", ["DELETE"], self.revoke)
        self._route(f"{file}/<id>/status", ["GET"], self.status)
        self._route(f"{prefix}/openapi.json", ["GET"], self.description)
        self._route("/healthz", ["GET"], self.health)
        self._route("/readyz", ["GET"], self.readiness)
        self._app.handle_errors(exceptions.HTTPException)(self._unrouted)  # type: ignore[arg-type]  # ours is a Request, Klein says IRequest

    def resource(self) -> IResource:
        """Return what an HTTP server serves."""
        return self._app.resource()

    # -- in ---------------------------------------------------------------------------------------

    async def upload(self, request: Request) -> None:
        """``PUT``, ``POST {api}/file``: a form, or by PUT the bytes alone. Answers 201 with JSON."""
        receipt = await receive(request, self._drops, form_only=request.method == b"POST")
        self._created(request, receipt)

    async def upload_at_root(self, request: Request, name: str = "") -> None:
        """``PUT /<name>``: the bytes alone, as ``curl -T`` sends them. Answers 201 with the link as text."""
        receipt = await receive(request, self._drops, name=fields.path_name(request.path[1:]))
        if fields.accepts(request, JSON):
            self._created(request, receipt)
        else:
            self._created_as_text(request, receipt)

    async def upload_form(self, request: Request) -> None:
        """``POST /``: the plain form. Answers a browser with a page, and others as PUT."""
        receipt = await receive(request, self._drops, form_only=True)
        if fields.accepts(request, "text/html"):
            request.setHeader("Content-Security-Policy", pages.POLICY)
            page = self._pages.uploaded(self._told(request, receipt), receipt.drop.name)
            _answer(request, 201, HTML, page)
        elif fields.accepts(request, JSON):
            self._created(request, receipt)
        else:
            self._created_as_text(request, receipt)

    def _created(self, request: Request, receipt: Receipt) -> None:
        told = self._told(request, receipt)
        request.setHeader("Location", str(told["url"]))
        _answer(request, 201, JSON, _json(told))

    def _created_as_text(self, request: Request, receipt: Receipt) -> None:
        link = self._link(request, receipt.link)
        request.setHeader("Location", link)
        request.setHeader("Filedrop-Owner-Token", receipt.owner.text)
        _answer(request, 201, TEXT, f"{link}\n".encode())

    def _told(self, request: Request, receipt: Receipt) -> dict[str, object]:
        return {
            "status": "File Uploaded Successfully",
            "url": self._link(request, receipt.link),
            "id": receipt.link.text,
            "size": receipt.drop.size,
            "expires_at": _moment(receipt.drop.expires_at),
            "downloads": receipt.drop.downloads,
            "owner_token": receipt.owner.text,
        }

    def _link(self, request: Request, link: Token) -> str:
        base = self._public_url
        if base is None:
            scheme = "https" if request.isSecure() else "http"
            base = f"{scheme}://{request.authority}"
        return f"{base}{self._prefix}/file/{link.text}"

    # -- out --------------------------------------------------------------------------------------

    async def download(self, request: Request, id: str) -> None:  # noqa: A002 - the route's own word
        """``GET``, ``HEAD {api}/file/<id>``: the bytes, once. HEAD says what GET would, and takes nothing."""
        drop = await self._drops.look(self._token(request, id), fields.download_password(request))
        if not_modified(drop.etag, request.header("If-None-Match")):
            request.setResponseCode(304)
            request.setHeader("ETag", drop.etag)
            request.setHeader("Cache-Control", _DOWNLOAD_FIELDS["Cache-Control"])
            request.finish()
            return
        if request.method == b"HEAD":
            if self._drops.locked(drop):
                raise errors.Locked(1)
            # RFC 9110 section 14.2: Range is for GET alone.
            _describe(request, drop, select(drop.size, drop.etag, None, None))
            request.finish()
            return
        selection = select(drop.size, drop.etag, request.header("Range"), request.header("If-Range"))
        await self._drops.deliver(
            drop, selection.first, selection.length, request, lambda: _describe(request, drop, selection)
        )
        request.finish()

    def _token(self, request: Request, id: str) -> Token:  # noqa: A002 - the route's own word
        token = Token.parse(id)
        # Klein has unquoted the path: a token that was written in another way is not the token.
        if token is None or not request.path.startswith(f"{self._prefix}/file/{token.text}".encode("ascii")):
            raise errors.NotFound
        return token

    # -- for the owner ----------------------------------------------------------------------------

    async def status(self, request: Request, id: str) -> None:  # noqa: A002 - the route's own word
        """``GET {api}/file/<id>/status``: what became of a drop, for its owner."""
        token = self._token(request, id)
        drop, claims = await self._drops.status(token, fields.owner_token(request))
        reason = drop.gone(self._now())
        told = {
            "id": token.text,
            "name": drop.name,
            "size": drop.size,
            "state": (DropState.AVAILABLE if reason is None else DropState.GONE).value,
            "reason": reason.value if reason is not None else None,
            "created_at": _moment(drop.created_at),
            "expires_at": _moment(drop.expires_at),
            "gone_at": _moment(drop.gone_at),
            "downloads": drop.downloads,
            "delivered": drop.delivered,
            "claims": [_claim(claim) for claim in claims],
        }
        _answer(request, 200, JSON, _json(told))

    async def revoke(self, request: Request, id: str) -> None:  # noqa: A002 - the route's own word
        """``DELETE {api}/file/<id>``: the drop is gone, and downloads that run are broken off."""
        await self._drops.revoke(self._token(request, id), fields.owner_token(request))
        request.setResponseCode(204)
        request.finish()

    # -- for people and probes --------------------------------------------------------------------

    async def upload_page(self, request: Request) -> None:
        """``GET /``: the form."""
        request.setHeader("Content-Security-Policy", pages.POLICY)
        _answer(request, 200, HTML, self._pages.upload(self._drops.rules))

    async def health(self, request: Request) -> None:
        """``GET /healthz``: the process answers."""
        _answer(request, 200, JSON, _json({"status": "ok"}))

    async def readiness(self, request: Request) -> None:
        """``GET /readyz``: drops can be taken and handed out."""
        await self._drops.ready()
        _answer(request, 200, JSON, _json({"status": "ready"}))

    async def description(self, request: Request) -> None:
        """``GET {api}/openapi.json``: the API, described for programs."""
        _answer(request, 200, JSON, self._description)

    # -- routing ----------------------------------------------------------------------------------

    def _route(self, rule: str, methods: list[str], act: Callable[Concatenate[Request, ...], Awaitable[None]]) -> None:
        endpoint = f"{'/'.join(methods)} {rule}"
        self._app.route(rule, methods=methods, endpoint=endpoint)(self._answering(rule, act))

    @staticmethod
    def _answering(
        rule: str, act: Callable[Concatenate[Request, P], Awaitable[None]]
    ) -> Callable[Concatenate[Request, P], Awaitable[None]]:
        """Return ``act`` with its errors answered, whatever part of another answer is out already."""

        async def answer(request: Request, /, *arguments: P.args, **named: P.kwargs) -> None:
            request.route = rule
            try:
                await act(request, *arguments, **named)
            except CancelledError:  # the client has left: nobody to answer
                raise
            except Exception as error:  # noqa: BLE001 - one place answers them all
                request.refuse(error)

        return answer

    def _unrouted(self, request: Request, failure: Failure) -> None:
        """Answer what no route takes."""
        error = failure.value
        if isinstance(error, exceptions.MethodNotAllowed) and self._has_methods(request):
            request.refuse(errors.MethodNotAllowed(sorted(error.valid_methods or ())))
        elif request.method == b"PUT" and b"/" not in request.path[1:]:
            # One segment as it was sent, several when unquoted.
            request.refuse(errors.BadRequest(fields.BAD_NAME))
        else:
            request.refuse(errors.NotFound())

    def _has_methods(self, request: Request) -> bool:
        """Tell a path of the API from one that somebody might upload to, which is not there to be read."""
        api = request.path.startswith(f"{self._prefix}/file".encode("ascii"))
        return api or request.method not in {b"GET", b"HEAD"}


def _describe(request: Request, drop: Drop, selection: Selection) -> None:
    """Write the head of a download."""
    for name, value in _DOWNLOAD_FIELDS.items():
        request.setHeader(name, value)
    request.setHeader("Content-Type", drop.content_type)
    request.setHeader("Content-Disposition", attachment(drop.name))
    request.setHeader("ETag", drop.etag)
    request.setHeader("Content-Length", str(selection.length))
    if selection.partial:
        request.setResponseCode(206)
        request.setHeader("Content-Range", selection.content_range)


def _answer(request: Request, code: int, content_type: str, body: bytes) -> None:
    request.setResponseCode(code)
    request.setHeader("Content-Type", content_type)
    request.setHeader("Content-Length", str(len(body)))
    request.setHeader("Cache-Control", "no-store")
    request.setHeader("X-Content-Type-Options", "nosniff")
    request.setHeader("Referrer-Policy", "no-referrer")
    request.write(body)
    request.finish()


def _json(told: dict[str, object]) -> bytes:
    return json.dumps(told, ensure_ascii=False).encode("utf-8") + b"\n"


def _claim(claim: Claim) -> dict[str, object]:
    return {
        "state": claim.state.value,
        "opened_at": _moment(claim.opened_at),
        "ended_at": _moment(claim.ended_at),
        "first": claim.first,
        "length": claim.length,
        "acknowledged": claim.acknowledged,
    }


def _moment(seconds: float | None) -> str | None:
    """Return a time as RFC 3339 has it."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
