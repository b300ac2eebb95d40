"""``twistd filedropd``: its options, and the life of the daemon.

Starts and stops the :mod:`.parts` in the order in which they depend on each other.  These two are the only modules
that know all the others.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from filedropd.config import Config, MemoryURL, Options
from filedropd.deferreds import Happening, background
from filedropd.delivery.accel import AccelDelivery
from filedropd.http.server import HTTPFactory
from filedropd.interfaces import StoreUnusable
from filedropd.listening import CannotListen, listen, written
from filedropd.logs import destination, observer
from filedropd.notify import Notifier
from filedropd.parts import Parts
from filedropd.process import CANNOT_START, NOT_IN_ORDER, Process

__all__ = ["Daemon", "Options", "makeService"]

#: Seconds that stopping may take beyond what connections are given to drain.
STOPPING: Final = 30.0
#: Seconds that it may take from a second signal on.
AT_ONCE: Final = 2.0

# What is said here is said of the whole.
_log = Logger(namespace="filedropd")


def makeService(options: Options) -> IService:
    """Return the daemon that ``options`` describe; Twisted's plugin calls it."""
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it: twistd's --reactor comes first

    return Daemon(options.configuration, reactor, Process(reactor), options.parent)


class Daemon(Service):
    """All of filedropd as one service.

    :param reactor: threads, timers, endpoints: all of it, which nobody but the parts is given.
    :param process: what signals come to, and what ends with a status.
    :param twistd: twistd's own options; ``None`` where it is not twistd that runs us.
    """

    name = "filedropd"

    def __init__(self, config: Config, reactor: Any, process: Process, twistd: Mapping[str, Any] | None) -> None:
        self._config = config
        self._reactor = reactor
        self._process = process
        self._twistd = twistd
        self._notifier = Notifier(os.environ, reactor)
        self._parts = Parts(config, reactor)
        self._ports: list[IListeningPort] = []
        self._started: Deferred[None] | None = None
        self._ending = False  # stopping was asked for
        self._stopped = Happening()  # it is done, or has had its time
        self._stopping = "starting"  # what is being stopped; nothing once all is

    def setServiceParent(self, parent: Any) -> None:
        """Join the application, and say how its log is to be written.

        twistd makes the application after the service: only here do the two meet before the log begins.
        """
        if self._twistd is not None and isinstance(parent, Componentized):
            out = destination(self._twistd, self._reactor.callFromThread)
            if out is not None:
                parent.setComponent(ILogObserver, observer(self._config.log_format, out))
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]  # Twisted has no types here

    # -- starting ---------------------------------------------------------------------------------

    def startService(self) -> None:
        """Start, once the reactor runs; what cannot be used ends the process with status 1, and says why."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted has no types here
        self._reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        self._process.on_signals(self._signalled)
        if not self._ending:
            self._started = Deferred.fromCoroutine(self._start()).addErrback(self._failed)

    async def _start(self) -> None:
        config = self._config
        _log.info(
            "filedropd {version} on Python {python}, Twisted {twisted}",
            version=version("filedropd"),
            python=platform.python_version(),
            twisted=version("twisted"),
        )
        _log.info(
            "records: {records}; blobs: {blobs}; cache: {cache}; delivery: {delivery}; durability: {durability}",
            records=self._parts.records.name,
            blobs=str(config.blobs.path),
            cache="memory" if isinstance(config.cache, MemoryURL) else str(config.cache),
            delivery=config.delivery,
            durability=config.durability,
        )
        for step in (
            self._open_records,
            self._parts.blobs.open_store,
            self._parts.cache.open,
            self._learn_deliveries,
            self._parts.reaper.recover,
            self._parts.leases.begin,
            self._parts.peers.begin,
            self._listen,
        ):
            await step()
            if self._ending:  # asked to stop meanwhile: what is open is closed again, and no more is opened
                return
        self._parts.reaper.start()
        self._process.settle_memory()
        _log.info("ready")
        self._notifier.ready("serving")

    async def _open_records(self) -> None:
        """Open the records; to bring them up to date may take longer than the service manager gives a start."""
        with self._notifier.taking_time("opening the records"):
            await self._parts.records.open()

    async def _learn_deliveries(self) -> None:
        """Learn what became of what others were sending for the daemon that stopped."""
        if isinstance(self._parts.delivery, AccelDelivery):
            await self._parts.delivery.recover(self._parts.records, self._parts.ledgers)

    async def _leave_deliveries(self) -> None:
        if isinstance(self._parts.delivery, AccelDelivery):
            self._parts.delivery.stop()

    async def _end_deliveries(self) -> None:
        if isinstance(self._parts.delivery, AccelDelivery):
            await self._parts.delivery.close()

    async def _stop_hashing(self) -> None:
        self._parts.hashing.stop()  # what is being hashed is a piece of an upload, and ends within milliseconds

    async def _listen(self) -> None:
        self._parts.passwords.start()
        for description in self._config.listen:
            await self._listen_on(description, self._parts.http)
        for description in self._config.admin_listen:
            await self._listen_on(description, self._parts.admin)

    async def _listen_on(self, description: str, factory: HTTPFactory) -> None:
        port = await listen(self._reactor, description, factory)
        self._ports.append(port)
        kind = description.partition(":")[0]
        _log.info("listening on {kind} {address}", kind=kind, address=written(port.getHost()))

    def _failed(self, failure: Failure) -> None:
        if failure.check(StoreUnusable, CannotListen):
            _log.critical("cannot start: {reason}", reason=str(failure.value))
        else:
            _log.failure("cannot start", failure=failure)
        self._process.fail(CANNOT_START)
        self._end()

    # -- stopping ---------------------------------------------------------------------------------

    def _signalled(self, name: str) -> None:
        """Stop when asked for the first time, and without patience when asked again by somebody.

        A terminal that is closed is nobody: the kernel sends SIGHUP for it, and its shell once more.
        """
        if self._ending and name == "SIGHUP":
            _log.info("{signal} again: it is stopping", signal=name)
        elif self._ending:
            _log.warn("{signal} again: stopping at once", signal=name)
            self._parts.http.hurry()
            self._reactor.callLater(AT_ONCE, self._stopped.happen)
        else:
            _log.info("{signal}: stopping; transfers have {drain} s", signal=name, drain=self._config.drain)
            self._end()

    def _end(self) -> None:
        if not self._ending:
            self._ending = True
            self._reactor.stop()

    def stopService(self) -> Deferred[None]:
        """Stop: take nothing new, let what runs end, give everything back."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted has no types here
        self._ending = True
        self._notifier.stopping()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        background(self._stop_in_order(), "stopping")
        await self._stopped.within(self._reactor, self._config.drain + STOPPING)
        if self._stopping:
            _log.critical("stopping {part} does not end: it is left as it is", part=self._stopping)
            self._process.fail(NOT_IN_ORDER)
            self._process.leave_threads()

    async def _stop_in_order(self) -> None:
        for part, stop in (
            ("what is being started", self._until_started),
            ("the listeners", self._stop_listening),
            ("the connections", self._drain),
            ("the deliveries", self._leave_deliveries),
            ("the drops", self._parts.drops.stop),
            ("the word of deliveries", self._end_deliveries),
            ("the word to other daemons", self._parts.peers.stop),
            ("the lease", self._parts.leases.stop),
            ("the reaper", self._parts.reaper.stop),
            ("the passwords", self._parts.passwords.stop),
            ("the digests", self._stop_hashing),
            ("the cache", self._parts.cache.close),
            ("the blobs", self._parts.blobs.close_store),
            ("the records", self._parts.records.close),
        ):
            self._stopping = part
            try:
                await stop()
            except Exception:  # noqa: BLE001 - the others are to be closed all the same
                _log.failure("stopping {part} failed", part=part)
                self._process.fail(NOT_IN_ORDER)
        self._stopping = ""
        self._stopped.happen()

    async def _until_started(self) -> None:
        if self._started is not None:
            await self._started

    async def _stop_listening(self) -> None:
        for port in self._ports:
            await maybeDeferred(port.stopListening)

    async def _drain(self) -> None:
        self._parts.drops.dismiss()
        broken = await self._parts.http.drain(self._config.drain)
        await self._parts.admin.drain(0)
        if broken:
            _log.warn("{broken} transfers were broken off", broken=broken)
