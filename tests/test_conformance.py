"""The conformance suite, run on each production stack; and the suite itself, which must tell good servers from bad ones."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.conformance import naive, report
from tests.conformance.adapters import Adapter, Filedropd, Left, Limit, PutText, Unfit, named
from tests.conformance.case import Case
from tests.conformance.catalogue import CASES, chosen
from tests.conformance.running import Outcome, Result, suite
from tests.conformance.stacks import STACKS
from tests.conformance.wire import Endpoint
from tests.daemon import PATIENCE
from tests.test_daemon import shared_daemon

ROOT = Path(__file__).parent.parent


@functools.cache
def outcomes(adapter: str) -> dict[str, Outcome]:
    """Run all cases, several at once, on servers of their own; once for all tests."""
    with suite(named(adapter), None, {}) as prepared:
        return {outcome.case.name: outcome for outcome in prepared.run(CASES)}


class Promises(SynchronousTestCase):
    """Each promise is kept. There is a test for each case, which :func:`promised` makes."""

    adapter = ""


class ConformanceTests(Promises):
    """On SQLite."""

    adapter = "filedropd"


class PostgresTests(Promises):
    """On PostgreSQL and Redis."""

    adapter = "filedropd-postgres"


class ThroughNginxTests(Promises):
    """On PostgreSQL and Redis, through nginx, up to the limits that are known."""

    adapter = "filedropd-nginx-stream"


class ByNginxTests(Promises):
    """On PostgreSQL and Redis, sent by nginx, up to the limits that are known."""

    adapter = "filedropd-nginx"


def promised(case: Case) -> Callable[[Promises], None]:
    """Return the test of a case: it is kept, or limited as it is known to be; a limit that is none any more fails."""

    def test(self: Promises) -> None:
        outcome = outcomes(self.adapter)[case.name]
        if outcome.result is Result.NOT_RUN:
            raise SkipTest(outcome.seen)
        self.assertIn(outcome.result, {Result.PASSED, Result.LIMITED}, f"{case.promise} But: {outcome.seen}")

    test.__doc__ = case.promise
    return test


for _kind in (ConformanceTests, PostgresTests, ThroughNginxTests, ByNginxTests):
    for _case in CASES:
        setattr(_kind, f"test_{_case.name.replace('-', '_')}", promised(_case))


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


def limited(name: str, **limit: Any) -> Callable[[str, Mapping[str, str]], Adapter]:
    """Return an adapter of a server that is known not to keep a case."""

    def make(url: str, options: Mapping[str, str]) -> Adapter:
        server = PutText(url, options)
        server.dialect = attrs.evolve(server.dialect, limits={name: Limit("It does not.", "It cannot.", **limit)})
        return server

    return make


class LimitsTests(SynchronousTestCase):
    """What a server is known not to keep."""

    def outcome(self, case: str, *, late: bool = False, forgets: bool = True, **limit: Any) -> tuple[Result, str]:
        """Return what comes of a case on a naive server that is known not to keep it."""
        with naive.running(late=late, forgets=forgets) as url, suite(limited(case, **limit), url, {}) as prepared:
            (outcome,) = prepared.run(chosen([case]))
        return outcome.result, outcome.seen

    def test_limited(self):
        """What is seen is the limit: it is told with why, and the server did not fail."""
        result, seen = self.outcome("abort-50-rst", seen="another recipient should be told that it is busy")
        self.assertIs(Result.LIMITED, result)
        self.assertRegex(seen, r"^another recipient .* and got 404 .*\. It cannot\.$")

    def test_something_else(self):
        """What is seen is something else: the server failed."""
        result, seen = self.outcome("abort-50-rst", seen="the first recipient")
        self.assertIs(Result.FAILED, result)
        self.assertNotIn("It cannot", seen)

    def test_kept(self):
        """It is kept after all: that is told, unless it may be."""
        result, seen = self.outcome("fin-after-all", seen="")
        self.assertEqual((Result.SURPASSED, "This was to be expected: It does not."), (result, seen))
        self.assertIs(Result.PASSED, self.outcome("fin-after-all", seen="", by_chance=True)[0])

    def test_unsafe(self):
        """No limit excuses a copy too many, whether it was fetched already or can still be."""
        for case, forgets in (("parallel-two-addresses", True), ("next-request", False)):
            result, seen = self.outcome(case, late=True, forgets=forgets, seen="")
            self.assertIs(Result.FAILED, result, case)
            self.assertRegex(seen, r"^\d+ recipients have complete copies, and 1 were allowed$")

    def test_names(self):
        """Limits are of cases that there are, and each is told in sentences."""
        for kind, _ in STACKS.values():
            self.assertLessEqual(set(kind.dialect.limits), {case.name for case in CASES})
            for name, limit in kind.dialect.limits.items():
                self.assertTrue(limit.instead.endswith(".") and limit.why.endswith("."), name)


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
        for name, (kind, _) in STACKS.items():
            self.assertIs(kind, named(name))
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

    def test_stacks_documented(self):
        """So is what each stack keeps, and each limit."""
        self.assertIn(report.stacks(), (ROOT / "docs" / "exactly-once.md").read_text("utf-8"))
