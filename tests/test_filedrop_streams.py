"""``filedrop`` where a standard stream is closed or full, or nobody reads it: the work is done, and nothing is lost."""

from __future__ import annotations

import json
import os
import re
from typing import Final

from tests.test_filedrop import CommandTestCase

CLOSED: Final = "it is closed"
FULL: Final = "No space left on device"


class StreamTests(CommandTestCase):
    """Streams that take or give nothing."""

    def check(self, expected: tuple[int, str, str], redirections: str, *words: str) -> None:
        """Run a command and compare its status and what it printed, which are patterns."""
        ended = self.home.redirected(redirections, *words)
        status, out, err = expected
        self.assertEqual(status, ended.status, (redirections, words, ended.err))
        self.assertRegex(ended.out, rf"\A{out}\Z")
        self.assertRegex(ended.err, rf"\A{err}\Z")

    def test_error_to_nobody(self):
        """Where no complaint can be heard the work is done, and the status is the same."""
        for redirections in ("2>&-", "2>/dev/full"):
            self.check((0, r"http://\S+\n", ""), redirections, "put", "a.txt")
            self.check((0, r"http://\S+\n", ""), redirections, "put", "--qr", "a.txt")
            self.check((11, "", ""), redirections, "get", self.put())
            self.check((2, "", ""), redirections, "put", "--nothing")
            self.check((1, "", ""), redirections, "put", "nothing")

    def test_output_to_nobody(self):
        """What cannot be printed is said to be so, in a line."""
        self.put()
        for redirections, why in ((">&-", CLOSED), (">/dev/full", FULL)):
            said = f"filedrop: The standard output cannot be written: {why}.\n"
            for words in (["--help"], ["put", "--help"], ["--version"], ["list"], ["completion", "bash"]):
                self.check((1, "", re.escape(said)), redirections, *words)

    def test_link(self):
        """The links of what was left are told elsewhere, of several files each."""
        for redirections, why in ((">&-", CLOSED), (">/dev/full", FULL)):
            ended = self.home.redirected(redirections, "put", "a.txt", "a.txt")
            self.assertEqual(1, ended.status)
            self.assertEqual(2, ended.err.count(f"{why}. The file is left all the same: http://"), ended.err)
            link = ended.err.split()[-1]
            self.done("get", "-o", "b", "--force", link)

    def test_link_as_json(self):
        """With all that a program asked for."""
        ended = self.home.redirected(">/dev/full", "put", "--json", "a.txt")
        self.assertEqual(32, len(json.loads(ended.err.partition("same: ")[2])["owner_token"]))

    def test_reader_that_left(self):
        """Nor is a link lost because nobody reads it."""
        reading, writing = os.pipe()
        os.close(reading)
        try:
            ended = self.home.redirected("", "put", "a.txt", output=writing)
        finally:
            os.close(writing)
        self.assertEqual(1, ended.status)
        self.assertIn("nobody reads it. The file is left all the same: http://", ended.err)

    def test_saved(self):
        """Where a file was saved is said, too."""
        ended = self.home.redirected(">&-", "get", "-o", "b", self.put())
        self.assertEqual(1, ended.status)
        self.assertTrue(ended.err.endswith("The file is here all the same: b\n"), ended.err)
        self.assertEqual(b"bytes\n", (self.folder / "b").read_bytes())

    def test_no_output_to_fetch_to(self):
        """A file that was to go to a closed output is not used up."""
        link = self.put()
        self.assertEqual(1, self.home.redirected(">&-", "get", "-o", "-", link).status)
        self.done("get", "-o", "b", link)

    def test_no_input(self):
        """A closed input has nothing to read; whoever needs none does not miss it."""
        self.check((0, r"http://\S+\n", ""), "<&-", "put", "a.txt")
        self.check((1, "", r"filedrop: .* cannot be read: .*\n"), "<&-", "put", "-")
        self.check((2, "", r"[\s\S]*standard input has no link[\s\S]*"), "<&-", "get", "-")

    def test_none(self):
        """All three closed: what is printed goes into no file of ours."""
        link = self.put()
        self.assertEqual(1, self.home.redirected("<&- >&- 2>&-", "get", "-o", "b", link).status)
        self.assertEqual(b"bytes\n", (self.folder / "b").read_bytes())
