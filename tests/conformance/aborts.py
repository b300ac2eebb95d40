"""Ways to leave a download: early, late, in order, by reset; and ways to stay."""

from __future__ import annotations

import functools
import time
from typing import Final

from tests.conformance.answers import Answer
from tests.conformance.case import Theme
from tests.conformance.stage import FIRST, KIB, MIB, OTHER, SMALL, Drop, Stage, check

theme: Final = Theme("Leaving before the end, and at it")

#: How much of a file is read before its reader leaves.
_PERCENT: Final = (0, 1, 50, 99)
_WAYS: Final = {"rst": "a reset (RST)", "fin": "closing (FIN)"}


def read_until(answer: Answer, octets: int) -> None:
    """Read so much of the file."""
    answer.read(octets - len(answer.body))
    check(answer.status in {200, 206} and len(answer.body) == octets, f"a download came as {answer.told}")


def left_by(way: str, answer: Answer) -> bytes:
    """Leave; returns what was read."""
    if way == "rst":
        answer.connection.reset()
    else:
        answer.connection.close()
    return bytes(answer.body)


def aborted(percent: int, way: str, stage: Stage) -> None:
    """Leave after so much of it; others wait, the same recipient gets the rest, and then it is gone."""
    drop = stage.leave()
    running = stage.begin(drop)
    read_until(running, stage.big * percent // 100)
    stage.is_busy(drop, OTHER)
    has = left_by(way, running)
    stage.is_busy(drop, OTHER)
    stage.gets_rest(drop, has, FIRST)
    stage.is_gone(drop, OTHER)


for _way, _how in _WAYS.items():
    for _percent in _PERCENT:
        theme.case(
            f"abort-{_percent}-{_way}",
            promise=f"Broken off after {_percent} % by {_how}: its recipient gets the rest, others 423 and then 410.",
            means="A download that breaks costs nobody the file, and gives nobody a second copy.",
        )(functools.partial(aborted, _percent, _way))


@theme.case(
    "abort-last-rst",
    promise="Reset when only the last byte is unread: its recipient gets that byte, and nobody else gets anything.",
    means="Even the last byte can be fetched again, by whoever has the others.",
)
def abort_last_rst(stage: Stage) -> None:
    drop = stage.leave()
    running = stage.begin(drop)
    read_until(running, stage.big - 1)
    running.connection.peek()
    has = left_by("rst", running)
    stage.is_refused(drop, OTHER)
    stage.gets_rest(drop, has, FIRST)
    stage.is_gone(drop, OTHER)


@theme.case(
    "abort-last-fin",
    promise="Closed (FIN) when the last byte has arrived and is unread: that counts as having it; others get 410.",
    means="Here the truth ends: the recipient's machine said that it has all. Nobody else gets a copy.",
)
def abort_last_fin(stage: Stage) -> None:
    drop = stage.leave()
    running = stage.begin(drop)
    read_until(running, stage.big - 1)
    running.connection.peek()
    running.connection.half_close()
    stage.is_gone(drop, OTHER)
    running.connection.close()
    stage.is_gone(drop, OTHER)


@theme.case(
    "fin-after-all",
    promise="Who has read all and closes has it: from then on it is 410 for everybody, at once.",
    means="`curl link; curl link` is the file, and then that it is gone.",
)
def fin_after_all(stage: Stage) -> None:
    for who, size in ((OTHER, SMALL), (FIRST, SMALL), (OTHER, stage.big), (FIRST, stage.big)):
        drop = stage.leave(size)
        stage.gets_all(drop, FIRST)
        stage.is_gone(drop, who, reason="delivered")


@theme.case(
    "rst-after-all",
    promise="Who has read all and resets, at once or a little later, gets it again if it asks; nobody else ever gets a copy.",
    means="A client that crashes after the last byte can recover, and does not open the link for others.",
)
def rst_after_all(stage: Stage) -> None:
    for size, pause in ((SMALL, 0.0), (SMALL, 0.3), (stage.big, 0.0)):
        drop = stage.leave(size)
        running = stage.begin(drop)
        stage.came_whole(drop, running)
        time.sleep(pause)
        running.connection.reset()
        stage.is_refused(drop, OTHER)
        stage.gets_all(drop, FIRST, at_once=False)
        stage.is_gone(drop, OTHER)


@theme.case(
    "quiet-after-all",
    promise="Who has read all and stays connected in silence has it after about a second: others are told 410, not 423.",
    means="A browser that keeps its connection open does not keep the link in limbo.",
)
def quiet_after_all(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    running = stage.begin(drop)
    stage.came_whole(drop, running)
    stage.is_gone(drop, OTHER, at_once=False)


@theme.case(
    "rst-after-quiet",
    promise="Who resets after that silence still gets it again; nobody else does.",
    means="A program that dies while it writes the last bytes to its disk can start over.",
)
def rst_after_quiet(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    running = stage.begin(drop)
    stage.came_whole(drop, running)
    stage.is_gone(drop, OTHER, at_once=False)
    running.connection.reset()
    stage.is_refused(drop, OTHER)
    stage.gets_all(drop, FIRST, at_once=False)
    stage.is_gone(drop, OTHER)


@theme.case(
    "next-request",
    promise="Who has read all and asks again on the same connection is told 410, and so is everybody else.",
    means="The next question says that the answer was read.",
)
def next_request(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    running = stage.begin(drop)
    stage.came_whole(drop, running)
    again = running.connection.ask(drop.target).rest()
    check(stage.gone(again), f"the second request on a connection is answered with {again.told}")
    stage.is_gone(drop, OTHER)


@theme.case(
    "ask-ahead",
    promise="Who asks a second time before all of the first answer came, and then breaks off, gets the rest: that "
    "question says nothing about that answer.",
    means="A client that sends its questions ahead is not taken to have read what it has not.",
)
def ask_ahead(stage: Stage) -> None:
    for at_once in (True, False):
        drop = stage.leave(stage.in_kernel)
        connection = stage.connect(FIRST, narrow=True)
        asked = connection.request(drop.target)
        connection.send(asked * 2 if at_once else asked)
        running = connection.answer()
        read_until(running, 64 * KIB)
        if not at_once:
            connection.send(asked)
        stage.stays_busy(drop, 0.2, OTHER)
        has = left_by("rst", running)
        stage.is_busy(drop, OTHER)
        stage.gets_rest(drop, has, FIRST)
        stage.is_gone(drop, OTHER)


@theme.case(
    "half-close",
    promise="Who closes its sending side right after the request gets all, and only then is it gone.",
    means="`nc -N`, and old programs that do so, work; their early FIN is not taken for having the file.",
)
def half_close(stage: Stage) -> None:
    drop = stage.leave()
    connection = stage.connect(FIRST, narrow=True)
    connection.send(connection.request(drop.target))
    connection.half_close()
    answer = connection.answer()
    read_until(answer, MIB)
    stage.is_busy(drop, OTHER)
    stage.came_whole(drop, answer)
    connection.close()
    stage.is_gone(drop, OTHER, at_once=False)


@theme.case(
    "half-close-and-break",
    promise="Who closes its sending side right after the request, and then breaks off, gets the rest.",
    means="An early FIN is not a delivery, either, when all of the file has left the server.",
)
def half_close_and_break(stage: Stage) -> None:
    drop = stage.leave(stage.in_kernel)
    connection = stage.connect(FIRST, narrow=True)
    connection.send(connection.request(drop.target))
    connection.half_close()
    running = connection.answer()
    read_until(running, 64 * KIB)
    stage.stays_busy(drop, 1.5, OTHER)
    has = left_by("rst", running)
    stage.is_busy(drop, OTHER)
    stage.gets_rest(drop, has, FIRST)
    stage.is_gone(drop, OTHER)


@theme.case(
    "slow-reader",
    promise="A reader who pauses for 2.5 s with most of the file still on its way is not taken to have it: "
    "others get 423 all that time, and it gets all.",
    means="A slow line is not a delivered file.",
)
def slow_reader(stage: Stage) -> None:
    drop = stage.leave(stage.in_kernel)
    running = stage.begin(drop)
    read_until(running, 64 * KIB)
    stage.stays_busy(drop, 2.5, OTHER)
    stage.came_whole(drop, running)
    running.connection.close()
    stage.is_gone(drop, OTHER)


def unread(stage: Stage, drop: Drop) -> Answer:
    """Begin a download, and read none of it."""
    running = stage.begin(drop)
    check(running.status == 200, f"a download came as {running.told}")
    return running


@theme.case(
    "never-read",
    promise="Who asks and reads nothing, and leaves, has nothing: the file is there for its recipient at once, and "
    "for others within some seconds.",
    means="A client that gives up right away costs nobody the file.",
)
def never_read(stage: Stage) -> None:
    drop = stage.leave()
    unread(stage, drop).connection.reset()
    stage.gets_all(drop, FIRST, at_once=False)
    drop = stage.leave()
    unread(stage, drop).connection.reset()
    stage.gets_all(drop, OTHER, at_once=False)
    stage.is_gone(drop, FIRST)
