"""Files while they come in."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from unittest.mock import patch

import attrs
from twisted.trial.unittest import SynchronousTestCase

from filedropd.client.downloads.notes import Claimed
from filedropd.client.downloads.partial import PartFile
from filedropd.client.errors import Damaged, Exists, InTheWay, Local

LINK = "ab" * 32
TOKEN = "cd" * 16
BYTES = b"0123456789" * 1000
CLAIMED = Claimed(link=LINK, token=TOKEN, size=len(BYTES), etag='"e"', digest=hashlib.sha256(BYTES).hexdigest())


class PartTests(SynchronousTestCase):
    """A part becomes a file, or stays what it is."""

    def setUp(self):
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.target = self.folder / "a.bin"

    def begun(self, data: bytes = b"", claimed: Claimed = CLAIMED) -> PartFile:
        """Return a part with ``data`` in it."""
        part = self.opened()
        part.remember(claimed)
        if data:
            part.write([data], hashing=True)
        return part

    def opened(self, link: str = LINK) -> PartFile:
        """Return the part, open."""
        part = PartFile(self.target)
        self.addCleanup(part.close)
        part.open(link)
        return part

    def test_whole(self):
        """What is whole gets its name, and nothing is left beside it."""
        part = self.begun(BYTES)
        part.check()
        self.assertEqual(self.target, part.publish(overwrite=False))
        self.assertEqual((BYTES, ["a.bin"]), (self.target.read_bytes(), os.listdir(self.folder)))

    def test_overwritten(self):
        """What is overwritten is a file; a device or a FIFO is not made one."""
        self.target.write_text("old")
        self.begun(BYTES).publish(overwrite=True)
        self.assertEqual(BYTES, self.target.read_bytes())
        self.target.unlink()
        os.mkfifo(self.target)
        with self.assertRaisesRegex(InTheWay, "not a plain file"):
            self.begun(BYTES).publish(overwrite=True)
        self.assertTrue(stat.S_ISFIFO(self.target.stat().st_mode))

    def test_gone_on_with(self):
        """What an earlier process left is gone on with, and hashed from its beginning."""
        self.begun(BYTES[:3333]).close()
        part = PartFile.find(self.folder, LINK)
        assert part is not None
        part.open(LINK)
        self.addCleanup(part.close)
        self.assertEqual((3333, CLAIMED), (part.done, part.claimed))
        part.write([BYTES[3333:5000], BYTES[5000:]], hashing=True)
        part.check()

    def test_secrets(self):
        """Nobody else can read the claim, whatever the umask; the link is not written down, nor in the repr."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.begun(b"x")
        notes = self.folder / "a.bin.part.claim"
        self.assertEqual(0o600, stat.S_IMODE(notes.stat().st_mode))
        self.assertNotIn(TOKEN, repr(CLAIMED))

    def test_not_whole(self):
        """What is too short, or another file, is not whole."""
        for data in (BYTES[:-1], BYTES[:-1] + b"x"):
            part = self.begun()
            part.restart()
            part.write([data], hashing=True)
            self.assertRaises(Damaged, part.check)
            part.close()

    def test_restart(self):
        """After a new beginning the old bytes count for nothing."""
        part = self.begun(b"wrong")
        part.restart()
        part.write([BYTES], hashing=True)
        part.check()
        part.publish(overwrite=False)
        self.assertEqual(BYTES, self.target.read_bytes())

    def test_overwrites_nothing(self):
        """A file that came by its name meanwhile stays, and so does the part."""
        part = self.begun(BYTES)
        self.target.write_bytes(b"mine")
        self.assertRaises(Exists, part.publish, overwrite=False)
        self.assertEqual((b"mine", BYTES), (self.target.read_bytes(), part.path.read_bytes()))
        part.publish(overwrite=True)
        self.assertEqual((BYTES, ["a.bin"]), (self.target.read_bytes(), os.listdir(self.folder)))

    def test_no_hard_links(self):
        """Where the file system knows no hard links, nothing is overwritten either."""
        refused = OSError(errno.EPERM, os.strerror(errno.EPERM))
        part = self.begun(BYTES)
        self.target.write_bytes(b"mine")
        with patch("os.link", side_effect=refused):
            self.assertRaises(Exists, part.publish, overwrite=False)
            self.target.unlink()
            part.publish(overwrite=False)
        self.assertEqual((BYTES, ["a.bin"]), (self.target.read_bytes(), os.listdir(self.folder)))

    def test_two_at_once(self):
        """Two processes do not fill one part."""
        self.begun(b"x")
        self.assertRaisesRegex(InTheWay, "another filedrop", self.opened)

    def test_in_the_way(self):
        """A part of another link, or of nobody's, is left alone."""
        self.begun(b"x").close()
        self.assertRaisesRegex(InTheWay, "another link", self.opened, "ef" * 32)
        (self.folder / "a.bin.part.claim").unlink()
        self.assertRaisesRegex(InTheWay, "none of ours", self.opened)
        self.assertEqual(b"x", (self.folder / "a.bin.part").read_bytes())

    def test_links_are_not_followed(self):
        """A symbolic link in the part's place leads nowhere."""
        elsewhere = self.folder / "elsewhere"
        elsewhere.write_bytes(b"")
        (self.folder / "a.bin.part").symlink_to(elsewhere)
        self.assertRaises(Local, self.opened)

    def test_damaged_notes(self):
        """Notes that make no sense are no notes."""
        self.begun().close()
        for text in ("", "{", "[]", '{"version": 2}', '{"version": 1, "link": 3}'):
            (self.folder / "a.bin.part.claim").write_text(text)
            self.assertIsNone(PartFile.find(self.folder, LINK), text)

    def test_discard(self):
        """Of a download that never began nothing is left; of one that did, everything."""
        part = self.begun()
        part.discard()
        self.assertEqual([], os.listdir(self.folder))
        part.close()
        part = self.begun(b"x")
        part.discard()
        self.assertEqual(["a.bin.part", "a.bin.part.claim"], sorted(os.listdir(self.folder)))

    def test_unknown_size(self):
        """Where nobody said the size, what is here is whole."""
        part = self.begun(BYTES, attrs.evolve(CLAIMED, size=None, digest=None))
        part.check()
