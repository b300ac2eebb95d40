"""Going on where a download broke: with curl, with wget, as browsers do."""

from __future__ import annotations

import functools
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from tests.conformance.aborts import left_by, read_until
from tests.conformance.case import Theme
from tests.conformance.stage import FIRST, MIB, OTHER, Drop, Stage, check

theme: Final = Theme("Going on where it broke")

_POLL: Final = 0.01


def _curl(*more: str) -> list[str]:
    return ["curl", "-q", "-sS", "--noproxy", "*", *more]


def _wget(*more: str) -> list[str]:
    return ["wget", "--no-config", "--no-proxy", "--quiet", "--tries=1", *more]


def run(stage: Stage, command: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end; it must end before the case."""
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=stage.deadline.left()
    )


def killed_half_way(stage: Stage, command: Sequence[str], file: Path) -> int:
    """Start a program that downloads to ``file``, kill it (SIGKILL) on its way; returns what it has then."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not file.exists() or file.stat().st_size < MIB:
            check(process.poll() is None, f"{command[0]} ended early with status {process.returncode}")
            time.sleep(min(_POLL, stage.deadline.left()))
    finally:
        process.kill()
        process.wait()
    has = file.stat().st_size
    check(has < stage.large, f"{command[0]} had all before it was killed")
    return has


def resumed(stage: Stage, command: Sequence[str], drop: Drop, file: Path, has: int) -> None:
    """Run the program again until it succeeds: the file is whole then, and it has not begun anew."""
    while (done := run(stage, command)).returncode != 0:
        size = file.stat().st_size
        check(size >= has, f"{command[0]} began anew: {size:,} bytes of {has:,}; {done.stderr!r}")
        time.sleep(min(0.1, stage.deadline.left()))
    check(file.read_bytes() == drop.content, f"{command[0]} has {file.stat().st_size:,} bytes, other ones")


def nothing_more(stage: Stage, drop: Drop, url: str) -> None:
    """Another recipient gets nothing; the same one gets nothing, or its own copy once more."""
    code = ("-o", "/dev/null", "-w", "%{http_code}")
    other = run(stage, _curl("--interface", OTHER.address, *code, url)).stdout.decode()
    check(int(other) in stage.server.dialect.gone, f"curl from another address is answered with {other}")
    # What is sent again to a recipient is not another copy: a server may keep it for a while.
    again = run(stage, _curl(*code, url)).stdout.decode()
    check(int(again) in stage.server.dialect.gone | {200}, f"curl from the same address is answered with {again}")
    stage.is_gone(drop, OTHER)


def by_program(stage: Stage, first: Sequence[str], second: Sequence[str], name: str) -> None:
    """Download with one command, kill it, go on with another."""
    drop = stage.leave(stage.large)
    url = stage.server.endpoint.url + drop.target
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        file = Path(folder, name)
        has = killed_half_way(stage, [*first, str(file), url], file)
        stage.is_busy(drop, OTHER)
        resumed(stage, [*second, str(file), url], drop, file, has)
    nothing_more(stage, drop, url)


@theme.case(
    "curl-resume",
    promise="curl is killed (`kill -9`) half-way, `curl -C -` goes on: the file is whole, and others get 410.",
    means="The command that everybody knows works.",
    needs="curl",
    seconds=30.0,
)
def curl_resume(stage: Stage) -> None:
    by_program(stage, _curl("--limit-rate", "2M", "-o"), _curl("--fail", "-C", "-", "-o"), "curled")


@theme.case(
    "wget-resume",
    promise="wget is killed half-way, `wget -c` goes on: the file is whole, and others get 410.",
    means="The other command that everybody knows works.",
    needs="curl wget",
    seconds=30.0,
)
def wget_resume(stage: Stage) -> None:
    by_program(stage, _wget("--limit-rate=2m", "-O"), _wget("-c", "-O"), "wgot")


@theme.case(
    "browser-resume",
    promise="A broken download goes on with `Range` and `If-Range: <ETag>`, as browsers ask.",
    means="A browser's resume button works.",
)
def browser_resume(stage: Stage) -> None:
    drop = stage.leave()
    running = stage.begin(drop)
    tag = running.field("ETag")
    check(tag and not tag.startswith("W/"), f"the ETag is {tag!r}: nothing to go on with")
    read_until(running, stage.big // 3)
    stage.gets_rest(drop, left_by("rst", running), FIRST, If_Range=tag)
    stage.is_gone(drop, OTHER)


@theme.case(
    "start-over",
    promise="A client that cannot go on and asks for all again after a break gets all, from the start.",
    means="A browser without a resume button works, too.",
)
def start_over(stage: Stage) -> None:
    drop = stage.leave()
    running = stage.begin(drop)
    read_until(running, stage.big // 2)
    left_by("rst", running)
    stage.is_busy(drop, OTHER)
    stage.gets_all(drop, FIRST, at_once=False)
    stage.is_gone(drop, OTHER)


@theme.case(
    "broken-again",
    promise="A download that breaks six times, by RST and FIN in turn, is whole in the end; others got nothing.",
    means="On a bad line the file arrives as well, piece by piece.",
)
def broken_again(stage: Stage) -> None:
    drop = stage.leave()
    has = b""
    for number in range(6):
        who = attrs.evolve(FIRST, fields={"Range": f"bytes={len(has)}-"} if has else {})
        begin = functools.partial(stage.begin, drop, who)
        running = stage.until(begin, lambda answer: not stage.busy(answer))
        read_until(running, MIB // 2 + number)
        has += left_by("fin" if number % 2 else "rst", running)
        stage.is_busy(drop, OTHER)
    stage.gets_rest(drop, has, FIRST)
    stage.is_gone(drop, OTHER)


@theme.case(
    "kept-for-its-own",
    promise="Who broke off, fetched the rest and then misses the beginning can fetch it again in the window; it is gone "
    "for everybody else.",
    means="What the other machine threw away when it broke off is not lost for it.",
)
def kept_for_its_own(stage: Stage) -> None:
    drop = stage.leave()
    running = stage.begin(drop)
    read_until(running, stage.big // 2)
    if stage.server.dialect.fronted:
        time.sleep(0.5)  # a proxy that has passed on all it has would say, by its FIN, that this is delivered
    stage.gets_rest(drop, left_by("rst", running), FIRST)
    stage.is_gone(drop, OTHER)
    stage.gets_all(drop, FIRST)
    stage.is_gone(drop, OTHER)


@theme.case(
    "other-program",
    promise="After a break another program on the same machine is told 423; the one that broke off goes on.",
    means="Several people behind one address are told apart as far as their programs say different names.",
)
def other_program(stage: Stage) -> None:
    drop = stage.leave()
    running = stage.begin(drop)
    read_until(running, stage.big // 2)
    has = left_by("rst", running)
    stage.is_busy(drop, attrs.evolve(FIRST, called="another program", agent="Wget/1.21.3"))
    stage.gets_rest(drop, has, FIRST)
    stage.is_gone(drop, OTHER)


@theme.case(
    "overlap",
    promise="While a download runs, the same client asking for the same bytes is told 423 with a short Retry-After, "
    "and the download is not disturbed.",
    means="A second click does no harm, and says when to come back.",
)
def overlap(stage: Stage) -> None:
    drop = stage.leave()
    running = stage.begin(drop)
    read_until(running, MIB)
    for fields in ({}, {"Range": f"bytes={MIB + 1000}-"}):
        refused = stage.is_busy(drop, FIRST, **fields)
        wait = refused.field("Retry-After")
        check(wait.isdecimal() and int(wait) <= 60, f"Retry-After is {wait!r}")
    stage.came_whole(drop, running)
    running.connection.close()
    stage.is_gone(drop, OTHER)
