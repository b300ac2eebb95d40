"""The ports: what the drops need from the world, and what each must promise.

Every implementation of a port passes the one suite in ``tests/contracts`` that is named after it.
All methods are coroutines unless they say otherwise; none blocks the reactor.  The caller shields
what must not be cancelled; an implementation need not.
"""

# zope.interface methods take no self.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from zope.interface import Attribute, Interface

from filedropd.model import Claim, Drop, Outcome, Reason


class IRecords(Interface):
    """Drops and claims, durably: when a coroutine that changes something returns, it is committed.

    Errors of the store itself come out as :class:`filedropd.errors.Unavailable` (it is away),
    :class:`filedropd.errors.InsufficientStorage` (it is full), or as they are where they are bugs.
    """

    async def open() -> None:
        """Connect and bring the schema up to date.

        :raises StoreUnusable: it cannot be used: it is away, somebody else's or not ours, or, as
            :class:`SchemaTooNew`, written by a later version. It is left as it is.
        """

    async def close() -> None:
        """Let what is under way end, then give back what is held. A second call does nothing."""

    async def ping() -> None:
        """Return if the store answers and can be written to.

        :raises Unavailable: it does not.
        :raises InsufficientStorage: there is no room in it.
        """

    async def insert(drop: Drop) -> None:
        """Add a new drop."""

    async def find(key: bytes) -> Drop | None:
        """Return the drop whose link is stored as ``key``, tombstones included."""

    async def has_blob(blob: str) -> bool:
        """Tell whether a drop that is not purged has its bytes in ``blob``."""

    async def claims(key: bytes) -> list[Claim]:
        """Return the drop's claims in the order in which they were opened."""

    async def open_claim(claim: Claim, now: float) -> Drop | None:
        """Open ``claim`` if its drop is available at ``now`` and a copy is free.

        One conditional statement decides: of any number of callers, in any number of processes, as
        many succeed as there are free copies (``downloads - delivered - live``).

        :returns: the drop with this claim counted as live; ``None`` where nothing was changed.
        """

    async def end_claim(id: str, outcome: Outcome, now: float) -> Drop | None:
        """End an open claim as :func:`filedropd.model.claim_ended` says, and free what it held.

        If that makes a delivery (alone, or because the drop's parts now cover the file:
        :func:`filedropd.model.covered`; those parts become delivered with it), the drop's
        ``delivered`` grows by one.  If that was the last copy, and the drop is available, it is
        gone with the reason *delivered* and is due at ``now``.

        :returns: the drop as it is now; ``None`` where the claim is not open or not there.
        """

    async def release_claim(id: str) -> None:
        """Take back an open claim of which no byte was sent, as if it had never been opened.

        Does nothing to one that is not open.
        """

    async def end(key: bytes, reason: Reason, now: float) -> Drop | None:
        """Make an available drop gone, and due at ``now``.

        :returns: the drop as it is now; ``None`` where it was not available: nothing was changed.
        """

    async def close_open_claims(now: float) -> int:
        """End every open claim as if all that it asked for had arrived: after a crash nobody knows.

        Called once before the daemon serves.  A drop without a copy left becomes gone, as in
        ``end_claim``.

        :returns: how many there were.
        """

    async def due(now: float, limit: int) -> list[Drop]:
        """Return up to ``limit`` drops whose ``due_at`` has come, the most overdue first."""

    async def next_due() -> float | None:
        """Return the earliest ``due_at``, or ``None`` where there are no drops."""

    async def purged(key: bytes, forget_at: float) -> None:
        """Note that a gone drop's bytes are deleted; it is due again at ``forget_at``. Any other stays as it is."""

    async def purge_failed(key: bytes, retry_at: float) -> None:
        """Note that deleting a gone drop's bytes failed; it is due again at ``retry_at``. Any other stays as it is."""

    async def forget(key: bytes) -> None:
        """Delete a purged drop and its claims. Any other stays."""


class IIncomingBlob(Interface):
    """The bytes of an upload, on their way in. Ends by ``publish`` or ``discard``, whatever happens."""

    blob: str = Attribute("Its name.")
    size: int = Attribute("Bytes written so far.")

    async def write(data: bytes) -> None:
        """Append ``data``.

        :raises InsufficientStorage: there is no room; discard it.
        """

    async def seal() -> None:
        """Make what was written durable. Nothing is written after.

        :raises InsufficientStorage: there was no room after all; discard it.
        """

    async def publish() -> None:
        """Make a sealed blob one that ``IBlobs.open`` finds. Call it after its row is committed.

        :raises InsufficientStorage: there was no room; it may be tried again.
        :raises Unavailable: the store is closed, or fails in another way; it may be tried again.
        """

    async def discard() -> None:
        """Leave nothing behind. Does nothing after ``publish`` or a first ``discard``.

        Not to be called while ``publish`` runs.

        :raises Unavailable: the store fails; recovery deletes what is left.
        """


class IBlob(Interface):
    """Stored bytes, open for reading. They stay readable until closed, even when deleted meanwhile."""

    size: int = Attribute("In bytes.")

    def read(first: int, length: int) -> AsyncGenerator[bytes, None]:
        """Iterate over ``length`` bytes from ``first`` in pieces of at most 256 KiB.

        What is held in memory at once is bounded, whatever ``length`` is.

        :raises OSError: the bytes cannot be read, or end too early.
        """

    def close() -> None:
        """Give back what is held. A second call does nothing."""


class IBlobs(Interface):
    """The bytes."""

    async def open_store() -> None:
        """Prepare the store for use by this daemon.

        :raises StoreUnusable: it cannot be used; says why.
        """

    async def close_store() -> None:
        """Give back what is held. A second call does nothing."""

    async def ping() -> None:
        """Return if bytes can be written.

        :raises InsufficientStorage: there is no room.
        :raises Unavailable: they cannot, for another reason.
        """

    async def receive() -> IIncomingBlob:
        """Begin a new blob under a random name.

        :raises InsufficientStorage: there is no room.
        :raises Unavailable: the store is closed, or fails in another way.
        """

    async def open(blob: str) -> IBlob:
        """Open a published blob.

        :raises FileNotFoundError: there is none of that name.
        :raises Unavailable: the store is closed, or fails in another way.
        """

    async def delete(blob: str) -> None:
        """Delete a blob. To delete what is absent is success.

        :raises OSError: it is still there.
        """

    async def unfinished() -> list[str]:
        """Return the names of the blobs that daemons which do not run any more left half-way in."""

    async def finish(blob: str) -> None:
        """Publish an unfinished blob, whose row is there. To finish what is published is success.

        :raises OSError: it cannot be; :class:`FileNotFoundError` where it is neither here nor there.
        """

    async def abandon(blob: str) -> None:
        """Delete an unfinished blob, whose row is not there.

        :raises OSError: it is still there.
        """


class ICache(Interface):
    """What may be lost at any moment, and is never needed for a right answer. Never raises."""

    async def get(key: bytes) -> bytes | None:
        """Return what was last set under ``key``, unless it is lost or over its time."""

    async def set(key: bytes, value: bytes, ttl: float) -> None:
        """Keep ``value`` for at most ``ttl`` seconds."""


class Settlement(Protocol):
    """What is known of an answer's bytes once nothing more will be learnt."""

    @property
    def acknowledged(self) -> int:
        """Bytes of the body that the recipient's machine has acknowledged and is not known to have dropped."""

    @property
    def complete(self) -> bool:
        """All of the body was acknowledged, and then the recipient closed, asked again or was quiet."""


class Exchange(Protocol):
    """What a delivery needs of the answer that it fills; :class:`filedropd.http.request.Request` is one."""

    async def send(self, data: bytes) -> None:
        """Send a piece of the body; returns when the next one is wanted.

        :raises ClientGone: the connection is lost.
        """

    async def settle(self) -> Settlement:
        """Wait until it is known what became of what was sent, broken off or not, and return it.

        It never raises for a client that left: that is one of the outcomes.
        """

    def abort(self) -> None:
        """Break the connection off, so that nobody takes what was sent for the whole."""


class IDelivery(Interface):
    """A way of handing bytes over."""

    async def deliver(blob: IBlob, first: int, length: int, exchange: Exchange) -> Outcome:
        """Hand ``length`` bytes from ``first`` to the recipient.  The answer's head is ready.

        The blob stays its caller's, who closes it.  Ends when it is known what became of them; it does not raise for a recipient that leaves.

        :raises OSError: the bytes cannot be read; the connection must be aborted.
        """


class StoreUnusable(Exception):
    """A store cannot be used by this daemon. The text says which, why, and what to do."""


class SchemaTooNew(StoreUnusable):
    """The database was written by a later version of filedropd."""
