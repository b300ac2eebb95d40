"""Digest fields (RFC 9530): what a sender says of what he sends, and what a recipient is told of what he gets.

An upload may say what it is, in ``Repr-Digest`` or ``Content-Digest``; that is held against what came.  The two are one
here, where nothing is taken in a content coding.  Of a form both are about the form, and not about the file in it: it is
the content of the message, and the representation that it carries (section 3.1 does not let it be anything else).  In
the header of a form's part they are nothing: RFC 7578 section 4.8 has all fields ignored there but its own.

``Want-Repr-Digest`` with an upload asks that the digest be known for whoever downloads it, at the price of the way past
Python.  With a download it is not looked at: what is known is told to everybody.

Algorithms other than those of :data:`filedropd.digests.ALGORITHMS` are ignored, as section 2 allows: what they say is not
held against anything.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Final, cast

import attrs
import http_sf

from filedropd.digests import SHA256, SIZES, Expected
from filedropd.errors import BadRequest
from filedropd.http.request import Request

#: What a recipient is told in.
REPR_DIGEST: Final = "Repr-Digest"

_STATED: Final = (REPR_DIGEST, "Content-Digest")
_WANTED: Final = "Want-Repr-Digest"

_MALFORMED: Final = {
    **{name: f"{name} is malformed. Send the digest in base64, between colons: {SHA256}=:…:." for name in _STATED},
    _WANTED: f"{_WANTED} is malformed. Send a number from 0 to 10 with each algorithm: {SHA256}=1.",
}


@attrs.frozen
class Asked:
    """What the head of an upload says of digests.

    :ivar expected: what has to be true of the body.
    :ivar wanted: the SHA-256 is to be known, whatever that takes.
    """

    expected: tuple[Expected, ...]
    wanted: bool


def asked(request: Request) -> Asked:
    """Return what an upload says of digests.

    :raises BadRequest: one of the fields is malformed; says which.
    """
    return Asked(
        expected=tuple(each for name in _STATED for each in _stated(request, name)),
        wanted=_preference(request) > 0,
    )


def written(sha256: bytes) -> str:
    """Return a file's digest as :data:`REPR_DIGEST` has it."""
    return f"{SHA256}=:{b64encode(sha256).decode('ascii')}:"


def _stated(request: Request, name: str) -> list[Expected]:
    """Return what a field says that can be held against what comes (RFC 9530 sections 2 and 3)."""
    stated = []
    for algorithm, value in _dictionary(request, name).items():
        if not isinstance(value, bytes) or len(value) != SIZES.get(algorithm, len(value)):
            raise BadRequest(_MALFORMED[name])
        if algorithm in SIZES:
            stated.append(Expected(name, algorithm, value))
    return stated


def _preference(request: Request) -> int:
    """Return how much SHA-256 is wanted, from 0 to 10 (RFC 9530 section 4)."""
    preferences: dict[str, int] = {}
    for algorithm, value in _dictionary(request, _WANTED).items():
        if type(value) is not int or not 0 <= value <= 10:  # to Python, true is an int, too
            raise BadRequest(_MALFORMED[_WANTED])
        preferences[algorithm] = value
    return preferences.get(SHA256, 0)


def _dictionary(request: Request, name: str) -> dict[str, object]:
    """Return the members of a field that is a dictionary (RFC 9651 section 3.2), without their parameters.

    A field that is there several times is one, and of a key that is there several times the last one counts.
    """
    lines = request.requestHeaders.getRawHeaders(name.encode("ascii"))
    if lines is None:
        return {}
    try:
        members = cast(dict[str, tuple[object, object]], http_sf.parse(b", ".join(lines), tltype="dictionary"))
    except http_sf.StructuredFieldError as error:
        raise BadRequest(_MALFORMED[name]) from error
    return {key: value[0] for key, value in members.items()}
