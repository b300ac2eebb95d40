"""The conformance suite, run on a daemon of its own; and the suite itself, which must tell good servers from bad ones."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.conformance import naive, report
from tests.conformance.adapters import Filedropd, Left, PutText, Unfit, named
from tests.conformance.case import Case
from tests.conformance.catalogue import CASES, chosen
from tests.conformance.running import Outcome, Result, suite
from tests.conformance.wire import Endpoint
from tests.daemon import PATIENCE
from tests.test_daemon import shared_daemon

ROOT = Path(__file__).parent.parent


@functools.cache
def outcomes() -> dict[str, Outcome]:
    """Run all cases, several at once, on daemons of their own; once for all tests."""
    with suite(Filedropd, None, {}) as prepared:
        return {outcome.case.name: outcome for outcome in prepared.run(CASES)}


class ConformanceTests(SynchronousTestCase):
    """Each promise is kept. There is a test for each case, which the end of this module adds."""


def promised(case: Case) -> Callable[[SynchronousTestCase], None]:
    """Return the test of a case."""

    def test(self: SynchronousTestCase) -> None:
        outcome = outcomes()[case.name]
        if outcome.result is Result.NOT_RUN:
            raise SkipTest(outcome.seen)
        self.assertIs(outcome.result, Result.PASSED, f"{case.promise} But: {outcome.seen}")

    test.__doc__ = case.promise
    return test


for _case in CASES:
    setattr(ConformanceTests, f"test_{_case.name.replace('-', '_')}", promised(_case))


def tried(adapter: str, url: str, *names: str, **given: str) -> dict[str, Outcome]:
    """Run cases on a server."""
    with suite(named(adapter), url, given) as prepared:
        return {outcome.case.name: outcome for outcome in prepared.run(chosen(list(names)))}


def failed(ran: dict[str, Outcome]) -> set[str]:
    """Return the names of those that failed."""
    return {name for name, outcome in ran.items() if outcome.result is Result.FAILED}


class OtherServersTests(SynchronousTestCase):
    """The suite on servers that are not ours, or are taken for such."""

    def test_early(self):
        """A server that forgets a file when anybody asks for it fails where something breaks or only looks."""
        names = {"head", "probe", "abort-50-rst", "rst-after-all", "start-over"}
        with naive.running(late=False) as url:
            ran = tried("put-text", url, "fin-after-all", *names)
        self.assertEqual(names, failed(ran), ran)

    def test_late(self):
        """A server that forgets a file when it has written it fails where several ask, or one reads slowly."""
        names = {"head", "parallel-16", "overlap", "slow-reader", "half-close"}
        with naive.running(late=True) as url:
            ran = tried("put-text", url, *names)
        self.assertEqual(names, failed(ran), ran)

    def test_put_text(self):
        """Our own daemon, taken for a server that answers PUT with a link, keeps what needs no more than that."""
        names = ("parallel-16", "head", "abort-50-rst", "three-in-turn", "password", "expiry")
        fields = {"downloads": "Filedrop-Downloads", "password": "Filedrop-Password", "expires": "Filedrop-Expires"}
        ran = tried("put-text", shared_daemon().url(""), *names, path="/x.bin", **fields)
        self.assertEqual(dict.fromkeys(names, Result.PASSED), {name: ran[name].result for name in ran}, ran)

    def test_lacking(self):
        """What a server has no ability for is not run, and says what it lacks; it does not pass."""
        with naive.running(late=False) as url:
            ran = tried("put-text", url, "three-in-turn", "token-header", "kill")
        seen = {name: (outcome.result, outcome.seen) for name, outcome in ran.items()}
        self.assertEqual(
            {
                "three-in-turn": (Result.NOT_RUN, "needs a way to allow several downloads"),
                "token-header": (Result.NOT_RUN, "needs claim tokens"),
                "kill": (Result.NOT_RUN, "needs a server of its own"),
            },
            seen,
        )

    def test_own_server(self):
        """What must kill the server is not run on one that was only named by its URL."""
        ran = tried("filedropd", shared_daemon().url(""), "kill", "one-byte")
        self.assertEqual((Result.NOT_RUN, Result.PASSED), (ran["kill"].result, ran["one-byte"].result))

    def test_never_answers(self):
        """A server that takes connections and says nothing fails a case in time."""
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            (case,) = chosen(["head"])
            with suite(_Silent, url, {}) as prepared:
                (outcome,) = prepared.run([attrs.evolve(case, seconds=0.2)])
        self.assertIs(outcome.result, Result.FAILED)
        self.assertLess(outcome.seconds, 5.0)
        self.assertIn("no answer comes", outcome.seen)


class _Silent(Filedropd):
    """Leaves files without a word to the server."""

    def leave(self, data: bytes, **terms: object) -> Left:
        return Left(f"{self.endpoint.url}/x")


class AdapterTests(SynchronousTestCase):
    """How a server is named, and that it is one of this machine."""

    def test_loopback(self):
        """Names and addresses of this machine are taken."""
        for url, address in (
            ("http://127.0.0.1:8002", "127.0.0.1"),
            ("http://127.9.9.9/", "127.9.9.9"),
            ("http://localhost:80/x", "127.0.0.1"),
        ):
            self.assertEqual(address, Endpoint.of(url).address)

    def test_elsewhere(self):
        """Whatever is not on this machine, or not plain HTTP, is refused before anything is sent."""
        for url in (
            "http://192.0.2.1/",
            "http://0.0.0.0:8002/",
            "https://127.0.0.1/",
            "127.0.0.1:8002",
            "http://[::1]/",
        ):
            self.assertRaises(ValueError, Endpoint.of, url)

    def test_named(self):
        """An adapter is one of ours, or a class of somebody else's."""
        self.assertIs(Filedropd, named("filedropd"))
        self.assertIs(PutText, named("tests.conformance.adapters:PutText"))
        for strange in ("nobody", "no.such:Thing", "tests.conformance.adapters:Nobody"):
            self.assertRaises(ValueError, named, strange)

    def test_unknown_option(self):
        """An option that an adapter has not is refused."""
        self.assertRaises(ValueError, PutText, "http://127.0.0.1:1", {"colour": "green"})

    def test_refused_upload(self):
        """A server that takes no files is not fit, and it is said why."""
        with naive.running(late=False) as url:
            error = self.assertRaises(Unfit, Filedropd(url, {}).revoke, Left(f"{url}/x", "token"))
        self.assertIn("501", str(error))


class CommandTests(SynchronousTestCase):
    """``python -m tests.conformance``."""

    def run_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it."""
        command = [sys.executable, "-m", "tests.conformance", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)

    def test_passes(self):
        """On a server that keeps a promise it says so, writes it down, and ends with 0."""
        file = self.mktemp()
        done = self.run_command(
            "--url", shared_daemon().url(""), "--case", "head", "--json", str(Path(file).absolute())
        )
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        self.assertRegex(done.stdout, r"(?m)^head +passed +\d")
        self.assertTrue(done.stdout.endswith("1 passed, 0 failed\n"))
        (told,) = json.loads(Path(file).read_text("utf-8"))
        self.assertEqual(("head", "passed", ""), (told["case"], told["result"], told["seen"]))

    def test_fails(self):
        """On a server that does not it says what was seen, and ends with 1."""
        with naive.running(late=False) as url:
            done = self.run_command("--url", url, "--adapter", "put-text", "--case", "head")
        self.assertEqual(1, done.returncode)
        self.assertRegex(done.stdout, r"(?m)^head +failed +\d.*another recipient|HEAD is answered")

    def test_wrong(self):
        """What cannot be run ends with 2, and no traceback."""
        for arguments in (["--url", "http://192.0.2.1"], ["--case", "nobody"], ["--adapter", "put-text"]):
            done = self.run_command(*arguments)
            self.assertEqual((2, 1), (done.returncode, done.stderr.count("\n")), done.stderr)

    def test_list(self):
        """It says what there is without running any."""
        done = self.run_command("--list")
        self.assertEqual([], [case.name for case in CASES if f"    {case.name} " not in done.stdout])


class CatalogueTests(SynchronousTestCase):
    """The cases as a whole."""

    def test_names(self):
        """No two have the same name."""
        names = [case.name for case in CASES]
        self.assertEqual(sorted(set(names)), sorted(names))

    def test_words(self):
        """Each promise, and what it means, is a sentence."""
        wrong = [case.name for case in CASES if not (case.promise.endswith(".") and case.means.endswith("."))]
        self.assertEqual([], wrong)

    def test_documented(self):
        """Each is in docs/exactly-once.md, word for word; ``--list --markdown`` writes it."""
        told = (ROOT / "docs" / "exactly-once.md").read_text("utf-8")
        self.assertEqual([], [case.name for case in CASES if report.row(case) not in told])
        rows = [line for line in told.partition("## How it is tested")[2].splitlines() if line.startswith("| `")]
        self.assertEqual(len(CASES), len(rows))
