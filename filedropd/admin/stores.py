"""The records and the bytes that a command works on."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from filedropd.blobs.journal import Journal
from filedropd.blobs.system import SystemCalls
from filedropd.config import PostgresURL, SQLiteURL
from filedropd.interfaces import IRecords
from filedropd.model import Drop
from filedropd.records.postgres import PostgresRecords
from filedropd.records.sqlite import SQLiteRecords

#: Either implementation. Both say what they are called.
Records: TypeAlias = SQLiteRecords | PostgresRecords

#: Drops that are read at once.
_PAGE = 200


class Refused(Exception):
    """What was asked for is not done; the text says why."""


@contextlib.asynccontextmanager
async def opened(reactor: Any, where: SQLiteURL | PostgresURL, *, new: bool = False) -> AsyncGenerator[Records, None]:
    """Open the records at ``where``, whose schema is brought up to date, and close them in the end.

    :param new: they may be made here; a misspelt path must not become an empty database otherwise.
    :raises Refused: they are not there.
    :raises StoreUnusable: they cannot be used, by a daemon that has them among others.
    """
    records: Records
    if isinstance(where, PostgresURL):
        records = PostgresRecords(reactor, where.url, size=1)
    elif new or where.path.exists():
        records = SQLiteRecords(reactor, where.path)
    else:
        raise Refused(f"There is no database {where.path}. Say where it is, as to the daemon: --records or --data-dir.")
    await records.open()
    try:
        yield records
    finally:
        await records.close()


async def drops(records: IRecords) -> AsyncGenerator[Drop, None]:
    """Iterate over all drops in the order of their keys."""
    after = b""
    while page := await records.page(after, _PAGE):
        for drop in page:
            yield drop
        after = page[-1].key


class Files:
    """The bytes in the folder ``root``, seen from beside the daemon: no lock is taken.

    All calls block, which a command that serves nobody may.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._journal = Journal(root, SystemCalls(), secrets.token_bytes)

    def check(self) -> None:
        """Return if there is such a store.

        :raises Refused: there is none.
        """
        if not (self._root / "blobs").is_dir():
            raise Refused(
                f"There are no files in {self._root}: it has no folder 'blobs'. "
                "Say where they are, as to the daemon: --blobs or --data-dir."
            )

    def published(self) -> set[str]:
        """Return the names of all blobs that are whole."""
        return set(self._names("blobs"))

    def has(self, blob: str) -> bool:
        """Tell whether ``blob`` is there, whole."""
        try:
            return self._journal.published(blob).is_file()
        except FileNotFoundError:  # it is no blob's name
            return False

    def arriving(self, blob: str) -> bool:
        """Tell whether ``blob`` is on its way, or was left half-way by a daemon that did not stop in order."""
        return any(True for _ in self._root.glob(f"incoming/*/{blob}"))

    def delete(self, blob: str) -> None:
        """Delete ``blob``, so that no power cut brings it back."""
        (failure,) = self._journal.delete_all([blob])
        if failure is not None:
            raise failure

    def _names(self, folder: str) -> Iterator[str]:
        for path in self._root.glob(f"{folder}/*/*"):
            # What is elsewhere, or has another name, is none of ours.
            with contextlib.suppress(FileNotFoundError):
                if self._journal.published(path.name) == path:
                    yield path.name
