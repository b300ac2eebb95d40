"""Every counter, gauge and histogram, by name: the catalogue is :class:`Metrics`.

Nothing is global: each daemon has its own.  Names, labels and what they mean are said once, here;
the table in ``docs/operations.md`` is what :func:`table` writes, and a test holds the two together.

Whoever counts is given the one metric, or the one function, that it needs.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from typing import Final

import attrs
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

#: What :meth:`Metrics.exposition` is in. Every Prometheus reads it.
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

#: Seconds, from a small answer to a large file over a slow line.
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

#: What becomes of a download: all of it arrived, a part of it, or not even its head left.
DOWNLOADS: Final = ("complete", "broken", "unsent")
#: What is limited: a client's tries at a drop's password, everybody's, and a client's uploads.
LIMITS: Final = ("client", "drop", "uploads")


class Metrics:
    """All that is counted in one daemon.

    A gauge is read when it is asked for (``gauge.set_function``), where there is something to read; so is
    ``cache_failures`` (:meth:`ReadCounter.read`).

    :ivar build: what runs.
    :ivar requests: answers. Count them with :meth:`answered`.
    :ivar request_seconds: how long answers took. Likewise.
    :ivar malformed: answers to what was no request. Count them with :meth:`refused`.
    :ivar connections: connections that are open.
    :ivar uploads: files that were kept.
    :ivar uploads_bytes: their bytes.
    :ivar downloads: answers with a file's bytes, by what became of them. Count them with :meth:`downloaded`.
    :ivar downloads_bytes: bytes of files that were sent. Likewise.
    :ivar transfers: answers with a file's bytes that run.
    :ivar claims: claims of which a transfer runs.
    :ivar events: what happened to drops. Count them with :meth:`happened`.
    :ivar password_failures: wrong passwords.
    :ivar limited: what was refused as too often. Count them with :meth:`refused_by`.
    :ivar deletions: files whose bytes were deleted.
    :ivar deletion_failures: attempts to delete that failed.
    :ivar cache_failures: what the shared cache did not do.
    :ivar cache_away: whether it is away.
    :ivar records_away: whether the database is.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.build = Info("filedropd_build", "What runs: versions.", registry=registry)
        self.build.info(
            {"version": version("filedropd"), "python": platform.python_version(), "twisted": version("twisted")}
        )
        self._make_http(registry)
        self._make_files(registry)
        self._make_limits(registry)
        self._make_stores(registry)
        ProcessCollector(registry=registry)
        self._answered: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._happened: dict[str, Counter] = {}

    def _make_http(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "filedropd_requests_total",
            "Requests, by route and class of status; status 'none' if the client left before the answer.",
            ["route", "status"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "filedropd_request_seconds",
            "Time from a request's head to the end of its answer, by route.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.malformed = Counter(
            "filedropd_malformed_requests_total",
            "What came and was no request, by the class of status it was answered with.",
            ["status"],
            registry=registry,
        )
        self.connections = Gauge("filedropd_connections", "Connections that are open.", registry=registry)

    def _make_files(self, registry: CollectorRegistry) -> None:
        self.uploads = Counter("filedropd_uploads_total", "Files that were kept.", registry=registry)
        self.uploads_bytes = Counter("filedropd_uploads_bytes_total", "Bytes of files kept.", registry=registry)
        self.downloads = Counter(
            "filedropd_downloads_total",
            "Answers with bytes of a file, by outcome: all arrived (complete), not all (broken), none left (unsent).",
            ["outcome"],
            registry=registry,
        )
        self._downloads = {outcome: self.downloads.labels(outcome) for outcome in DOWNLOADS}
        self.downloads_bytes = Counter(
            "filedropd_downloads_bytes_total", "Bytes of files that may have left.", registry=registry
        )
        self.transfers = Gauge("filedropd_transfers", "Answers with bytes of a file that run here.", registry=registry)
        self.claims = Gauge("filedropd_claims", "Claims of which such an answer runs here.", registry=registry)
        self.events = Counter(
            "filedropd_drop_events_total",
            "What happened to drops: claimed, resumed, received, broken, delivered, lapsed, expired, revoked and so on.",
            ["event"],
            registry=registry,
        )
        self.deletions = Counter(
            "filedropd_deletions_total", "Files whose bytes were deleted from the store.", registry=registry
        )
        self.deletion_failures = Counter(
            "filedropd_deletion_failures_total",
            "Attempts to delete a file's bytes that failed; each is tried again.",
            registry=registry,
        )

    def _make_limits(self, registry: CollectorRegistry) -> None:
        self.password_failures = Counter("filedropd_password_failures_total", "Wrong passwords.", registry=registry)
        self.limited = Counter(
            "filedropd_limited_total",
            "Answers 429, by limit: of a client's passwords (client), of everybody's for a drop (drop), of uploads.",
            ["limit"],
            registry=registry,
        )
        self._limited = {limit: self.limited.labels(limit) for limit in LIMITS}

    def _make_stores(self, registry: CollectorRegistry) -> None:
        self.cache_failures = ReadCounter(
            "filedropd_cache_failures_total", "What the shared cache did not do, or not in time.", registry
        )
        self.cache_away = Gauge("filedropd_cache_away", "1 while the shared cache is away.", registry=registry)
        self.records_away = Gauge("filedropd_records_away", "1 while the database is away.", registry=registry)

    # -- counting ---------------------------------------------------------------------------------

    def answered(self, route: str, code: int, seconds: float) -> None:
        """Count a request whose answer is over.

        :param route: the path with its variable parts named; empty where none was taken.
        :param code: the answer's; 0 where there was none.
        """
        key = (route, code // 100)
        metrics = self._answered.get(key)
        if metrics is None:
            name = route or "none"
            metrics = self.requests.labels(name, _status(code)), self.request_seconds.labels(name)
            self._answered[key] = metrics
        metrics[0].inc()
        metrics[1].observe(seconds)

    def answered_at_once(self, route: str, code: int, times: int) -> None:
        """Count requests that were answered from memory; how long each took is not measured, for it takes as long."""
        self.requests.labels(route, _status(code)).inc(times)

    def refused(self, code: int) -> None:
        """Count an answer to what was no request."""
        self.malformed.labels(_status(code)).inc()

    def kept(self, octets: int) -> None:
        """Count an upload."""
        self.uploads.inc()
        self.uploads_bytes.inc(octets)

    def downloaded(self, outcome: str, octets: int) -> None:
        """Count an answer with bytes of a file.

        :param outcome: one of :data:`DOWNLOADS`.
        :param octets: how many may have left.
        """
        self._downloads[outcome].inc()
        self.downloads_bytes.inc(octets)

    def happened(self, event: str) -> None:
        """Count something that happened to a drop, by the name of its :class:`~filedropd.model.Touch`."""
        metric = self._happened.get(event)
        if metric is None:
            metric = self._happened[event] = self.events.labels(event)
        metric.inc()

    def refused_by(self, limit: str) -> None:
        """Count a refusal by one of :data:`LIMITS`."""
        self._limited[limit].inc()

    # -- telling ----------------------------------------------------------------------------------

    def exposition(self) -> bytes:
        """Return all of it as Prometheus reads it, in :data:`CONTENT_TYPE`."""
        return generate_latest(_Plain(self._registry))

    def catalogue(self) -> Iterator[Row]:
        """Iterate over what there is, in the order in which it is told. Of the process's own there is one row for all."""
        for attribute in vars(self).values():
            if isinstance(attribute, MetricWrapperBase | ReadCounter):
                yield Row.of(attribute)
        yield Row("process_…", "", (), "CPU, memory, open files and start of the process.")


class ReadCounter(Collector):
    """A counter that somebody keeps anyway: it is read when it is asked for."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        self._read: Callable[[], float] = lambda: 0
        registry.register(self)

    def read(self, read: Callable[[], float]) -> None:
        """Ask ``read`` for it from now on."""
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Return it as it is now."""
        return [CounterMetricFamily(self._name, self._documentation, value=self._read())]


@attrs.frozen
class Row:
    """What is said of a metric."""

    name: str
    type: str
    labels: tuple[str, ...]
    documentation: str

    @classmethod
    def of(cls, counted: MetricWrapperBase | ReadCounter) -> Row:
        """Return what is said of one."""
        (metric,) = counted.collect()
        suffix = {"counter": "_total", "info": "_info"}.get(metric.type, "")
        labels = tuple(
            getattr(counted, "_labelnames", ())
        )  # the library shows them in samples alone, and there may be none
        return cls(metric.name + suffix, metric.type, labels, metric.documentation)

    def __str__(self) -> str:
        """Return it as a row of a table in Markdown."""
        labels = ", ".join(f"`{label}`" for label in self.labels)
        return f"| `{self.name}` | {self.type} | {labels} | {self.documentation} |"


class _Plain(Collector):
    """A registry without the series that say when each other series began: they are of use to few, and half of all."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def table() -> str:
    """Return the catalogue as a table in Markdown, for the documentation."""
    head = "| metric | type | labels | counts |\n|---|---|---|---|\n"
    return head + "".join(f"{row}\n" for row in Metrics().catalogue())


def _status(code: int) -> str:
    return f"{code // 100}xx" if code else "none"
