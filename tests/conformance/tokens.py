"""The claim's token: whoever shows it is the recipient, wherever it comes from."""

from __future__ import annotations

import functools
from typing import Final

import attrs

from tests.conformance.aborts import left_by, read_until
from tests.conformance.answers import Answer
from tests.conformance.case import Theme
from tests.conformance.stage import FIRST, MIB, OTHER, THIRD, Stage, check

theme: Final = Theme("The claim's token")


def token_of(answer: Answer) -> str:
    """Return the token that an answer carries."""
    token = answer.field("Filedrop-Claim")
    check(token, f"{answer.told} carries no Filedrop-Claim")
    return token


def cookie_of(answer: Answer) -> dict[str, str]:
    """Return the cookie that an answer sets: its value under its name, its attributes in lower case."""
    parts = [part.strip().partition("=") for part in answer.field("Set-Cookie").split(";")]
    cookie = {name if number == 0 else name.lower(): value for number, (name, _, value) in enumerate(parts)}
    check("filedrop-claim" in cookie, f"{answer.told} sets {answer.field('Set-Cookie')!r}")
    return cookie


@theme.case(
    "token-given",
    promise="Each 200 and 206 carries the token, in `Filedrop-Claim` and in a cookie for this link alone (HttpOnly, Lax).",
    means="Browsers keep it without knowing, programs can if they wish.",
    needs="token",
)
def token_given(stage: Stage) -> None:
    drop = stage.leave()
    for fields in ({"Range": "bytes=0-0"}, {}):
        answer = stage.fetch_in_time(drop, FIRST, **fields)
        check(answer.status == (206 if fields else 200), f"the download came as {answer.told}")
        cookie = cookie_of(answer)
        check(cookie["filedrop-claim"] == token_of(answer), f"cookie and field differ: {cookie}")
        path = drop.target.partition("?")[0]
        right = (cookie.get("path"), "httponly" in cookie, cookie.get("samesite", "").lower()) == (path, True, "lax")
        check(right, f"the cookie is {answer.field('Set-Cookie')!r}")


def shown_by(way: str, stage: Stage) -> None:
    """Break off, and go on from another address with the token."""
    drop = stage.leave()
    running = stage.begin(drop)
    token = token_of(running)
    read_until(running, stage.big // 2)
    has = left_by("rst", running)
    stage.is_busy(drop, OTHER)
    fields = {"header": {"Filedrop_Claim": token}, "cookie": {"Cookie": f"filedrop-claim={token}"}, "query": {}}[way]
    there = attrs.evolve(drop, target=f"{drop.target}?claim={token}") if way == "query" else drop
    stage.gets_rest(there, has, OTHER, **fields)
    stage.is_gone(drop, THIRD)


for _way, _how in (("header", "`Filedrop-Claim`"), ("cookie", "the cookie"), ("query", "`?claim=`")):
    theme.case(
        f"token-{_way}",
        promise=f"From another address {_how} gets the rest of a broken download; without it 423.",
        means="Who changes from one network to another goes on where it broke.",
        needs="token",
    )(functools.partial(shown_by, _way))


@theme.case(
    "token-supersedes",
    promise="With the token a new request takes over from a download that still runs: the old one is cut, "
    "the new one gets all.",
    means="A connection that hangs does not keep its own recipient waiting.",
    needs="token",
)
def token_supersedes(stage: Stage) -> None:
    drop = stage.leave()
    running = stage.begin(drop)
    read_until(running, MIB)
    token = token_of(running)
    stage.is_busy(drop, OTHER)
    stage.gets_all(drop, OTHER, Filedrop_Claim=token)
    stage.was_cut(drop, running)
    stage.is_gone(drop, THIRD)


@theme.case(
    "token-goes-on",
    promise="With the token a Range, too, takes over from a download that hangs.",
    means="`Filedrop-Claim` and `curl -C -` get the rest while the old connection is not yet known to be dead.",
    needs="token",
)
def token_goes_on(stage: Stage) -> None:
    drop = stage.leave()
    running = stage.begin(drop)
    read_until(running, MIB)
    stage.gets_rest(drop, bytes(running.body), OTHER, Filedrop_Claim=token_of(running))
    stage.was_cut(drop, running)
    stage.is_gone(drop, THIRD)


@theme.case(
    "token-wrong",
    promise="A token that is none, or another drop's, opens nothing and disturbs nothing.",
    means="Guessing does not help.",
    needs="token",
)
def token_wrong(stage: Stage) -> None:
    drop, strange = stage.leave(), stage.leave()
    running = stage.begin(drop)
    read_until(running, MIB)
    token = token_of(running)
    others = token_of(stage.begin(strange))
    for wrong in ("0" * len(token), others, "x", token[:-1]):
        seen = stage.fetch(drop, OTHER, Filedrop_Claim=wrong)
        check(400 <= seen.status < 500, f"a wrong token is answered with {seen.told}")
    stage.came_whole(drop, running)


@theme.case(
    "forwarded",
    promise="A request that says it was forwarded, by somebody who is not trusted, makes nobody the same recipient: "
    "without the token 423, with it the rest.",
    means="Behind a proxy that the operator did not name, all look alike. They are not taken for each other.",
    needs="token",
)
def forwarded(stage: Stage) -> None:
    drop = stage.leave()
    behind = attrs.evolve(FIRST, called="who is behind a proxy", fields={"X-Forwarded-For": "192.0.2.7"})
    running = stage.begin(drop, behind)
    token = token_of(running)
    read_until(running, stage.big // 2)
    has = left_by("rst", running)
    if not stage.server.dialect.fronted:  # a proxy that is trusted says where this comes from, and it is the same place
        stage.is_busy(drop, behind)
    stage.is_busy(drop, attrs.evolve(behind, address=OTHER.address))
    stage.is_busy(drop, attrs.evolve(OTHER, fields={"X-Forwarded-For": FIRST.address}))
    stage.gets_rest(drop, has, behind, Filedrop_Claim=token)
    stage.is_gone(drop, OTHER)
