"""What is hot, and the short ways that it takes.

:class:`Hot` answers at once, from memory, with nothing between the parser and the socket: a GET or HEAD of a link
that is known to be gone or never to have been there.  That is what scanners, previews and browsers that try again
ask for, as often as they like, and the whole answer is known.  It is the answer that Klein's route gives, byte for
byte; whatever is not sure to get it (a browser, which is shown a page; a body; another method; a link that is not
in this daemon's own memory) goes on.

:class:`HotRoutes` leads an upload and a download, the two requests that a drop is there for, to the same routes as
Klein does, without its search.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from hashlib import sha256
from typing import Any, Protocol, TypeAlias

from twisted.internet.defer import CancelledError, Deferred
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from filedropd import errors
from filedropd.finding import remembered
from filedropd.http.head import Head
from filedropd.http.interfaces import Prepared
from filedropd.http.request import Request
from filedropd.web.problems import refusal


class Remembering(Protocol):
    """A cache in this process's memory."""

    def peek(self, key: bytes) -> bytes | None:
        """Return what was last set under ``key``, unless it is lost or over its time. At once."""


class Hot:
    """Answers what is hot.

    :param prefix: the path under which the API lives.
    :param cache: what is known of links, by their keys.
    :param now: the time on the wall, in seconds since the epoch.
    """

    def __init__(self, prefix: str, cache: Remembering, now: Callable[[], float]) -> None:
        self._link = re.compile(re.escape(f"{prefix}/file/".encode("ascii")) + rb"([0-9a-f]{32})(?:\?.*)?")
        self._cache = cache
        self._now = now
        self._second = -1
        self._date = b""
        self._ready: dict[bytes, Prepared] = {}

    def answer(self, method: bytes, target: bytes, head: Head) -> Prepared | None:
        """See :class:`~filedropd.http.interfaces.AtOnce`: ``None`` is for Klein to answer."""
        if method not in {b"GET", b"HEAD"}:
            return None
        link = self._link.fullmatch(target)
        verdict = None if link is None else self._cache.peek(sha256(link[1]).digest())
        if verdict is None or _may_be_shown_a_page(head):
            return None
        return self._prepared(verdict)

    def _prepared(self, verdict: bytes) -> Prepared:
        """Return the answer as it is in this second."""
        second = int(self._now())
        if second != self._second:
            self._second = second
            self._ready.clear()
        found = self._ready.get(verdict)
        if found is None:
            # One for each reason to be gone, and one for what was never there.
            found = self._ready[verdict] = _prepared(remembered(verdict), second)
        return found


Act: TypeAlias = Callable[..., Coroutine[Any, Any, None]]


@implementer(IResource)
class HotRoutes:
    """Routes an upload and a download; all else goes to ``otherwise``.

    :param prefix: the path under which the API lives.
    :param upload: is called with the request.
    :param download: is called with the request and the link's id.
    """

    isLeaf = True

    def __init__(self, prefix: str, upload: Act, download: Act, otherwise: IResource) -> None:
        self._file = f"{prefix}/file".encode("ascii")
        self._link = re.compile(re.escape(self._file) + rb"/([0-9a-f]{32})")
        self._upload = upload
        self._download = download
        self._otherwise = otherwise

    def render(self, request: Request) -> object:
        """See ``IResource``."""
        if request.method in {b"PUT", b"POST"} and request.path == self._file:
            return _begun(request, self._upload(request))
        if request.method == b"GET" and (link := self._link.fullmatch(request.path)) is not None:
            return _begun(request, self._download(request, link[1].decode("ascii")))
        return self._otherwise.render(request)

    def getChildWithDefault(self, name: bytes, request: object) -> IResource:
        """See ``IResource``: a leaf has none."""
        raise RuntimeError(f"no resource is below this one: {name!r}")

    def putChild(self, path: bytes, child: object) -> None:
        """See ``IResource``: likewise."""
        raise RuntimeError(f"no resource can be below this one: {path!r}")


def _begun(request: Request, answering: Coroutine[Any, Any, None]) -> object:
    """Begin to answer, until the client leaves, as Klein does."""
    under_way = Deferred.fromCoroutine(answering)
    if not under_way.called:
        request.notifyFinish().addErrback(lambda _: under_way.cancel())
    under_way.addErrback(lambda failure: failure.trap(CancelledError))
    return NOT_DONE_YET


def _may_be_shown_a_page(head: Head) -> bool:
    """Tell whether anything speaks of pages; whether they are, Klein's route finds out."""
    for name, value in head.fields:  # noqa: SIM110 - any() of a generator would take as long as all else here
        if len(name) == 6 and name.lower() == b"accept" and b"html" in value.lower():
            return True
    return False


def _prepared(error: errors.FiledropError, second: int) -> Prepared:
    refused = refusal(error)
    # As the channel writes a head: Date comes first.
    lines = [b"HTTP/1.1 %d %b" % (refused.code, refused.reason), b"Date: " + datetimeToString(second)]
    for name, values in refused.headers.getAllRawHeaders():
        lines += (name + b": " + value for value in values)
    head = b"\r\n".join((*lines, b"", b""))
    return Prepared(code=refused.code, head=head, whole=head + refused.body)
