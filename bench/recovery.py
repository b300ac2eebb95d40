"""How long a daemon that was killed takes until it answers again, with much to look after.

The data directory is made directly, as a crash could have left it: drops in the database and their
(empty) files on the disk, claims that are open, uploads that had their row and had not, drops whose
time came while nobody was there.  Then the daemon is started and asked for one of the files, and the
time is taken from the start of its process to the answer.

Run it from the repository: ``python -m bench.recovery --drops 100000``.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import shlex
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from filedropd.model import Claim, Drop, DropState, Reason, Transfer
from filedropd.records import sql
from filedropd.records.migrations import SCHEMA
from filedropd.records.rows import claim_row, drop_row, transfer_row
from filedropd.records.sqlite_database import Database
from filedropd.tokens import Token, random_name
from tests.daemon import PATIENCE, Daemon, eventually

#: Seconds for which the drops here are kept.
KEPT = 7 * 86_400.0
#: How often the daemon is asked while it deletes what was due.
_ASKED = 100


@attrs.frozen(kw_only=True)
class Amounts:
    """How much of what there is.

    :ivar drops: available ones, whose files are there.
    :ivar claims: of these have a claim that a crash left open.
    :ivar incoming: files of uploads, each second one with its row.
    :ivar due: drops whose time is over.
    :ivar tombstones: drops that are gone, and not forgotten.
    """

    drops: int
    claims: int
    incoming: int
    due: int
    tombstones: int


def new_drop(now: float) -> tuple[Token, Drop]:
    """Return an empty drop, and the link that leads to it."""
    link = Token.mint()
    drop = Drop(
        key=link.key,
        owner_key=Token.mint().key,
        blob=random_name(),
        name="report.bin",
        content_type="application/octet-stream",
        size=0,
        created_at=now,
        expires_at=now + KEPT,
        due_at=now + KEPT,
    )
    return link, drop


def fill(data: Path, amounts: Amounts) -> Token:
    """Make the data directory ``data``; returns the link of a drop that nothing has happened to."""
    now = time.time()
    left = data / "incoming" / random_name()
    left.mkdir(parents=True)
    for number in range(256):
        (data / "blobs" / f"{number:02x}").mkdir(parents=True)
    database = Database(data / "drops.db", durable=False, schema=SCHEMA)
    database.open()
    database.close()
    link, untouched = new_drop(now)
    with contextlib.closing(sqlite3.connect(data / "drops.db")) as connection:
        rows = connection.cursor()
        _add(rows, untouched)
        _published(data, untouched)
        for number in range(amounts.drops - 1):
            _available(data, rows, now, claimed=number < amounts.claims)
        for drop in _over(amounts, now):
            _add(rows, drop)
            if drop.state is not DropState.PURGED:
                _published(data, drop)
        for number in range(amounts.incoming):
            _, drop = new_drop(now)
            _touch(left / drop.blob)
            if number % 2:
                _add(rows, drop)
        connection.commit()
    return link


def _available(data: Path, rows: sqlite3.Cursor, now: float, *, claimed: bool) -> None:
    drop = attrs.evolve(new_drop(now)[1], live=int(claimed), opened=int(claimed))
    _add(rows, drop)
    _published(data, drop)
    if claimed:
        claim = Claim(id=random_name(), drop=drop.key, number=1, opened_at=now, until=now)
        transfer = Transfer(id=random_name(), claim=claim.id, first=0, length=drop.extent, reserved=drop.extent)
        rows.execute(sql.INSERT_CLAIM, claim_row(claim))
        rows.execute(sql.INSERT_TRANSFER, transfer_row(transfer, drop))


def _over(amounts: Amounts, now: float) -> Iterator[Drop]:
    """Yield the drops whose time came while nobody was there, and the tombstones."""
    for _ in range(amounts.due):
        yield attrs.evolve(new_drop(now - KEPT)[1], expires_at=now, due_at=now)
    for _ in range(amounts.tombstones):
        _, drop = new_drop(now)
        yield attrs.evolve(drop, delivered=1, state=DropState.PURGED, reason=Reason.DELIVERED, gone_at=now)


def _add(rows: sqlite3.Cursor, drop: Drop) -> None:
    rows.execute(sql.INSERT_DROP, drop_row(drop))


def _published(data: Path, drop: Drop) -> None:
    _touch(data / "blobs" / drop.blob[:2] / drop.blob)


def _touch(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640))


def ask(daemon: Daemon, method: str, path: str) -> tuple[int, float]:
    """Ask on a connection of its own; returns the status, and the seconds that it took."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
    return answer.status, time.perf_counter() - began


def wrong(daemon: Daemon, amounts: Amounts) -> list[str]:
    """Return what recovery did not do, by the database and the folders, once nothing is due any more."""
    with contextlib.closing(sqlite3.connect(f"file:{daemon.data}/drops.db?mode=ro", uri=True)) as connection:
        (still_open,) = connection.execute("SELECT count(*) FROM claims WHERE state = 'open'").fetchone()
        (suspended,) = connection.execute("SELECT count(*) FROM claims WHERE state = 'suspended'").fetchone()
        (available,) = connection.execute("SELECT count(*) FROM drops WHERE state = 'available'").fetchone()
        blobs = {blob for (blob,) in connection.execute("SELECT blob FROM drops WHERE state = 'available'")}
    faults = []
    if daemon.files("incoming"):
        faults.append(f"{len(daemon.files('incoming'))} files in incoming/")
    if still_open:
        faults.append(f"{still_open} claims open")
    if suspended != amounts.claims:
        faults.append(f"{suspended} claims suspended, and not {amounts.claims}")
    if available != (expected := amounts.drops + amounts.incoming // 2):
        faults.append(f"{available} drops available, and not {expected}")
    if {file.name for file in daemon.files("blobs")} != blobs:
        faults.append("the files in blobs/ are not those of the drops")
    return faults


def nothing_gone(daemon: Daemon) -> bool:
    """Tell whether the bytes of all that is gone are deleted."""
    with contextlib.closing(sqlite3.connect(f"file:{daemon.data}/drops.db?mode=ro", uri=True)) as connection:
        over = "SELECT 1 FROM drops WHERE state = 'gone' OR (state = 'available' AND due_at <= :now) LIMIT 1"
        return connection.execute(over, {"now": time.time()}).fetchone() is None


def measure(folder: Path, amounts: Amounts, given: argparse.Namespace) -> bool:
    """Make the data, start the daemon on it, ask, and print what it took; tells whether all was fine."""
    began = time.perf_counter()
    daemon = Daemon(folder, *given.daemon_args)
    link = fill(daemon.data, amounts)
    print(f"made in {time.perf_counter() - began:.1f} s: {amounts}")
    with contextlib.ExitStack() as undo:
        undo.callback(daemon.kill)
        began = time.perf_counter()
        daemon.start()
        listening = time.perf_counter() - began
        status, _ = ask(daemon, "HEAD", f"/api/v1.0/file/{link.text}")
        answered = time.perf_counter() - began
        print(f"ready after {listening:.2f} s, first answer ({status}) after {answered:.2f} s")
        times = sorted(ask(daemon, "HEAD", f"/api/v1.0/file/{link.text}")[1] * 1000 for _ in range(_ASKED))
        print(f"meanwhile, the reaper at work: {statistics.median(times):.1f} ms an answer, {times[-1]:.1f} at most")
        eventually(lambda: nothing_gone(daemon), "what was due is deleted", given.patience)
        print(f"nothing due any more after {time.perf_counter() - began:.1f} s")
        faults = wrong(daemon, amounts)
        status, _ = ask(daemon, "GET", f"/api/v1.0/file/{link.text}")
    if status != 200:
        faults.append(f"a drop that nothing had happened to: {status}")
    if answered > given.limit:
        faults.append(f"the first answer took more than {given.limit:g} s")
    for fault in faults:
        print(f"wrong: {fault}")
    return not faults


def options() -> argparse.Namespace:
    """Return what stands on the command line."""
    parser = argparse.ArgumentParser(description="Start on a data directory as a crash left it.")
    parser.add_argument("--drops", type=int, default=100_000, help="available, with a file each [100000]")
    parser.add_argument("--claims", type=int, default=1000, help="of them with an open claim [1000]")
    parser.add_argument("--incoming", type=int, default=1000, help="files of uploads, half of them with a row [1000]")
    parser.add_argument("--due", type=int, default=1000, help="drops whose time is over [1000]")
    parser.add_argument("--tombstones", type=int, default=100_000, help="drops that are gone [100000]")
    parser.add_argument("--limit", type=float, default=3.0, help="seconds until the first answer [3]")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds until nothing is due any more [120]")
    parser.add_argument("--daemon-args", type=shlex.split, default=[], help="more options for the daemon, in one word")
    return parser.parse_args()


def main() -> int:
    """Measure; returns 1 unless all was fine."""
    given = options()
    amounts = Amounts(
        drops=given.drops,
        claims=given.claims,
        incoming=given.incoming,
        due=given.due,
        tombstones=given.tombstones,
    )
    with tempfile.TemporaryDirectory(prefix="filedropd-recovery-") as scratch:
        return 0 if measure(Path(scratch), amounts, given) else 1


if __name__ == "__main__":
    sys.exit(main())
