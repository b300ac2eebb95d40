"""A small Klein application behind the real HTTP server, for the tests of ``http/``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from filedropd.http.head import Limits
from filedropd.http.interfaces import Timeouts
from filedropd.http.request import Request
from filedropd.http.server import HTTPFactory
from filedropd.testing import Wire
from filedropd.web.problems import refusal

Handler = Callable[[Request], Any]


class Service:
    """One handler for all paths and methods.

    :ivar seen: method and target of each request that reached it, in order.
    :ivar answered: status codes of the requests whose answers are over, in order.
    :ivar refused: status codes given to what was no request.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        clock: IReactorTime | None = None,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        max_connections: int = 1000,
        zero_copy: bool = True,
    ) -> None:
        self.seen: list[bytes] = []
        self.answered: list[int] = []
        self.refused: list[int] = []
        self._handler = handler
        app = Klein()
        app.route("/", branch=True)(self._handle)
        self.factory = HTTPFactory(
            app.resource(),
            clock or Clock(),
            refusal=refusal,
            limits=limits,
            timeouts=timeouts,
            max_connections=max_connections,
            zero_copy=zero_copy,
            answered=lambda request: self.answered.append(request.code),
            refused=lambda _, code: self.refused.append(code),
        )

    def _handle(self, request: Request) -> Any:
        self.seen.append(request.method + b" " + request.uri)
        return self._handler(request)

    def wire(self, **options: Any) -> Wire:
        return Wire(self.factory, **options)


async def measured(request: Request) -> None:
    """Read the body; answer with its length."""
    length = 0
    async for piece in request.body:
        length += len(piece)
    answer(request, b"%d" % length)


async def echoed(request: Request) -> None:
    """Read the body; answer with it."""
    answer(request, b"".join([piece async for piece in request.body]))


def answer(request: Request, body: bytes) -> None:
    """Answer at once, with a Content-Length."""
    request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
    request.write(body)
    request.finish()


class Held:
    """A handler whose requests wait for the test to answer them."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.waiting: list[Deferred[bytes]] = []
        self.cancelled = 0

    def __call__(self, request: Request) -> Deferred[bytes]:
        self.requests.append(request)
        self.waiting.append(Deferred(canceller=self._cancel))
        return self.waiting[-1]

    def _cancel(self, _: Deferred[bytes]) -> None:
        self.cancelled += 1

    def let_go(self, result: Any = b"done") -> None:
        """Let the handler that waits longest return ``result``, or raise it."""
        waiting = self.waiting.pop(0)
        if isinstance(result, Exception):
            waiting.errback(result)
        else:
            waiting.callback(result)


def split(data: bytes, size: int) -> list[bytes]:
    """Cut ``data`` into pieces of ``size`` bytes."""
    return [data[start : start + size] for start in range(0, len(data), size)]
