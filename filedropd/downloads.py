"""A download: whether it may be, its bytes, and what became of them.

The steps in their order: the claim and the first stride (committed), the blob, the answer's head, the bytes, each
further stride (committed before them), the settling, the end (committed, or kept until it can be).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import attrs
from twisted.internet.interfaces import IReactorTime

from filedropd.awaiting import SETTLING, Met, ended, ending_soon
from filedropd.claims.asking import Granted, InTheWay, Over, Progress, Recipient, Verdict, Wish, ask, reserve
from filedropd.claims.ending import confirm, end
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import Policy
from filedropd.deferreds import Gathering, background, shielded
from filedropd.errors import Gone, InsufficientStorage, Locked, NotFound, Unavailable
from filedropd.finding import Finding
from filedropd.interfaces import StillSending
from filedropd.model import NOTHING_SENT, Drop, Outcome, Transfer
from filedropd.recording import Recording
from filedropd.tokens import Randomness, Token, claim_token, random_name
from filedropd.transfers import Sending, Transfers

if TYPE_CHECKING:
    from filedropd.interfaces import Exchange, IBlobs, IDelivery
    from filedropd.ledgers import Ledgers, TimedRule
    from filedropd.metrics import Metrics
    from filedropd.peers import Peers

T = TypeVar("T")

#: Seconds after which a client that met somebody else's download may ask again.
LOCKED_RETRY: Final = 5
#: Seconds after which one may ask again who met bytes of his own that are on their way, or an outcome that takes long.
IN_FLIGHT_RETRY: Final = 1


@attrs.frozen(kw_only=True)
class Visit:
    """Somebody who may have a drop's bytes, if there is a copy for him.

    :ivar drop: as it was when he came.
    :ivar claimed: he showed the token of a claim of his.
    """

    drop: Drop
    recipient: Recipient
    claimed: bool


@attrs.frozen
class _Given:
    """What the rules grant, and the drop as it is after that."""

    granted: Granted
    drop: Drop


class _LookFirst(Exception):
    """It is not to be had without a look."""


class Downloads:
    """Hands drops over.

    :param clock: for waiting.
    :param now: the time on the wall, in seconds since the epoch.
    :param daemon: the name of this daemon, where several may run on the same records.
    """

    def __init__(
        self,
        *,
        ledgers: Ledgers,
        recording: Recording,
        finding: Finding,
        blobs: IBlobs,
        delivery: IDelivery,
        transfers: Transfers,
        peers: Peers,
        metrics: Metrics,
        clock: IReactorTime,
        now: Callable[[], float],
        randomness: Randomness,
        daemon: str,
    ) -> None:
        self._ledgers = ledgers
        self._recording = recording
        self._finding = finding
        self._blobs = blobs
        self._delivery = delivery
        self._transfers = transfers
        self._peers = peers
        self._metrics = metrics
        self._clock = clock
        self._now = now
        self._randomness = randomness
        self._daemon = daemon
        self._work = Gathering()

    async def peek(self, visit: Visit, first: int, length: int) -> None:
        """Return if these bytes could be had now. Takes nothing and waits for nobody.

        :raises Locked: they could not.
        :raises Gone: it is gone by now.
        """
        ledger = await self._ledgers.read(visit.drop.key)
        if ledger is None:
            raise NotFound
        progress = self._transfers.progress(visit.drop.key)
        _, verdict = ask(ledger, self._wish(visit, first, length), progress, self._now(), self._ledgers.policy)
        if isinstance(verdict, Over):
            raise Gone(verdict.reason.value)
        if not isinstance(verdict, Granted):
            raise _locked(verdict)

    async def settled(self, key: bytes) -> bool:
        """Wait for what becomes of a drop's last copy, where that is soon known; tell whether none is waited for now."""
        sending = self._transfers.deciding(key, self._now())
        return sending is None or await ended(sending, Met(), self._clock, SETTLING)

    async def claim(self, visit: Visit) -> Token:
        """Claim a copy for somebody who asks for its bytes next, and return the claim's token.

        :raises Locked: others have the copies.
        :raises Gone: it is gone by now.
        """
        given = await shielded(self._grant(visit, self._wish(visit, 0, visit.drop.size, claim_only=True)))
        return claim_token(visit.recipient.link, given.granted.claim.id)

    async def deliver(
        self, visit: Visit, first: int, length: int, exchange: Exchange, begin: Callable[[Token], None]
    ) -> None:
        """Hand ``length`` bytes from ``first`` to whoever is at the other end of ``exchange``.

        They go out under a claim, which was opened before, or is now; what became of them is recorded.

        :param begin: called with the claim's token once the bytes are there: writes the answer's head.
        :raises Locked: somebody else has the copy, or these bytes are on their way to the same recipient.
        :raises Gone: it is gone by now.
        """
        await shielded(self._deliver(visit, first, length, exchange, begin))

    async def deliver_whole(
        self, recipient: Recipient, exchange: Exchange, begin: Callable[[Drop, Token], None]
    ) -> bool:
        """Hand all of a drop to somebody of whom nothing is known, if that needs no second look: in one transaction.

        :param begin: called with the drop and the claim's token once the bytes are there: writes the answer's head.
        :returns: ``False``: nothing was done. It has a password, is gone, was never there, or is somebody else's now.
        """
        return await shielded(self._deliver_whole(recipient, exchange, begin))

    async def _deliver(
        self, visit: Visit, first: int, length: int, exchange: Exchange, begin: Callable[[Token], None]
    ) -> None:
        with self._work:
            given = await self._grant(visit, self._wish(visit, first, length))
            token = claim_token(visit.recipient.link, given.granted.claim.id)
            await self._send(given, first, length, exchange, partial(begin, token))

    async def _deliver_whole(
        self, recipient: Recipient, exchange: Exchange, begin: Callable[[Drop, Token], None]
    ) -> bool:
        with self._work:
            key = recipient.link.key
            wish = partial(
                Wish,
                recipient=recipient,
                claim=random_name(self._randomness),
                transfer=(transfer := random_name(self._randomness)),
                daemon=self._daemon,
                first=0,
            )
            try:
                given = await self._changed(key, transfer, partial(_whole, wish, self._transfers.progress(key)))
            except _LookFirst:
                return False
            if given is None:
                return False
            token = claim_token(recipient.link, given.granted.claim.id)
            await self._send(given, 0, given.drop.size, exchange, partial(begin, given.drop, token))
            return True

    async def _send(
        self, given: _Given, first: int, length: int, exchange: Exchange, begin: Callable[[], None]
    ) -> None:
        """Send what is granted, and record what becomes of it."""
        transfer, key = given.granted.transfer, given.drop.key
        if transfer is None:
            raise RuntimeError("bytes were asked for")
        reserve = partial(self._reserve, key, transfer.id)
        sending = Sending(transfer, exchange, reserve, given.drop.blob, deciding_until=_deciding_until(given.drop))
        self._transfers.add(key, sending)
        try:
            outcome = await self._handed_over(given.drop, first, length, sending, begin)
        except StillSending:  # the daemon stops: its next start learns, or presumes, what became of it
            self._transfers.remove(key, sending)
            return
        except BaseException:
            await self._end(key, sending, sending.given)
            raise
        await self._end(key, sending, outcome)
        if outcome.quiet:
            background(self._confirm(key, sending), "what follows a download")

    async def _handed_over(
        self, drop: Drop, first: int, length: int, sending: Sending, begin: Callable[[], None]
    ) -> Outcome:
        """Hand bytes over, and return what became of them."""
        try:
            blob = await self._blobs.open(drop.blob)
        except FileNotFoundError:  # the drop may have ended since it was claimed
            await self._finding.check_gone(await self._finding.found(drop.key))
            raise
        try:
            begin()
            return await self._delivery.deliver(blob, first, length, sending)
        finally:
            blob.close()

    def _wish(self, visit: Visit, first: int, length: int, *, claim_only: bool = False) -> Wish:
        return Wish(
            recipient=visit.recipient,
            claim=random_name(self._randomness),
            transfer=None if claim_only else random_name(self._randomness),
            daemon=self._daemon,
            first=first,
            length=length if visit.drop.size else visit.drop.extent,
        )

    async def _changed(self, key: bytes, transfer: str | None, rule: TimedRule[T]) -> T | None:
        """Let the rules decide whether a transfer may begin."""
        try:
            return await self._ledgers.change(key, rule)
        except Unavailable:
            # Whether it was granted is not known: nothing was sent.
            self._recording.later(key, partial(_ended, transfer or "", NOTHING_SENT))
            raise

    async def _grant(self, visit: Visit, wish: Wish) -> _Given:
        """Let the rules decide. Meets what settles with patience: its outcome is this one's answer."""
        key = visit.drop.key
        patience = self._clock.seconds() + SETTLING
        while True:
            before = self._transfers.of(key)
            answer = await self._changed(key, wish.transfer, partial(_asked, wish, self._transfers.progress(key)))
            if answer is None:
                raise NotFound
            if isinstance(answer, _Given):
                return answer
            verdict, elsewhere = answer
            if isinstance(verdict, Over):
                await self._finding.check_gone(await self._finding.found(key))
                raise Gone(verdict.reason.value)
            here = dict.fromkeys((*before, *self._transfers.of(key)))
            await self._wait(key, verdict, here, elsewhere, patience - self._clock.seconds())

    async def _wait(
        self, key: bytes, verdict: Verdict, here: Iterable[Sending], elsewhere: frozenset[str], seconds: float
    ) -> None:
        """Wait for an end that will let the rules decide otherwise.

        :param here: the transfers that run in this daemon, and those that did when the rules were asked.
        :param elsewhere: the daemons that run the others.
        :raises Locked: there is none soon.
        """
        met = _met(verdict)
        sending = ending_soon(met, here)
        if sending is None:
            if not elsewhere or seconds <= 0 or not await self._peers.ask(key, met, elsewhere, seconds):
                raise _locked(verdict)
        elif seconds <= 0:
            raise Locked(IN_FLIGHT_RETRY)
        else:
            await ended(sending, met, self._clock, seconds)

    async def _reserve(self, key: bytes, transfer: str, whole: bool) -> Transfer | None:
        progress = self._transfers.progress(key)

        def more(ledger: Ledger, *_: object) -> tuple[Ledger, Transfer | None]:
            return reserve(ledger, transfer, progress, whole=whole)

        # What has begun to be sent goes on when the records are back; for what has not, nobody is to wait.
        return await (self._ledgers.change(key, more) if whole else self._recording.surely(key, more))

    async def _end(self, key: bytes, sending: Sending, outcome: Outcome) -> None:
        """Record what became of a transfer; where the records are away, as soon as they are back."""
        sending.awaited = True
        told = "complete" if outcome.complete else "broken" if outcome.begun else "unsent"
        self._metrics.downloaded(told, outcome.sent)
        rule = partial(_ended, sending.id, outcome, begun=sending.begun)
        try:
            await self._ledgers.change(key, rule)
        except (Unavailable, InsufficientStorage):
            sending.put_off = True
            background(self._end_later(key, sending, rule), "recording a download")
            return
        except BaseException:
            self._transfers.remove(key, sending)
            raise
        self._transfers.remove(key, sending)

    async def _end_later(self, key: bytes, sending: Sending, rule: TimedRule[None]) -> None:
        with self._work:
            try:
                await self._recording.surely(key, rule)
            finally:
                self._transfers.remove(key, sending)

    async def _confirm(self, key: bytes, sending: Sending) -> None:
        """Wait for what follows a settlement by quiet alone, and write it down."""
        with self._work:
            kept = await sending.confirmed()
            await sending.over.wait()  # its end is written down before what follows it
            await self._recording.surely(
                key,
                lambda ledger, now, policy: (
                    confirm(ledger, sending.id, now, policy, kept=kept, begun=sending.begun),
                    None,
                ),
            )

    async def stop(self) -> None:
        """Return when all that changes state has ended. Call it when no more requests come."""
        await self._work.empty()


def _asked(
    wish: Wish, progress: Mapping[str, Progress], ledger: Ledger, now: float, policy: Policy
) -> tuple[Ledger, _Given | tuple[Verdict, frozenset[str]]]:
    """Return what is given, or the verdict against it and which other daemons run what the wish has met."""
    after, verdict = ask(ledger, wish, progress, now, policy)
    if isinstance(verdict, Granted):
        return after, _Given(verdict, after.drop)
    met = verdict.transfers if isinstance(verdict, InTheWay) else ledger.transfers
    elsewhere = frozenset(each.daemon for each in met if not each.settled and each.daemon != wish.daemon)
    return after, (verdict, elsewhere)


def _whole(
    wish: Callable[..., Wish], progress: Mapping[str, Progress], ledger: Ledger, now: float, policy: Policy
) -> tuple[Ledger, _Given]:
    """Return the whole of a drop, if it is there for whoever asks.

    :raises _LookFirst: it is not. Nothing changes, not even by what time has brought.
    """
    drop = ledger.drop
    if drop.password is not None:
        raise _LookFirst
    after, verdict = ask(ledger, wish(length=drop.size or drop.extent), progress, now, policy)
    if not isinstance(verdict, Granted):
        raise _LookFirst
    return after, _Given(verdict, after.drop)


def _deciding_until(drop: Drop) -> float:
    """Return until when one transfer decides what others are told; see :class:`~filedropd.transfers.Sending`."""
    return 0.0 if drop.free > 0 or drop.password is not None else drop.expires_at


def _met(verdict: Verdict) -> Met:
    if isinstance(verdict, InTheWay):
        ids = frozenset(transfer.id for transfer in verdict.transfers)
        return Met(transfers=ids, superseding=verdict.token)
    return Met()


def _locked(verdict: Verdict) -> Locked:
    return Locked(IN_FLIGHT_RETRY if isinstance(verdict, InTheWay) else LOCKED_RETRY)


def _ended(
    transfer: str, outcome: Outcome, ledger: Ledger, now: float, policy: Policy, *, begun: Transfer | None = None
) -> tuple[Ledger, None]:
    return end(ledger, transfer, outcome, now, policy, begun=begun), None
