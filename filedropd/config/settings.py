"""The catalogue of settings: one row each. Options, environment, file, defaults and help derive from it.

To add one: a row here, a field in :class:`filedropd.config.Config`, and a line in
``etc/filedropd.toml``.  The tests fail until the three agree.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from filedropd.config.endpoints import parse_endpoint
from filedropd.config.parse import (
    bounded,
    one_of,
    optional,
    parse_api_prefix,
    parse_blobs,
    parse_cache,
    parse_count,
    parse_duration,
    parse_flag,
    parse_network,
    parse_path,
    parse_public_url,
    parse_records,
    parse_size,
)
from filedropd.rates import parse_rate

#: What the names of our environment variables begin with.
PREFIX = "FILEDROPD_"


@attrs.frozen
class Setting:
    """What can be set, how, and to what.

    :ivar name: with dashes, as the option has it.
    :ivar metavar: what stands for its value in the help.
    :ivar default: its default, as one would write it.
    :ivar parse: makes the value of a text, or raises a ValueError that completes "<name> <text>: …".
    :ivar help: what it does, in one sentence without a full stop.
    :ivar default_help: the default in words, where its text would not say it.
    :ivar repeatable: it can be given several times; the value is a tuple, empty where the default is.
    :ivar number: in TOML it may be an integer, too.
    :ivar flag: its option has no value and stands for ``true``; in TOML it is a boolean.
    :ivar in_file: it can stand in the configuration file.
    """

    name: str
    metavar: str
    default: str
    parse: Callable[[str], object]
    help: str
    default_help: str = attrs.field(default="", kw_only=True)
    repeatable: bool = attrs.field(default=False, kw_only=True)
    number: bool = attrs.field(default=False, kw_only=True)
    flag: bool = attrs.field(default=False, kw_only=True)
    in_file: bool = attrs.field(default=True, kw_only=True)

    @property
    def defaults(self) -> tuple[str, ...]:
        """Its default as items, of which a repeatable setting may have none."""
        return (self.default,) if self.default or not self.repeatable else ()

    @property
    def key(self) -> str:
        """Its name in TOML, and in :class:`~filedropd.config.Config`."""
        return self.name.replace("-", "_")

    @property
    def option(self) -> str:
        """Its name on the command line."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.key.upper()

    @property
    def written(self) -> str:
        """Its option with what stands for its value, as the help has it."""
        return self.option if self.flag else f"{self.option}={self.metavar}"

    @property
    def usage(self) -> str:
        """Its help with its default."""
        return f"{self.help} [default: {self.default_help or self.default}]"


@attrs.frozen
class Group:
    """Settings that belong together.

    :ivar title: what they are about.
    """

    title: str
    settings: tuple[Setting, ...]


def _size(name: str, default: str, least: str, help_: str, most: str | None = None) -> Setting:
    return Setting(name, "SIZE", default, bounded(parse_size, least, most), help_, number=True)


def _time(name: str, default: str, least: str, help_: str) -> Setting:
    return Setting(name, "TIME", default, bounded(parse_duration, least), help_, number=True)


def _count(name: str, default: str, help_: str) -> Setting:
    return Setting(name, "N", default, bounded(parse_count, "1"), help_, number=True)


def _flag(name: str, help_: str) -> Setting:
    return Setting(name, "BOOLEAN", "false", parse_flag, help_, default_help="off", flag=True)


def _word(name: str, known: tuple[str, ...], help_: str) -> Setting:
    return Setting(name, "|".join(known), known[0], one_of(*known), help_)


#: Where the configuration file is. The one setting that cannot stand in it.
CONFIG = Setting(
    "config",
    "PATH",
    "",
    optional(parse_path),
    "read settings from this TOML file",
    default_help="none",
    in_file=False,
)

#: Every setting, in the order of the help and of the sample file.
GROUPS: tuple[Group, ...] = (
    Group(
        "The daemon",
        (
            CONFIG,
            _time("drain", "10s", "0s", "when stopped, let transfers go on for this long"),
            _word("log-format", ("text", "json"), "one line of text, or one JSON object, for each log event"),
        ),
    ),
    Group(
        "Addresses and links",
        (
            Setting(
                "listen",
                "ENDPOINT",
                "tcp:8002:interface=127.0.0.1",
                parse_endpoint,
                "listen here: a Twisted endpoint (tcp:, ssl:, unix:, systemd:), with a backlog of 4096 where it "
                "names none; may be given several times",
                repeatable=True,
            ),
            Setting(
                "admin-listen",
                "ENDPOINT",
                "",
                parse_endpoint,
                "listen here for /metrics, /healthz and /readyz; without, /metrics is for this machine alone",
                default_help="none",
                repeatable=True,
            ),
            Setting(
                "public-url",
                "URL",
                "",
                optional(parse_public_url),
                "write links under this http or https URL",
                default_help="from the request's Host",
            ),
            Setting("api-prefix", "PATH", "/api/v1.0", parse_api_prefix, "the path under which the API stands"),
            Setting(
                "trusted-proxy",
                "NETWORK",
                "",
                parse_network,
                "believe X-Forwarded-For, -Proto, -Host, -Port and Forwarded from here: an address, a network such as "
                "10.0.0.0/8, or unix for UNIX sockets; may be given several times",
                default_help="none",
                repeatable=True,
            ),
        ),
    ),
    Group(
        "Storage",
        (
            Setting(
                "data-dir",
                "PATH",
                "./filedropd-data",
                parse_path,
                "the folder in which everything is kept unless said otherwise",
                default_help="$STATE_DIRECTORY, else ./filedropd-data",
            ),
            Setting(
                "records",
                "URL",
                "sqlite:",
                parse_records,
                "where drops and claims are recorded: sqlite: (drops.db in the data directory), sqlite:PATH, a "
                "relative PATH from the data directory, or postgresql://user@host/database (any URL of libpq's)",
            ),
            _count("records-pool", "8", "connections to a PostgreSQL database, at most"),
            Setting(
                "blobs",
                "URL",
                "file:",
                parse_blobs,
                "where files are kept: file: (the data directory) or file:PATH, a relative PATH from the data directory",
            ),
            Setting(
                "cache",
                "URL",
                "memory:",
                parse_cache,
                "where is kept what may be lost: memory:, or redis://host:port/db (unix:///path?db=N), which daemons share",
            ),
            _word(
                "delivery",
                ("stream", "nginx"),
                "how files are handed over: stream, by the daemon itself; nginx, by the nginx in front of it",
            ),
            _flag("no-zero-copy", "move the bytes of files by hand, and never let the kernel do it (sendfile)"),
            Setting(
                "nginx-log",
                "PATH",
                "",
                optional(parse_path),
                "where nginx reports its deliveries",
                default_help="nginx.log in the data directory",
            ),
            Setting(
                "reserve",
                "SIZE",
                "",
                optional(parse_size),
                "leave so much of the blobs' disk free: an upload that would take it is refused with 507",
                default_help="a twentieth of the disk, 1GiB at most",
                number=True,
            ),
            _word(
                "durability",
                ("fsync", "none"),
                "what an upload waits for before it is confirmed: fsync, the disk; none, nothing, so that a power "
                "failure may lose it",
            ),
        ),
    ),
    Group(
        "Uploads",
        (
            _size("max-file-size", "16MiB", "1", "the largest file that is taken"),
            _time("expires", "7d", "1s", "how long a file is kept where its sender does not say it"),
            _time("max-expires", "30d", "1s", "the longest time that a sender may ask for"),
            Setting(
                "upload-rate",
                "RATE",
                "none",
                parse_rate,
                "take at most so many uploads from one client, as in 10/m or 100/h",
            ),
        ),
    ),
    Group(
        "Downloads",
        (
            _time("resume-window", "15m", "1s", "how long a download that broke off waits for its recipient"),
            _count("max-attempts", "3", "how often a copy may be given up after more than half of it; 1 is strict"),
        ),
    ),
    Group(
        "Requests",
        (
            _size("header-limit", "16KiB", "1KiB", "the largest header section of a request"),
            _count("header-count", "100", "the most header fields of a request"),
            _size("target-limit", "8KiB", "256", "the longest target (path and query) of a request"),
            _count("max-connections", "16384", "the most connections at once; more are answered 503 and closed"),
            _time("head-timeout", "10s", "1s", "how long the head of a request may take to arrive"),
            _time("idle-timeout", "75s", "1s", "how long a connection may be idle between requests"),
            _time("stall-timeout", "60s", "1s", "how long an upload or a download may make no progress"),
        ),
    ),
    Group(
        "Passwords (argon2id)",
        (
            # The bounds are those of RFC 9106, section 3.1: 8 KiB a lane, less than 2^32 KiB.
            _size("password-memory", "19MiB", "8KiB", "memory for one hash", most=f"{2**32 - 1}KiB"),
            _count("password-time", "2", "passes over the memory for one hash"),
            _count("password-parallel", "2", "how many hashes are computed at once"),
        ),
    ),
)

#: Every setting, in the same order.
SETTINGS: tuple[Setting, ...] = tuple(setting for group in GROUPS for setting in group.settings)
