"""``python -m tests.browser.screenshots``: a picture of each page, into a folder.

Each sight of ``tests/browser/sights.py`` is taken in light and in dark, on a desktop and on a phone, and on a desktop in
German.  Those that the README shows are in ``docs/screenshots/``, which ``--readme`` makes anew.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs
from playwright.sync_api import ViewportSize

from tests.browser.chromium import MISSING, executable
from tests.browser.sights import SIGHTS
from tests.browser.stage import FAST_PASSWORDS, Stage
from tests.browser.visitor import DESKTOP, PHONE
from tests.daemon import Daemon

_README: Final = Path(__file__).parents[2] / "docs" / "screenshots"
#: Of a picture in the README, so that who reads it on a train need not wait.
_LARGEST: Final = 150_000
_WINDOW: Final = ViewportSize(width=800, height=400)


@attrs.frozen
class Picture:
    """What is taken, as seen by whom."""

    sight: str
    device: str = "desktop"
    scheme: str = "light"
    language: str = "en-GB"

    @property
    def name(self) -> str:
        """What its file is called."""
        return "-".join([self.sight, self.device, self.scheme, *([self.language] if self.language != "en-GB" else [])])

    @property
    def options(self) -> dict[str, Any]:
        """Those of the visitor who sees it."""
        seen: dict[str, Any] = {"color_scheme": self.scheme, "locale": self.language}
        match self.device:
            case "phone":
                return seen | {"viewport": PHONE, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
            case "window":
                return seen | {"viewport": _WINDOW}
            case _:
                return seen | {"viewport": DESKTOP}


#: What the README shows.
SHOWN: Final = (
    Picture("link", "window"),
    Picture("drops", "window", "dark"),
    Picture("download", "phone"),
    Picture("have", "phone", "dark"),
)


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("screenshots"), help="default: ./screenshots")
    parser.add_argument("--readme", action="store_true", help="those that the README shows, into docs/screenshots/")
    chosen = parser.parse_args()
    if executable() is None:
        raise SystemExit(MISSING)
    folder, pictures = (_README, SHOWN) if chosen.readme else (chosen.folder, tuple(_all()))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="filedropd-screenshots-") as data:
        daemon = Daemon(Path(data), *FAST_PASSWORDS).start()
        try:
            for picture in pictures:
                path = folder / f"{picture.name}.png"
                _take(daemon, picture, path)
                sys.stdout.write(f"{path}\n")
                if chosen.readme and path.stat().st_size > _LARGEST:
                    raise SystemExit(f"{path} is too large for the README")
        finally:
            daemon.kill()


def _all() -> Iterator[Picture]:
    for sight in SIGHTS:
        for device in ("desktop", "phone"):
            for scheme in ("light", "dark"):
                yield Picture(sight, device, scheme)
        yield Picture(sight, language="de")


def _take(daemon: Daemon, picture: Picture, path: Path) -> None:
    with Stage(daemon) as stage:
        visitor = stage.visitor(**picture.options)
        SIGHTS[picture.sight](stage, visitor)
        visitor.page.screenshot(path=path, full_page=True, animations="disabled", caret="hide")


if __name__ == "__main__":
    main()
