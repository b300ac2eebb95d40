"""What an owner is told: as JSON, and as it happens."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from filedropd.standing import KEEP_ALIVE, PROGRESS
from filedropd.testing import Wire, request
from filedropd.tokens import Token, claim_token
from filedropd.web.statuses import EVENT_STREAM
from tests.api import ELSEWHERE, FILE, APITestCase
from tests.support import result_of

SIZE = 900_000


class StatusesTestCase(APITestCase):
    """What these tests share."""

    def bearer(self, told: Mapping[str, Any]) -> dict[str, str]:
        """Return the header field that shows who the owner is."""
        return {"Authorization": f"Bearer {told['owner_token']}"}

    def status(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the owner is told."""
        answer: dict[str, Any] = self.ask("GET", f"{told['path']}/status", self.bearer(told)).json()
        return answer

    def slow(self, told: Mapping[str, Any], octets: int, first: int = 0) -> Wire:
        """Begin a download, and take so many bytes of the answer."""
        wire = Wire(self.factory)
        wire.stop_reading()
        wire.send(request("GET", told["path"], {"Range": f"bytes={first}-"} if first else {}))
        wire.take(octets)
        return wire


class JSONTests(StatusesTestCase):
    """GET …/status."""

    def test_drop(self) -> None:
        """The drop is told, with its times."""
        told = self.leave(b"content", downloads="2", expires="1h")
        status = self.status(told)
        self.assertEqual((told["id"], told["expires_at"]), (status["id"], status["expires_at"]))
        self.assertEqual("2023-11-14T22:13:20Z", status["created_at"])
        self.assertEqual(
            ("available", None, None, 7, 2, 0, [], []),
            tuple(
                status[name]
                for name in ("state", "reason", "gone_at", "size", "downloads", "delivered", "claims", "events")
            ),
        )

    def test_events(self) -> None:
        """What happened is told in order: when, what, with which claim, at which byte, and by whom it was looked at."""
        told = self.leave(b"0123456789")
        self.ask("GET", told["path"], {"User-Agent": "Slackbot 1.0"})
        self.core.elapse(1)
        self.ask("GET", told["path"], {"Range": "bytes=0-3"})
        self.core.elapse(2)
        self.ask("GET", told["path"], {"Range": "bytes=4-"})
        at = ["2023-11-14T22:13:20Z", "2023-11-14T22:13:21Z", "2023-11-14T22:13:23Z"]
        self.assertEqual(
            [
                {"at": at[0], "event": "previewed", "by": "Slack"},
                {"at": at[1], "event": "claimed", "claim": 1, "byte": 0},
                {"at": at[1], "event": "received", "claim": 1, "byte": 4},
                {"at": at[2], "event": "resumed", "claim": 1, "byte": 4},
                {"at": at[2], "event": "delivered", "claim": 1},
            ],
            self.status(told)["events"],
        )

    def test_broken(self) -> None:
        """Of a claim that waits for its recipient it is told how much went out, and until when it waits."""
        told = self.leave(bytes(SIZE))
        self.slow(told, 200_000).reset()
        (claim,) = self.status(told)["claims"]
        self.assertEqual(
            ("suspended", 0, 0, None), tuple(claim[n] for n in ("state", "transfers", "acknowledged", "ended_at"))
        )
        self.assertEqual("2023-11-14T22:28:20Z", claim["until"])
        self.assertTrue(100_000 < claim["handed_out"] < SIZE)
        (event,) = (event for event in self.status(told)["events"] if event["event"] == "broken")
        self.assertEqual(claim["handed_out"], event["byte"])

    def test_running(self) -> None:
        """Of one of which transfers run it is told how much has arrived by now."""
        told = self.leave(bytes(SIZE))
        wires = [self.slow(told, 100_000), self.slow(told, 100_000, 500_000)]
        before = self.status(told)["claims"]
        for wire in wires:
            wire.take(50_000)
        ((earlier,), (later,)) = before, self.status(told)["claims"]
        self.assertEqual(("open", 2, None), tuple(later[name] for name in ("state", "transfers", "until")))
        self.assertEqual(100_000, later["acknowledged"] - earlier["acknowledged"])
        self.assertLessEqual(later["acknowledged"], later["handed_out"])

    def test_empty(self) -> None:
        """An empty file has no bytes, whatever became of it."""
        told = self.leave(b"")
        self.ask("GET", told["path"])
        (claim,) = self.status(told)["claims"]
        self.assertEqual(("delivered", 0, 0), tuple(claim[n] for n in ("state", "handed_out", "acknowledged")))

    def test_purged(self) -> None:
        """That the bytes are deleted is no state of its own for an owner."""
        told = self.leave(b"content")
        self.ask("DELETE", told["path"], self.bearer(told))
        status = self.status(told)
        self.assertEqual(("gone", "revoked"), (status["state"], status["reason"]))
        self.assertEqual("2023-11-14T22:13:20Z", status["gone_at"])

    def test_no_secrets(self) -> None:
        """Neither a claim's token nor what it is made of is told, nor where anybody is."""
        told = self.leave(bytes(SIZE), downloads="2")
        self.slow(told, 200_000).reset()
        self.ask("GET", told["path"], {"User-Agent": "program"}, client=ELSEWHERE)
        text = json.dumps(self.status(told))
        for claim in self._claims(told):
            for secret in (claim.id, claim_token(self._link(told), claim.id).text, (claim.recipient or b"").hex()):
                self.assertNotIn(secret, text)
        for secret in (told["owner_token"], "192.0.2", "program"):
            self.assertNotIn(secret, text)
        self.assertEqual({told["id"], told["sha256"]}, set(re.findall(r"[0-9a-f]{32,}", text)))

    def _link(self, told: Mapping[str, Any]) -> Any:
        return Token.parse(told["id"])

    def _claims(self, told: Mapping[str, Any]) -> Any:
        ledger = result_of(self.core.kept.ledger(self._link(told).key))
        return () if ledger is None else ledger.claims


class StreamTests(StatusesTestCase):
    """GET …/status with Accept: text/event-stream."""

    def setUp(self) -> None:
        super().setUp()
        self.told = self.leave(bytes(SIZE))

    def watch(self, method: str = "GET") -> Wire:
        """Begin to watch."""
        wire = Wire(self.factory)
        headers = self.bearer(self.told) | {"Accept": EVENT_STREAM}
        wire.send(request(method, f"{self.told['path']}/status", headers))
        return wire

    def said(self, wire: Wire) -> list[dict[str, Any]]:
        """Return the statuses that came, each of which is a well-formed event."""
        (answer,) = wire.responses("GET")
        *blocks, rest = answer.body.decode().split("\n\n")
        self.assertEqual("", rest)
        statuses = []
        for block in blocks:
            if block.startswith(":"):
                continue
            name, number, data = block.split("\n")
            self.assertEqual("event: status", name)
            self.assertRegex(number, r"\Aid: \d+\Z")
            statuses.append(json.loads(data.removeprefix("data: ")))
        return statuses

    def comments(self, wire: Wire) -> int:
        """Return how many comments came."""
        return wire.responses("GET")[0].body.decode().split("\n\n").count(":")

    def test_at_once(self) -> None:
        """The status comes at once, as without Accept, on an answer that stays."""
        wire = self.watch()
        (answer,) = wire.responses("GET")
        self.assertEqual((200, EVENT_STREAM, False), (answer.status, answer.header("Content-Type"), answer.complete))
        self.assertEqual(("no-store", "no"), (answer.header("Cache-Control"), answer.header("X-Accel-Buffering")))
        self.assertEqual([self.status(self.told)], self.said(wire))

    def test_each_change(self) -> None:
        """And again whenever something happens, until the drop is finished; then the answer ends."""
        wire = self.watch()
        self.ask("GET", self.told["path"], {"Accept": "text/html"})
        self.ask("GET", self.told["path"])
        happened = [[event["event"] for event in status["events"]] for status in self.said(wire)]
        self.assertEqual([], happened[0])
        self.assertEqual(["opened"], happened[1])
        self.assertEqual(["opened", "claimed", "delivered"], happened[-1])
        self.assertTrue(wire.responses("GET")[0].complete)
        self.assertEqual(("gone", "delivered"), tuple(self.said(wire)[-1][name] for name in ("state", "reason")))

    def test_progress(self) -> None:
        """While something is sent the status comes once a second, with how far it is."""
        wire = self.watch()
        slow = self.slow(self.told, 100_000)
        before = len(self.said(wire))
        slow.take(50_000)
        self.assertEqual(before, len(self.said(wire)))
        wire.advance(PROGRESS)
        statuses = self.said(wire)
        self.assertEqual(before + 1, len(statuses))
        self.assertEqual(self.status(self.told), statuses[-1])
        self.assertLess(140_000, statuses[-1]["claims"][0]["acknowledged"])

    def test_keep_alive(self) -> None:
        """Where nothing happens a comment comes every 15 seconds, and no status."""
        wire = self.watch()
        self.assertEqual(15, KEEP_ALIVE)
        wire.advance(KEEP_ALIVE - 0.1)
        self.assertEqual(0, self.comments(wire))
        wire.advance(0.1)
        self.assertEqual((1, 1), (self.comments(wire), len(self.said(wire))))
        wire.advance(5 * KEEP_ALIVE)
        self.assertEqual((6, 1), (self.comments(wire), len(self.said(wire))))

    def test_time(self) -> None:
        """What time brings is told, too."""
        wire = self.watch()
        self.core.elapse(7 * 86_400)
        self.assertEqual(("gone", "expired"), tuple(self.said(wire)[-1][name] for name in ("state", "reason")))
        self.assertTrue(wire.responses("GET")[0].complete)

    def test_kept_for_somebody(self) -> None:
        """As long as its recipient may come back it is not finished."""
        wire = self.watch()
        download = Wire(self.factory)
        download.send(request("GET", self.told["path"]))
        download.advance(2)
        self.assertFalse(wire.responses("GET")[0].complete)
        self.assertEqual("gone", self.said(wire)[-1]["state"])
        download.close()
        self.assertTrue(wire.responses("GET")[0].complete)
        self.assertEqual("delivered", self.said(wire)[-1]["claims"][0]["state"])

    def test_finished(self) -> None:
        """Of a drop that is finished the status comes once."""
        self.ask("GET", self.told["path"])
        wire = self.watch()
        self.assertEqual((1, True), (len(self.said(wire)), wire.responses("GET")[0].complete))

    def test_several(self) -> None:
        """Any number may watch, one drop or several, and each is told of his own alone."""
        wires = [self.watch() for _ in range(3)]
        ours, self.told = self.told, self.leave(b"other")
        other = self.watch()
        self.ask("GET", ours["path"])
        self.assertEqual([True] * 3, [wire.responses("GET")[0].complete for wire in wires])
        self.assertEqual(1, len(self.said(other)))

    def test_leaves(self) -> None:
        """Of whoever leaves nothing stays."""
        wires = [self.watch() for _ in range(2)]
        self.assertEqual(2, len(self.core.drops._standings.watches))
        wires[0].reset()
        self.assertEqual(1, len(self.core.drops._standings.watches))
        wires[1].reset()
        self.assertEqual(0, len(self.core.drops._standings.watches))

    def test_dismissed(self) -> None:
        """When the daemon stops, the answer ends, and so does one that begins then."""
        wire = self.watch()
        self.core.drops.dismiss()
        wire.run()
        self.assertTrue(wire.responses("GET")[0].complete)
        late = self.watch()
        self.assertEqual((1, True), (len(self.said(late)), late.responses("GET")[0].complete))

    def test_stop(self) -> None:
        """Who watches does not keep the daemon from stopping."""
        wire = self.watch()
        self.core.drops.dismiss()
        drained = Deferred.fromCoroutine(self.factory.drain(10))
        wire.run()
        self.assertEqual(0, self.successResultOf(drained))

    def test_slow_reader(self) -> None:
        """Who does not read is told the last state when he does, and is not written to without end."""
        wire = self.watch()
        wire.stop_reading()
        for _ in range(300):
            self.ask("GET", self.told["path"], {"Accept": "text/html"})
        self.assertLess(wire.unsent, 300_000)
        wire.read_on()
        wire.run()
        self.assertEqual(300, len(self.said(wire)[-1]["events"]))

    def test_refused(self) -> None:
        """Without the owner's token nothing is told; errors are as ever."""
        for headers in ({}, {"Authorization": "Bearer " + "0" * 32}, {"Authorization": f"Bearer {self.told['id']}"}):
            answer = self.ask("GET", f"{self.told['path']}/status", {"Accept": EVENT_STREAM, **headers})
            self.assertProblem(401, "Unauthorized", answer)
        never = self.ask("GET", f"{FILE}/{'0' * 32}/status", {"Accept": EVENT_STREAM} | self.bearer(self.told))
        self.assertProblem(404, "Not Found", never)

    def test_head(self) -> None:
        """HEAD is answered at once, whatever it accepts."""
        (answer,) = self.watch("HEAD").responses("HEAD")
        self.assertEqual((200, "application/json", b""), (answer.status, answer.header("Content-Type"), answer.body))

    def test_no_secrets(self) -> None:
        """No claim's token is told, nor what it is made of."""
        wire = self.watch()
        token = self.ask("GET", self.told["path"]).header("Filedrop-Claim") or ""
        body = wire.responses("GET")[0].body.decode()
        self.assertNotIn(token, body)
        self.assertEqual({self.told["id"], self.told["sha256"]}, set(re.findall(r"[0-9a-f]{32,}", body)))
