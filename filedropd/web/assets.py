"""What pages load: styles, scripts, a picture. Each is kept by browsers for as long as they like.

All are served from one folder whose name is a digest of all that is in it.  So scripts name each other as neighbours
(``./words.js``), nothing needs to be built, and when one of them changes, its address does.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Final

import attrs
from werkzeug.http import parse_accept_header

from filedropd.errors import NotFound
from filedropd.http.ranges import not_modified
from filedropd.http.request import Request

#: The folder in which they are, seen from outside.
FOLDER: Final = "/ui"

#: For what has its content's digest in its address, and for what has not.
FOREVER: Final = "public, max-age=31536000, immutable"
A_DAY: Final = "public, max-age=86400"
ASK_FIRST: Final = "no-cache"

_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_IMPORT: Final = re.compile(r"""^(?:import|export)\b[^;]*?from\s+['"]\./([\w-]+\.js)['"]""", re.MULTILINE)
#: What is smaller than that gains nothing.
_WORTH_PACKING: Final = 512


@attrs.frozen
class Asset:
    """Some content that is the same for all who ask, and its compressed form where that is worth it.

    :ivar tag: a strong validator, without its quotes; that of the compressed form ends differently.
    """

    content_type: str
    plain: bytes = attrs.field(repr=False)
    packed: bytes | None = attrs.field(repr=False)
    tag: str

    @classmethod
    def of(cls, content: bytes, content_type: str) -> Asset:
        """Return ``content`` as something to be served."""
        packed = gzip.compress(content, 9, mtime=0) if len(content) >= _WORTH_PACKING else content
        tag = hashlib.sha256(content).hexdigest()[:32]
        return cls(content_type, content, packed if len(packed) < len(content) else None, tag)


def send(request: Request, asset: Asset, caching: str) -> None:
    """Answer with ``asset``, or that it has not changed. Other fields of the answer are the caller's.

    :param caching: how long it may be kept, and by whom.
    """
    packed = asset.packed if accepts_gzip(request) else None
    etag = f'"{asset.tag}"' if packed is None else f'"{asset.tag}-gzip"'
    request.setHeader("Cache-Control", caching)
    request.setHeader("ETag", etag)
    request.setHeader("X-Content-Type-Options", "nosniff")
    if asset.packed is not None:
        request.responseHeaders.addRawHeader("Vary", "Accept-Encoding")
    if not_modified(etag, request.header("If-None-Match")):
        request.setResponseCode(304)
        request.finish()
        return
    body = asset.plain if packed is None else packed
    request.setHeader("Content-Type", asset.content_type)
    request.setHeader("Content-Length", str(len(body)))
    if packed is not None:
        request.setHeader("Content-Encoding", "gzip")
    request.write(body)
    request.finish()


def accepts_gzip(request: Request) -> bool:
    """Tell whether a request takes a compressed answer."""
    field = request.header("Accept-Encoding")
    if field is None or not field.isascii():
        return False
    return any(coding.lower() == "gzip" and quality > 0 for coding, quality in parse_accept_header(field))


class Assets:
    """Serves the assets.

    :param contents: by their names.
    """

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._assets = {name: Asset.of(content, _TYPES[name.rpartition(".")[2]]) for name, content in contents.items()}
        digest = hashlib.sha256()
        for name, asset in sorted(self._assets.items()):
            digest.update(f"{name} {asset.tag}\n".encode())
        self._folder = digest.hexdigest()[:12]

    def path(self, name: str) -> str:
        """Return where an asset is, from the root of what is served here.

        :raises KeyError: there is none.
        """
        if name not in self._assets:
            raise KeyError(name)
        return f"{FOLDER}/{self._folder}/{name}"

    def modules(self, name: str) -> list[str]:
        """Return the scripts that the script ``name`` needs, itself first: a page can ask for all of them at once."""
        found = [name]
        for each in found:
            found += [other for other in self._imports(each) if other not in found]
        return found

    def _imports(self, name: str) -> Iterator[str]:
        yield from _IMPORT.findall(self._assets[name].plain.decode("utf-8"))

    async def asset(self, request: Request, folder: str, name: str) -> None:
        """``GET /ui/<folder>/<name>``: an asset, for ever."""
        if folder != self._folder or name not in self._assets:
            raise NotFound
        self._send(request, name, FOREVER)

    async def icon(self, request: Request) -> None:
        """``GET /favicon.ico``: the site's picture, for whoever does not read where it is."""
        self._send(request, "icon.svg", A_DAY)

    def _send(self, request: Request, name: str, caching: str) -> None:
        # A picture that is opened by itself is a document.
        request.setHeader("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        request.setHeader("Cross-Origin-Resource-Policy", "same-origin")
        send(request, self._assets[name], caching)


@cache
def shipped() -> Assets:
    """Return the assets that come with the package."""
    folder = files("filedropd.web") / "ui" / "assets"
    return Assets({file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in _TYPES})
