"""Whoever reads the log, the disk or the probes learns no token, no password, and no name but from the database."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import Daemon
from tests.planted import Planted, found, searched

#: As many as it takes to put one into each place.
COUNT = 220


class PlantedTests(SynchronousTestCase):
    """Secrets in every place of a request, and in requests that are none."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="filedropd-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def planted(self, *options) -> str:
        """Plant and search; returns the log."""
        planted, faults, log = searched(self.folder, COUNT, *options, seed=os.getpid())
        self.assertEqual([], faults)
        # It was no daemon that refuses everything, and names are where they belong.
        self.assertLess({"200", "201", "204", "206", "303", "400", "401", "404", "500"}, set(planted.statuses))
        database = (self.folder / "data" / "drops.db").read_text("latin-1")
        self.assertTrue(any(name in database for name in planted.names))
        return log

    def test_text(self):
        """They are nowhere when the log is text, and each event is a line that can be shown."""
        lines = self.planted().splitlines()
        self.assertTrue(all(line.isprintable() and line[:2] == "20" and line[23] == "Z" for line in lines))
        self.assertTrue(any(" | Traceback " in line for line in lines))

    def test_json(self):
        """They are nowhere when the log is JSON, and each event is an object in a line."""
        events = [json.loads(line) for line in self.planted("--log-format=json").splitlines()]
        self.assertTrue(any("traceback" in event for event in events))

    def test_search(self):
        """What is somewhere is found, whole or half, and in what it is usually turned into."""
        token = "0123456789abcdef" * 2
        daemon, planted = Unstarted(self.folder), Planted(secrets={token: "link"})
        daemon.data.mkdir()
        text = token.encode()
        for content in (text[3:], text[:-9].upper(), bytes.fromhex(token), base64.b64encode(b"user:" + text)):
            (daemon.data / "drops.db").write_bytes(content)
            self.assertEqual([f"{token} (link) is in the data directory"], found(daemon, planted, []))
        (daemon.data / "drops.db").write_bytes(b"something else")
        self.assertEqual([], found(daemon, planted, ["something else"]))
        self.assertEqual([f"{token} (link) is in a probe's answer"], found(daemon, planted, [token]))


class Unstarted(Daemon):
    """A daemon that never ran."""

    def log(self, begins: int = 0) -> str:
        """Nothing."""
        return ""
