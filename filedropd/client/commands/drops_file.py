"""The drops that were left from this machine, and what it takes to look after them.

One file, which nobody else can read: ``$XDG_STATE_HOME/filedrop/drops.json``. It is replaced as a whole, under a
lock, so that several commands at once lose nothing and a crash leaves the old or the new. All calls block.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import attrs

from filedropd.client.errors import Local
from filedropd.client.values import Link, Receipt, moment

_VERSION: Final = 1


@attrs.frozen(kw_only=True)
class Left:
    """A drop that was left from here.

    :ivar left_at: when; ``expires_at`` its time is over.
    """

    url: str = attrs.field(repr=False)
    owner_token: str = attrs.field(repr=False)
    name: str
    size: int
    downloads: int
    left_at: datetime
    expires_at: datetime | None

    @property
    def key(self) -> str:
        """By which it can be named without opening it: 8 hex digits, which the server's logs have, too."""
        return Link(self.url).key[:8]

    @classmethod
    def of(cls, receipt: Receipt) -> Left:
        """Return what is to be kept of a receipt."""
        return cls(
            url=receipt.url,
            owner_token=receipt.owner_token,
            name=receipt.name,
            size=receipt.size,
            downloads=receipt.downloads,
            left_at=datetime.now(UTC).replace(microsecond=0),
            expires_at=receipt.expires_at,
        )


def place(environment: Mapping[str, str]) -> Path:
    """Return the folder of the file (XDG Base Directory Specification; a relative path there counts for nothing)."""
    state = environment.get("XDG_STATE_HOME", "")
    folder = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return folder / "filedrop"


class DropsFile:
    """The drops in the file ``path``, which need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> list[Left]:
        """Return them, the oldest first.

        :raises Local: the file cannot be read, or is none of ours.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unusable(error.strerror) from error
        try:
            told = json.loads(text)
            if told["version"] != _VERSION:
                raise self._unusable("it was written by a newer filedrop")
            return [_parsed(each) for each in told["drops"]]
        except (ValueError, TypeError, KeyError) as error:
            raise self._unusable("it is damaged") from error

    def add(self, left: Left) -> None:
        """Keep one more.

        :raises Local: it cannot be written.
        """
        self._change(lambda drops: [*(each for each in drops if each.url != left.url), left])

    def forget(self, urls: Iterable[str]) -> None:
        """Keep these no longer.

        :raises Local: it cannot be written.
        """
        forgotten = set(urls)
        if forgotten:
            self._change(lambda drops: [each for each in drops if each.url not in forgotten])

    def find(self, name: str) -> Left:
        """Return the drop that ``name`` says: its link, the beginning of its key, or its file's name if only one has it.

        :raises Local: there is none, or there are several.
        """
        drops = self.all()
        link = Link.parse(name).url if "://" in name else None
        found = [each for each in drops if each.url == link]
        found = found or [each for each in drops if len(name) >= 4 and each.key.startswith(name.lower())]
        found = found or [each for each in drops if each.name == name]
        if not found:
            raise Local("No such drop was left from this machine. 'filedrop list' shows those that were.")
        if len(found) > 1:
            raise Local(f"{len(found)} drops are called that. Name one by its key: 'filedrop list' shows them.")
        return found[0]

    # -- the file ---------------------------------------------------------------------------------

    def _change(self, changed: Callable[[list[Left]], list[Left]]) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked():
                self._write(changed(self.all()))
        except OSError as error:
            raise self._unusable(error.strerror) from error

    @contextlib.contextmanager
    def _locked(self) -> Generator[None, None, None]:
        descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, drops: list[Left]) -> None:
        told = {"version": _VERSION, "drops": [_told(each) for each in drops]}
        # mkstemp makes a file that its owner alone can read, whatever the umask.
        descriptor, aside = tempfile.mkstemp(dir=self._path.parent, prefix=".drops-")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(told, file, indent=1)
                file.flush()
                os.fsync(descriptor)
            Path(aside).replace(self._path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise

    def _unusable(self, why: str | None) -> Local:
        return Local(f"{self._path}, where the drops of this machine are kept, cannot be used: {why}.")


def _told(left: Left) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, datetime) else value for name, value in attrs.asdict(left).items()}


def _parsed(told: dict[str, Any]) -> Left:
    left_at = moment(told["left_at"])
    if left_at is None:
        raise ValueError("no moment")
    return Left(**{**told, "left_at": left_at, "expires_at": moment(told["expires_at"])})
