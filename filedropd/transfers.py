"""The transfers that run in this daemon: how far each is, and how to end it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from filedropd.claims.asking import Progress
from filedropd.deferreds import Happening, shielded
from filedropd.errors import ClientGone
from filedropd.interfaces import FileSending, Fronted
from filedropd.model import Outcome, Transfer

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from filedropd.interfaces import Exchange, Settlement


class Sending:
    """One transfer and the answer that it fills: an :class:`~filedropd.interfaces.Exchange` that sends what is reserved.

    :param transfer: as it was begun.
    :param reserve: reserves the next stride, or all that is left, durably; returns ``None`` where the transfer must
        be aborted.
    :param blob: the name of the blob whose bytes it sends; without it, nobody else can send them.
    :param deciding_until: until then, in seconds since the epoch, what becomes of it decides what whoever asks for the
        drop is told: no copy is free, no password is asked for, and its time is not over.
    :ivar begun: the transfer, as it was begun.
    :ivar awaited: all was sent or it broke off, and what became of it is about to be known and written down.
    :ivar put_off: it is known, and cannot be written down before the records are back.
    :ivar handed_over: somebody else sends it, and will tell when he is done.
    :ivar over: it was written down.
    """

    def __init__(
        self,
        transfer: Transfer,
        exchange: Exchange,
        reserve: Callable[[bool], Coroutine[Any, Any, Transfer | None]],
        blob: str = "",
        *,
        deciding_until: float = 0.0,
    ) -> None:
        self.deciding_until = deciding_until
        self.begun = transfer
        self.id = transfer.id
        self.claim = transfer.claim
        self.blob = blob
        self.awaited = False
        self.put_off = False
        self.handed_over = False
        self.over = Happening()
        self._exchange = exchange
        self._reserve = reserve
        self._length = transfer.length
        self._reserved = transfer.reserved
        self._ahead: Deferred[Transfer | Exception | None] | None = None
        self._sent = 0
        self._begun = False
        self._wanting = False  # it waits for its next stride
        self._aborted = False
        self._when_aborted: list[Callable[[], None]] = []

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(
            acknowledged=self._exchange.acknowledged(),
            settling=self.awaited,
            wanting=self._wanting,
        )

    @property
    def given(self) -> Outcome:
        """What can be said of it when nothing is known of what became of what was sent."""
        return Outcome(acknowledged=0, sent=self._sent, begun=self._begun, complete=False)

    async def send(self, data: bytes) -> None:
        """See Exchange; what is not reserved yet is reserved first."""
        while data:
            if self._sent >= self._reserved:
                await self._reserve_more()
            piece = data[: self._reserved - self._sent]
            self._begun = True
            self._sent += len(piece)
            await self._exchange.send(piece)
            data = data[len(piece) :]

    @cached_property
    def _files(self) -> FileSending | None:
        """The exchange, if it is one that takes files: to find that out costs more than to send a little of one."""
        return self._exchange if isinstance(self._exchange, FileSending) else None

    @property
    def takes_files(self) -> bool:
        """See :class:`~filedropd.interfaces.FileSending`."""
        return self._files is not None and self._files.takes_files

    async def send_file(self, file: int, first: int, length: int) -> None:
        """See :class:`~filedropd.interfaces.FileSending`; what is not reserved yet is reserved first.

        While what is reserved is sent, the next stride is reserved, so that nobody waits for that.
        """
        exchange = self._files
        if exchange is None:
            raise TypeError("it takes no files")
        end = first + length
        while first < end:
            if self._sent >= self._reserved:
                await self._reserve_more()
            self._reserve_ahead()
            octets = min(end - first, self._reserved - self._sent)
            self._begun = True
            self._sent += octets
            await exchange.send_file(file, first, octets)
            first += octets

    async def _reserve_more(self) -> None:
        self._reserve_ahead()
        ahead, self._ahead = self._ahead, None
        self._wanting = True
        try:
            transfer = None if ahead is None else await ahead
        finally:
            self._wanting = False
        if isinstance(transfer, Exception):
            raise transfer
        if transfer is None:
            self.abort()
            raise ClientGone
        self._reserved = transfer.reserved

    def _reserve_ahead(self) -> None:
        """Begin to reserve the stride behind the one that is being sent, and no other.

        What comes of it is looked at when that is sent: nobody may ever ask.
        """
        if self._ahead is None and self._reserved < self._length:
            self._ahead = shielded(self._reserve_stride())

    async def _reserve_stride(self) -> Transfer | Exception | None:
        try:
            return await self._reserve(False)
        except Exception as error:  # noqa: BLE001 - whoever asks raises it
            return error

    async def reserve_all(self) -> bool:
        """See :class:`~filedropd.interfaces.Handing`."""
        exchange = self._exchange
        if not (self.blob and isinstance(exchange, Fronted) and exchange.fronted):
            return False
        if self._reserved < self._length:
            transfer = await self._reserve(True)
            if transfer is None:
                return False
            self._reserved = transfer.reserved
        return self._reserved == self._length

    async def hand_over(self, uri: str) -> Settlement:
        """See :class:`~filedropd.interfaces.Handing`."""
        if not isinstance(self._exchange, Fronted):
            raise TypeError("there is nobody to hand it over to")
        self.awaited = self.handed_over = self._begun = True
        self._sent = self._length
        try:
            return await self._exchange.hand_over(uri)
        except ClientGone:
            self._sent, self._begun = 0, False
            raise

    def when_aborted(self, call: Callable[[], None]) -> None:
        """See :class:`~filedropd.interfaces.Handing`."""
        self._when_aborted.append(call)

    async def settle(self) -> Settlement:
        """See Exchange."""
        self.awaited = self._begun = True
        return await self._exchange.settle()

    def acknowledged(self) -> int:
        """See Exchange."""
        return self._exchange.acknowledged()

    async def confirmed(self) -> bool:
        """See Exchange."""
        return await self._exchange.confirmed()

    def abort(self) -> None:
        """See Exchange; a second call does nothing."""
        if not self._aborted:
            self._aborted = True
            if not self.handed_over:  # the connection is not the recipient's, and may be another's by now
                self._exchange.abort()
            for call in self._when_aborted:
                call()


class Transfers:
    """All of them."""

    def __init__(self) -> None:
        self._of: dict[bytes, dict[str, Sending]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    @property
    def claims(self) -> int:
        """How many claims they belong to."""
        return len({sending.claim for of in self._of.values() for sending in of.values()})

    def ids(self) -> frozenset[str]:
        """Return the ids of those whose end is not written down."""
        return frozenset(id for transfers in self._of.values() for id in transfers)  # noqa: A001 - its name

    def add(self, key: bytes, sending: Sending) -> None:
        """Take note of a transfer of the drop stored as ``key``."""
        self._of.setdefault(key, {})[sending.id] = sending

    def remove(self, key: bytes, sending: Sending) -> None:
        """Forget a transfer whose end is written down."""
        transfers = self._of.get(key, {})
        transfers.pop(sending.id, None)
        if not transfers:
            self._of.pop(key, None)
        sending.over.happen()

    def drops(self) -> list[bytes]:
        """Return the keys of the drops of which one runs."""
        return list(self._of)

    def of(self, key: bytes) -> list[Sending]:
        """Return those of a drop, in the order in which they began."""
        return list(self._of.get(key, {}).values())

    def deciding(self, key: bytes, now: float) -> Sending | None:
        """Return the one whose end, soon to be known, decides what whoever asks for the drop now is told."""
        sendings = self._of.get(key)
        if sendings is None or len(sendings) > 1:
            return None
        (sending,) = sendings.values()
        soon = sending.awaited and not (sending.put_off or sending.handed_over)
        return sending if soon and now < sending.deciding_until else None

    def progress(self, key: bytes) -> Mapping[str, Progress]:
        """Return how far those of a drop are, by their ids."""
        return {id: sending.progress for id, sending in self._of.get(key, {}).items()}  # noqa: A001 - its name

    def abort(self, key: bytes) -> None:
        """Break off all those of a drop."""
        for sending in self.of(key):
            sending.abort()
