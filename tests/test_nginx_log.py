"""nginx's log, followed: every line once, whatever is done to the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import SynchronousTestCase, TestCase

from filedropd.deferreds import sleep
from filedropd.delivery import nginx_log
from filedropd.delivery.nginx_log import NginxLog
from filedropd.delivery.nginx_trail import LINGER, PIECE, Line, Trail


def name(number: int) -> str:
    """Return the id of a download."""
    return f"{number:032x}"


def text(number: int, *, sent: int = 100) -> bytes:
    """Return a line about it."""
    return f"{name(number)} 200 {sent} OK GET -\n".encode()


class Everything:
    """Contains all."""

    def __contains__(self, _: object) -> bool:
        return True


ALL = cast(Container[str], Everything())


class LineTests(SynchronousTestCase):
    """One line."""

    def test_lines(self):
        """What nginx writes comes out as values."""
        for written, expected in (
            (b"%b 200 100 OK GET -", Line(transfer=name(7), status=200, sent=100, complete=True)),
            (b"%b 200 5  GET -", Line(transfer=name(7), status=200, sent=5, complete=False)),
            (
                b"%b 206 6 OK GET bytes 0-5/10",
                Line(transfer=name(7), status=206, sent=6, complete=True, content_range="bytes 0-5/10"),
            ),
            (
                b"%b 416 0 OK GET bytes */10",
                Line(transfer=name(7), status=416, sent=0, complete=True, content_range="bytes */10"),
            ),
        ):
            self.assertEqual(expected, Line.parse(written % name(7).encode()), written)

    def test_garbage(self):
        """Anything else is none."""
        good = text(7).rstrip(b"\n")
        for garbage in (
            b"",
            b"-" + good[32:],
            good[1:],
            good + b" ",
            good + b"\r",
            good.replace(b"OK", b"ok"),
            good.replace(b" 100 ", b" -1 "),
            good.replace(b" 100 ", b" %b " % (b"9" * 19)),
            good.replace(b"200", b"\xb2\xb2\xb2"),
            b"\0" * 100,
        ):
            self.assertIsNone(Line.parse(garbage), garbage)


class TrailTests(SynchronousTestCase):
    """Reading, without threads and timers."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "nginx.log"
        self.kept = self.folder / "kept"
        self.now = 0.0
        self.trail = self.opened()

    def opened(self) -> Trail:
        """Return what the next process has."""
        trail = Trail(self.path, self.kept)
        trail.open()
        self.addCleanup(trail.close)
        return trail

    def write(self, *data: bytes, path: Path | None = None) -> None:
        """Append."""
        with (path or self.path).open("ab") as file:
            file.write(b"".join(data))

    def read(self, trail: Trail | None = None, wanted: Container[str] = ALL) -> list[int]:
        """Return the numbers of the lines that are new."""
        numbers: list[int] = []
        more = True
        while more:
            lines, more = (trail or self.trail).read(wanted, self.now)
            numbers += [int(line.transfer, 16) for line in lines]
        return numbers

    def restarted(self, *unrecorded: int) -> Trail:
        """Note how far it was read, and return what the next process has."""
        self.trail.save({name(number) for number in unrecorded})
        return self.opened()

    def test_elsewhere(self):
        """A log in a folder of somebody else's needs no more than to be read, nor to be there before nginx has made it."""
        folder = self.folder / "log"
        self.path = folder / "nginx.log"
        trail = self.opened()
        self.assertEqual([], self.read(trail))
        folder.mkdir()
        self.write(text(1), text(2))
        self.assertEqual([1, 2], self.read(trail))
        trail.save(())
        self.assertEqual([self.path], list(folder.iterdir()))
        self.assertEqual(f"[[{self.path.stat().st_ino}, {2 * len(text(1))}]]", self.kept.read_text())

    def test_missing(self):
        """A log that is not there yet has no lines; it is read from its beginning when it is."""
        self.assertEqual([], self.read())
        self.write(text(1))
        self.assertEqual([1], self.read())

    def test_grows(self):
        """Each line comes once, when it is complete."""
        self.write(text(1), text(2)[:20])
        self.assertEqual([1], self.read())
        self.write(text(2)[20:-1])
        self.assertEqual([], self.read())
        self.write(b"\n", text(3))
        self.assertEqual([2, 3], self.read())

    def test_garbage(self):
        """What is no line of ours is passed over."""
        self.write(b"\n", text(1), b"garbage\n", b"\0\0\n", text(2))
        self.assertEqual([1, 2], self.read())

    def test_long(self):
        """A line without end is passed over, piece by piece, up to its end."""
        self.write(b"x" * (3 * PIECE), text(8), text(1))
        self.assertEqual([1], self.read())

    def test_pieces(self):
        """Many lines come in pieces, none of them lost or cut."""
        numbers = list(range(2 * PIECE // len(text(0)) + 100))
        self.write(*map(text, numbers))
        lines, more = self.trail.read(ALL, self.now)
        self.assertTrue(more)
        self.assertLess(len(lines), len(numbers))
        self.assertEqual(numbers[len(lines) :], self.read())

    def test_wanted(self):
        """Lines that nobody asks about are not kept."""
        self.write(text(1), text(2))
        self.assertEqual([2], self.read(wanted={name(2)}))

    def test_renamed(self):
        """After a rotation the old file is read on for a while, and the new one from its beginning."""
        self.write(text(1))
        self.read()
        self.path.rename(self.folder / "nginx.log.1")
        self.assertEqual([], self.read())
        self.write(text(2), path=self.folder / "nginx.log.1")
        self.write(text(3))
        self.assertEqual([2, 3], self.read())
        self.write(text(4), path=self.folder / "nginx.log.1")
        self.assertEqual([4], self.read())
        self.assertTrue(self.trail.rotating)
        self.now += LINGER
        self.trail.save(frozenset())
        self.read()
        self.assertFalse(self.trail.rotating)
        self.write(text(5))
        self.assertEqual([5], self.read())

    def test_truncated(self):
        """A file that was copied and truncated is read from its beginning."""
        self.write(text(1), text(2))
        self.read()
        os.truncate(self.path, 0)
        self.assertEqual([], self.read())
        self.write(text(3))
        self.assertEqual([3], self.read())

    def test_restart(self):
        """The next process goes on where the last one was, and reads what was written meanwhile."""
        self.write(text(1))
        self.read()
        trail = self.restarted()
        self.write(text(2))
        self.assertEqual([2], self.read(trail))

    def test_restart_unrecorded(self):
        """What was read and not written down is read again by the next process."""
        self.write(text(1), text(2), text(3))
        self.read()
        self.assertEqual([2, 3], self.read(self.restarted(2)))
        self.assertEqual([], self.read(self.restarted()))

    def test_restart_partial(self):
        """A line that was not complete is read by the next process."""
        self.write(text(1), text(2)[:20])
        self.read()
        trail = self.restarted()
        self.write(text(2)[20:])
        self.assertEqual([2], self.read(trail))

    def test_restart_unsaved(self):
        """Without a note everything is read."""
        self.write(text(1))
        self.read()
        self.assertEqual([1], self.read(self.opened()))

    def test_restart_renamed(self):
        """What was rotated while nobody was there is read to its end, and then the new one."""
        self.write(text(1))
        self.read()
        self.write(text(2))
        self.trail.save(frozenset())
        self.path.rename(self.folder / "nginx.log.1")
        self.write(text(3))
        self.assertEqual([2, 3], self.read(self.opened()))

    def test_restart_in_rotation(self):
        """Nothing is lost of two files of which neither was read to its end."""
        self.write(text(1))
        self.read()
        self.path.rename(self.folder / "nginx.log.1")
        self.write(text(2))
        self.read()
        self.write(text(3), path=self.folder / "nginx.log.1")
        trail = self.restarted()
        self.write(text(4))
        self.assertEqual([3, 4], self.read(trail))

    def test_restart_lost(self):
        """That what was rotated is not there any more is said, and the new one is read."""
        self.write(text(1))
        self.read()
        self.trail.save(frozenset())
        held = self.path.open("rb")  # or the next file would get its number
        self.addCleanup(held.close)
        self.path.unlink()
        self.write(text(2))
        self.assertEqual([2], self.read(self.opened()))

    def test_restart_another_file(self):
        """A note that does not fit the file is not believed."""
        self.write(text(1), text(2))
        self.kept.write_text(f"[[{self.path.stat().st_ino}, 5]]")
        self.assertEqual([1, 2], self.read(self.opened()))
        self.kept.write_text(f"[[{self.path.stat().st_ino}, 1000000]]")
        self.assertEqual([1, 2], self.read(self.opened()))

    def test_damaged_note(self):
        """A note that cannot be read is as none."""
        self.write(text(1))
        for note in ("", "{", "[1]", '[["a", "b"]]', "null"):
            self.kept.write_text(note)
            self.assertEqual([1], self.read(self.opened()), note)


class NginxLogTests(TestCase):
    """Following, with threads and timers."""

    async def make(self, unrecorded: Callable[[], Container[str]] = frozenset) -> NginxLog:
        """Return a log that is open."""
        log = NginxLog(reactor, self.path, unrecorded=unrecorded)
        await log.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(log.close()))
        return log

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "nginx.log"
        self.patch(nginx_log, "SAVING", 0.1)

    def write(self, *data: bytes) -> None:
        """Append."""
        with self.path.open("ab") as file:
            file.write(b"".join(data))

    def expected(self, log: NginxLog, number: int) -> Deferred[Line]:
        """Return the line that is going to be written."""
        line: Deferred[Line] = Deferred()
        log.expect(name(number), line.callback)
        return line.addTimeout(10, cast(Any, reactor))

    async def test_expected(self):
        """Whoever asks is told, once the line is there; nobody is told of another's."""
        log = await self.make()
        log.follow()
        first, second = self.expected(log, 1), self.expected(log, 2)
        await sleep(cast(IReactorTime, reactor), 0.1)
        self.write(text(3), text(2, sent=7))
        self.assertEqual(7, (await second).sent)
        self.assertFalse(first.called)
        self.write(text(1))
        await first

    async def test_soon(self):
        """One who begins to wait while the log was looked at seldom is told soon."""
        self.patch(nginx_log, "IDLE", 1000.0)
        log = await self.make()
        log.follow()
        line = self.expected(log, 1)
        self.write(text(1))
        await line

    async def test_forgotten(self):
        """Who does not wait any more is not told."""
        log = await self.make()
        log.follow()
        told: list[Line] = []
        log.expect(name(1), told.append)
        log.forget(name(1))
        self.write(text(1), text(2))
        await self.expected(log, 2)
        self.assertEqual([], told)

    async def test_replay(self):
        """What was written while nobody was there is told to who asks; the first line is the one that counts."""
        self.write(text(1), text(2, sent=5), text(2, sent=6), text(3))
        log = await self.make()
        lines = await log.replay({name(2), name(3), name(9)})
        self.assertEqual({name(2): 5, name(3): 100}, {id_: line.sent for id_, line in lines.items()})

    async def test_replayed_again(self):
        """What was replayed to a process that did not come to follow the log is replayed to the next."""
        self.write(text(1))
        log = await self.make()
        await log.replay({name(1)})
        await log.close()
        self.assertIn(name(1), await (await self.make()).replay({name(1)}))

    async def test_saved(self):
        """What was told is not replayed to the next process, unless its end was not written down."""
        unrecorded = {name(2)}
        log = await self.make(lambda: frozenset(unrecorded))
        log.follow()
        lines = [self.expected(log, 1), self.expected(log, 2)]
        self.write(text(1), text(2))
        for line in lines:
            await line
        await log.close()
        log = await self.make()
        self.assertEqual([name(2)], list(await log.replay({name(1), name(2)})))

    async def test_left(self):
        """What is left to the next process is replayed to it, whether it was written before that or after."""
        log = await self.make()
        log.follow()
        for number in (1, 2):
            log.expect(name(number), self.fail)
        log.leave(name(1))
        self.write(text(1), text(2), text(3))
        log.leave(name(2))
        await self.expected(log, 3)
        await log.close()
        log = await self.make()
        self.assertEqual([name(1), name(2)], list(await log.replay({name(1), name(2)})))

    async def test_saved_meanwhile(self):
        """How far it was read is noted while it runs."""
        log = await self.make()
        log.follow()
        line = self.expected(log, 1)
        self.write(text(1))
        await line
        line = self.expected(log, 2)  # to have it look often
        while "[]" in (note := self.note()) or not note:
            await sleep(cast(IReactorTime, reactor), 0.05)
        self.assertEqual(f"[[{self.path.stat().st_ino}, {len(text(1))}]]", note)
        self.write(text(2))
        await line

    def note(self) -> str:
        """Return what is noted."""
        kept = self.folder / "nginx.log.offset"
        return kept.read_text() if kept.exists() else ""

    async def test_unreadable(self):
        """A log that cannot be read is tried again."""
        self.path.mkdir()
        log = await self.make()
        log.follow()
        line = self.expected(log, 1)
        await sleep(cast(IReactorTime, reactor), 0.3)
        self.path.rmdir()
        self.write(text(1))
        await line

    async def test_close(self):
        """Closed, it reads no more, and a second time nothing happens."""
        log = await self.make()
        log.follow()
        await log.close()
        await log.close()
