"""Drops: upload, look, deliver, revoke.

The order of the steps lives here and nowhere else.  Each step that changes state is durable before
the next one has an effect that anybody can see: the row is committed before 201 is sent, the claim
before the first byte, *gone* before the bytes are deleted.

What changes state is shielded: a client that leaves ends its own waiting, not our work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from filedropd.deferreds import Gathering, Happening, shielded
from filedropd.errors import Gone, Locked, NotFound, OwnerRequired, PasswordRequired
from filedropd.model import Claim, ClaimState, Drop, DropState, Outcome, Reason, claim_ended
from filedropd.passwords import IMPOSSIBLE, Passwords
from filedropd.tokens import Randomness, Token, random_name, short
from filedropd.upload import Receipt, Terms, Upload

if TYPE_CHECKING:
    from filedropd.interfaces import Exchange, IBlob, IBlobs, ICache, IDelivery, IIncomingBlob, IRecords, Settlement
    from filedropd.reaper import Reaper

#: Seconds for which a request waits for a claim that is settling.
SETTLING: Final = 1.5
#: Seconds after which a client that met somebody else's download may ask again.
LOCKED_RETRY: Final = 5
#: Seconds for which it is remembered that an id was never there, or is gone.
CACHE_NEVER: Final = 60.0
CACHE_GONE: Final = 3600.0

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
        blobs: IBlobs,
        cache: ICache,
        delivery: IDelivery,
        passwords: Passwords,
        reaper: Reaper,
        rules: Rules,
        clock: IReactorTime,
        now: Callable[[], float],
        randomness: Randomness,
    ) -> None:
        self.rules = rules
        self._records = records
        self._blobs = blobs
        self._cache = cache
        self._delivery = delivery
        self._passwords = passwords
        self._reaper = reaper
        self._clock = clock
        self._now = now
        self._randomness = randomness
        self._transfers: dict[bytes, set[_Transfer]] = {}
        self._work = Gathering()

    # -- in ---------------------------------------------------------------------------------------

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
            await self._records.insert(drop)
            try:
                await incoming.publish()
            except BaseException:
                # The row is there and its bytes are not where it says: nobody has the link, end it.
                await self._records.end(drop.key, Reason.REVOKED, self._now())
                raise
            self._reaper.expect(drop.due_at)
            self._log.info("drop {drop} kept, {size} bytes", drop=short(drop.key), size=drop.size)

    # -- looking ----------------------------------------------------------------------------------

    async def look(self, link: Token, password: bytes | None) -> Drop:
        """Return the drop behind ``link``, for somebody who shows ``password``.

        :raises NotFound: it was never there, or is forgotten.
        :raises Gone: it was there.
        :raises PasswordRequired: it has another password, or none was shown; the two take the same time.
            What no password can be is refused without a hash.
        """
        drop = await self._available(link)
        if drop.password is not None and (
            password == IMPOSSIBLE or not await self._passwords.verify(password, drop.password)
        ):
            raise PasswordRequired
        return drop

    async def status(self, link: Token, owner: Token | None) -> tuple[Drop, list[Claim]]:
        """Return a drop, gone or not, and its claims, to its owner.

        :raises NotFound: it was never there, or is forgotten.
        :raises OwnerRequired: ``owner`` is not its owner's token.
        """
        drop = await self._owned(link, owner)
        return drop, await self._records.claims(drop.key)

    async def ready(self) -> None:
        """Return if drops can be taken and handed out.

        :raises FiledropError: they cannot, and why.
        """
        await self._records.ping()
        await self._blobs.ping()

    async def _available(self, link: Token) -> Drop:
        verdict = await self._cache.get(link.key)
        if verdict is not None:
            raise NotFound if verdict == _NEVER else Gone(verdict.decode("ascii"))
        drop = await self._records.find(link.key)
        if drop is None:
            await self._cache.set(link.key, _NEVER, CACHE_NEVER)
            raise NotFound
        await self._check_gone(drop)
        return drop

    async def _check_gone(self, drop: Drop) -> None:
        reason = drop.gone(self._now())
        if reason is None:
            return
        # A drop whose time is over by a clock that is put back later is available again.
        if drop.state is not DropState.AVAILABLE:
            await self._cache.set(drop.key, reason.value.encode("ascii"), CACHE_GONE)
        raise Gone(reason.value)

    async def _owned(self, link: Token, owner: Token | None) -> Drop:
        drop = await self._records.find(link.key)
        if drop is None:
            raise NotFound
        if owner is None or not owner.matches(drop.owner_key):
            raise OwnerRequired
        return drop

    def locked(self, drop: Drop) -> bool:
        """Tell whether all the copies of ``drop`` that are left are being downloaded."""
        return drop.delivered + drop.live >= drop.downloads

    # -- out --------------------------------------------------------------------------------------

    async def deliver(self, drop: Drop, first: int, length: int, exchange: Exchange, begin: Callable[[], None]) -> None:
        """Hand ``length`` bytes from ``first`` of ``drop`` to whoever is at the other end of ``exchange``.

        A claim is opened before, and ended when it is known what became of the bytes.

        :param begin: called once the claim is open and the bytes are there: writes the answer's head.
        :raises Locked: somebody else has the copy.
        :raises Gone: it is gone by now.
        """
        await shielded(self._deliver(drop, first, length, exchange, begin))

    async def _deliver(
        self, drop: Drop, first: int, length: int, exchange: Exchange, begin: Callable[[], None]
    ) -> None:
        with self._work:
            claim = await self._claim(drop, first, length)
            transfer = _Transfer(exchange)
            self._transfers.setdefault(drop.key, set()).add(transfer)
            try:
                blob = await self._open(drop, claim)
                outcome = Outcome(acknowledged=0, complete=False)
                try:
                    begin()
                    outcome = await self._delivery.deliver(blob, first, length, transfer)
                finally:
                    blob.close()
                    await self._end_claim(claim, outcome)
            finally:
                self._forget_transfer(drop.key, transfer)

    async def _claim(self, drop: Drop, first: int, length: int) -> Claim:
        """Open a claim. Meets one that is settling with patience: its outcome is this one's answer."""
        patience = self._clock.seconds() + SETTLING
        while True:
            now = self._now()
            claim = Claim(id=random_name(self._randomness), drop=drop.key, first=first, length=length, opened_at=now)
            if await self._records.open_claim(claim, now) is not None:
                return claim
            current = await self._records.find(drop.key)
            if current is None:
                raise NotFound
            await self._check_gone(current)
            settling = next((other for other in self._transfers.get(drop.key, ()) if other.settling), None)
            remaining = patience - self._clock.seconds()
            if settling is None and self.locked(current):
                raise Locked(LOCKED_RETRY)
            if remaining <= 0:
                raise Locked(1)
            if settling is not None:
                await settling.over.within(self._clock, remaining)

    async def _open(self, drop: Drop, claim: Claim) -> IBlob:
        try:
            return await self._blobs.open(drop.blob)
        except BaseException as error:
            # Nothing was sent: the claim must not cost its recipient anything.
            await self._records.release_claim(claim.id)
            if isinstance(error, FileNotFoundError):  # the drop may have ended since it was claimed
                await self._available_or_gone(drop.key)
            raise

    async def _end_claim(self, claim: Claim, outcome: Outcome) -> None:
        drop = await self._records.end_claim(claim.id, outcome, self._now())
        state = ClaimState.BROKEN if drop is None else claim_ended(claim, outcome, drop.size)
        self._log.info(
            "claim {claim} on drop {drop} {state}: {acknowledged} of {length} bytes from {first}",
            claim=claim.id[:8],
            drop=short(claim.drop),
            state=state.value,
            acknowledged=outcome.acknowledged,
            length=claim.length,
            first=claim.first,
        )
        if drop is not None and drop.state is DropState.GONE:
            self._reaper.wake()

    def _forget_transfer(self, key: bytes, transfer: _Transfer) -> None:
        transfers = self._transfers.get(key, set())
        transfers.discard(transfer)
        if not transfers:
            self._transfers.pop(key, None)
        transfer.over.happen()

    # -- ends -------------------------------------------------------------------------------------

    async def revoke(self, link: Token, owner: Token | None) -> None:
        """Take a drop back at its owner's wish; downloads that are running are broken off.

        :raises NotFound: it was never there, or is forgotten.
        :raises OwnerRequired: ``owner`` is not its owner's token.
        :raises Gone: it is gone already.
        """
        drop = await self._owned(link, owner)
        await self._check_gone(drop)
        await shielded(self._revoke(drop))

    async def _revoke(self, drop: Drop) -> None:
        with self._work:
            ended = await self._records.end(drop.key, Reason.REVOKED, self._now())
            if ended is None:
                await self._available_or_gone(drop.key)
            for transfer in list(self._transfers.get(drop.key, ())):
                transfer.abort()
            self._log.info("drop {drop} revoked", drop=short(drop.key))
            self._reaper.wake()

    async def _available_or_gone(self, key: bytes) -> None:
        current = await self._records.find(key)
        if current is None:
            raise NotFound
        await self._check_gone(current)

    async def stop(self) -> None:
        """Return when all that changes state has ended. Call it when no more requests come."""
        await self._work.empty()


class _Transfer:
    """One answer that is being given, watched for the moment at which it begins to settle."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.settling = False
        self.over = Happening()

    async def send(self, data: bytes) -> None:
        await self._exchange.send(data)

    async def settle(self) -> Settlement:
        self.settling = True
        return await self._exchange.settle()

    def abort(self) -> None:
        self._exchange.abort()
