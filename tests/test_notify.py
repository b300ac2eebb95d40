"""What the service manager is told, by the letter of sd_notify(3), on real sockets."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from filedropd.notify import ASKING, MORE, Notifier
from tests.daemon import PATIENCE

PID = 4711


class ServiceManager:
    """A socket that hears what a service manager would.

    :param address: a path, or an abstract name that begins with a NUL.
    """

    def __init__(self, address: str) -> None:
        self.named = address.replace("\0", "@", 1)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(PATIENCE)

    def next(self) -> str:
        """Return the next message, waiting for it."""
        return self._socket.recv(65_536).decode("utf-8")

    def heard(self) -> list[str]:
        """Return the messages that are there."""
        messages = []
        self._socket.setblocking(False)
        try:
            while True:
                messages.append(self.next())
        except BlockingIOError:
            return messages
        finally:
            self._socket.settimeout(PATIENCE)

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


class NotifyCase(SynchronousTestCase):
    """A service manager, a clock, and who tells the one by the other."""

    def setUp(self):
        # Not mktemp(): the path of a socket has 107 bytes at most.
        self.folder = Path(tempfile.mkdtemp(prefix="filedropd-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.clock = Clock()

    def manager(self, address="") -> ServiceManager:
        """Return a service manager that hears."""
        manager = ServiceManager(address or f"{self.folder}/notify")
        self.addCleanup(manager.close)
        return manager

    def notifier(self, manager, **environ) -> Notifier:
        """Return a notifier that tells ``manager``."""
        return Notifier({"NOTIFY_SOCKET": manager.named, **environ}, self.clock, PID)


class StateTests(NotifyCase):
    """What is told of the daemon's life."""

    def test_life(self):
        """Readiness, a status and the stop are one datagram each."""
        manager = self.manager()
        notifier = self.notifier(manager)
        notifier.ready("serving on 2 endpoints")
        notifier.status("busy")
        notifier.stopping()
        self.assertEqual(manager.heard(), ["READY=1\nSTATUS=serving on 2 endpoints", "STATUS=busy", "STOPPING=1"])

    def test_ready_alone(self):
        """Readiness needs no status."""
        manager = self.manager()
        self.notifier(manager).ready()
        self.assertEqual(manager.heard(), ["READY=1"])

    def test_cleared(self):
        """A status can be taken back."""
        manager = self.manager()
        self.notifier(manager).status("")
        self.assertEqual(manager.heard(), ["STATUS="])

    def test_abstract(self):
        """A socket without a file is written with an @."""
        manager = self.manager(f"\0filedropd-test-{os.getpid()}")
        self.notifier(manager).ready()
        self.assertEqual(manager.heard(), ["READY=1"])

    def test_one_line(self):
        """A status cannot say anything else than a status."""
        manager = self.manager()
        self.notifier(manager).status("a\nMAINPID=1\r\nb")
        self.assertEqual(manager.heard(), ["STATUS=a MAINPID=1 b"])


class TimeTests(NotifyCase):
    """More time for a start that takes long."""

    def heard_in(self, seconds) -> list[str]:
        """Return what is heard while something takes so many seconds, and a minute after it."""
        manager = self.manager()
        with self.notifier(manager).taking_time("opening"):
            self.clock.pump([1] * seconds)
        self.clock.pump([1] * 60)
        return manager.heard()

    def test_long(self):
        """It is asked for again and again, each time for more than there is until the next, and no more at the end."""
        asked = f"EXTEND_TIMEOUT_USEC={MORE * 1e6:.0f}\nSTATUS=opening"
        self.assertEqual([asked] * 3, self.heard_in(round(3 * ASKING)))
        self.assertGreater(MORE, 2 * ASKING)

    def test_short(self):
        """For what is soon done nothing is asked for."""
        self.assertEqual([], self.heard_in(1))

    def test_fails(self):
        """What fails needs no more time either."""
        with self.assertRaises(ZeroDivisionError), self.notifier(self.manager()).taking_time("opening"):
            raise ZeroDivisionError
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_nobody(self):
        """Where nobody hears, no timer runs."""
        with Notifier({}, self.clock, PID).taking_time("opening"):
            self.assertEqual([], self.clock.getDelayedCalls())


class NobodyTests(NotifyCase):
    """When nobody hears."""

    def assert_quiet(self, **environ):
        """Tell it everything; nothing is said of it and no timer runs."""
        notifier = Notifier({"WATCHDOG_USEC": "1000000", **environ}, self.clock, PID)
        with capturedLogs() as logged:
            notifier.ready("x")
            notifier.status("x")
            notifier.stopping()
        self.assertEqual((logged, self.clock.getDelayedCalls()), ([], []))

    def test_no_manager(self):
        """Without a service manager nothing happens."""
        self.assert_quiet()

    def test_no_address(self):
        """What is no address of a UNIX socket is as good as none."""
        for address in ("", "@", "relative/path", "vsock:2:1234"):
            self.assert_quiet(NOTIFY_SOCKET=address)

    def assert_told_of(self, address):
        """Tell somebody who cannot be told: the log says so, and that is all."""
        with capturedLogs() as logged:
            Notifier({"NOTIFY_SOCKET": address}, self.clock, PID).ready()
        self.assertEqual([event["names"] for event in logged], ["READY"])

    def test_absent(self):
        """A service manager that is not there is logged, and no more."""
        self.assert_told_of(f"{self.folder}/nobody")

    def test_too_long(self):
        """An address that no socket can have is logged, and no more."""
        self.assert_told_of("/" + "x" * 200)

    def test_full(self):
        """A service manager that does not read delays nothing."""
        manager = self.manager()
        notifier = self.notifier(manager)
        with capturedLogs() as logged:
            while not logged:
                notifier.status("x" * 1000)
        self.assertEqual({event["names"] for event in logged}, {"STATUS"})

    def test_back_again(self):
        """A service manager that is started again hears what is told then."""
        manager = self.manager()
        notifier = self.notifier(manager)
        manager.close()
        (self.folder / "notify").unlink()
        with capturedLogs():
            notifier.status("lost")
        manager = self.manager()
        notifier.status("heard")
        self.assertEqual(manager.heard(), ["STATUS=heard"])


class WatchdogTests(NotifyCase):
    """The sign of life."""

    def heard_in(self, seconds, *, ready=True, **environ) -> int:
        """Return how often a sign of life is heard in so many seconds, looked at every quarter."""
        manager = self.manager()
        notifier = self.notifier(manager, **environ)
        if ready:
            notifier.ready()
        self.clock.pump([0.25] * round(seconds * 4))
        return manager.heard().count("WATCHDOG=1")

    def test_every_half_period(self):
        """It is given at once when ready, and then twice in each period."""
        self.assertEqual(self.heard_in(10, WATCHDOG_USEC="4000000"), 6)

    def test_for_us(self):
        """A watchdog for this process is fed."""
        self.assertEqual(self.heard_in(4, WATCHDOG_USEC="4000000", WATCHDOG_PID=str(PID)), 3)

    def test_for_another(self):
        """A watchdog for another process is not ours to feed."""
        for pid in (str(PID + 1), "x", "-1"):
            manager = self.manager(f"{self.folder}/{pid}")
            notifier = self.notifier(manager, WATCHDOG_USEC="4000000", WATCHDOG_PID=pid)
            notifier.ready()
            self.assertEqual((manager.heard(), self.clock.getDelayedCalls()), (["READY=1"], []))

    def test_not_before_ready(self):
        """Before it is ready there is no sign of life: a start has a time limit of its own."""
        self.assertEqual(self.heard_in(10, ready=False, WATCHDOG_USEC="4000000"), 0)

    def test_none(self):
        """No period, or none that makes sense, is no watchdog."""
        for number, period in enumerate(("", "0", "-5", "1.5", "²", "x", "9" * 5000)):
            manager = self.manager(f"{self.folder}/{number}")
            self.notifier(manager, WATCHDOG_USEC=period).ready()
            self.assertEqual((manager.heard(), self.clock.getDelayedCalls()), (["READY=1"], []))

    def test_blocked(self):
        """While the reactor is blocked there is none; afterwards there is one, and no burst to make up for it."""
        manager = self.manager()
        self.notifier(manager, WATCHDOG_USEC="4000000").ready()
        manager.heard()
        self.clock.advance(60)
        self.assertEqual(manager.heard(), ["WATCHDOG=1"])

    def test_while_stopping(self):
        """It goes on while transfers drain."""
        manager = self.manager()
        notifier = self.notifier(manager, WATCHDOG_USEC="4000000")
        notifier.ready()
        notifier.stopping()
        manager.heard()
        self.clock.advance(2)
        self.assertEqual(manager.heard(), ["WATCHDOG=1"])

    def test_ready_twice(self):
        """Who says twice that he is ready is watched once."""
        manager = self.manager()
        notifier = self.notifier(manager, WATCHDOG_USEC="4000000")
        notifier.ready()
        notifier.ready()
        manager.heard()
        self.clock.advance(2)
        self.assertEqual(manager.heard(), ["WATCHDOG=1"])


APPLICATION = """
import os
from twisted.application.service import Application, Service
from twisted.internet import reactor
from filedropd.notify import Notifier

class Announced(Service):
    def startService(self):
        super().startService()
        self.notifier = Notifier(os.environ, reactor)
        reactor.callWhenRunning(self.notifier.ready, "serving")

    def stopService(self):
        self.notifier.stopping()

application = Application("announced")
Announced().setServiceParent(application)
"""


class ServiceTests(NotifyCase):
    """A service under twistd, on the real reactor."""

    def test_life(self):
        """It is ready, gives signs of life, and stops, in this order."""
        manager = self.manager()
        (self.folder / "announced.tac").write_text(APPLICATION, encoding="ascii")
        twistd = Path(sys.executable).with_name("twistd")
        command = [str(twistd), "--nodaemon", "--pidfile=", "--python=announced.tac", "--logfile=log"]
        # Not more often: the socket holds ten messages that nobody has read yet, and the rest is lost.
        environ = {**os.environ, "NOTIFY_SOCKET": manager.named, "WATCHDOG_USEC": "1000000"}
        environ.pop("WATCHDOG_PID", None)
        with subprocess.Popen(command, cwd=self.folder, env=environ) as process:
            self.addCleanup(process.kill)
            told = [manager.next() for _ in range(4)]
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
        self.assertEqual(told, ["READY=1\nSTATUS=serving", *["WATCHDOG=1"] * 3])
        self.assertEqual(manager.heard()[-1], "STOPPING=1")
