"""The JSON API, the plain form, and what operators' probes ask for: routes, on Klein.

Klein runs a GET route on HEAD, unquotes the path before it matches, and appends an error page to
what is already out.  So: HEAD is told apart where it matters, a token is taken from the path as it
was sent, and no exception of ours reaches Klein (:mod:`.routing`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from importlib.resources import files
from typing import Any, Concatenate, ParamSpec

from klein import Klein
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from werkzeug import exceptions

from filedropd import errors
from filedropd.drops import Drops
from filedropd.http.request import Request
from filedropd.upload import Receipt
from filedropd.web import assets, fields, recipients
from filedropd.web.answers import JSON, TEXT, answer, as_json, hexadecimal, moment
from filedropd.web.codes import square
from filedropd.web.downloads import Downloads
from filedropd.web.forwarding import NOBODY, Forwarding
from filedropd.web.hot import HotRoutes
from filedropd.web.links import Links
from filedropd.web.operators import HEALTH, METRICS, READINESS, Operators
from filedropd.web.origins import check_origin
from filedropd.web.pages import Pages
from filedropd.web.people import People
from filedropd.web.routing import answering
from filedropd.web.statuses import Statuses
from filedropd.web.uploads import receive

P = ParamSpec("P")


class API:
    """Everything that can be asked over HTTP.

    :param prefix: the path under which the API lives.
    :param public_url: what links begin with; where it is ``None``, they begin as the request did.
    :param operators: answers what operators and their probes ask for.
    :param metrics_here: metrics are among that, for this machine alone.
    :param forwarding: whose word is taken for where a request comes from.
    """

    def __init__(
        self,
        drops: Drops,
        operators: Operators,
        *,
        prefix: str,
        public_url: str | None,
        forwarding: Forwarding = NOBODY,
        metrics_here: bool = True,
    ) -> None:
        self._drops = drops
        self._prefix = prefix
        self._forwarding = forwarding
        self._links = Links(prefix, public_url, forwarding)
        loaded = assets.shipped()
        self._people = People(Pages(root=self._links.root, api=self._links.folder, loaded=loaded), drops.rules)
        downloads = Downloads(drops, self._links, self._people, forwarding)
        statuses = Statuses(drops, self._links)
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
        self._hot_upload = self._route(file, ["PUT", "POST"], self.upload)
        self._hot_download = self._route(f"{file}/<id>", ["GET"], downloads.download)
        self._route(f"{file}/<id>", ["POST"], downloads.claim)
        self._route(f"{file}/<id>", ["DELETE"], self.revoke)
        self._route(f"{file}/<id>/status", ["GET"], statuses.status)
        self._route(f"{file}/<id>/code", ["GET"], statuses.code)
        self._route(f"{file}/<id>/claim", ["GET"], statuses.claim)
        self._route(f"{prefix}/openapi.json", ["GET"], self.description)
        self._route(f"{assets.FOLDER}/<folder>/<name>", ["GET"], loaded.asset)
        self._route("/favicon.ico", ["GET"], loaded.icon)
        self._route(HEALTH, ["GET"], operators.health)
        self._route(READINESS, ["GET"], operators.readiness)
        if metrics_here:
            self._route(METRICS, ["GET"], operators.metrics_here)
        self._app.handle_errors(exceptions.HTTPException)(self._unrouted)  # type: ignore[arg-type]  # ours is a Request, Klein says IRequest

    def resource(self) -> IResource:
        """Return what an HTTP server serves."""
        return HotRoutes(self._prefix, self._hot_upload, self._hot_download, self._app.resource())

    # -- in ---------------------------------------------------------------------------------------

    async def upload(self, request: Request) -> None:
        """``PUT``, ``POST {api}/file``: a form, or by PUT the bytes alone. Answers 201 with JSON."""
        check_origin(request, self._links.base(request))
        receipt = await receive(request, self._drops, client=self._client(request), form_only=request.method == b"POST")
        self._created(request, receipt)

    async def upload_at_root(self, request: Request, name: str = "") -> None:
        """``PUT /<name>``: the bytes alone, as ``curl -T`` sends them. Answers 201 with the link as text."""
        check_origin(request, self._links.base(request))
        receipt = await receive(
            request, self._drops, client=self._client(request), name=fields.path_name(request.path[1:])
        )
        if fields.accepts(request, JSON):
            self._created(request, receipt)
        else:
            self._created_as_text(request, receipt)

    async def upload_form(self, request: Request) -> None:
        """``POST /``: the plain form. Answers a browser with a page, and others as PUT."""
        await self._people.told(request, self._upload_form)

    async def _upload_form(self, request: Request) -> None:
        check_origin(request, self._links.base(request))
        receipt = await receive(request, self._drops, client=self._client(request), form_only=True)
        if fields.accepts(request, "text/html"):
            language, url = self._people.language(request), self._links.url(request, receipt.link)
            code = square(url, language.say("uploaded.code"))
            page = self._people.pages.uploaded(language, self._told(request, receipt), receipt.drop, code)
            self._people.show(request, 201, page, vary="Accept")
        elif fields.accepts(request, JSON):
            self._created(request, receipt)
        else:
            self._created_as_text(request, receipt)

    def _client(self, request: Request) -> str | None:
        return recipients.address(request, self._forwarding)

    def _created(self, request: Request, receipt: Receipt) -> None:
        told = self._told(request, receipt)
        request.setHeader("Location", str(told["url"]))
        answer(request, 201, JSON, as_json(told))

    def _created_as_text(self, request: Request, receipt: Receipt) -> None:
        link = self._links.url(request, receipt.link)
        request.setHeader("Location", link)
        request.setHeader("Filedrop-Owner-Token", receipt.owner.text)
        answer(request, 201, TEXT, f"{link}\n".encode())

    def _told(self, request: Request, receipt: Receipt) -> dict[str, object]:
        return {
            "status": "File Uploaded Successfully",
            "url": self._links.url(request, receipt.link),
            "id": receipt.link.text,
            "size": receipt.drop.size,
            "sha256": hexadecimal(receipt.drop.sha256),
            "expires_at": moment(receipt.drop.expires_at),
            "downloads": receipt.drop.downloads,
            "owner_token": receipt.owner.text,
        }

    # -- for the owner ----------------------------------------------------------------------------

    async def revoke(self, request: Request, id: str) -> None:  # noqa: A002 - the route's own word
        """``DELETE {api}/file/<id>``: the drop is gone, and downloads that run are broken off."""
        await self._drops.revoke(self._links.token(request, id), fields.owner_token(request))
        request.setResponseCode(204)
        request.finish()

    # -- for people and probes --------------------------------------------------------------------

    async def upload_page(self, request: Request) -> None:
        """``GET /``: the form."""
        self._people.show_upload(request)

    async def description(self, request: Request) -> None:
        """``GET {api}/openapi.json``: the API, described for programs."""
        answer(request, 200, JSON, self._description)

    # -- routing ----------------------------------------------------------------------------------

    def _route(
        self, rule: str, methods: list[str], act: Callable[Concatenate[Request, ...], Awaitable[None]]
    ) -> Callable[..., Coroutine[Any, Any, None]]:
        endpoint = f"{'/'.join(methods)} {rule}"
        answered = answering(rule, act)
        self._app.route(rule, methods=methods, endpoint=endpoint)(answered)
        return answered

    def _unrouted(self, request: Request, failure: Failure) -> None:
        """Answer what no route takes."""
        error = failure.value
        if isinstance(error, exceptions.MethodNotAllowed) and self._has_methods(request):
            request.refuse(errors.MethodNotAllowed(sorted(error.valid_methods or ())))
        elif request.method == b"PUT" and b"/" not in request.path[1:]:
            # One segment as it was sent, several when unquoted.
            request.refuse(errors.BadRequest(fields.BAD_NAME))
        elif request.method in {b"GET", b"HEAD"} and recipients.reads_pages(request):
            self._people.problem(request, errors.NotFound())
        else:
            request.refuse(errors.NotFound())

    def _has_methods(self, request: Request) -> bool:
        """Tell a path of the API from one that somebody might upload to, which is not there to be read."""
        api = request.path.startswith(f"{self._prefix}/file".encode("ascii"))
        return api or request.method not in {b"GET", b"HEAD"}
