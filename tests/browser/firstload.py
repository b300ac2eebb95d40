"""``python -m tests.browser.firstload``: what it costs to load the pages, as a table.

Requests and bytes on the wire, what axe-core finds (light and dark together), and the moments that a reader notices,
each the median of some visits: the first with an empty cache, and the second; on this machine as it is, and
as a phone on a slow line sees it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final, Literal

from tests.browser.axe import findings
from tests.browser.chromium import MISSING, executable
from tests.browser.loading import LOOPBACK, PHONE_LINE, Line, Load, Loading
from tests.browser.visitor import DESKTOP, PHONE, Visitor
from tests.daemon import Daemon
from tests.test_daemon import left

_LINES: Final = (("this machine", LOOPBACK, DESKTOP), ("slow 4G, CPU/4", PHONE_LINE, PHONE))
_SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
_HEAD: Final = "| page | line | cache | requests | bytes | axe | FCP ms | LCP ms | DCL ms | TBT ms | CLS |"
_RULE: Final = "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.firstload", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="visits of each kind (default 5)")
    runs = parser.parse_args().runs
    if executable() is None:
        raise SystemExit(MISSING)
    with tempfile.TemporaryDirectory(prefix="filedropd-firstload-") as folder:
        daemon = Daemon(Path(folder)).start()
        try:
            _print(_HEAD)
            _print(_RULE)
            for row in _rows(daemon, runs):
                _print(row)
        finally:
            daemon.kill()


def _rows(daemon: Daemon, runs: int) -> list[str]:
    link = left(daemon, b"content")["url"]
    pages: dict[str, Callable[[], str]] = {
        "upload": daemon.url,
        "download": lambda: link,
        "not found": lambda: daemon.url("/api/v1.0/file/" + "0" * 32),
    }
    rows = []
    for page, url in pages.items():
        found = _found(url())
        for name, line, size in _LINES:
            loads = [_visits(url(), line, viewport=size) for _ in range(runs)]
            for cache, visits in zip(("cold", "warm"), zip(*loads, strict=True), strict=True):
                rows.append(_row(page, name, cache, visits, found))
    return rows


def _visits(url: str, line: Line, **options: object) -> tuple[Load, Load]:
    """Return a first visit, and a second by the same visitor."""
    visitor = Visitor(**options)
    try:
        loading = Loading(visitor, line)
        return loading.visit(url), loading.visit(url)
    finally:
        visitor.close()


def _found(url: str) -> int:
    """Return how many things axe finds on a page, in light and in dark."""
    visitor = Visitor()
    try:
        visitor.page.goto(url, wait_until="networkidle")
        count = 0
        for scheme in _SCHEMES:
            visitor.page.emulate_media(color_scheme=scheme)
            count += len(findings(visitor.page))
        return count
    finally:
        visitor.close()


def _row(page: str, line: str, cache: str, visits: tuple[Load, ...], found: int) -> str:
    def middle(figure: str) -> float:
        return float(median(getattr(load, figure) for load in visits))

    times = (f"{middle(figure):.0f}" for figure in ("first", "largest", "ready", "blocked"))
    cells = (page, line, cache, f"{middle('requests'):.0f}", f"{middle('octets'):,.0f}", str(found), *times)
    return f"| {' | '.join(cells)} | {middle('shift'):.3f} |"


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
