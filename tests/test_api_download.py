"""Fetching a file: once, in part, by those who may, and not at all."""

from __future__ import annotations

import base64

from twisted.internet.address import IPv4Address
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from filedropd.http.settling import QUIET
from filedropd.testing import Wire, request
from filedropd.testing.wire import CLIENT
from tests.api import ELSEWHERE, FILE, APITestCase


class DownloadTests(APITestCase):
    """GET and HEAD."""

    def test_once(self) -> None:
        """The first gets the bytes, the next is told that they are gone, and why; and they leave the store."""
        path = self.leave(b"content")["path"]
        got = self.ask("GET", path)
        self.assertEqual((200, b"content"), (got.status, got.body))
        gone = self.ask("GET", path)
        self.assertProblem(410, "Gone", gone)
        self.assertEqual("delivered", gone.json()["reason"])
        self.assertEqual({}, dict(self.core.stored.published))

    def test_fields(self) -> None:
        """A download is an attachment that no browser runs, caches or sniffs."""
        answer = self.ask("GET", self.leave(b"<script>")["path"])
        for name, value in {
            "Content-Length": "8",
            "Accept-Ranges": "bytes",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Type": "application/octet-stream",
        }.items():
            self.assertEqual(value, answer.header(name))
        self.assertIn("sandbox", answer.header("Content-Security-Policy") or "")
        self.assertTrue((answer.header("Content-Disposition") or "").startswith("attachment"))
        self.assertRegex(answer.header("ETag") or "", r'\A"[0-9a-f]{32}"\Z')

    def test_head(self) -> None:
        """HEAD says what GET would, and takes nothing."""
        path = self.leave(b"content")["path"]
        heads = [self.ask("HEAD", path) for _ in range(3)]
        got = self.ask("GET", path)
        claim = {"Filedrop-Claim", "Set-Cookie"}
        for head in heads:
            self.assertEqual((200, b""), (head.status, head.body))
            self.assertEqual(sorted(got.headers), sorted([*head.headers, *((n, got.header(n)) for n in claim)]))
        self.assertEqual(410, self.ask("HEAD", path).status)

    def test_head_ignores_range(self) -> None:
        """Range is for GET alone."""
        answer = self.ask("HEAD", self.leave(b"content")["path"], {"Range": "bytes=0-0"})
        self.assertEqual((200, "7"), (answer.status, answer.header("Content-Length")))

    def test_never_there(self) -> None:
        """Ids that were never there, and ids of the wrong length, case or alphabet, are 404."""
        for token in ("0" * 32, "0" * 31, "0" * 33, "A" * 32, "g" * 32, "a%00b", "..%2f..%2fetc%2fpasswd", "a%0d%0ab"):
            for method in ("GET", "HEAD"):
                answer = self.ask(method, f"{FILE}/{token}")
                self.assertEqual(404, answer.status, token)

    def test_written_otherwise(self) -> None:
        """An id that is percent-encoded, or stands behind another slash, is not the id."""
        told = self.leave(b"content")
        encoded = "%" + f"{ord(told['id'][0]):x}" + told["id"][1:]
        for target in (f"{FILE}/{encoded}", f"{FILE}//{told['id']}", f"/{FILE}/{told['id']}"):
            self.assertEqual(404, self.ask("GET", target).status, target)
        self.assertEqual(200, self.ask("GET", told["path"]).status)

    def test_several(self) -> None:
        """As many copies as its sender said, and not one more."""
        path = self.leave(b"content", downloads="3")["path"]
        self.assertEqual([200, 200, 200, 410], [self.ask("GET", path).status for _ in range(4)])

    def test_expired(self) -> None:
        """An expired drop is gone, with its reason, and its bytes too."""
        path = self.leave(b"content", expires="90s")["path"]
        self.core.elapse(91)
        gone = self.ask("GET", path)
        self.assertEqual((410, "expired"), (gone.status, gone.json()["reason"]))
        self.assertEqual({}, dict(self.core.stored.published))

    def test_forgotten(self) -> None:
        """A month after it went, a link is forgotten."""
        path = self.leave(b"content")["path"]
        self.ask("GET", path)
        self.core.elapse(31 * 86_400)
        self.assertEqual(404, self.ask("GET", path).status)


class RangeTests(APITestCase):
    """One range, and conditions."""

    def test_part(self) -> None:
        """A range is answered as 206 with its place in the whole, and does not use the file up."""
        path = self.leave(b"0123456789")["path"]
        answer = self.ask("GET", path, {"Range": "bytes=2-4"})
        self.assertEqual(423, self.ask("GET", path, client=ELSEWHERE).status)
        self.assertEqual((206, b"234", "bytes 2-4/10"), (answer.status, answer.body, answer.header("Content-Range")))
        self.assertEqual(200, self.ask("GET", path).status)

    def test_parts_together(self) -> None:
        """Parts that make up the whole are a delivery."""
        path = self.leave(b"0123456789")["path"]
        for asked in ("bytes=5-", "bytes=0-4"):
            self.assertEqual(206, self.ask("GET", path, {"Range": asked}).status)
        self.assertEqual(410, self.ask("GET", path).status)

    def test_whole_by_range(self) -> None:
        """A range that is the whole file is a delivery."""
        path = self.leave(b"0123456789")["path"]
        self.assertEqual(206, self.ask("GET", path, {"Range": "bytes=0-"}).status)
        self.assertEqual(410, self.ask("GET", path).status)

    def test_ignored(self) -> None:
        """Several ranges, malformed ones, and one under another If-Range are answered whole."""
        many = "bytes=" + ",".join(f"{n}-{n}" for n in range(900))
        cases = [{"Range": value} for value in ("bytes=0-1,3-4", "bytes=a-b", "lines=0-1", "bytes=4-2", many)]
        cases.append({"Range": "bytes=0-1", "If-Range": '"other"'})
        cases.append({"Range": "bytes=0-1", "If-Range": "Mon, 23 Nov 2026 19:00:00 GMT"})
        for headers in cases:
            answer = self.ask("GET", self.leave(b"0123456789")["path"], headers)
            self.assertEqual((200, b"0123456789"), (answer.status, answer.body), headers)

    def test_if_range(self) -> None:
        """A range under the file's own tag is a range."""
        path = self.leave(b"0123456789")["path"]
        etag = self.ask("HEAD", path).header("ETag") or ""
        self.assertEqual(206, self.ask("GET", path, {"Range": "bytes=0-1", "If-Range": etag}).status)

    def test_unsatisfiable(self) -> None:
        """A range behind the end is 416 with the size, and takes nothing."""
        path = self.leave(b"0123456789")["path"]
        answer = self.ask("GET", path, {"Range": "bytes=10-"})
        self.assertProblem(416, "Range Not Satisfiable", answer)
        self.assertEqual("bytes */10", answer.header("Content-Range"))
        self.assertEqual(200, self.ask("GET", path).status)

    def test_not_modified(self) -> None:
        """Whoever has it already is told so with its tag, without a body, and takes nothing."""
        path = self.leave(b"content")["path"]
        etag = self.ask("HEAD", path).header("ETag") or ""
        answer = self.ask("GET", path, {"If-None-Match": f'"x", W/{etag}'})
        self.assertEqual((304, b"", etag), (answer.status, answer.body, answer.header("ETag")))
        self.assertEqual(200, self.ask("GET", path, {"If-None-Match": '"x"'}).status)

    def test_no_date(self) -> None:
        """A date alone says nothing: it is not known when the sender made the file."""
        path = self.leave(b"content")["path"]
        self.assertEqual(200, self.ask("GET", path, {"If-Modified-Since": "Mon, 23 Nov 2099 19:00:00 GMT"}).status)


class SharingTests(APITestCase):
    """Several clients at once."""

    def setUp(self) -> None:
        super().setUp()
        self.data = bytes(range(256)) * 3000
        self.path = self.leave(self.data)["path"]

    def _slow(self) -> Wire:
        wire = Wire(self.factory)
        wire.stop_reading()
        wire.send(request("GET", self.path))
        return wire

    def test_locked(self) -> None:
        """While one client downloads, others are told to come back, HEAD and all, and cost it nothing."""
        slow = self._slow()
        for client, retry_after in ((CLIENT, "1"), (ELSEWHERE, "5")):
            other = self.ask("GET", self.path, client=client)
            self.assertEqual((423, retry_after), (other.status, other.header("Retry-After")))
            head = self.ask("HEAD", self.path, client=client)
            self.assertEqual((423, b"", retry_after), (head.status, head.body, head.header("Retry-After")))
        slow.read_on()
        self.assertEqual(self.data, slow.responses("GET")[0].body)

    def test_broken(self) -> None:
        """A download that breaks leaves the file for its own recipient, and others are told to come back."""
        slow = self._slow()
        slow.take(100_000)
        slow.reset()
        self.assertEqual(423, self.ask("GET", self.path, client=ELSEWHERE).status)
        got = self.ask("GET", self.path)
        self.assertEqual((200, self.data), (got.status, got.body))

    def test_broken_for_long(self) -> None:
        """After a quarter of an hour anybody can have it."""
        slow = self._slow()
        slow.take(100_000)
        slow.reset()
        self.core.elapse(15 * 60)
        self.assertEqual((200, self.data), ((got := self.ask("GET", self.path, client=ELSEWHERE)).status, got.body))

    def test_resumed(self) -> None:
        """A download that breaks is gone on with where it broke, and is one delivery."""
        slow = self._slow()
        slow.take(100_000)
        slow.reset()
        have = len(slow.responses("GET")[0].body)
        rest = self.ask("GET", self.path, {"Range": f"bytes={have}-"})
        self.assertEqual((206, self.data[have:]), (rest.status, rest.body))
        self.assertEqual(410, self.ask("GET", self.path, client=ELSEWHERE).status)

    def test_in_parallel(self) -> None:
        """Parts that are fetched side by side are one delivery."""
        size = len(self.data)
        wires = [Wire(self.factory) for _ in range(4)]
        for number, wire in enumerate(wires):
            first, last = number * size // 4, (number + 1) * size // 4 - 1
            wire.send(request("GET", self.path, {"Range": f"bytes={first}-{last}"}))
        for wire in wires:
            wire.close()
        answers = [wire.responses("GET")[0] for wire in wires]
        self.assertEqual([206] * 4, [answer.status for answer in answers])
        self.assertEqual(self.data, b"".join(answer.body for answer in answers))
        self.assertEqual(410, self.ask("GET", self.path).status)

    def test_broken_in_the_log(self) -> None:
        """The log says of such a download that its client left."""
        lines: list[str] = []

        @provider(ILogObserver)
        def collect(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(collect)
        self.addCleanup(globalLogPublisher.removeObserver, collect)
        self._slow().reset()
        self.assertTrue([line for line in lines if " 200 " in line and line.endswith(", client left")], lines)

    def test_settling(self) -> None:
        """A request that meets a download which has all but settled waits for its outcome: gone."""
        first = Wire(self.factory)
        first.send(request("GET", self.path))
        second = Wire(self.factory)
        second.send(request("GET", self.path))
        self.assertEqual([], second.responses("GET"))
        second.advance(QUIET + 0.1)
        self.assertEqual(410, second.responses("GET")[0].status)

    def test_thrown_away(self) -> None:
        """If it turns out after that second that the bytes were thrown away, their recipient can have them again."""
        first = Wire(self.factory)
        first.send(request("GET", self.path))
        first.advance(QUIET + 0.1)
        self.assertEqual(410, self.ask("GET", self.path, client=ELSEWHERE).status)
        first.reset()
        self.assertEqual(410, self.ask("GET", self.path, client=ELSEWHERE).status)
        self.assertEqual((200, self.data), ((got := self.ask("GET", self.path)).status, got.body))
        self.assertEqual({}, dict(self.core.stored.published))

    def test_settling_breaks(self) -> None:
        """If that outcome is that the bytes were thrown away, the one who waited gets the file."""
        first = Wire(self.factory)
        first.send(request("GET", self.path))
        second = Wire(self.factory)
        second.send(request("GET", self.path))
        first.reset()
        second.run()
        self.assertEqual(200, second.responses("GET")[0].status)

    def test_race(self) -> None:
        """Of sixty-four clients one gets the file, whether they come from one address or from many."""
        self._race([CLIENT] * 64)
        self.path = self.leave(self.data)["path"]
        self._race([IPv4Address("TCP", f"192.0.2.{number}", 50_000) for number in range(64)])

    def _race(self, clients: list[IPv4Address]) -> None:
        wires = [Wire(self.factory, client=client) for client in clients]
        for wire in wires:
            wire.send(request("GET", self.path))
        wires[0].advance(QUIET + 0.1)
        statuses = sorted(wire.responses("GET")[0].status for wire in wires)
        self.assertEqual([200] + [410] * 63, statuses)

    def test_pipelined(self) -> None:
        """A hundred requests for one link on one connection: one gets it, in order."""
        wire = Wire(self.factory)
        wire.send(request("GET", self.path) * 100)
        for _ in range(5):
            wire.advance(1)
        self.assertEqual([200] + [410] * 99, [answer.status for answer in wire.responses(*["GET"] * 100)])

    def test_stalled(self) -> None:
        """A client that takes nothing for a minute is broken off, and can have the file again."""
        slow = self._slow()
        for _ in range(150):
            slow.advance(1)
        self.assertTrue(slow.closed)
        self.assertEqual(423, self.ask("GET", self.path, client=ELSEWHERE).status)
        self.assertEqual(200, self.ask("GET", self.path).status)

    def test_storage_fails(self) -> None:
        """If the bytes cannot be opened, the answer is a 500 with an incident, and the claim costs nothing."""
        self.core.journal.fail("blobs.open", OSError(5, "Input/output error"))
        answer = self.ask("GET", self.path)
        self.assertProblem(500, "Internal Server Error", answer)
        self.assertEqual(1, len(self.flushLoggedErrors(OSError)))
        self.core.journal.mend()
        self.assertEqual(200, self.ask("GET", self.path).status)


class PasswordTests(APITestCase):
    """Drops with a password."""

    def setUp(self) -> None:
        super().setUp()
        self.use_passwords()

    async def _left(self, password: str) -> str:
        answer = await self.ask_slowly("PUT", FILE, {"Filedrop-Password": password}, b"content")
        return f"{FILE}/{answer.json()['id']}"

    async def test_ways(self) -> None:
        """The password counts in the query, by Basic, and in its own field."""
        basic = "Basic " + base64.b64encode(b"anybody:pass word").decode()
        ways: list[tuple[str, dict[str, str]]] = [
            ("?password=pass%20word", {}),
            ("?password=pass+word", {}),
            ("", {"Authorization": basic}),
            ("", {"Filedrop-Password": "pass word"}),
        ]
        for query, headers in ways:
            path = await self._left("pass word")
            self.assertEqual(401, (await self.ask_slowly("GET", path)).status)
            self.assertEqual(200, (await self.ask_slowly("GET", path + query, headers)).status, (query, headers))

    async def test_refused(self) -> None:
        """A wrong one and none look alike, ask for one, and take nothing."""
        path = await self._left("secret")
        missing = await self.ask_slowly("GET", path)
        for query in ("?password=Secret", "?password=", "?password=%ff", "?password=" + "x" * 2000):
            wrong = await self.ask_slowly("GET", path + query)
            self.assertEqual((missing.status, missing.body), (wrong.status, wrong.body))
        self.assertProblem(401, "Unauthorized", missing)
        self.assertIn("Basic", missing.header("WWW-Authenticate") or "")
        self.assertEqual(200, (await self.ask_slowly("GET", path + "?password=secret")).status)

    async def test_head(self) -> None:
        """HEAD tells nothing without it."""
        path = await self._left("secret")
        self.assertEqual(401, (await self.ask_slowly("HEAD", path)).status)

    async def test_gone(self) -> None:
        """Once the file is gone, nobody is asked for a password."""
        path = await self._left("secret")
        await self.ask_slowly("GET", path + "?password=secret")
        self.core.clock.advance(2)
        self.assertEqual(410, (await self.ask_slowly("GET", path)).status)
