"""How the daemon ends: what is let go on, for how long, and with which status."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from filedropd.config import load
from filedropd.process import CANNOT_START, NOT_IN_ORDER, Process
from filedropd.tap import Daemon as DaemonService
from filedropd.testing import Wire, request
from tests.api import APITestCase
from tests.daemon import Daemon, eventually
from tests.stopping import rounds
from tests.test_daemon import MIB, SAME, begun, left
from tests.test_daemon import request as request_of
from tests.test_daemon_life import LARGE, DaemonLifeCase, path_of
from tests.wired import Held, Service

GET = request("GET", "/")


class DrainTests(SynchronousTestCase):
    """Connections that are to end."""

    def setUp(self):
        self.clock = Clock()
        self.held = Held()
        self.service = Service(self.held, clock=self.clock)

    def drain(self, seconds) -> Deferred[int]:
        """Begin to drain."""
        return Deferred.fromCoroutine(self.service.factory.drain(seconds))

    def asked(self) -> Wire:
        """Return a connection with a request that is not answered yet."""
        wire = self.service.wire()
        wire.send(GET)
        return wire

    def let_go(self, wire) -> None:
        """Answer, and let the client see it and close."""
        self.held.let_go()
        wire.run()
        wire.close()

    def test_nothing(self):
        """Where there are no connections, it is over at once."""
        self.assertEqual(0, self.successResultOf(self.drain(10)))

    def test_last_answer(self):
        """It is over in the moment in which the last connection ends: nobody looks from time to time."""
        wires = [self.asked(), self.asked()]
        drained = self.drain(10)
        self.let_go(wires[0])
        self.assertNoResult(drained)
        self.let_go(wires[1])
        self.assertEqual(0, self.successResultOf(drained))
        self.assertEqual([200, 200], [answer.status for wire in wires for answer in wire.responses()])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_count(self):
        """It tells how many were broken off, not how many were closed."""
        self.service.wire()
        wires = [self.asked(), self.asked(), self.asked()]
        drained = self.drain(10)
        self.let_go(wires[0])
        self.clock.advance(10)
        for wire in wires:
            wire.run()
        self.assertEqual(2, self.successResultOf(drained))

    def test_hurry(self):
        """Who is in a hurry waits no longer."""
        wire = self.asked()
        drained = self.drain(3600)
        self.assertNoResult(drained)
        self.service.factory.hurry()
        wire.run()
        self.assertEqual(1, self.successResultOf(drained))

    def test_hurry_before(self):
        """Who was in a hurry before it began does not wait at all."""
        wire = self.asked()
        self.service.factory.hurry()
        drained = self.drain(3600)
        wire.run()
        self.assertEqual(1, self.successResultOf(drained))

    def test_late(self):
        """A connection that was under way when the port was closed is closed, and asked nothing."""
        wire = self.asked()
        drained = self.drain(10)
        late = self.service.wire()
        late.send(GET)
        self.assertTrue(late.closed)
        self.assertEqual(1, len(self.held.requests))
        self.let_go(wire)
        self.assertEqual(0, self.successResultOf(drained))


class ArrivedTests(APITestCase):
    """A download of which only the recipient's sign is missing that he has it."""

    def test_counts(self):
        """Whose machine has all of it when time is up has his copy, and nobody else gets another."""
        told = self.leave()
        wire = Wire(self.factory)
        wire.send(request("GET", told["path"]))
        self.assertNoResult(drained := Deferred.fromCoroutine(self.factory.drain(0.5)))
        self.core.clock.advance(0.5)
        wire.run()
        self.assertEqual(0, self.successResultOf(drained))
        self.assertEqual(b"content", wire.responses()[0].body)
        self.assertEqual("delivered", self.reason())

    def test_does_not(self):
        """Whose machine has not all of it when time is up does not; the file is there for the next."""
        told = self.leave(bytes(400_000))
        wire = Wire(self.factory)
        wire.stop_reading()
        wire.send(request("GET", told["path"]))
        drained = Deferred.fromCoroutine(self.factory.drain(0.5))
        self.core.clock.advance(0.5)
        wire.run()
        self.assertEqual(1, self.successResultOf(drained))
        self.assertIsNone(self.reason())

    def reason(self) -> str | None:
        """Return why the drop is gone, as the records have it."""
        (drop,) = self.core.rows()
        return None if drop.reason is None else drop.reason.value


class Unsignalled(Process):
    """A process that leaves the signals to trial, and only notes how it would end."""

    def __init__(self) -> None:
        super().__init__(reactor)
        self.statuses: list[int] = []

    def on_signals(self, asked: Any) -> None:
        """Leave them alone."""

    def fail(self, status: int) -> None:
        """Note ``status``."""
        self.statuses.append(status)


class EarlyTests(TestCase):
    """A daemon that is stopped while it starts."""

    async def test_in_the_middle(self):
        """It opens no port, gives back what it has opened by then, and was in order."""
        data = self.mktemp()
        await deferLater(reactor, 0)  # from here on it runs
        for _ in range(2):  # what was not given back would be in use
            process = Unsignalled()
            config = load({"data-dir": data, "listen": ["tcp:0:interface=127.0.0.1"]}, {})
            daemon = DaemonService(config, reactor, process, None)
            with capturedLogs() as events:
                daemon.startService()
                await daemon.stopService()
            told = "\n".join(formatEvent(event) for event in cast(list[Any], events))
            self.assertIn("records: ", told)
            self.assertNotIn("listening", told)
            self.assertNotIn("ready", told)
            self.assertEqual([], process.statuses)


class SignalTests(DaemonLifeCase):
    """What signals do, once and again."""

    def test_status(self):
        """A daemon that is asked to end by whichever signal does so in order, and takes its pidfile with it."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            daemon = WithPidfile(self.folder)
            self.addCleanup(daemon.kill)
            daemon.start()
            self.assertEqual(str(daemon.pid), (self.folder / "pid").read_text())
            daemon.signal(number)
            self.assert_in_order(daemon, daemon.wait())
            self.assertFalse((self.folder / "pid").exists())

    def test_hangup(self):
        """A terminal that is closed, of which we hear twice, breaks nothing off, and ends nothing that nohup keeps."""
        daemon, content = self.daemon().start(), os.urandom(LARGE)
        connection = self.download_begun(daemon, left(daemon, content)["url"])
        daemon.signal(signal.SIGHUP)
        eventually(lambda: "SIGHUP: stopping" in daemon.log(), "it is stopping")
        daemon.signal(signal.SIGHUP)
        eventually(lambda: "SIGHUP again" in daemon.log(), "it has heard")
        # What is not there yet of the head and the bytes comes to its end.
        self.assertGreater(sum(map(len, iter(lambda: connection.recv(MIB), b""))), LARGE - 1024)
        connection.close()
        self.assert_in_order(daemon, daemon.wait())
        kept = UnderNohup(self.folder)
        self.addCleanup(kept.kill)
        kept.start()
        kept.signal(signal.SIGHUP)
        self.assertEqual(200, request_of("GET", kept.url("/readyz")).status_code)
        self.assertEqual(0, kept.stop())

    def test_of_no_use(self):
        """A signal that asks for nothing here is logged, and ends nothing."""
        daemon = self.daemon().start()
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            daemon.signal(number)
            line = f"{number.name}: nothing is done about it here"
            eventually(lambda: line in daemon.log(), "it is said")  # noqa: B023 - called here
        self.assertEqual(200, request_of("GET", daemon.url("/readyz")).status_code)
        self.assert_in_order(daemon, daemon.stop())

    def test_again(self):
        """A second signal, of whichever kind, breaks off what runs; the rest goes in order, and the file is there."""
        for number in (signal.SIGTERM, signal.SIGINT):
            daemon, content = self.daemon("--drain=1h").start(), os.urandom(LARGE)
            begins = len(daemon.log())
            link = left(daemon, content)["url"]
            self.download_begun(daemon, link)
            daemon.terminate()
            eventually(lambda: "SIGTERM: stopping" in daemon.log(begins), "it is stopping")  # noqa: B023 - called here
            self.assertTrue(daemon.running)
            daemon.signal(number)
            self.assert_in_order(daemon, daemon.wait())
            self.assertIn(f"{number.name} again", daemon.log(begins))
            self.assertIn("1 transfers were broken off", daemon.log(begins))
            daemon.start()
            with begun(daemon.port, "HEAD", path_of(link), SAME) as connection:
                self.assertEqual(b"HTTP/1.1 200 ", connection.recv(1024)[:13])
            daemon.stop()

    def test_hanging_store(self):
        """A disk that does not answer keeps nobody from ending the daemon; its status and its log tell."""
        daemon = self.daemon("--drain=0s").start()
        link = left(daemon, b"content")["url"]
        (blob,) = daemon.files("blobs")
        blob.unlink()
        os.mkfifo(blob)  # whoever opens it for reading waits for a writer
        with begun(daemon.port, "GET", path_of(link)):
            eventually(lambda: request_of("HEAD", daemon.url(path_of(link))).status_code == 423, "somebody has it")
            daemon.terminate()
            eventually(lambda: "broken off" in daemon.log(), "the connections are gone")
            daemon.terminate()
            self.assertEqual(daemon.wait(), NOT_IN_ORDER)
        self.assertIn("stopping the drops does not end", daemon.log())
        daemon.start()  # nothing is locked

    def test_cannot_start(self):
        """A daemon that cannot start says why in one line, ends with status 1, and takes its pidfile with it."""
        first = self.daemon().start()
        daemon = WithPidfile(self.folder)
        begins = len(first.log())
        daemon.spawn()
        self.assertEqual(daemon.wait(), CANNOT_START)
        self.assertEqual(1, daemon.log(begins).count("cannot start: "))
        self.assertNotIn("ready", daemon.log(begins))
        self.assertFalse((self.folder / "pid").exists())


class LogfileTests(DaemonLifeCase):
    """twistd's own options for the log."""

    def test_logfile(self):
        """What twistd's --logfile names gets every line, once; the output gets none."""
        daemon = WithLogfile(self.folder)
        self.addCleanup(daemon.kill)
        daemon.spawn()
        path = self.folder / "twistd-log"
        eventually(lambda: path.exists() and "filedropd: ready\n" in path.read_text(), "it is ready")
        daemon.signal(signal.SIGUSR1)
        eventually((self.folder / "twistd-log.1").exists, "a new file is begun")
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual("", daemon.log())
        lines = (self.folder / "twistd-log.1").read_text().splitlines() + path.read_text().splitlines()
        said = Counter(line.partition(" ")[2] for line in lines)
        self.assertEqual(1, said["info     filedropd: ready"])
        self.assertEqual([], [line for line, times in said.items() if times > 1])


class LoadTests(SynchronousTestCase):
    """SIGTERM while there is much to do."""

    def test_rounds(self):
        """What had begun ends whole, what had not is refused, and afterwards everything is as its client saw it."""
        folder = Path(tempfile.mkdtemp(prefix="filedropd-test-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        seen = rounds(5, folder, seed=os.getpid(), clients=2, seconds=0.4)
        self.assertEqual([], [fault for each in seen for fault in each.faults])
        for each in seen:
            self.assertEqual(2, each.counts["large downloads"])
            self.assertEqual(2, each.counts["idle connections"])
        self.assertTrue(any(each.counts["uploads that ended after the signal"] for each in seen))


class WithPidfile(Daemon):
    """A daemon that says which process it is."""

    def _command(self) -> list[str]:
        return [f"--pidfile={self.folder}/pid" if each == "--pidfile=" else each for each in super()._command()]


class UnderNohup(Daemon):
    """A daemon that is to outlive its terminal."""

    def _command(self) -> list[str]:
        return ["nohup", *super()._command()]


class WithLogfile(Daemon):
    """A daemon that twistd was told to have log to a file."""

    def _command(self) -> list[str]:
        twistd, *rest = super()._command()
        return [twistd, f"--logfile={self.folder}/twistd-log", *rest]
