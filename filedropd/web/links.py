"""Links: written, and read."""

from __future__ import annotations

from urllib.parse import urlsplit

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

    @property
    def folder(self) -> str:
        """The path under which drops live."""
        return self._folder

    @property
    def root(self) -> str:
        """What stands before every path as a browser sees it: that of the public URL."""
        return "" if self._public_url is None else urlsplit(self._public_url).path

    def base(self, request: Request) -> str:
        """Return what links begin with where the request came from, without a slash at its end."""
        if self._public_url is not None:
            return self._public_url
        client = self._forwarding.client(request)
        return f"{client.scheme}://{client.host}"

    def place(self, link: Token) -> str:
        """Return the path of a link as a browser sees it, from the root of its host."""
        return self.root + self.path(link)

    def path(self, link: Token) -> str:
        """Return the path of a link, as it is asked for here."""
        return f"{self._folder}/{link.text}"

    def url(self, request: Request, link: Token) -> str:
        """Return a link, to be used where the request came from."""
        return self.base(request) + self.path(link)

    def token(self, request: Request, id: str) -> Token:  # noqa: A002 - the route's own word
        """Return the token in a request's path, of which ``id`` is what the router made.

        :raises NotFound: it is none, or was written in another way: the router has unquoted the path.
        """
        token = Token.parse(id)
        if token is None or not request.path.startswith(self.path(token).encode("ascii")):
            raise NotFound
        return token
