"""The ports: what the drops need from the world, and what each must promise.

Every implementation of a port passes the one suite in ``tests/contracts`` that is named after it.
All methods are coroutines unless they say otherwise; none blocks the reactor.  The caller shields
what must not be cancelled; an implementation need not.
"""

# zope.interface methods take no self.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Container, Sequence
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

import attrs
from zope.interface import Attribute, Interface

from filedropd.claims.ledger import Ledger
from filedropd.model import Drop, Event, Outcome

T = TypeVar("T")

#: From what there is, to what there is to be, and a result. Pure.
Rule: TypeAlias = Callable[[Ledger], tuple[Ledger, T]]


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

    async def page(after: bytes, limit: int) -> list[Drop]:
        """Return up to ``limit`` drops whose keys come after ``after``, in the order of their keys; all begin at ``b""``."""

    async def has_blob(blob: str) -> bool:
        """Tell whether a drop that is not purged has its bytes in ``blob``."""

    async def ledger(key: bytes) -> Ledger | None:
        """Return the drop with its claims and transfers, as of one moment; without events."""

    async def events(key: bytes) -> list[Event]:
        """Return what was noted of the drop, in order."""

    async def change(key: bytes, rule: Rule[T]) -> T | None:
        """Do with a drop, its claims and its transfers what ``rule`` says, and keep what came of it.

        Of any number of callers, in any number of processes, each sees what the one before him left:
        what is written is written on condition that nothing was changed since it was read.  ``rule`` is
        called with what there is, and returns what there is to be and this call's result; it may be called
        again, and on any thread, so it does nothing else.  Where it returns what it was given, nothing is
        written.

        :returns: the rule's result; ``None`` where there is no such drop.
        :raises Exception: what ``rule`` raises; nothing was changed.
        """

    async def change_all(keys: Sequence[bytes], rule: Rule[T]) -> list[T | None]:
        """Do what :meth:`change` does with each of these drops, in one transaction, and return the results in order."""

    async def restore(ledger: Ledger, events: Sequence[Event]) -> None:
        """Add a drop that other records had, with its claims, its transfers and what was noted of it, in one transaction."""

    async def interrupted(alive: Container[str] = ()) -> list[bytes]:
        """Return the keys of the drops with transfers of daemons that are not ``alive``."""

    async def lease(daemon: str, until: float) -> None:
        """Note that the daemon of that name lives, until then at least."""

    async def release(daemon: str) -> None:
        """Note that it has stopped, as if it had never been. Does nothing to one that is not known."""

    async def alive(now: float) -> frozenset[str]:
        """Return the names of the daemons whose lease goes beyond ``now``.

        Where only one can have the records open, opening them ends all leases.
        """

    async def take_due(now: float, limit: int, until: float) -> list[Drop]:
        """Return up to ``limit`` drops whose ``due_at`` has come, the most overdue ones, and make them due at ``until``.

        So nobody else is given them before, unless whoever has them says otherwise; and nothing is lost where he
        is killed.  Of any number of callers, in any number of processes, no two are given the same.
        """

    async def next_due() -> float | None:
        """Return the earliest ``due_at``, or ``None`` where there are no drops."""

    async def purged(key: bytes, forget_at: float) -> None:
        """Note that a gone drop's bytes are deleted; it is due again at ``forget_at``. Any other stays as it is.

        Who its recipients were is erased.
        """

    async def purge_failed(key: bytes, retry_at: float) -> None:
        """Note that deleting a gone drop's bytes failed; it is due again at ``retry_at``. Any other stays as it is."""

    async def forget(key: bytes) -> None:
        """Delete a purged drop and what hangs on it. Any other stays."""

    async def notify(words: Sequence[str]) -> None:
        """Tell ``words`` to all daemons that listen on these records, this one included.

        Whoever does not listen at that moment is not told later.
        """

    async def listen(heard: Callable[[str], None], missed: Callable[[], None]) -> None:
        """Let ``heard`` be called with each word of :meth:`notify`, until the records are closed.

        Where only one daemon can have the records open, there is nobody to be told by.

        :param missed: called when words may have been lost: whoever needs to know must look.
        """


class IIncomingBlob(Interface):
    """The bytes of an upload, on their way in. Ends by ``publish`` or ``discard``, whatever happens."""

    blob: str = Attribute("Its name.")
    size: int = Attribute("Bytes written so far.")

    async def write(data: bytes) -> None:
        """Append ``data``.

        :raises InsufficientStorage: there is no room; discard it.
        """

    async def splice(pipe: int, size: int) -> None:
        """Append ``size`` bytes that are in ``pipe``, the descriptor of its read end, without a copy where that can be.

        The descriptor may be closed as soon as this has returned or raised, also by a caller who was
        cancelled; then, or after an error, nobody knows what is left in the pipe.

        :raises InsufficientStorage: there is no room; discard it.
        :raises FiledropError: it failed in another way, as when there is less in the pipe; discard it.
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
    descriptor: int | None = Attribute(
        "An open descriptor of a file that is these bytes, for the kernel to read from; ``None`` where there is none."
    )

    async def ready(first: int, length: int) -> None:
        """Return when ``length`` bytes from ``first`` can be had from the descriptor without waiting for a disk.

        At once where they can, or where there is no descriptor.  They are not kept for ever: ask shortly before.

        :raises OSError: they cannot be read, or end too early.
        """

    def read(first: int, length: int) -> AsyncGenerator[bytes, None]:
        """Iterate over ``length`` bytes from ``first`` in pieces of at most 256 KiB.

        What is held in memory at once is bounded, whatever ``length`` is.

        :raises OSError: the bytes cannot be read, or end too early.
        """

    def close() -> None:
        """Give back what is held. A second call does nothing."""


@attrs.frozen
class Unfinished:
    """What daemons that do not run any more left half-way in.

    :ivar blobs: the names of the blobs, in order.
    :ivar daemons: the names of those daemons, as far as they are known; of some nothing was left.
    """

    blobs: tuple[str, ...] = ()
    daemons: frozenset[str] = frozenset()


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

    async def receive_whole(data: bytes) -> IIncomingBlob:
        """Take a new blob of which all bytes are there: what ``receive``, ``write`` and ``seal`` do, in one.

        Nothing is left behind when it fails.

        :returns: the blob, sealed.
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

    async def unfinished() -> Unfinished:
        """Return what daemons which do not run any more left half-way in, and those daemons' names."""

    async def finish(blob: str) -> None:
        """Publish an unfinished blob, whose row is there. To finish what is published is success.

        :raises OSError: it cannot be; :class:`FileNotFoundError` where it is neither here nor there.
        """

    async def abandon(blob: str) -> None:
        """Delete an unfinished blob, whose row is not there.

        :raises OSError: it is still there.
        """


@attrs.frozen
class Held:
    """What a cache holds under a key, and for how many seconds more it will."""

    value: bytes
    left: float


class ICache(Interface):
    """What may be lost at any moment, and is never needed for a right answer.

    Nothing here raises, and nothing takes long: what cannot be had now is as if it were lost.
    What is set under a key and what is counted under it are not to be mixed.
    """

    async def open() -> None:
        """Begin to use what is behind it, if it is there: it need not be. Returns within a second or two."""

    async def close() -> None:
        """Give back what is held. A second call does nothing. What is asked for afterwards is lost."""

    async def get(key: bytes) -> bytes | None:
        """Return what was last set under ``key``, unless it is lost or over its time."""

    async def held(key: bytes) -> Held | None:
        """Return what ``get`` does, and how much of its time is left."""

    async def set(key: bytes, value: bytes, ttl: float) -> None:
        """Keep ``value`` for at most ``ttl`` seconds."""

    async def add(key: bytes, amount: int, ttl: float) -> int | None:
        """Count ``amount`` more under ``key``.

        The first addition sets the time to live, and no later one moves it: when it is over, counting
        begins anew.  Of any number of callers each is told another count.

        :returns: the count by now; ``None`` where nothing can be counted: whether it was is not known.
        """

    async def forget(key: bytes) -> None:
        """Keep nothing under ``key``, a count neither. What is away now may come back with it."""


class Settlement(Protocol):
    """What is known of an answer's bytes once nothing more will be learnt."""

    @property
    def acknowledged(self) -> int:
        """Bytes of the body that the recipient's machine has acknowledged and is not known to have dropped."""

    @property
    def sent(self) -> int:
        """Bytes of the body that may have left this machine."""

    @property
    def begun(self) -> bool:
        """Whether any byte of the answer, its head included, may have left this machine."""

    @property
    def complete(self) -> bool:
        """All of the body was acknowledged, and then the recipient closed, asked again or was quiet."""

    @property
    def quiet(self) -> bool:
        """He was quiet, and no more is known: see :meth:`Exchange.confirmed`."""


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

    def acknowledged(self) -> int:
        """Return how many bytes of the body the recipient's machine has acknowledged by now."""

    async def confirmed(self) -> bool:
        """Wait, after a settlement by quiet alone, for the end of the connection or its next request.

        :returns: it came in order, or not within a minute; false: by a reset, which throws unread bytes away.
        """

    def abort(self) -> None:
        """Break the connection off, so that nobody takes what was sent for the whole."""


@runtime_checkable
class FileSending(Exchange, Protocol):
    """An exchange for which the kernel may be able to send a file by itself."""

    @property
    def takes_files(self) -> bool:
        """Whether it can, and is to. The answer's head is ready."""

    async def send_file(self, file: int, first: int, length: int) -> None:
        """Send a piece of the body: ``length`` bytes of ``file``, a descriptor, from ``first`` on.

        Returns when the next one is wanted; from then on, raised or cancelled, the descriptor is not used any more.

        :raises ClientGone: the connection is lost.
        :raises OSError: the file cannot be read, or ends too early.
        """


@runtime_checkable
class Fronted(Exchange, Protocol):
    """An exchange with a client of a server in front of us, which may be able to send a file by itself."""

    @property
    def fronted(self) -> bool:
        """Whether that server sends, of a file that it is told, the bytes that were asked for, and no others."""

    async def hand_over(self, uri: str) -> Settlement:
        """Answer that it is to send what it knows as ``uri``: the head is sent without a body, and that is all.

        :returns: what became of this answer, once that is known: ``begun``, it may have reached that server;
            ``complete``, it has.
        :raises ClientGone: nothing was sent.
        """


@runtime_checkable
class Handing(Exchange, Protocol):
    """An exchange whose bytes somebody else can send; :class:`filedropd.transfers.Sending` is one."""

    @property
    def id(self) -> str:
        """The transfer's."""

    @property
    def blob(self) -> str:
        """The name of the blob whose bytes are sent."""

    async def reserve_all(self) -> bool:
        """Reserve all that was asked for, so that somebody else can send it.

        :returns: false: nobody else can (see :class:`Fronted`), or another transfer has a part of it under way.
        """

    async def hand_over(self, uri: str) -> Settlement:
        """See :class:`Fronted`. From here on all that was asked for counts as sent, unless ``ClientGone`` is raised."""

    def when_aborted(self, call: Callable[[], None]) -> None:
        """Call ``call`` when it is aborted; what somebody else sends goes on nevertheless."""


class StillSending(Exception):
    """The daemon stops, and somebody else goes on sending: what becomes of it is learnt after the next start."""


class IDelivery(Interface):
    """A way of handing bytes over."""

    async def deliver(blob: IBlob, first: int, length: int, exchange: Exchange) -> Outcome:
        """Hand ``length`` bytes from ``first`` to the recipient.  The answer's head is ready.

        The blob stays its caller's, who closes it.  Ends when it is known what became of them; it does not raise for a recipient that leaves.

        :raises OSError: the bytes cannot be read; the connection must be aborted.
        :raises StillSending: the daemon stops before it is known; the transfer is to be left as it is in the records.
        """


class StoreUnusable(Exception):
    """A store cannot be used by this daemon. The text says which, why, and what to do."""


class SchemaTooNew(StoreUnusable):
    """The database was written by a later version of filedropd."""
