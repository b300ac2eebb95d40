# ruff: noqa: T201 - it prints
"""Break what daemons stand on, again and again under load, and count who holds what.

Two daemons have one database, one folder and one cache.  Clients leave files with both, and each file is fetched by
its recipient, now and then with a rival at the same moment; whatever breaks, they go on where it broke, at whichever
daemon.  Meanwhile PostgreSQL is restarted, Redis is killed and started, one of the daemons is killed and
started; the other runs from beginning to end.  Every file whose 201 was seen must be held by one client in the end, whole, and
by no other; its link must be gone at both daemons and its bytes from the disk; no log may have a traceback.

Run it from the repository root: ``python -m tests.chaos --rounds 10``.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shlex
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import attrs

from tests.chaos_end import READY, Inspector, within
from tests.chaos_load import Client
from tests.chaos_stack import Site, running
from tests.chaos_world import File, World


@attrs.frozen(kw_only=True)
class Plan:
    """What is to be done.

    :ivar rounds: outages of each kind.
    :ivar clients: at once.
    :ivar seconds: of load before an outage, at most; what breaks is away for a quarter of that at most.
    :ivar arguments: more options for the daemons.
    """

    seed: int
    rounds: int = 10
    clients: int = 8
    seconds: float = 4.0
    arguments: Sequence[str] = ()


# -- outages ---------------------------------------------------------------------------------------


def postgresql_restarted(site: Site, pause: float) -> None:
    """Stop the database as an operator does, which breaks off what runs in it, and start it."""
    site.postgresql.stop()
    time.sleep(pause)
    site.postgresql.start()


def redis_killed(site: Site, pause: float) -> None:
    """Kill the cache, which forgets all, and start it."""
    site.redis.kill()
    time.sleep(pause)
    site.redis.start()


def daemon_killed(site: Site, pause: float) -> None:
    """Kill a daemon, and start it as systemd would."""
    site.mortal.kill()
    time.sleep(pause)
    site.mortal.start()


Outage = Callable[[Site, float], None]
#: The one for whose duration nothing can be written down.
RECORDS_AWAY: Final = "PostgreSQL restarted"
OUTAGES: Final[dict[str, Outage]] = {
    RECORDS_AWAY: postgresql_restarted,
    "Redis killed": redis_killed,
    "a daemon killed": daemon_killed,
}


def outages(plan: Plan, site: Site, world: World, inspector: Inspector) -> dict[str, float]:
    """Let each break as often as planned, in any order; returns the longest time that each took to be mended."""
    chance = random.Random(plan.seed)
    order = list(OUTAGES) * plan.rounds
    chance.shuffle(order)
    longest = dict.fromkeys(OUTAGES, 0.0)
    checked: set[File] = set()
    for kind in order:
        time.sleep(chance.uniform(0.2, 1) * plan.seconds)
        began = time.monotonic()
        OUTAGES[kind](site, chance.uniform(0, plan.seconds / 4))
        world.count(f"outages: {kind}")
        mended = time.monotonic()
        ready = within(READY, site.are_ready)
        if kind == RECORDS_AWAY:
            world.away.append((began, time.monotonic()))
        if not ready:
            world.fault(f"after this not both daemons are ready within {READY:g} s: {kind}")
            break
        longest[kind] = max(longest[kind], time.monotonic() - mended)
        inspector.check_delivered(checked)
    time.sleep(plan.seconds / 4)
    return longest


# -- all of it -------------------------------------------------------------------------------------


@contextlib.contextmanager
def loaded(plan: Plan, site: Site, world: World) -> Iterator[None]:
    """Let the clients act for as long as the block runs."""
    ended = threading.Event()
    chance = random.Random(plan.seed + 1)
    with ThreadPoolExecutor(plan.clients) as threads:
        for _ in range(plan.clients):
            threads.submit(Client(world, site.daemons, chance.getrandbits(32)).run, ended)
        try:
            yield
        finally:
            ended.set()


def run(plan: Plan, folder: Path) -> tuple[World, dict[str, float]]:
    """Do all of it in ``folder``; returns what was seen, and the longest time that each kind took to be mended.

    :raises AssertionError: something does not start.
    """
    world = World(plan.seed)
    with running(folder, plan.arguments) as site:
        began = site.survivor.pid
        inspector = Inspector(site=site, world=world, client=Client(world, site.daemons, plan.seed + 2))
        with loaded(plan, site, world):
            longest = outages(plan, site, world, inspector)
            world.resting = True
            inspector.check_all()
        if not site.survivor.running or site.survivor.pid != began:
            world.fault(f"the survivor did not survive: {site.survivor.log()[-2_000:]}")
    return world, longest


def report(world: World, longest: dict[str, float], seconds: float) -> int:
    """Print what was seen, and what was wrong; returns the status to end with."""
    for what, count in sorted(world.seen.items()):
        print(f"{count:8,}  {what}")
    for kind, took in longest.items():
        print(f"{took:8.2f}  seconds until both daemons were ready again, at most: {kind}")
    for fault in world.faults:
        print(f"wrong: {fault}")
    print(f"{len(world.faults)} faults; {seconds:.0f} s")
    return 1 if world.faults else 0


def options() -> argparse.Namespace:
    """Return what stands on the command line."""
    parser = argparse.ArgumentParser(description="Break what two daemons stand on, under load; count who holds what.")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of what is left to chance")
    parser.add_argument("--rounds", type=int, default=10, help="outages of each kind [10]")
    parser.add_argument("--clients", type=int, default=8, help="at once [8]")
    parser.add_argument("--seconds", type=float, default=4.0, help="of load before an outage, at most [4]")
    parser.add_argument("--delivery", choices=("stream",), default="stream", help="how the bytes go out [stream]")
    parser.add_argument("--daemon-args", type=shlex.split, default=[], help="more options for the daemons, in one word")
    return parser.parse_args()


def main() -> int:
    """Break, and report; returns 1 unless all was fine."""
    given = options()
    print(f"--seed {given.seed}", flush=True)
    plan = Plan(
        seed=given.seed,
        rounds=given.rounds,
        clients=given.clients,
        seconds=given.seconds,
        arguments=[f"--delivery={given.delivery}", *given.daemon_args],
    )
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="filedropd-chaos-") as folder:
        world, longest = run(plan, Path(folder))
    return report(world, longest, time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
