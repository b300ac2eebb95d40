"""Bad bodies, and clients that do not keep to them, sent to the whole API."""

from __future__ import annotations

from filedropd.errors import InsufficientStorage
from filedropd.http.request import Request
from filedropd.model import ClaimState
from filedropd.testing import Wire, request
from tests.api import BOUNDARY, ELSEWHERE, FILE, file_part, form
from tests.bad_inputs import BadInputTestCase, line, put, seen
from tests.support import LIMIT, result_of
from tests.test_http_framing import BROKEN
from tests.wired import split

CHUNKED = b"Transfer-Encoding: chunked"
FORM = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n".encode()


def chunks(body: bytes) -> bytes:
    """Return a PUT with this after its head, as a chunked body."""
    return put(CHUNKED, body)


class ChunkTests(BadInputTestCase):
    """Rows 63 to 75: the chunked coding."""

    def test_refused(self) -> None:
        """A body whose end cannot be trusted is refused, nothing of it is kept, and nothing follows."""
        for number, body, status in BROKEN:
            data = chunks(body)
            self.see(number, data, f"{status} closed")
            self.see(f"{number}, a form", data.replace(CHUNKED, FORM + CHUNKED), f"{status} closed")
        self.check()
        self.assertLogIsClean()

    def test_legal(self) -> None:
        """What is legal and dropped, extensions and trailer fields, stays legal."""
        self.see("69, short", chunks(b'5;a="b";c\r\nhello\r\n0;x\r\n\r\n'), "201 stays")
        self.see("72, another", chunks(b"5\r\nhello\r\n0\r\nX-Checksum: 5\r\n\r\n"), "201 stays")
        self.check()

    def test_tiny(self) -> None:
        """Row 75: a million chunks of a byte are refused when they have cost 64 KiB, and a few are not."""
        many = b"1\r\nx\r\n" * 1_000_000
        wire = Wire(self.factory)
        wire.send(put(CHUNKED, b""), *split(many, 65_536))
        wire.advance(2)
        self.note("75", "1,000,000 chunks of 1 byte", "400 closed", seen(wire.responses(), wire.closed, []))
        few = b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n"
        self.note("75, ten thousand", "10,000 chunks of 1 byte", "201 stays", self.sent(put(CHUNKED, few)))
        self.check()

    def test_tiny_refused_early(self) -> None:
        """Row 75: no more than a fiftieth of it is read for a body."""
        wire = Wire(self.factory)
        wire.send(put(CHUNKED, b""))
        sent = 0
        while not wire.responses():
            wire.send(b"1\r\nx\r\n" * 100)
            sent += 100
        self.assertLess(sent, 20_000)


class LengthTests(BadInputTestCase):
    """Rows 76 to 83: bodies that are not as long as they should be, or should not be there."""

    def cut(self, *pieces: bytes) -> str:
        """Send what is not a whole request, then FIN; return what came of it a second later."""
        before = self.kept
        wire = Wire(self.factory)
        wire.send(*pieces)
        wire.close()
        wire.advance(1)
        return seen(wire.responses(), wire.closed, self.leftovers(before, wire.responses()))

    def test_short(self) -> None:
        """Row 76: a body that ends before its length leaves nothing, however it was sent."""
        whole = form(file_part(b"x" * 1000))
        for number, data in [
            ("76", put(b"Content-Length: 100", b"x" * 50)),
            ("76, nothing", put(b"Content-Length: 100", b"")),
            ("76, large", put(b"Content-Length: 900000", b"x" * 800_000)),
            ("76, chunks", put(CHUNKED, b"64\r\nxxxx")),
            ("76, without the last chunk", put(CHUNKED, b"1\r\nx\r\n")),
            ("76, a form", put(FORM + b"Content-Length: %d" % len(whole), whole[:-20], FILE.encode())),
        ]:
            self.note(number, data, "400 closed", self.cut(data))
        self.check()

    def test_reset(self) -> None:
        """Row 76: the same where the connection is reset."""
        wire = Wire(self.factory)
        wire.send(put(b"Content-Length: 100", b"x" * 50))
        wire.reset()
        wire.advance(1)
        self.assertTrue(wire.closed)
        self.assertNothingKept()

    def test_long(self) -> None:
        """Row 77: what comes behind a body's length is the next request, and this is none."""
        self.see("77", put(b"Content-Length: 100", b"a" * 150), "201, 400 closed", requests=1)
        self.see("77, a form", self._padded(b"a" * 50), "201, 400 closed", requests=1)
        self.check()

    def _padded(self, behind: bytes) -> bytes:
        whole = form(file_part())
        return put(FORM + b"Content-Length: %d" % len(whole), whole + behind, FILE.encode())

    def test_refused_path(self) -> None:
        """Row 78: the body of a request that is refused is not read as requests, and it is the last."""
        victim = self.leave()
        inner = request("GET", victim["path"])
        length = b"Content-Length: %d" % len(inner)
        for target, status in [(b"/a%2fb", 400), (b"/nowhere/x", 404), (FILE.encode() + b"/" + b"a" * 32, 405)]:
            self.see(f"78, {status}", put(length, inner, target), f"{status} closed")
            apart = self.sent(put(length, b"", target), inner)
            self.note(f"78, {status}, apart", put(length, inner, target), f"{status} closed", apart)
        (drop,) = self.core.rows()
        self.note("78, then", "the victim's claims", "0", str(drop.opened))
        self.note("78, then", "GET {the victim's link}", "200", self.sent(inner))
        self.check()

    def test_no_invitation(self) -> None:
        """Row 80: who asks before sending what is refused is told at once, and not told to send."""
        expects = b"Expect: 100-continue\r\nContent-Length: "
        self.see("80, too large", put(expects + b"17825792", b""), "413 closed")
        self.see("80, too large a form", put(FORM + expects + b"17825792", b"", FILE.encode()), "413 closed")
        self.see("80, nowhere", put(expects + b"5", b"", b"/nowhere/x"), "404 closed")
        self.see("80, a bad option", put(b"Filedrop-Expires: banana\r\n" + expects + b"5", b""), "400 closed")
        for _ in range(2):
            self.core.stored.faults.add("receive", InsufficientStorage())
        self.note("80, no room", "Expect: 100-continue", "507 closed", self.sent(put(expects + b"5", b"")))
        self.check()

    def test_invited(self) -> None:
        """Whoever asks before sending what is taken is told to send."""
        sent = put(b"Expect: 100-continue\r\nContent-Length: 5", b"")
        self.note("80, taken", sent, "100, 201 stays", self.sent(sent, b"hello"))
        self.check()

    def test_odd(self) -> None:
        """Rows 81 and 82: codings are not undone, and how long a body is must be said."""
        self.see("81", put(b"Content-Encoding: gzip\r\nContent-Length: 5", b"hello"), "415")
        self.see("81, a form", put(FORM + b"Content-Encoding: gzip\r\nContent-Length: 5", b"hello"), "415")
        self.see("82", line(b"POST " + FILE.encode() + b" HTTP/1.1"), "411")
        self.see("82, a form", line(b"POST " + FILE.encode() + b" HTTP/1.1\r\n" + FORM[:-2]), "411")
        self.see("82, PUT", line(b"PUT /x HTTP/1.1"), "411")
        self.check()

    def test_get_with_a_body(self) -> None:
        """Row 83: a body that nobody asked for is dropped, and the next request is the next request."""
        path = self.leave()["path"].encode()
        for number, target, then in (("83", b"/healthz", "200, 200 stays"), ("83, a file", path, "200, 410 stays")):
            sent = b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
            behind = line(b"GET " + target + b" HTTP/1.1")
            self.note(number, sent, then, self.sent(sent + behind, requests=2))
        head = b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
        self.note("83, apart", head, "200 closed", self.sent(head, b"hello" + line(b"GET /healthz HTTP/1.1")))
        self.check()

    def test_large(self) -> None:
        """What is declared too large is refused before it is sent, and what turns out to be, when it does."""
        declared = put(b"Content-Length: 17825792", b"")
        self.see("17 MiB", declared, "413 closed")
        self.see("17 MiB, a form", declared.replace(b"Content-", FORM + b"Content-"), "413 closed")
        over = b"%x\r\n" % (LIMIT + 1) + bytes(LIMIT + 1) + b"\r\n0\r\n\r\n"
        self.note(
            "too large, chunked", "Transfer-Encoding: chunked", "413", self.sent(*split(put(CHUNKED, over), 65_536))
        )
        self.check()


class SlowTests(BadInputTestCase):
    """Rows 84 to 86: clients that dawdle, take nothing, or ask for everything at once."""

    def drip(self, begun: bytes) -> tuple[float, str]:
        """Send ``begun``, then a byte every five seconds; return when an answer came, and what then."""
        began = self.core.clock.seconds()
        wire = Wire(self.factory)
        wire.send(begun)
        while not wire.half_closed and self.core.clock.seconds() - began < 120:
            for _ in range(10):
                if not wire.half_closed:
                    wire.advance(0.5)
            if not wire.half_closed:
                wire.send(b"x")
        took = self.core.clock.seconds() - began
        wire.advance(2)
        return took, seen(wire.responses(), wire.closed, self.leftovers(0, wire.responses()))

    def test_drip(self) -> None:
        """Row 84: a head has ten seconds, and a body thirty for each thirty kilobytes."""
        for number, begun, expected in [
            ("84, head", b"GET / HTTP/1.1\r\nX: ", "408 closed after 10 s"),
            ("84, request line", b"G", "408 closed after 10 s"),
            ("84, body", put(b"Content-Length: 1000", b""), "408 closed after 30 s"),
            ("84, chunks", put(CHUNKED, b"ffff\r\n"), "408 closed after 30 s"),
        ]:
            took, told = self.drip(begun)
            self.note(number, begun, expected, f"{told} after {took:g} s")
        self.check()

    def test_takes_nothing(self) -> None:
        """Row 85: a reader that takes nothing is broken off after a minute, and then has a window to come back in."""
        path = self.leave(bytes(900_000))["path"]
        wire = Wire(self.factory)
        wire.stop_reading()
        wire.send(request("GET", path))
        wire.advance(59)
        early = wire.closed
        wire.advance(17)
        ledger = result_of(self.core.kept.ledger(self.core.rows()[0].key))
        (claim,) = ledger.claims if ledger else ()
        told = f"closed by 59 s: {early}; by 76 s: {wire.closed}, reset: {wire.was_reset}; claim {claim.state.value}"
        expected = f"closed by 59 s: False; by 76 s: True, reset: True; claim {ClaimState.SUSPENDED.value}"
        self.note("85", "GET, and nothing is taken", expected, told)
        self.note("85, then", "GET by another", "423", str(self.ask("GET", path, client=ELSEWHERE).status))
        self.note("85, then", "GET by the same", "200", self.sent(request("GET", path)))
        self.check()

    def test_pipelined(self) -> None:
        """Row 86: of a hundred requests for one link in one go the first gets it, and the others come in order."""
        path = self.leave()["path"]
        expected = ", ".join(["200", *["410"] * 99]) + " stays"
        self.note("86", "100 × GET {link}", expected, self.sent(request("GET", path) * 100, requests=100))
        self.assertEqual([b"GET " + path.encode()] * 100, self.answered[-100:])
        self.check()

    def test_turns(self) -> None:
        """Behind each of many requests in one go, others have their turn."""
        other, answered = Wire(self.factory), self.factory.answered

        def ask_after_the_first(over: Request) -> None:
            answered(over)
            if len(self.answered) == 1:
                other._transport.input.append(request("GET", "/readyz"))
                other._transport.look()

        self.factory.answered = ask_after_the_first
        Wire(self.factory).send(request("GET", "/healthz") * 500)
        self.assertEqual(501, len(self.answered))
        self.assertLess(self.answered.index(b"GET /readyz"), 5)

    def test_all_answered(self) -> None:
        """Whoever sends all his requests and FIN gets all answers, and whoever resets costs nothing more."""
        wire = Wire(self.factory)
        wire._transport.fin = True
        wire.send(request("GET", "/healthz") * 3000)
        self.note(
            "86, and FIN",
            "3,000 requests, FIN",
            "3000 answers, closed: True",
            f"{len(wire.responses())} answers, closed: {wire.closed}",
        )
        self.check()
