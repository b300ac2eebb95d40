"""``twistd filedropd``: the only module that knows all the others.

It makes every part, hands each what it needs, and starts and stops them in the order that they
depend on each other in.
"""

from __future__ import annotations

import os
import platform
import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any, Final

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from filedropd.blobs.disk import DiskBlobs
from filedropd.cache.front import Fronted
from filedropd.cache.memory import MemoryCache
from filedropd.cache.redis import RedisCache
from filedropd.claims.policy import Policy
from filedropd.config import Config, MemoryURL, Options, PostgresURL
from filedropd.deferreds import Happening, background
from filedropd.delivery.accel import AccelDelivery
from filedropd.delivery.nginx_log import NginxLog
from filedropd.delivery.sendfile import SendfileDelivery
from filedropd.delivery.stream import StreamDelivery
from filedropd.descriptors import connections_within
from filedropd.drops import Drops, Rules
from filedropd.finding import remembering
from filedropd.http.head import Head, Limits
from filedropd.http.interfaces import Connection, Prepared, Timeouts
from filedropd.http.request import Request
from filedropd.http.server import HTTPFactory
from filedropd.interfaces import IDelivery, StoreUnusable
from filedropd.leases import Leases
from filedropd.ledgers import Ledgers
from filedropd.limiter import Limiter
from filedropd.logs import destination, observer
from filedropd.metrics import Metrics
from filedropd.notify import Notifier
from filedropd.passwords import Argon2id, Passwords
from filedropd.peers import Peers
from filedropd.process import CANNOT_START, NOT_IN_ORDER, Process
from filedropd.reaper import Reaper
from filedropd.records.postgres import PostgresRecords
from filedropd.records.sqlite import SQLiteRecords
from filedropd.threads import Threads
from filedropd.tokens import random_name
from filedropd.transfers import Transfers
from filedropd.watching import Watches
from filedropd.web.access import AccessLog
from filedropd.web.api import API
from filedropd.web.forwarding import Forwarding
from filedropd.web.hot import Hot
from filedropd.web.operators import Operators
from filedropd.web.problems import refusal

__all__ = ["Daemon", "Options", "makeService"]

#: Seconds that stopping may take beyond what connections are given to drain.
STOPPING: Final = 30.0
#: Seconds that it may take from a second signal on.
AT_ONCE: Final = 2.0
#: Threads that hash what is uploaded. One is faster than anything comes in, but for SHA-512.
HASHING: Final = 2

#: Connections that operators may have at once.
_ADMIN_CONNECTIONS: Final = 64

# What is said here is said of the whole.
_log = Logger(namespace="filedropd")


def makeService(options: Options) -> IService:
    """Return the daemon that ``options`` describe; Twisted's plugin calls it."""
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it: twistd's --reactor comes first

    return Daemon(options.configuration, reactor, Process(reactor), options.parent)


class Daemon(Service):
    """All of filedropd as one service.

    :param reactor: threads, timers, endpoints: all of it, which nobody else here is given.
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
        durable = config.durability == "fsync"
        self._records = _records(reactor, config)
        self._redis = None if isinstance(config.cache, MemoryURL) else RedisCache.at(config.cache, reactor)
        self._own_cache = own = MemoryCache(reactor)
        self._cache = _cache(own, self._redis)
        # Whoever asks for random ids fills the drops' cache, and must not push the limits' counts out.
        self._counts = _cache(MemoryCache(reactor), self._redis)
        daemon = random_name()
        self._blobs = DiskBlobs(reactor, config.blobs.path, durable=durable, reserve=config.reserve, daemon=daemon)
        self._passwords = Passwords(
            reactor,
            Argon2id(memory=config.password_memory, time=config.password_time),
            parallel=config.password_parallel,
        )
        self._hashing = Threads(reactor, HASHING, "digests")
        policy = Policy(window=config.resume_window, max_attempts=config.max_attempts)
        self._metrics = metrics = Metrics()
        self._transfers = transfers = Transfers()
        self._ledgers = ledgers = Ledgers(self._records, policy, time.time, metrics.happened)
        self._delivery = _delivery(reactor, config, transfers)
        self._reaper = Reaper(
            records=self._records,
            ledgers=ledgers,
            blobs=self._blobs,
            transfers=transfers,
            clock=reactor,
            now=time.time,
            metrics=metrics,
        )
        watches = Watches()
        self._peers = Peers(
            daemon, records=self._records, transfers=transfers, cache=own, watches=watches, clock=reactor
        )
        ledgers.tell(remembering(own))
        if isinstance(self._records, PostgresRecords):
            ledgers.tell(self._peers.changed)
        self._leases = Leases(daemon, self._records, self._reaper, reactor, time.time)
        self._drops = Drops(
            daemon=daemon,
            records=self._records,
            ledgers=ledgers,
            transfers=transfers,
            watches=watches,
            peers=self._peers,
            blobs=self._blobs,
            cache=self._cache,
            delivery=self._delivery,
            limiter=Limiter(self._counts, time.time, uploads=config.upload_rate, limited=metrics.refused_by),
            metrics=metrics,
            passwords=self._passwords,
            reaper=self._reaper,
            rules=Rules(
                max_file_size=config.max_file_size,
                expires=config.expires,
                max_expires=config.max_expires,
                resume_window=config.resume_window,
            ),
            clock=reactor,
            now=time.time,
            randomness=secrets.token_bytes,
            aside=self._hashing.run,
        )
        self._http, self._admin = self._make_http()
        self._watch_gauges()
        self._ports: list[IListeningPort] = []
        self._started: Deferred[None] | None = None
        self._ending = False  # stopping was asked for
        self._stopped = Happening()  # it is done, or has had its time
        self._stopping = "starting"  # what is being stopped; nothing once all is

    def _make_http(self) -> tuple[HTTPFactory, HTTPFactory]:
        """Return what serves everybody, and what serves operators on a listener of their own."""
        config = self._config
        forwarding = Forwarding(config.trusted_proxy)
        operators = Operators(self._metrics, self._drops.ready)
        api = API(
            self._drops,
            operators,
            prefix=config.api_prefix,
            public_url=config.public_url,
            forwarding=forwarding,
            metrics_here=not config.admin_listen,
        )
        counted = partial(self._metrics.answered_at_once, f"{config.api_prefix}/file/<id>")
        access = AccessLog(self._reactor.seconds, forwarding, self._reactor.callLater, counted)
        hot = Hot(config.api_prefix, self._own_cache, time.time)
        return (
            self._factory(api.resource(), access, connections_within(config.max_connections), hot.answer),
            self._factory(operators.resource(), access, _ADMIN_CONNECTIONS),
        )

    def _factory(
        self,
        resource: IResource,
        access: AccessLog,
        connections: int,
        hot: Callable[[Head], Prepared | None] = lambda _: None,
    ) -> HTTPFactory:
        config, metrics = self._config, self._metrics

        def answered(request: Request) -> None:
            access.answered(request)
            code = request.code if request.startedWriting else 0
            metrics.answered(request.route, code, self._reactor.seconds() - request.began)

        def refused(connection: Connection, code: int) -> None:
            access.refused(connection, code)
            metrics.refused(code)

        return HTTPFactory(
            resource,
            self._reactor,
            refusal=refusal,
            limits=Limits(head=config.header_limit, count=config.header_count, target=config.target_limit),
            timeouts=Timeouts(head=config.head_timeout, idle=config.idle_timeout, stall=config.stall_timeout),
            max_connections=connections,
            hot=hot,
            zero_copy=config.zero_copy,
            answered=answered,
            answered_at_once=access.answered_at_once,
            refused=refused,
        )

    def _watch_gauges(self) -> None:
        """Let the gauges be read from where it is known."""
        metrics, records, redis = self._metrics, self._records, self._redis
        metrics.transfers.set_function(lambda: len(self._transfers))
        metrics.claims.set_function(lambda: self._transfers.claims)
        metrics.connections.set_function(lambda: self._http.connections)
        if redis is not None:
            metrics.cache_failures.read(lambda: redis.failures)
            metrics.cache_away.set_function(lambda: redis.away)
        if isinstance(records, PostgresRecords):
            metrics.records_away.set_function(lambda: records.away)

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
            records=self._records.name,
            blobs=str(config.blobs.path),
            cache="memory" if isinstance(config.cache, MemoryURL) else str(config.cache),
            delivery=config.delivery,
            durability=config.durability,
        )
        for step in (
            self._records.open,
            self._blobs.open_store,
            self._cache.open,
            self._learn_deliveries,
            self._reaper.recover,
            self._leases.begin,
            self._peers.begin,
            self._listen,
        ):
            await step()
            if self._ending:  # asked to stop meanwhile: what is open is closed again, and no more is opened
                return
        self._reaper.start()
        self._process.settle_memory()
        _log.info("ready")
        self._notifier.ready("serving")

    async def _learn_deliveries(self) -> None:
        """Learn what became of what others were sending for the daemon that stopped."""
        if isinstance(self._delivery, AccelDelivery):
            await self._delivery.recover(self._records, self._ledgers)

    async def _leave_deliveries(self) -> None:
        if isinstance(self._delivery, AccelDelivery):
            self._delivery.stop()

    async def _end_deliveries(self) -> None:
        if isinstance(self._delivery, AccelDelivery):
            await self._delivery.close()

    async def _stop_hashing(self) -> None:
        self._hashing.stop()  # what is being hashed is a piece of an upload, and ends within milliseconds

    async def _listen(self) -> None:
        self._passwords.start()
        for description in self._config.listen:
            await self._listen_on(description, self._http)
        for description in self._config.admin_listen:
            await self._listen_on(description, self._admin)

    async def _listen_on(self, description: str, factory: HTTPFactory) -> None:
        port: IListeningPort = await serverFromString(self._reactor, description).listen(factory)
        self._ports.append(port)
        kind = description.partition(":")[0]
        _log.info("listening on {kind} {address}", kind=kind, address=_written(port.getHost()))

    def _failed(self, failure: Failure) -> None:
        if failure.check(StoreUnusable, CannotListenError):
            _log.critical("cannot start: {reason}", reason=str(failure.value))
        else:
            _log.failure("cannot start", failure=failure)
        self._process.fail(CANNOT_START)
        self._end()

    # -- stopping ---------------------------------------------------------------------------------

    def _signalled(self, name: str) -> None:
        """Stop when asked for the first time, and without patience when asked again."""
        if self._ending:
            _log.warn("{signal} again: stopping at once", signal=name)
            self._http.hurry()
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
            ("the drops", self._drops.stop),
            ("the word of deliveries", self._end_deliveries),
            ("the word to other daemons", self._peers.stop),
            ("the lease", self._leases.stop),
            ("the reaper", self._reaper.stop),
            ("the passwords", self._passwords.stop),
            ("the digests", self._stop_hashing),
            ("the cache", self._cache.close),
            ("the blobs", self._blobs.close_store),
            ("the records", self._records.close),
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
        self._drops.dismiss()
        broken = await self._http.drain(self._config.drain)
        await self._admin.drain(0)
        if broken:
            _log.warn("{broken} transfers were broken off", broken=broken)


def _records(reactor: Any, config: Config) -> SQLiteRecords | PostgresRecords:
    """Return the records that ``config`` names."""
    if isinstance(config.records, PostgresURL):
        return PostgresRecords(reactor, config.records.url, size=config.records_pool)
    return SQLiteRecords(reactor, config.records.path, durable=config.durability == "fsync")


def _cache(own: MemoryCache, shared: RedisCache | None) -> MemoryCache | Fronted:
    """Return ``own``, in front of the one that daemons share, if there is one."""
    return own if shared is None else Fronted(own, shared)


def _delivery(reactor: Any, config: Config, transfers: Transfers) -> IDelivery:
    """Return the way of handing bytes over that ``config`` names."""
    own: IDelivery = StreamDelivery()
    if config.zero_copy:
        own = SendfileDelivery(own)
    if config.delivery == "stream":
        return own
    path = config.nginx_log or config.data_dir / "nginx.log"
    log = NginxLog(reactor, path, config.data_dir / "nginx.log.offset", unrecorded=transfers.ids)
    return AccelDelivery(log, reactor, own)


def _written(address: IAddress) -> str:
    """Return where one listens."""
    host = getattr(address, "host", None)
    if host is None:
        name = getattr(address, "name", None)
        return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"  # type: ignore[attr-defined]  # both IPv4Address and IPv6Address
