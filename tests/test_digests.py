"""Digests of what comes in pieces: that they are right, and what they are allowed to cost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from filedropd.digests import ALGORITHMS, AT_ONCE, ENOUGH, HASTE, PATIENCE, SHA256, Expected, Summing, check
from filedropd.errors import BadRequest
from tests.support import at_once, result_of

SHA512 = "sha-512"


class Threads:
    """Threads that do what they are given when the test says so.

    :ivar waiting: what they were given and have not done.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], None], Deferred[None]]] = []

    def __call__(self, call: Callable[[], None]) -> Deferred[None]:
        """See Aside."""
        done: Deferred[None] = Deferred()
        self.waiting.append((call, done))
        return done

    def go_on(self) -> None:
        """Do the first."""
        call, done = self.waiting.pop(0)
        call()
        done.callback(None)


def digests(pieces: list[bytes], *algorithms: str) -> dict[str, bytes]:
    """Return the digests of ``pieces``."""

    async def work() -> dict[str, bytes]:
        summing = Summing(algorithms, at_once)
        for piece in pieces:
            await summing.take(piece)
        return await summing.digests()

    return result_of(work())


class SummingTests(SynchronousTestCase):
    """What comes out."""

    @given(
        st.lists(st.integers(0, 3) | st.sampled_from([AT_ONCE, AT_ONCE + 1, ENOUGH - 1, ENOUGH, HASTE]), max_size=6),
        st.sets(st.sampled_from(sorted(ALGORITHMS))),
    )
    def test_pieces(self, sizes, algorithms):
        """In whatever pieces it comes, it has the digests of the whole, by each algorithm."""
        pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
        whole = b"".join(pieces)
        expected = {key: hashlib.new(key.replace("-", ""), whole).digest() for key in algorithms}
        self.assertEqual(expected, digests(pieces, *algorithms))

    def test_empty(self):
        """Nothing at all has a digest."""
        self.assertEqual({SHA256: hashlib.sha256().digest()}, digests([], SHA256))


class CostTests(SynchronousTestCase):
    """Where it is done, and who waits."""

    def setUp(self):
        self.threads = Threads()

    def summing(self, *, asked: bool = True) -> Summing:
        """Return one on the test's threads."""
        return Summing([SHA256], self.threads, asked=asked)

    def take(self, summing: Summing, size: int) -> Deferred[None]:
        """Give it a piece."""
        return Deferred.fromCoroutine(summing.take(bytes(size)))

    def test_few(self):
        """A few bytes are hashed where they are."""
        summing = self.summing()
        self.successResultOf(self.take(summing, AT_ONCE))
        self.assertEqual([SHA256], list(result_of(summing.digests())))
        self.assertEqual([], self.threads.waiting)

    def test_many(self):
        """Many are gathered, and hashed aside while more come; nobody waits for the last ones but who wants the digest."""
        summing = self.summing()
        for _ in range(2):
            self.successResultOf(self.take(summing, ENOUGH // 2))
        self.assertEqual(1, len(self.threads.waiting))
        self.successResultOf(self.take(summing, ENOUGH - 1))
        told = Deferred.fromCoroutine(summing.digests())
        self.assertEqual(1, len(self.threads.waiting))
        self.threads.go_on()
        self.assertNoResult(told)
        self.threads.go_on()
        self.assertEqual({SHA256: hashlib.sha256(bytes(2 * ENOUGH - 1)).digest()}, self.successResultOf(told))

    def test_bounded(self):
        """No more is taken while two lots wait: memory is bounded."""
        summing = self.summing()
        self.successResultOf(self.take(summing, ENOUGH))
        second = self.take(summing, ENOUGH)
        self.assertNoResult(second)
        self.assertEqual(1, len(self.threads.waiting))
        self.threads.go_on()
        self.successResultOf(second)

    def test_left(self):
        """Who leaves while he waits is let go at once; what is being hashed then ends unheard."""
        summing = self.summing()
        self.successResultOf(self.take(summing, ENOUGH))
        waiting = self.take(summing, ENOUGH)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.threads.go_on()
        self.assertEqual([], self.flushLoggedErrors())

    def test_given_up(self):
        """One that nobody asked for is given up when bytes go on coming in haste, and then nothing is held or hashed."""
        summing = self.summing(asked=False)
        for _ in range(PATIENCE // HASTE):
            self.successResultOf(self.take(summing, HASTE))
            self.threads.go_on()
        for _ in range(3):
            self.successResultOf(self.take(summing, HASTE))
        self.assertEqual([], self.threads.waiting)
        self.assertEqual({}, result_of(summing.digests()))

    def test_given_up_slow(self):
        """Nor is it waited for again and again by what comes in small pieces."""
        summing = self.summing(asked=False)
        self.successResultOf(self.take(summing, ENOUGH))
        for _ in range(PATIENCE // ENOUGH):
            waiting = self.take(summing, ENOUGH)
            self.assertNoResult(waiting)
            self.threads.go_on()
            self.successResultOf(waiting)
        self.successResultOf(self.take(summing, ENOUGH))
        self.threads.go_on()
        self.assertEqual({}, result_of(summing.digests()))

    def test_asked(self):
        """One that somebody asked for is waited for, however long."""
        summing = self.summing()
        for _ in range(2 * PATIENCE // HASTE):
            self.successResultOf(self.take(summing, HASTE))
            self.threads.go_on()
        self.assertEqual({SHA256: hashlib.sha256(bytes(2 * PATIENCE)).digest()}, result_of(summing.digests()))

    def test_small_file(self):
        """A file of up to 16 MiB always has one, however fast it comes."""
        summing = self.summing(asked=False)
        for _ in range(PATIENCE // HASTE):
            self.successResultOf(self.take(summing, HASTE))
            self.threads.go_on()
        self.assertEqual([SHA256], list(result_of(summing.digests())))

    def test_now_and_then(self):
        """What piles up now and then does no harm to a file that comes slowly else."""
        summing = self.summing(asked=False)
        for _ in range(2 * PATIENCE // HASTE):
            self.successResultOf(self.take(summing, HASTE))
            self.threads.go_on()
            for _ in range(2):
                self.successResultOf(self.take(summing, ENOUGH))
                self.threads.go_on()
        self.assertEqual([SHA256], list(result_of(summing.digests())))


class CheckTests(SynchronousTestCase):
    """What was said, held against what came."""

    found: ClassVar = {SHA256: b"a" * 32, SHA512: b"b" * 64}

    def test_right(self):
        """What is true passes, and so does nothing at all."""
        check([Expected("Repr-Digest", key, value) for key, value in self.found.items()], self.found)
        check([], {})

    def test_wrong(self):
        """Of several, each must be true; the error says which is not, and where it was said."""
        said = [Expected("Repr-Digest", SHA256, b"a" * 32), Expected("Content-Digest", SHA512, b"c" * 64)]
        error = self.assertRaises(BadRequest, check, said, self.found)
        self.assertIn("Content-Digest", error.detail)
        self.assertIn(SHA512, error.detail)
