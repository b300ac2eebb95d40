"""One upload while it comes in: what its sender asks for, its bytes, and what it is answered with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import attrs

from filedropd.deferreds import Gathering, shielded
from filedropd.digests import SHA256, Aside, Expected, Summing, check
from filedropd.errors import TooLarge
from filedropd.model import Drop
from filedropd.tokens import Token

if TYPE_CHECKING:
    from filedropd.interfaces import IBlobs, IIncomingBlob

#: Bytes that are gathered before they are written.
WRITE_SIZE: Final = 256 * 1024


@attrs.frozen(kw_only=True)
class Terms:
    """What a sender asks for.

    :ivar password: as :func:`filedropd.passwords.normalised` returned it, or ``None``.
    :ivar expires: seconds to keep the drop, at most ``Rules.max_expires``.
    :ivar downloads: copies to hand out, at least 1 and at most ``Rules.max_downloads``.
    """

    password: bytes | None = attrs.field(default=None, repr=False)
    expires: float
    downloads: int = 1


@attrs.frozen(kw_only=True)
class Receipt:
    """What the sender of a drop is told. The two tokens exist here and nowhere else."""

    drop: Drop
    link: Token
    owner: Token


class Upload:
    """The bytes of one upload on their way in. Use it with ``async with``; without :meth:`keep` nothing stays.

    Of bytes that are written the SHA-256 is worked out by the way, as long as that costs nothing, and kept.  What is
    spliced nobody sees: of such an upload it is not known.

    :param aside: for what takes long to hash.
    :param expected: bytes that will come at most, as far as that is known: few are gathered, and go to the store in one go.
    """

    def __init__(
        self,
        blobs: IBlobs,
        max_size: int,
        prepare: Callable[[IIncomingBlob, str, str, Terms, bytes | None], Awaitable[Receipt]],
        commit: Callable[[Drop, IIncomingBlob], Awaitable[None]],
        *,
        aside: Aside,
        expected: int | None = None,
    ) -> None:
        self._blobs = blobs
        self._max_size = max_size
        self._prepare = prepare
        self._commit = commit
        self._committing = Gathering()
        self._incoming: IIncomingBlob | None = None
        self._gathered: list[bytes] = []
        self._pending = 0
        self._size = 0
        self._left = False
        self._small = expected is not None and expected <= WRITE_SIZE
        self._begun = self._kept = False
        self._aside = aside
        self._summing: Summing | None = Summing([SHA256], aside, asked=False)
        self._held_to: Sequence[Expected] = ()

    async def __aenter__(self) -> Self:
        self._begun = True
        if not self._small:  # if there is no room, it is told before the bytes come
            try:
                await shielded(self._receive())
            except BaseException:
                self._left = True
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gathered.clear()
        self._left = True
        if not self._kept:
            await shielded(self._discard())

    def hold_to(self, said: Sequence[Expected]) -> None:
        """Work out the SHA-256 at any price, and keep nothing unless all that is ``said`` is true of the file.

        Call it before any bytes come; they must be written.
        """
        self._held_to = said
        self._summing = Summing({SHA256} | {each.algorithm for each in said}, self._aside)

    async def write(self, data: bytes) -> None:
        """Take the next bytes.

        :raises TooLarge: they are more than is allowed.
        :raises InsufficientStorage: there is no room for them.
        """
        self._count(len(data))
        if self._summing is not None:
            await self._summing.take(data)
        self._gathered.append(data)
        self._pending += len(data)
        if self._pending >= WRITE_SIZE:
            await self._flush()

    async def splice(self, pipe: int, size: int) -> None:
        """Take ``size`` bytes that are in ``pipe``, as :meth:`IIncomingBlob.splice` does.

        :raises TooLarge: they are more than is allowed.
        :raises InsufficientStorage: there is no room for them.
        """
        self._count(size)
        self._summing = None
        incoming = await self._flush()
        await incoming.splice(pipe, size)

    def _count(self, octets: int) -> None:
        self._size += octets
        if self._size > self._max_size:
            raise TooLarge(self._max_size)

    async def keep(self, name: str, content_type: str, terms: Terms) -> Receipt:
        """Make a drop of what was written. Once this returns it survives a crash.

        :raises DigestMismatch: it is not what it was held to.
        """
        digests = {} if self._summing is None else await self._summing.digests()
        check(self._held_to, digests)
        incoming = await self._sealed()
        receipt = await self._prepare(incoming, name, content_type, terms, digests.get(SHA256))
        await shielded(self._keep(receipt.drop, incoming))
        self._kept = True
        return receipt

    async def _receive(self, whole: bytes | None = None) -> None:
        """Begin in the store; with ``whole``, and end there."""
        if not self._begun:
            raise RuntimeError("an upload is used with 'async with'")
        self._incoming = await (self._blobs.receive() if whole is None else self._blobs.receive_whole(whole))
        if self._left:
            await self._incoming.discard()

    async def _sealed(self) -> IIncomingBlob:
        """Return the blob with all its bytes durable: in one go, where few came."""
        if self._incoming is None:
            await shielded(self._receive(self._taken()))
            return self._there()
        incoming = await self._flush()
        await incoming.seal()
        return incoming

    async def _keep(self, drop: Drop, incoming: IIncomingBlob) -> None:
        with self._committing:
            await self._commit(drop, incoming)

    async def _discard(self) -> None:
        # Whoever leaves while the row is being committed does not stop that: its bytes must be there.
        await self._committing.empty()
        if self._incoming is not None:
            await self._incoming.discard()  # does nothing to what was published

    async def _flush(self) -> IIncomingBlob:
        if self._incoming is None:  # more came than was expected
            await shielded(self._receive())
        incoming = self._there()
        if data := self._taken():
            await incoming.write(data)
        return incoming

    def _taken(self) -> bytes:
        """Return what was gathered, and gather anew."""
        data, self._gathered, self._pending = b"".join(self._gathered), [], 0
        return data

    def _there(self) -> IIncomingBlob:
        if self._incoming is None:
            raise RuntimeError("the upload has not begun")
        return self._incoming
