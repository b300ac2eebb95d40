"""Which names are in a folder, made durable."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from filedropd.blobs.system import Sync


def sync_folder(path: Path, sync: Sync) -> None:
    """Make durable which names are in the folder ``path``.

    :raises OSError: it failed; ``FileNotFoundError`` where there is no such folder.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)


def sync_folders(paths: Iterable[Path], sync: Sync) -> Mapping[Path, OSError]:
    """Do what :func:`sync_folder` does with each of several folders, once; return what it failed with."""
    failures: dict[Path, OSError] = {}
    for path in dict.fromkeys(paths):
        try:
            sync_folder(path, sync)
        except OSError as error:
            failures[path] = error
    return failures
