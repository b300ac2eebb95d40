"""The browser: a Chromium of this machine's, started once for all tests of this process."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final
from unittest import skipUnless

from playwright.sync_api import Browser, Playwright, sync_playwright

#: What it is called, here and there.
NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

MISSING: Final = (
    "There is no Chromium: install one (on Debian: apt-get install chromium), "
    "or say where it is: CHROMIUM=/path/to/it make test"
)

# It asks nobody on the internet for anything, and always draws the same.
_FLAGS: Final = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--font-render-hinting=none",
    "--force-color-profile=srgb",
    "--no-first-run",
)

# No switch of its own: it tells which of this machine's is ours.
_OURS: Final = f"--started-by={os.getpid()}"

_running: Final[list[Browser]] = []


def executable() -> str | None:
    """Return the path of a Chromium: what ``$CHROMIUM`` says, else the first that is found."""
    told = os.environ.get("CHROMIUM")
    if told:
        return shutil.which(told)
    return next(filter(None, map(shutil.which, NAMES)), None)


#: On what needs one. Where CI runs there has to be one: nobody would notice that its tests are left out.
NEEDS_CHROMIUM: Final = skipUnless(executable() is not None or os.environ.get("CI"), MISSING)


def chromium() -> Browser:
    """Return the one that runs, or start it; it ends with this process.

    Playwright's synchronous interface belongs to the thread that started it: use it on the main thread,
    on which trial runs synchronous tests.  The driver between us and Chromium reads its orders from a pipe, and
    when that ends because we were killed, both end, too.
    """
    if not _running or not _running[-1].is_connected():
        _running.append(_started())
    return _running[-1]


def _started() -> Browser:
    path = executable()
    if path is None:
        raise AssertionError(MISSING)
    return _driver().chromium.launch(executable_path=path, args=[*_FLAGS, _OURS], handle_sigint=False)


def kill() -> None:
    """End it as a crash does. Whoever waits for it learns that; the next :func:`chromium` is another.

    May be called from another thread: nothing else ends what a page's script never comes back from.
    """
    for told in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            if _OURS.encode() in told.read_bytes().split(b"\0"):
                os.kill(int(told.parent.name), signal.SIGKILL)


@cache
def _driver() -> Playwright:
    hooks = sys.get_asyncgen_hooks()
    driver = sync_playwright().start()
    # Playwright's event loop runs, on this thread, until it is stopped. In all that runs meanwhile, asynchronous
    # generators would be its own: it would close those that wait for something of Twisted's.
    sys.set_asyncgen_hooks(*hooks)
    atexit.register(driver.stop)
    return driver
