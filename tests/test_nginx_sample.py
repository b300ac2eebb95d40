"""etc/nginx/filedropd.conf in the real nginx, in front of a small server that answers as the daemon does."""

from __future__ import annotations

import random
import re
import socket
import ssl
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

from OpenSSL.crypto import FILETYPE_PEM
from twisted.internet.ssl import KeyPair
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from filedropd.delivery.nginx_trail import Line
from filedropd.errors import RangeNotSatisfiable
from filedropd.http.fronting import sends_alike
from filedropd.http.ranges import select
from filedropd.testing.responses import Response, parse_responses
from tests.daemon import eventually
from tests.servers import Nginx, free_port

SAMPLE: Final = Path(__file__).parent.parent / "etc" / "nginx" / "filedropd.conf"
# What somebody may have set for all that his nginx does.
HTTP: Final = """
events {{}}
http {{
    default_type application/octet-stream;
    gzip on; gzip_types *; gzip_min_length 1; gzip_http_version 1.0; charset utf-8; ssi on;
    open_file_cache max=100;
    access_log access.log;
    add_header X-Elsewhere said;
    {}
}}
"""
BLOB: Final = "ab" * 16
ETAG: Final = '"0123456789abcdef"'
MIB: Final = 1024 * 1024
CONTENT: Final = random.Random(1).randbytes(100_000)
LARGE: Final = random.Random(2).randbytes(24 * MIB)
KEPT: Final = {
    "Content-Type": "text/plain",
    "Content-Disposition": 'attachment; filename="name.txt"',
    "Cache-Control": "no-store",
    "ETag": ETAG,
    "Set-Cookie": "filedrop-claim=token",
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    "Filedrop-Claim": "token",
    "Repr-Digest": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
}


class Upstream(ThreadingHTTPServer):
    """Answers as the daemon does.

    :ivar seen: the fields of each request, as they came.
    :ivar redirects: what is answered to a download that nginx is to send, in place of where the blob is.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.seen: list[list[tuple[str, str]]] = []
        self.redirect: str | None = None
        self.content = CONTENT
        self.streamed = self.taken = self.transfers = 0
        self.ended = Event()

    def handle_error(self, *_: Any) -> None:
        """Say nothing: clients of tests leave."""


class Answer(BaseHTTPRequestHandler):
    """One connection from nginx."""

    protocol_version = "HTTP/1.1"
    server: Upstream

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.server.seen.append(list(self.headers.items()))
        content, head = self.server.content, self.command == "HEAD"
        ranges = (None, None) if head else (self.headers["Range"], self.headers["If-Range"])
        try:
            selection = select(len(content), ETAG, *ranges)
        except RangeNotSatisfiable:
            self.answer(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
            return
        code = 206 if selection.partial else 200
        fields = Headers({name: self.headers.get_all(name) or [] for name in self.headers})
        if not head and sends_alike(fields, code):
            where = self.server.redirect or f"/_blobs/ab/{BLOB}?claim={self.server.transfers:032x}"
            self.server.transfers += 1
            self.answer(200, {"Content-Length": "0", "X-Accel-Redirect": where} | KEPT)
            return
        extra = {"Content-Range": selection.content_range} if selection.partial else {}
        self.answer(code, {"Content-Length": str(selection.length), "Accept-Ranges": "bytes"} | extra | KEPT)
        if not head:
            self.stream(content[selection.first : selection.first + selection.length])

    do_HEAD = do_GET

    def stream(self, body: bytes) -> None:
        """Send it, and note how much of it was taken."""
        self.server.streamed += 1
        try:
            for first in range(0, len(body), 65536):
                self.connection.sendall(body[first : first + 65536])
                self.server.taken = first + 65536
        except OSError:
            self.close_connection = True
        self.server.ended.set()

    def do_PUT(self) -> None:
        left = int(self.headers["Content-Length"])
        while left and (data := self.rfile.read1(65536)):
            left -= len(data)
            self.server.taken += len(data)
        self.answer(201, {"Content-Length": "0"})

    def answer(self, code: int, fields: Mapping[str, str]) -> None:
        """Send a head."""
        self.send_response(code)
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()


class SampleTestCase(SynchronousTestCase):
    """nginx with the sample, the server behind it, and a folder of blobs."""

    def setUp(self) -> None:
        self.upstream = Upstream()
        self.addCleanup(self.upstream.server_close)
        serving = Thread(target=self.upstream.serve_forever, args=(0.01,), daemon=True)
        serving.start()
        self.addCleanup(serving.join)
        self.addCleanup(self.upstream.shutdown)
        self.data = Path(self.mktemp()).absolute()
        self.blob = self.data / "blobs" / "ab" / BLOB
        self.blob.parent.mkdir(parents=True)
        self.keep(CONTENT)
        (self.data / "secret").write_bytes(b"secret")
        port = free_port()
        self.nginx = Nginx(HTTP.format(self.sample(port)), port)
        self.addCleanup(self.nginx.close)
        self.nginx.start()

    def sample(self, port: int) -> str:
        """Return the sample, which listens on ``port``."""
        text = SAMPLE.read_text(encoding="utf-8")
        for before, after in (
            ("    listen 80 ", f"    listen 127.0.0.1:{port} "),
            ("    server 127.0.0.1:8002;", f"    server 127.0.0.1:{self.upstream.server_port};"),
            ("alias /var/lib/filedropd/", f"alias {self.data}/"),
            ("from=/var/lib/filedropd/", f"from={self.data}/"),
            ("access_log /var/log/filedropd/", f"access_log {self.data}/"),
        ):
            self.assertEqual(1, text.count(before), before)
            text = text.replace(before, after)
        return text

    def keep(self, content: bytes) -> None:
        """Have ``content`` to be downloaded."""
        self.blob.write_bytes(content)
        self.upstream.content = content

    @contextmanager
    def connected(self, *, receives: int | None = None) -> Iterator[socket.socket]:
        """Connect to nginx."""
        with socket.socket() as client:
            if receives is not None:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
            client.settimeout(10)
            client.connect(("127.0.0.1", self.nginx.port))
            yield client

    def ask(self, *fields: str, method: str = "GET", target: str = "/file", version: str = "1.1") -> Response:
        """Ask nginx, and return its answer."""
        with self.connected() as client:
            lines = (
                f"{method} {target} HTTP/{version}",
                "Host: files.example.org",
                "Connection: close",
                *fields,
                "",
                "",
            )
            client.sendall("\r\n".join(lines).encode("latin-1"))
            data = b"".join(iter(lambda: client.recv(MIB), b""))
        (response,) = parse_responses(data, [method], ended=True)
        return response

    def lines(self, count: int) -> list[Line]:
        """Return what nginx logged, once that is so many lines."""
        log = self.data / "nginx.log"
        eventually(lambda: log.read_bytes().count(b"\n") >= count, f"{count} lines")
        texts = log.read_bytes().splitlines()
        parsed = [Line.parse(text) for text in texts]
        self.assertEqual(count, len(parsed), texts)
        self.assertNotIn(None, parsed, texts)
        return [line for line in parsed if line is not None]


class SendingTests(SampleTestCase):
    """nginx sends the file."""

    def test_whole(self):
        """The whole file comes, with the fields of the daemon's answer, each once, and no others."""
        answer = self.ask("Accept-Encoding: gzip")
        self.assertEqual((200, CONTENT, 0), (answer.status, answer.body, self.upstream.streamed))
        self.assertEqual(KEPT, {name: answer.header(name) for name in KEPT})
        rest = {"Server", "Date", "Content-Length", "Connection", "Accept-Ranges"}
        self.assertEqual(sorted({*KEPT, *rest}), sorted(name for name, _ in answer.headers))
        self.assertEqual("bytes", answer.header("Accept-Ranges"))

    def test_whole_line(self):
        """The line says that all of it was handed over."""
        self.ask()
        self.assertEqual([Line(transfer="0" * 32, status=200, sent=len(CONTENT), complete=True)], self.lines(1))

    def test_empty(self):
        """An empty file is sent, too."""
        self.keep(b"")
        answer = self.ask()
        self.assertEqual((200, b"", "0"), (answer.status, answer.body, answer.header("Content-Length")))
        self.assertEqual([Line(transfer="0" * 32, status=200, sent=0, complete=True)], self.lines(1))

    def test_ranges(self):
        """A range comes, as the daemon counts it, and the line says which; resumed with the daemon's entity tag, too."""
        expected = []
        for text, fields in (
            ("0-0", ()),
            ("1000-", ()),
            ("0-", ()),
            ("99999-99999", ()),
            ("50000-999999999999999999", ()),
            ("-1", ()),
            ("-999999", ()),
            ("1000-1999", (f"If-Range: {ETAG}",)),
            ("1000-1999", ('If-None-Match: W/"other"', "If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT")),
        ):
            selection = select(len(CONTENT), ETAG, f"bytes={text}", None)
            answer = self.ask(f"Range: bytes={text}", *fields)
            body = CONTENT[selection.first : selection.first + selection.length]
            self.assertEqual((206, selection.content_range), (answer.status, answer.header("Content-Range")), text)
            self.assertEqual((body, ETAG), (answer.body, answer.header("ETag")), text)
            expected.append((206, selection.length, True, selection.content_range))
        self.assertEqual(0, self.upstream.streamed)
        lines = self.lines(len(expected))
        self.assertEqual(expected, [(line.status, line.sent, line.complete, line.content_range) for line in lines])

    def test_old_client(self):
        """A client of HTTP/1.0 gets its range."""
        answer = self.ask("Range: bytes=10-19", version="1.0")
        self.assertEqual((206, CONTENT[10:20]), (answer.status, answer.body))
        self.assertEqual(0, self.upstream.streamed)

    def test_dates(self):
        """The date of the file on the disk decides nothing."""
        answer = self.ask("If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT")
        self.assertEqual((200, CONTENT), (answer.status, answer.body))
        self.assertEqual(0, self.upstream.streamed)

    def test_killed(self):
        """A client that is killed at 5 % of a file is not OK, and what was sent is less than all."""
        self.keep(LARGE)
        with self.connected() as client:
            client.sendall(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
            got = 0
            while got < len(LARGE) // 20:
                got += len(client.recv(65536))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        (line,) = self.lines(1)
        self.assertEqual((200, False), (line.status, line.complete))
        self.assertLess(got - 1000, line.sent)
        self.assertLess(line.sent, len(LARGE))

    def test_missing(self):
        """A file that is not there is a 404, and the line says so."""
        self.blob.unlink()
        self.assertEqual(404, self.ask().status)
        self.assertEqual([404], [line.status for line in self.lines(1)])

    def test_deleted(self):
        """A file that is deleted is gone, whatever is cached elsewhere."""
        self.ask()
        self.blob.unlink()
        self.assertEqual(404, self.ask().status)

    def test_keep_alive(self):
        """Several downloads on one connection have a line each."""
        with self.connected() as client:
            client.sendall(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
            got = 0
            while got < 3 * len(CONTENT):
                got += len(client.recv(65536))
        self.assertEqual([(len(CONTENT), True)] * 3, [(line.sent, line.complete) for line in self.lines(3)])


class LeftToTheDaemonTests(SampleTestCase):
    """What nginx would send otherwise than it was asked for, the daemon sends."""

    def test_odd_ranges(self):
        """A range that only one of the two understands."""
        for text in (
            "bytes =0-5",
            "bytes=0-5,",
            "bytes= 0-5",
            "bytes=0-1,3-4",
            "bytes=5-2",
            "lines=1-2",
            "bytes=0-9" + "9" * 18,
        ):
            selection = select(len(CONTENT), ETAG, text, None)
            answer = self.ask(f"Range: {text}")
            body = CONTENT[selection.first : selection.first + selection.length]
            self.assertEqual((206 if selection.partial else 200, body), (answer.status, answer.body), text)
        self.assertEqual((7, 0), (self.upstream.streamed, self.upstream.transfers))

    def test_conditions(self):
        """A condition that nginx would hold against its own entity tag and date."""
        for field in (f"If-Match: {ETAG}", "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT"):
            answer = self.ask(field)
            self.assertEqual((200, CONTENT), (answer.status, answer.body), field)
        for field in ('If-Range: "other"', "If-Range: Thu, 01 Jan 2099 00:00:00 GMT", f"If-Range: W/{ETAG}"):
            self.assertEqual(200, self.ask("Range: bytes=1-2", field).status, field)
        self.assertEqual((5, 0), (self.upstream.streamed, self.upstream.transfers))

    def test_unsatisfiable(self):
        """A range behind the end is for the daemon to refuse."""
        answer = self.ask("Range: bytes=100000-")
        self.assertEqual((416, "bytes */100000"), (answer.status, answer.header("Content-Range")))

    def test_repeated(self):
        """Fields that are there twice never come to two meanings."""
        for fields in (
            ("Range: bytes=0-1", "Range: bytes=2-9"),
            ("Range: bytes=0-1", f"If-Range: {ETAG}", "If-Range: x"),
        ):
            self.ask(*fields)
        self.assertEqual(0, self.upstream.transfers)

    def test_head(self):
        """HEAD says what GET would, and sends nothing."""
        answer = self.ask("Range: bytes=0-5", method="HEAD")
        self.assertEqual((200, str(len(CONTENT))), (answer.status, answer.header("Content-Length")))
        self.assertEqual(KEPT, {name: answer.header(name) for name in KEPT})
        self.assertEqual(b"", (self.data / "nginx.log").read_bytes())


class InternalTests(SampleTestCase):
    """The internal location."""

    def test_from_outside(self):
        """From outside nothing is there, whatever it is called, and nobody writes lines by asking."""
        for target in (
            f"/_blobs/ab/{BLOB}",
            f"/_blobs/ab/{BLOB}?claim={'1' * 32}",
            f"/%5fblobs/ab/{BLOB}",
            f"/x/../_blobs/ab/{BLOB}",
            f"//_blobs//ab/{BLOB}",
            "/_blobs/",
        ):
            answer = self.ask("X-Accel-Redirect: yes", target=target)
            self.assertEqual((404, None), (answer.status, answer.header("Filedrop-Claim")), target)
        self.assertEqual([], self.upstream.seen)
        self.assertEqual(b"", (self.data / "nginx.log").read_bytes())

    def test_traversal(self):
        """No name leads out of the folder, from outside or in a redirect."""
        (self.blob.parent / "link").symlink_to(self.data / "secret")
        for name in (
            "/_blobs/../secret",
            "/_blobs/%2e%2e/secret",
            "/_blobs/..%2fsecret",
            "/_blobs../secret",
            "/_blobs/ab/link",
        ):
            self.upstream.redirect = name
            self.assertNotIn(b"secret", self.ask().body, name)
            self.upstream.redirect = None
            for answer in (self.ask(target=name), self.ask(target=f"{name}%00")):
                self.assertNotIn(b"secret", answer.body, name)

    def test_query(self):
        """The name of a download comes from the daemon, and not from the client's own query."""
        self.ask(target=f"/file?claim={'1' * 32}")
        self.assertEqual(["0" * 32], [line.transfer for line in self.lines(1)])


class ProxyTests(SampleTestCase):
    """What goes through the daemon."""

    def fields(self, *forged: str) -> list[tuple[str, str]]:
        """Return the fields of a request as the daemon gets them."""
        self.ask(*forged)
        return self.upstream.seen[-1]

    def test_forwarded(self):
        """Who asks, and for what, is told by nginx and by nobody else."""
        forged = (
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Forwarded-Host",
            "Forwarded",
            "Via",
            "X-Real-IP",
            "X-Client-IP",
        )
        fields = self.fields(*(f"{name}: 192.0.2.1" for name in (*forged, "True-Client-IP", "CF-Connecting-IP")))
        self.assertNotIn("192.0.2.1", [value for _, value in fields])
        expected = {
            "X-Forwarded-For": "127.0.0.1",
            "X-Forwarded-Proto": "http",
            "X-Forwarded-Host": "files.example.org",
        }
        self.assertEqual(expected, {name: value for name, value in fields if name.startswith("X-Forwarded")})
        self.assertIn(("Host", "files.example.org"), fields)

    def test_marker(self):
        """That nginx sends files is told by nginx alone."""
        fields = self.fields("X-Sendfile-Type: other")
        self.assertEqual(["X-Accel-Redirect"], [value for name, value in fields if name == "X-Sendfile-Type"])

    def test_upload(self):
        """An upload of more than 1 MiB comes to the daemon while it is being sent."""
        with self.connected() as client:
            client.sendall(b"PUT /file HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n" + bytes(2_000_000))
            eventually(lambda: self.upstream.taken == 2_000_000, "the daemon has what was sent")
            client.sendall(bytes(2_000_000))
            self.assertIn(b" 201 ", client.recv(65536))

    def test_download(self):
        """A client that stops at 5 % keeps the daemon from handing all of it to nginx."""
        self.upstream.content = LARGE
        with self.connected(receives=65536) as client:
            client.sendall(b"GET /file HTTP/1.1\r\nHost: a\r\nIf-Match: *\r\n\r\n")
            got = 0
            while got < len(LARGE) // 20:
                got += len(client.recv(65536))
            self.assertFalse(self.upstream.ended.wait(0.5))
        self.assertTrue(self.upstream.ended.wait(10))
        self.assertLess(self.upstream.taken, len(LARGE))

    def test_no_links_in_logs(self):
        """No URL is in a log of nginx's."""
        self.ask(target="/file?password=canary")
        self.ask(target="/_blobs/canary")
        self.nginx.stop()
        logs = [path for folder in (self.nginx.folder, self.data) for path in folder.glob("*log*")]
        self.assertNotIn("canary", "".join(path.read_text() for path in logs))


class TLSTests(SampleTestCase):
    """The sample with its TLS lines filled in."""

    def sample(self, port: int) -> str:
        key = KeyPair.generate(size=2048)
        (self.data / "privkey.pem").write_bytes(key.dump(FILETYPE_PEM))
        (self.data / "fullchain.pem").write_bytes(key.selfSignedCert(1, CN=b"localhost").dumpPEM())
        plain = super().sample(port)
        text = re.sub(r"^( *)# ((?:listen 443|http2|ssl_|add_header).*;)$", r"\1\2", plain, flags=re.MULTILINE)
        self.assertEqual(7, len(set(text.splitlines()) - set(plain.splitlines())))
        text = text.replace("/etc/letsencrypt/live/files.example.org", str(self.data))
        text = text.replace(f"    listen 127.0.0.1:{port} sndbuf=256k;\n", "")
        return text.replace("listen 443", f"listen 127.0.0.1:{port}")

    @contextmanager
    def connected(self, *, receives: int | None = None) -> Iterator[socket.socket]:
        trusting = ssl.create_default_context(cafile=self.data / "fullchain.pem")
        trusting.check_hostname = False
        with super().connected(receives=receives) as plain, trusting.wrap_socket(plain) as client:
            yield client

    def test_whole(self):
        """A download is what it is without TLS, and so is its line."""
        answer = self.ask()
        self.assertEqual((200, CONTENT, ETAG), (answer.status, answer.body, answer.header("ETag")))
        self.assertEqual([Line(transfer="0" * 32, status=200, sent=len(CONTENT), complete=True)], self.lines(1))
        self.assertIn(("X-Forwarded-Proto", "https"), self.upstream.seen[-1])

    def test_transport_security(self):
        """Both what the daemon sends and what nginx sends say that there is to be no other way."""
        for field in ("If-Match: *", "Accept: */*"):
            self.assertEqual("max-age=31536000", self.ask(field).header("Strict-Transport-Security"), field)
