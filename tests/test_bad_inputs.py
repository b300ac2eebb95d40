"""Bad request lines, targets, hosts and header sections, sent to the whole API."""

from __future__ import annotations

from typing import Final

from filedropd.testing import Wire, request
from tests.api import FILE
from tests.bad_inputs import BadInputTestCase, H, line, put, says_close
from tests.test_http_head import REFUSED

#: What is well-formed, leads nowhere or looks odd.  ``requests`` of each: one.
ANSWERED: Final[list[tuple[str, bytes, str]]] = [
    ("6", b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "200 stays"),
    ("7", line(b"GET http://evil/ HTTP/1.1"), "200 stays"),
    ("10", line(b"OPTIONS * HTTP/1.1"), "204 stays"),
    ("16", line(b"GET " + FILE.encode() + b"/a%00b HTTP/1.1"), "404 stays"),
    ("17", line(b"GET " + FILE.encode() + b"/a%0d%0ab HTTP/1.1"), "404 stays"),
    ("18", line(b"GET /%ff HTTP/1.1"), "404 stays"),
    ("19", line(b"GET /%zz HTTP/1.1"), "404 stays"),
    ("20", line(b"GET /../../etc/passwd HTTP/1.1"), "404 stays"),
    ("21", line(b"GET " + FILE.encode() + b"/..%2f..%2fetc%2fpasswd HTTP/1.1"), "404 stays"),
    ("22", line(b"GET //evil.com/x HTTP/1.1"), "404 stays"),
    ("22, two", line(b"GET //evil.com/.. HTTP/1.1"), "404 stays"),
    ("22, PUT", put(b"Content-Length: 1", b"x", b"//evil.com/x"), "404"),
    ("27, TRACE", line(b"TRACE / HTTP/1.1"), "405 stays"),
    ("49", put(b"Content-Length: 00005", b"hello"), "201 stays"),
    ("53, one line", b"\r\n" + line(b"GET / HTTP/1.1"), "200 stays"),
    ("61", b"GET / HTTP/1.1\r\n" + H + b"Connection: close, TE\r\n\r\n", "200 closed"),
    ("62", b"GET / HTTP/1.1\r\n" + H + b"Cookie: =;;;a==;\xff=\xfe\r\n\r\n", "200 stays"),
]

#: Paths of links that nobody was ever given: too short, too long, in capitals, of other letters.
NO_LINKS: Final = ["a" * 31, "a" * 33, "A" * 32, "g" * 32, "0" * 31 + "%30", "%D9%A0" * 32, "a" * 4000]


class HeadTests(BadInputTestCase):
    """Rows 1 to 62: the head of a request."""

    def test_refused(self) -> None:
        """What is no request is refused at once, reaches nobody, keeps nothing, and is the connection's last."""
        for number, data, status in REFUSED:
            self.see(number, data, f"{status} closed", requests=0)
        self.check()
        self.assertLogIsClean()

    def test_answered(self) -> None:
        """What leads nowhere is answered as such; what looks odd and is legal is answered."""
        for number, data, expected in ANSWERED:
            self.see(number, data, expected)
        self.check()
        self.assertLogIsClean()

    def test_no_other_link(self) -> None:
        """An id of another length, case or alphabet is 404, with and without what may follow an id."""
        for text in NO_LINKS:
            for method, behind in (("GET", ""), ("HEAD", ""), ("DELETE", ""), ("GET", "/status")):
                asked = f"{method} {FILE}/{text}{behind} HTTP/1.1"
                self.note("ids", asked, "404 stays", self.sent(line(asked.encode()), methods=(method,)))
        self.check()

    def test_no_upgrade(self) -> None:
        """Row 62b: where an upgrade is asked for, the body is still the body, and no request."""
        victim = self.leave(b"the victim's")
        inner = request("GET", victim["path"])
        fields = b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d" % len(inner)
        self.see("62b", put(fields, inner), "201 stays")
        chunked = b"%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n"
        fields = b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked"
        self.see("62b, chunked", put(fields, chunked), "201 stays")
        self.note("62b, then", "GET {the victim's link}", "200", self.sent(inner))
        self.check()

    def test_before_the_end(self) -> None:
        """What cannot become a request is refused when that is clear, and not when its end arrives."""
        for number, data in [
            ("30, one byte", b"\x16"),
            ("30, as it comes", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
            ("34, its first line", b"GET / HTTP/1.1\n"),
            ("53, two lines", b"\r\n\r"),
        ]:
            self.see(number, data, "400 closed", requests=0)
        self.check()

    def test_nothing_behind(self) -> None:
        """No request is read behind one that was refused."""
        victim = self.leave()
        for number, data, status in REFUSED:
            sent = data + request("GET", victim["path"])
            self.note(f"{number}, GET behind it", sent, f"{status} closed", self.sent(sent, requests=0))
        self.assertEqual(200, self.ask("GET", victim["path"]).status)
        self.check()

    def test_refusal_is_json(self) -> None:
        """A refusal tells what happened and what to do, as every other error does."""
        wire = Wire(self.factory)
        wire.send(b"GET / HTTP/1.1\r\n\r\n")
        (answer,) = wire.responses()
        self.assertProblem(400, "Bad Request", answer)
        self.assertTrue(says_close(answer))


class PublicURLTests(BadInputTestCase):
    """Links, where the operator said how they begin."""

    public_url = "https://drop.example"

    def test_host(self) -> None:
        """Rows 6 and 7: neither the Host nor an absolute target gets into a link."""
        for number, data in [
            ("6, PUT", b"PUT /x HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1\r\n\r\nx"),
            ("7, PUT", put(b"Content-Length: 1", b"x", b"http://evil.example/x")),
        ]:
            wire = Wire(self.factory)
            wire.send(data)
            (answer,) = wire.responses()
            told = f"{answer.status}, the link begins with {(answer.header('Location') or '').partition('/api')[0]}"
            self.note(number, data, f"201, the link begins with {self.public_url}", told)
            self.assertNotIn(b"evil", wire.received)
        self.check()
