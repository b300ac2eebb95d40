"""Errors become HTTP: the one table.

Everything that goes wrong for a client, wherever it is raised, is answered by :func:`refusal`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Final

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from filedropd import errors
from filedropd.http.interfaces import Refusal

#: What each kind of error is on the wire: status code, and the words under ``error``.
TABLE: Final[Mapping[type[errors.FiledropError], tuple[int, str]]] = {
    errors.MalformedRequest: (400, "Bad Request"),
    errors.BadRequest: (400, "Bad Request"),
    errors.Unauthorized: (401, "Unauthorized"),
    errors.ForeignOrigin: (403, "Forbidden"),
    errors.NotFound: (404, "Not Found"),
    errors.MethodNotAllowed: (405, "Method not Allowed"),
    errors.RequestTimeout: (408, "Request Timeout"),
    errors.Gone: (410, "Gone"),
    errors.LengthRequired: (411, "Length Required"),
    errors.PreconditionFailed: (412, "Precondition Failed"),
    errors.TooLarge: (413, "Request Entity Too Large"),
    errors.BodyTooLarge: (413, "Request Entity Too Large"),
    errors.TargetTooLong: (414, "URI Too Long"),
    errors.UnsupportedMediaType: (415, "Unsupported Media Type"),
    errors.RangeNotSatisfiable: (416, "Range Not Satisfiable"),
    errors.ExpectationFailed: (417, "Expectation Failed"),
    errors.Locked: (423, "Locked"),
    errors.TooManyRequests: (429, "Too Many Requests"),
    errors.HeadTooLarge: (431, "Request Header Fields Too Large"),
    errors.MethodNotImplemented: (501, "Not Implemented"),
    errors.Unavailable: (503, "Service Unavailable"),
    errors.VersionNotSupported: (505, "HTTP Version Not Supported"),
    errors.InsufficientStorage: (507, "Insufficient Storage"),
}

_log = Logger()


def refusal(error: Exception) -> Refusal:
    """Return the answer to ``error``.

    What is not in the table is a fault of ours: it is logged under an incident id, and the client
    is told the id and nothing else.
    """
    for kind in type(error).__mro__:
        if kind in TABLE and isinstance(error, errors.FiledropError):
            code, words = TABLE[kind]
            return _answer(code, words, error.detail, _fields(error), reason=getattr(error, "reason", None))
    incident = secrets.token_hex(4)
    _log.failure("incident {incident}", failure=Failure(error), level=LogLevel.error, incident=incident)
    detail = f"Something went wrong here. If it happens again, tell the operator: incident {incident}."
    return _answer(500, "Internal Server Error", detail, {}, incident=incident)


def _fields(error: errors.FiledropError) -> dict[str, str]:
    """Return the header fields that an error's status code asks for."""
    match error:
        case errors.Unauthorized():
            return {"WWW-Authenticate": error.challenge}
        case errors.Locked() | errors.TooManyRequests() | errors.Unavailable():
            return {"Retry-After": str(error.retry_after)}
        case errors.RangeNotSatisfiable():
            return {"Content-Range": f"bytes */{error.size}"}
        case errors.MethodNotAllowed():
            return {"Allow": ", ".join(error.allowed)}
    return {}


def _answer(code: int, words: str, detail: str, fields: Mapping[str, str], **extra: str | None) -> Refusal:
    told = {"error": words, "detail": detail} | {name: value for name, value in extra.items() if value is not None}
    body = json.dumps(told).encode("utf-8") + b"\n"
    headers = Headers()
    fields = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        **fields,
    }
    for name, value in fields.items():
        headers.setRawHeaders(name, [value])
    return Refusal(code=code, reason=words.encode("ascii"), headers=headers, body=body)
