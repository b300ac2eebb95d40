"""How answers with a body are written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final

from filedropd.http.request import Request

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
SVG: Final = "image/svg+xml"


def answer(request: Request, code: int, content_type: str, body: bytes) -> None:
    """Answer with ``body``."""
    request.setResponseCode(code)
    request.setHeader("Content-Type", content_type)
    request.setHeader("Content-Length", str(len(body)))
    request.setHeader("Cache-Control", "no-store")
    request.setHeader("X-Content-Type-Options", "nosniff")
    request.write(body)
    request.finish()


def as_json(told: dict[str, object]) -> bytes:
    """Return ``told`` as JSON, on one line."""
    return json.dumps(told).encode("utf-8") + b"\n"


def moment(seconds: float | None) -> str | None:
    """Return a time as RFC 3339 has it."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def hexadecimal(digest: bytes | None) -> str | None:
    """Return a digest as programs print it that work one out."""
    return None if digest is None else digest.hex()
