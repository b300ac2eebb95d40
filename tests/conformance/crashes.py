"""The server is killed, stopped, started; each case on a server of its own."""

from __future__ import annotations

from typing import Final

from tests.conformance.aborts import left_by, read_until
from tests.conformance.answers import Answer
from tests.conformance.case import Theme
from tests.conformance.stage import FIRST, MIB, OTHER, SMALL, THIRD, Stage, check

theme: Final = Theme("Crashes and restarts")

_SECONDS: Final = 60.0


def killed(stage: Stage, running: Answer) -> bytes:
    """Kill the server; returns what its client has got when the kernels have given what they had.

    Where something else goes on with the download, its client breaks off.
    """
    stage.own.kill()
    if stage.server.dialect.outlives:
        return left_by("rst", running)
    has = bytes(running.rest().body)
    check(not running.complete, "the server's kernel had all of it already")
    return has


@theme.case(
    "kill",
    promise="The server is killed (`kill -9`) half-way through a download and started again: the same client gets "
    "the rest; others 423, and then 410.",
    means="A crash costs nobody the file, and gives nobody a second copy.",
    own=True,
    seconds=_SECONDS,
)
def kill(stage: Stage) -> None:
    drop = stage.leave(stage.large)
    running = stage.begin(drop)
    read_until(running, MIB)
    has = killed(stage, running)
    stage.own.restart()
    stage.is_busy(drop, OTHER)
    stage.gets_rest(drop, has, FIRST)
    stage.is_gone(drop, OTHER)


@theme.case(
    "kill-after-all",
    promise="Killed when a client has read all and not yet closed: nobody else ever gets a copy; that client can have "
    "it again.",
    means="In doubt the file belongs to whoever began to fetch it.",
    own=True,
    seconds=_SECONDS,
)
def kill_after_all(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    running = stage.begin(drop)
    stage.came_whole(drop, running)
    stage.own.kill()
    stage.own.restart()
    stage.is_refused(drop, OTHER)
    stage.gets_all(drop, FIRST, at_once=False)
    stage.is_gone(drop, OTHER)


@theme.case(
    "kill-and-token",
    promise="After `kill -9` and a restart the token still gets the rest, from any address.",
    means="A crash of the server and a change of networks at once are no trouble, either.",
    needs="token",
    own=True,
    seconds=_SECONDS,
)
def kill_and_token(stage: Stage) -> None:
    drop = stage.leave(stage.large)
    running = stage.begin(drop)
    read_until(running, MIB)
    token = running.field("Filedrop-Claim")
    has = killed(stage, running)
    stage.own.restart()
    stage.is_busy(drop, OTHER)
    stage.gets_rest(drop, has, OTHER, Filedrop_Claim=token)
    stage.is_gone(drop, THIRD)


@theme.case(
    "restart",
    promise="A restart keeps what was left: what nobody fetched comes once, what was fetched or taken back stays 410.",
    means="The operator can restart the server at any time.",
    needs="revoke",
    own=True,
    seconds=_SECONDS,
)
def restart(stage: Stage) -> None:
    kept, fetched, taken_back = (stage.leave(SMALL) for _ in range(3))
    stage.gets_all(fetched, FIRST)
    stage.server.revoke(taken_back.left)
    stage.own.restart()
    stage.is_gone(fetched, OTHER, reason="delivered")
    stage.is_gone(taken_back, OTHER, reason="revoked")
    stage.gets_all(kept, OTHER)
    stage.own.restart()
    stage.is_gone(kept, FIRST, reason="delivered")


@theme.case(
    "restart-half-way",
    promise="A client that broke off before a restart goes on after it; others wait for it.",
    means="A restart does not forget whose download it was.",
    own=True,
    seconds=_SECONDS,
)
def restart_half_way(stage: Stage) -> None:
    drop = stage.leave()
    running = stage.begin(drop)
    read_until(running, stage.big // 2)
    has = left_by("rst", running)
    stage.own.restart()
    stage.is_busy(drop, OTHER)
    stage.gets_rest(drop, has, FIRST)
    stage.is_gone(drop, OTHER)


@theme.case(
    "kill-after-probe",
    promise="Killed after somebody's `bytes=0-0`: the file is not taken for delivered, and anybody gets it in a while.",
    means="A crash costs no more than what had really left.",
    own=True,
    seconds=_SECONDS,
)
def kill_after_probe(stage: Stage) -> None:
    drop = stage.leave()
    probe = stage.begin(drop, Range="bytes=0-0").rest()
    check(probe.status == 206, f"bytes=0-0 is answered with {probe.told}")
    stage.own.kill()
    stage.own.restart()
    stage.gets_all(drop, OTHER, at_once=False)
    stage.is_gone(drop, FIRST)
