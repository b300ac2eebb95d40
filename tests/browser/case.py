"""What tests in a browser stand on: the daemon, visitors, and what must be true after each of them."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Timer
from typing import Any, Final
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.browser.chromium import NEEDS_CHROMIUM, kill
from tests.browser.road import Road
from tests.browser.stage import FAST_PASSWORDS, Stage
from tests.browser.visitor import Visitor
from tests.daemon import Daemon

#: Seconds after which a test is ended, and its browser with it: a page's script may never come back.
LONGEST: Final = 120.0


@functools.cache
def shared_daemon() -> Daemon:
    """Start the one daemon for all tests that leave it alive; it ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="filedropd-browser-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    daemon = Daemon(folder, *FAST_PASSWORDS)
    atexit.register(daemon.kill)
    return daemon.start()


@NEEDS_CHROMIUM
class BrowserCase(SynchronousTestCase):
    """Tests in a browser.

    After each: no page's policy had to forbid anything, no script failed, no URL had an owner's token, and the
    daemon met nothing that it did not expect.  A test that fails says what was on the page and on its console, and
    where its picture is.
    """

    #: Whether each test has a daemon of its own, which it may end.
    own_daemon = False
    #: Options of that daemon.
    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.daemon = self._started() if self.own_daemon else shared_daemon()
        self.stage = Stage(self.daemon)
        self.addCleanup(self.stage.close)
        self._logged = len(self.daemon.log())
        test = getattr(self, self._testMethodName)
        setattr(self, self._testMethodName, functools.partial(self._witnessed, test))

    def _started(self) -> Daemon:
        folder = Path(tempfile.mkdtemp(prefix="filedropd-browser-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        daemon = Daemon(folder, *FAST_PASSWORDS, *self.options)
        self.addCleanup(daemon.kill)
        return daemon.start()

    def visitor(self, **options: Any) -> Visitor:
        """Return somebody with a browser window of their own; it is closed when the test is over."""
        return self.stage.visitor(**options)

    def road(self) -> Road:
        """Return a road to the daemon, on which the test decides what passes."""
        return self.stage.road()

    def _witnessed(self, test: Callable[[], None]) -> None:
        """Run a test; where it fails, say what was to be seen."""
        watch = Timer(LONGEST, kill)
        watch.start()
        try:
            test()
            self._check()
        except SkipTest:
            raise
        except Exception as broken:  # noqa: BLE001 - it is raised again, with more to say
            evidence = [
                visitor.evidence(self.folder / f"visitor-{number}.png")
                for number, visitor in enumerate(self.stage.visitors, start=1)
            ]
            told = "\n\n".join([str(broken) or repr(broken), *evidence])
            raise self.failureException(told).with_traceback(broken.__traceback__) from None
        finally:
            watch.cancel()

    def _check(self) -> None:
        for visitor in self.stage.visitors:
            self.assertEqual((visitor.violations, visitor.uncaught, visitor.betrayed), ([], [], []))
        self.assertNotIn("Traceback", self.daemon.log(self._logged))

    # -- files ------------------------------------------------------------------------------------

    def file(self, name: str, content: bytes) -> Path:
        """Write a file for somebody to pick; returns its path."""
        path = self.folder / name
        path.write_bytes(content)
        return path
