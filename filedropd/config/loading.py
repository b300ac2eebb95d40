"""filedropd.toml, environment and options become one frozen :class:`Config`; every fault is reported at once.

For each setting the first of these counts that gives it, and the others are not looked at: its
option, its environment variable, its key in the TOML file, its default.  What can be set is said
in :mod:`filedropd.config.settings`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
from twisted.python.usage import UsageError

from filedropd.config.parse import FileURL, MemoryURL, Network, PostgresURL, SQLiteURL
from filedropd.config.settings import CONFIG, SETTINGS
from filedropd.config.sources import Fault, Given, from_defaults, from_environ, from_file, from_options, value_of
from filedropd.rates import Rate
from filedropd.redis_url import RedisURL

# The first of each pair must not be more than the second.
_ORDERED = (("expires", "max-expires"), ("target-limit", "header-limit"))


@attrs.frozen(kw_only=True)
class Config:
    """What the daemon was told. Sizes are bytes, times are seconds, paths are absolute.

    :ivar config: the file that was read, or ``None``.
    :ivar drain: how long transfers go on when the daemon is stopped.
    :ivar log_format: how log events are written.
    :ivar listen: descriptions of endpoints, as Twisted's ``serverFromString`` takes them; one at least.
    :ivar admin_listen: likewise, for what operators ask for; none: on the main ones.
    :ivar public_url: what links begin with, without a slash at its end; ``None``: from the request's Host.
    :ivar api_prefix: the path under which the API stands, without a slash at its end.
    :ivar trusted_proxy: where proxies are whose forwarding fields are believed.
    :ivar data_dir: the folder in which everything is kept unless said otherwise.
    :ivar records: where drops and claims are recorded.
    :ivar records_pool: connections to a PostgreSQL database, at most.
    :ivar blobs: where files are kept.
    :ivar cache: where is kept what may be lost.
    :ivar delivery: how files are handed over.
    :ivar no_zero_copy: the kernel is not to move the bytes of files by itself.
    :ivar nginx_log: where nginx reports its deliveries; ``None``: in the data directory.
    :ivar reserve: what is to stay free on the blobs' disk; ``None``: a twentieth of it, 1 GiB at most.
    :ivar durability: what an upload waits for before it is confirmed.
    :ivar max_file_size: the largest file that is taken.
    :ivar expires: how long a file is kept where its sender does not say it; at most ``max_expires``.
    :ivar max_expires: the longest time that a sender may ask for.
    :ivar upload_rate: how many uploads are taken from one client; ``None``: any number.
    :ivar resume_window: how long a claim of which no transfer runs waits for its recipient.
    :ivar max_attempts: how often a copy may be given up after more than half of it.
    :ivar header_limit: the largest header section of a request.
    :ivar header_count: the most header fields of a request.
    :ivar target_limit: the longest target of a request, in bytes; at most ``header_limit``.
    :ivar max_connections: the most connections at once.
    :ivar head_timeout: how long the head of a request may take to arrive.
    :ivar idle_timeout: how long a connection may be idle between requests.
    :ivar stall_timeout: how long an upload or a download may make no progress.
    :ivar password_memory: memory for one argon2id hash.
    :ivar password_time: passes over the memory for one hash.
    :ivar password_parallel: how many hashes are computed at once.
    """

    config: Path | None
    drain: int
    log_format: Literal["text", "json"]
    listen: tuple[str, ...]
    admin_listen: tuple[str, ...]
    public_url: str | None
    api_prefix: str
    trusted_proxy: tuple[Network, ...]
    data_dir: Path
    records: SQLiteURL | PostgresURL
    records_pool: int
    blobs: FileURL
    cache: MemoryURL | RedisURL
    delivery: Literal["stream", "nginx"]
    no_zero_copy: bool
    nginx_log: Path | None
    reserve: int | None
    durability: Literal["fsync", "none"]
    max_file_size: int
    expires: int
    max_expires: int
    upload_rate: Rate | None
    resume_window: int
    max_attempts: int
    header_limit: int
    header_count: int
    target_limit: int
    max_connections: int
    head_timeout: int
    idle_timeout: int
    stall_timeout: int
    password_memory: int
    password_time: int
    password_parallel: int


class ConfigError(UsageError):
    """The configuration cannot be used. The text has every fault on a line of its own.

    :ivar faults: all of them.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("the configuration cannot be used:\n" + "\n".join(f"  {fault}" for fault in self.faults))


def load(options: Mapping[str, object], environ: Mapping[str, str]) -> Config:
    """Return what ``options`` (name with dashes: text, or several texts), ``environ`` and the file say.

    An option that is ``None`` and a variable that is empty are not set.  The file is the one that
    the setting ``config`` names.

    :raises ConfigError: anything is wrong with any of them.
    """
    faults: list[Fault] = []
    # What stands above the file, which it takes one of them to find.
    above = from_environ(environ, faults) | from_options(options, faults)
    given = from_defaults(environ) | above
    values: dict[str, Any] = {CONFIG.name: value_of(CONFIG, given[CONFIG.name], faults)}
    if values[CONFIG.name] is not None:
        given |= from_file(values[CONFIG.name], given[CONFIG.name], faults) | above
    values |= {setting.name: value_of(setting, given[setting.name], faults) for setting in SETTINGS if setting.in_file}
    for lesser, greater in _ORDERED:
        _check_order(lesser, greater, values, given, faults)
    if faults:
        raise ConfigError(faults)
    for name in ("records", "blobs"):
        values[name] = values[name].within(values["data-dir"])
    return Config(**{setting.key: values[setting.name] for setting in SETTINGS})


def _check_order(
    lesser: str, greater: str, values: Mapping[str, Any], given: Mapping[str, Given], faults: list[Fault]
) -> None:
    if None in {values[lesser], values[greater]} or values[lesser] <= values[greater]:
        return
    less, more = given[lesser], given[greater]
    # The fault is the key that somebody wrote.
    if less.by_default:
        faults.append(
            Fault(more.key, f"must not be less than {less.key}, which is {less.shown} by default", more.shown)
        )
    else:
        default = " by default" if more.by_default else ""
        faults.append(Fault(less.key, f"must not be more than {more.key}, which is {more.shown}{default}", less.shown))
