"""Links: written, and read."""

from __future__ import annotations

from filedropd.errors import NotFound
from filedropd.http.request import Request
from filedropd.tokens import Token
from filedropd.web.forwarding import NOBODY, Forwarding


class Links:
    """Knows where links lead.

    :param prefix: the path under which the API lives.
    :param public_url: what links begin with; where it is ``None``, they begin as the client's request did.
    :param forwarding: whom to believe how that was.
    """

    def __init__(self, prefix: str, public_url: str | None, forwarding: Forwarding = NOBODY) -> None:
        self._folder = f"{prefix}/file"
        self._public_url = public_url
        self._forwarding = forwarding

    def path(self, link: Token) -> str:
        """Return the path of a link, from the root of the host."""
        return f"{self._folder}/{link.text}"

    def url(self, request: Request, link: Token) -> str:
        """Return a link, to be used where the request came from."""
        base = self._public_url
        if base is None:
            client = self._forwarding.client(request)
            base = f"{client.scheme}://{client.host}"
        return base + self.path(link)

    def token(self, request: Request, id: str) -> Token:  # noqa: A002 - the route's own word
        """Return the token in a request's path, of which ``id`` is what the router made.

        :raises NotFound: it is none, or was written in another way: the router has unquoted the path.
        """
        token = Token.parse(id)
        if token is None or not request.path.startswith(self.path(token).encode("ascii")):
            raise NotFound
        return token
