"""What is known of a download that is under way, in a file beside its part: ``NAME.part.claim``.

It holds the claim's token, and is for our eyes alone. All calls block.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from filedropd.client.errors import Local

_MOST: Final = 64 * 1024
_VERSION: Final = 1


@attrs.frozen(kw_only=True)
class Claimed:
    """What is known of a file that is coming in.

    :ivar link: what its link hashes to; the link itself is not written down.
    :ivar token: of our claim.
    :ivar size: in bytes; ``None`` until the server has said.
    :ivar etag: likewise.
    :ivar digest: the SHA-256 that the server offers, in hex; ``None`` where it offers none.
    """

    link: str
    token: str = attrs.field(repr=False)
    size: int | None = None
    etag: str | None = None
    digest: str | None = None


def write(path: Path, claimed: Claimed) -> None:
    """Write it down, readable by nobody else, so that neither a crash nor a power cut loses it.

    :raises Local: it cannot be written.
    """
    aside = path.with_name(path.name + "~")
    with told(path):
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump({"version": _VERSION, **attrs.asdict(claimed)}, file)
            file.flush()
            os.fsync(descriptor)
        aside.replace(path)
        sync_folder(path.parent)


def read(path: Path) -> Claimed | None:
    """Return what ``path`` says, if it is a file of our own and says anything that we understand."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return None
        try:
            kept: Any = json.loads(file.read(_MOST))
            names = [field.name for field in attrs.fields(Claimed)]
            return Claimed(**{name: kept[name] for name in names}) if kept["version"] == _VERSION else None
        except (ValueError, TypeError, KeyError):
            return None


def sync_folder(folder: Path) -> None:
    """See to it that names in ``folder`` outlast a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Say what the system says of ``path`` as an error of ours."""
    try:
        yield
    except OSError as error:
        raise Local(f"{path} cannot be written: {error.strerror or error}.") from error
    except UnicodeEncodeError as error:
        raise Local(
            f"Names such as {path} have no form in this locale's {error.encoding}. Choose one with -o."
        ) from error
