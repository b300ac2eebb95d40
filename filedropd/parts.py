"""All parts of a daemon, made as it is configured and handed to each other.

Nothing is started here, and nothing asked for: that is :mod:`.tap`'s, in the order in which they depend on
each other.
"""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import Any, Final

from twisted.web.resource import IResource

from filedropd.blobs.disk import DiskBlobs
from filedropd.cache.front import Fronted
from filedropd.cache.memory import MemoryCache
from filedropd.cache.redis import RedisCache
from filedropd.claims.policy import Policy
from filedropd.config import Config, MemoryURL, PostgresURL
from filedropd.delivery.accel import AccelDelivery
from filedropd.delivery.nginx_log import NginxLog
from filedropd.delivery.sendfile import SendfileDelivery
from filedropd.delivery.stream import StreamDelivery
from filedropd.descriptors import connections_within
from filedropd.drops import Drops, Rules
from filedropd.finding import remembering
from filedropd.http.head import Limits
from filedropd.http.interfaces import AtOnce, Connection, Timeouts
from filedropd.http.request import Request
from filedropd.http.server import HTTPFactory
from filedropd.interfaces import IDelivery
from filedropd.leases import Leases
from filedropd.ledgers import Ledgers
from filedropd.limiter import Limiter
from filedropd.metrics import Metrics
from filedropd.passwords import Argon2id, Passwords
from filedropd.peers import Peers
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

#: Threads that hash what is uploaded. One is faster than anything comes in, but for SHA-512.
HASHING: Final = 2

#: Connections that operators may have at once.
_ADMIN_CONNECTIONS: Final = 64


class Parts:
    """The parts of one daemon.

    :param config: says which they are.
    :param reactor: threads, timers, endpoints: all of it, of which each part is given what it needs.

    :ivar records: drops and claims.
    :ivar blobs: the bytes.
    :ivar cache: what is known of links.
    :ivar delivery: hands the bytes over.
    :ivar ledgers: changes drops, by the rules.
    :ivar reaper: ends and deletes what is due.
    :ivar leases: says that this daemon lives, and takes over from those that do not.
    :ivar peers: speaks with other daemons.
    :ivar passwords: hashes them.
    :ivar hashing: the threads that work digests out.
    :ivar drops: all that can be done with a drop.
    :ivar http: serves everybody.
    :ivar admin: serves operators, on listeners of their own.
    """

    def __init__(self, config: Config, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        self._name = random_name()
        self._metrics = Metrics()
        self._transfers = Transfers()
        self._watches = Watches()
        self._make_stores()
        self._make_keepers()
        self._make_drops()
        self._make_servers()
        self._watch_gauges()

    def _make_stores(self) -> None:
        """Make what keeps drops, their bytes, and what may be lost, and what hands bytes over."""
        config, reactor = self._config, self._reactor
        self.records = _records(reactor, config)
        self.blobs = DiskBlobs(
            reactor,
            config.blobs.path,
            durable=config.durability == "fsync",
            reserve=config.reserve,
            daemon=self._name,
        )
        self._redis = None if isinstance(config.cache, MemoryURL) else RedisCache.at(config.cache, reactor)
        self._own_cache = MemoryCache(reactor)
        self.cache = _cache(self._own_cache, self._redis)
        # Whoever asks for random ids fills the drops' cache, and must not push the limits' counts out.
        self._counts = _cache(MemoryCache(reactor), self._redis)
        self.delivery = _delivery(reactor, config, self._transfers)

    def _make_keepers(self) -> None:
        """Make those who change drops by the rules, or because their time has come, and tell others of it."""
        config, reactor, metrics, transfers = self._config, self._reactor, self._metrics, self._transfers
        policy = Policy(window=config.resume_window, max_attempts=config.max_attempts)
        self.ledgers = Ledgers(self.records, policy, time.time, metrics.happened)
        self.reaper = Reaper(
            records=self.records,
            ledgers=self.ledgers,
            blobs=self.blobs,
            transfers=transfers,
            clock=reactor,
            now=time.time,
            metrics=metrics,
        )
        self.peers = Peers(
            self._name,
            records=self.records,
            transfers=transfers,
            cache=self._own_cache,
            watches=self._watches,
            clock=reactor,
        )
        self.leases = Leases(self._name, self.records, self.reaper, reactor, time.time)
        self.ledgers.tell(remembering(self._own_cache))
        if isinstance(self.records, PostgresRecords):
            self.ledgers.tell(self.peers.changed)

    def _make_drops(self) -> None:
        """Make what all that is asked for goes through."""
        config, reactor, metrics = self._config, self._reactor, self._metrics
        self.passwords = Passwords(
            reactor,
            Argon2id(memory=config.password_memory, time=config.password_time),
            parallel=config.password_parallel,
        )
        self.hashing = Threads(reactor, HASHING, "digests")
        self.drops = Drops(
            daemon=self._name,
            records=self.records,
            ledgers=self.ledgers,
            transfers=self._transfers,
            watches=self._watches,
            peers=self.peers,
            blobs=self.blobs,
            cache=self.cache,
            delivery=self.delivery,
            limiter=Limiter(self._counts, time.time, uploads=config.upload_rate, limited=metrics.refused_by),
            metrics=metrics,
            passwords=self.passwords,
            reaper=self.reaper,
            rules=Rules(
                max_file_size=config.max_file_size,
                expires=config.expires,
                max_expires=config.max_expires,
                resume_window=config.resume_window,
            ),
            clock=reactor,
            now=time.time,
            randomness=secrets.token_bytes,
            aside=self.hashing.run,
        )

    def _make_servers(self) -> None:
        """Make what serves everybody, and what serves operators on a listener of their own."""
        config = self._config
        forwarding = Forwarding(config.trusted_proxy)
        operators = Operators(self._metrics, self.drops.ready)
        api = API(
            self.drops,
            operators,
            prefix=config.api_prefix,
            public_url=config.public_url,
            forwarding=forwarding,
            metrics_here=not config.admin_listen,
        )
        counted = partial(self._metrics.answered_at_once, f"{config.api_prefix}/file/<id>")
        access = AccessLog(self._reactor.seconds, forwarding, self._reactor.callLater, counted)
        hot = Hot(config.api_prefix, self._own_cache, time.time)
        self.http = self._factory(api.resource(), access, connections_within(config.max_connections), hot.answer)
        self.admin = self._factory(operators.resource(), access, _ADMIN_CONNECTIONS)

    def _factory(
        self,
        resource: IResource,
        access: AccessLog,
        connections: int,
        hot: AtOnce = lambda *_: None,
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
        metrics, records, redis = self._metrics, self.records, self._redis
        metrics.transfers.set_function(lambda: len(self._transfers))
        metrics.claims.set_function(lambda: self._transfers.claims)
        metrics.connections.set_function(lambda: self.http.connections)
        if redis is not None:
            metrics.cache_failures.read(lambda: redis.failures)
            metrics.cache_away.set_function(lambda: redis.away)
        if isinstance(records, PostgresRecords):
            metrics.records_away.set_function(lambda: records.away)


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
