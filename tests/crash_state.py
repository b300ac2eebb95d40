"""What must hold of a daemon that was killed and started again: on its disk, and for its clients."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.crash_load import Client
from tests.crash_world import RECIPIENTS, World
from tests.daemon import Daemon, eventually

#: What may lie in the data directory.
_ENTRIES: Final = {"blobs", "incoming", "drops.db", "drops.db-wal", "drops.db-shm", "drops.db.lock"}


def rows(daemon: Daemon, statement: str) -> list[Any]:
    """Ask the database, beside the daemon."""
    with contextlib.closing(sqlite3.connect(f"file:{daemon.data}/drops.db?mode=ro", uri=True)) as connection:
        return connection.execute(statement).fetchall()


def quiet(daemon: Daemon) -> bool:
    """Tell whether no download runs, and the bytes of all that is finished are deleted, as far as the rows tell."""
    finished = "SELECT 1 FROM drops WHERE state = 'gone' AND (reason = 'revoked' OR live + presumed = 0)"
    return not rows(daemon, "SELECT 1 FROM transfers") and not rows(daemon, finished)


#: Drops whose counts are not those of their claims.
_MISCOUNTED: Final = """
    SELECT live, presumed, delivered FROM drops WHERE state <> 'purged' AND (live, presumed, delivered) <> (
        SELECT COUNT(*) FILTER (WHERE claims.state IN ('open', 'covered', 'suspended')),
               COUNT(*) FILTER (WHERE claims.state = 'presumed'),
               COUNT(*) FILTER (WHERE claims.state IN ('presumed', 'delivered'))
        FROM claims WHERE claims."drop" = drops.key
    )
"""


#: What no claim or transfer of a daemon that has just started may be, and what to call it.
_NOT_PUT_RIGHT: Final = {
    "transfers run": "SELECT * FROM transfers",
    "claims are open": "SELECT * FROM claims WHERE state IN ('open', 'covered')",
    "claims wait for nobody": "SELECT * FROM claims WHERE state IN ('suspended', 'presumed') AND until <= opened_at",
    "the claims of drops are miscounted": _MISCOUNTED,
}


def left_behind(daemon: Daemon) -> Iterator[str]:
    """Say what a daemon that has just started has not put right."""
    for what, statement in _NOT_PUT_RIGHT.items():
        if found := rows(daemon, statement):
            yield f"{what}: {found}"
    if len(found := list((daemon.data / "incoming").iterdir())) != 1 or daemon.files("incoming"):
        yield f"incoming/ has {found}, {daemon.files('incoming')}"
    if others := {entry.name for entry in daemon.data.iterdir()} - _ENTRIES:
        yield f"the data directory has {others}"
    if (told := rows(daemon, "PRAGMA integrity_check")) != [("ok",)]:
        yield f"the database is damaged: {told}"
    yield from _misplaced(daemon)


def _misplaced(daemon: Daemon) -> Iterator[str]:
    """Say in what the files of all drops are not what their rows say."""
    known = dict(rows(daemon, "SELECT blob, size FROM drops WHERE state <> 'purged'"))
    kept = "state = 'available' OR (state = 'gone' AND reason <> 'revoked' AND live + presumed > 0)"
    needed = {blob for (blob,) in rows(daemon, f"SELECT blob FROM drops WHERE {kept}")}
    files = dict(sizes(daemon.files("blobs")))
    if unknown := files.keys() - known.keys():
        yield f"no row knows {unknown}"
    if missing := needed - files.keys():
        yield f"the bytes of {missing} are not there"
    if wrong := {blob for blob in needed & files.keys() if files[blob] != known[blob]}:
        yield f"{wrong} are not as long as their rows say"


def sizes(files: list[Path]) -> Iterator[tuple[str, int]]:
    """Yield the names and sizes of those files that are not deleted meanwhile."""
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            yield file.name, file.stat().st_size


def recovered(daemon: Daemon, world: World, chance: random.Random) -> None:
    """Look at a daemon that was killed and started again: at its disk, and at what its clients get.

    Of the drops some are left for later crashes; what is not certain is asked for now.
    """
    for fault in left_behind(daemon):
        world.fault(fault)
    client = Client(world, daemon.port, chance.getrandbits(32))
    for drop in world.drops():
        if drop.certain and chance.random() < 0.5:
            continue
        for who in chance.sample(RECIPIENTS, chance.randint(1, len(RECIPIENTS))):
            if drop.states:
                client.fetch_this(drop, who)
        if not drop.states or (drop.exhausted and chance.random() < 0.3):
            world.forget(drop)
    eventually(lambda: quiet(daemon), "the bytes of all that is gone are deleted")
    kept = {blob for (blob,) in rows(daemon, "SELECT blob FROM drops WHERE state <> 'purged'")}
    if (there := {file.name for file in daemon.files("blobs")}) != kept:
        world.fault(f"in blobs/ too much: {there - kept}, too little: {kept - there}")
