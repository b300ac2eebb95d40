"""``filedrop get`` while its server is killed, and while it is interrupted itself: the right bytes, in the end."""

from __future__ import annotations

import hashlib
import os
import stat
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import Daemon, eventually
from tests.filedrop import Home
from tests.servers import free_port

MIB = 2**20


class BreakTests(SynchronousTestCase):
    """What breaks is gone on with."""

    def setUp(self):
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        self.daemon = Daemon(
            folder, "--max-file-size=64MiB", "--durability=none", listen=(f"tcp:{free_port()}:interface=127.0.0.1",)
        )
        self.addCleanup(self.daemon.kill)
        self.daemon.start()
        self.home = Home(folder / "here", self.daemon.url())
        self.bytes = os.urandom(32 * MIB)
        (self.home.folder / "source.bin").write_bytes(self.bytes)
        self.link = self.home.run("put", "source.bin").out.strip()
        self.inbox = self.home.folder / "inbox"
        self.inbox.mkdir()
        self.part = self.inbox / "source.bin.part"
        self.saved = self.inbox / "source.bin"

    def here(self) -> int:
        """Return how many bytes have arrived."""
        return self.part.stat().st_size if self.part.exists() else 0

    def has(self, size: int) -> bool:
        """Tell whether so many have."""
        return self.here() > size

    def check(self) -> None:
        """Make sure that the file is here, whole, with nothing beside it, and gone there."""
        self.assertEqual(["source.bin"], os.listdir(self.inbox))
        self.assertEqual(hashlib.sha256(self.bytes).digest(), hashlib.sha256(self.saved.read_bytes()).digest())
        self.assertIn("gone (delivered)", self.home.run("list").out)

    def test_five_kills(self):
        """A server that is killed and restarted five times in mid-file is gone on with, by itself."""
        getting = self.home.start("get", "--limit-rate", "8M", "-o", str(self.inbox), self.link)
        for number in range(1, 6):
            eventually(partial(self.has, number * 4 * MIB), f"{4 * number} MiB have come")
            self.assertLess(self.here(), len(self.bytes))
            self.daemon.kill()
            self.daemon.start()
        out, err = getting.communicate(timeout=60)
        self.assertEqual((0, f"{self.saved}\n", ""), (getting.returncode, out.decode(), err.decode()))
        self.check()

    def test_interrupt(self):
        """Ctrl-C leaves a part that nobody else can take for the file, and the same command goes on with it."""
        with self.home.terminal("get", "--limit-rate", "4M", "-o", str(self.inbox), self.link) as terminal:
            terminal.until(lambda: self.here() > 2 * MIB).type("\x03")
            self.assertEqual(130, terminal.end(), terminal.shown)
            self.assertIn("MiB", terminal.shown)
            self.assertIn("filedrop: interrupted", terminal.shown)
        kept = self.here()
        self.assertFalse(self.saved.exists())
        self.assertTrue(2 * MIB < kept < len(self.bytes), kept)
        self.assertEqual(self.bytes[:kept], self.part.read_bytes())
        notes = self.part.with_name(self.part.name + ".claim")
        self.assertEqual(0o600, stat.S_IMODE(notes.stat().st_mode))
        self.assertNotIn(self.link.rpartition("/")[2], notes.read_text())
        again = self.home.run("get", "-o", str(self.inbox), self.link)
        self.assertEqual((0, ""), (again.status, again.err))
        self.check()

    def test_kill_of_the_client(self):
        """A client that is killed has left the same."""
        getting = self.home.start("get", "--limit-rate", "4M", "-o", str(self.inbox), self.link)
        eventually(lambda: self.here() > 2 * MIB, "2 MiB have come")
        getting.kill()
        getting.communicate(timeout=60)
        self.assertEqual(0, self.home.run("get", "-o", str(self.inbox), self.link).status)
        self.check()

    def test_kill_near_the_end(self):
        """So has one that had read all, and not yet written it: to be killed is no way to say that it is safe here."""
        getting = self.home.start("get", "--limit-rate", "8M", "-o", str(self.inbox), self.link)
        eventually(lambda: self.here() > 29 * MIB, "29 MiB have come")
        getting.kill()
        getting.communicate(timeout=60)
        self.assertLess(self.here(), len(self.bytes))
        ended = self.home.run("get", "-o", str(self.inbox), self.link)
        self.assertEqual((0, ""), (ended.status, ended.err))
        self.check()
