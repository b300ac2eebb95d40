"""The body of a request, as its reader sees it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from filedropd.errors import ClientGone, MalformedRequest
from filedropd.http.body import HIGH_WATER, LOW_WATER, Body


class Connection:
    """Notes what a body asks of its connection."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def body(self, length: int | None = None, *, expects: bool = False) -> Body:
        return Body(
            length,
            pause=lambda: self.asked.append("pause"),
            resume=lambda: self.asked.append("resume"),
            invite=(lambda: self.asked.append("invite")) if expects else None,
        )


def reading(body: Body, size: int = HIGH_WATER) -> Deferred[bytes]:
    """Begin to read."""
    return Deferred.fromCoroutine(body.read(size))


async def whole(body: Body) -> bytes:
    return b"".join([piece async for piece in body])


class BodyTests(SynchronousTestCase):
    """Reading."""

    def setUp(self):
        self.connection = Connection()
        self.body = self.connection.body()

    def test_arrived_before(self):
        """What has arrived is read at once."""
        self.body.arrived(b"abc")
        self.assertEqual(b"abc", self.successResultOf(reading(self.body)))

    def test_waits(self):
        """A reader waits for the first bytes."""
        read = reading(self.body)
        self.assertNoResult(read)
        self.body.arrived(b"abc")
        self.body.wake()
        self.assertEqual(b"abc", self.successResultOf(read))

    def test_woken_by_the_channel_alone(self):
        """Arrival does not run the reader: only the channel does, when it is done with its input."""
        read = reading(self.body)
        self.body.arrived(b"abc")
        self.assertNoResult(read)
        self.body.wake()
        self.successResultOf(read)

    def test_woken_for_nothing(self):
        """A reader sleeps on while there is nothing to tell it."""
        read = reading(self.body)
        self.body.wake()
        self.assertNoResult(read)

    def test_size(self):
        """No more is returned than was asked for, and the rest is not lost."""
        self.body.arrived(b"abcde")
        pieces = [self.successResultOf(reading(self.body, size)) for size in (2, 2, 2)]
        self.assertEqual([b"ab", b"cd", b"e"], pieces)

    def test_end(self):
        """After the last byte comes the end, again and again."""
        self.body.arrived(b"abc")
        self.body.end()
        self.assertEqual([b"abc", b"", b""], [self.successResultOf(reading(self.body)) for _ in range(3)])

    def test_taken(self):
        """It is taken when it was read to its end, and not when its end has arrived."""
        seen = [(self.body.complete, self.body.taken)]
        self.body.arrived(b"abc")
        self.body.end()
        seen.append((self.body.complete, self.body.taken))
        self.successResultOf(reading(self.body))
        seen.append((self.body.complete, self.body.taken))
        self.assertEqual([(False, False), (True, False), (True, True)], seen)

    def test_failure_after_what_arrived(self):
        """What arrived before a failure can be read; the failure comes behind it, and stays."""
        self.body.arrived(b"abc")
        self.body.fail(MalformedRequest())
        self.assertEqual(b"abc", self.successResultOf(reading(self.body)))
        for _ in range(2):
            self.failureResultOf(reading(self.body), MalformedRequest)

    def test_failure_wakes(self):
        """A reader that waits is told of a failure."""
        read = reading(self.body)
        self.body.fail(ClientGone())
        self.body.wake()
        self.failureResultOf(read, ClientGone)

    def test_failure_after_the_end(self):
        """A whole body stays whole, whatever becomes of the connection."""
        self.body.arrived(b"abc")
        self.body.end()
        self.body.fail(ClientGone())
        self.assertEqual(b"abc", self.successResultOf(Deferred.fromCoroutine(whole(self.body))))

    def test_first_failure_stands(self):
        """The first failure is the one that is told."""
        self.body.fail(MalformedRequest())
        self.body.fail(ClientGone())
        self.failureResultOf(reading(self.body), MalformedRequest)

    def test_cancelled(self):
        """A reader can give up, and another one can read on."""
        read = reading(self.body)
        read.cancel()
        self.failureResultOf(read, CancelledError)
        self.body.arrived(b"abc")
        self.body.wake()
        self.assertEqual(b"abc", self.successResultOf(reading(self.body)))

    def test_received(self):
        """Bytes are counted as they arrive, read or not."""
        self.body.arrived(b"abc")
        self.body.arrived(b"de")
        self.assertEqual(5, self.body.received)


class BackPressureTests(SynchronousTestCase):
    """How much is held."""

    def setUp(self):
        self.connection = Connection()
        self.body = self.connection.body()

    def test_below_the_mark(self):
        """Up to the high-water mark the connection is read."""
        self.body.arrived(b"x" * HIGH_WATER)
        self.assertEqual([], self.connection.asked)

    def test_pause(self):
        """Above the high-water mark the connection is not read, which is said once."""
        self.body.arrived(b"x" * (HIGH_WATER + 1))
        self.body.arrived(b"x")
        self.assertEqual(["pause"], self.connection.asked)

    def test_resume(self):
        """Reading goes on when no more than the low-water mark is left, and not before."""
        self.body.arrived(b"x" * (HIGH_WATER + 1))
        self.successResultOf(reading(self.body, HIGH_WATER - LOW_WATER))
        before = list(self.connection.asked)
        self.successResultOf(reading(self.body, 1))
        self.assertEqual((["pause"], ["pause", "resume"]), (before, self.connection.asked))

    def test_discard(self):
        """A body that is discarded holds nothing, takes nothing more, and lets the connection be read."""
        self.body.arrived(b"x" * (HIGH_WATER + 1))
        self.body.discard()
        self.body.arrived(b"x" * (2 * HIGH_WATER))
        self.body.end()
        self.assertEqual(["pause", "resume"], self.connection.asked)
        self.assertEqual(b"", self.successResultOf(reading(self.body)))

    @given(
        st.lists(st.one_of(st.binary(max_size=9).map(lambda some: some * 20_000), st.integers(1, 10**6)), max_size=30)
    )
    def test_bounded(self, steps):
        """While the connection keeps to what it was told, no more is held than the mark and one piece."""
        connection = Connection()
        body = connection.body()
        sent = received = b""
        for step in steps:
            if isinstance(step, int):
                if len(sent) > len(received):
                    received += self.successResultOf(reading(body, step))
            elif connection.asked[-1:] != ["pause"]:
                self.assertLessEqual(len(sent) - len(received), HIGH_WATER)
                body.arrived(step)
                sent += step
        body.end()
        received += self.successResultOf(Deferred.fromCoroutine(whole(body)))
        self.assertEqual(sent, received)


class InvitationTests(SynchronousTestCase):
    """100 Continue, as the body sees it."""

    def setUp(self):
        self.connection = Connection()
        self.body = self.connection.body(5, expects=True)

    def test_not_unasked(self):
        """Nobody is invited who is not read."""
        self.assertEqual(([], False), (self.connection.asked, self.body.invited))

    def test_first_read(self):
        """The first read invites, and no other does."""
        read = reading(self.body)
        self.body.arrived(b"abc")
        self.body.wake()
        self.successResultOf(read)
        reading(self.body)
        self.assertEqual((["invite"], True), (self.connection.asked, self.body.invited))

    def test_impatient(self):
        """A client that sends without waiting is not told to go on (RFC 9110 section 10.1.1)."""
        self.body.arrived(b"abc")
        self.successResultOf(reading(self.body))
        reading(self.body)
        self.assertEqual([], self.connection.asked)
