"""Uploads: what is taken, what is refused, and that nothing stays of what is not kept."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogLevel, capturedLogs

from filedropd.digests import Expected
from filedropd.errors import DigestMismatch, InsufficientStorage, TooLarge, Unavailable
from filedropd.model import DropState, Reason
from filedropd.upload import WRITE_SIZE, Receipt, Terms, Upload
from tests.support import KEPT, LIMIT, CoreTestCase

TERMS = Terms(expires=KEPT)


class UploadTestCase(CoreTestCase):
    """What the tests of uploads share."""

    async def send(self, *pieces: bytes) -> Receipt:
        """Upload ``pieces`` as they come."""
        async with self.core.drops.upload() as upload:
            for piece in pieces:
                await upload.write(piece)
            return await upload.keep("name", "text/plain", TERMS)

    async def splice(self, written: int, spliced: int) -> Receipt:
        """Upload some bytes, and some more through a pipe."""
        pipe, entry = os.pipe()
        self.addCleanup(os.close, pipe)
        os.write(entry, b"s" * spliced)
        os.close(entry)
        async with self.core.drops.upload() as upload:
            await upload.write(b"w" * written)
            await upload.splice(pipe, spliced)
            return await upload.keep("name", "text/plain", TERMS)

    async def leave(self) -> None:
        """Upload something and keep nothing."""
        async with self.core.drops.upload() as upload:
            await upload.write(bytes(WRITE_SIZE))

    def nothing_stays(self, context: str = "") -> None:
        """Check that there are no bytes, no drop that can be had, and nothing that is still under way."""
        self.assertEqual(({}, {}), (self.core.stored.incoming, self.core.stored.published), context)
        self.assertEqual([], [drop for drop in self.drops() if drop.state is DropState.AVAILABLE], context)
        self.done(self.core.drops.stop())

    def drops(self) -> list[Any]:
        """Return all the rows."""
        return self.core.rows()


class LimitTests(UploadTestCase):
    """How much is taken."""

    def test_all(self):
        """As many bytes as are allowed are taken."""
        self.assertEqual(LIMIT, self.done(self.send(bytes(LIMIT))).drop.size)

    def test_in_pieces(self):
        """The limit counts all of the pieces, written or gathered."""
        self.assertEqual(LIMIT, self.done(self.send(bytes(LIMIT - 1), b"1")).drop.size)
        self.core.stored.published.clear()
        self.refused(TooLarge, self.send(bytes(WRITE_SIZE), bytes(LIMIT - WRITE_SIZE), b"1"))
        self.assertEqual({}, self.core.stored.published)
        self.assertEqual({}, self.core.stored.incoming)

    def test_one_more(self):
        """One byte more is refused, with the limit, and nothing of the file stays."""
        self.assertEqual(LIMIT, self.refused(TooLarge, self.send(bytes(LIMIT + 1))).limit)
        self.nothing_stays()

    def test_refused_at_once(self):
        """It is refused when the byte arrives, before it is written."""
        self.refused(TooLarge, self.send(bytes(LIMIT), b"1", b"2"))
        self.assertEqual(1, self.core.journal.counts["incoming.write"])

    def test_through_a_pipe(self):
        """The limit counts what comes through a pipe, and refuses it before it is taken."""
        self.assertEqual(LIMIT, self.done(self.splice(LIMIT - 10, 10)).drop.size)
        self.core.stored.published.clear()
        self.refused(TooLarge, self.splice(LIMIT - 10, 11))
        self.assertEqual(1, self.core.journal.counts["incoming.splice"])
        self.assertEqual(({}, {}), (self.core.stored.incoming, self.core.stored.published))

    def test_empty(self):
        """A file of no bytes is a file."""
        for pieces in ((), (b"",)):
            receipt = self.done(self.send(*pieces))
            self.assertEqual((0, b""), (receipt.drop.size, self.core.stored.published[receipt.drop.blob]))
        self.assertEqual(0, self.core.journal.counts["incoming.write"])


class GatheringTests(UploadTestCase):
    """How it is written."""

    def test_small(self):
        """Small pieces are gathered: what arrives byte by byte is not written so."""
        receipt = self.done(self.send(*[b"x"] * 1000))
        self.assertEqual(1, self.core.journal.counts["incoming.write"])
        self.assertEqual(b"x" * 1000, self.core.stored.published[receipt.drop.blob])

    def test_full(self):
        """Once enough is gathered it is written, and no more than that is held."""
        pieces = [bytes([n]) * (WRITE_SIZE // 2) for n in range(5)]
        receipt = self.done(self.send(*pieces))
        self.assertEqual(3, self.core.journal.counts["incoming.write"])
        self.assertEqual(b"".join(pieces), self.core.stored.published[receipt.drop.blob])

    def test_before_a_pipe(self):
        """What is gathered is written before what comes through a pipe."""
        receipt = self.done(self.splice(10, 5))
        self.assertEqual(b"w" * 10 + b"s" * 5, self.core.stored.published[receipt.drop.blob])

    def test_back_pressure(self):
        """While it is being written, no more is taken."""
        self.core.journal.hold("before incoming.write")
        sent = self.begun(self.send(bytes(WRITE_SIZE), b"more"))
        self.assertNoResult(sent)
        self.core.journal.release("before incoming.write")
        self.assertEqual(WRITE_SIZE + 4, self.done(sent).drop.size)


class BreakingTests(UploadTestCase):
    """What stays of an upload that is not kept."""

    def test_not_kept(self):
        """Nothing stays of an upload that was not kept."""
        self.done(self.leave())
        self.nothing_stays()

    def test_error_of_the_sender(self):
        """Nor of one that its sender broke off; the error comes out."""

        async def broken() -> None:
            async with self.core.drops.upload() as upload:
                await upload.write(bytes(WRITE_SIZE))
                raise ConnectionResetError

        self.refused(ConnectionResetError, broken())
        self.nothing_stays()

    def test_no_room(self):
        """Nor of one for which there is no room, wherever that shows."""
        for step in ("blobs.receive", "incoming.write", "incoming.seal"):
            self.core.journal.fail(step, InsufficientStorage())
            self.refused(InsufficientStorage, self.send(b"content"))
            self.nothing_stays(step)
            self.core.journal.mend()

    def test_no_row(self):
        """Nor of one whose row could not be committed."""
        self.core.journal.fail("records.insert", Unavailable("away"))
        self.refused(Unavailable, self.send(b"content"))
        self.nothing_stays()

    def test_not_published(self):
        """If the bytes cannot be published after the row was committed, the drop ends and its bytes go."""
        self.core.reaper.start()
        self.core.journal.fail("incoming.publish", Unavailable("away"))
        self.refused(Unavailable, self.send(b"content"))
        self.assertEqual([Reason.REVOKED], [drop.reason for drop in self.drops()])
        self.nothing_stays()

    def test_not_published_nor_ended(self):
        """If the row cannot be ended either, the sender is told all the same, and the next start finds no bytes."""
        self.core.journal.fail("incoming.publish", OSError(5, "bad disk"))
        self.core.journal.fail("records.change", Unavailable("away"))
        self.refused(Unavailable, self.send(b"content"))
        self.assertEqual(({}, {}), (self.core.stored.incoming, self.core.stored.published))
        self.done(self.core.drops.stop())

    def test_without_with(self):
        """An upload that was not begun takes nothing."""
        upload: Upload = self.core.drops.upload()
        self.refused(RuntimeError, upload.keep("name", "text/plain", TERMS))


class CancellationTests(UploadTestCase):
    """The sender's connection is lost, and with it his request, at any step."""

    def left(self, moment: str) -> Deferred[Receipt]:
        """Cancel an upload that is held at ``moment``, then let that go on."""
        self.core.journal.hold(moment)
        sent = self.begun(self.send(b"content"))
        self.assertEqual(1, self.core.journal.held(moment), moment)
        sent.cancel()
        self.core.journal.release(moment)
        self.refused(CancelledError, sent)
        return sent

    def test_before_the_row(self):
        """Until the row is about to be committed, nothing stays."""
        for step in ("blobs.receive", "incoming.write", "incoming.seal"):
            for side in ("before", "after"):
                self.left(f"{side} {step}")
                self.nothing_stays(f"{side} {step}")
                self.assertEqual([], self.drops())

    def test_from_the_row_on(self):
        """From then on it is kept, whole: a row never stands without its bytes."""
        for moment in (
            "before records.insert",
            "after records.insert",
            "before incoming.publish",
            "after incoming.publish",
        ):
            self.left(moment)
            (drop,) = self.drops()
            self.assertEqual(DropState.AVAILABLE, drop.state, moment)
            self.assertEqual({drop.blob: b"content"}, self.core.stored.published, moment)
            self.assertEqual({}, self.core.stored.incoming, moment)
            self.done(self.core.drops.stop())
            self.setUp()

    def test_row_refused(self):
        """If the row is refused after the sender has left, nothing stays, and the log says why."""
        self.core.journal.fail("records.insert", Unavailable("away"))
        with capturedLogs() as events:
            self.left("before records.insert")
        self.nothing_stays()
        self.assertEqual([("away", LogLevel.warn)], [(str(each["error"]), each["log_level"]) for each in events])

    def test_discarding(self):
        """Cancelled while it is being discarded, it is discarded."""
        self.core.journal.hold("before incoming.discard")
        left = self.begun(self.leave())
        left.cancel()
        self.core.journal.release("before incoming.discard")
        self.refused(CancelledError, left)
        self.nothing_stays()

    def test_stopping(self):
        """Stopping waits for a row that is being committed."""
        self.core.journal.hold("before records.insert")
        self.begun(self.send(b"content")).addErrback(lambda _: None)
        stopped = self.begun(self.core.drops.stop())
        self.assertNoResult(stopped)
        self.core.journal.release("before records.insert")
        self.done(stopped)


class SmallTests(UploadTestCase):
    """An upload of which it is known that few bytes will come: it goes to the store in one go."""

    async def small(self, *pieces: bytes, expected: int | None = None) -> Receipt:
        """Upload ``pieces`` as they come, having said how much that is."""
        size = sum(map(len, pieces)) if expected is None else expected
        async with self.core.drops.upload(size) as upload:
            for piece in pieces:
                await upload.write(piece)
            return await upload.keep("name", "text/plain", TERMS)

    def test_one_go(self):
        """Nothing is begun before all is there; then it is kept, and published, and nothing is to be discarded."""
        self.core.journal.steps.clear()
        receipt = self.done(self.small(b"con", b"tent"))
        self.assertEqual(
            ["blobs.receive_whole", "records.insert", "incoming.publish"],
            [step for step in self.core.journal.steps if step.startswith(("blobs", "incoming", "records"))],
        )
        self.assertEqual((7, b"content"), (receipt.drop.size, self.core.stored.published[receipt.drop.blob]))
        self.assertEqual(hashlib.sha256(b"content").digest(), receipt.drop.sha256)

    def test_sizes(self):
        """Up to what is gathered it goes in one; beyond that, and where more comes than was said, as it comes."""
        for pieces, expected in (
            ([], 0),
            ([bytes(WRITE_SIZE - 1)], WRITE_SIZE),
            ([bytes(WRITE_SIZE)], WRITE_SIZE),
            ([bytes(WRITE_SIZE), b"x"], WRITE_SIZE + 1),
            ([bytes(WRITE_SIZE), b"more", bytes(WRITE_SIZE)], 3),
        ):
            receipt = self.done(self.small(*pieces, expected=expected))
            self.assertEqual(b"".join(pieces), self.core.stored.published[receipt.drop.blob], expected)
        self.assertEqual({}, self.core.stored.incoming)

    def test_broken_off(self):
        """Of one that breaks off nothing ever reached the store."""

        async def broken() -> None:
            async with self.core.drops.upload(10) as upload:
                await upload.write(b"half")
                raise ValueError

        self.refused(ValueError, broken())
        self.assertEqual(0, self.core.journal.counts["blobs.receive_whole"])
        self.nothing_stays()

    def test_no_room(self):
        """If there is no room that is told, and nothing stays."""
        self.core.stored.room = 5
        self.refused(InsufficientStorage, self.small(b"content"))
        self.nothing_stays()
        self.assertEqual([], self.drops())

    def test_row_refused(self):
        """If the row is refused its bytes are discarded."""
        self.core.journal.fail("records.insert", Unavailable("away"))
        self.refused(Unavailable, self.small(b"content"))
        self.nothing_stays()

    def test_left(self):
        """If its sender leaves before the row is about to be committed nothing stays; from then on it is kept."""
        for moment, kept in (
            ("before blobs.receive_whole", 0),
            ("after blobs.receive_whole", 0),
            ("before records.insert", 1),
            ("after incoming.publish", 1),
        ):
            self.setUp()
            self.core.journal.hold(moment)
            sent = self.begun(self.small(b"content"))
            self.assertEqual(1, self.core.journal.held(moment), moment)
            sent.cancel()
            self.core.journal.release(moment)
            self.refused(CancelledError, sent)
            self.assertEqual({}, self.core.stored.incoming, moment)
            self.assertEqual((kept, kept), (len(self.core.stored.published), len(self.drops())), moment)


class DigestTests(UploadTestCase):
    """What is known of the bytes, and what they must be."""

    async def expecting(self, *expected: Expected) -> Receipt:
        """Upload bytes of which something is said."""
        async with self.core.drops.upload() as upload:
            upload.hold_to(expected)
            await upload.write(bytes(WRITE_SIZE))
            await upload.write(b"end")
            return await upload.keep("name", "text/plain", TERMS)

    def test_written(self):
        """Of what was written, in however many pieces, the SHA-256 is kept."""
        for pieces in ((), (b"content",), (bytes(WRITE_SIZE), b"x", bytes(WRITE_SIZE))):
            receipt = self.done(self.send(*pieces))
            self.assertEqual(hashlib.sha256(b"".join(pieces)).digest(), receipt.drop.sha256)
            self.assertEqual(receipt.drop, self.core.row(receipt))

    def test_spliced(self):
        """Of what went past Python it is not known, and nobody looks for it."""
        for written in (0, 10, WRITE_SIZE):
            self.assertIsNone(self.done(self.splice(written, 10)).drop.sha256)

    def test_expected(self):
        """What is true of all of it is kept."""
        data = bytes(WRITE_SIZE) + b"end"
        said = Expected("here", "sha-512", hashlib.sha512(data).digest())
        self.assertEqual(hashlib.sha256(data).digest(), self.done(self.expecting(said)).drop.sha256)

    def test_not_expected(self):
        """What is not leaves nothing: it is not sealed, and has no row."""
        error = self.refused(DigestMismatch, self.expecting(Expected("here", "sha-256", bytes(32))))
        self.assertIn("here", error.detail)
        self.nothing_stays()
        self.assertEqual([], self.drops())
        self.assertEqual(0, self.core.journal.counts["incoming.seal"])


class TermsTests(UploadTestCase):
    """What a sender asks for."""

    def test_password_hidden(self):
        """A password does not show in what is logged of the terms."""
        self.assertNotIn("secret", repr(Terms(expires=1, password=b"secret")))

    def test_receipt(self):
        """A receipt shows neither of its tokens."""
        receipt = self.done(self.send(b"content"))
        self.assertNotIn(receipt.link.text, repr(receipt))
        self.assertNotIn(receipt.owner.text, repr(receipt))
        self.assertNotEqual(receipt.link, receipt.owner)
