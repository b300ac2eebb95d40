"""The hot path: the same answers as by Klein's routes, from memory."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.logger import capturedLogs, formatEvent

from filedropd.cache.memory import MemoryCache
from filedropd.finding import remembering
from filedropd.http.server import HTTPFactory
from filedropd.testing import Wire, request
from filedropd.web.access import AccessLog
from filedropd.web.hot import Hot
from filedropd.web.problems import refusal
from tests.api import FILE, APITestCase

NEVER = f"{FILE}/{'0' * 32}"


class HotTests(APITestCase):
    """Two servers of the same drops, one of which has a hot path."""

    def setUp(self) -> None:
        super().setUp()
        self.codes: list[int] = []
        self.hot = HTTPFactory(
            self.api.resource(),
            self.core.clock,
            refusal=refusal,
            hot=Hot(self.prefix, self.core.cache, self.core.clock.seconds).answer,
            answered_at_once=self.codes.append,
        )

    def sent(self, factory: HTTPFactory, data: bytes) -> bytes:
        """Return what is answered to ``data``, but for the time."""
        wire = Wire(factory)
        wire.send(data)
        wire.run()
        lines = wire.received.split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.startswith(b"Date: "))

    def alike(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> int:
        """Ask both, and return how many were answered at once."""
        before = len(self.codes)
        asked = request(method, target, headers, body)
        self.assertEqual(self.sent(self.factory, asked), self.sent(self.hot, asked), asked)
        return len(self.codes) - before

    def gone(self) -> str:
        """Leave a file, fetch it, and ask again, so that it is known to be gone; returns its path."""
        path = str(self.leave()["path"])
        self.assertEqual([200, 410], [self.ask("GET", path).status for _ in range(2)])
        return path

    def test_gone(self):
        """What is gone and what never was is answered as by the route, to GET and to HEAD."""
        for path in (self.gone(), NEVER):
            self.ask("GET", path)
            for method in ("GET", "HEAD"):
                self.assertEqual(1, self.alike(method, path))
                self.assertEqual(1, self.alike(method, f"{path}?password=x&claim={'1' * 32}"))
                self.assertEqual(1, self.alike(method, path, {"Accept": "*/*", "Range": "bytes=1-"}))
        self.assertEqual({404, 410}, set(self.codes))

    def test_reasons(self):
        """Each with its own reason."""
        left = self.leave()
        self.ask("DELETE", left["path"], {"Authorization": f"Bearer {left['owner_token']}"})
        self.ask("GET", left["path"])
        self.assertEqual(1, self.alike("GET", left["path"]))
        self.assertIn(b'"revoked"', self.sent(self.hot, request("GET", left["path"])))

    def test_at_once(self):
        """What has just been handed out is known to be gone before anybody asks for it again."""
        self.core.ledgers.tell(remembering(self.core.cache))
        path = self.leave()["path"]
        self.assertEqual(200, self.ask("GET", path).status)
        self.assertEqual(1, self.alike("GET", path))

    def test_not_known(self):
        """What is not remembered, or not for long enough, is for the route to answer."""
        for _ in range(2):
            self.sent(self.hot, request("GET", NEVER))
            self.assertEqual([], self.codes)
            self.assertEqual(1, self.alike("GET", NEVER))
            self.codes.clear()
            self.core.clock.advance(60)

    def test_there(self):
        """A file that is there is handed out by the route alone."""
        path = self.leave(downloads="2")["path"]
        self.sent(self.hot, request("GET", path))
        self.assertEqual([], self.codes)

    def test_cold(self):
        """Everything else goes to the routes: other methods, bodies, pages, other paths, other versions."""
        path = self.gone()
        for method, target, headers, body in (
            ("POST", path, None, None),
            ("DELETE", path, {"Authorization": "Bearer x"}, None),
            ("GET", path, None, b"body"),
            ("GET", path, {"Accept": "text/html,*/*;q=0.8", "User-Agent": "Mozilla/5.0"}, None),
            ("GET", path, {"accept": "application/xhtml+xml"}, None),
            ("GET", path, {"Connection": "close"}, None),
            ("GET", f"{path}/status", None, None),
            ("GET", f"{path}0", None, None),
            ("GET", path.replace("/file/", "/file//"), None, None),
            ("GET", path.upper(), None, None),
            ("GET", f"/x{path}", None, None),
        ):
            self.assertEqual(0, self.alike(method, target, headers, body), (method, target, headers))
        old = f"GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode()
        self.assertEqual(self.sent(self.factory, old), self.sent(self.hot, old))
        self.assertEqual([], self.codes)

    def test_pipelined(self):
        """Those in a row, and others between them, are answered in their order."""
        path = self.gone()
        asked = [request("GET", each) for each in (path, "/healthz", NEVER, path, "/healthz", path)]
        self.ask("GET", NEVER)
        answers = self.sent(self.hot, b"".join(asked))
        self.assertEqual(self.sent(self.factory, b"".join(asked)), answers)
        self.assertEqual([410, 404, 410, 410], self.codes)

    def test_halves(self):
        """A head that comes in pieces is one head; the connection goes on, and ends when it is idle."""
        path = self.gone()
        wire = Wire(self.hot)
        asked = request("GET", path)
        for at in range(len(asked)):
            wire.send(asked[at : at + 1])
        wire.send(asked)
        wire.run()
        self.assertEqual([410, 410], [answer.status for answer in wire.responses("GET")])
        wire.advance(80)
        self.assertTrue(wire.closed)

    def test_empty_line_before(self):
        """Behind an empty line, and after an answer from memory, a head has the time of a head."""
        asked = request("GET", self.gone())
        wire = Wire(self.hot)
        wire.send(asked)
        wire.send(b"\r\n")
        wire.send(asked)
        wire.run()
        self.assertEqual([410, 410], [answer.status for answer in wire.responses("GET")])
        wire.send(b"GET / HTTP/1.1\r\nX")
        wire.advance(self.hot.timeouts.head + 1)
        self.assertEqual(408, wire.responses("GET")[-1].status)

    def test_answers_unread(self):
        """A client that does not read its answers gets no more of them until it does, however it asks."""
        asked = request("GET", self.gone())
        for pieces in ([asked] * 2000, [asked * 2000]):
            del self.codes[:]
            wire = Wire(self.hot)
            wire.stop_reading()
            wire.send(*pieces)
            wire.run()
            self.assertLess(len(self.codes), 400)  # 64 KiB of them are in the kernel
            self.assertTrue(wire.paused)
            wire.read_on()
            wire.run()
            self.assertEqual([410] * 2000, self.codes)
            self.assertEqual(2000, len(wire.responses("GET")))
            wire.send(asked)
            self.assertEqual(2001, len(self.codes))

    def test_answers_never_read(self):
        """One that never reads them is given up in time."""
        wire = Wire(self.hot)
        wire.stop_reading()
        wire.send(request("GET", self.gone()) * 1000)
        wire.advance(self.hot.timeouts.stall / 2)
        self.assertFalse(wire.closed)
        wire.advance(self.hot.timeouts.stall)
        self.assertTrue(wire.was_reset)

    def test_date(self):
        """It has the time of its second."""
        path = self.gone()
        seen = []
        for _ in range(2):
            wire = Wire(self.hot)
            wire.send(request("GET", path))
            wire.run()
            seen.append(wire.responses("GET")[0].header("Date"))
            self.core.clock.advance(1)
        self.assertEqual(2, len(set(seen)))

    def test_closed_by_client(self):
        """A client that closes with its request is answered, and the connection ends."""
        path = self.gone()
        wire = Wire(self.hot)
        wire.send(request("GET", path))
        wire.close()
        self.assertEqual([410], [answer.status for answer in wire.responses("GET")])


class CountingTests(APITestCase):
    """What is logged of them."""

    def test_log(self):
        """They have one line a second for each status, and are counted as often."""
        clock = self.core.clock
        counted: list[tuple[int, int]] = []
        log = AccessLog(clock.seconds, later=clock.callLater, counted=lambda *told: counted.append(told))
        with capturedLogs() as events:
            for code in (410, 404, 410):
                log.answered_at_once(code)
            clock.advance(1)
            clock.advance(10)
            log.answered_at_once(410)
            clock.advance(1)
        lines = [formatEvent(event) for event in events]
        told = "links that are known to lead nowhere, answered"
        self.assertEqual([f"{told} 404: 1", f"{told} 410: 2", f"{told} 410: 1"], lines)
        self.assertEqual([(404, 1), (410, 2), (410, 1)], counted)


class PeekTests(APITestCase):
    """A cache that is looked into at once."""

    async def test_peek(self):
        """It shows what was set, as long as its time is not over, and no counts."""
        cache = MemoryCache(self.core.clock)
        await cache.set(b"a", b"1", 10)
        await cache.add(b"b", 1, 10)
        self.assertEqual((b"1", None, None), (cache.peek(b"a"), cache.peek(b"b"), cache.peek(b"c")))
        self.core.clock.advance(10)
        self.assertIsNone(cache.peek(b"a"))
