"""Drops: upload, look, claim, deliver, revoke.

The order of the steps lives here and nowhere else.  Each step that changes state is durable before
the next one has an effect that anybody can see: the row is committed before 201 is sent, the claim
and each stride before their first byte, *gone* before the bytes are deleted.  Who may have what is
decided by the rules of :mod:`filedropd.claims`.

What changes state is shielded: a client that leaves ends its own waiting, not our work.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from filedropd.claims.asking import Granted, InTheWay, Over, Progress, Recipient, Verdict, Wish, ask, reserve, seen
from filedropd.claims.elapsing import revoked
from filedropd.claims.ending import confirm, end
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import Policy
from filedropd.deferreds import Gathering, background, shielded
from filedropd.errors import Gone, InsufficientStorage, Locked, NotFound, OwnerRequired, PasswordRequired, Unavailable
from filedropd.interfaces import StillSending
from filedropd.model import NOTHING_SENT, Drop, Event, Outcome, Touch, Transfer
from filedropd.passwords import IMPOSSIBLE, Passwords
from filedropd.recording import Recording
from filedropd.tokens import Randomness, Token, claim_token, random_name, short
from filedropd.transfers import Sending, Transfers
from filedropd.upload import Receipt, Terms, Upload
from filedropd.watching import Watches

if TYPE_CHECKING:
    from filedropd.interfaces import Exchange, IBlobs, ICache, IDelivery, IIncomingBlob, IRecords
    from filedropd.ledgers import Ledgers, TimedRule
    from filedropd.limiter import Limiter
    from filedropd.metrics import Metrics
    from filedropd.reaper import Reaper

#: Seconds for which a request waits for a claim that is settling.
SETTLING: Final = 1.5
#: Seconds after which a transfer that somebody else sends is superseded: until then it may turn out to be over.
HANDED_OVER: Final = 0.5
#: Seconds after which a client that met somebody else's download may ask again.
LOCKED_RETRY: Final = 5
#: Seconds after which one may ask again who met bytes of his own that are on their way, or an outcome that takes long.
IN_FLIGHT_RETRY: Final = 1
#: Seconds for which it is remembered that an id was never there, or is gone.
CACHE_NEVER: Final = 60.0
CACHE_GONE: Final = 3600.0
#: Seconds after which who watches a drop is told again how far its transfers are, and that he is still heard.
PROGRESS: Final = 1.0
KEEP_ALIVE: Final = 15.0

_NEVER: Final = b"never"


@attrs.frozen(kw_only=True)
class Rules:
    """What the operator allows.

    :ivar max_file_size: bytes.
    :ivar expires: seconds for which a drop is kept unless its sender says otherwise.
    :ivar max_expires: seconds for which it may be kept.
    :ivar max_downloads: copies that a sender may allow.
    """

    max_file_size: int
    expires: float
    max_expires: float
    max_downloads: int = 1000


@attrs.frozen(kw_only=True)
class Visit:
    """Somebody who may have a drop's bytes, if there is a copy for him.

    :ivar drop: as it was when he came.
    :ivar claimed: he showed the token of a claim of his.
    """

    drop: Drop
    recipient: Recipient
    claimed: bool


@attrs.frozen(kw_only=True)
class Standing:
    """Where a drop stands, for its owner.

    :ivar ledger: with what is known, and not yet written down, of transfers that run.
    :ivar history: what happened to it, in order.
    """

    ledger: Ledger
    history: list[Event]


class Drops:
    """Everything that can be done with drops.

    :param clock: for waiting.
    :param now: the time on the wall, in seconds since the epoch.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        records: IRecords,
        ledgers: Ledgers,
        blobs: IBlobs,
        cache: ICache,
        delivery: IDelivery,
        passwords: Passwords,
        reaper: Reaper,
        transfers: Transfers,
        limiter: Limiter,
        metrics: Metrics,
        rules: Rules,
        clock: IReactorTime,
        now: Callable[[], float],
        randomness: Randomness,
    ) -> None:
        self.rules = rules
        self._records = records
        self._ledgers = ledgers
        self._blobs = blobs
        self._cache = cache
        self._delivery = delivery
        self._passwords = passwords
        self._reaper = reaper
        self._transfers = transfers
        self._limiter = limiter
        self._metrics = metrics
        self._clock = clock
        self._now = now
        self._randomness = randomness
        self._recording = Recording(ledgers, clock)
        self._watches = Watches()
        self._work = Gathering()
        ledgers.tell(self._watches.tell)

    # -- in ---------------------------------------------------------------------------------------

    async def admit(self, client: str | None) -> None:
        """Return if ``client`` may upload now.

        :raises TooManyRequests: he has done so too often.
        """
        await self._limiter.before_upload(client)

    def upload(self) -> Upload:
        """Begin an upload, as an async context manager that leaves nothing behind unless it is kept."""
        return Upload(self._blobs, self.rules.max_file_size, self._prepare, self._commit)

    async def _prepare(self, incoming: IIncomingBlob, name: str, content_type: str, terms: Terms) -> Receipt:
        password = None if terms.password is None else await self._passwords.hash(terms.password)
        await incoming.seal()
        now = self._now()
        link, owner = Token.mint(self._randomness), Token.mint(self._randomness)
        drop = Drop(
            key=link.key,
            owner_key=owner.key,
            blob=incoming.blob,
            name=name,
            content_type=content_type,
            size=incoming.size,
            password=password,
            downloads=terms.downloads,
            created_at=now,
            expires_at=now + terms.expires,
            due_at=now + terms.expires,
        )
        return Receipt(drop=drop, link=link, owner=owner)

    async def _commit(self, drop: Drop, incoming: IIncomingBlob) -> None:
        with self._work:
            try:
                await self._records.insert(drop)
            except Unavailable:
                # Whether the row is there is not known: nobody has the link, so it is to be ended.
                self._undo(drop.key, _taken_back)
                raise
            try:
                await incoming.publish()
            except BaseException:
                # The row is there and its bytes are not where it says.
                await self._ledgers.change(drop.key, _taken_back)
                raise
            self._reaper.expect(drop.due_at)
            self._metrics.kept(drop.size)
            self._log.info("drop {drop} kept, {size} bytes", drop=short(drop.key), size=drop.size)

    # -- looking ----------------------------------------------------------------------------------

    async def view(self, link: Token) -> Drop:
        """Return the drop behind ``link``, to show what it is and not what is in it.

        :raises NotFound: it was never there, or is forgotten.
        :raises Gone: it was there.
        """
        drop = await self._there(link)
        await self._check_gone(drop)
        return drop

    async def touched(self, drop: Drop, touch: Touch, who: str | None = None) -> None:
        """Note for the owner that somebody looked."""
        await shielded(self._ledgers.change(drop.key, lambda ledger, now, _: (ledger.noted(touch, now, who=who), None)))

    async def claimed(self, recipient: Recipient) -> bool:
        """Tell whether somebody shows the token of a claim of his that is not spent."""
        if recipient.token is None:
            return False
        ledger = await self._ledgers.read(recipient.link.key)
        return ledger is not None and recipient.shown(ledger) is not None

    async def look(self, recipient: Recipient, password: bytes | None, *, client: str | None = None) -> Visit:
        """Let somebody in who shows ``password``, or the token of a claim of his, which stands for it (rule G).

        :raises NotFound: it was never there, or is forgotten.
        :raises Gone: it was there, and this is nobody who has a claim left on it.
        :raises PasswordRequired: it has another password, or none was shown; the two take the same time.
            What no password can be is refused without a hash.
        :raises TooManyRequests: ``client``, or too many others, have tried too often.
        """
        drop = await self._there(recipient.link)
        if drop.finished:
            await self._check_gone(drop)
        claimed = False
        if recipient.token is not None or drop.gone(self._now()) is not None:
            ledger = await self._ledgers.read(drop.key)
            if ledger is None:
                raise NotFound
            drop = ledger.drop
            claimed = recipient.shown(ledger) is not None
            reason = drop.gone(self._now())
            if reason is not None and (drop.finished or not recipient.own(ledger)):
                raise Gone(reason.value)
        if drop.password is not None and not claimed:
            await self._check_password(drop.key, drop.password, password, client)
        return Visit(drop=drop, recipient=recipient, claimed=claimed)

    async def _check_password(self, key: bytes, stored: str, password: bytes | None, client: str | None) -> None:
        if password == IMPOSSIBLE:
            raise PasswordRequired
        if password is None:  # no guess, and it takes as long as a wrong one
            await self._passwords.verify(None, stored)
            raise PasswordRequired
        await self._limiter.before_password(key, client)
        try:
            right = await self._passwords.verify(password, stored)
        except Unavailable:
            await shielded(self._limiter.password_untried(key, client))
            raise
        if not right:
            self._metrics.password_failures.inc()
            raise PasswordRequired
        await shielded(self._limiter.password_right(key, client))

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

    async def ready(self) -> None:
        """Return if drops can be taken and handed out.

        :raises FiledropError: they cannot, and why.
        """
        await self._records.ping()
        await self._blobs.ping()

    async def _there(self, link: Token) -> Drop:
        verdict = await self._cache.get(link.key)
        if verdict is not None:
            raise NotFound if verdict == _NEVER else Gone(verdict.decode("ascii"))
        drop = await self._records.find(link.key)
        if drop is None:
            await self._cache.set(link.key, _NEVER, CACHE_NEVER)
            raise NotFound
        return drop

    async def _check_gone(self, drop: Drop) -> None:
        reason = drop.gone(self._now())
        if reason is None:
            return
        # Only what is gone for everybody is remembered as gone: not what somebody may still come back for, nor
        # what is over by a clock that may be put back.
        if drop.finished:
            await self._cache.set(drop.key, reason.value.encode("ascii"), CACHE_GONE)
        raise Gone(reason.value)

    # -- for the owner ----------------------------------------------------------------------------

    async def status(self, link: Token, owner: Token | None) -> Standing:
        """Return where a drop stands, gone or not, to its owner.

        :raises NotFound: it was never there, or is forgotten.
        :raises OwnerRequired: ``owner`` is not its owner's token.
        """
        return await self._standing((await self._owned(link, owner)).key)

    async def watch(self, link: Token, owner: Token | None) -> AsyncGenerator[Standing | None, None]:
        """Return where a drop stands, to its owner, and again whenever that changes, until it is finished.

        Once a second while something is being sent; ``None`` where nothing was to be said for a while.

        :raises FiledropError: as :meth:`status`, before the first.
        """
        key = (await self._owned(link, owner)).key
        return self._standings(key)

    async def _standings(self, key: bytes) -> AsyncGenerator[Standing | None, None]:
        watch = self._watches.open(key)
        try:
            while True:
                standing = await self._standing(key)
                yield standing
                if standing.ledger.drop.finished or watch.over:
                    return
                running = any(not transfer.settled for transfer in standing.ledger.transfers)
                while not await watch.changed(self._clock, PROGRESS if running else KEEP_ALIVE):
                    if running:
                        break
                    yield None
        finally:
            self._watches.close(key, watch)

    async def _standing(self, key: bytes) -> Standing:
        ledger = await self._ledgers.read(key)
        if ledger is None:
            raise NotFound
        # What time has brought and nobody has written down yet is told from the ledger itself.
        history = await self._records.events(key) + list(ledger.events)
        return Standing(ledger=seen(ledger, self._transfers.progress(key)), history=history)

    async def _owned(self, link: Token, owner: Token | None) -> Drop:
        drop = await self._records.find(link.key)
        if drop is None:
            raise NotFound
        if owner is None or not owner.matches(drop.owner_key):
            raise OwnerRequired
        return drop

    async def revoke(self, link: Token, owner: Token | None) -> None:
        """Take a drop back at its owner's wish; downloads that are running are broken off.

        :raises NotFound: it was never there, or is forgotten.
        :raises OwnerRequired: ``owner`` is not its owner's token.
        :raises Gone: it is gone already.
        """
        drop = await self._owned(link, owner)
        await shielded(self._revoke(drop))

    async def _revoke(self, drop: Drop) -> None:
        def taken_back(ledger: Ledger, now: float, _: object) -> tuple[Ledger, Drop]:
            return (ledger if ledger.drop.finished else revoked(ledger, now)), ledger.drop

        with self._work:
            before = await self._ledgers.change(drop.key, taken_back)
            if before is None:
                raise NotFound
            if before.finished:
                await self._check_gone(before)
            self._transfers.abort(drop.key)

    # -- out --------------------------------------------------------------------------------------

    async def claim(self, visit: Visit) -> Token:
        """Claim a copy for somebody who asks for its bytes next, and return the claim's token.

        :raises Locked: others have the copies.
        :raises Gone: it is gone by now.
        """
        granted = await shielded(self._grant(visit, self._wish(visit, 0, visit.drop.size, claim_only=True)))
        return claim_token(visit.recipient.link, granted.claim.id)

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

    async def _deliver(
        self, visit: Visit, first: int, length: int, exchange: Exchange, begin: Callable[[Token], None]
    ) -> None:
        key = visit.drop.key
        with self._work:
            granted = await self._grant(visit, self._wish(visit, first, length))
            if granted.transfer is None:
                raise RuntimeError("bytes were asked for")
            reserve = partial(self._reserve, key, granted.transfer.id)
            sending = Sending(granted.transfer, exchange, reserve, visit.drop.blob)
            token = claim_token(visit.recipient.link, granted.claim.id)
            self._transfers.add(key, sending)
            try:
                outcome = await self._handed_over(visit, first, length, sending, partial(begin, token))
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
        self, visit: Visit, first: int, length: int, sending: Sending, begin: Callable[[], None]
    ) -> Outcome:
        """Hand bytes over, and return what became of them."""
        try:
            blob = await self._blobs.open(visit.drop.blob)
        except FileNotFoundError:  # the drop may have ended since it was claimed
            await self._check_gone(await self._found(visit.drop.key))
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
            first=first,
            length=length if visit.drop.size else visit.drop.extent,
        )

    async def _grant(self, visit: Visit, wish: Wish) -> Granted:
        """Let the rules decide. Meets what settles with patience: its outcome is this one's answer."""
        key = visit.drop.key
        patience = self._clock.seconds() + SETTLING
        while True:
            before = self._transfers.of(key)
            try:
                verdict = await self._ledgers.change(key, partial(_asked, wish, self._transfers.progress(key)))
            except Unavailable:
                # Whether it was granted is not known: nothing was sent.
                self._undo(key, partial(_ended, wish.transfer or "", NOTHING_SENT))
                raise
            if verdict is None:
                raise NotFound
            if isinstance(verdict, Granted):
                return verdict
            if isinstance(verdict, Over):
                await self._check_gone(await self._found(key))
                raise Gone(verdict.reason.value)
            awaited = _awaited(verdict, dict.fromkeys((*before, *self._transfers.of(key))))
            if awaited is None:
                raise _locked(verdict)
            await self._wait_for(awaited, verdict, patience - self._clock.seconds())

    async def _wait_for(self, awaited: Sending, verdict: Verdict, seconds: float) -> None:
        """Wait for a transfer to be over; one that somebody else sends is given up soon for whoever shows the token."""
        if seconds <= 0:
            raise Locked(IN_FLIGHT_RETRY)
        superseded = awaited.handed_over and isinstance(verdict, InTheWay) and verdict.token
        ended = await awaited.over.within(self._clock, HANDED_OVER if superseded else seconds)
        if superseded and not ended:
            awaited.abort()

    async def _reserve(self, key: bytes, transfer: str) -> Transfer | None:
        progress = self._transfers.progress(key)
        return await self._ledgers.change(key, lambda ledger, *_: reserve(ledger, transfer, progress))

    async def _end(self, key: bytes, sending: Sending, outcome: Outcome) -> None:
        """Record what became of a transfer; where the records are away, as soon as they are back."""
        sending.awaited = True
        told = "complete" if outcome.complete else "broken" if outcome.begun else "unsent"
        self._metrics.downloaded(told, outcome.sent)
        rule = partial(_ended, sending.id, outcome)
        try:
            await self._ledgers.change(key, rule)
        except (Unavailable, InsufficientStorage):
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
                key, lambda ledger, now, policy: (confirm(ledger, sending.id, now, policy, kept=kept), None)
            )

    def _undo(self, key: bytes, rule: TimedRule[None]) -> None:
        """Take back, once the records are there again, what may have been recorded when they went away."""

        async def undone() -> None:
            with self._work:
                await self._recording.surely(key, rule)

        background(undone(), "taking back what may have been recorded")

    async def _found(self, key: bytes) -> Drop:
        drop = await self._records.find(key)
        if drop is None:
            raise NotFound
        return drop

    # -- the end ----------------------------------------------------------------------------------

    def dismiss(self) -> None:
        """Let nobody watch any more: the daemon stops."""
        self._watches.end()

    async def stop(self) -> None:
        """Return when all that changes state has ended. Call it when no more requests come."""
        self._recording.give_up()
        await self._work.empty()


def _asked(
    wish: Wish, progress: Mapping[str, Progress], ledger: Ledger, now: float, policy: Policy
) -> tuple[Ledger, Verdict]:
    return ask(ledger, wish, progress, now, policy)


def _locked(verdict: Verdict) -> Locked:
    return Locked(IN_FLIGHT_RETRY if isinstance(verdict, InTheWay) else LOCKED_RETRY)


def _awaited(verdict: Verdict, here: Iterable[Sending]) -> Sending | None:
    """Return a transfer whose end will soon let the rules decide otherwise, if there is one.

    :param here: those that run here, and those that did when the rules were asked.
    """
    if isinstance(verdict, InTheWay):
        ids = {transfer.id for transfer in verdict.transfers}
        here = [sending for sending in here if sending.id in ids]
    awaited = next((sending for sending in here if sending.awaited), None)
    if awaited is None and isinstance(verdict, InTheWay) and verdict.token:
        for sending in here:
            sending.abort()  # superseded
        awaited = next(iter(here), None)
    return awaited


def _ended(transfer: str, outcome: Outcome, ledger: Ledger, now: float, policy: Policy) -> tuple[Ledger, None]:
    return end(ledger, transfer, outcome, now, policy), None


def _taken_back(ledger: Ledger, now: float, _: Policy) -> tuple[Ledger, None]:
    return revoked(ledger, now), None
