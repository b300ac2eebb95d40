"""filedropd as it is run in production, started for a test: on PostgreSQL and Redis, and behind nginx.

Each start has a database of its own on the PostgreSQL that this process shares, and where nginx stands in
front, an nginx of its own, with the sample in ``etc/`` and a UNIX socket to the daemon, as ``docs/deploy.md``
says.  It is the daemon that is killed and restarted; nginx stays.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from tests.conformance.adapters import Dialect, Filedropd, OwnFiledropd, Server, Unfit, windowed
from tests.conformance.limits import BY_NGINX, THROUGH_NGINX
from tests.conformance.wire import Endpoint
from tests.servers import Nginx, free_port, postgresql, redis
from tests.stack import configured

#: What nginx may have of a download that its client has not: half a MiB in its kernel (``sndbuf``), and little beside.
BETWEEN: Final = 1024 * 1024
_NGINX: Final = """
worker_processes 1;
events {{}}
http {{
    default_type application/octet-stream;
    access_log off;
    {}
}}
"""
# Databases are numbered.
_one_at_a_time: Final = threading.Lock()


class Postgres(Filedropd):
    """On PostgreSQL and Redis, reached directly."""

    @staticmethod
    def start(folder: Path, window: float | None = None) -> Server:
        """Start one."""
        return OwnStack(folder, *windowed(window))


class ThroughNginx(Filedropd):
    """The same behind nginx: the bytes go from the daemon through it."""

    dialect = attrs.evolve(Filedropd.dialect, between=BETWEEN, limits=THROUGH_NGINX)

    @staticmethod
    def start(folder: Path, window: float | None = None) -> Server:
        """Start one."""
        return BehindNginx(folder, ThroughNginx.dialect, "--delivery=stream", *windowed(window))


class ByNginx(Filedropd):
    """The same behind nginx, which sends the bytes."""

    dialect = attrs.evolve(Filedropd.dialect, between=BETWEEN, outlives=True, limits=BY_NGINX)

    @staticmethod
    def start(folder: Path, window: float | None = None) -> Server:
        """Start one."""
        return BehindNginx(folder, ByNginx.dialect, "--delivery=nginx", *windowed(window))


#: What is tested, by the name of its adapter, in the order in which it is documented; and what it is.
STACKS: Final[Mapping[str, tuple[type[Filedropd], str]]] = {
    "filedropd": (Filedropd, "SQLite, a cache in memory; the daemon itself sends"),
    "filedropd-postgres": (Postgres, "PostgreSQL, Redis; the daemon itself sends"),
    "filedropd-nginx-stream": (ThroughNginx, "PostgreSQL, Redis; the daemon sends through nginx"),
    "filedropd-nginx": (ByNginx, "PostgreSQL, Redis; nginx sends"),
}


class OwnStack(OwnFiledropd):
    """A daemon on PostgreSQL and Redis that was started for a test.

    The first is started on the main thread: so are those that it shares with others (:mod:`tests.servers`).

    :param arguments: options for the daemon.
    :raises Unfit: it does not start.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        with contextlib.ExitStack() as undo:
            with _one_at_a_time:
                database = undo.enter_context(postgresql().database())
            stores = (f"--records={postgresql().url(database)}", f"--cache={redis().url()}")
            super().__init__(folder, *stores, *arguments)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """SIGKILL, and its database goes."""
        super().close()
        self._undo.close()


class BehindNginx(OwnStack):
    """The same, and nginx in front of it.

    :param arguments: options for the daemon.
    :raises Unfit: one of them does not start.
    """

    def __init__(self, folder: Path, dialect: Dialect, *arguments: str) -> None:
        socket = folder / "http.sock"
        super().__init__(folder, f"--listen=unix:{socket}:mode=660", "--trusted-proxy=unix", *arguments)
        self.dialect = dialect
        front = free_port()
        sample = configured(front, [f"unix:{socket}"], self.daemon.data)
        try:
            self._undo.enter_context(Nginx(_NGINX.format(sample), front))
        except AssertionError as error:
            self.close()
            raise Unfit(str(error)) from error
        self.endpoint = Endpoint.of(f"http://127.0.0.1:{front}")
