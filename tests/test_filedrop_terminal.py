"""``filedrop`` at a terminal: progress, questions, Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.filedrop import Home, Terminal
from tests.test_filedrop import daemon

MIB = 2**20


class TerminalTests(SynchronousTestCase):
    """Somebody sits there."""

    def setUp(self):
        self.home = Home(Path(self.mktemp()).absolute(), daemon().url())
        self.folder = self.home.folder
        (self.folder / "big").write_bytes(os.urandom(4 * MIB))

    def put(self, *words: str, **environment: str) -> str:
        """Leave the file without a terminal; returns its link."""
        return self.home.run("put", "big", *words, given=b"", **environment).out.strip()

    def test_progress(self):
        """There is a bar with the speed and the time left, and then the link."""
        with self.home.terminal("put", "--limit-rate", "4M", "big") as terminal:
            self.assertEqual(0, terminal.end(), terminal.shown)
        self.assertIn("━", terminal.shown)
        self.assertRegex(terminal.shown, r"\d/4\.0 MiB")
        self.assertRegex(terminal.shown, r"MB/s.*0:00:0\d")
        self.assertRegex(terminal.shown, r"http://127\.0\.0\.1:\d+/api/v1\.0/file/[0-9a-f]{32}\r\n")
        self.assertIn("4.0/4.0 MiB", terminal.shown)

    def test_no_progress(self):
        """Of what fails at once there is no bar, and no empty line for it."""
        with self.home.terminal("put", "nothing") as terminal:
            self.assertEqual(1, terminal.end(), terminal.shown)
        self.assertEqual("filedrop: nothing cannot be read: No such file or directory.\r\n", terminal.shown)

    def test_narrow(self):
        """In a narrow terminal the bar has fewer parts, and stays on its line: else it would run down the screen."""
        os.rename(self.folder / "big", self.folder / ("big" * 20))
        for columns in (64, 50, 40, 30, 20):
            words = ("put", "--limit-rate", "8M", "big" * 20)
            with self.home.terminal(*words, COLUMNS=str(columns)) as terminal:
                self.assertEqual(0, terminal.end(), terminal.shown)
            drawn, _, link = terminal.shown.rpartition("http://")
            self.assertRegex(link, r"\A\S+\r\n\Z")
            self.assertNotIn("\x1b[1A", drawn)  # where it took two lines it would go up one to draw again
            lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn))
            self.assertLessEqual(max(map(len, lines)), columns, lines)
            self.assertRegex(drawn, r"\d/4\.0 MiB")

    def test_quiet(self):
        """Or nothing but the link."""
        with self.home.terminal("put", "--quiet", "big") as terminal:
            self.assertEqual(0, terminal.end(), terminal.shown)
        self.assertRegex(terminal.shown, r"\Ahttp://\S+\r\n\Z")

    def test_asked_to_put(self):
        """A password is asked for twice, and not shown."""
        with self.home.terminal("put", "-q", "--password", "big") as terminal:
            terminal.until("Password:").type("s3cret\n").until("Repeat").type("s3cret\n")
            self.assertEqual(0, terminal.end(), terminal.shown)
        self.assertNotIn("s3cret", terminal.shown)
        link = re.findall(r"http://\S+", terminal.shown)[0]
        self.assertEqual(4, self.home.run("get", "-o", "b", link).status)
        self.assertEqual(0, self.home.run("get", "-o", "b", link, FILEDROP_PASSWORD="s3cret").status)

    def test_asked_to_get(self):
        """Where a file has a password it is asked for, until it is right."""
        link = self.put(FILEDROP_PASSWORD="s3cret")
        with self.home.terminal("get", "-o", "b", link) as terminal:
            terminal.until("Password:").type("wrong\n").until("that is not the password").until(
                lambda: terminal.shown.count("Password:") == 2
            ).type("s3cret\n")
            self.assertEqual(0, terminal.end(), terminal.shown)
        self.assertNotIn("s3cret", terminal.shown)
        self.assertEqual((self.folder / "big").read_bytes(), (self.folder / "b").read_bytes())

    def asked(self, terminal: Terminal, times: int) -> bool:
        """Tell whether a password was asked for so often."""
        return terminal.shown.count("Password:") == times

    def test_three_times(self):
        """Three times, and no more."""
        link = self.put(FILEDROP_PASSWORD="s3cret")
        with self.home.terminal("get", "-o", "b", link) as terminal:
            for number in range(1, 4):
                terminal.until(partial(self.asked, terminal, number)).type("wrong\n")
            self.assertEqual(4, terminal.end(), terminal.shown)

    def test_no_answer(self):
        """Ctrl-C is an answer, too, and leaves nothing."""
        link = self.put(FILEDROP_PASSWORD="s3cret")
        with self.home.terminal("get", "-o", "b", link) as terminal:
            terminal.until("Password:").type("\x03")
            self.assertEqual(130, terminal.end(), terminal.shown)
        self.assertIn("interrupted", terminal.shown)
        self.assertNotIn("Traceback", terminal.shown)
        self.assertEqual([".home", "big"], sorted(os.listdir(self.folder)))

    def test_no_answer_to_put(self):
        """It ends as everywhere, before anything is sent."""
        before = daemon().log().count("kept")
        for key in ("\x03", "\x04"):
            with self.home.terminal("put", "--password", "big") as terminal:
                terminal.until("Password:").type(key)
                self.assertEqual(130, terminal.end(), terminal.shown)
            self.assertRegex(terminal.shown, r"Password: (\^C)?\r\nfiledrop: interrupted\r\n\Z")
        self.assertEqual(before, daemon().log().count("kept"))

    def test_interrupted_put(self):
        """Of what is interrupted nothing is left with the server."""
        before = daemon().log().count("kept")
        with self.home.terminal("put", "--limit-rate", "200k", "big") as terminal:
            terminal.until("MiB").type("\x03")
            self.assertEqual(130, terminal.end(), terminal.shown)
        self.assertNotIn("http://", terminal.shown)
        self.assertEqual(before, daemon().log().count("kept"))

    def test_terminated(self):
        """SIGTERM ends in order, too, and keeps what has come."""
        link = self.put()
        part = self.folder / "b.part"
        with self.home.terminal("get", "-o", "b", "--limit-rate", "200k", link) as terminal:
            terminal.until(lambda: part.exists() and part.stat().st_size > MIB // 16).signal(signal.SIGTERM)
            self.assertEqual(130, terminal.end(), terminal.shown)
        self.assertEqual(0, self.home.run("get", "-o", "b", link).status)

    def test_copy(self):
        """Where there is no desktop the terminal is asked to take the link."""
        with self.home.terminal("put", "-q", "--copy", "big", DISPLAY="", WAYLAND_DISPLAY="") as terminal:
            self.assertEqual(0, terminal.end(), terminal.shown)
        self.assertRegex(terminal.shown, r"\x1b\]52;c;aHR0cDovL[A-Za-z0-9+/=]+\x07")

    def test_wait(self):
        """Somebody who waits sees what happens."""
        with self.home.terminal("put", "--wait", "big") as terminal:
            terminal.until("0 of 1 delivered")
            link = re.findall(r"http://\S+", terminal.shown)[0]
            self.home.run("get", "-o", "b", link)
            self.assertEqual(0, terminal.end(), terminal.shown)
        self.assertIn("big: claimed", terminal.shown)
        self.assertIn("big: delivered", terminal.shown)

    def test_interrupted_wait(self):
        """Who waits no more ends with Ctrl-C, and the drop stays."""
        with self.home.terminal("put", "--wait", "big") as terminal:
            terminal.until("0 of 1 delivered").type("\x03")
            self.assertEqual(130, terminal.end(), terminal.shown)
        self.assertIn("interrupted", terminal.shown)
        self.assertNotIn("Traceback", terminal.shown)
        self.assertEqual(0, self.home.run("get", "-o", "b", re.findall(r"http://\S+", terminal.shown)[0]).status)
