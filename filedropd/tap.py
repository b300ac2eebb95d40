"""``twistd filedropd``: the only module that knows all the others.

It makes every part, hands each what it needs, and starts and stops them in the order that they
depend on each other in.
"""

from __future__ import annotations

import atexit
import os
import secrets
import sys
import time
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.logger import ILogObserver, Logger
from twisted.python.failure import Failure

from filedropd.blobs.disk import DiskBlobs
from filedropd.cache.memory import MemoryCache
from filedropd.config import Config, Options
from filedropd.delivery.stream import StreamDelivery
from filedropd.drops import Drops, Rules
from filedropd.http.head import Limits
from filedropd.http.interfaces import Timeouts
from filedropd.http.server import HTTPFactory
from filedropd.interfaces import StoreUnusable
from filedropd.logs import observer
from filedropd.passwords import Argon2id, Passwords
from filedropd.reaper import Reaper
from filedropd.records.sqlite import SQLiteRecords
from filedropd.web.access import AccessLog
from filedropd.web.api import API
from filedropd.web.problems import refusal

__all__ = ["Daemon", "Options", "makeService"]


def makeService(options: Options) -> IService:
    """Return the daemon that ``options`` describe; Twisted's plugin calls it."""
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it: twistd's --reactor comes first

    return Daemon(options.configuration, reactor)


class Daemon(Service):
    """All of filedropd as one service.

    :param reactor: threads, timers, endpoints: all of it, which nobody else here is given.
    """

    name = "filedropd"
    _log = Logger()

    def __init__(self, config: Config, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        durable = config.durability == "fsync"
        self._records = SQLiteRecords(reactor, config.records.path, durable=durable)
        self._blobs = DiskBlobs(reactor, config.blobs.path, durable=durable)
        self._passwords = Passwords(
            reactor,
            Argon2id(memory=config.password_memory, time=config.password_time),
            parallel=config.password_parallel,
        )
        self._reaper = Reaper(self._records, self._blobs, reactor, time.time)
        self._drops = Drops(
            records=self._records,
            blobs=self._blobs,
            cache=MemoryCache(reactor),
            delivery=StreamDelivery(),
            passwords=self._passwords,
            reaper=self._reaper,
            rules=Rules(max_file_size=config.max_file_size, expires=config.expires, max_expires=config.max_expires),
            clock=reactor,
            now=time.time,
            randomness=secrets.token_bytes,
        )
        self._http = self._make_http()
        self._ports: list[IListeningPort] = []
        self._started: Deferred[None] | None = None

    def _make_http(self) -> HTTPFactory:
        config = self._config
        api = API(self._drops, prefix=config.api_prefix, public_url=config.public_url, now=time.time)
        access = AccessLog(self._reactor.seconds)
        return HTTPFactory(
            api.resource(),
            self._reactor,
            refusal=refusal,
            limits=Limits(head=config.header_limit, count=config.header_count, target=config.target_limit),
            timeouts=Timeouts(head=config.head_timeout, idle=config.idle_timeout, stall=config.stall_timeout),
            answered=access.answered,
            refused=access.refused,
        )

    def setServiceParent(self, parent: Any) -> None:
        """Join the application, and say how its log is to be written.

        twistd makes the application after the service: only here do the two meet before the log begins.
        """
        if self._config.log_format == "json":
            parent.setComponent(ILogObserver, observer("json", sys.stdout))
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]  # Twisted has no types here

    def startService(self) -> None:
        """Start; a store that cannot be used ends the process with status 1, and says why."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted has no types here
        self._started = Deferred.fromCoroutine(self._start()).addErrback(self._failed)

    def stopService(self) -> Deferred[None]:
        """Stop: take nothing new, let what runs end, give everything back."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted has no types here
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        await self._records.open()
        await self._blobs.open_store()
        self._passwords.start()
        await self._reaper.recover()
        for description in self._config.listen:
            self._ports.append(await serverFromString(self._reactor, description).listen(self._http))
        self._reaper.start()
        self._log.info("ready")

    async def _stop(self) -> None:
        if self._started is not None:
            await self._started
        for port in self._ports:
            closed: Deferred[None] | None = port.stopListening()
            if closed is not None:
                await closed
        await self._http.drain(self._config.drain)
        await self._drops.stop()
        await self._reaper.stop()
        await self._passwords.stop()
        await self._blobs.close_store()
        await self._records.close()

    def _failed(self, failure: Failure) -> None:
        if isinstance(failure.value, StoreUnusable):
            self._log.critical("cannot start: {reason}", reason=str(failure.value))
        else:
            self._log.failure("cannot start", failure=failure)
        # twistd has no way to end with a status of ours.
        atexit.register(_exit_with_failure)
        self._reactor.callWhenRunning(self._reactor.stop)


def _exit_with_failure() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
