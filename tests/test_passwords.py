"""Passwords: what they are made into, what checking them costs, and who may know."""

from __future__ import annotations

import resource
import threading
import unicodedata
from typing import Any, cast

import argon2
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase

from filedropd.deferreds import sleep
from filedropd.errors import BadRequest, Unavailable
from filedropd.passwords import IMPOSSIBLE, Algorithm, Argon2id, Passwords, candidate, normalised

reactor = cast(IReactorFromThreads, global_reactor)

SECRET = b"correct horse battery staple"


def cheap(memory: int = 8 * 1024, time: int = 1) -> Argon2id:
    """Return the real algorithm at its least cost."""
    return Argon2id(memory=memory, time=time)


def too_large() -> str:
    """Return a hash of the secret that asks for 4 TiB."""
    return cheap().hash(SECRET).replace("m=8,", f"m={2**32 - 1},")


def bound_memory(case: SynchronousTestCase) -> None:
    """Give this process 1 TiB of addresses until the test ends, also where the kernel promises more than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**40, hard))
    case.addCleanup(resource.setrlimit, resource.RLIMIT_AS, (soft, hard))


class NormalisedTests(SynchronousTestCase):
    """One password is one byte string, however it is typed."""

    def test_table(self) -> None:
        """Spaces become one kind of space, letters with accents one code point, the rest stays."""
        for text, password in [
            ("secret", b"secret"),
            ("Secret", b"Secret"),
            (" two  words ", b" two  words "),
            ("no\u00a0break", b"no break"),
            ("wide\u3000space", b"wide space"),
            ("en\u2000quad", b"en quad"),
            ("e\u0301", "é".encode()),
            ("\u212b", "Å".encode()),
            ("\ufb01", "\ufb01".encode()),
            ("пароль", "пароль".encode()),
            ("🔑", "🔑".encode()),
            ("tab\tand\x00nul", b"tab\tand\x00nul"),
        ]:
            self.assertEqual(password, normalised(text), ascii(text))

    def test_refused(self) -> None:
        """What cannot be a password is refused in words that do not repeat it."""
        for text in [
            "",
            "canary" * 171,
            "é" * 513,
            "canary" * 100_000,
            "canary\ud800",
            "canary\udcff",
            "canary" + "\u0301" * 31,
        ]:
            with self.assertRaises(BadRequest) as raised:
                normalised(text)
            self.assertNotIn("canary", raised.exception.detail)
            self.assertIsNone(raised.exception.__cause__)

    def test_longest(self) -> None:
        """1,024 bytes are a password, also where more were typed."""
        self.assertEqual(1024, len(normalised("x" * 1024)))
        self.assertEqual(1024, len(normalised("u\u0308\u0304" * 512)))

    @given(st.text(min_size=1, max_size=300))
    def test_forms(self, text: str) -> None:
        """Composed or decomposed, once or twice: it is the same password, and the bytes are UTF-8."""
        password = candidate(text)
        if password:
            self.assertEqual(password, candidate(unicodedata.normalize("NFD", text)))
            self.assertEqual(password, normalised(password.decode()))

    @given(st.text(st.characters(), max_size=600) | st.none())
    def test_candidate(self, text: str | None) -> None:
        """A candidate is what would be stored, or what no drop has, or nothing; it is never an error."""
        try:
            expected = None if text is None else normalised(text)
        except BadRequest:
            expected = IMPOSSIBLE
        self.assertEqual(expected, candidate(text))


class Argon2idTests(SynchronousTestCase):
    """The hash itself."""

    def test_parameters(self) -> None:
        """A hash says how it was made: argon2id, memory in KiB, passes, one lane."""
        stored = cheap(memory=16 * 1024, time=3).hash(SECRET)
        self.assertTrue(stored.startswith("$argon2id$v=19$m=16,t=3,p=1$"), stored)

    def test_salt(self) -> None:
        """The salt comes from the randomness that was given; 16 bytes of it."""
        algorithm = Argon2id(memory=8192, time=1, randomness=lambda n: b"s" * n)
        self.assertEqual(algorithm.hash(SECRET), algorithm.hash(SECRET))
        self.assertEqual(16, argon2.extract_parameters(algorithm.hash(SECRET)).salt_len)

    def test_salts_differ(self) -> None:
        """Two drops with one password do not show that they have."""
        self.assertNotEqual(cheap().hash(SECRET), cheap().hash(SECRET))

    def test_other_parameters(self) -> None:
        """A hash that was made at another cost, or of another kind of argon2, still fits."""
        older = argon2.PasswordHasher(time_cost=2, memory_cost=32, parallelism=2, type=argon2.Type.I)
        for stored in (cheap(memory=64 * 1024, time=2).hash(SECRET), older.hash(SECRET)):
            self.assertTrue(cheap().verify(SECRET, stored))
            self.assertFalse(cheap().verify(b"wrong", stored))

    def test_any_bytes(self) -> None:
        """A password is bytes, and every one of them counts: NUL, and the last of 1,024."""
        stored = cheap().hash(b"a\x00b" + b"x" * 1021)
        self.assertTrue(cheap().verify(b"a\x00b" + b"x" * 1021, stored))
        self.assertFalse(cheap().verify(b"a\x00c" + b"x" * 1021, stored))
        self.assertFalse(cheap().verify(b"a\x00b" + b"x" * 1020 + b"y", stored))

    def test_no_hash(self) -> None:
        """What is stored and is no hash fits nothing; the log tells that, and shows neither it nor the password."""
        for stored in ["", "canary", "$argon2id$canary", "$argon2id$v=19$m=8,t=1,p=1$canary", "canary é", "$2b$canary"]:
            with capturedLogs() as events:
                self.assertFalse(cheap().verify(SECRET, stored))
            self.assertEqual(1, len(events))
            self.assertNotIn("canary", str(events))
            self.assertNotIn(SECRET.decode(), str(events))

    def test_no_memory(self) -> None:
        """A hash that asks for more memory than there is does not make the right password wrong."""
        bound_memory(self)
        with self.assertRaises(MemoryError):
            cheap().verify(SECRET, too_large())

    def test_too_cheap(self) -> None:
        """Parameters that argon2 does not have are refused when they are given."""
        for memory, time in [(8191, 1), (8192, 0)]:
            with self.assertRaises(ValueError):
                Argon2id(memory=memory, time=time)


class Waiting:
    """An algorithm that computes for as long as a test wants, and counts."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.threads: set[int] = set()
        self.calls: list[tuple[bytes, ...]] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def hash(self, password: bytes) -> str:
        self._wait(password)
        return "hashed"

    def verify(self, password: bytes, stored: str) -> bool:
        self._wait(password, stored.encode())
        return stored == "hashed"

    def _wait(self, *call: bytes) -> None:
        with self._lock:
            self.threads.add(threading.get_ident())
            self.calls.append(call)
            self._now += 1
            self.most = max(self.most, self._now)
        self.begun.release()
        self.go.acquire()
        with self._lock:
            self._now -= 1

    def finish(self, count: int) -> None:
        """Let ``count`` computations end."""
        self.go.release(count)


class PasswordsTestCase(TestCase):
    """Passwords on real threads."""

    def passwords(self, algorithm: Algorithm, **limits: int) -> Passwords:
        """Return what is started now, and stopped when the test ends."""
        passwords = Passwords(reactor, algorithm, **limits)
        passwords.start()
        self.addCleanup(passwords.stop)
        return passwords

    def hashing(self, passwords: Passwords, count: int) -> list[Deferred[str]]:
        """Begin ``count`` hashes."""
        return [Deferred.fromCoroutine(passwords.hash(b"%d" % number)) for number in range(count)]


class PasswordsTests(PasswordsTestCase):
    """Passwords with the real algorithm."""

    async def test_right(self):
        """The password that was hashed fits."""
        passwords = self.passwords(cheap())
        self.assertIs(True, await passwords.verify(SECRET, await passwords.hash(SECRET)))

    async def test_wrong(self):
        """Another does not."""
        passwords = self.passwords(cheap())
        self.assertIs(False, await passwords.verify(b"wrong", await passwords.hash(SECRET)))

    async def test_no_memory(self):
        """Where memory is short the client is asked to come again, not told that he is wrong."""
        bound_memory(self)
        passwords = self.passwords(cheap())
        with self.assertRaises(Unavailable):
            await passwords.verify(SECRET, too_large())

    async def test_no_secret_shown(self):
        """Neither ``repr`` nor the log shows a password or a hash."""
        passwords = self.passwords(cheap())
        with capturedLogs() as events:
            stored = await passwords.hash(SECRET)
            await passwords.verify(b"canary", stored)
            await passwords.verify(b"canary", "no hash")
        shown = repr(passwords) + str(passwords) + str(events)
        for secret in (SECRET.decode(), "canary", stored, "no hash"):
            self.assertNotIn(secret, shown)


class BoundsTests(PasswordsTestCase):
    """How much may be computed, by how many, and who waits."""

    async def test_parallel(self):
        """No more hashes run at once than may, and as many as may do."""
        algorithm = Waiting()
        passwords = self.passwords(algorithm, parallel=3)
        hashes = self.hashing(passwords, 10)
        for _ in range(3):
            algorithm.begun.acquire()
        self.assertFalse(algorithm.begun.acquire(blocking=False))
        algorithm.finish(10)
        await gatherResults(hashes)
        self.assertEqual(3, algorithm.most)

    async def test_threads(self):
        """Nothing is computed on the reactor's thread."""
        algorithm = Waiting()
        algorithm.finish(2)
        passwords = self.passwords(algorithm)
        await passwords.verify(SECRET, await passwords.hash(SECRET))
        self.assertNotIn(threading.get_ident(), algorithm.threads)

    async def test_reactor_goes_on(self):
        """The reactor's time goes on while hashes are computed."""
        algorithm = Waiting()
        hashes = self.hashing(self.passwords(algorithm), 5)
        algorithm.begun.acquire()
        await sleep(cast(IReactorTime, reactor), 0)
        self.assertEqual([False] * 5, [bool(waiting.called) for waiting in hashes])
        algorithm.finish(5)
        await gatherResults(hashes)

    async def test_queue(self):
        """Beyond the queue's end the client is asked to come again in a second; nobody else notices."""
        algorithm = Waiting()
        passwords = self.passwords(algorithm, parallel=1, queue=2)
        hashes = self.hashing(passwords, 3)
        with self.assertRaises(Unavailable) as raised:
            await passwords.hash(SECRET)
        self.assertEqual(1, raised.exception.retry_after)
        algorithm.finish(4)
        self.assertEqual(["hashed"] * 3, await gatherResults(hashes))
        self.assertEqual("hashed", await passwords.hash(SECRET))

    async def test_no_queue(self):
        """A queue of none lets those run that may at once."""
        algorithm = Waiting()
        passwords = self.passwords(algorithm, parallel=1, queue=0)
        (running,) = self.hashing(passwords, 1)
        with self.assertRaises(Unavailable):
            await passwords.hash(SECRET)
        algorithm.finish(1)
        await running

    async def test_leaving_the_queue(self):
        """Who leaves while he waits gives his place to the next, and nothing is computed for him."""
        algorithm = Waiting()
        passwords = self.passwords(algorithm, parallel=1, queue=1)
        running, waiting = self.hashing(passwords, 2)
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        next_one = Deferred.fromCoroutine(passwords.hash(b"next"))
        algorithm.finish(2)
        await gatherResults([running, next_one])
        self.assertEqual([(b"0",), (b"next",)], algorithm.calls)

    async def test_leaving_the_thread(self):
        """Who leaves while his hash is computed leaves its turn taken until it is done."""
        algorithm = Waiting()
        passwords = self.passwords(algorithm, parallel=1, queue=0)
        (running,) = self.hashing(passwords, 1)
        running.cancel()
        with self.assertRaises(CancelledError):
            await running
        with self.assertRaises(Unavailable):
            await passwords.hash(SECRET)
        algorithm.finish(1)
        await passwords.stop()
        self.assertEqual([], [thread.name for thread in threading.enumerate() if "passwords" in thread.name])

    async def test_failure(self):
        """A hash that fails gives its turn back."""

        class Failing(Waiting):
            def hash(self, password: bytes) -> str:
                raise RuntimeError("a bug")

        passwords = self.passwords(Failing(), parallel=1, queue=0)
        for _ in range(3):
            with self.assertRaisesRegex(RuntimeError, "a bug"):
                await passwords.hash(SECRET)


class LifeTests(PasswordsTestCase):
    """Start and stop."""

    async def test_not_started(self):
        """Before the start nothing is computed."""
        with self.assertRaises(Unavailable):
            await Passwords(reactor, cheap()).hash(SECRET)

    async def test_stop_waits(self):
        """To stop waits for what is computed, and sends away who waits for his turn."""
        algorithm = Waiting()
        passwords = self.passwords(algorithm, parallel=1)
        running, waiting = self.hashing(passwords, 2)
        algorithm.begun.acquire()
        stopping: Deferred[Any] = Deferred.fromCoroutine(passwords.stop())
        self.assertFalse(stopping.called)
        algorithm.finish(1)
        self.assertEqual("hashed", await running)
        await stopping
        with self.assertRaises(Unavailable):
            await waiting
        self.assertEqual([(b"0",)], algorithm.calls)

    async def test_stop_twice(self):
        """To stop once more does nothing."""
        passwords = self.passwords(cheap())
        await passwords.stop()
        await passwords.stop()

    async def test_start_again(self):
        """What was stopped can be started again."""
        passwords = self.passwords(cheap())
        await passwords.stop()
        passwords.start()
        self.assertTrue(await passwords.verify(SECRET, await passwords.hash(SECRET)))
