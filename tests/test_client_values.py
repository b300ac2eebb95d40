"""What servers and environments say, parsed at the edge."""

from __future__ import annotations

import os
import stat
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from filedropd.client import Receipt
from filedropd.client.commands import drops_file, settings
from filedropd.client.commands.drops_file import DropsFile, Left
from filedropd.client.commands.exits import TABLE, status_of
from filedropd.client.errors import ClientError, Exists, Local, NotADrop, PasswordRequired, Stalled, TooLarge
from filedropd.client.uploads.leaving import CHEAP, Wanted
from filedropd.client.values import Link
from filedropd.client.values import status_of as standing_of
from filedropd.client.wire import digests
from filedropd.client.wire.answers import printable, retry_after
from filedropd.client.wire.events import Event, Events
from filedropd.client.wire.proxies import Proxy, chosen, parsed
from filedropd.tokens import Token

ID = "0123456789abcdef" * 2
URL = f"https://drop.example/api/v1.0/file/{ID}"


class LinkTests(SynchronousTestCase):
    """Links."""

    def test_parsed(self):
        """What is no part of a link is taken off."""
        self.assertEqual(URL, Link.parse(f" {URL}?claim=x#top\n").url)

    def test_written(self):
        """Names of any script, addresses and quoted paths go out as the wire has them."""
        for text, url in (
            ("http://bücher.example/ü%20x", "http://xn--bcher-kva.example/%C3%BC%20x"),
            ("http://[::1]:8002/x", "http://[::1]:8002/x"),
            ("http://my_host:80/x", "http://my_host:80/x"),
        ):
            self.assertEqual(url, Link.parse(text).url)

    def test_refused(self):
        """What is no address, or carries a password, is none."""
        for text in (
            "",
            "drop.example/x",
            "ftp://drop.example/x",
            "http://",
            "https://:pw@drop.example/x",
            "http://[::1/x",
            "http://a b/",
            f"http://{'a' * 300}/",
        ):
            self.assertRaises(NotADrop, Link.parse, text)

    def test_key(self):
        """The key is the daemon's own, and neither it nor the repr opens anything."""
        link = Link.parse(URL)
        self.assertEqual(Token(ID).key.hex(), link.key)
        self.assertNotIn(ID, f"{link!r} {link}")


class WantedTests(SynchronousTestCase):
    """How a file is to be left."""

    def test_address(self):
        """Names are quoted whole, and made safe."""
        for server in ("https://drop.example", "https://drop.example/"):
            wanted = Wanted(server=server)
            self.assertEqual("https://drop.example/a%20b%3F%C3%A9.txt", wanted.address("a b?é.txt").replace("_", "%3F"))
            self.assertEqual("https://drop.example/passwd", wanted.address("../etc/passwd"))
        self.assertEqual(
            "https://drop.example/drop/x", Wanted(server="https://drop.example/drop", name="x").address("y")
        )

    def test_passwords(self):
        """A password that a header field cannot carry is refused, and none is shown."""
        for password in ("", " x", "x ", "a\nb", "a\x00"):
            self.assertRaises(Local, Wanted(server="https://drop.example", password=password).fields)
        wanted = Wanted(server="https://drop.example", password="pässword")
        self.assertEqual("pässword".encode(), wanted.fields()["Filedrop-Password"])
        self.assertNotIn("pässword", repr(wanted))

    def test_digest(self):
        """The digest is asked for where it costs little, or as somebody says."""
        plain, tls = (Wanted(server=f"{scheme}://drop.example") for scheme in ("http", "https"))
        self.assertEqual([True, True, False], [plain.asks_digest(length) for length in (None, CHEAP, CHEAP + 1)])
        self.assertTrue(tls.asks_digest(CHEAP + 1))
        self.assertFalse(attrs.evolve(tls, digest=False).asks_digest(1))
        self.assertTrue(attrs.evolve(plain, digest=True).asks_digest(CHEAP + 1))


class DigestTests(SynchronousTestCase):
    """Repr-Digest (RFC 9530)."""

    @given(st.binary(min_size=32, max_size=32))
    def test_round(self, digest: bytes):
        """What is told is read, beside others and with parameters."""
        field = digests.field(digest)
        self.assertEqual(digest, digests.sha256(field))
        self.assertEqual(digest, digests.sha256(f"sha-512=:AAAA:, {field};q=1"))

    @given(st.text())
    def test_anything(self, field: str):
        """Whatever is told, nothing breaks."""
        found = digests.sha256(field)
        self.assertTrue(found is None or len(found) == 32)

    def test_none(self):
        """What is no SHA-256 is none."""
        for field in (None, "", "sha-256=:AAAA:", "sha-512=:AAAA:", "sha-256=xx", "xsha-256=:" + "A" * 43 + "=:"):
            self.assertIsNone(digests.sha256(field))


class EventTests(SynchronousTestCase):
    """Server-Sent Events."""

    STREAM = "event: status\nid: 1\ndata: {\ndata: }\n\n:\n\nevent: é\r\ndata:x\r\n\r\n"
    EVENTS = (Event("status", "{\n}"), Event("é", "x"))

    @given(st.lists(st.integers(0, len(STREAM.encode()))))
    def test_pieces(self, cuts: list[int]):
        """However the stream is cut, its events are the same."""
        stream, events = self.STREAM.encode(), Events()
        at = 0
        found: list[Event] = []
        for cut in [*sorted(cuts), len(stream)]:
            found += events.feed(stream[at:cut])
            at = cut
        self.assertEqual(self.EVENTS, tuple(found))


class AnswerTests(SynchronousTestCase):
    """What answers say."""

    def test_retry_after(self):
        """Seconds are taken as they are, a date for a minute, and anything else for nothing."""
        for value, seconds in (
            ("7", 7.0),
            (" 0 ", 0.0),
            ("Wed, 21 Oct 2015 07:28:00 GMT", 60.0),
            ("soon", None),
            ("-1", None),
            ("", None),
            (None, None),
        ):
            self.assertEqual(seconds, retry_after(value), value)

    def test_printable(self):
        """A terminal is told nothing."""
        self.assertEqual("a�[2Jb", printable("a\x1b[2Jb"))

    def test_status(self):
        """What is no status is no status."""
        for told in ({}, {"events": 3}, {"events": [{}], "name": "x"}):
            self.assertRaises(NotADrop, standing_of, told)


class ProxyTests(SynchronousTestCase):
    """Which proxy."""

    def test_chosen(self):
        """By scheme, unless the server is exempt."""
        proxies = {"https": "http://proxy.example:3128", "no": "intern.example,10.0.0.1"}
        self.assertEqual(Proxy("http", "proxy.example", 3128), chosen("https", "drop.example", 443, proxies))
        self.assertIsNone(chosen("http", "drop.example", 80, proxies))
        self.assertIsNone(chosen("https", "a.intern.example", 443, proxies))
        self.assertIsNone(chosen("https", "10.0.0.1", 443, proxies))
        self.assertIsNone(chosen("https", "drop.example", 443, {}))
        everything = {"all": "https://all.example"}
        self.assertEqual(Proxy("https", "all.example", 443), chosen("http", "x.example", 80, everything))

    def test_password(self):
        """Its password is decoded, and not shown."""
        proxy = parsed("http://me:p%40ss@proxy.example:1")
        self.assertEqual(b"Basic bWU6cEBzcw==", proxy.authorization)
        self.assertNotIn("bWU6", repr(proxy))

    def test_unsupported(self):
        """What cannot be used is said, without its password."""
        for url in ("socks5://u:secret@proxy.example", "http://u:secret@[::1"):
            with self.assertRaises(Local) as caught:
                parsed(url)
            self.assertNotIn("secret", str(caught.exception))


class SettingsTests(SynchronousTestCase):
    """The configuration file."""

    def test_place(self):
        """Where XDG says."""
        self.assertEqual(Path("/c/filedrop/config.toml"), settings.place({"XDG_CONFIG_HOME": "/c"}))
        self.assertEqual(Path.home() / ".config/filedrop/config.toml", settings.place({"XDG_CONFIG_HOME": "c"}))

    def test_load(self):
        """What it says is taken; what has no meaning is said."""
        path = Path(self.mktemp())
        self.assertEqual({}, settings.load(path))
        self.assertEqual({}, settings.load(Path("/dev/null/.config/config.toml")))  # the home of many a service
        self.assertRaisesRegex(Local, "no configuration file", settings.load, path, required=True)
        path.write_text('server = "https://drop.example"\ndownloads = 3\n')
        self.assertEqual({"server": "https://drop.example", "downloads": 3}, settings.load(path))
        for text, words in (("sever = 1", "no setting 'sever'"), ("downloads = true", "number"), ("=", "TOML")):
            path.write_text(text)
            self.assertRaisesRegex(Local, words, settings.load, path)


class DropsFileTests(SynchronousTestCase):
    """The drops that were left from here."""

    def setUp(self):
        self.path = Path(self.mktemp()) / "filedrop" / "drops.json"
        self.drops = DropsFile(self.path)

    def left(self, number: int, name: str = "a.txt") -> Left:
        """Return a drop."""
        receipt = Receipt(
            url=f"https://drop.example/{number:032x}",
            owner_token=f"{number:032x}",
            name=name,
            size=3,
            expires_at=datetime(2030, 1, 1, tzinfo=UTC),
            downloads=1,
        )
        return Left.of(receipt)

    def test_kept(self):
        """What was left is there again, in order, until it is forgotten."""
        for number in (1, 2, 3):
            self.drops.add(self.left(number))
        self.drops.forget([self.left(2).url])
        self.assertEqual([self.left(1).url, self.left(3).url], [each.url for each in DropsFile(self.path).all()])
        self.assertEqual(self.left(1).expires_at, self.drops.all()[0].expires_at)

    def test_private(self):
        """Nobody else can read it, whatever the umask, also when it is changed."""
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        for number in (1, 2):
            self.drops.add(self.left(number))
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (self.path.parent, self.path)]
        self.assertEqual([0o700, 0o600], modes)
        self.assertNotIn(self.left(1).owner_token, repr(self.left(1)))

    def test_find(self):
        """By link, by key, by name; what names two names none."""
        one, two, three = self.left(1), self.left(2), self.left(3, "b.txt")
        for each in (one, two, three):
            self.drops.add(each)
        self.assertEqual(one, attrs.evolve(self.drops.find(one.url), left_at=one.left_at))
        self.assertEqual(two.url, self.drops.find(two.key).url)
        self.assertEqual(three.url, self.drops.find("b.txt").url)
        self.assertRaisesRegex(Local, "2 drops", self.drops.find, "a.txt")
        self.assertRaisesRegex(Local, "No such drop", self.drops.find, "c.txt")

    def test_unusable(self):
        """What is damaged, or newer, is not overwritten."""
        self.path.parent.mkdir(parents=True)
        for text in ("{", "[]", '{"version": 2, "drops": []}'):
            self.path.write_text(text)
            self.assertRaises(Local, self.drops.add, self.left(1))
            self.assertEqual(text, self.path.read_text())

    def test_place(self):
        """Where XDG says."""
        self.assertEqual(Path("/s/filedrop"), drops_file.place({"XDG_STATE_HOME": "/s"}))


class ExitTests(SynchronousTestCase):
    """Exit statuses."""

    def test_kinds(self):
        """The nearest kind in the table counts."""
        self.assertEqual(
            [1, 3, 4, 9, 11, 1],
            [
                status_of(error)
                for error in (Local("x"), Stalled(), PasswordRequired(), TooLarge(), Exists(Path("x")), ClientError())
            ],
        )

    def test_distinct(self):
        """Each status is there once."""
        self.assertEqual(len(TABLE), len({each.status for each in TABLE}))


class ContractTests(SynchronousTestCase):
    """The client knows nothing of the server."""

    def test_all_named(self):
        """Whatever there is of the server is named in the rule that says so."""
        root = Path(__file__).parent.parent
        contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        (forbidden,) = [each["forbidden_modules"] for each in contracts if each["name"].startswith("client/")]
        there = {path.stem for path in (root / "filedropd").iterdir() if path.suffix == ".py" or path.is_dir()}
        there -= {"__init__", "__pycache__", "client", "names", "stream_safe"}  # the last two are for both sides
        self.assertEqual({f"filedropd.{name}" for name in there}, set(forbidden))
