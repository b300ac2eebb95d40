"""Broken downloads that nobody resumes: what becomes of them when their window is over. On servers with a short one."""

from __future__ import annotations

import functools
import time
from typing import Final

import attrs

from tests.conformance.aborts import left_by, read_until
from tests.conformance.case import Theme
from tests.conformance.stage import FIRST, KIB, MIB, OTHER, SMALL, THIRD, Drop, Stage, check

theme: Final = Theme("Broken downloads that nobody resumes")

_SECONDS: Final = 60.0


def broken(stage: Stage, drop: Drop, octets: int) -> bytes:
    """Break off after so many bytes; returns them."""
    running = stage.begin(drop)
    read_until(running, octets)
    return left_by("rst", running)


def free_again(stage: Stage, drop: Drop) -> None:
    """Return when the window is over and anybody may fetch the file."""
    stage.until(lambda: stage.fetch(drop, OTHER, method="HEAD"), lambda answer: answer.status == 200)


@theme.case(
    "lapse",
    promise="A download that broke half-way and is not resumed in its window: then anybody gets all of the file, once.",
    means="Somebody who gives up in the middle does not keep the file from others for ever.",
    window=2.0,
    seconds=_SECONDS,
)
def lapse(stage: Stage) -> None:
    drop = stage.leave()
    broken(stage, drop, stage.big // 2)
    broke_at = time.monotonic()
    stage.is_busy(drop, OTHER)
    stage.gets_all(drop, OTHER, at_once=False)
    waited = time.monotonic() - broke_at
    check(waited >= 1.5, f"in a window of 2 s another recipient got the file after {waited:.1f} s")
    stage.is_gone(drop, FIRST)


@theme.case(
    "lapse-after-all",
    promise="A download all of whose bytes had left when it broke, and that is not resumed, is never anybody else's.",
    means="Where nobody can know whether it arrived, there is no second copy.",
    window=2.0,
    seconds=_SECONDS,
)
def lapse_after_all(stage: Stage) -> None:
    drops = [stage.leave(size) for size in (1, 500, 4 * KIB, SMALL, MIB)]
    for drop in drops:
        running = stage.begin(drop)
        stage.came_whole(drop, running)
        running.connection.reset()
        stage.is_refused(drop, OTHER)
    for drop in drops:
        stage.is_gone(drop, OTHER, at_once=False)
        stage.is_gone(drop, THIRD)


@theme.case(
    "lapse-and-crash",
    promise="All bytes have left, the server is killed, its client asks again and leaves at once: still nobody else "
    "ever gets a copy.",
    means="No chain of accidents makes a second copy.",
    window=2.0,
    seconds=_SECONDS,
)
def lapse_and_crash(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    running = stage.begin(drop)
    stage.came_whole(drop, running)
    stage.own.kill()
    stage.own.restart()
    stage.begin(drop, FIRST).connection.reset()
    stage.is_gone(drop, OTHER, at_once=False)


@theme.case(
    "lapse-in-parts",
    promise="Two recipients who took one half each and gave up have had one copy between them: a third gets nothing.",
    means="Nobody gathers a second copy from what others gave up.",
    window=2.0,
    seconds=_SECONDS,
)
def lapse_in_parts(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    middle = SMALL // 2
    first = stage.fetch(drop, FIRST, Range=f"bytes=0-{middle - 1}")
    check(first.status == 206, f"the first half came as {first.told}")
    second = stage.fetch_in_time(drop, OTHER, Range=f"bytes={middle}-")
    check(second.status == 206, f"the second half came to another recipient as {second.told}")
    # Each byte has been handed out once: a third recipient would get a second copy of each.
    stage.is_gone(drop, THIRD, at_once=False)


@theme.case(
    "lapse-and-return",
    promise="Who comes back after its window, before anybody else, goes on where it broke, and then it is gone.",
    means="A laptop that was asleep for an hour still gets the rest.",
    window=1.0,
    seconds=_SECONDS,
)
def lapse_and_return(stage: Stage) -> None:
    drop = stage.leave()
    has = broken(stage, drop, stage.big // 2)
    free_again(stage, drop)
    stage.gets_rest(drop, has, FIRST)
    stage.is_gone(drop, OTHER)


@theme.case(
    "lapse-twice",
    promise="Who takes the first half, lets the window pass, takes the second half and breaks off, has had all of it: "
    "nobody else gets anything.",
    means="Two halves in two windows are one copy.",
    window=1.0,
    seconds=_SECONDS,
)
def lapse_twice(stage: Stage) -> None:
    drop = stage.leave()
    has = broken(stage, drop, stage.big // 2)
    free_again(stage, drop)
    rest = stage.begin(drop, FIRST, Range=f"bytes={len(has)}-").rest()
    check(rest.status == 206 and rest.complete, f"the rest came as {rest.told}")
    rest.connection.reset()
    stage.is_refused(drop, OTHER)
    stage.is_gone(drop, OTHER, at_once=False)


@theme.case(
    "lapse-though-touched",
    promise="Asking again and again for a byte that it has does not make a recipient's window longer.",
    means="Nobody keeps half a file, and the link, for ever.",
    window=2.0,
    seconds=_SECONDS,
)
def lapse_though_touched(stage: Stage) -> None:
    drop = stage.leave()
    broken(stage, drop, stage.big // 2)
    ends = time.monotonic() + 15.0
    while not stage.whole(drop, answer := stage.fetch(drop, OTHER)):
        check(time.monotonic() < ends, f"after 15 s another recipient got {answer.told}")
        stage.fetch(drop, FIRST, Range="bytes=0-0")
        time.sleep(0.1)
    stage.is_gone(drop, OTHER)


@theme.case(
    "abandoned",
    promise="When three recipients have taken most of a copy and given up, nothing new starts (410, `abandoned`); a "
    "download of another copy that runs ends whole.",
    means="A file is not handed out in pieces for ever. Nobody else's download suffers.",
    needs="downloads",
    window=1.0,
    seconds=_SECONDS,
)
def abandoned(stage: Stage) -> None:
    drop = stage.leave(downloads=2)
    running = stage.begin(drop, THIRD)
    read_until(running, MIB)
    for number in range(3):
        who = attrs.evolve(FIRST, address=f"127.0.0.{10 + number}")
        answer = stage.until(functools.partial(stage.begin, drop, who), lambda answer: not stage.busy(answer))
        read_until(answer, stage.big * 6 // 10)
        answer.connection.reset()
    stage.is_gone(drop, OTHER, reason="abandoned", at_once=False)
    stage.came_whole(drop, running)
    running.connection.close()
    stage.is_gone(drop, OTHER)


@theme.case(
    "expiry-limit",
    promise="A download that is stretched beyond the file's time is cut off one window after it.",
    means="A file's time does end, even for somebody who reads very slowly.",
    needs="expires",
    window=1.0,
    seconds=_SECONDS,
)
def expiry_limit(stage: Stage) -> None:
    drop = stage.leave(expires=3)
    running = stage.begin(drop)
    read_until(running, MIB)
    began = time.monotonic()
    while not running.connection.lost():
        waited = time.monotonic() - began
        if stage.server.dialect.fronted and waited > 7.0:
            break  # who reads on learns it
        check(waited < 15.0, "15 s after it began, a download of a file with 3 s to live still runs")
        running.read(1)
        time.sleep(0.05)
    stage.was_cut(drop, running)
    stage.is_gone(drop, FIRST)
