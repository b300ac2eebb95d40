"""Bad clients of a real daemon, over real sockets: what cannot be told from a wire in memory."""

from __future__ import annotations

import base64
import contextlib
import socket
import statistics
import threading
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from twisted.trial.unittest import TestCase

from filedropd.testing.responses import parse_responses
from tests.bad_inputs import Row, line, put
from tests.daemon import Daemon, eventually

MIB: Final = 2**20
#: Answers that are read while the client still sends.
ROUNDS: Final = 100


class BadClientTests(TestCase):
    """Rows 75, 76, 79 and 110, with sockets, files and hashes that are real."""

    def setUp(self) -> None:
        self.rows: list[Row] = []
        self.daemon = Daemon(Path(self.mktemp()).absolute(), "--max-file-size", "1MiB")
        self.daemon.folder.mkdir(parents=True)
        self.daemon.start()
        self.addCleanup(self.daemon.kill)

    def connect(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.daemon.ports[0]), timeout=20)

    def answer(self, connection: socket.socket) -> int:
        """Read one whole answer and return its status."""
        data = b""
        while not (answers := parse_responses(data)) or not answers[-1].complete:
            piece = connection.recv(65_536)
            if not piece:
                raise AssertionError(f"closed within an answer: {data!r}")
            data += piece
        return answers[-1].status

    def check(self) -> None:
        """All rows got their right answers."""
        self.assertEqual([], [row.text for row in self.rows if not row.right])

    def test_answered_while_sending(self) -> None:
        """Row 79: a client that sends four megabytes without looking reads its 413 every time."""
        read = 0
        for declared in (True, False):
            body = bytes(4 * MIB)
            head = b"Content-Length: %d" % len(body) if declared else b"Transfer-Encoding: chunked"
            sent = put(head, body if declared else b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
            for _ in range(ROUNDS // 2):
                with self.connect() as connection:
                    connection.sendall(sent)
                    read += self.answer(connection) == 413
        self.rows.append(
            Row("79", "4 MiB are sent where 1 MiB is allowed", "413, read 100 times", f"413, read {read} times")
        )
        self.check()

    def test_cut_short(self) -> None:
        """Row 76: of an upload that breaks off, by FIN or by RST, no file is left a second later."""
        for how in ("FIN", "RST"):
            connection = self.connect()
            connection.sendall(put(b"Content-Length: 900000", bytes(800_000)))
            eventually(lambda: list(self.daemon.data.glob("incoming/*/*")), "the upload has begun")
            if how == "RST":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
            looks = 0
            while self.parts() and looks < 100:  # a second, while this machine does not stand still
                time.sleep(0.01)
                looks += 1
            told = "left for long" if self.parts() else "nothing left"
            self.rows.append(Row(f"76, {how}", "900,000 bytes declared, 800,000 sent", "nothing left", told))
        self.check()

    def parts(self) -> list[Path]:
        """Return what lies in the data directory of uploads, whole or not."""
        found = [*self.daemon.data.glob("incoming/*/*"), *self.daemon.data.glob("blobs/*/*")]
        return [path for path in found if path.name != "lock"]

    def test_tiny_chunks(self) -> None:
        """Row 75: a client of tiny chunks is refused, one of merely small ones is served, and others hardly notice."""
        for number, chunk, count, expected in [
            ("75, 1 byte", b"1\r\nx\r\n", 1_000_000, 400),
            ("75, 6 bytes", b"6\r\nxxxxxx\r\n", 170_000, 201),
        ]:
            status: list[int] = []
            attack = threading.Thread(target=self.attack, args=(chunk * count + b"0\r\n\r\n", status))
            attack.start()
            waits = self.waits(attack)
            attack.join()
            p99 = statistics.quantiles(waits, n=100)[98] * 1000
            told = f"{status[0]}, others hardly notice" if p99 < 30 else f"{status[0]}, others wait {p99:.0f} ms"
            self.rows.append(
                Row(
                    f"{number}: p99 of {len(waits)} others {p99:.1f} ms",
                    chunk,
                    f"{expected}, others hardly notice",
                    told,
                )
            )
        self.check()

    def test_costly(self) -> None:
        """What is small costs little: it took seconds where the time to read it grew with the square of its length."""
        quotes = b'--b\r\nContent-Disposition: form-data; name="a"; x="' + b'\\"' * 4000 + b"\r\n\r\nv\r\n"
        form = quotes * 31 + b"--b--\r\n"
        length = b"Content-Length: %d" % len(form)
        accept = b"Accept: text/html,a" + b" " * 15_000 + b"b"
        dots = b"PUT /a" + b"." * 8000 + b"x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        marks = "a" + "\u0301" * 660 + "\u0316" * 660
        name = b"PUT /" + quote(marks).encode() + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        for what, sent, status, times in [
            ("quotes without end", put(b"Content-Type: multipart/form-data; boundary=b\r\n" + length, form), 400, 1),
            ("a name of dots", dots, 201, 5),
            ("a name of marks", name, 201, 30),
            ("blanks", b"GET /zzz HTTP/1.1\r\nHost: a\r\n" + accept + b"\r\n\r\n", 404, 4),
        ]:
            began, seen = self.worked(), set()
            with self.connect() as connection:
                for _ in range(times):
                    connection.sendall(sent)
                    seen.add(self.answer(connection))
            cost = self.worked() - began
            told = f"{seen}, cheap" if cost < 1 else f"{seen}, {cost:.1f} s of a processor"
            self.rows.append(Row(what, sent[:100], f"{ {status} }, cheap", told))
        self.check()

    def attack(self, body: bytes, status: list[int]) -> None:
        """Send a chunked body, and say what came of it."""
        with self.connect() as connection:
            with contextlib.suppress(ConnectionError):  # nobody need listen to the end
                connection.sendall(put(b"Transfer-Encoding: chunked", body))
            status.append(self.answer(connection))

    def waits(self, attack: threading.Thread) -> list[float]:
        """Return how long the daemon is at work, in seconds, from request to answer while ``attack`` goes on.

        There are three hundred of them at least.
        """
        waits: list[float] = []
        with self.connect() as connection:
            while len(waits) < 300 or attack.is_alive():
                began = self.worked()
                connection.sendall(line(b"GET /healthz HTTP/1.1"))
                self.answer(connection)
                waits.append(self.worked() - began)
        return waits

    def worked(self) -> float:
        """Return for how many seconds the daemon has had a processor: what other processes take of it does not count."""
        return time.clock_gettime((~self.daemon.pid << 3) | 2)  # what clock_getcpuclockid(3) makes of it on Linux

    def test_no_credentials(self) -> None:
        """Row 110: credentials that cannot be right cost no hash: they are refused within milliseconds."""
        with self.connect() as connection:
            connection.sendall(put(b"Filedrop-Password: secret\r\nContent-Length: 1", b"x"))
            data = connection.recv(65_536).decode()
        path = data.rpartition("\r\n\r\n")[2].strip().partition("/api")[2]
        for what, field in {
            "no colon": b"Authorization: Basic " + base64.b64encode(b"secret"),
            "bad base64": b"Authorization: Basic !!!!",
            "12 KiB": b"Authorization: Basic " + b"A" * 12_000,
        }.items():
            took = min(self.refusal(path, field) for _ in range(20)) * 1000
            told = "401 in 5 ms" if took < 5 else f"401 in {took:.1f} ms"
            self.rows.append(Row(f"110, {what}: {took:.1f} ms", field[:40], "401 in 5 ms", told))
        self.check()

    def refusal(self, path: str, field: bytes) -> float:
        """Return how long the daemon is at work on a 401."""
        with self.connect() as connection:
            began = self.worked()
            connection.sendall(b"GET /api" + path.encode() + b" HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n")
            self.assertEqual(401, self.answer(connection))
            return self.worked() - began
