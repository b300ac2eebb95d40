"""How a drop ends while somebody is fetching it; and the smallest one."""

from __future__ import annotations

import time
from typing import Final

from tests.conformance.aborts import left_by, read_until
from tests.conformance.case import Theme
from tests.conformance.stage import FIRST, KIB, MIB, OTHER, SMALL, Stage, check

theme: Final = Theme("Ends")


@theme.case(
    "expiry",
    promise="When its time is over a file that nobody fetched is 410, and the reason is `expired`.",
    means="A link that is forgotten in some mailbox is worth nothing after a while.",
    needs="expires",
)
def expiry(stage: Stage) -> None:
    drop = stage.leave(SMALL, expires=1)
    stage.until(lambda: stage.fetch(drop, OTHER, method="HEAD"), stage.gone)
    for who in (FIRST, OTHER):
        stage.is_gone(drop, who, reason="expired")


@theme.case(
    "expiry-meanwhile",
    promise="A download that runs when the time is over ends whole; everybody else gets 410, `expired`, from then on.",
    means="Whoever began in time gets the file. Nobody begins late.",
    needs="expires",
)
def expiry_meanwhile(stage: Stage) -> None:
    left_at = time.monotonic()
    drop = stage.leave(expires=3)
    running = stage.begin(drop)
    read_until(running, MIB)
    stage.is_gone(drop, OTHER, reason="expired", at_once=False)
    waited = time.monotonic() - left_at
    check(waited >= 2.0, f"what expires after 3 s was gone after {waited:.1f} s")
    stage.came_whole(drop, running)
    running.connection.close()
    stage.is_gone(drop, OTHER)


@theme.case(
    "expiry-and-break",
    promise="A download that began in time and breaks after it can still be resumed by its recipient, and by nobody else.",
    means="The end of a file's time does not make a broken line worse.",
    needs="expires",
)
def expiry_and_break(stage: Stage) -> None:
    drop = stage.leave(expires=3)
    running = stage.begin(drop)
    read_until(running, stage.big // 2)
    stage.is_gone(drop, OTHER, reason="expired", at_once=False)
    has = left_by("rst", running)
    stage.is_gone(drop, OTHER)
    stage.gets_rest(drop, has, FIRST)
    stage.is_gone(drop, OTHER)


@theme.case(
    "revoke",
    promise="A file that its sender takes back is 410 for everybody, and the reason is `revoked`.",
    means="A link that was sent to the wrong person can be made worthless.",
    needs="revoke",
)
def revoke(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    stage.server.revoke(drop.left)
    for who in (FIRST, OTHER):
        stage.is_gone(drop, who, reason="revoked")


@theme.case(
    "revoke-meanwhile",
    promise="A file that its sender takes back while it is fetched is cut off at once; then it is 410, `revoked`.",
    means="It is never too late to take a file back, until the last byte has left.",
    needs="revoke",
)
def revoke_meanwhile(stage: Stage) -> None:
    for size in (stage.big, stage.in_kernel):
        drop = stage.leave(size)
        running = stage.begin(drop)
        read_until(running, 64 * KIB)
        stage.server.revoke(drop.left)
        stage.is_lost(running, 3.0, f"3 s after it was taken back a download of {size:,} bytes still runs")
        stage.was_cut(drop, running)
        for who in (FIRST, OTHER):
            stage.is_gone(drop, who, reason="revoked")


@theme.case(
    "revoke-after-break",
    promise="A file that its sender takes back between break and resume is gone for its recipient, too.",
    means="Taking back means everybody.",
    needs="revoke",
)
def revoke_after_break(stage: Stage) -> None:
    drop = stage.leave()
    running = stage.begin(drop)
    read_until(running, stage.big // 2)
    has = left_by("rst", running)
    stage.server.revoke(drop.left)
    stage.is_gone(drop, FIRST, reason="revoked", Range=f"bytes={len(has)}-")
    stage.is_gone(drop, OTHER, reason="revoked")


@theme.case(
    "empty-file",
    promise="A file without a byte is delivered once, too.",
    means="An empty file can be a message.",
)
def empty_file(stage: Stage) -> None:
    drop = stage.leave(0)
    stage.fetch(drop, method="HEAD")
    stage.gets_all(drop, FIRST)
    stage.is_gone(drop, OTHER)
    stage.is_gone(drop, FIRST)


@theme.case(
    "one-byte",
    promise="A file of one byte is delivered once, asked for as a whole or as `bytes=0-0`.",
    means="However small a file is, it comes once.",
)
def one_byte(stage: Stage) -> None:
    drop = stage.leave(1)
    stage.gets_all(drop, FIRST)
    stage.is_gone(drop, OTHER)
    drop = stage.leave(1)
    part = stage.fetch(drop, FIRST, Range="bytes=0-0")
    check((part.status, bytes(part.body)) == (206, drop.content), f"bytes=0-0 is answered with {part.told}")
    stage.is_gone(drop, OTHER)
    stage.is_gone(drop, FIRST)
