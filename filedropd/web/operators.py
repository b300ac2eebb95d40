"""What operators and their probes ask for: metrics, health, readiness.

On a listener of their own everything here is for everybody who reaches it.  On the main port metrics are for
this machine alone; health and readiness are for all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Final

from klein import Klein
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from werkzeug import exceptions

from filedropd import errors
from filedropd.http.request import Request
from filedropd.metrics import CONTENT_TYPE, Metrics
from filedropd.web.answers import JSON, answer, as_json
from filedropd.web.forwarding import forwarded, peer_address
from filedropd.web.routing import answering

METRICS: Final = "/metrics"
HEALTH: Final = "/healthz"
READINESS: Final = "/readyz"


class Operators:
    """Answers operators.

    :param ready: returns if drops can be taken and handed out; raises a FiledropError if not.
    """

    def __init__(self, metrics: Metrics, ready: Callable[[], Awaitable[None]]) -> None:
        self._metrics = metrics
        self._ready = ready

    def resource(self) -> IResource:
        """Return what an HTTP server of the operators' own serves."""
        app = Klein()
        # No path is to become a redirect.
        app.url_map.merge_slashes = False
        app.url_map.strict_slashes = False
        for rule, act in ((METRICS, self.metrics), (HEALTH, self.health), (READINESS, self.readiness)):
            app.route(rule, methods=["GET"], endpoint=rule)(answering(rule, act))
        app.handle_errors(exceptions.HTTPException)(_unrouted)  # type: ignore[arg-type]  # ours is a Request, Klein says IRequest
        return app.resource()

    async def metrics(self, request: Request) -> None:
        """``GET /metrics``: what is counted, for Prometheus."""
        answer(request, 200, CONTENT_TYPE, self._metrics.exposition())

    async def metrics_here(self, request: Request) -> None:
        """``GET /metrics`` on the main port: for this machine alone. For others there is nothing.

        :raises NotFound: the client is not here, or a proxy is in between.
        """
        if not _is_here(request):
            raise errors.NotFound
        await self.metrics(request)

    async def health(self, request: Request) -> None:
        """``GET /healthz``: the process answers."""
        answer(request, 200, JSON, as_json({"status": "ok"}))

    async def readiness(self, request: Request) -> None:
        """``GET /readyz``: drops can be taken and handed out."""
        await self._ready()
        answer(request, 200, JSON, as_json({"status": "ready"}))


def _is_here(request: Request) -> bool:
    """Tell whether a request comes from this machine, and not through a proxy on it, trusted or not.

    A proxy that adds no field of its own mostly hands on the Host, which is what the world calls us.  On a
    UNIX socket not even that tells: nginx asks there for "localhost" unless it is told otherwise.
    """
    address = peer_address(request.peer)
    if address is None or not _is_loopback(address) or forwarded(request):
        return False
    host = request.getRequestHostname().decode("ascii", "replace").lower()
    return host == "localhost" or _is_loopback(host.strip("[]"))


def _is_loopback(text: str) -> bool:
    try:
        return ip_address(text).is_loopback
    except ValueError:
        return False


def _unrouted(request: Request, failure: Failure) -> None:
    """Answer what no route takes."""
    error = failure.value
    if isinstance(error, exceptions.MethodNotAllowed):
        request.refuse(errors.MethodNotAllowed(sorted(error.valid_methods or ())))
    else:
        request.refuse(errors.NotFound())
