"""What is counted, under which name, and where that is written down."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from filedropd.metrics import DOWNLOADS, LIMITS, Metrics, table

DOCUMENTATION = Path(__file__).parents[1] / "docs" / "operations.md"


class MetricsTestCase(SynchronousTestCase):
    """Some metrics, and what they tell."""

    def setUp(self) -> None:
        self.metrics = Metrics()

    def told(self, name: str, **labels: str) -> float | None:
        """Return the value of a sample; ``None`` where there is none."""
        text = self.metrics.exposition().decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return next((sample.value for sample in samples if (sample.name, sample.labels) == (name, labels)), None)


class CountingTests(MetricsTestCase):
    """What is counted is told."""

    def test_answered(self):
        """Answers are counted by route and class of status, and timed by route."""
        for code, seconds in ((200, 0.02), (206, 0.2), (404, 0.002)):
            self.metrics.answered("/file/<id>", code, seconds)
        self.assertEqual(2, self.told("filedropd_requests_total", route="/file/<id>", status="2xx"))
        self.assertEqual(1, self.told("filedropd_requests_total", route="/file/<id>", status="4xx"))
        self.assertEqual(3, self.told("filedropd_request_seconds_count", route="/file/<id>"))
        self.assertEqual(2, self.told("filedropd_request_seconds_bucket", route="/file/<id>", le="0.025"))

    def test_nowhere(self):
        """Where there was no route, or no answer, that is said."""
        self.metrics.answered("", 0, 1.0)
        self.assertEqual(1, self.told("filedropd_requests_total", route="none", status="none"))

    def test_refused(self):
        """What was no request is counted by the class of its answer."""
        self.metrics.refused(431)
        self.assertEqual(1, self.told("filedropd_malformed_requests_total", status="4xx"))

    def test_kept(self):
        """Uploads are counted, and their bytes."""
        self.metrics.kept(3)
        self.metrics.kept(4)
        self.assertEqual((2, 7), (self.told("filedropd_uploads_total"), self.told("filedropd_uploads_bytes_total")))

    def test_downloaded(self):
        """Downloads are counted by outcome, and their bytes; each outcome is there from the first."""
        self.assertEqual([0] * 3, [self.told("filedropd_downloads_total", outcome=outcome) for outcome in DOWNLOADS])
        self.metrics.downloaded("broken", 5)
        self.assertEqual(1, self.told("filedropd_downloads_total", outcome="broken"))
        self.assertEqual(5, self.told("filedropd_downloads_bytes_total"))

    def test_limited(self):
        """Refusals are counted by limit; each limit is there from the first."""
        self.assertEqual([0] * 3, [self.told("filedropd_limited_total", limit=limit) for limit in LIMITS])
        self.metrics.refused_by("drop")
        self.assertEqual(1, self.told("filedropd_limited_total", limit="drop"))

    def test_happened(self):
        """What happens to drops is counted by its name."""
        for event in ("claimed", "delivered", "claimed"):
            self.metrics.happened(event)
        self.assertEqual(2, self.told("filedropd_drop_events_total", event="claimed"))

    def test_read(self):
        """What others keep is read when it is asked for."""
        failures = 1
        self.metrics.cache_failures.read(lambda: failures)
        self.metrics.connections.set_function(lambda: 3)
        failures = 5
        self.assertEqual((5, 3), (self.told("filedropd_cache_failures_total"), self.told("filedropd_connections")))

    def test_build(self):
        """It is told what runs."""
        self.assertIn(b"\nfiledropd_build_info{python=", self.metrics.exposition())

    def test_process(self):
        """It is told what the process uses."""
        self.assertGreater(self.told("process_resident_memory_bytes") or 0, 1_000_000)

    def test_nothing_global(self):
        """What one daemon counts is not another's."""
        self.metrics.kept(3)
        self.metrics = Metrics()
        self.assertEqual(0, self.told("filedropd_uploads_total"))

    def test_no_births(self):
        """There are no series that say when others began."""
        self.metrics.answered("/", 200, 0.1)
        self.assertNotIn(b"_created", self.metrics.exposition())


class CatalogueTests(MetricsTestCase):
    """The catalogue, the registry and the documentation agree."""

    def test_whole(self):
        """All that is told is in the catalogue."""
        self.metrics.answered("/", 200, 0.1)
        names = set(re.findall("^# TYPE (filedropd_[a-z_]+)", self.metrics.exposition().decode(), re.MULTILINE))
        self.assertEqual({row.name for row in self.metrics.catalogue()} - {"process_…"}, names)

    def test_documented(self):
        """Each row of it is in the documentation, word for word."""
        documentation = DOCUMENTATION.read_text("utf-8")
        for row in table().splitlines():
            self.assertIn(row, documentation, "write the rows of filedropd.metrics.table() there")

    def test_no_more(self):
        """The documentation speaks of no others."""
        told = set(re.findall(r"filedropd_[a-z]+(?:_[a-z]+)+", DOCUMENTATION.read_text("utf-8")))
        names = {row.name for row in self.metrics.catalogue()}
        self.assertEqual(set(), {name for name in told if re.sub("_(bucket|sum|count)$", "", name) not in names})
