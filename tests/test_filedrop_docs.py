"""``docs/client.md`` is true: what it shows is run. The manual page is that of the command, and what it says holds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from filedropd.client.command import main
from filedropd.client.commands.exits import TABLE
from filedropd.client.manual import page
from tests.filedrop import Home
from tests.test_filedrop import daemon

DOCS: Final = Path(__file__).parent.parent / "docs"
SERVER: Final = "https://drop.example"

_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: What is another each time, and of which form.
_VARIES: Final = (
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "KEY"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?"), "TIME"),
)


def normal(text: str) -> str:
    """Return ``text`` with what varies replaced."""
    for pattern, name in _VARIES:
        text = pattern.sub(name, text)
    return text


class ClientDocTests(SynchronousTestCase):
    """``docs/client.md``."""

    maxDiff = None

    def setUp(self):
        self.blocks = _BLOCK.findall((DOCS / "client.md").read_text())
        self.server = daemon().url().rstrip("/")
        self.home = Home(Path(self.mktemp()).absolute())
        folder = self.home.folder
        (folder / "photos").mkdir()
        (folder / "photos" / "1.jpg").write_bytes(bytes(1000))
        (folder / "inbox").mkdir()
        (folder / "report.pdf").write_bytes(bytes(60000))
        (folder / "notes.txt").write_text("some short notes")
        self.bin = folder / ".bin"
        self.bin.mkdir()
        (self.bin / "filedrop").write_text(f'#!/bin/sh\nexec {sys.executable} -m filedropd.client "$@"\n')
        (self.bin / "filedrop").chmod(0o755)

    def run_words(self, words: list[str], given: str) -> str:
        """Run something with ``filedrop`` within reach; returns all that it prints."""
        environment = self.home.environment()
        environment["PATH"] = f"{self.bin}:{environment['PATH']}"
        done = subprocess.run(
            words,
            cwd=self.home.folder,
            env=environment,
            input=given.replace(SERVER, self.server),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
            start_new_session=True,
        )
        return done.stdout.replace(self.server, SERVER)

    def test_transcript(self):
        """Each command prints what stands below it."""
        shown = "".join(text for kind, text in self.blocks if kind == "console")
        commands = [line[2:] for line in shown.splitlines() if line.startswith("$ ")]
        script = "".join(f"echo {_quoted('$ ' + each)}\n{each}\n" for each in commands)
        # `echo $?` is to tell of the command, and not of what shows it.
        script = re.sub(r"^(echo '\$ echo \$\?')$", r"status=$?; \1; (exit $status)", script, flags=re.MULTILINE)
        printed = self.run_words(["bash", "-s"], script)
        self.assertEqual(normal(shown), normal(printed))

    def test_programs(self):
        """Each program prints what stands after it."""
        programs = [text for kind, text in self.blocks if kind == "python"]
        outputs = [text for kind, text in self.blocks if kind == "text"]
        self.assertEqual(3, len(programs))
        for program, output in zip(programs, outputs, strict=True):
            printed = self.run_words([sys.executable, "-"], program)
            self.assertEqual(output, re.sub(r"^\d+ of \d+\n", "", printed, flags=re.MULTILINE))

    def test_exits(self):
        """The table of exit statuses is the one in the code."""
        text = (DOCS / "client.md").read_text()
        table = text.partition("<!-- exits: begin -->")[2].partition("<!-- exits: end -->")[0]
        rows = [line.strip("| ").split(" | ") for line in table.strip().splitlines()[2:]]
        self.assertEqual([[str(each.status), each.words] for each in TABLE], rows)


class ManualTests(SynchronousTestCase):
    """``docs/filedrop.1``."""

    def test_built(self):
        """It is what ``make man`` makes of the help."""
        self.assertEqual(page(), (DOCS / "filedrop.1").read_text(), "run `make man`")

    def test_whole(self):
        """It has every command, every option and an example of each."""
        manual = page().replace("\\-", "-")
        for name, command in main.commands.items():
            self.assertIn(f".SS {name}\n", manual)
            self.assertIn(f"  filedrop {name}", manual)
            for parameter in command.params:
                for option in parameter.opts:
                    self.assertIn(option if option.startswith("-") else name, manual)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
