"""What a drop and a claim are, and what may become of them. No I/O.

A **drop** is one file that was left here, with the rules under which it may be fetched.
A **claim** is one recipient's right to one copy; it is opened, durably, before the first byte of
an answer is sent, and ended, durably, once it is known what became of those bytes.

The two tables below are the law: records (SQL) and :mod:`filedropd.drops` make no transition that
is not in them, and a test holds both to it.

Times are wall-clock seconds since the epoch, sizes and offsets are bytes.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping

import attrs


class DropState(enum.Enum):
    """Where a drop stands."""

    #: It can be claimed, as far as copies are free.
    AVAILABLE = "available"
    #: It cannot be claimed any more; its bytes are deleted or about to be.
    GONE = "gone"
    #: Its bytes are deleted; the row stays as a tombstone that tells the reason.
    PURGED = "purged"


class Reason(enum.Enum):
    """Why a drop is gone."""

    DELIVERED = "delivered"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ClaimState(enum.Enum):
    """Where a claim stands."""

    #: Its bytes are on their way, or may be.
    OPEN = "open"
    #: It ended; the recipient has part of the file. Parts that together make the file are a delivery.
    PART = "part"
    #: It ended; it counts as a delivered copy, alone or with other parts.
    DELIVERED = "delivered"
    #: It ended; what was sent may not have arrived, so the copy is free again.
    BROKEN = "broken"


#: What may become of a drop. A purged drop is forgotten (its row is deleted) after a while.
DROP_TRANSITIONS: Mapping[DropState, frozenset[DropState]] = {
    DropState.AVAILABLE: frozenset({DropState.GONE}),
    DropState.GONE: frozenset({DropState.PURGED}),
    DropState.PURGED: frozenset(),
}

#: What may become of a claim.
CLAIM_TRANSITIONS: Mapping[ClaimState, frozenset[ClaimState]] = {
    ClaimState.OPEN: frozenset({ClaimState.PART, ClaimState.DELIVERED, ClaimState.BROKEN}),
    ClaimState.PART: frozenset({ClaimState.DELIVERED}),
    ClaimState.DELIVERED: frozenset(),
    ClaimState.BROKEN: frozenset(),
}


@attrs.frozen(kw_only=True)
class Drop:
    """One file that was left here.

    :ivar key: what is stored of the link's token (32 bytes).
    :ivar owner_key: what is stored of the owner's token (32 bytes).
    :ivar blob: the name of its bytes in the blob store.
    :ivar name: the file name its sender gave, made safe to save under.
    :ivar content_type: a valid media type.
    :ivar size: in bytes.
    :ivar password: an argon2id hash in PHC form, or ``None``.
    :ivar downloads: how many complete copies may be handed out, ever.
    :ivar delivered: how many were.
    :ivar live: how many claims are open.
    :ivar expires_at: from then on nothing new starts.
    :ivar reason: why it is gone, once it is.
    :ivar gone_at: since when.
    :ivar due_at: when the reaper must look at it next.
    :ivar purge_attempts: how often deleting its bytes has failed.
    """

    key: bytes
    owner_key: bytes
    blob: str
    name: str
    content_type: str
    size: int
    password: str | None = attrs.field(default=None, repr=False)
    downloads: int = 1
    delivered: int = 0
    live: int = 0
    created_at: float
    expires_at: float
    state: DropState = DropState.AVAILABLE
    reason: Reason | None = None
    gone_at: float | None = None
    due_at: float
    purge_attempts: int = 0

    @property
    def etag(self) -> str:
        """A strong validator (RFC 9110 section 8.8.3), with its quotes: a drop's bytes never change."""
        return '"' + hashlib.sha256(self.blob.encode()).hexdigest()[:32] + '"'

    def gone(self, now: float) -> Reason | None:
        """Return why the drop cannot be fetched at ``now``, or ``None`` where it can be."""
        if self.state is not DropState.AVAILABLE:
            return self.reason
        return Reason.EXPIRED if self.expires_at <= now else None


@attrs.frozen(kw_only=True)
class Claim:
    """One recipient's right to a copy of the bytes from ``first`` to ``last``.

    :ivar id: random, unique.
    :ivar drop: the key of its drop.
    :ivar first: the first byte asked for.
    :ivar length: how many bytes were asked for, from there.
    :ivar acknowledged: how many of them, from the first, the recipient is known to have.
    """

    id: str
    drop: bytes
    first: int
    length: int
    opened_at: float
    state: ClaimState = ClaimState.OPEN
    acknowledged: int = 0
    ended_at: float | None = None


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of the bytes of one answer.

    :ivar acknowledged: bytes of the body that the recipient has for certain, from the first on.
    :ivar complete: all of them were acknowledged, and nothing says that they were thrown away.
    """

    acknowledged: int
    complete: bool


def claim_ended(claim: Claim, outcome: Outcome, size: int) -> ClaimState:
    """Return the state in which ``outcome`` leaves an open ``claim`` on a file of ``size`` bytes.

    It is a law of its own, not of parts together: see :func:`covered` for those.
    """
    if outcome.complete and claim.length == size:
        return ClaimState.DELIVERED
    if outcome.acknowledged > 0:
        return ClaimState.PART
    return ClaimState.BROKEN


def covered(parts: Iterable[Claim], size: int) -> bool:
    """Tell whether what was acknowledged of ``parts``, taken together, is the whole of ``size`` bytes."""
    end = 0
    for first, length in sorted((part.first, part.acknowledged) for part in parts):
        if first > end:
            return False
        end = max(end, first + length)
    return end >= size
