"""What a drop, a claim and a transfer are, and what may become of them. No I/O.

A **drop** is one file that was left here, with the rules under which it may be fetched.
A **claim** is one recipient's right to one complete copy; it is opened, durably, before the first
byte of an answer is sent, and outlives the connections on which its bytes go.
A **transfer** is one answer's body sent under a claim: one range of the file's bytes.

The two tables below are the law: what is in neither happens nowhere.  :mod:`filedropd.claims` decides
who moves when, the records keep it, and a test holds the SQL and ``docs/lifecycle.md`` to the tables.

Times are wall-clock seconds since the epoch, sizes and offsets are bytes.  An empty file has one byte
to hand over, its head, so that it, too, can be handed out, confirmed and covered: see
:attr:`Drop.extent`.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping

import attrs

from filedropd import spans
from filedropd.spans import Spans
from filedropd.values import evolve


class DropState(enum.Enum):
    """Where a drop stands."""

    #: It can be claimed, as far as copies are free.
    AVAILABLE = "available"
    #: Nobody can claim it any more; those who have claimed it may still come to their end.
    GONE = "gone"
    #: Its bytes are deleted; the row stays as a tombstone that tells the reason.
    PURGED = "purged"


class Reason(enum.Enum):
    """Why a drop is gone."""

    DELIVERED = "delivered"
    EXPIRED = "expired"
    REVOKED = "revoked"
    #: It was begun, and given up more than half-way, as often as it may be.
    ABANDONED = "abandoned"


class ClaimState(enum.Enum):
    """Where a claim stands."""

    #: A transfer of its runs.
    OPEN = "open"
    #: What it handed out covers the file and a transfer settled; the others that run are awaited, and nothing new starts.
    COVERED = "covered"
    #: No transfer of its runs; until its window is over the copy waits for its recipient.
    SUSPENDED = "suspended"
    #: It counts as a delivered copy; until its window is over its own recipient, and nobody else, can have the bytes again.
    PRESUMED = "presumed"
    #: It is a delivered copy.
    DELIVERED = "delivered"
    #: Its window ended with a hole in what was handed out: the copy is free again.
    LAPSED = "lapsed"

    @property
    def live(self) -> bool:
        """Whether it holds a copy that is not delivered."""
        return self in {ClaimState.OPEN, ClaimState.COVERED, ClaimState.SUSPENDED}

    @property
    def counts(self) -> bool:
        """Whether it is a delivered copy."""
        return self in {ClaimState.PRESUMED, ClaimState.DELIVERED}


#: What may become of a drop. A purged drop is forgotten (its row is deleted) after a while.
DROP_TRANSITIONS: Mapping[DropState, frozenset[DropState]] = {
    DropState.AVAILABLE: frozenset({DropState.GONE}),
    DropState.GONE: frozenset({DropState.PURGED}),
    DropState.PURGED: frozenset(),
}

#: What may become of a claim. One that has handed out nothing is released: its row is deleted.
CLAIM_TRANSITIONS: Mapping[ClaimState, frozenset[ClaimState]] = {
    ClaimState.OPEN: frozenset({ClaimState.COVERED, ClaimState.SUSPENDED, ClaimState.PRESUMED, ClaimState.DELIVERED}),
    ClaimState.COVERED: frozenset({ClaimState.PRESUMED, ClaimState.DELIVERED}),
    ClaimState.SUSPENDED: frozenset({ClaimState.OPEN, ClaimState.LAPSED, ClaimState.DELIVERED}),
    ClaimState.PRESUMED: frozenset({ClaimState.DELIVERED}),
    ClaimState.DELIVERED: frozenset(),
    ClaimState.LAPSED: frozenset({ClaimState.OPEN}),
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
    :ivar sha256: of its bytes (32 bytes), or ``None`` where that is not known.
    :ivar password: an argon2id hash in PHC form, or ``None``.
    :ivar downloads: how many complete copies may be handed out, ever.
    :ivar delivered: how many were.
    :ivar live: how many claims hold a copy that is not delivered.
    :ivar presumed: how many claims are presumed: delivered, and kept for their own recipients.
    :ivar opened: how many claims were ever opened.
    :ivar touches: how many events were noted.
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
    sha256: bytes | None = None
    password: str | None = attrs.field(default=None, repr=False)
    downloads: int = 1
    delivered: int = 0
    live: int = 0
    presumed: int = 0
    opened: int = 0
    touches: int = 0
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

    @property
    def extent(self) -> int:
        """Bytes to hand over: its size, and one for the head of an empty file."""
        return max(self.size, 1)

    @property
    def whole(self) -> Spans:
        """All of them."""
        return spans.of(0, self.extent)

    @property
    def free(self) -> int:
        """Copies that nobody has and nobody is getting."""
        return self.downloads - self.delivered - self.live

    @property
    def held(self) -> bool:
        """Whether there is somebody who may still come back for bytes that he has claimed."""
        return self.live + self.presumed > 0

    @property
    def finished(self) -> bool:
        """Whether it is gone for everybody: its bytes can be deleted."""
        gone = self.state is not DropState.AVAILABLE
        return gone and (self.reason is Reason.REVOKED or not self.held)

    def gone(self, now: float) -> Reason | None:
        """Return why the drop cannot be claimed at ``now``, or ``None`` where it can be."""
        if self.state is not DropState.AVAILABLE:
            return self.reason
        return Reason.EXPIRED if self.expires_at <= now else None


@attrs.frozen(kw_only=True)
class Claim:
    """One recipient's right to one complete copy.

    :ivar id: random, unique; together with the link it makes the claim's token, so it is shown to nobody.
    :ivar drop: the key of its drop.
    :ivar number: it was the drop's so-manieth to be opened, from 1.
    :ivar copy: which of the drop's copies it holds or held, from 0.
    :ivar recipient: what is stored of the address and the program that opened it; ``None`` where they say nothing.
    :ivar sent: what its transfers that have ended handed out: first the bytes that may have left once or
        more often, then those twice or more often, and so on.
    :ivar confirmed: what its recipient's machine has.
    :ivar until: when its window ends.
    :ivar lapses: 1 while it has lapsed after more than half of the file, which counts as an attempt of its copy.
    """

    id: str
    drop: bytes
    number: int
    copy: int = 0
    recipient: bytes | None = None
    opened_at: float
    state: ClaimState = ClaimState.OPEN
    sent: tuple[Spans, ...] = ()
    confirmed: Spans = spans.NONE
    until: float
    lapses: int = 0
    ended_at: float | None = None

    @property
    def handed(self) -> Spans:
        """The bytes that may have left this machine in transfers that have ended."""
        return self.sent[0] if self.sent else spans.NONE


@attrs.frozen(kw_only=True)
class Transfer:
    """One answer's body under a claim.

    :ivar id: random, unique.
    :ivar claim: the id of its claim.
    :ivar daemon: the name of the daemon that runs it.
    :ivar first: the first byte asked for.
    :ivar length: how many bytes were asked for, from there.
    :ivar reserved: how many of them may be sent by now; durable before they are.
    :ivar acknowledged: how many of them, from the first, the recipient's machine has acknowledged.
    :ivar settling: all was sent, and what became of it is awaited. Known here alone, and not kept.
    :ivar wanted: bytes behind those reserved that it is about to send, once they are. Likewise.
    :ivar settled: it settled by quiet alone, and its connection still stands.
    """

    id: str
    claim: str
    daemon: str = ""
    first: int
    length: int
    reserved: int
    acknowledged: int = 0
    settling: bool = False
    wanted: int = 0
    settled: bool = False

    @property
    def as_kept(self) -> Transfer:
        """It without what is known here alone."""
        return evolve(self, settling=False, wanted=0) if self.settling or self.wanted else self

    @property
    def asked(self) -> Spans:
        """All that it is to send."""
        return spans.of(self.first, self.first + self.length)

    @property
    def handed(self) -> Spans:
        """What may have left this machine by now."""
        return spans.of(self.first, self.first + self.reserved)

    @property
    def in_flight(self) -> Spans:
        """Rule F: what was or may be written, and is not seen to have arrived; and what comes next, where it waits for that."""
        if self.settled:
            return spans.NONE
        # What settles is not certain before it has.
        if self.settling:
            return self.asked
        return spans.of(self.first + self.acknowledged, self.first + self.reserved + self.wanted)

    @property
    def unacknowledged(self) -> Spans:
        """What was or may be written and is not acknowledged, whether or not it settles."""
        return spans.of(self.first + self.acknowledged, self.first + self.reserved)


class Touch(enum.Enum):
    """What can happen to a drop, as its owner is told."""

    OPENED = "opened"  # somebody looked at its page
    PREVIEWED = "previewed"  # a program that makes previews, or scans, looked at its page
    CLAIMED = "claimed"
    RESUMED = "resumed"
    RECEIVED = "received"  # a part arrived
    BROKEN = "broken"
    DELIVERED = "delivered"
    LAPSED = "lapsed"
    EXPIRED = "expired"
    REVOKED = "revoked"
    ABANDONED = "abandoned"


@attrs.frozen(kw_only=True)
class Event:
    """One touch.

    :ivar number: it is the drop's so-manieth, from 1.
    :ivar claim: the number of the claim that it is about.
    :ivar offset: the byte at which it happened.
    :ivar who: the name of a program that makes previews.
    """

    drop: bytes
    number: int
    at: float
    touch: Touch
    claim: int | None = None
    offset: int | None = None
    who: str | None = None


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of the bytes of one answer.

    :ivar acknowledged: bytes of the body that the recipient has for certain, from the first on.
    :ivar sent: bytes of the body that may have left this machine, from the first on.
    :ivar begun: some byte of the answer may have left, be it of its head.
    :ivar complete: all of them were acknowledged, and nothing says that they were thrown away.
    :ivar quiet: the only sign for that is a second without another sign.
    """

    acknowledged: int
    sent: int
    begun: bool = True
    complete: bool
    quiet: bool = False


#: The outcome of an answer that was never begun.
NOTHING_SENT = Outcome(acknowledged=0, sent=0, begun=False, complete=False)
