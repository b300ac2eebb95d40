"""What :mod:`tests.chaos` breaks: a database, a cache and two daemons, each at an address that stays the same."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from tests.daemon import PATIENCE
from tests.servers import PostgreSQL, Redis, free_port
from tests.stack import Member

#: What broke off waits for longer than all of this takes.
_PATIENT: Final = "--resume-window=1d"
#: What must not be in a daemon's log.
_BAD: Final = re.compile(r"^\S+ (?=critical |.*Traceback)(.*)$", re.MULTILINE)
_LONG_LINE: Final = 2_000
_KEPT: Final = "SELECT encode(key, 'hex'), name, state, round(due_at - extract(epoch FROM now())) FROM drops WHERE state <> 'purged'"


class Target(Member):
    """One of the daemons, at a port that it keeps, and of which it is known when it was killed."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.address = free_port()
        self.kills: list[float] = []
        super().__init__(folder, *arguments, listen=(f"tcp:{self.address}:interface=127.0.0.1",))

    def kill(self) -> None:
        """End it as a crash does, and note when."""
        self.kills.append(time.monotonic())
        super().kill()

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.name

    def killed_between(self, begin: float, end: float) -> bool:
        """Tell whether it was killed in this time."""
        return any(begin <= at <= end for at in self.kills)

    def is_ready(self) -> bool:
        """Tell whether it says that files can be taken and handed out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.address, timeout=PATIENCE)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        return False

    def bad_lines(self) -> Counter[str]:
        """Return the lines of its log that must not be there, without their times, counted."""
        return Counter(line[:_LONG_LINE] for line in _BAD.findall(self.log()))


@attrs.frozen
class Kept:
    """A drop that the records still have bytes for.

    :ivar due: seconds until a daemon is to look at it.
    """

    key: str
    name: str
    state: str
    due: str


@attrs.frozen(kw_only=True)
class Site:
    """All that runs.

    :ivar survivor: the daemon that is never killed.
    :ivar mortal: the one that is.
    :ivar shared: the folder of both with the files.
    """

    postgresql: PostgreSQL
    redis: Redis
    survivor: Target
    mortal: Target
    shared: Path

    @property
    def daemons(self) -> Sequence[Target]:
        """Both."""
        return (self.survivor, self.mortal)

    def are_ready(self) -> bool:
        """Tell whether both say so."""
        return all(daemon.is_ready() for daemon in self.daemons)

    def kept(self) -> list[Kept]:
        """Return the drops that the records still have bytes for."""
        rows = self.postgresql.psql(_KEPT).splitlines()
        return [Kept(*row.split("|")) for row in rows]

    def files(self, folder: str) -> list[Path]:
        """Return the files below ``blobs`` or ``incoming``, without the daemons' own."""
        found = [Path(parent, name) for parent, _, names in os.walk(self.shared / folder) for name in names]
        return [path for path in found if not path.name.startswith(".")]

    def take_back(self, drop: Kept) -> str:
        """Take a drop back of which nobody has the link, as an operator does; returns what went wrong."""
        command = [str(Path(sys.executable).with_name("filedropd-admin")), f"--records={self.postgresql.url()}"]
        command += [f"--blobs=file:{self.shared}", f"--data-dir={self.survivor.data}", "revoke", drop.key]
        done = subprocess.run(command, cwd=self.shared, capture_output=True, text=True, check=False)
        return done.stderr if done.returncode else ""

    def shown(self, drop: Kept) -> str:
        """Return what the records know of a drop's claims."""
        rows = self.postgresql.psql(
            "SELECT number, state, sent, confirmed, (SELECT count(*) FROM transfers WHERE claim = claims.id) "
            f"FROM claims WHERE \"drop\" = '\\x{drop.key}' ORDER BY number"
        )
        return json.dumps(rows.splitlines())


@contextlib.contextmanager
def running(folder: Path, arguments: Sequence[str]) -> Iterator[Site]:
    """Start all, with more options for the daemons; end it in the opposite order."""
    with contextlib.ExitStack() as stack:
        postgresql = stack.enter_context(PostgreSQL())
        redis = stack.enter_context(Redis())
        shared = folder / "shared"
        options = (f"--records={postgresql.url()}", f"--cache={redis.url()}", f"--blobs=file:{shared}", _PATIENT)
        daemons = []
        for name in ("survivor", "mortal"):
            home = folder / name
            home.mkdir()
            daemon = Target(home, *options, *arguments)
            stack.callback(daemon.kill)
            daemons.append(daemon.start())
        survivor, mortal = daemons
        yield Site(postgresql=postgresql, redis=redis, survivor=survivor, mortal=mortal, shared=shared)
