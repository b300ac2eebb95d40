"""Small things over many connections: answers for what is gone or never was, and whole drops of 4 KiB."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final
from urllib.parse import urlsplit

from bench import wire
from bench.asking import Count, ask_gone, make_drops
from bench.peers import Hello, NotHere, Seedstack, StaticNginx
from bench.report import Comparison, Target
from bench.sides import FILE_PATH, Done, Given, Side, alternate, daemon
from bench.usage import Processes
from tests.daemon import Daemon, eventually
from tests.servers import PostgreSQL, Redis

_GONE: Final = "filedropd, gone"
_UNKNOWN: Final = "filedropd, unknown"
_POSTGRESQL: Final = "filedropd, PostgreSQL + Redis"
_SQLITE: Final = "filedropd, SQLite"
_NGINX: Final = "nginx, return 404"
_SEED: Final = "seedstack"
_SEED_GONE: Final = "seedstack, gone"
_SEED_UNKNOWN: Final = "seedstack, unknown"
#: How many links are asked for in turn.
_LINKS: Final = 200
_SIZE: Final = 4096
#: Answers that make a drop.
_STEPS: Final = 3
#: Seconds for which a side works before anything is measured.
_WARM: Final = 1.0

Tell = Callable[[str], None]


def gone(given: Given, tell: Tell) -> Comparison:
    """Answers for what is gone, or was never there."""
    absent: list[str] = []
    with ExitStack() as stack:
        sides = _our_refusals(stack, given) + _short_refusals(stack, given) + _seed_refusals(stack, given, absent)
        return Comparison(
            title=f"Answers for gone and unknown ids, {given.connections} connections",
            note=f"{_LINKS} links in turn, one request at a time on each connection.",
            unit="answers/s",
            per=(1e5, "100,000"),
            ours=(_GONE, _UNKNOWN),
            ran=alternate(sides, given.runs, tell),
            targets=[
                Target(peer=_NGINX, ours=_GONE, rate=0.3),
                Target(peer=_NGINX, ours=_UNKNOWN, rate=0.3),
                Target(peer=_SEED_GONE, ours=_GONE, rate=10.0),
                Target(peer=_SEED_UNKNOWN, ours=_UNKNOWN, rate=10.0),
            ],
            absent=absent,
        )


def drops(given: Given, tell: Tell) -> Comparison:
    """Whole drops."""
    absent: list[str] = []
    with ExitStack() as stack:
        sides = [_with_postgresql(stack, given), _with_sqlite(stack, given), *_seed_drops(stack, given, absent)]
        return Comparison(
            title=f"Whole drops of 4 KiB, {given.connections} connections",
            note=(
                "An upload as a form, its download, and the 410 for asking again, one after the other on each "
                "connection. All sync; the CPU time is that of all parts, databases included, until the bytes are "
                "deleted."
            ),
            unit="drops/s",
            per=(1e3, "1,000"),
            ours=(_POSTGRESQL, _SQLITE),
            ran=alternate(sides, given.runs, tell),
            targets=[
                Target(peer=_SEED, ours=_POSTGRESQL, rate=10.0),
                Target(peer=_SEED, ours=_SQLITE, rate=12.0),
            ],
            absent=absent,
        )


# -- refusals ----------------------------------------------------------------------------------------


def _refusals(given: Given, name: str, processes: Processes, port: int, paths: Sequence[str]) -> Side:
    """Return a side that is asked for ``paths``."""

    def act() -> Done:
        return _done(name, ask_gone(given.wrk, port, paths, given.connections, given.seconds))

    ask_gone(given.wrk, port, paths, given.connections, _WARM)
    return Side(name=name, processes=processes, act=act)


def _our_refusals(stack: ExitStack, given: Given) -> list[Side]:
    made = daemon(stack, given)
    processes = Processes([made.pid])
    gone = [spent(made.port, FILE_PATH) for _ in range(_LINKS)]
    return [
        _refusals(given, _GONE, processes, made.port, gone),
        _refusals(given, _UNKNOWN, processes, made.port, list(map(unknown, gone))),
    ]


def _short_refusals(stack: ExitStack, given: Given) -> list[Side]:
    nginx = stack.enter_context(StaticNginx())
    klein, resource = stack.enter_context(Hello("klein")), stack.enter_context(Hello("resource"))
    paths = [f"{FILE_PATH}/{secrets.token_hex(16)}" for _ in range(_LINKS)]
    refused = [f"/gone/{secrets.token_hex(16)}" for _ in range(_LINKS)]
    return [
        _refusals(given, _NGINX, Processes([nginx.pid]), nginx.port, refused),
        _refusals(given, "Klein, one route", Processes([klein.pid]), klein.port, paths),
        _refusals(given, "twisted.web, a resource", Processes([resource.pid]), resource.port, paths),
    ]


def _seed_refusals(stack: ExitStack, given: Given, absent: list[str]) -> list[Side]:
    seed = _seedstack(stack, given, absent)
    if seed is None:
        return []
    processes = Processes(seed.pids())
    gone = [spent(seed.port, seed.path) for _ in range(_LINKS)]
    return [
        _refusals(given, _SEED_GONE, processes, seed.port, gone),
        _refusals(given, _SEED_UNKNOWN, processes, seed.port, list(map(unknown, gone))),
    ]


def spent(port: int, path: str) -> str:
    """Leave a small file and fetch it; returns the path of its link, which is gone."""
    before, after = wire.form(path, _SIZE)
    left = wire.ask(port, before + bytes(_SIZE) + after)
    if left.status != 201:
        raise RuntimeError(f"an upload was answered with {left.status}: {left.body[:200]!r}")
    link = urlsplit(str(json.loads(left.body)["url"])).path
    wire.ask(port, wire.get(link))

    def asked() -> bool:
        return wire.ask(port, wire.get(link)).status == 410

    eventually(asked, "what was fetched is gone")
    return link


def unknown(link: str) -> str:
    """Return a path like that of ``link``, whose id nobody was given."""
    base, _, known = link.rpartition("/")
    return f"{base}/{secrets.token_hex(len(known))[: len(known)]}"


# -- whole drops -------------------------------------------------------------------------------------


def _dropping(
    given: Given, name: str, processes: Processes, *, port: int, path: str, swept: Callable[[], object] = lambda: None
) -> Side:
    """Return a side that takes and gives whole drops."""

    def counted(seconds: float) -> Count:
        count = make_drops(given.wrk, port, path, _SIZE, connections=given.connections, seconds=seconds)
        swept()
        return count

    def act() -> Done:
        return _done(name, counted(2 * given.seconds), _STEPS)

    counted(_WARM)
    return Side(name=name, processes=processes, act=act)


def _ours(given: Given, name: str, made: Daemon, *others: int) -> Side:
    broken_off = itertools.count(given.connections, given.connections)  # at most: clients stopped in the midst of it

    def swept() -> None:
        most = next(broken_off)
        eventually(lambda: len(made.files("blobs")) <= most, "the bytes are deleted")

    processes = Processes([made.pid, *others])
    return _dropping(given, name, processes, port=made.port, path=FILE_PATH, swept=swept)


def _with_sqlite(stack: ExitStack, given: Given) -> Side:
    return _ours(given, _SQLITE, daemon(stack, given))


def _with_postgresql(stack: ExitStack, given: Given) -> Side:
    postgresql = stack.enter_context(PostgreSQL(fsync=True))
    redis = stack.enter_context(Redis())
    made = daemon(stack, given, f"--records={postgresql.url()}", f"--cache={redis.url()}")
    return _ours(given, _POSTGRESQL, made, postgresql.pid, redis.pid)


def _seed_drops(stack: ExitStack, given: Given, absent: list[str]) -> list[Side]:
    seed = _seedstack(stack, given, absent)
    if seed is None:
        return []
    return [_dropping(given, _SEED, Processes(seed.pids()), port=seed.port, path=seed.path)]


# -- both --------------------------------------------------------------------------------------------


def _seedstack(stack: ExitStack, given: Given, absent: list[str]) -> Seedstack | None:
    try:
        return stack.enter_context(Seedstack(*given.seedstack))
    except NotHere as why:
        absent.append(str(why))
        return None


def _done(name: str, count: Count, each: int = 1) -> Done:
    """Return what was counted, ``each`` answers to a unit; nothing of it may be wrong."""
    if count.wrong or not count.right:
        raise RuntimeError(f"{name}: {count.right} were right and {count.wrong} were not")
    return Done(units=count.right / each, seconds=count.seconds, client=count.client)
