"""The secrets in URLs.

A :class:`Token` is 128 random bits, written as 32 lower-case hex digits.  Whoever knows it may act
on it, so it never reaches a log or the disk: at rest we keep its :attr:`~Token.key`, the SHA-256
of its digits.  A plain hash is enough for a secret of full entropy; nothing that can be guessed
in 2^64 tries is protected by it, and nothing else is stored with it.

Blobs and daemons have random names of the same form (:func:`random_name`), which are no secrets
and lead nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable

import attrs

#: Bytes of randomness in a token.
TOKEN_BYTES = 16

_GRAMMAR = re.compile(r"[0-9a-f]{32}", re.ASCII)

#: A source of ``n`` random bytes; :func:`secrets.token_bytes` but in tests.
Randomness = Callable[[int], bytes]


@attrs.frozen(repr=False)
class Token:
    """A secret that stands in a URL or a header. Its ``repr`` and ``str`` do not show it."""

    text: str

    @classmethod
    def mint(cls, randomness: Randomness = secrets.token_bytes) -> Token:
        """Return a new token of 128 bits from ``randomness``."""
        return cls(randomness(TOKEN_BYTES).hex())

    @classmethod
    def parse(cls, text: str) -> Token | None:
        """Return the token that ``text`` is, or ``None`` where it does not have a token's form."""
        return cls(text) if _GRAMMAR.fullmatch(text) else None

    @property
    def key(self) -> bytes:
        """What is stored in the token's place: 32 bytes, SHA-256 of its digits."""
        return hashlib.sha256(self.text.encode("ascii")).digest()

    def matches(self, key: bytes) -> bool:
        """Tell whether this token is the one stored as ``key``, in time that does not depend on it."""
        return hmac.compare_digest(self.key, key)

    def same(self, other: Token) -> bool:
        """Tell whether the two are one, in time that does not depend on it."""
        return hmac.compare_digest(self.text, other.text)

    def __repr__(self) -> str:
        return f"<Token {short(self.key)}>"

    __str__ = __repr__


def claim_token(link: Token, claim: str) -> Token:
    """Return the token of the claim whose id is ``claim`` on the drop behind ``link``.

    It is made of both, and stored nowhere: who has the records lacks the link, and who has the link lacks
    the id.
    """
    return Token(_derived(link, "claim", claim).hex()[: 2 * TOKEN_BYTES])


def recipient_key(link: Token, source: str) -> bytes:
    """Return what is stored of ``source``, which says who asks for ``link`` without a token.

    Without the link nobody can find out the source by trying.
    """
    return _derived(link, "recipient", source)


def _derived(link: Token, use: str, text: str) -> bytes:
    return hmac.digest(link.text.encode("ascii"), f"{use}\n{text}".encode("utf-8", "surrogateescape"), "sha256")


def short(key: bytes) -> str:
    """Return the name under which logs speak of the thing stored as ``key``: 8 hex digits, no secret."""
    return key[:4].hex()


def random_name(randomness: Randomness = secrets.token_bytes) -> str:
    """Return a random name of 32 hex digits for something that is no secret."""
    return randomness(TOKEN_BYTES).hex()
