"""A server in front of us that can send files by itself: nginx, by X-Accel-Redirect.

It does to a file what the request asks for, by its own reading of the request.  Where that may be
another than ours, it must not be left to it: it would send bytes that nobody has accounted for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from twisted.web.http_headers import Headers

if TYPE_CHECKING:
    from filedropd.http.request import Request

#: The field with which it says that it can, and how, as other applications know it, too.
FIELD: Final = b"X-Sendfile-Type"
WAY: Final = b"X-Accel-Redirect"

# What both read alike: one range, written plainly. nginx gives up at numbers of 19 digits.
_RANGE: Final = re.compile(rb"bytes=(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})", re.ASCII)
# nginx compares them with what the file has on the disk, and answers 412.
_ITS_OWN: Final = (b"If-Match", b"If-Unmodified-Since")


def sends_alike(fields: Headers, code: int) -> bool:
    """Tell whether the server in front sends, for a request with these fields, what we would with the status ``code``."""
    if fields.getRawHeaders(FIELD) != [WAY] or any(fields.hasHeader(name) for name in _ITS_OWN):
        return False
    ranges = fields.getRawHeaders(b"Range", [])
    if code != 206:
        return not ranges
    plain = len(ranges) == 1 and _RANGE.fullmatch(ranges[0]) is not None
    return plain and len(fields.getRawHeaders(b"If-Range", [])) < 2


def redirect(request: Request, uri: str) -> None:
    """Make the head of the answer one that has the file sent which that server knows as ``uri``.

    What depends on the range is for it to say.
    """
    request.setResponseCode(200)
    for name in (b"Accept-Ranges", b"Content-Range"):
        request.responseHeaders.removeHeader(name)
    request.setHeader("Content-Length", "0")
    request.setHeader("X-Accel-Redirect", uri)


def redirected(request: Request) -> bool:
    """Tell whether the answer is one that :func:`redirect` has made: the bytes are for that server to send."""
    return bool(request.responseHeaders.hasHeader(WAY))
