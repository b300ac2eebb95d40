"""What the log has, as JSON or as text, and what it never has."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.logger import LogEvent, Logger, LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from filedropd.http.server import HTTPFactory
from filedropd.logs import as_journal_text, as_json, as_text, destination, observer
from filedropd.metrics import Metrics
from filedropd.upload import Receipt
from filedropd.web.access import AccessLog, shown
from filedropd.web.api import API
from filedropd.web.operators import Operators
from filedropd.web.problems import refusal
from tests.support import CoreTestCase, Wire

MOMENT = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC).timestamp()

#: Texts of all that a line could break on.
TEXTS = st.text() | st.text(alphabet='a\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\0"\\{}\ud800')


def an_event(**fields: Any) -> LogEvent:
    """Return an event as the logger makes it."""
    event = {
        "log_format": "text",
        "log_time": MOMENT,
        "log_level": LogLevel.info,
        "log_namespace": "filedropd.drops.Drops",
        "log_logger": Logger("x"),
        "log_source": None,
    }
    return event | fields


def written(**fields: Any) -> dict[str, Any]:
    """Return what is read back of an event's line."""
    told: dict[str, Any] = json.loads(as_json(an_event(**fields)))
    return told


class JSONTests(SynchronousTestCase):
    """One event, one object, one line."""

    def test_fixed(self):
        """It says when, how grave, where and what."""
        told = written(log_format="drop {drop} kept", drop="abcd")
        self.assertEqual(
            {
                "time": "2024-02-29T12:30:15.123+00:00",
                "level": "info",
                "namespace": "filedropd.drops.Drops",
                "text": "drop abcd kept",
                "event": "drop {drop} kept",
                "drop": "abcd",
            },
            told,
        )

    def test_fields(self):
        """Fields that are texts, numbers, truths or nothing are carried as such; others stand in the text alone."""
        plain = {"a": "x", "b": 1, "c": 1.5, "d": True, "e": None}
        told = written(**plain, other=object(), raw=b"bytes", several=[1])
        self.assertEqual(plain, {name: told[name] for name in plain})
        self.assertEqual(set(), {"other", "raw", "several"} & set(told))

    def test_names_like_twisteds(self):
        """A field is not lost because its name begins as one of Twisted's own."""
        told = written(timeout=5, formatted="x", systemd=True, messages=2, failures=0, whyever="y")
        self.assertEqual((5, "x", True, 2, 0, "y"), tuple(told[name] for name in list(told)[5:]))

    def test_twisteds(self):
        """What Twisted adds for itself does not stand beside the fixed fields."""
        told = written(log_legacy="x", isError=0, message=(), format="%s", system="-", time=1.0, why=None)
        self.assertEqual(["time", "level", "namespace", "text", "event"], list(told))

    def test_no_overwriting(self):
        """A field cannot take the place of a fixed one."""
        told = written(level="fake", namespace="fake", text="fake", time="fake")
        self.assertEqual(("info", "text"), (told["level"], told["text"]))
        self.assertNotIn("fake", told.values())

    def test_traceback(self):
        """A failure's traceback is in the line of its event."""
        failure = Failure(ValueError("first\nsecond"))
        line = as_json(an_event(log_failure=failure, log_level=LogLevel.critical))
        self.assertEqual(1, line.count("\n"))
        told = json.loads(line)
        self.assertEqual("critical", told["level"])
        self.assertIn("ValueError: first\nsecond", told["traceback"])

    def test_no_number(self):
        """What is no number in JSON is carried as a text: every line can be read."""
        line = as_json(an_event(a=float("nan"), b=float("-inf")))
        told = json.loads(line, parse_constant=self.fail)
        self.assertEqual(("nan", "-inf"), (told["a"], told["b"]))

    def test_unformattable(self):
        """An event whose text cannot be made is a line all the same."""
        self.assertIn("absent", written(log_format="{absent}")["text"])

    @given(TEXTS, st.dictionaries(st.text(min_size=1).filter(lambda name: not name.startswith("log_")), TEXTS))
    def test_one_line(self, text, fields):
        """Whatever is in an event, it is one line of ASCII, and reads back as it was."""
        line = as_json(an_event(log_format="{canary}", **({"canary": text} | {f"x{n}": v for n, v in fields.items()})))
        self.assertEqual([line], line.splitlines(keepends=True))
        self.assertTrue(line.isascii() and line.endswith("\n"))
        told = json.loads(line)
        self.assertEqual((text, text), (told["text"], told["canary"]))
        for name, value in fields.items():
            self.assertEqual(value, told[f"x{name}"])


class TextTests(SynchronousTestCase):
    """One event, one line that people can read."""

    def text(self, **fields: Any) -> str:
        """Return what is told in an event's line, behind its time, level and place."""
        head, _, told = as_text(an_event(**fields)).removesuffix("\n").partition("drops: ")
        self.assertEqual("2024-02-29T12:30:15.123Z info     ", head)
        return told

    def test_fixed(self):
        """It says when, how grave, where and what."""
        line = as_text(an_event(log_format="drop {drop} kept", drop="abcd", log_level=LogLevel.warn))
        self.assertEqual("2024-02-29T12:30:15.123Z warn     drops: drop abcd kept\n", line)

    def test_places(self):
        """A place of ours is the module; of others it is whose it is."""
        for namespace, place in (
            ("filedropd.web.access.AccessLog", "web.access"),
            ("filedropd.records.sqlite_database", "records.sqlite_database"),
            ("filedropd", "filedropd"),
            ("twisted.scripts._twistd_unix.UnixAppLogger", "twisted"),
            ("log_legacy", "-"),
            ("a\nb", "a | b"),
        ):
            line = as_text(an_event(log_namespace=namespace))
            self.assertEqual(f"2024-02-29T12:30:15.123Z info     {place}: text\n", line)

    def test_traceback(self):
        """A failure's traceback is in the line of its event, whatever its exception says."""
        line = as_text(an_event(log_failure=Failure(ValueError("first\nsecond\x1b[31m\u2028third"))))
        self.assertEqual([line], line.splitlines(keepends=True))
        self.assertIn(r": text | Traceback", line)
        self.assertIn(r"ValueError: first | second\x1b[31m\u2028third", line)

    def test_escapes(self):
        """What a terminal would act on is escaped, and what people can read is not."""
        given = "tab\t esc\x1b[2J csi\x9b bidi\u202e isolate\u2066 zero\u200b bom\ufeff line\u2028 half\ud800 null\0 é 日本 😀"
        self.assertEqual(
            r"tab\t esc\x1b[2J csi\x9b bidi\u202e isolate\u2066 zero\u200b bom\ufeff line\u2028 half\ud800 null\x00 é 日本 😀",
            self.text(log_format="{given}", given=given),
        )

    def test_line_breaks(self):
        """Line breaks become bars; empty lines and indentation go."""
        self.assertEqual("a | b | c", self.text(log_format="{given}", given="a\n\n    b\r\n  c\n"))

    def test_unformattable(self):
        """An event whose text cannot be made is a line all the same."""
        self.assertIn("absent", self.text(log_format="{absent}"))

    @given(TEXTS)
    def test_one_line(self, text):
        """Whatever is in an event, it is one line of printable characters."""
        for line in (as_text(an_event(log_format="{canary}", canary=text)), as_journal_text(an_event(log_format=text))):
            self.assertEqual([line], line.splitlines(keepends=True))
            self.assertTrue(line.endswith("\n") and line[:-1].isprintable())

    def test_journal(self):
        """For the journal a line begins with its level in the journal's own words, and has no time."""
        levels = [LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error, LogLevel.critical]
        lines = [as_journal_text(an_event(log_level=level)) for level in levels]
        self.assertEqual([f"<{number}>drops: text\n" for number in (7, 6, 4, 3, 2)], lines)


class ObserverTests(SynchronousTestCase):
    """What writes the log."""

    def test_json(self):
        """As JSON, a line for each event."""
        out = io.StringIO()
        observe = observer("json", out)
        observe(an_event(log_format="one"))
        observe(an_event(log_format="two\nlines"))
        self.assertEqual(["one", "two\nlines"], [json.loads(line)["text"] for line in out.getvalue().splitlines()])

    def test_text(self):
        """As text, a line for each event."""
        out = io.StringIO()
        observe = observer("text", out)
        observe(an_event())
        observe(an_event(log_format="two\nlines"))
        self.assertEqual(["text", "two | lines"], [line.split(": ")[1] for line in out.getvalue().splitlines()])

    def test_journal(self):
        """Where the environment says that the journal reads the output, and only there, lines are as it wants them."""
        path = Path(self.mktemp())
        with path.open("w") as out:
            status = path.stat()
            for inode in (status.st_ino, status.st_ino + 1):
                observer("text", out, {"JOURNAL_STREAM": f"{status.st_dev}:{inode}"})(an_event())
        self.assertEqual(["<6>drops: text", as_text(an_event()).strip()], path.read_text().splitlines())

    def test_encoding(self):
        """What the output's encoding lacks is escaped, and costs nobody the line."""
        written = io.BytesIO()
        out = io.TextIOWrapper(written, "ascii")
        observer("text", out)(an_event(log_format="é\u65e5"))
        self.assertTrue(written.getvalue().endswith(rb": \xe9\u65e5" + b"\n"))


class DestinationTests(SynchronousTestCase):
    """Where the log goes is what twistd was told."""

    def test_output(self):
        """In the foreground it is our output, unless a file is named."""
        for logfile in (None, "-"):
            self.assertIs(sys.stdout, destination({"nodaemon": True, "logfile": logfile}, self.fail))

    def test_file(self):
        """A file that is named is written to; one that is not is twistd.log where there is no output."""
        named, folder = self.mktemp(), self.mktemp()
        os.mkdir(folder)
        self.addCleanup(os.chdir, os.getcwd())
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        named = os.path.abspath(named)
        os.chdir(folder)
        for twistd, path in (({"nodaemon": True, "logfile": named}, named), ({"nodaemon": False}, "twistd.log")):
            out = destination(twistd, self.fail)
            assert out is not None
            observer("text", out)(an_event(log_format="é"))
            self.assertTrue(Path(path).read_text("utf-8").endswith(": é\n"))

    def test_rotation(self):
        """SIGUSR1 begins a new file, on the reactor's thread, as it does with twistd."""
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        asked: list[Any] = []
        path = Path(self.mktemp())
        out = destination({"logfile": str(path)}, asked.append)
        assert out is not None
        observe = observer("text", out)
        observe(an_event(log_format="before"))
        os.kill(os.getpid(), signal.SIGUSR1)
        (rotate,) = asked
        rotate()
        observe(an_event(log_format="after"))
        self.assertIn("after", path.read_text("utf-8"))
        self.assertIn("before", path.with_name(f"{path.name}.1").read_text("utf-8"))

    def test_others(self):
        """Where twistd was given a way of its own to write the log, it is left to that."""
        for twistd in ({"syslog": True}, {"logger": object()}, {"nodaemon": False, "logfile": "-"}):
            self.assertIsNone(destination(twistd, self.fail))


def _of_access(event: LogEvent) -> bool:
    return str(event["log_namespace"]).endswith("AccessLog")


class AccessTests(CoreTestCase):
    """Lines of the access log, by way of the whole site."""

    def setUp(self) -> None:
        super().setUp()
        log = AccessLog(self.core.clock.seconds)
        api = API(self.core.drops, Operators(Metrics(), self.core.drops.ready), prefix="/api/v1.0", public_url=None)
        self.factory = HTTPFactory(
            api.resource(), self.core.clock, refusal=refusal, answered=log.answered, refused=log.refused
        )

    def connect(self) -> Wire:
        """Return a new connection."""
        return Wire(self.factory, client=IPv4Address("TCP", "192.0.2.1", 54321))

    def ask(self, head: bytes, body: bytes = b"", *, seconds: float = 0) -> tuple[list[str], bytes]:
        """Return the lines that a request leaves, and its answer; its body is sent so much after its head."""
        with capturedLogs() as events:
            wire = self.connect()
            lines = [head + b" HTTP/1.1", b"Host: a"]
            lines += [b"Content-Length: %d" % len(body)] if body else []
            wire.send(b"\r\n".join([*lines, b"", b""]))
            wire.advance(seconds)
            wire.send(body)
            wire.advance(3)
        return [json.loads(as_json(each))["text"] for each in events if _of_access(each)], wire.received

    def upload(self) -> Receipt:
        """Leave a file."""
        return self.done(self.core.upload(b"content"))

    def test_download(self):
        """A download's line has who, how, which route, what became of it; not the token nor the query."""
        receipt = self.upload()
        target = b"/api/v1.0/file/" + receipt.link.text.encode()
        (line,), answer = self.ask(b"GET " + target + b"?password=canary")
        self.assertTrue(answer.endswith(b"content"))
        self.assertRegex(line, r"\A192\.0\.2\.1:54321 GET /api/v1\.0/file/<id> 200 7 bytes in \d+\.\d{3} s\Z")

    def test_no_secrets(self):
        """Whatever is asked for, neither the token nor the query nor a file's name is in any line."""
        receipt = self.upload()
        token = receipt.link.text.encode()
        for head in [
            b"GET /api/v1.0/file/" + token + b"?password=canary",
            b"HEAD /api/v1.0/file/" + token,
            b"GET /api/v1.0/file/" + token + b"/status?canary",
            b"DELETE /api/v1.0/file/" + token,
            b"GET /api/v1.0/file/" + token + b"/canary",
            b"PATCH /api/v1.0/file/" + token,
            b"GET /" + token,
            b"GET /canary.txt?canary=1",
            b"PUT /canary.txt?canary=1",
            b"GET //" + token,
            b"GET /%ff" + token,
            b"GET http://a/api/v1.0/file/" + token,
            b"GET /canary\xff",
            b"GE(T /canary",
        ]:
            lines, answer = self.ask(head)
            self.assertEqual(1, len(lines), (head, lines))
            self.assertTrue(answer.startswith(b"HTTP/1.1 "), head)
            for secret in ("canary", receipt.link.text, receipt.link.key.hex()):
                self.assertNotIn(secret, lines[0])
            self.assertNotIn("Traceback", lines[0])

    def test_upload(self):
        """An upload's line has its route for the name, and not the link that was made."""
        (line,), answer = self.ask(b"PUT /canary.txt", b"content")
        link = answer.rpartition(b"/")[2].strip().decode()
        self.assertRegex(link, r"\A[0-9a-f]{32}\Z")
        self.assertRegex(line, r" PUT /<(path:)?name> 201 \d+ bytes ")
        self.assertNotIn(link, line)

    def test_no_route(self):
        """What leads nowhere is logged as that."""
        (line,), _ = self.ask(b"GET /canary/x/y")
        self.assertRegex(line, r" GET \(no route\) 404 ")

    def test_no_request(self):
        """Bytes that are no request leave a line of their own, with none of them in it."""
        (line,), _ = self.ask(b"canary canary canary")
        self.assertEqual("192.0.2.1:54321 (no request) 400", line)

    def test_left(self):
        """A client that leaves before its answer leaves a line that says so."""
        with capturedLogs() as events:
            wire = self.connect()
            wire.send(b"PUT /canary.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
            wire.reset()
        (line,) = filter(_of_access, events)
        told = json.loads(as_json(line))
        self.assertEqual((0, ", client left"), (told["code"], told["how"]))
        self.assertEqual({}, self.core.stored.incoming)

    def test_time(self):
        """The line says how long it took."""
        (line,), _ = self.ask(b"PUT /canary.txt", b"content", seconds=2)
        self.assertIn(" in 2.000 s", line)

    def test_addresses(self):
        """An address is written as host and port; one without either is local."""
        self.assertEqual("192.0.2.1:80", shown(IPv4Address("TCP", "192.0.2.1", 80)))
        self.assertEqual("2001:db8::1:80", shown(IPv6Address("TCP", "2001:db8::1", 80)))
        self.assertEqual("local", shown(UNIXAddress(None)))
