"""The daemon on a PostgreSQL that answers late, or not at all: whoever asks it is answered."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg2
import requests

from filedropd.drops import READY_WITHIN
from tests.daemon import eventually
from tests.servers import postgresql
from tests.test_daemon import left, request
from tests.test_daemon_life import LARGE, DaemonLifeCase

#: Cancels what waits for somebody else's lock.
CANCEL = """
SELECT pg_cancel_backend(pid) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


class PostgreSQLCase(DaemonLifeCase):
    """A daemon on a database of its own."""

    def setUp(self):
        super().setUp()
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.database = stack.enter_context(postgresql().database())
        self.started = self.daemon(f"--records={postgresql().url(self.database)}").start()

    @contextlib.contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Let somebody else have a table meanwhile."""
        other: Any = psycopg2.connect(postgresql().url(self.database))
        with contextlib.closing(other):
            other.cursor().execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield


class CancelledTests(PostgreSQLCase):
    """The server cancels what is asked of it."""

    def cancelled(self, asked: Future[requests.Response]) -> requests.Response:
        """Cancel what the daemon asks until ``asked`` is answered; return that."""

        def answered() -> bool:
            postgresql().psql(CANCEL, self.database)
            return asked.done()

        eventually(answered, "an answer")
        return asked.result()

    def assert_told(self, method: str, url: str, **named: Any) -> None:
        """What is asked meanwhile is answered 503, and is no fault of ours."""
        with self.locked("drops, claims"), ThreadPoolExecutor(1) as pool:
            answer = self.cancelled(pool.submit(request, method, url, **named))
        self.assertEqual((503, "Service Unavailable"), (answer.status_code, answer.json()["error"]))

    def test_each(self):
        """An upload, a download and a revocation are told 503, and can be had afterwards."""
        told = left(self.started, b"content")
        owner = {"Authorization": f"Bearer {told['owner_token']}"}
        self.assert_told("PUT", self.started.url("/"), data=b"content")
        self.assert_told("GET", told["url"])
        self.assert_told("DELETE", told["url"], headers=owner)
        self.assertEqual(b"content", request("GET", told["url"]).content)
        log = self.started.log()
        self.assertIn("canceling statement due to user request", log)
        self.assertNotIn("incident", log)

    def test_in_a_download(self):
        """A download that has begun goes on to its end."""
        content = os.urandom(LARGE)
        with request("GET", left(self.started, content)["url"], stream=True) as answer, ThreadPoolExecutor(1) as pool:
            with self.locked("drops, claims, transfers"):
                reading = pool.submit(lambda: answer.content)
                eventually(lambda: "t" in postgresql().psql(CANCEL, self.database), "something is cancelled")
            self.assertEqual(content, reading.result())
        self.assertNotIn("incident", self.started.log())


class ReadyTests(PostgreSQLCase):
    """The server does not answer."""

    def test_in_time(self):
        """The daemon says soon that it is not ready, and that it is when the server answers again."""
        with self.locked("schema_version"):
            began = time.monotonic()
            self.assertEqual(503, request("GET", self.started.url("/readyz")).status_code)
            self.assertLess(time.monotonic() - began, READY_WITHIN + 1)
        self.assertEqual(200, request("GET", self.started.url("/readyz")).status_code)
