"""Drops: upload, look, claim, deliver, revoke.

The order of the steps lives here, in :mod:`.upload` and in :mod:`.downloads`, and nowhere else.  Each step that changes state is durable before
the next one has an effect that anybody can see: the row is committed before 201 is sent, the claim
and each stride before their first byte, *gone* before the bytes are deleted.  Who may have what is
decided by the rules of :mod:`filedropd.claims`.

What changes state is shielded: a client that leaves ends its own waiting, not our work.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from typing import TYPE_CHECKING, Final

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from filedropd.claims.asking import Recipient
from filedropd.claims.elapsing import revoked
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import Policy
from filedropd.deferreds import Gathering, shielded, within
from filedropd.digests import Aside, Summing
from filedropd.downloads import IN_FLIGHT_RETRY, Downloads, Visit
from filedropd.errors import Gone, Locked, NotFound, OwnerRequired, PasswordRequired, Unavailable
from filedropd.finding import Finding
from filedropd.model import Claim, Drop, Touch
from filedropd.passwords import IMPOSSIBLE, Passwords
from filedropd.recording import Recording
from filedropd.standing import Standing, Standings
from filedropd.tokens import Randomness, Token, short
from filedropd.transfers import Transfers
from filedropd.upload import Receipt, Terms, Upload

if TYPE_CHECKING:
    from filedropd.interfaces import Exchange, IBlobs, ICache, IDelivery, IIncomingBlob, IRecords
    from filedropd.ledgers import Ledgers
    from filedropd.limiter import Limiter
    from filedropd.metrics import Metrics
    from filedropd.peers import Peers
    from filedropd.reaper import Reaper
    from filedropd.watching import Watches


#: Seconds within which the stores answer, where drops can be taken and handed out.
READY_WITHIN: Final = 3.0


@attrs.frozen(kw_only=True)
class Rules:
    """What the operator allows.

    :ivar max_file_size: bytes.
    :ivar expires: seconds for which a drop is kept unless its sender says otherwise.
    :ivar max_expires: seconds for which it may be kept.
    :ivar max_downloads: copies that a sender may allow.
    :ivar resume_window: seconds for which a broken download waits for its recipient, as people are told.
    """

    max_file_size: int
    expires: float
    max_expires: float
    max_downloads: int = 1000
    resume_window: float = 900.0


class Drops:
    """Everything that can be done with drops.

    :param clock: for waiting.
    :param now: the time on the wall, in seconds since the epoch.
    :param aside: for what takes long to hash.
    :param daemon: the name of this daemon, where several may run on the same records.
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
        watches: Watches,
        peers: Peers,
        limiter: Limiter,
        metrics: Metrics,
        rules: Rules,
        clock: IReactorTime,
        now: Callable[[], float],
        randomness: Randomness,
        aside: Aside,
        daemon: str = "",
    ) -> None:
        self.rules = rules
        self._records = records
        self._ledgers = ledgers
        self._blobs = blobs
        self._passwords = passwords
        self._reaper = reaper
        self._transfers = transfers
        self._limiter = limiter
        self._metrics = metrics
        self._clock = clock
        self._now = now
        self._randomness = randomness
        self._aside = aside
        self._work = Gathering()
        self._finding = Finding(records, cache, now)
        self._recording = Recording(ledgers, clock)
        self._standings = Standings(records, ledgers, transfers, watches, clock)
        self._downloads = Downloads(
            ledgers=ledgers,
            recording=self._recording,
            finding=self._finding,
            blobs=blobs,
            delivery=delivery,
            transfers=transfers,
            peers=peers,
            metrics=metrics,
            clock=clock,
            now=now,
            randomness=randomness,
            daemon=daemon,
        )

    # -- in ---------------------------------------------------------------------------------------

    async def admit(self, client: str | None) -> None:
        """Return if ``client`` may upload now.

        :raises TooManyRequests: he has done so too often.
        """
        await self._limiter.before_upload(client)

    def upload(self, expected: int | None = None) -> Upload:
        """Begin an upload, as an async context manager that leaves nothing behind unless it is kept.

        :param expected: bytes that will come at most, where that is known.
        """
        return Upload(
            self._blobs, self.rules.max_file_size, self._prepare, self._commit, aside=self._aside, expected=expected
        )

    def summing(self, algorithms: Iterable[str]) -> Summing:
        """Begin to work out the digests of something else that comes with an upload."""
        return Summing(algorithms, self._aside)

    async def _prepare(
        self, incoming: IIncomingBlob, name: str, content_type: str, terms: Terms, sha256: bytes | None
    ) -> Receipt:
        password = None if terms.password is None else await self._passwords.hash(terms.password)
        now = self._now()
        link, owner = Token.mint(self._randomness), Token.mint(self._randomness)
        drop = Drop(
            key=link.key,
            owner_key=owner.key,
            blob=incoming.blob,
            name=name,
            content_type=content_type,
            size=incoming.size,
            sha256=sha256,
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
                self._recording.later(drop.key, _taken_back)
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
        drop = await self._finding.there(link)
        await self._finding.check_gone(drop)
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
        :raises PasswordRequired: it has another password, or none was shown. None, and what no password can be,
            is refused without a hash.
        :raises TooManyRequests: ``client``, or too many others, have tried too often.
        """
        drop = await self._finding.there(recipient.link)
        if drop.finished:
            await self._finding.check_gone(drop)
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
        if password is None:  # no guess, which nobody counts: it must cost nothing
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

    async def ready(self) -> None:
        """Return if drops can be taken and handed out; takes no longer than :data:`READY_WITHIN`.

        :raises FiledropError: they cannot, and why.
        """
        try:
            await within(self._clock, READY_WITHIN, self._answer())
        except TimeoutError as error:
            raise Unavailable("The records, or the disk, do not answer in time. Try again in a moment.") from error

    async def _answer(self) -> None:
        await self._records.ping()
        await self._blobs.ping()

    async def progress(self, recipient: Recipient) -> tuple[Claim, Ledger]:
        """Return the claim whose token somebody shows, delivered or not, with what is known of it by now.

        :raises NotFound: no such claim is there.
        """
        standing = await self._standings.standing(recipient.link.key)
        claim = recipient.named(standing.ledger)
        if claim is None:
            raise NotFound
        return claim, standing.ledger

    # -- for the owner ----------------------------------------------------------------------------

    async def status(self, link: Token, owner: Token | None) -> Standing:
        """Return where a drop stands, gone or not, to its owner.

        :raises NotFound: it was never there, or is forgotten.
        :raises OwnerRequired: ``owner`` is not its owner's token.
        """
        return await self._standings.standing((await self._owned(link, owner)).key)

    async def watch(self, link: Token, owner: Token | None) -> AsyncGenerator[Standing | None, None]:
        """Return where a drop stands, to its owner, and again whenever that changes: see :meth:`Standings.watch`.

        :raises FiledropError: as :meth:`status`, before the first.
        """
        return self._standings.watch((await self._owned(link, owner)).key)

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
                await self._finding.check_gone(before)
            self._transfers.abort(drop.key)

    # -- out --------------------------------------------------------------------------------------

    async def peek(self, visit: Visit, first: int, length: int) -> None:
        """See :meth:`Downloads.peek`."""
        await self._downloads.peek(visit, first, length)

    async def claim(self, visit: Visit) -> Token:
        """See :meth:`Downloads.claim`."""
        return await self._downloads.claim(visit)

    async def deliver(
        self, visit: Visit, first: int, length: int, exchange: Exchange, begin: Callable[[Token], None]
    ) -> None:
        """See :meth:`Downloads.deliver`."""
        await self._downloads.deliver(visit, first, length, exchange, begin)

    async def deliver_whole(
        self, recipient: Recipient, exchange: Exchange, begin: Callable[[Drop, Token], None]
    ) -> bool:
        """Hand all of a drop to somebody who shows nothing, if that needs no second look: see :meth:`Downloads.deliver_whole`.

        :returns: ``False``: nothing was done. :meth:`look` first.
        :raises NotFound: it was never there, or is forgotten, and that is remembered.
        :raises Gone: it was there, and that is remembered.
        :raises Locked: its last copy is being settled, and that takes long; there is none for this one meanwhile.
        """
        settled = await self._downloads.settled(recipient.link.key)
        await self._finding.check_remembered(recipient.link)
        delivered = await self._downloads.deliver_whole(recipient, exchange, begin)
        if not (delivered or settled):
            raise Locked(IN_FLIGHT_RETRY)
        return delivered

    # -- the end ----------------------------------------------------------------------------------

    def dismiss(self) -> None:
        """Let nobody watch any more: the daemon stops."""
        self._standings.end()

    async def stop(self) -> None:
        """Return when all that changes state has ended. Call it when no more requests come."""
        self._recording.give_up()
        await self._downloads.stop()
        await self._recording.stop()
        await self._work.empty()


def _taken_back(ledger: Ledger, now: float, _: Policy) -> tuple[Ledger, None]:
    return revoked(ledger, now), None
