"""Two servers that only say no, to compare with: a route of Klein, and a resource of twisted.web.

``python bench/hello.py klein PORT`` or ``python bench/hello.py resource PORT``.
"""

from __future__ import annotations

import sys

from klein import Klein
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IReactorCore, IReactorTCP
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import Site

BODY = b'{"error": "Gone"}'


def _say_no(request: IRequest) -> bytes:
    request.setResponseCode(410)
    request.setHeader(b"content-type", b"application/json")
    return BODY


class No(Resource):
    """Says it to everything."""

    isLeaf = True

    def render_GET(self, request: IRequest) -> bytes:
        """Answer."""
        return _say_no(request)


def klein_resource() -> Resource:
    """Return an application of Klein with one route, whose link is part of the path."""
    app = Klein()

    @app.route("/api/v1.0/file/<link>")
    def file(request: IRequest, link: str) -> bytes:
        return _say_no(request)

    resource: Resource = app.resource()
    return resource


def main(kind: str, port: int) -> None:
    """Serve until we are told to end."""
    site = Site(klein_resource() if kind == "klein" else No())  # type: ignore[no-untyped-call]
    tcp, core = IReactorTCP(reactor), IReactorCore(reactor)
    TCP4ServerEndpoint(tcp, port, backlog=4096, interface="127.0.0.1").listen(site)
    core.run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
