"""Parts of a file: probes, pieces one after the other, pieces at the same time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import attrs

from tests.conformance.answers import Answer
from tests.conformance.case import Theme
from tests.conformance.stage import FIRST, KIB, MIB, OTHER, SMALL, THIRD, Drop, Stage, check

theme: Final = Theme("Parts of a file")


def check_part(drop: Drop, answer: Answer, first: int, last: int) -> None:
    """The answer is 206 with the bytes from ``first`` to ``last``."""
    size = len(drop.content)
    place = answer.field("Content-Range")
    check(answer.status == 206 and answer.complete, f"bytes={first}-{last} is answered with {answer.told}")
    check(place == f"bytes {first}-{last}/{size}", f"bytes={first}-{last} of {size} has Content-Range {place!r}")
    check(answer.body == drop.content[first : last + 1], f"bytes={first}-{last} are other bytes")


@theme.case(
    "probe",
    promise="`bytes=0-0` gets one byte; its recipient gets all of the file right after it.",
    means="A video player or a download manager that tries whether parts can be had does not burn the file.",
)
def probe(stage: Stage) -> None:
    drop = stage.leave()
    check_part(drop, stage.fetch(drop, Range="bytes=0-0"), 0, 0)
    stage.gets_all(drop, FIRST, at_once=False)
    stage.is_gone(drop, OTHER)


@theme.case(
    "probe-by-another",
    promise="After somebody's `bytes=0-0` anybody else gets all of the file within some seconds.",
    means="Somebody else's probe locks nobody out.",
)
def probe_by_another(stage: Stage) -> None:
    drop = stage.leave()
    check_part(drop, stage.fetch(drop, Range="bytes=0-0"), 0, 0)
    stage.gets_all(drop, OTHER, at_once=False)
    stage.is_gone(drop, FIRST)


@theme.case(
    "probe-tail",
    promise="`bytes=-500` gets the last 500 bytes; its recipient gets all of the file right after it.",
    means="A program that reads the index at the end of an archive first can read the rest.",
)
def probe_tail(stage: Stage) -> None:
    drop = stage.leave()
    check_part(drop, stage.fetch(drop, Range="bytes=-500"), stage.big - 500, stage.big - 1)
    stage.gets_all(drop, FIRST, at_once=False)
    stage.is_gone(drop, OTHER)


@theme.case(
    "multi-range",
    promise="Several ranges in one request are answered with the whole file, once.",
    means="Nobody gets the file twice by asking for it in an odd way.",
)
def multi_range(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    stage.gets_all(drop, Range="bytes=0-9,20-29")
    stage.is_gone(drop, OTHER)


@theme.case(
    "unsatisfiable",
    promise="A range behind the end is answered 416 and takes nothing.",
    means="`curl -C -` on a file that is complete does no harm.",
)
def unsatisfiable(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    seen = stage.fetch(drop, Range=f"bytes={SMALL}-")
    check(seen.status == 416, f"a range behind the end is answered with {seen.told}")
    place = seen.field("Content-Range")
    check(place == f"bytes */{SMALL}", f"416 has Content-Range {place!r}")
    stage.gets_all(drop, OTHER)


@theme.case(
    "in-order",
    promise="Two ranges that make up the file are one download: both come, and then it is gone.",
    means="A program that reads in pieces gets all of them.",
)
def in_order(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    middle = SMALL // 2
    check_part(drop, stage.fetch(drop, Range=f"bytes=0-{middle - 1}"), 0, middle - 1)
    stage.is_busy(drop, OTHER)
    rest = stage.fetch_in_time(drop, Range=f"bytes={middle}-")
    check_part(drop, rest, middle, SMALL - 1)
    stage.is_gone(drop, OTHER)
    stage.is_gone(drop, FIRST)


@theme.case(
    "backwards",
    promise="The second half and then the first are one download, too.",
    means="In which order a program reads does not matter.",
)
def backwards(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    middle = SMALL // 2
    check_part(drop, stage.fetch(drop, Range=f"bytes={middle}-"), middle, SMALL - 1)
    stage.is_busy(drop, OTHER)
    first = stage.fetch_in_time(drop, Range=f"bytes=0-{middle - 1}")
    check_part(drop, first, 0, middle - 1)
    stage.is_gone(drop, OTHER)


@theme.case(
    "accelerator",
    promise="Four connections with a quarter each, at the same time: each gets its 206, together they are the file, "
    "and then it is gone.",
    means="Download accelerators (aria2, axel) work.",
)
def accelerator(stage: Stage) -> None:
    quarter = MIB + stage.between
    drop = stage.leave(4 * quarter)
    ready = threading.Barrier(4)

    def run(number: int) -> Answer:
        connection = stage.connect()
        ready.wait(stage.deadline.left())
        asked = f"bytes={number * quarter}-{(number + 1) * quarter - 1}"
        answer = connection.ask(drop.target, fields={"Range": asked}).rest()
        connection.close()
        return answer

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(run, range(4)))
    for number, answer in enumerate(answers):
        check_part(drop, answer, number * quarter, (number + 1) * quarter - 1)
    for who in (OTHER, THIRD, FIRST):
        stage.is_gone(drop, who)


@theme.case(
    "accelerator-and-others",
    promise="While four ranges are being read, slowly, anybody else is told 423; then that it is gone.",
    means="A download in four parts is one copy, not a chance for others.",
)
def accelerator_and_others(stage: Stage) -> None:
    quarter = MIB + stage.between
    drop = stage.leave(4 * quarter)
    running = [stage.begin(drop, Range=f"bytes={number * quarter}-{(number + 1) * quarter - 1}") for number in range(4)]
    stage.is_busy(drop, OTHER)
    for number, answer in enumerate(running):
        check_part(drop, answer.rest(), number * quarter, (number + 1) * quarter - 1)
        answer.connection.close()
    stage.is_gone(drop, OTHER)


@theme.case(
    "accelerator-and-break",
    promise="Of four ranges at the same time one breaks and is fetched again; the others go on, and together they are "
    "the file.",
    means="An accelerator's broken connection costs that piece alone.",
)
def accelerator_and_break(stage: Stage) -> None:
    quarter = MIB + stage.between
    drop = stage.leave(4 * quarter)
    running = [stage.begin(drop, Range=f"bytes={number * quarter}-{(number + 1) * quarter - 1}") for number in range(4)]
    running[1].read(quarter // 2)
    running[1].connection.reset()
    stage.is_busy(drop, OTHER)
    again = stage.fetch_in_time(drop, Range=f"bytes={quarter}-{2 * quarter - 1}")
    check_part(drop, again, quarter, 2 * quarter - 1)
    for number in (0, 2, 3):
        check_part(drop, running[number].rest(), number * quarter, (number + 1) * quarter - 1)
        running[number].connection.close()
    stage.is_gone(drop, OTHER)


@theme.case(
    "read-again",
    promise="A client that reads again what it has, while it still reads the end, gets both; it is gone when both are "
    "over, and not before.",
    means="A player that jumps back while it loads is not cut off.",
)
def read_again(stage: Stage) -> None:
    # What is left each time is more than a proxy may have taken already.
    more = 2 * stage.between
    drop = stage.leave(12 * MIB + 2 * more)
    running = stage.begin(drop)
    running.read(7 * MIB + more)
    end = 5 * MIB + more
    back = stage.begin(drop, Range=f"bytes={MIB}-{end - 1}")
    check(back.status == 206, f"what was read is answered again with {back.told}")
    running.read(4 * MIB + more)
    time.sleep(0.1)  # what is left of it has gone to the kernel: from now on only its acknowledgement is waited for
    back.read(3 * MIB)
    check(len(back.body) == 3 * MIB, f"what is read again came as {back.told}")
    stage.came_whole(drop, running)
    running.connection.close()
    stage.is_busy(drop, OTHER)
    check_part(drop, back.rest(), MIB, end - 1)
    back.connection.close()
    stage.is_gone(drop, OTHER)


@theme.case(
    "overtaken",
    promise="A second connection of the same client takes the end of the file: the first is cut where that begins; the "
    "client can fetch what it lacks, and nobody else gets anything.",
    means="A program that changes its mind in the middle has all in the end.",
)
def overtaken(stage: Stage) -> None:
    end = 8 * MIB + 2 * stage.between
    size = end + stage.big
    drop = stage.leave(size)
    running = stage.begin(drop)
    running.read(MIB)
    second = stage.begin(drop, Range=f"bytes={end}-")
    stage.was_cut(drop, running)
    has = len(running.body)
    # What the second has acknowledged meanwhile may come on the first, too.
    check(
        has <= end + 64 * KIB + stage.between,
        f"the first connection got {has:,} bytes, with some that the second was getting",
    )
    check_part(drop, second.rest(), end, size - 1)
    second.connection.close()
    stage.is_refused(drop, OTHER)
    if has < end:
        check_part(drop, stage.fetch_in_time(drop, Range=f"bytes={has}-{end - 1}"), has, end - 1)
    stage.is_gone(drop, OTHER)


@theme.case(
    "probes",
    promise="Three probes by three clients, none of whom comes back, do not use the file up.",
    means="Scanners cannot wear a link out.",
    seconds=40.0,
)
def probes(stage: Stage) -> None:
    drop = stage.leave()
    for number in range(3):
        who = attrs.evolve(FIRST, address=f"127.0.0.{10 + number}")
        answer = stage.fetch_in_time(drop, who, Range="bytes=0-0")
        check(answer.status == 206, f"probe {number + 1} is answered with {answer.told}")
    stage.gets_all(drop, OTHER, at_once=False)
    stage.is_gone(drop, FIRST)


@theme.case(
    "probe-again-and-again",
    promise="Somebody who asks for `bytes=0-0` again and again keeps the file from others for some seconds at most.",
    means="Nobody locks a link by touching it.",
    seconds=30.0,
)
def probe_again_and_again(stage: Stage) -> None:
    drop = stage.leave()
    ends = time.monotonic() + 12.0
    while not stage.whole(drop, answer := stage.fetch(drop, OTHER)):
        check(time.monotonic() < ends, f"after 12 s another recipient got {answer.told}")
        stage.fetch(drop, FIRST, Range="bytes=0-0")
        time.sleep(0.1)
    stage.is_gone(drop, FIRST)
