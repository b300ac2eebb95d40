"""nginx's delivery: handed over once it is reserved, and what becomes of it is what the log says."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, cast

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.http_headers import Headers

from filedropd.claims.asking import Granted, Wish, ask
from filedropd.claims.asking import Recipient as Asking
from filedropd.claims.ledger import Ledger
from filedropd.claims.policy import Policy
from filedropd.delivery.accel import PATIENCE, SLOWEST, UNTAKEN, AccelDelivery, outcome
from filedropd.delivery.nginx_log import NginxLog
from filedropd.delivery.nginx_trail import Line
from filedropd.delivery.stream import StreamDelivery
from filedropd.errors import ClientGone
from filedropd.http.fronting import redirect, sends_alike
from filedropd.http.request import Request
from filedropd.http.settling import Settlement
from filedropd.interfaces import Fronted, Handing, IDelivery, StillSending, StoreUnusable
from filedropd.model import NOTHING_SENT, ClaimState, DropState, Outcome, Transfer
from filedropd.transfers import Sending, Transfers
from tests.contracts.delivery import SIZE, DeliveryContract, content
from tests.support import CoreTestCase, Recipient

ID = "1" * 32
BLOB = "ab" * 16
TAKEN = Settlement(acknowledged=0, sent=0, begun=True, complete=True)


class Front(Recipient):
    """A recipient behind a server that sends files.

    :ivar uris: what it was told to send.
    """

    def __init__(self, *, fronted: bool = True) -> None:
        super().__init__()
        self.fronted = fronted
        self.uris: list[str] = []
        self.takes: Settlement | Exception = TAKEN
        self.taking: Deferred[None] | None = None

    async def hand_over(self, uri: str) -> Settlement:
        """See Fronted."""
        self.uris.append(uri)
        if self.taking is not None:
            await self.taking
        if isinstance(self.takes, Exception):
            raise self.takes
        return self.takes


class Told:
    """Stands for nginx's log."""

    def __init__(self) -> None:
        self.expecting: dict[str, Any] = {}
        self.lines: dict[str, Line] = {}
        self.journal: list[str] = []
        self.fault: OSError | None = None

    async def open(self) -> None:
        """See NginxLog."""
        self.journal.append("open")
        if self.fault is not None:
            raise self.fault

    async def close(self) -> None:
        """See NginxLog."""
        self.journal.append("close")

    def expect(self, transfer: str, told: Any) -> None:
        """See NginxLog."""
        self.expecting[transfer] = told

    def forget(self, transfer: str) -> None:
        """See NginxLog."""
        self.expecting.pop(transfer, None)

    def leave(self, transfer: str) -> None:
        """See NginxLog."""
        self.journal.append(f"leave {transfer}")

    async def replay(self, wanted: Container[str]) -> dict[str, Line]:
        """See NginxLog."""
        self.journal.append("replay")
        return {transfer: line for transfer, line in self.lines.items() if transfer in wanted}

    def follow(self) -> None:
        """See NginxLog."""
        self.journal.append("follow")


def line(**values: Any) -> Line:
    """Return a line, which says that all is well unless said otherwise."""
    return attrs.evolve(Line(transfer=ID, status=200, sent=SIZE, complete=True), **values)


class OutcomeTests(SynchronousTestCase):
    """What a line says."""

    def test_lines(self):
        """Only all of what was asked for, and OK, is complete; what was sent at most stays handed out."""
        whole, part = (0, 100, 100), (10, 20, 100)
        arrived = Outcome(acknowledged=20, sent=20, complete=True)
        for told, asked, expected in (
            (line(sent=100), whole, Outcome(acknowledged=100, sent=100, complete=True)),
            (line(sent=99), whole, Outcome(acknowledged=0, sent=99, complete=False)),
            (line(sent=100, complete=False), whole, Outcome(acknowledged=0, sent=100, complete=False)),
            (line(sent=5, complete=False), whole, Outcome(acknowledged=0, sent=5, complete=False)),
            (line(sent=0, complete=False), whole, Outcome(acknowledged=0, sent=0, complete=False)),
            (line(sent=109), whole, Outcome(acknowledged=100, sent=100, complete=True)),
            (line(sent=0), (0, 0, 0), Outcome(acknowledged=0, sent=0, complete=True)),
            (line(status=206, sent=20, content_range="bytes 10-29/100"), part, arrived),
            (line(status=206, sent=100, content_range="bytes 0-99/100"), whole, attrs.evolve(arrived, acknowledged=100, sent=100)),
            (line(status=404, sent=150), whole, NOTHING_SENT),
            (line(status=412, sent=150), part, NOTHING_SENT),
            (line(status=500, sent=0, complete=False), whole, NOTHING_SENT),
        ):  # fmt: skip
            self.assertEqual(expected, outcome(told, *asked), told)

    def test_other_bytes(self):
        """Other bytes than were asked for confirm nothing and set nothing back."""
        unknown = Outcome(acknowledged=0, sent=20, complete=False)
        for told in (
            line(sent=100),
            line(sent=20),
            line(status=206, sent=20, content_range="bytes 10-28/100"),
            line(status=206, sent=20, content_range=None),
        ):
            self.assertEqual(unknown, outcome(told, 10, 20, 100), told)


class HandingTests(SynchronousTestCase):
    """A transfer that is handed over."""

    def setUp(self) -> None:
        self.front = Front()
        self.reservations: list[int | None] = []

    async def reserve(self, whole: bool) -> Transfer | None:
        """Reserve more, or not."""
        self.assertEqual(whole, len(self.front.received) == 0)
        reserved = self.reservations.pop(0)
        return None if reserved is None else self.transfer(reserved)

    def transfer(self, reserved: int) -> Transfer:
        """Return one of 100 bytes."""
        return Transfer(id=ID, claim="c", first=0, length=100, reserved=reserved)

    def sending(self, reserved: int = 100, blob: str = BLOB) -> Sending:
        """Return it, as far as it is reserved."""
        return Sending(self.transfer(reserved), self.front, self.reserve, blob)

    def reserved(self, sending: Sending) -> bool:
        """Tell whether all of it could be reserved."""
        return bool(self.successResultOf(Deferred.fromCoroutine(sending.reserve_all())))

    def test_ports(self):
        """It is what a delivery asks for, and a recipient without a server in front is not."""
        self.assertIsInstance(self.sending(), Handing)
        self.assertIsInstance(self.front, Fronted)
        self.assertNotIsInstance(Recipient(), Fronted)

    def test_reserve_all(self):
        """All of it is reserved, at once, before anybody else sends it."""
        self.reservations = [100]
        self.assertTrue(self.reserved(self.sending(10)))
        self.assertEqual([], self.reservations)

    def test_not_all(self):
        """Where another transfer has a part of it, it is not handed over; what is reserved can be sent all the same."""
        self.reservations = [50, None]
        sending = self.sending(10)
        self.assertFalse(self.reserved(sending))
        sent = Deferred.fromCoroutine(sending.send(bytes(100)))
        self.failureResultOf(sent, ClientGone)
        self.assertEqual(50, len(self.front.received))

    def test_nobody(self):
        """Where there is nobody who could send it, nothing more is reserved."""
        self.assertFalse(self.reserved(self.sending(10, blob="")))
        self.front.fronted = False
        self.assertFalse(self.reserved(self.sending(10)))

    def test_given(self):
        """Once it is handed over all of it counts as sent, whatever is learnt."""
        sending = self.sending()
        self.successResultOf(Deferred.fromCoroutine(sending.hand_over("/uri")))
        self.assertEqual(Outcome(acknowledged=0, sent=100, complete=False), sending.given)
        self.assertTrue(sending.awaited)

    def test_gone(self):
        """To a server that has left nothing was sent."""
        self.front.takes = ClientGone()
        sending = self.sending()
        self.failureResultOf(Deferred.fromCoroutine(sending.hand_over("/uri")), ClientGone)
        self.assertEqual(NOTHING_SENT, sending.given)

    def test_aborted(self):
        """Aborted, whoever waits is told, once; the connection, which serves others by now, is left alone."""
        sending, told = self.sending(), []
        sending.when_aborted(lambda: told.append(1))
        self.successResultOf(Deferred.fromCoroutine(sending.hand_over("/uri")))
        sending.abort()
        sending.abort()
        self.assertEqual(([1], False), (told, self.front.aborted))

    def test_ids(self):
        """Those are listed whose end is not written down."""
        transfers, sending = Transfers(), self.sending()
        transfers.add(b"k", sending)
        self.assertEqual({ID}, transfers.ids())
        transfers.remove(b"k", sending)
        self.assertEqual(frozenset(), transfers.ids())


class AccelDeliveryContractTests(DeliveryContract, TestCase):
    """The contract, for recipients whom nginx does not serve."""

    async def make(self) -> IDelivery:
        return AccelDelivery(cast(NginxLog, Told()), Clock(), StreamDelivery())


class AccelDeliveryTests(CoreTestCase):
    """Delivery by nginx."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.log = Told()
        self.front = Front()
        self.delivery = AccelDelivery(cast(NginxLog, self.log), self.clock, StreamDelivery())

    async def none(self, _: bool) -> Transfer | None:
        """Reserve nothing more."""
        return None

    def deliver(self, first: int = 0, length: int = SIZE) -> Deferred[Outcome]:
        """Begin to hand over."""
        transfer = Transfer(id=ID, claim="c", first=first, length=length, reserved=length)
        self.sending = Sending(transfer, self.front, self.none, BLOB)
        return Deferred.fromCoroutine(self._deliver(first, length))

    async def _deliver(self, first: int, length: int) -> Outcome:
        blob = await DeliveryContract.blob(cast(DeliveryContract, self), content())
        try:
            return await self.delivery.deliver(blob, first, length, self.sending)
        finally:
            blob.close()

    def tell(self, **values: Any) -> None:
        """Have nginx write a line."""
        self.log.expecting[ID](line(**values))

    def test_redirect(self):
        """nginx is told the file and the transfer; the daemon sends nothing."""
        self.deliver()
        self.assertEqual([f"/_blobs/ab/{BLOB}?claim={ID}"], self.front.uris)
        self.assertEqual(b"", bytes(self.front.received))

    def test_confirmed(self):
        """It ends when the line comes, and not before; nobody waits for it afterwards."""
        delivered = self.deliver()
        self.assertNoResult(delivered)
        self.tell()
        self.assertEqual(Outcome(acknowledged=SIZE, sent=SIZE, complete=True), self.successResultOf(delivered))
        self.assertEqual(({}, []), (self.log.expecting, self.clock.getDelayedCalls()))

    def test_range(self):
        """A range is confirmed by a line about this range."""
        delivered = self.deliver(10, 20)
        self.tell(status=206, sent=20, content_range=f"bytes 10-29/{SIZE}")
        self.assertEqual(Outcome(acknowledged=20, sent=20, complete=True), self.successResultOf(delivered))

    def test_broken(self):
        """A line that is not OK sets back what nginx has not sent."""
        delivered = self.deliver()
        self.tell(sent=99, complete=False)
        self.assertEqual(Outcome(acknowledged=0, sent=99, complete=False), self.successResultOf(delivered))

    def test_no_line(self):
        """Without a line nothing is set back, once a download as slow as any would be over."""
        delivered = self.deliver()
        self.clock.advance(PATIENCE + SIZE / SLOWEST - 1)
        self.assertNoResult(delivered)
        self.clock.advance(1)
        self.assertEqual(Outcome(acknowledged=0, sent=SIZE, complete=False), self.successResultOf(delivered))
        self.assertEqual({}, self.log.expecting)

    def test_aborted(self):
        """Superseded or taken back, it ends at once, and nothing is set back: nginx goes on."""
        delivered = self.deliver()
        self.sending.abort()
        self.assertEqual(Outcome(acknowledged=0, sent=SIZE, complete=False), self.successResultOf(delivered))

    def test_cancelled(self):
        """Cancelled, it ends at once, and what it gave is all."""
        delivered = self.deliver()
        delivered.cancel()
        self.failureResultOf(delivered, CancelledError)
        self.assertEqual(SIZE, self.sending.given.sent)
        self.assertEqual(({}, []), (self.log.expecting, self.clock.getDelayedCalls()))

    def test_stopped(self):
        """When the daemon stops, it is left as it is; a line that has come counts."""
        delivered = self.deliver()
        self.delivery.stop()
        self.failureResultOf(delivered, StillSending)
        self.assertEqual([f"leave {ID}"], self.log.journal)
        self.assertEqual(({}, []), (self.log.expecting, self.clock.getDelayedCalls()))

    def test_gone(self):
        """Where nginx had left before it was answered, nothing was sent."""
        self.front.takes = ClientGone()
        self.assertEqual(NOTHING_SENT, self.successResultOf(self.deliver()))
        self.front.takes = attrs.evolve(TAKEN, begun=False, complete=False)
        self.assertEqual(NOTHING_SENT, self.successResultOf(self.deliver()))
        self.assertEqual({}, self.log.expecting)

    def test_line_first(self):
        """What becomes of the file is not waited for any longer because of the answer that led to it."""
        self.front.taking = Deferred()
        delivered = self.deliver()
        self.tell()
        self.assertTrue(self.successResultOf(delivered).complete)
        self.front.takes = attrs.evolve(TAKEN, complete=False)
        self.front.taking.callback(None)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_fault(self):
        """Of an answer that failed in another way nothing is known, and nothing set back."""
        self.front.takes = RuntimeError("a fault of ours")
        self.assertEqual(SIZE, self.successResultOf(self.deliver()).sent)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_untaken(self):
        """Where nginx seems not to have read the answer, a line is not waited for as long; nothing is set back."""
        self.front.takes = attrs.evolve(TAKEN, complete=False)
        delivered = self.deliver()
        self.clock.advance(UNTAKEN)
        self.assertEqual(SIZE, self.successResultOf(delivered).sent)

    def test_streamed(self):
        """Whom nginx does not serve, and what it would read otherwise, is sent by the daemon."""
        self.front.fronted = False
        delivered = self.deliver()
        self.assertEqual(Outcome(acknowledged=SIZE, sent=SIZE, complete=True), self.successResultOf(delivered))
        self.assertEqual(([], content()), (self.front.uris, bytes(self.front.received)))


class RecoveryTests(CoreTestCase):
    """After a restart."""

    def setUp(self) -> None:
        super().setUp()
        self.log = Told()
        self.delivery = AccelDelivery(cast(NginxLog, self.log), Clock(), StreamDelivery())
        self.receipt = self.done(self.core.upload(bytes(100)))

    def cut_off(self) -> str:
        """Have a transfer of all of it in the records, and nobody who runs it; return its id."""
        wish = Wish(
            recipient=Asking(link=self.receipt.link, source="somebody"),
            claim="c" * 32,
            transfer=ID,
            first=0,
            length=100,
        )

        def rule(ledger: Ledger, now: float, policy: Policy) -> tuple[Ledger, object]:
            return ask(ledger, wish, {}, now, policy)

        self.assertIsInstance(self.done(self.core.ledgers.change(self.receipt.drop.key, rule)), Granted)
        return ID

    def recover(self) -> None:
        """Do what a start does."""
        self.done(self.delivery.recover(self.core.kept, self.core.ledgers))
        self.done(self.core.reaper.recover())

    def test_confirmed(self):
        """What nginx has sent to its end meanwhile is delivered."""
        self.log.lines[self.cut_off()] = line(sent=100)
        self.recover()
        self.assertEqual([ClaimState.DELIVERED], [claim.state for claim in self.core.claims(self.receipt)])
        self.assertIs(DropState.GONE, self.core.row(self.receipt).state)

    def test_broken(self):
        """What broke off is set back to what nginx has sent."""
        self.log.lines[self.cut_off()] = line(sent=60, complete=False)
        self.recover()
        (claim,) = self.core.claims(self.receipt)
        self.assertEqual((ClaimState.SUSPENDED, ((0, 60),)), (claim.state, claim.handed))

    def test_nothing(self):
        """Of what nothing was written all is presumed to have left."""
        self.cut_off()
        self.log.lines["2" * 32] = line(transfer="2" * 32)
        self.recover()
        (claim,) = self.core.claims(self.receipt)
        self.assertEqual((ClaimState.SUSPENDED, ((0, 100),)), (claim.state, claim.handed))

    def test_order(self):
        """The log is followed when all that it said is written down."""
        self.recover()
        self.done(self.delivery.close())
        self.assertEqual(["open", "replay", "follow", "close"], self.log.journal)

    def test_unreadable(self):
        """Without the log it does not start, and says why."""
        self.log.fault = PermissionError(13, "Permission denied", "nginx.log")
        error = self.refused(StoreUnusable, self.delivery.recover(self.core.kept, self.core.ledgers))
        self.assertIn("Permission denied: 'nginx.log'", str(error))


class Answer:
    """As much of a request as a redirect changes."""

    def __init__(self) -> None:
        self.code = 206
        self.responseHeaders = Headers({"Content-Length": ["5"], "Content-Range": ["bytes 0-4/9"], "ETag": ['"a"']})
        self.responseHeaders.setRawHeaders("Accept-Ranges", ["bytes"])

    def setResponseCode(self, code: int) -> None:
        """See Request."""
        self.code = code

    def setHeader(self, name: str, value: str) -> None:
        """See Request."""
        self.responseHeaders.setRawHeaders(name, [value])


class FrontingTests(SynchronousTestCase):
    """Which requests nginx may answer, and how it is told to."""

    def test_redirect(self):
        """The head says where the file is, and nothing of the range: that is for nginx to say."""
        answer = Answer()
        redirect(cast(Request, answer), "/uri")
        expected = {b"Content-Length": [b"0"], b"ETag": [b'"a"'], b"X-Accel-Redirect": [b"/uri"]}
        self.assertEqual((200, expected), (answer.code, dict(answer.responseHeaders.getAllRawHeaders())))

    def fields(self, *more: tuple[str, str]) -> Headers:
        """Return the fields of a request by nginx."""
        headers = Headers()
        for name, value in (("X-Sendfile-Type", "X-Accel-Redirect"), *more):
            headers.addRawHeader(name, value)
        return headers

    def test_alike(self):
        """Those that it reads as we do."""
        self.assertTrue(sends_alike(self.fields(), 200))
        for text in ("bytes=0-0", "bytes=1-", "bytes=-1", "bytes=0-999999999999999999"):
            self.assertTrue(sends_alike(self.fields(("Range", text)), 206), text)
        self.assertTrue(sends_alike(self.fields(("Range", "bytes=0-"), ("If-Range", '"a"')), 206))

    def test_unlike(self):
        """Those that it might read otherwise, or does not know of."""
        self.assertFalse(sends_alike(Headers(), 200))
        self.assertFalse(sends_alike(self.fields(("X-Sendfile-Type", "X-Accel-Redirect")), 200))
        for text in ("bytes =0-0", "Bytes=0-0", "bytes=0-0,", "bytes=0-9999999999999999999", "bytes=\u0661-"):
            self.assertFalse(sends_alike(self.fields(("Range", text)), 206), text)
        for code in (200, 206):
            self.assertFalse(sends_alike(self.fields(("Range", "bytes=0-"), ("Range", "bytes=1-")), code))
            self.assertFalse(sends_alike(self.fields(("Range", "bytes=1-"), ("If-Match", "*")), code))
        self.assertFalse(sends_alike(self.fields(), 206))
        self.assertFalse(sends_alike(self.fields(("Range", "bytes=0-5")), 200))
        self.assertFalse(sends_alike(self.fields(("If-Unmodified-Since", "x")), 200))
        twice = (("Range", "bytes=0-"), ("If-Range", '"a"'), ("If-Range", '"b"'))
        self.assertFalse(sends_alike(self.fields(*twice), 206))
