"""Passwords of drops: argon2id (RFC 9106), on threads of its own, a bounded number at once.

One hash takes some 20 ms of a processor and, as configured, 19 MiB of memory on purpose.  So that
nobody can make us run out of either, at most ``parallel`` hashes run at once and at most ``queue``
more wait for their turn.
"""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from argon2.low_level import error_to_str
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from filedropd.deferreds import Gathering, shielded
from filedropd.errors import BadRequest, Unavailable
from filedropd.stream_safe import MOST, stream_safe
from filedropd.threads import Threads
from filedropd.tokens import Randomness

#: The longest password, in bytes of UTF-8.
LIMIT = 1024

#: Bytes of salt in a hash, as RFC 9106 section 3.1 recommends.
_SALT = 16

#: A password that no drop has: it is empty.
IMPOSSIBLE = b""

#: The library says only in words that it lacks memory: ARGON2_MEMORY_ALLOCATION_ERROR of argon2.h.
_OUT_OF_MEMORY = error_to_str(-22)

T = TypeVar("T")
P = ParamSpec("P")

_log = Logger()


def normalised(text: str) -> bytes:
    """Return the bytes of a password that somebody chose, the same however it was typed.

    As in the OpaqueString profile (RFC 8265 section 4.2): every space becomes U+0020, the rest is
    brought into Unicode's form C; case and everything else stay.

    :raises BadRequest: it is empty, longer than 1,024 bytes, no Unicode text, or has more marks on a letter than any
        writing (:mod:`.stream_safe`).
    """
    if not text:
        raise BadRequest("The password is empty. Give one, or leave it out.", about="password")
    # Form C may be shorter than what was typed, but not by half: anything longer need not be looked at.
    if len(text) <= 2 * LIMIT:
        if stream_safe(text) != text:
            raise BadRequest(f"The password has more than {MOST} marks on one letter.", about="password")
        spaced = "".join(" " if unicodedata.category(character) == "Zs" else character for character in text)
        try:
            password = unicodedata.normalize("NFC", spaced).encode("utf-8")
        except UnicodeEncodeError:
            # Not `from` it: that error shows the text.
            raise BadRequest("The password is not valid Unicode text (UTF-8).", about="password") from None
        if len(password) <= LIMIT:
            return password
    raise BadRequest(f"The password is too long: {LIMIT} bytes of UTF-8 at most.", about="password")


def candidate(text: str | None) -> bytes | None:
    """Return the bytes of a password that somebody tries: :data:`IMPOSSIBLE` for what no drop can have.

    What :func:`normalised` refuses is simply wrong here. ``None`` stays ``None``: none was tried.
    """
    try:
        return None if text is None else normalised(text)
    except BadRequest:
        return IMPOSSIBLE


class Algorithm(Protocol):
    """A password hash. Its calls block for long and hold much memory: that is what they are for."""

    def hash(self, password: bytes) -> str:
        """Return a new hash of ``password``, with its salt and parameters."""

    def verify(self, password: bytes, stored: str) -> bool:
        """Tell whether ``stored`` is a hash of ``password``, made with whatever parameters.

        :raises MemoryError: there is not enough memory to tell.
        """


class Argon2id:
    """Argon2id with one lane.

    :param memory: of one hash, in bytes; at least 8 KiB.
    :param time: passes over that memory; at least 1.
    :param randomness: makes the salts.
    """

    def __init__(self, *, memory: int, time: int, randomness: Randomness = secrets.token_bytes) -> None:
        if memory < 8 * 1024 or time < 1:
            raise ValueError("argon2id takes 8 KiB of memory and one pass over it at least (RFC 9106 section 3.1)")
        self._hasher = PasswordHasher(time_cost=time, memory_cost=memory // 1024, parallelism=1)
        self._randomness = randomness

    def hash(self, password: bytes) -> str:
        """Return a hash in PHC form: ``$argon2id$v=19$m=…,t=…,p=1$<salt>$<hash>``."""
        return self._hasher.hash(password, salt=self._randomness(_SALT))

    def verify(self, password: bytes, stored: str) -> bool:
        """Tell whether ``stored`` is an argon2 hash of ``password``.

        What is no hash at all fits no password; the log says that there is one.

        :raises MemoryError: there is less memory than ``stored`` asks for.
        """
        try:
            return self._hasher.verify(stored, password)
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError, UnicodeEncodeError) as error:
            if str(error) == _OUT_OF_MEMORY:
                raise MemoryError from None
            _log.error("a stored password hash cannot be read: no password will fit it")
            return False


class Passwords:
    """Hashes and verifies, off the reactor's thread.

    :param reactor: brings back the results of threads.
    :param algorithm: makes and verifies the hashes.
    :param parallel: how many hashes are computed at once.
    :param queue: how many more may wait.
    """

    def __init__(
        self, reactor: IReactorFromThreads, algorithm: Algorithm, *, parallel: int = 2, queue: int = 64
    ) -> None:
        self._reactor = reactor
        self._algorithm = algorithm
        self._parallel = parallel
        self._queue = queue
        self._pool: Threads | None = None
        self._turns = DeferredSemaphore(parallel)
        self._running = Gathering()

    def start(self) -> None:
        """Take passwords from now on."""
        self._pool = Threads(self._reactor, self._parallel, "passwords")

    async def stop(self) -> None:
        """Take no more; return when the hashes that are being computed are done.

        Those that wait for their turn are told that we are unavailable.  A second call does nothing.
        """
        pool, self._pool = self._pool, None
        if pool is not None:
            await self._running.empty()
            pool.stop()

    async def hash(self, password: bytes) -> str:
        """Return what is to be stored for ``password``.

        :raises Unavailable: too many passwords are waiting, or there is no memory for another.
        """
        return await self._in_turn(self._algorithm.hash, password)

    async def verify(self, password: bytes, stored: str) -> bool:
        """Tell whether ``password`` is the one that ``stored`` was made from.

        :raises Unavailable: too many passwords are waiting, or there is no memory for another.
        """
        return await self._in_turn(self._algorithm.verify, password, stored)

    async def _in_turn(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._turns.tokens == 0 and len(self._turns.waiting) >= self._queue:
            raise Unavailable("Too many passwords are being checked. Try again in a moment.", retry_after=1)
        # Who leaves while he waits costs nothing: a hash that has begun is computed to its end.
        await self._turns.acquire()
        return await shielded(self._compute(call, *args, **kwargs))

    async def _compute(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            if self._pool is None:
                raise Unavailable("Passwords cannot be checked while the service stops. Try again in a moment.")
            with self._running:
                return await self._pool.run(call, *args, **kwargs)
        except MemoryError:
            _log.error("there is no memory for a password hash: lower --password-memory or --password-parallel")
            raise Unavailable("There is no room to check passwords now. Try again in a moment.") from None
        finally:
            self._turns.release()
