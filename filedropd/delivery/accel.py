"""nginx sends the bytes: the daemon answers with the name of the file, and learns from nginx's log how it went.

The answer is ``X-Accel-Redirect: /_blobs/<ab>/<blob>?claim=<transfer>``, without a body.  nginx cuts the
range of the request out of the file, sends it, and writes a line with the transfer's id.  All that was
asked for is handed out, durably, before the answer; the line says what of it may have left.  ``OK``
confirms it, anything else does not, and without a line nothing is known and nothing set back.

How long a line is waited for.  nginx writes it when it has handed the last byte to the kernel, or has
given the client up, which it does after ``send_timeout`` (60 s) without progress: a download of any
length may be under way for as long as its client takes a little each minute, and nothing tells the
daemon so.  Two minutes, and a second more for each KiB, is longer than any download that is faster
than 1 KiB/s, which is where the daemon gives up an upload, too.  To wait for long harms nobody: others cannot
have these bytes anyway, all of which may have left, and the recipient ends the waiting by showing his
token.  To stop too early would harm him alone, whose window would run while he is still being sent to.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from filedropd.claims.ending import end
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import Policy
from filedropd.deferreds import Happening, background
from filedropd.delivery.nginx_log import NginxLog
from filedropd.delivery.nginx_trail import Line
from filedropd.errors import ClientGone
from filedropd.interfaces import Handing, IDelivery, StillSending, StoreUnusable
from filedropd.model import NOTHING_SENT, Outcome

if TYPE_CHECKING:
    from filedropd.interfaces import Exchange, IBlob, IRecords
    from filedropd.ledgers import Ledgers

#: nginx's internal location.
PREFIX: Final = "/_blobs/"
#: Seconds for which a line is waited for, whatever the length.
PATIENCE: Final = 120.0
#: Bytes a second: at most so slow is a download that is waited for.
SLOWEST: Final = 1024
#: Seconds for which a line is waited for when nginx broke off before it had read the answer, as far as can be seen.
UNTAKEN: Final = 5.0
_BATCH: Final = 100

_SENDS: Final = frozenset({200, 206})


def outcome(line: Line, first: int, length: int, size: int) -> Outcome:
    """Return what a line says of the transfer of ``length`` bytes from ``first``, of a file of ``size``."""
    if line.status not in _SENDS:  # a refusal of nginx's own: nothing of the file was sent
        return NOTHING_SENT
    if not _asked_for(line, first, length, size):
        return _unknown(length)
    if line.complete and line.sent >= length:
        return Outcome(acknowledged=length, sent=length, complete=True)
    return Outcome(acknowledged=0, sent=min(line.sent, length), complete=False)


def _asked_for(line: Line, first: int, length: int, size: int) -> bool:
    """Tell whether nginx sent, or began to send, the bytes that were asked for, and no others."""
    if line.status == 206:
        return line.content_range == f"bytes {first}-{first + length - 1}/{size}"
    return (first, length) == (0, size)


def _unknown(length: int) -> Outcome:
    """Return what is known of ``length`` bytes that were handed over and not heard of again."""
    return Outcome(acknowledged=0, sent=length, complete=False)


class _Report:
    """What is waited for: a line, or the end of the waiting."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._over = Happening()
        self._timer: IDelayedCall | None = None
        self._left = False
        self.line: Line | None = None
        self.untaken = False

    def tell(self, line: Line) -> None:
        """End the waiting with a line."""
        self.line = line
        self.end()

    def end(self) -> None:
        """End the waiting."""
        self._over.happen()

    def end_untaken(self) -> None:
        """End the waiting: nginx was told nothing."""
        self.untaken = True
        self.end()

    def leave(self) -> None:
        """End the waiting: the daemon stops."""
        self._left = True
        self.end()

    def hurry(self) -> None:
        """Wait no longer than where nginx has not read the answer."""
        self._timer = self._clock.callLater(UNTAKEN, self.end)

    async def within(self, seconds: float) -> None:
        """Wait, ``seconds`` at most.

        :raises StillSending: the daemon stops, and there is no line yet.
        """
        try:
            await self._over.within(self._clock, seconds)
        finally:
            if self._timer is not None and self._timer.active():
                self._timer.cancel()
        if self._left and self.line is None:
            raise StillSending


@implementer(IDelivery)
class AccelDelivery:
    """Has nginx send what nginx can send as it was asked for.

    :param log: where nginx says how it went; opened and followed by :meth:`recover`.
    :param clock: for waiting.
    :param otherwise: sends what nginx cannot: to who asks the daemon itself, and ranges that it understands otherwise.
    :param prefix: of the internal location.
    :param patience: seconds for which a line is waited for, whatever the length.
    :param slowest: bytes a second; for so much of the length it is waited for a second more.
    """

    _log = Logger()

    def __init__(
        self,
        log: NginxLog,
        clock: IReactorTime,
        otherwise: IDelivery,
        *,
        prefix: str = PREFIX,
        patience: float = PATIENCE,
        slowest: float = SLOWEST,
    ) -> None:
        self._nginx = log
        self._clock = clock
        self._otherwise = otherwise
        self._prefix = prefix
        self._patience = patience
        self._slowest = slowest
        self._reports: dict[str, _Report] = {}

    # -- its life ---------------------------------------------------------------------------------

    async def recover(self, records: IRecords, ledgers: Ledgers) -> None:
        """End the transfers that the last stop cut off and of which nginx has told meanwhile; then follow its log.

        Call it when the records are open, and before those transfers are presumed of which nothing is known.

        :raises StoreUnusable: the log cannot be read.
        """
        waiting: dict[str, bytes] = {}
        for key in await records.interrupted():
            ledger = await records.ledger(key)
            if ledger is not None:
                waiting |= {transfer.id: key for transfer in ledger.transfers if not transfer.settled}
        try:
            await self._nginx.open()
            lines = await self._nginx.replay(waiting)
        except OSError as error:
            raise StoreUnusable(f"nginx's log cannot be read: {error}") from error
        keys = list(dict.fromkeys(waiting[transfer] for transfer in lines))
        for start in range(0, len(keys), _BATCH):
            await ledgers.change_all(keys[start : start + _BATCH], partial(reported, lines))
        if lines:
            self._log.info("nginx has told of {lines} downloads while the daemon was away", lines=len(lines))
        self._nginx.follow()

    def stop(self) -> None:
        """Wait for no line any more: what nginx still sends is left to the next start. Call it when nothing new comes."""
        for report in list(self._reports.values()):
            report.leave()

    async def close(self) -> None:
        """Give back what is held, once all that was told is written down. A second call does nothing."""
        await self._nginx.close()

    # -- IDelivery --------------------------------------------------------------------------------

    async def deliver(self, blob: IBlob, first: int, length: int, exchange: Exchange) -> Outcome:
        """See :class:`~filedropd.interfaces.IDelivery`."""
        if not (isinstance(exchange, Handing) and await exchange.reserve_all()):
            return await self._otherwise.deliver(blob, first, length, exchange)
        report = self._reports[exchange.id] = _Report(self._clock)
        self._nginx.expect(exchange.id, report.tell)
        exchange.when_aborted(report.end)
        try:
            # What becomes of our answer may be known later than what becomes of the file.
            background(self._hand_over(exchange, report), "handing over to nginx")
            await report.within(self._patience + length / self._slowest)
        except StillSending:
            self._nginx.leave(exchange.id)
            raise
        finally:
            self._nginx.forget(exchange.id)
            del self._reports[exchange.id]
        if report.line is not None:
            return self._outcome(report.line, first, length, blob.size)
        if report.untaken:
            return NOTHING_SENT
        self._log.warn("nginx does not say what became of download {transfer}", transfer=exchange.id)
        return _unknown(length)

    async def _hand_over(self, exchange: Handing, report: _Report) -> None:
        try:
            settlement = await exchange.hand_over(
                f"{self._prefix}{exchange.blob[:2]}/{exchange.blob}?claim={exchange.id}"
            )
        except ClientGone:
            report.end_untaken()
            return
        except BaseException:
            report.end()  # whatever has become of it
            raise
        if not settlement.begun:
            report.end_untaken()
        elif not settlement.complete and exchange.id in self._reports:
            report.hurry()

    def _outcome(self, line: Line, first: int, length: int, size: int) -> Outcome:
        if line.status not in _SENDS:
            self._log.error("nginx could not send a file: it answered {status}; see its error log", status=line.status)
        elif not _asked_for(line, first, length, size):
            self._log.error("nginx sent other bytes than were asked for: is its configuration the one in etc/nginx?")
        return outcome(line, first, length, size)


def reported(lines: Mapping[str, Line], ledger: Ledger, now: float, policy: Policy) -> tuple[Ledger, None]:
    """A rule: end the transfers of which there are lines."""
    size = ledger.drop.size
    for transfer in ledger.transfers:
        line = lines.get(transfer.id)
        if line is not None and not transfer.settled:
            length = min(transfer.length, size - transfer.first)
            ledger = end(ledger, transfer.id, outcome(line, transfer.first, length, size), now, policy)
    return ledger, None
