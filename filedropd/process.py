"""The process, to those who run it: which signals end it, and with which status."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger

#: Status of a process that could not start.
CANNOT_START: Final = 1
#: Status of one that stopped, but not in order: a store failed, or did not answer. The next start recovers.
NOT_IN_ORDER: Final = 3

# New objects before a young collection, young ones before a middle one, middle ones before a full one
# (of which Python makes fewer still while most objects are old).
_COLLECT: Final = (10_000, 20, 100)

# What is said here is said of the whole.
_log = Logger(namespace="filedropd")


class Process:
    """This process. By itself twistd knows two ends: status 0, or being killed by the signal that asked it to stop.

    :param reactor: whose answer to signals is taken over.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._status = 0

    def on_signals(self, asked: Callable[[str], object]) -> None:
        """Let SIGTERM, SIGINT and SIGHUP call ``asked`` with their names, each time, on the reactor's thread.

        SIGHUP is that of a terminal that is closed: there is no reading the configuration anew.  SIGUSR1 and
        SIGUSR2, where nothing takes them (twistd's log file, a debugger), do nothing and are logged: by
        themselves they would kill.

        Call it when the reactor runs.  A signal that is neither the reactor's nor the kernel's to answer
        (ignored since the shell or nohup started us so, or taken by a debugger) stays as it is.
        """

        def received(number: int, frame: object) -> None:
            self._reactor.callFromThread(asked, signal.Signals(number).name)

        for number in (signal.SIGTERM, signal.SIGINT):
            if getattr(signal.getsignal(number), "__self__", None) is self._reactor:
                signal.signal(number, received)
        for number, answer in ((signal.SIGHUP, received), (signal.SIGUSR1, self._left), (signal.SIGUSR2, self._left)):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, answer)

    def _left(self, number: int, frame: object) -> None:
        """Do nothing about a signal but to say so."""
        self._reactor.callFromThread(
            _log.warn, "{signal}: nothing is done about it here", signal=signal.Signals(number).name
        )

    @staticmethod
    def settle_memory() -> None:
        """Tell the cycle collector that what there is now stays, and to look less often at what comes.

        A full collection visits every object: with ten thousand connections that is tens of
        milliseconds in which nobody is served.  What a connection leaves behind is freed by counting
        references, without it.
        """
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECT)

    def fail(self, status: int) -> None:
        """End with ``status`` once all is done that is done at the end. The first call counts."""
        if not self._status:
            self._status = status
            atexit.register(self._exit)

    def leave_threads(self) -> None:
        """Do not wait at the end for threads that will not end, as Python would."""

        def wait() -> None:
            threading.main_thread().join()  # it is over when nothing is left but to wait for the others
            self._exit()

        threading.Thread(target=wait, daemon=True, name="the end").start()

    def _exit(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(self._status)
