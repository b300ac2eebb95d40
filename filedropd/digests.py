"""Digests of bytes that come in, worked out while the bytes go on to the disk.

SHA-256 takes about as long as all the rest that becomes of a piece of an upload: on the thread that writes, after the
write, it would cost a third of the throughput.  So pieces are hashed on another thread while they are written and the
next ones are read; hashlib lets go of the interpreter meanwhile.

Where bytes come faster than they are hashed even so (from this machine itself, or where cores are few), a digest that
somebody asked for is waited for.  One that nobody asked for is given up: it is to cost nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol, TypeAlias

import attrs
from twisted.internet.defer import Deferred

from filedropd.errors import DigestMismatch

#: What is kept of every file of which it can be had for nothing.
SHA256: Final = "sha-256"


class _Hash(Protocol):
    """What hashlib has."""

    @property
    def digest_size(self) -> int: ...

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


#: The algorithms by their keys (RFC 9530 section 5): all that are active, and none that are deprecated.
ALGORITHMS: Final[Mapping[str, Callable[[], _Hash]]] = {SHA256: hashlib.sha256, "sha-512": hashlib.sha512}

#: Bytes of a digest of each.
SIZES: Final[Mapping[str, int]] = {key: begin().digest_size for key, begin in ALGORITHMS.items()}

#: Bytes that make a trip to a thread worth while; fewer are hashed where they are.
AT_ONCE: Final = 32 * 1024
#: Bytes that are gathered for such a trip.
ENOUGH: Final = 256 * 1024

#: So many bytes at once have waited in the socket: whoever sends them is faster than we are.
HASTE: Final = 512 * 1024
#: A digest that nobody asked for is given up when so many bytes more have come in haste than not. So that of a file of
#: this size is always to be had, and what piles up now and then does no harm.
PATIENCE: Final = 16 * 1024 * 1024

#: Makes a call on a thread; fires when it has ended.
Aside: TypeAlias = Callable[[Callable[[], None]], Deferred[None]]


@attrs.frozen
class Expected:
    """What somebody says of bytes that he sends.

    :ivar source: where he says it.
    :ivar algorithm: one of :data:`ALGORITHMS`.
    :ivar value: as many bytes as that has.
    """

    source: str
    algorithm: str
    value: bytes


def check(expected: Iterable[Expected], found: Mapping[str, bytes]) -> None:
    """Return if all of it is true.

    :param found: the digests of what came, by all algorithms that are named.
    :raises DigestMismatch: something is not; says what.
    """
    for each in expected:
        if found[each.algorithm] != each.value:
            raise DigestMismatch(each.source, each.algorithm)


class Summing:
    """The digests of one thing, whose bytes come in pieces.

    Its calls come one at a time.  What is held that is not hashed yet is bounded: what is being hashed, and what is
    gathered meanwhile.

    :param algorithms: some of :data:`ALGORITHMS`.
    :param aside: hashes what takes long.
    :param asked: somebody has asked for them: they are not given up.
    """

    def __init__(self, algorithms: Iterable[str], aside: Aside, *, asked: bool = True) -> None:
        self._hashes = {key: ALGORITHMS[key]() for key in algorithms}
        self._aside = aside
        self._asked = asked
        self._behind = 0
        self._gathered: list[bytes] = []
        self._pending = 0
        self._running: Deferred[None] | None = None

    async def take(self, data: bytes) -> None:
        """Take the next piece; returns at once, or when what was taken before is hashed."""
        if not self._hashes:
            return
        self._gathered.append(data)
        self._pending += len(data)
        if self._pending < ENOUGH:
            return
        if self._too_fast() and not self._asked:
            self._hashes = {}
            self._hash()  # which lets go of what is gathered
            return
        await self._caught_up()
        self._running = self._aside(self._hash())

    async def digests(self) -> dict[str, bytes]:
        """Return the digests of what was taken, by their algorithms; none where they were given up. No more is taken after."""
        await self._caught_up()
        if self._pending > AT_ONCE:
            await self._aside(self._hash())
        else:
            self._hash()()
        return {key: each.digest() for key, each in self._hashes.items()}

    def _too_fast(self) -> bool:
        """Tell whether hashing holds up what comes, by now."""
        waits = self._running is not None and not self._running.called
        haste = waits or self._pending >= HASTE
        self._behind = max(0, self._behind + (self._pending if haste else -self._pending))
        return self._behind > PATIENCE

    async def _caught_up(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running

    def _hash(self) -> Callable[[], None]:
        """Return what hashes all that is gathered; gather anew."""
        hashes, pieces = self._hashes, self._gathered
        self._gathered, self._pending = [], 0

        def hash_all() -> None:
            for each in hashes.values():
                for piece in pieces:
                    each.update(piece)

        return hash_all
