"""Settings: each grammar, where values come from, and that every fault is told at once, in words."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import attrs
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactor
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

import filedropd
from filedropd.config import (
    GROUPS,
    SETTINGS,
    Config,
    ConfigError,
    FileURL,
    MemoryURL,
    Options,
    PostgresURL,
    SQLiteURL,
    load,
    parse_duration,
    parse_endpoint,
    parse_size,
)
from filedropd.config.parse import (
    parse_api_prefix,
    parse_blobs,
    parse_cache,
    parse_count,
    parse_path,
    parse_public_url,
    parse_records,
)

ROOT = Path(filedropd.__file__).parent.parent
SAMPLE = ROOT / "etc" / "filedropd.toml"
IN_FILE = [setting for setting in SETTINGS if setting.in_file]

# Any text at all, lone surrogates and NULs included, and texts that come near to meaning something.
ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.text(
    st.sampled_from("019kKMGiBsmhd:/.@[]?#%=\\-+_１ tcpunix")
)
ANY_TOML = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
)


def toml_bytes(document: dict[str, Any]) -> bytes:
    """Write ``document`` in TOML, as far as it can be said there."""
    return "\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in document.items()).encode(errors="replace")


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value) if isinstance(value, (str, bool)) else str(value)


def value_text(value: object) -> object:
    """Return a value from TOML with its integer as text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


def refusal(parse: Any, text: str) -> str:
    """Return the words with which ``parse`` refuses ``text``, or none."""
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return ""


def faults(options: dict[str, Any] | None = None, environ: dict[str, str] | None = None) -> list[str]:
    """Return the faults of a configuration, one line each."""
    try:
        load(options or {}, environ or {})
    except ConfigError as error:
        return [str(fault) for fault in error.faults]
    return []


class GrammarCase(SynchronousTestCase):
    """Tables of what is taken, and for what, and of what is refused, and why."""

    def check(self, parse: Any, taken: dict[str, object], refused: dict[str, str]) -> None:
        for text, value in taken.items():
            self.assertEqual(parse(text), value, text)
        for text, words in refused.items():
            self.assertIn(words, refusal(parse, text) or "taken", ascii(text))


class ParseTests(GrammarCase):
    def test_sizes(self):
        """Sizes are whole bytes with units of 1024 or 1000, in ASCII, without a sign, and fit into a file offset."""
        taken: dict[str, object] = {
            "0": 0,
            "4096": 4096,
            "0010": 10,
            "512KiB": 512 * 1024,
            "16MiB": 16 * 1024**2,
            "1GiB": 1024**3,
            "2TiB": 2 * 1024**4,
            "8KB": 8_000,
            "8kB": 8_000,
            "8mib": 8 * 1024**2,
            "3MB": 3_000_000,
            "1GB": 10**9,
            "9223372036854775807": 2**63 - 1,
        }
        wrong = ["", " ", "MiB", "-1", "+1", "1.5MiB", "16 MiB", " 16MiB", "16MiB\n", "1_000", "16M", "0x10", "1e3"]
        strange = ["１6MiB", "٣", "²", "1\u212aiB", "1\u212aB", "1K\u0130B"]
        refused = dict.fromkeys([*wrong, *strange], "is not a size: write")
        refused |= {"9223372036854775808": "larger than any file", "9999999TiB": "larger than any file"}
        refused |= {"1" * 20: "more than 19 digits", "1" * 100_000: "more than 19 digits"}
        self.check(parse_size, taken, refused)

    def test_durations(self):
        """Times are whole seconds, minutes, hours or days, and no longer than 100 years."""
        taken: dict[str, object] = {
            "0": 0,
            "90": 90,
            "90s": 90,
            "15m": 900,
            "12h": 43_200,
            "7d": 604_800,
            "36500d": 36_500 * 86_400,
        }
        wrong = ["", "s", "-1s", "+1s", "1.5h", "1 h", "1h\n", "1h30m", "15M", "1w", "１h", "٣h", "1_0", "inf"]
        refused = dict.fromkeys(wrong, "is not a time: write")
        refused |= {"36501d": "longer than 100 years", "9" * 5_000 + "d": "more than 19 digits"}
        self.check(parse_duration, taken, refused)

    def test_counts(self):
        """Numbers are ASCII digits, and fit into 31 bits."""
        refused = dict.fromkeys(["", "-1", "1.0", "１", "1\n", "1_0"], "is not a number: write")
        refused |= {"2147483648": "at most", "9" * 5_000: "more than 19 digits"}
        self.check(parse_count, {"0": 0, "007": 7, "2147483647": 2**31 - 1}, refused)

    def test_paths(self):
        """Relative paths are taken from the working directory; what no file system has is refused."""
        refused = {"": "is empty", "a\0b": "NUL", "\ud800": "cannot stand in a path"}
        self.check(parse_path, {"/srv/x": Path("/srv/x"), "x": Path.cwd() / "x", "/\udcff": Path("/\udcff")}, refused)

    def test_no_working_directory(self):
        """A relative path is refused in words where the working directory is gone."""
        gone = Path(self.mktemp())
        gone.mkdir()
        code = (
            "import os; from filedropd.config import ConfigError, load\nos.rmdir(os.getcwd())\n"
            "try: load({'data-dir': 'x'}, {})\nexcept ConfigError as error: print(error)"
        )
        told = subprocess.run(
            [sys.executable, "-c", code], cwd=gone, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=True
        )
        self.assertIn(b"--data-dir 'x': is relative, and the working directory cannot be used", told.stdout)

    def test_stores(self):
        """Stores are named by the schemes that are known, and a refusal says which these are."""
        records: dict[str, object] = {
            "sqlite:": SQLiteURL(Path("drops.db")),
            "sqlite:/srv/x.db": SQLiteURL(Path("/srv/x.db")),
            "postgresql://u@h/db": PostgresURL("postgresql://u@h/db"),
        }
        for url in (
            "postgres:///db?host=/run/postgresql",
            "postgresql://u:p%40w%2F@[::1]:5,h:6/db",
            "postgresql:///db?host=@socket",
            "postgresql:///db?host=/a@b",
        ):
            records[url] = PostgresURL(url)
        known = "is not known: write sqlite: or sqlite:PATH, or a URL such as postgresql://user@host/database"
        refused = dict.fromkeys(["", "sqlite", "SQLITE:", "mysql://u@h/db", "/srv/x.db"], known)
        self.check(parse_records, records, refused | {"sqlite:///x.db": "two slashes", "sqlite:\0": "NUL"})
        blobs: dict[str, object] = {"file:": FileURL(Path()), "file:/srv/x": FileURL(Path("/srv/x"))}
        known = "is not known: write file: or file:PATH"
        self.check(parse_blobs, blobs, {"s3://bucket": known, "": known, "file:///srv": "two slashes"})
        self.check(
            parse_cache, {"memory:": MemoryURL()}, dict.fromkeys(["", "memory", "memcached://h"], "write memory:")
        )

    def test_public_urls(self):
        """A public URL is http or https, has nothing but host, port and path, and loses its last slash."""
        taken: dict[str, object] = {
            "https://files.example.org": "https://files.example.org",
            "HTTP://h:8080/": "http://h:8080",
            "https://h/drop/": "https://h/drop",
            "https://[2001:db8::1]:443/%7Ex": "https://[2001:db8::1]:443/%7Ex",
        }
        refused = dict.fromkeys(["", "h", "h:80", "ftp://h", "//h", "/x", "https:h"], "https://files.example.org")
        refused |= dict.fromkeys(["http://", "http:///x", "http://:80", "http://h:x"], "no valid host")
        refused |= dict.fromkeys(["http://h?", "http://h/?a=b", "http://h#", "http://h/#x"], "neither a query")
        refused |= dict.fromkeys(["http://h:0", "http://h:65536"], "outside of 1 to 65535")
        refused |= dict.fromkeys(["http://h\n", "http://h/a b", "http://bücher.example", "http://h\t"], "%-encoded")
        refused |= {"http://u:p@h": "user name", "http://[::1": "is not a URL", "http://[1.2.3.4]": "is not a URL"}
        refused |= {"http://h/<x>": "must be %-encoded", "http://h/%zz": "must be %-encoded"}
        refused |= {"http://h:" + "9" * 5_000: "more than 19 digits"}
        self.check(parse_public_url, taken, refused)

    def test_api_prefixes(self):
        """An API prefix begins with a slash, loses its last one, and is written alike by every client."""
        taken: dict[str, object] = {"/api/v1.0": "/api/v1.0", "/a/": "/a", "/~a_b-c": "/~a_b-c"}
        refused = dict.fromkeys(["", "/", "//", "api", "/a//b", "/a b", "/a%20", "/ä", "/a\n", "/<x>"], "is not a path")
        self.check(parse_api_prefix, taken, refused | {"/a/../b": "clients take them away", "/.": "clients take"})


class ParseEndpointTests(GrammarCase):
    def test_backlog(self):
        """A backlog of 4096 is added where none is named, and where systemd does not listen already."""
        for text in ["tcp:8002", r"tcp:8002:interface=\:\:1", "ssl:443:privateKey=k.pem", "unix:/run/x", "tcp:port=0"]:
            self.assertEqual(parse_endpoint(text), f"{text}:backlog=4096")
        named = ["tcp:8002:backlog=10", "tcp:8002:127.0.0.1:10", "unix:/run/x:660:10"]
        for text in [*named, "systemd:domain=INET:name=http", "systemd:UNIX:index=0"]:
            self.assertEqual(parse_endpoint(text), text)

    def test_refused(self):
        """What could not be opened on any machine is refused, and what is wrong with it is said."""
        refused = dict.fromkeys(["", ":", "8002", "tcp6:80", "TCP:80", "http:80", "/run/x"], "of a known kind")
        refused |= dict.fromkeys(["tcp:", "tcp:-1", "tcp:65536", "tcp:８0", "tcp:8_0", "ssl:https"], "a port from 0")
        refused |= {
            "tcp": "does not say its port",
            "unix": "does not say its address",
            "tcp:80:interface=::1": "needs a backslash",
        }
        refused |= {"tcp:80:x:1:y": "too many", "tcp:80:host=h": "unknown field", "tcp:80:port=81": "port twice"}
        refused |= {"tcp:80:interface=a b": "IP address", "tcp:80:backlog=0": "backlog", "tcp:80:backlog=x": "backlog"}
        refused |= {"ssl:1:k:sslmethod=Context": "TLS_METHOD"}
        refused |= {"unix:": "must have a path", f"unix:/{'x' * 107}": "107 bytes", f"unix:/{'ä' * 54}": "107 bytes"}
        refused |= {"unix:/x:mode=888": "octal", "unix:/x:lockfile=yes": "0 or 1", "unix:\0x": "NUL"}
        refused |= {"unix:\ud800": "cannot stand", "tcp:80\\": "backslash", "systemd:X:index=0": "as domain"}
        refused |= {"systemd:INET": "either index= or", "systemd:INET:0:http": "either", "systemd:INET:x": "as index"}
        self.check(parse_endpoint, {}, refused)

    @given(
        st.sampled_from(["tcp:", "unix:"]),
        st.lists(
            st.sampled_from([":", ":", "=", "\\", "80", "/x", "660", "0", "1", "port", "interface", "backlog", "mode"])
            | st.sampled_from(
                ["address=", "lockfile=", "interface=127.0.0.1", "\\:\\:1", "port=", "mode=", "backlog="]
            ),
            max_size=8,
        ),
    )
    @example("tcp:", ["80", ":", "interface=", "\\:\\:1"])
    @example("unix:", ["/x\\=\\\\y", ":", "mode=", "660"])
    def test_twisted_agrees(self, kind, pieces):
        """Whatever is taken, Twisted takes too."""
        text = kind + "".join(pieces)
        if not refusal(parse_endpoint, text):
            serverFromString(MemoryReactor(), parse_endpoint(text))


class LoadTests(SynchronousTestCase):
    def file(self, text: str) -> str:
        """Write a configuration file and return its path."""
        path = Path(self.mktemp()).absolute()
        path.write_text(text, encoding="utf-8")
        return str(path)

    def test_defaults(self):
        """Without any configuration there is one, and it is the documented one."""
        here = Path.cwd() / "filedropd-data"
        expected = Config(
            config=None,
            drain=10,
            log_format="text",
            no_zero_copy=False,
            listen=("tcp:8002:interface=127.0.0.1:backlog=4096",),
            public_url=None,
            admin_listen=(),
            nginx_log=None,
            upload_rate=None,
            api_prefix="/api/v1.0",
            trusted_proxy=(),
            data_dir=here,
            records=SQLiteURL(here / "drops.db"),
            records_pool=8,
            blobs=FileURL(here),
            cache=MemoryURL(),
            delivery="stream",
            reserve=None,
            durability="fsync",
            max_file_size=16 * 1024 * 1024,
            expires=7 * 86_400,
            max_expires=30 * 86_400,
            resume_window=15 * 60,
            max_attempts=3,
            header_limit=16 * 1024,
            header_count=100,
            target_limit=8 * 1024,
            max_connections=16_384,
            head_timeout=10,
            idle_timeout=75,
            stall_timeout=60,
            password_memory=19 * 1024 * 1024,
            password_time=2,
            password_parallel=2,
        )
        self.assertEqual(load({}, {}), expected)

    def test_precedence(self):
        """An option beats the environment, which beats the file, which beats the default."""
        path = self.file("max_file_size = 3\nheader_count = 3\npassword_time = 3")
        environ = {"FILEDROPD_MAX_FILE_SIZE": "2", "FILEDROPD_HEADER_COUNT": "2"}
        config = load({"config": path, "max-file-size": "1"}, environ)
        self.assertEqual((config.max_file_size, config.header_count, config.password_time), (1, 2, 3))
        self.assertEqual(config.password_parallel, 2)
        self.assertEqual(config.config, Path(path))

    def test_overruled(self):
        """What is overruled is not looked at."""
        path = self.file("max_file_size = true\nexpires = '40d'")
        environ = {"FILEDROPD_CONFIG": path, "FILEDROPD_EXPIRES": "soon"}
        self.assertEqual(load({"expires": "1d", "max-file-size": "1"}, environ).expires, 86_400)

    def test_empty(self):
        """An empty variable is not set; an empty option takes back what has no default."""
        environ = {"FILEDROPD_EXPIRES": "", "FILEDROPD_NONSENSE": "", "FILEDROPD_PUBLIC_URL": "http://h"}
        self.assertEqual(load({}, environ).public_url, "http://h")
        self.assertEqual(load({"public-url": ""}, environ).public_url, None)
        self.assertEqual(faults({"expires": ""})[0].partition(": ")[0], "--expires ''")

    def test_flag(self):
        """A flag is an option without a value, a boolean in TOML, and true or false elsewhere."""
        options = Options({})
        options.parseOptions(["--no-zero-copy"])
        self.assertFalse(options.configuration.zero_copy)
        self.assertFalse(load({"config": self.file("no_zero_copy = true")}, {}).zero_copy)
        self.assertFalse(load({}, {"FILEDROPD_NO_ZERO_COPY": "true"}).zero_copy)
        self.assertTrue(load({}, {"FILEDROPD_NO_ZERO_COPY": "false"}).zero_copy)
        self.assertIn("is neither true nor false", faults({}, {"FILEDROPD_NO_ZERO_COPY": "perhaps"})[0])
        self.assertIn("must be true or false", faults({"config": self.file("no_zero_copy = 1")})[0])

    def test_lists(self):
        """A list is an option given several times, a variable with commas, an array in TOML, or one text."""
        both = ("tcp:1:backlog=4096", "unix:/x:backlog=4096")
        toml = self.file('listen = ["tcp:1", "unix:/x"]')
        self.assertEqual(load({"listen": ["tcp:1", "unix:/x"]}, {}).listen, both)
        self.assertEqual(load({}, {"FILEDROPD_LISTEN": "tcp:1, unix:/x"}).listen, both)
        self.assertEqual(load({"config": toml}, {}).listen, both)
        self.assertEqual(load({"config": self.file('listen = "tcp:1"')}, {}).listen, both[:1])

    def test_state_directory(self):
        """The first directory that systemd made is the data directory, unless something else is said."""
        environ = {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}
        config = load({}, environ)
        self.assertEqual(config.data_dir, Path("/var/lib/a"))
        self.assertEqual(config.records, SQLiteURL(Path("/var/lib/a/drops.db")))
        self.assertEqual(load({"config": self.file("data_dir = '/srv'")}, environ).data_dir, Path("/srv"))
        self.assertEqual(load({}, {"STATE_DIRECTORY": ""}).data_dir.name, "filedropd-data")

    def test_placed(self):
        """A store's relative path is taken from the data directory, an absolute one as it is."""
        config = load({"data-dir": "/srv", "records": "sqlite:db/x.db", "blobs": "file:/mnt"}, {})
        self.assertEqual((config.records, config.blobs.path), (SQLiteURL(Path("/srv/db/x.db")), Path("/mnt")))

    def test_servers(self):
        """A database and a cache that daemons share are named by their URLs, which do not show a password."""
        config = load({"records": "postgresql://me:secret@db/drops", "cache": "redis://:secret@host/2"}, {})
        self.assertEqual(PostgresURL("postgresql://me:secret@db/drops"), config.records)
        self.assertEqual("redis://host:6379/2", str(config.cache))
        self.assertNotIn("secret", repr(config))
        for setting, text in (
            ("records", "postgresql://["),
            ("cache", "redis://host/x"),
            ("cache", "memcached://host"),
        ):
            with self.assertRaises(ConfigError):
                load({setting: text}, {})

    def test_password(self):
        """The password of a URL that cannot be used is not shown, wherever the URL has it and whatever is in it."""
        for text in (
            "postgresql://me:se cret@[",
            "postgresql://me:se@cret@host/db?bogus=1",
            "postgresql://me:se/cret@host/db?bogus=1",
            "postgresql://me@here:se:cret@host/db?bogus=1",
            "postgresql://me:se@cret@host/db",
            "postgresql://me:x@se:cret@host/db",
            "postgresql://me:se/cret@host/db",
            "postgresql://host/db?user=me&password=secret&bogus=1",
            "postgresql://host/db?PassWord=se cret&bogus=1",
            "postgresql://host/db?bogus=1&sslpassword=secret",
            "host=db password='se cret'",
            "redis://me:secret@host/x",
            "redis://:se@cret@host/x",
            "redis://host/0?password=secret",
        ):
            setting = "cache" if text.startswith("redis") else "records"
            error = self.assertRaises(ConfigError, load, {setting: text}, {})
            self.assertIn("…", str(error), text)
            self.assertNotIn("cret", str(error), text)

    def test_all_at_once(self):
        """Every fault is told at once, on a line of its own, under the key that was written, with its value."""
        path = self.file('header_count = "ten"\nmax_fil_size = 1')
        options = {"config": path, "max-file-size": "16M", "listen": ["tcp:1", "tcp:x", "udp:1"], "expires": "31d"}
        environ = {"FILEDROPD_DELIVERY": "apache", "FILEDROPD_EXPIRE": "1d", "HOME": "/"}
        error = self.assertRaises(ConfigError, load, options, environ)
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        keys = [
            "FILEDROPD_EXPIRE: is no setting; did you mean FILEDROPD_EXPIRES?",
            f"max_fil_size in {path}: is no setting; did you mean max_file_size?",
            "--listen 'tcp:x': must have a port",
            "--listen 'udp:1': is not an endpoint",
            "FILEDROPD_DELIVERY 'apache': is not known: write stream or nginx",
            "--max-file-size '16M': is not a size",
            f"header_count in {path} 'ten': is not a number",
            "--expires '31d': must not be more than --max-expires, which is '30d' by default",
        ]
        self.assertEqual([line[: len(key)] for line, key in zip(lines, keys, strict=True)], keys)

    def test_order(self):
        """Two settings that do not go together are told under the one that somebody wrote."""
        told = faults({}, {"FILEDROPD_MAX_EXPIRES": "1d", "FILEDROPD_TARGET_LIMIT": "2KiB"})
        self.assertEqual(
            told, ["FILEDROPD_MAX_EXPIRES '1d': must not be less than --expires, which is '7d' by default"]
        )
        told = faults({"header-limit": "4KiB", "target-limit": "5KiB"})
        self.assertEqual(told, ["--target-limit '5KiB': must not be more than --header-limit, which is '4KiB'"])
        self.assertEqual(faults({"header-limit": "8KiB", "expires": "30d"}), [])

    def test_bounds(self):
        """What would leave nothing to work with is refused; a drain of nothing is not."""
        least = {"max-file-size": "0", "expires": "0", "max-expires": "0", "header-limit": "1023", "header-count": "0"}
        least |= {"target-limit": "255", "head-timeout": "0", "idle-timeout": "0s", "stall-timeout": "0"}
        least |= {"resume-window": "0", "max-attempts": "0", "max-connections": "0"}
        least |= {"password-memory": "8191", "password-time": "0", "password-parallel": "0"}
        told = faults(least)
        self.assertEqual({line.split()[0] for line in told}, {f"--{name}" for name in least})
        self.assertEqual([line for line in told if "must be at least" not in line], [])
        self.assertIn("at most 4294967295KiB", faults({"password-memory": "4TiB"})[0])
        self.assertEqual(load({"drain": "0"}, {}).drain, 0)

    def test_toml_types(self):
        """TOML's integers do for numbers; other types are refused with the one to write."""
        config = load({"config": self.file("max_file_size = 5\nexpires = 60\npassword_time = 0x3")}, {})
        self.assertEqual((config.max_file_size, config.expires, config.password_time), (5, 60, 3))
        wrong = {"max_file_size": "true", "header_count": "1.5", "password_time": "[1]", "expires": "2020-01-01"}
        wrong |= {"log_format": "5", "data_dir": "true", "target_limit": "-1", "cache": "{}", "listen": "[]"}
        wrong |= {"drain": "0x" + "f" * 9_000}
        told = faults({"config": self.file("\n".join(f"{key} = {value}" for key, value in wrong.items()))})
        self.assertEqual({line.split()[0] for line in told}, set(wrong))
        self.assertNotIn("f" * 20, " ".join(told))
        self.assertIn("true: must be a whole number or a text in quotes", " ".join(told))
        self.assertIn("(a number): is out of range", " ".join(told))

    def test_unreadable_files(self):
        """A file that is missing, a directory, too large, not UTF-8 or not TOML is a fault that says which and why."""
        binary = Path(self.file(""))
        binary.write_bytes(b"x = '\xff'")
        reasons = {
            "/nonexistent/f.toml": "cannot be read: No such file or directory",
            "/": "cannot be read: Is a directory",
            "/dev/zero": "has more than 1048576 bytes",
            str(binary): "is not TOML: byte 6 is not UTF-8",
            self.file("expires = "): "is not TOML: Invalid value (at end of document)",
            self.file("expires = 1\nexpires = 2"): "is not TOML: Cannot overwrite a value",
            self.file(f"listen = {'[' * 50_000}"): "is nested too deeply",
            self.file(f"expires = {'1' * 5_000}"): "is not TOML",
        }
        for path, reason in reasons.items():
            told = faults({"config": path, "drain": "x"})
            # A path may be longer than what is shown of a value.
            self.assertIn(f"--config {path[:20]!r}"[:-1], told[0])
            self.assertIn(f": {reason}", told[0])
            self.assertIn("--drain", told[-1])

    def test_config_in_file(self):
        """The file cannot name another, nor have tables."""
        path = self.file("config = 'x'\n[limits]\nexpires = 1")
        self.assertEqual([line.split()[0] for line in faults({"config": path})], ["config", "limits"])

    def test_no_terminal_codes(self):
        """What a terminal would act on is shown escaped, and a long value is cut."""
        path = self.file('"a\\nb\\u001b" = 1')
        told = faults({"config": path, "expires": "\x1b[2J\n", "drain": "x" * 5_000}, {"FILEDROPD_\n": "1"})
        self.assertEqual([line for line in told if not line.isprintable() or len(line) > 300], [])

    @given(st.sampled_from(SETTINGS), ANY_TEXT)
    @example(SETTINGS[0], "\0")
    def test_any_text(self, setting, text):
        """Any text for any setting, as an option or a variable, makes a configuration or one fault a line."""
        for options, environ in [({setting.name: text}, {}), ({}, {setting.variable: text})]:
            self.check_told(options, environ)

    @given(
        st.binary() | st.dictionaries(st.sampled_from([s.key for s in IN_FILE]) | ANY_TEXT, ANY_TOML).map(toml_bytes)
    )
    def test_any_file(self, content):
        """Any file makes a configuration or one fault a line."""
        path = Path(self.mktemp())
        path.write_bytes(content)
        self.check_told({"config": str(path)}, {})

    def check_told(self, options: dict[str, Any], environ: dict[str, str]) -> None:
        try:
            load(options, environ)
        except ConfigError as error:
            self.assertEqual(len(str(error).splitlines()), 1 + len(error.faults))
            self.assertTrue(error.faults)


class OptionsTests(SynchronousTestCase):
    def parse(self, *arguments: str, **environ: str) -> Config:
        options = Options(environ)
        options.parseOptions(list(arguments))
        return options.configuration

    def test_parsed(self):
        """The command line and the environment make the configuration; --listen adds up."""
        config = self.parse("--listen=tcp:1", "--listen", "tcp:2", "--expires=1d", FILEDROPD_DRAIN="3s")
        self.assertEqual(config.listen, ("tcp:1:backlog=4096", "tcp:2:backlog=4096"))
        self.assertEqual((config.expires, config.drain), (86_400, 3))

    def test_every_setting(self):
        """Every setting is an option, a variable, and a field of Config."""
        for setting in SETTINGS:
            with self.assertRaises(UsageError, msg=setting.name) as caught:
                self.parse(f"{setting.option}=\0")
            if setting.flag:
                self.assertIn(setting.option, str(caught.exception))
            else:
                self.assertEqual([fault.key for fault in caught.exception.faults], [setting.option])
            self.assertIn(f"{setting.variable} '\\x00'", faults({}, {setting.variable: "\0"})[0])
        self.assertEqual([field.name for field in attrs.fields(Config)], [setting.key for setting in SETTINGS])

    def test_fields_described(self):
        """Every field of Config is described."""
        described = re.findall(r":ivar (\w+): \S", Config.__doc__ or "")
        self.assertEqual(described, [field.name for field in attrs.fields(Config)])

    def test_usage_error(self):
        """Faults are a UsageError, which twistd prints; so is what is no option."""
        self.assertRaises(UsageError, self.parse, "--expires=x")
        error = self.assertRaises(UsageError, self.parse, "start")
        self.assertEqual(str(error), "'start' is no option; filedropd takes options only")
        self.assertRaises(UsageError, self.parse, "--nonsense")

    def test_help(self):
        """The help has every setting with its default, in its group, at most as wide as the terminal."""
        text = Options({}).getUsage(width=80)
        words = " ".join(text.split())
        for group in GROUPS:
            self.assertIn(f"{group.title}: {group.settings[0].option}=", words)
            for setting in group.settings:
                value = "" if setting.flag else f"={setting.metavar}"
                self.assertIn(f"{setting.option}{value} {' '.join(setting.usage.split())}", words)
                self.assertIn(f"[default: {setting.default_help or setting.default}]", setting.usage)
        self.assertEqual([line for line in text.splitlines() if len(line) > 80], [])

    def test_examples(self):
        """The examples in the help are configurations, but for files that are not there."""
        for _, command in Options.examples:
            arguments = command.removeprefix("twistd -n filedropd").split()
            self.assertIsInstance(self.parse(*(word for word in arguments if "--config" not in word)), Config)
            self.assertIn(arguments[-1] if arguments else command, Options({}).getUsage(width=80))


class SampleTests(SynchronousTestCase):
    def uncommented(self) -> str:
        """Return the sample with each setting in force."""
        return re.sub(r"(?m)^#(?=\w+ = )", "", SAMPLE.read_text(encoding="utf-8"))

    def test_defaults(self):
        """The sample has every setting, in the order of the help, with its default as text."""
        sample = tomllib.loads(self.uncommented())
        self.assertEqual(list(sample), [setting.key for setting in IN_FILE])
        for setting in IN_FILE:
            value = sample[setting.key]
            self.assertEqual(
                list(setting.defaults) if setting.repeatable else setting.default, value_text(value), setting.key
            )

    def test_in_force(self):
        """With all its settings in force the sample loads, and means what no file means."""
        path = Path(self.mktemp()).absolute()
        path.write_text(self.uncommented(), encoding="utf-8")
        config = load({"config": str(path)}, {})
        self.assertEqual(attrs.evolve(config, config=None), load({}, {}))

    def test_as_it_is(self):
        """As it stands the sample sets nothing, and loads."""
        self.assertEqual(tomllib.loads(SAMPLE.read_text(encoding="utf-8")), {})
        self.assertEqual(load({"config": str(SAMPLE)}, {}).config, SAMPLE)

    def test_described(self):
        """Each setting has one to three lines of words above it, and each group its heading."""
        text = SAMPLE.read_text(encoding="utf-8")
        for setting in IN_FILE:
            self.assertRegex(text, rf"\n\n(# .+\n){{1,3}}#{setting.key} = ")
        for group in GROUPS:
            self.assertIn(f"\n# -- {group.title} --", text)
