"""Many who ask at the same moment."""

from __future__ import annotations

import collections
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import attrs

from tests.conformance.answers import Answer
from tests.conformance.case import Theme
from tests.conformance.stage import FIRST, KIB, OTHER, THIRD, Drop, Stage, check
from tests.conformance.wire import Recipient

theme: Final = Theme("Many at once")


def race(stage: Stage, drop: Drop, recipients: Sequence[Recipient]) -> list[Answer]:
    """Let everybody ask at the same moment, each on a thread: connected before, closed when all is read."""
    ready = threading.Barrier(len(recipients))

    def run(who: Recipient) -> Answer:
        connection = stage.connect(who)
        ready.wait(stage.deadline.left())
        answer = connection.ask(drop.target).rest()
        connection.close()
        return answer

    with ThreadPoolExecutor(len(recipients)) as pool:
        return list(pool.map(run, recipients))


def check_copies(stage: Stage, drop: Drop, answers: Sequence[Answer], copies: int = 1) -> None:
    """So many got all of it, and everybody else was told that it is busy or gone."""
    whole = sum(stage.whole(drop, answer) for answer in answers)
    others = [answer for answer in answers if not stage.whole(drop, answer)]
    statuses = dict(sorted(collections.Counter(answer.status for answer in answers).items()))
    check(whole == copies, f"{whole} complete copies of {len(answers)} answers: {statuses}")
    refused = all(stage.busy(answer) or stage.gone(answer) for answer in others)
    check(refused, f"the statuses of {len(answers)} answers: {statuses}")


@theme.case(
    "parallel-16",
    promise="Of 16 clients of one machine that ask for 4 MiB at the same moment, one gets all, the others 423 or 410.",
    means="A double click, or a program that asks twice, does not make two copies.",
)
def parallel_16(stage: Stage) -> None:
    drop = stage.leave()
    check_copies(stage, drop, race(stage, drop, [FIRST] * 16))
    stage.is_gone(drop)


@theme.case(
    "parallel-64",
    promise="64 requests are sent before any answer is read: one is answered with the file, the others 423 or 410.",
    means="It does not help to be quick: there is one copy.",
)
def parallel_64(stage: Stage) -> None:
    drop = stage.leave(64 * KIB)
    connections = [stage.connect() for _ in range(64)]
    for connection in connections:
        connection.send(connection.request(drop.target))
    answers = [connection.answer().rest() for connection in connections]
    check_copies(stage, drop, answers)
    for connection in connections:
        connection.close()
    stage.is_gone(drop)


@theme.case(
    "parallel-two-addresses",
    promise="Of clients of two machines that ask at the same moment, one gets all.",
    means="Two people with the same link: one has the file, the other learns that it is taken.",
)
def parallel_two_addresses(stage: Stage) -> None:
    for size in (stage.big, 1, 64 * KIB):
        drop = stage.leave(size)
        check_copies(stage, drop, race(stage, drop, [FIRST, OTHER] * 8))
        stage.is_gone(drop, THIRD)


@theme.case(
    "pipelining",
    promise="Ten requests at once on one connection: the file, and nine times 410, in order.",
    means="A client cannot get two copies by asking ahead.",
)
def pipelining(stage: Stage) -> None:
    drop = stage.leave(64 * KIB)
    connection = stage.connect()
    connection.send(connection.request(drop.target) * 10)
    answers = [connection.answer().rest() for _ in range(10)]
    statuses = [answer.status for answer in answers]
    check(stage.whole(drop, answers[0]), f"the first answer is {answers[0].told}")
    check(all(stage.gone(answer) for answer in answers[1:]), f"the answers are {statuses}")
    connection.close()
    stage.is_gone(drop)


@theme.case(
    "three-downloads",
    promise="With three downloads allowed, twelve who ask at once and go on asking get three copies, never a fourth.",
    means="A link for three people works for three, however they come.",
    needs="downloads",
    seconds=30.0,
)
def three_downloads(stage: Stage) -> None:
    drop = stage.leave(300 * KIB, downloads=3)
    # Each a recipient of its own.
    recipients = [attrs.evolve(FIRST, address=f"127.0.0.{number}") for number in range(1, 13)]
    answers = race(stage, drop, recipients)
    copies = sum(stage.whole(drop, answer) for answer in answers)
    check(copies <= 3, f"{copies} complete copies")
    for who in recipients:
        copies += stage.whole(drop, stage.fetch_in_time(drop, who))
    check(copies == 3, f"{copies} complete copies, and then it was gone")
    for who in recipients:
        stage.is_gone(drop, who)


@theme.case(
    "three-in-turn",
    promise="With three downloads allowed, three get the file one after the other, and the fourth is told that it is gone.",
    means="The number of downloads is what the sender said, no more and no fewer.",
    needs="downloads",
)
def three_in_turn(stage: Stage) -> None:
    drop = stage.leave(64 * KIB, downloads=3)
    for who in (FIRST, OTHER, THIRD):
        stage.gets_all(drop, who)
    stage.is_gone(drop, attrs.evolve(FIRST, address="127.0.0.4"), reason="delivered")
