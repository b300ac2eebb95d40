"""What a whole file hashes to, as HTTP tells it: Repr-Digest (RFC 9530)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

#: Asks for SHA-256 and nothing else (RFC 9530 section 4).
WANTED: Final = "sha-256=10"

# One member of a Dictionary whose value is a Byte Sequence (RFC 8941 sections 3.2 and 3.3.5).
_SHA256: Final = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/]*={0,2}):\s*(?:;[^,]*)?(?=,|$)")


def sha256(field: str | None) -> bytes | None:
    """Return the SHA-256 that a Repr-Digest tells, 32 bytes; ``None`` where it tells none."""
    found = _SHA256.search(field or "")
    if found is None:
        return None
    try:
        digest = base64.b64decode(found[1], validate=True)
    except binascii.Error:
        return None
    return digest if len(digest) == 32 else None


def field(digest: bytes) -> str:
    """Return the Repr-Digest that tells ``digest``."""
    return f"sha-256=:{base64.b64encode(digest).decode('ascii')}:"
