"""How far it is, for people: a line on the terminal that is drawn again and again."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any, Final, Self

from twisted.internet.interfaces import IReactorTime

from filedropd.client.values import Progress, Status

#: Seconds between two drawings.
INTERVAL: Final = 0.1


class Bar:
    """A bar on the standard error, with the speed and the time that is left, while it is entered.

    Nothing is drawn where the standard error is no terminal; ``rich`` is not even loaded then.

    :param clock: by which it is drawn.
    :param name: of what is under way.
    :param quiet: draw nothing.
    """

    def __init__(self, clock: IReactorTime, name: str, *, quiet: bool = False) -> None:
        self._clock = clock
        self._name = name
        self._columns = {} if quiet or not sys.stderr.isatty() else _columns()
        self._shown: Any = _bar(self._columns) if self._columns else None
        self._task: Any = None
        self._due = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._shown.refresh()
            self._shown.stop()

    def tell(self, progress: Progress) -> None:
        """Draw how far it is, if it is time to."""
        if self._shown is None:
            return
        now = self._clock.seconds()
        whole = progress.done == progress.total
        if now < self._due and not whole and progress.waiting is None:
            return
        self._due = now + INTERVAL
        if self._task is None:  # of what fails at once there is no line
            self._shown.start()
            self._task = self._shown.add_task("", total=None)
        words = self._name
        if progress.waiting is not None:
            words = f"{self._name}: {progress.waiting.detail.partition('. ')[0].rstrip('.')}; trying again"
        width = self._shown.console.width  # a window can be made smaller meanwhile
        layout = _layout(width, waiting=progress.waiting is not None)
        self._shown.columns = tuple(self._columns[name] for name in layout)
        words = _fitted(_plain(words), width - sum(_WIDTHS[name] for name in layout))
        self._shown.update(self._task, completed=progress.done, total=progress.total, description=words)
        self._shown.refresh()


#: Cells that each part of the line takes at least, with the space before it; the name takes what is left.
_WIDTHS: Final = {"name": 0, "bar": 11, "size": 18, "speed": 12, "time": 8}
#: What is shown, where there are so many cells or more.
_LAYOUTS: Final = (
    (64, ("name", "bar", "size", "speed", "time")),
    (50, ("name", "size", "speed", "time")),
    (36, ("name", "size", "time")),
    (0, ("name", "size")),
)


def _layout(width: int, *, waiting: bool) -> tuple[str, ...]:
    """Return what has room on a line of so many cells; while nothing goes on, why that is has the most."""
    return _LAYOUTS[-1][1] if waiting else next(parts for least, parts in _LAYOUTS if width >= least)


def _columns() -> dict[str, Any]:
    from rich import progress  # noqa: PLC0415 - it is large, and most often not needed
    from rich.table import Column  # noqa: PLC0415

    def kept() -> Column:
        return Column(no_wrap=True)

    return {
        "name": progress.TextColumn("{task.description}", markup=False, table_column=kept()),
        "bar": progress.BarColumn(),
        "size": progress.DownloadColumn(binary_units=True, table_column=kept()),
        "speed": progress.TransferSpeedColumn(table_column=kept()),
        "time": progress.TimeRemainingColumn(table_column=kept()),
    }


def _bar(columns: dict[str, Any]) -> Any:
    from rich import progress  # noqa: PLC0415 - likewise
    from rich.console import Console  # noqa: PLC0415

    return progress.Progress(
        columns["name"],
        console=Console(stderr=True),
        auto_refresh=False,  # its thread would draw while nothing has changed
    )


def _fitted(text: str, cells: int) -> str:
    """Return ``text`` in so many cells at most."""
    from rich.text import Text  # noqa: PLC0415 - likewise

    fitted = Text(text)
    fitted.truncate(max(cells, 0), overflow="ellipsis")
    return fitted.plain


def _plain(text: str) -> str:
    """Return ``text`` on one line, and without what a terminal would act on."""
    return "".join(character if character.isprintable() else "�" for character in text)


class Standing:
    """Tells where a drop stands, on the standard error, whenever that changes.

    :param quiet: say nothing.
    """

    def __init__(self, name: str, *, quiet: bool = False) -> None:
        self._name = name
        self._terminal = sys.stderr.isatty()
        self._quiet = quiet
        self._said = 0
        self._last = ""

    def tell(self, status: Status) -> None:
        """Say what is new."""
        if self._quiet:
            return
        for event in status.events[self._said :]:
            self._line(event.what + (f" by {event.by}" if event.by else "") + _at(event.byte))
        self._said = len(status.events)
        if self._terminal and status.state == "available":
            share = f", {status.acknowledged / status.size:.0%} received" if status.size and status.acknowledged else ""
            self._draw(f"{self._name}: {status.delivered} of {status.downloads} delivered{share}")

    def end(self) -> None:
        """Leave the line."""
        self._draw("")

    def _line(self, words: str) -> None:
        self._draw("")
        print(_plain(f"{self._name}: {words}"), file=sys.stderr, flush=True)  # noqa: T201 - it is what this is for

    def _draw(self, words: str) -> None:
        if self._terminal and words != self._last:
            sys.stderr.write("\r\x1b[K" + _fitted(_plain(words), _width() - 1))
            sys.stderr.flush()
            self._last = words


def _width() -> int:
    """Return how many cells a line of the terminal has."""
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80


def _at(byte: int | None) -> str:
    return f" at byte {byte}" if byte else ""
