"""What the service manager is told: the datagrams of sd_notify(3), and the watchdog of sd_watchdog_enabled(3).

Without a service manager nothing is sent.  To tell it something must never be what ends or delays the
daemon: nothing here raises or blocks.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

#: Seconds that the service manager is asked for when a start takes long, and after how many it is asked again.
MORE: Final = 120.0
ASKING: Final = 5.0

_MICROSECONDS: Final = 1_000_000


class Notifier:
    """Tells the service manager that ``environ`` names, if it names one.

    :param environ: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` are read from it, now.
    :param clock: of the reactor itself: the watchdog is to notice when that is blocked.
    :param pid: of this process; a watchdog for another one is not ours.
    """

    _log = Logger()

    def __init__(self, environ: Mapping[str, str], clock: IReactorTime, pid: int | None = None) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._period = _watchdog(environ, os.getpid() if pid is None else pid)
        self._clock = clock
        self._watched = False

    def ready(self, status: str = "") -> None:
        """Tell that requests are answered from now on, and begin to feed the watchdog if one is asked for."""
        self._send(READY=1, **({"STATUS": status} if status else {}))
        if self._address is not None and self._period is not None and not self._watched:
            self._watched = True
            self._feed(self._period / 2)

    @contextmanager
    def taking_time(self, status: str) -> Iterator[None]:
        """Ask for more time, again and again, until what is done within has ended: a start has a limit otherwise.

        :param status: what it is, for ``systemctl status``; told where it takes so long that it is asked for.
        """
        asking = LoopingCall(lambda: self._send(EXTEND_TIMEOUT_USEC=round(MORE * _MICROSECONDS), STATUS=status))
        asking.clock = self._clock
        if self._address is not None:
            asking.start(ASKING, now=False)
        try:
            yield
        finally:
            if asking.running:
                asking.stop()

    def status(self, text: str) -> None:
        """Tell what the daemon is doing, for ``systemctl status``; one line."""
        self._send(STATUS=text)

    def stopping(self) -> None:
        """Tell that the daemon is on its way out. The watchdog is fed until it is: draining takes its time."""
        self._send(STOPPING=1)

    def _feed(self, interval: float) -> None:
        self._send(WATCHDOG=1)
        self._clock.callLater(interval, self._feed, interval)

    def _send(self, **variables: str | int) -> None:
        if self._address is None:
            return
        # A line break would begin another variable.
        message = "\n".join(f"{name}={' '.join(str(value).splitlines())}" for name, value in variables.items())
        try:
            # For each message a socket of its own: the manager may have been restarted meanwhile.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.sendto(message.encode("utf-8", "replace"), socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            self._log.warn(
                "the service manager was not told {names}: {reason}",
                names=", ".join(variables),
                reason=error.strerror or str(error),
            )


def _address(text: str) -> bytes | None:
    """Return the address that ``NOTIFY_SOCKET`` means; an abstract one (unix(7)) is written with an @."""
    if text.startswith("@") and len(text) > 1:
        return b"\0" + os.fsencode(text[1:])
    # What is left are the vsock: addresses by which a virtual machine tells its host: that is for its init.
    return os.fsencode(text) if text.startswith("/") else None


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    """Return after how many seconds without a sign of life the service manager acts, if it watches ``pid``."""
    microseconds, watched = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not _is_number(microseconds) or int(microseconds) == 0:
        return None
    if watched and not (_is_number(watched) and int(watched) == pid):
        return None
    return int(microseconds) / _MICROSECONDS


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len(str(2**64))
