"""Bad names, types, conditions and passwords, sent to the whole API."""

from __future__ import annotations

import base64
from typing import Final
from urllib.parse import quote

from twisted.internet import reactor
from twisted.internet.task import deferLater
from werkzeug.http import parse_options_header

from filedropd.testing import Response, Wire, request
from tests.api import FILE, file_part, form, part
from tests.bad_inputs import BadInputTestCase, line, put
from tests.test_bad_forms import FILE_HEAD, raw_part, sent_form
from tests.test_http_disposition import NAMES

OCTETS: Final = "application/octet-stream"


class NameTests(BadInputTestCase):
    """Rows 102 to 104: what a file is called, and what it says it is."""

    def one_answer(self, data: bytes) -> Response:
        """Send ``data`` and return its answer."""
        wire = Wire(self.factory)
        wire.send(data)
        (answer,) = wire.responses()
        return answer

    def fetched(self, data: bytes) -> Response:
        """Upload with ``data`` and return the answer to the download."""
        told = self.one_answer(data)
        self.assertEqual(201, told.status, told.body)
        return self.ask("GET", f"{FILE}/{told.json()['id']}")

    def served_name(self, data: bytes) -> str:
        """Upload with ``data`` and return the name that the download gives."""
        field = self.fetched(data).header("Content-Disposition") or ""
        self.assertTrue(field.isascii() and field.isprintable(), field)
        kind, parameters = parse_options_header(field)
        self.assertEqual("attachment", kind)
        return parameters["filename"]

    def test_names(self) -> None:
        """Row 102: a name in a form is made safe, and goes out in one line."""
        for name, safe in NAMES:
            if "\r\n" in name:
                continue  # no way to say that in the head of a part but quoted: below
            octets = name.replace("\\", "\\\\").replace('"', "%22").encode("utf-8", "surrogatepass")
            # A lone surrogate is no UTF-8: its octets come through as what they are in Latin-1.
            served = "aí\xa0b" if "\ud800" in name else safe
            self.note("102", f"filename {name!a}", served, self.served_name(self.named(octets)))
        self.check()
        self.assertLogIsClean()

    def named(self, octets: bytes) -> bytes:
        """Return an upload of a file with these octets for a name."""
        disposition = b'; filename="' + octets + b'"'
        body = form(file_part()).replace(b'; filename="report.xls"', disposition)
        return sent_form(body)

    def test_extended_names(self) -> None:
        """Row 102: the same where the name comes as filename*."""
        for name, safe in NAMES:
            if "\ud800" in name:
                continue
            octets = f"UTF-8''{quote(name, safe='')}".encode()
            body = form(file_part()).replace(b'filename="report.xls"', b"filename*=" + octets)
            self.note("102, filename*", f"{name!a}", safe, self.served_name(sent_form(body)))
        self.check()

    def test_line_ends_in_names(self) -> None:
        """Row 102: a line end in the name, or a NUL, is no way to write another field of the answer."""
        for octets in (b"a\r\nX: y", b"a\rX: y", b"a\nX: y", b"a%0D%0AX: y", b"a\0b", b'a\\";x=\\"b'):
            answer = self.fetched(self.named(octets))
            field = answer.header("Content-Disposition") or ""
            told = "one line" if field.isascii() and field.isprintable() and answer.header("X") is None else repr(field)
            self.note("102, raw", octets, "one line", told)
        self.check()

    def test_names_in_paths(self) -> None:
        """Rows 102 and 103: a name in the address is one name, or is refused."""
        for name, safe in NAMES:
            bad = not name or "/" in name or "\\" in name or name in {".", ".."} or "\ud800" in name
            if bad or any(ord(character) < 32 for character in name):
                continue
            sent = put(b"Content-Length: 1", b"x", b"/" + quote(name, safe="").encode())
            told = self.ask("GET", self.link(sent)).header("Content-Disposition") or ""
            self.note("102, in the path", f"{name!a}", safe, parse_options_header(told)[1]["filename"])
        for segment in ("a%2fb", "%2e%2e", "%2e", "a%5cb", "a%00", "a%0d%0ab", "%2f", "..%2fx", "a%7f"):
            self.see("103", put(b"Content-Length: 1", b"x", b"/" + segment.encode()), "400")
        self.check()
        self.assertLogIsClean()

    def link(self, sent: bytes) -> str:
        """Upload and return the path of the link."""
        answer = self.one_answer(sent)
        self.assertEqual(201, answer.status, sent)
        return (answer.header("Location") or "").removeprefix("http://a")

    def test_types(self) -> None:
        """Row 104: what is no media type is served as bytes of any kind; what is one, as it is, and harmlessly."""
        for number, given, served in [
            ("104, 5,000 bytes", "text/" + "a" * 5000, OCTETS),
            ("104, folded as MIME may", "text/html;\r\n a=b", "text/html; a=b"),
            ("104, CR LF and a line", "text/\r\nX: html", OCTETS),
            ("104, CR LF and a space", "text/\r\n html", OCTETS),
            ("104, no type", "html", OCTETS),
            ("104, no subtype", "text/", OCTETS),
            ("104, two", "text/html, text/plain", OCTETS),
            ("104, control", "text/html;\x0ba=b", OCTETS),
            ("104, beyond ASCII", "text/ht\u00e9", OCTETS),
            ("104, valid", "Text/HTML; charset=utf-8", "Text/HTML; charset=utf-8"),
            ("104, quoted", 'image/svg+xml; a="b c"', 'image/svg+xml; a="b c"'),
        ]:
            answer = self.fetched(sent_form(form(raw_part(f"{FILE_HEAD}\r\nContent-Type: {given}"))))
            self.note(number, given, served, answer.header("Content-Type") or "")
            self.assertIn("sandbox", answer.header("Content-Security-Policy") or "")
            self.assertEqual("nosniff", answer.header("X-Content-Type-Options"))
            self.assertTrue((answer.header("Content-Disposition") or "").startswith("attachment"))
        self.see(
            "104, CR LF and no field", sent_form(form(raw_part(FILE_HEAD + "\r\nContent-Type: text/\r\nhtml"))), "400"
        )
        self.check()

    def test_raw_types(self) -> None:
        """Row 104: the same for the bytes alone."""
        self.see(
            "104, CR LF, alone", put(b"Content-Type: text/html\r\n a=b\r\nContent-Length: 1", b"x"), "400 closed", 0
        )
        for given in (b"text/" + b"a" * 5000, b"html", b"text/h\xff"):
            path = self.link(put(b"Content-Type: " + given + b"\r\nContent-Length: 1", b"x"))
            self.note("104, alone", given, OCTETS, self.ask("GET", path).header("Content-Type") or "")
        self.check()


class ConditionTests(BadInputTestCase):
    """Row 109: conditions and ranges that mean nothing."""

    ODD: Final = {
        "a date to come": "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
        "a date and a range of dates": "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
        "900 ranges": "Range: bytes=" + ",".join(f"{first}-{first}" for first in range(900)),
        "no number": "Range: bytes=a-b",
        "backwards": "Range: bytes=5-2",
        "nothing": "Range: bytes=",
        "a dash": "Range: bytes=-",
        "another unit": "Range: lines=0-1",
        "full-width": "Range: bytes=\uff10-\uff11",
        "wrong If-Range": 'Range: bytes=0-1\r\nIf-Range: "wrong"',
        "If-Range by date": "Range: bytes=0-1\r\nIf-Range: Fri, 01 Jan 2100 00:00:00 GMT",
        "another entity tag": 'If-None-Match: "wrong"',
        "entity tags that are none": 'If-None-Match: """,,,W/",',
    }

    def get(self, path: str, field: str) -> bytes:
        """Return a GET with this field."""
        return f"GET {path} HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n".encode()

    def test_whole(self) -> None:
        """They are passed over: the answer is the whole file, and never a 304."""
        for what, field in self.ODD.items():
            path = self.leave()["path"]
            self.note(f"109, {what}", field, "200 stays", self.sent(self.get(path, field)))
            self.note(f"109, {what}, then", "GET", "410", self.sent(request("GET", path)))
        self.check()

    def test_not_taken(self) -> None:
        """Asking so is no delivery by itself: who then takes nothing and resets leaves the file to others."""
        for what, field in self.ODD.items():
            path = self.leave(bytes(300_000))["path"]
            wire = Wire(self.factory)
            wire.stop_reading()
            wire.send(self.get(path, field))
            wire.reset()
            self.note(f"109, {what}, and reset", field, "200 stays", self.sent(request("GET", path)))
        self.check()

    def test_too_far(self) -> None:
        """A range that begins behind the end is 416, and takes nothing."""
        path = self.leave()["path"]
        for ranges in ("bytes=7-", "bytes=9223372036854775807-", "bytes=-0"):
            self.see("109, 416", self.get(path, f"Range: {ranges}"), "416 stays")
        huge = self.get(path, "Range: bytes=" + "9" * 5000 + "-")
        self.note("109, 5,000 digits", huge, "200 stays", self.sent(huge))
        self.check()


class PasswordTests(BadInputTestCase):
    """Row 110: passwords that cannot be, and credentials that are none."""

    async def leave_with(self, password: bytes) -> bytes:
        """Leave a file with this password; return its path."""
        answer = await self.answer(sent_form(form(part("password", password), file_part())))
        self.assertEqual(201, answer.status, answer.body)
        return f"{FILE}/{answer.json()['id']}".encode()

    async def answer(self, sent: bytes) -> Response:
        """Send on a connection of its own and return the answer, whoever it waits for."""
        wire = Wire(self.factory)
        wire.send(sent)
        while not wire.responses():
            await deferLater(reactor, 0, wire.run)
        wire.close()
        return wire.responses()[0]

    def test_large(self) -> None:
        """A password of a megabyte is refused before it is hashed, wherever it stands: nobody hashes here."""
        huge = b"x" * 2**20
        path = FILE.encode() + b"/" + b"a" * 32
        fields = b"\r\nContent-Length: 1"
        self.see("110, 1 MiB", sent_form(form(part("password", huge), file_part())), "400")
        self.see("110, 9 KiB", sent_form(form(part("password", huge[:9000]), file_part())), "400")
        self.see("110, 7 KiB", sent_form(form(part("password", huge[:7000]), file_part())), "400")
        self.see("110, no UTF-8", sent_form(form(part("password", b"\xed\xa0\x80"), file_part())), "400")
        self.see("110, a header", put(b"Filedrop-Password: " + huge + fields, b"x"), "431 closed", 0)
        self.see("110, a header, 7 KiB", put(b"Filedrop-Password: " + huge[:7000] + fields, b"x"), "400")
        self.see("110, a query", line(b"GET " + path + b"?password=" + huge + b" HTTP/1.1"), "414 closed", 0)
        self.check()
        self.assertNothingKept()

    async def test_forms(self) -> None:
        """However a password was typed it is the same one; a NUL in it counts; nothing else is."""
        self.use_passwords()
        path = await self.leave_with("caf\u00e9 \u212b\0x".encode())
        for number, tried, expected in [
            ("110, cut at the NUL", "caf\u00e9 \u212b", 401),
            ("110, another behind the NUL", "caf\u00e9 \u212b\0y", 401),
            ("110, other case", "CAF\u00e9 \u212b\0x", 401),
            ("110, NFD", "cafe\u0301 A\u030a\0x", 200),
        ]:
            answer = await self.answer(line(b"GET " + path + f"?password={quote(tried)} HTTP/1.1".encode()))
            self.note(number, f"{tried!a}", str(expected), str(answer.status))
        self.check()

    async def test_no_credentials(self) -> None:
        """Credentials that cannot be right are 401 without a hash: with hashing stopped, others are 503."""
        self.use_passwords()
        path = await self.leave_with(b"secret")
        await self.core.passwords.stop()
        for what, field in {
            "Basic alone": b"Authorization: Basic",
            "no colon": b"Authorization: Basic " + base64.b64encode(b"secret"),
            "empty password": b"Authorization: Basic " + base64.b64encode(b"user:"),
            "bad base64": b"Authorization: Basic !!!!",
            "cut base64": b"Authorization: Basic dXNlcjpzZWNyZ",
            "no UTF-8": b"Authorization: Basic " + base64.b64encode(b"user:\xff"),
            "octets": b"Authorization: Basic \xff\xfe",
            "12 KiB": b"Authorization: Basic " + b"A" * 12_000,
            "own field, no UTF-8": b"Filedrop-Password: \xff",
        }.items():
            sent = b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n"
            self.see(f"110, {what}", sent, "401 stays")
        huge = b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nAuthorization: Basic " + b"A" * 100_000 + b"\r\n\r\n"
        self.see("110, 100 KB", huge, "431 closed", 0)
        # None at all is no guess, which nobody would count.
        for what, field in {
            "none": b"X: y",
            "another scheme": b"Authorization: Digest secret",
            "an owner's": b"Authorization: Bearer " + b"a" * 32,
            "no scheme": b"Authorization:",
        }.items():
            self.see(f"110, {what}", b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n", "401 stays")
        self.see("110, wrong", line(b"GET " + path + b"?password=wrong HTTP/1.1"), "503 stays")
        self.check()

    def test_owner(self) -> None:
        """The same for an owner's credentials."""
        path = self.leave()["path"].encode()
        for what, credentials in {
            "none": b"",
            "no token": b"Bearer",
            "in capitals": b"Bearer " + b"A" * 32,
            "too long": b"Bearer " + b"a" * 33,
            "another's": b"Bearer " + b"a" * 32,
            "Basic": b"Basic " + base64.b64encode(b"a:" + b"a" * 32),
            "octets": b"Bearer \xff\xfe",
        }.items():
            for method, target in ((b"GET", path + b"/status"), (b"DELETE", path)):
                head = method + b" " + target + b" HTTP/1.1\r\nHost: a\r\nAuthorization: " + credentials + b"\r\n\r\n"
                self.see(f"owner, {what}", head, "401 stays")
        self.check()
