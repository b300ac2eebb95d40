"""Files with a password."""

from __future__ import annotations

from typing import Final

import attrs

from tests.conformance.aborts import left_by, read_until
from tests.conformance.answers import Answer
from tests.conformance.case import Theme
from tests.conformance.looking import BROWSER, page_location
from tests.conformance.stage import FIRST, MIB, OTHER, SMALL, THIRD, Drop, Stage, check
from tests.conformance.tokens import token_of

theme: Final = Theme("Passwords")


def is_locked_out(stage: Stage, drop: Drop) -> None:
    """Without the password, and with another, the answer is 401."""
    for who in (FIRST, stage.showing("other", FIRST)):
        seen = stage.fetch(drop, who)
        check(seen.status == 401, f"without the password the answer is {seen.told}")


def press(stage: Stage, drop: Drop, word: str) -> Answer:
    """Press the button of the page, with this password in its form."""
    body = f"password={word}".encode()
    connection = stage.connect(BROWSER)
    fields = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}
    connection.send(connection.request(drop.target, "POST", fields) + body)
    answer = connection.answer("POST").rest()
    connection.close()
    return answer


@theme.case(
    "password",
    promise="Without its password a file is 401 and stays; with it, it comes once.",
    means="Who has the link alone can neither read the file nor use it up.",
    needs="password",
)
def password(stage: Stage) -> None:
    drop = stage.leave(SMALL, password="s3cret")
    is_locked_out(stage, drop)
    stage.gets_all(drop, stage.showing("s3cret", OTHER))
    stage.is_gone(drop, stage.showing("s3cret", FIRST))


@theme.case(
    "password-meanwhile",
    promise="A wrong password during a download, even from the same address, is 401 at once and disturbs nothing.",
    means="Guessing passwords breaks nobody's download.",
    needs="password",
)
def password_meanwhile(stage: Stage) -> None:
    drop = stage.leave(password="s3cret")
    running = stage.begin(drop, stage.showing("s3cret", FIRST))
    read_until(running, MIB)
    is_locked_out(stage, drop)
    stage.came_whole(drop, running)
    running.connection.close()
    stage.is_gone(drop, stage.showing("s3cret", OTHER))


@theme.case(
    "password-and-token",
    promise="After a break the token stands for the password; the address does not.",
    means="Who broke off goes on without typing the password again, and nobody else does.",
    needs="password token",
)
def password_and_token(stage: Stage) -> None:
    drop = stage.leave(password="s3cret")
    running = stage.begin(drop, stage.showing("s3cret", FIRST))
    read_until(running, MIB)
    token = token_of(running)
    has = left_by("rst", running)
    is_locked_out(stage, drop)
    stage.gets_rest(drop, has, OTHER, Filedrop_Claim=token)
    stage.is_gone(drop, stage.showing("s3cret", THIRD))


@theme.case(
    "password-button",
    promise="The page's button takes the password; the link with the token then needs none.",
    means="People type the password once, into the page.",
    needs="password pages token",
)
def password_button(stage: Stage) -> None:
    drop = stage.leave(SMALL, password="s3cret")
    refused = press(stage, drop, "other")
    check(refused.status == 401, f"a wrong password is answered with {refused.told}")
    there = attrs.evolve(drop, target=page_location(press(stage, drop, "s3cret")))
    stage.gets_all(there, BROWSER)
    stage.is_gone(drop, stage.showing("s3cret", OTHER))
