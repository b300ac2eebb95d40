"""Kill the daemon again and again, and look at what it makes of what is left.

``kills``: SIGKILL at random moments of a mixed load, and of the restart.  ``calls``: SIGKILL at the
n-th system call that writes, syncs, renames, deletes or sends, for every n that occurs while files are
left, fetched and taken back, and for most while a crash is recovered from (:func:`most`).  Nothing else is
left out: whatever must hold after a crash is looked at after each one (:func:`tests.crash_state.recovered`).

Run it from the repository root: ``python -m tests.crashes kills --rounds 200``, ``python -m tests.crashes calls``.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import shlex
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from tests.crash_calls import Point, killed_at, killed_from_start, refused, watched, watched_from_start
from tests.crash_load import API, Client, connected
from tests.crash_state import quiet, recovered
from tests.crash_world import RECIPIENTS, Answer, World
from tests.daemon import Daemon, eventually

#: Cycles of work after which a daemon makes no new threads.
_WARMING: Final = 2
#: What is broken off waits for longer than this takes.
PATIENT: Final = ("--resume-window=1d",)
#: Of so many calls with one name in a start, and fewer, each is one to be killed at.
_MOST: Final = 40
#: What is counted in the log.
_LOGGED: Final = {
    "uploads found complete, and kept": r"was complete: kept()",
    "uploads found half-way in, and deleted": r"was not complete: deleted()",
    "drops of which downloads were cut off": r"downloads of (\d+) drops were cut off",
}

#: Says at which of the calls with these names, in this order, the daemon is to be killed.
Choice: TypeAlias = Callable[[list[str]], list[Point]]


# -- kills at random -------------------------------------------------------------------------------


def killed_under_load(daemon: Daemon, world: World, clients: int, seconds: float, chance: random.Random) -> None:
    """Let ``clients`` act on the daemon, and kill it after at most ``seconds`` of that."""
    ended = threading.Event()
    threads = [
        threading.Thread(target=Client(world, daemon.port, chance.getrandbits(32)).run, args=(ended,))
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        time.sleep(chance.uniform(0.02, seconds))
    finally:
        daemon.kill()
        ended.set()
        for thread in threads:
            thread.join()
        world.crashed()


def kills(daemon: Daemon, world: World, chance: random.Random, *, rounds: int, clients: int, seconds: float) -> float:
    """Kill a running daemon ``rounds`` times, and one start in four; returns the longest other start, in seconds."""
    longest = took = 0.0
    for _ in range(rounds):
        killed_under_load(daemon, world, clients, seconds, chance)
        if took and chance.random() < 0.25:
            world.count("kills of a start")
            daemon.spawn()
            time.sleep(chance.uniform(0.5, 1.1) * took)
            daemon.kill()
        began = time.monotonic()
        daemon.start()
        took = time.monotonic() - began
        longest = max(longest, took)
        recovered(daemon, world, chance)
    return longest


# -- kills at the n-th call ------------------------------------------------------------------------


def every(calls: list[str]) -> list[Point]:
    """Choose all of ``calls``."""
    return [Point(name, number) for name, total in sorted(Counter(calls).items()) for number in range(1, total + 1)]


def most(calls: list[str]) -> list[Point]:
    """Choose all of ``calls``, but of those that occur very often (a start writes some 2,000 pages of room) some.

    Those that make a commit are among them.
    """
    chosen = dict.fromkeys(torn_commits(calls))
    for name, total in sorted(Counter(calls).items()):
        step = -(-total // _MOST)
        chosen |= dict.fromkeys(Point(name, number) for number in range(1, total + 1, step))
    return list(chosen)


def first_of(*names: str) -> Choice:
    """Return what chooses the first call of each name, as far as there is one."""
    return lambda calls: [Point(name, 1) for name in names if name in calls]


def torn_commits(calls: list[str]) -> list[Point]:
    """Choose the last write before each sync of the database: the one that makes the commit."""
    syncs = [at for at, name in enumerate(calls) if name == "fdatasync"]
    return [Point("pwrite64", calls[:at].count("pwrite64")) for at in syncs]


def cycle(daemon: Daemon, world: World) -> None:
    """Leave two files, fetch one and take the other back, and see both deleted.

    :raises OSError: the daemon is no more; :class:`http.client.HTTPException` where it ended an answer.
    """
    client = Client(world, daemon.port, 0)
    fetched = client.leave(300_000, "raw", 1)
    taken_back = client.leave(5_000, "form", 1)
    if fetched is not None and taken_back is not None:
        client.fetch_this(fetched)
        client.take_back_this(taken_back)
    come_to_rest(daemon)


def come_to_rest(daemon: Daemon) -> None:
    """Wait until the daemon has nothing left to delete, or is no more."""

    def at_rest() -> bool:
        with contextlib.suppress(sqlite3.OperationalError):  # it died, and left what cannot be read without recovery
            return not daemon.running or (" ready\n" in daemon.log() and quiet(daemon))
        return False

    eventually(at_rest, "the daemon has come to rest")


def killed_at_calls(
    daemon: Daemon, world: World, chance: random.Random, chosen: Choice = every
) -> tuple[Counter[str], Counter[str]]:
    """Kill a running daemon at the n-th call of a :func:`cycle`, for all n or for some, and look at it each time.

    :returns: the calls that there are, by name, and those at which it was killed.
    """
    for _ in range(_WARMING):
        cycle(daemon, world)
    calls = watched(daemon, lambda: cycle(daemon, world))
    killed: Counter[str] = Counter()
    for point in chosen(calls):
        if not killed_at(daemon, point, lambda: cycle(daemon, world)):
            continue  # there were fewer this time: how often threads wake each other varies
        killed[point.name] += 1
        world.crashed()
        daemon.start()
        recovered(daemon, world, chance)
        for _ in range(_WARMING):
            cycle(daemon, world)
    return Counter(calls), killed


# -- and in the recovery ---------------------------------------------------------------------------


def crashed(daemon: Daemon, world: World) -> None:
    """Kill a running daemon that has one of each to recover from.

    A drop that nothing happened to; one whose download runs; an upload half-way in; one that has its
    row and not its place.
    """
    client = Client(world, daemon.port, 0)
    client.leave(300_000, "raw", 1)
    running = client.leave(4_000_000, "raw", 1)
    if running is None:
        raise RuntimeError("nothing can be left here")
    download, upload = connected(daemon.port, narrow=True), connected(daemon.port)
    with contextlib.closing(download), contextlib.closing(upload):
        world.asked(running, RECIPIENTS[0])
        download.request("GET", running.path)
        download.getresponse()
        upload.putrequest("PUT", API)
        upload.putheader("Content-Length", "1000000")
        upload.endheaders(bytes(600_000))
        eventually(lambda: daemon.files("incoming"), "the upload is on its way to the disk")
        rename = next(name for name in watched(daemon, lambda: client.leave(1, "raw", 1)) if name.startswith("rename"))
        killed_at(daemon, Point(rename, 1), lambda: client.leave(300_000, "raw", 1))
    world.answered(running, RECIPIENTS[0], Answer(200))
    world.crashed()
    if len(daemon.files("incoming")) != 2:
        raise RuntimeError("the daemon was not killed at its rename")


def killed_at_calls_of_recovery(
    folder: Path, world: World, chance: random.Random, chosen: Choice = most
) -> tuple[Counter[str], Counter[str]]:
    """Kill starts after one crash at the n-th call that changes the disk, and start again; else as above."""
    world.replace([])
    template = Daemon(made(folder / "template")).start()
    try:
        crashed(template, world)
    finally:
        template.kill()
    drops = world.drops()
    calls = watched_from_start(copied(template, folder / "watched"), come_to_rest)
    killed: Counter[str] = Counter()
    for number, point in enumerate(chosen(calls)):
        again = copied(template, folder / str(number))
        killed[point.name] += killed_from_start(again, point, come_to_rest)
        world.replace(drops)
        daemon = Daemon(again)
        try:
            recovered(daemon.start(), world, chance)
        finally:
            daemon.kill()
        shutil.rmtree(again)
    return Counter(calls), killed


def made(folder: Path) -> Path:
    """Make a folder."""
    folder.mkdir()
    return folder


def copied(daemon: Daemon, folder: Path) -> Path:
    """Copy a dead daemon's data to a ``folder`` of its own."""
    shutil.copytree(daemon.data, made(folder) / "data")
    return folder


# -- by hand ---------------------------------------------------------------------------------------


def report(daemon: Daemon, world: World) -> int:
    """Print what was seen, and what was wrong; returns the status to end with."""
    for what, count in sorted(world.seen.items()):
        print(f"{count:7,}  {what}")
    log = daemon.log()
    for what, pattern in _LOGGED.items():
        print(f"{sum(int(found or 1) for found in re.findall(pattern, log)):7,}  {what}")
    if "Traceback" in log:
        world.fault("there is a traceback in the log")
    for fault in world.faults:
        print(f"wrong: {fault}")
    print(f"{len(world.faults)} faults")
    return 1 if world.faults else 0


def table(title: str, calls: Counter[str], killed: Counter[str]) -> None:
    """Print how many calls of each name there are, and at how many of them the daemon was killed."""
    print(f"{title}: {calls.total()} calls, killed at {killed.total()}")
    for name in sorted(calls | killed):
        print(f"    {name:<10} {calls[name]:4}  killed at {killed[name]:4}")


def options() -> argparse.Namespace:
    """Return what stands on the command line."""
    parser = argparse.ArgumentParser(description="Kill the daemon and look at what it makes of what is left.")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of what is left to chance")
    parser.add_argument("--daemon-args", type=shlex.split, default=[], help="more options for the daemon, in one word")
    modes = parser.add_subparsers(dest="mode", required=True)
    at_random = modes.add_parser("kills", help="at random moments of a mixed load")
    at_random.add_argument("--rounds", type=int, default=200, help="kills [200]")
    at_random.add_argument("--clients", type=int, default=8, help="at once [8]")
    at_random.add_argument("--seconds", type=float, default=1.5, help="of load before a kill, at most [1.5]")
    modes.add_parser("calls", help="at the n-th system call, for every n")
    return parser.parse_args()


def main() -> int:
    """Kill, and report; returns 1 unless all was fine."""
    given = options()
    print(f"--seed {given.seed}")
    world, chance = World(given.seed), random.Random(given.seed)
    with contextlib.ExitStack() as undo:
        scratch = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="filedropd-crashes-")))
        daemon = Daemon(scratch, *PATIENT, *given.daemon_args)
        undo.callback(daemon.kill)
        daemon.start()
        if given.mode == "kills":
            longest = kills(daemon, world, chance, rounds=given.rounds, clients=given.clients, seconds=given.seconds)
            print(f"{given.rounds} kills; the longest start took {longest:.2f} s")
        elif reason := refused():
            print(reason)
            return 1
        else:
            table("left, fetched, taken back", *killed_at_calls(daemon, world, chance))
            table("recovered from a crash", *killed_at_calls_of_recovery(scratch, world, chance))
        return report(daemon, world)


if __name__ == "__main__":
    sys.exit(main())
