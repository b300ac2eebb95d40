"""The production set-up to try: PostgreSQL, Redis, nginx and two daemons, from wheels, on loopback.

    .venv/bin/python -m tests.stack [--port 8080] [--delivery nginx|stream] [--logs FOLDER]

It is made from the samples in ``etc/``, with the ports and paths of this one in them.  Ctrl-C (or SIGTERM) ends
all of it, and nothing is kept but the logs, where a folder is named for them.  ``docs/deploy.md`` says how to do
the same on Debian.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import attrs

from tests.daemon import ANY_PORT, Daemon
from tests.servers import Nginx, PostgreSQL, Redis, Server

S = TypeVar("S", bound=Server)

ETC: Final = Path(__file__).parent.parent / "etc"
#: The names of the daemons, each of which has a folder of that name.
NAMES: Final = ("daemon-1", "daemon-2")

_NGINX: Final = """
worker_processes 2;
events {{}}
http {{
    default_type application/octet-stream;
    access_log off;
    {}
}}
"""
_TOLD: Final = """
{parts}

Logs: {logs}

Leave a file:   curl -F file=@README.md {url}/api/v1.0/file
Or shorter:     curl -T README.md {url}/
Fetch the link that it prints, once: curl -OJ LINK. The second time it is 410 Gone.

Try what happens when one goes away: kill -9, -STOP and -CONT with the numbers above. Ctrl-C ends all.
"""


class Member(Daemon):
    """A daemon that hears of Ctrl-C from us alone, and ends when we do, however that is."""

    def _command(self) -> list[str]:
        return ["setsid", "setpriv", "--pdeathsig=TERM", "--", *super()._command()]


@attrs.frozen(kw_only=True)
class Stack:
    """All that runs.

    :ivar logs: the folder with a log of each.
    """

    logs: Path
    postgresql: PostgreSQL
    redis: Redis
    daemons: tuple[Member, ...]
    nginx: Nginx

    def told(self) -> str:
        """Return what runs where, and what to do with it."""
        rows = [
            ("nginx", self.nginx.pid, self.nginx.url()),
            *((daemon.folder.name, daemon.pid, daemon.url()) for daemon in self.daemons),
            ("PostgreSQL", self.postgresql.pid, _records(self.postgresql)),
            ("Redis", self.redis.pid, self.redis.url()),
        ]
        parts = "\n".join(f"{name:<12}{pid:>8}  {where}" for name, pid, where in rows)
        return _TOLD.format(parts=parts, logs=self.logs, url=self.nginx.url("")).lstrip()


@contextlib.contextmanager
def running(port: int, delivery: str, logs: Path) -> Iterator[Stack]:
    """Start all, those first that others need; end it in the opposite order.

    :param port: nginx's, on 127.0.0.1.
    :param logs: an empty folder, or one with the logs of an earlier stack, which are gone on with.
    :raises AssertionError: one of them does not start; says what it logged.
    """
    with contextlib.ExitStack() as stack:
        shared = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="filedropd-stack-"))).resolve()
        postgresql = stack.enter_context(_logged(PostgreSQL(fsync=True, **_postgresql_settings()), logs))
        _make_database(postgresql)
        redis = stack.enter_context(_logged(Redis("--include", str(ETC / "redis" / "filedropd.conf")), logs))
        deliveries = shared / "nginx.log"
        options = (
            f"--records={_records(postgresql)}",
            f"--cache={redis.url()}",
            f"--blobs=file:{shared}",
            f"--delivery={delivery}",
            f"--nginx-log={deliveries}",
            "--trusted-proxy=unix",
        )
        daemons = tuple(_member(stack, shared / name, logs, options) for name in NAMES)
        sample = configured(port, [f"unix:{_socket(daemon.folder)}" for daemon in daemons], shared)
        nginx = stack.enter_context(_logged(Nginx(_NGINX.format(sample), port), logs))
        yield Stack(logs=logs, postgresql=postgresql, redis=redis, daemons=daemons, nginx=nginx)


def _member(stack: contextlib.ExitStack, folder: Path, logs: Path, options: Iterable[str]) -> Member:
    """Start a daemon, which ``stack`` ends."""
    folder.mkdir()
    (folder / "log").symlink_to(logs / f"{folder.name}.log")
    # nginx asks on the socket; the port is for whoever wants to ask one of them.
    daemon = Member(folder, *options, listen=(ANY_PORT, f"unix:{_socket(folder)}"))
    stack.callback(daemon.kill)  # where it did not stop in time
    stack.callback(daemon.stop)
    return daemon.start()


def _socket(folder: Path) -> Path:
    return folder / "http.sock"


def _logged(server: S, logs: Path) -> S:
    """Let a server that is not started yet write its log to ``logs``; returns it."""
    (server.folder / "log").symlink_to(logs / f"{type(server).__name__.lower()}.log")
    return server


def configured(port: int, upstream: Iterable[str], data: Path) -> str:
    """Return the sample for nginx, listening on ``port``, with the daemons' addresses and data in it."""
    text = (ETC / "nginx" / "filedropd.conf").read_text(encoding="utf-8")
    servers = "\n".join(f"    server {each};" for each in upstream)
    for before, after, times in (
        ("    listen 80 ", f"    listen 127.0.0.1:{port} ", 1),
        ("    server 127.0.0.1:8002;", servers, 1),
        ("/var/lib/filedropd/", f"{data}/", 2),
        ("access_log /var/log/filedropd/", f"access_log {data}/", 1),
    ):
        if text.count(before) != times:
            raise AssertionError(f"etc/nginx/filedropd.conf has {before!r} {text.count(before)} times, not {times}")
        text = text.replace(before, after)
    return text


def _postgresql_settings() -> dict[str, str]:
    """Return what the sample for PostgreSQL sets."""
    text = (ETC / "postgres" / "filedropd.conf").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+) = (\S+)$", text, re.MULTILINE))


def _make_database(postgresql: PostgreSQL) -> None:
    """Make the role and the database, as the sample does."""
    text = (ETC / "postgres" / "filedropd.sql").read_text(encoding="utf-8")
    for statement in re.findall(r"^[A-Z][^;]*;$", text, re.MULTILINE):
        postgresql.psql(statement)


def _records(postgresql: PostgreSQL) -> str:
    return f"postgresql://filedropd@127.0.0.1:{postgresql.port}/filedropd"


def _taken(port: int) -> bool:
    """Tell whether somebody listens on ``port`` already: nginx would be taken for started."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.stack", description="PostgreSQL, Redis, nginx, two daemons")
    parser.add_argument("--port", type=int, default=8080, help="nginx's, on 127.0.0.1 [default: 8080]")
    parser.add_argument("--delivery", choices=("nginx", "stream"), default="nginx", help="[default: nginx]")
    parser.add_argument("--logs", type=Path, help="keep the logs in this folder [default: they go at the end]")
    arguments = parser.parse_args(words)
    if _taken(arguments.port):
        parser.error(f"port {arguments.port} is in use: choose another one with --port")
    return arguments


def main(words: list[str] | None = None) -> None:
    """Run it until we are told to end."""
    arguments = _arguments(words)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell lets what it puts into the background ignore the first
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        logs = arguments.logs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="filedropd-stack-logs-")))
        logs.mkdir(parents=True, exist_ok=True)
        sys.stdout.write("Starting PostgreSQL, Redis, two daemons and nginx …\n")
        sys.stdout.flush()
        started = stack.enter_context(running(arguments.port, arguments.delivery, logs.resolve()))
        sys.stdout.write(started.told())
        sys.stdout.flush()
        while True:
            signal.pause()


if __name__ == "__main__":
    main()
