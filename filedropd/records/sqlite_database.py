"""A SQLite file, its connection and its lock: the part of :mod:`filedropd.records.sqlite` that blocks.

All of it runs on one thread.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
from twisted.logger import Logger

from filedropd.errors import FiledropError, InsufficientStorage, Unavailable
from filedropd.interfaces import StoreUnusable
from filedropd.records import migrations, sql
from filedropd.records.migrations import Migration
from filedropd.records.transactions import Asked, Deciding, Keyed, Many, Transaction

T = TypeVar("T")

#: Seconds to wait while another program (a backup, a shell) holds a lock on the database.
BUSY_TIMEOUT = 5.0

#: Pages in the log at which it is written back to the database and begins anew in the space that it has.
CHECKPOINT: Final = 256

#: Pages of room that log and database have in advance; more than :data:`CHECKPOINT` by a large commit.
ROOM: Final = CHECKPOINT + 64

#: Statements that are kept ready: some are there for each number of keys that they are on.
_STATEMENTS: Final = 512

#: What a client is told when nothing can be committed: an upload, a download, a deletion.
NO_ROOM: Final = "There is no room to make a note of this, and nothing is done without. Try again later."

#: What an operator is told when the disk is too full to open the database: SQLite needs some room beside it.
_FULL: Final = "The database {path} cannot be opened: its disk is full. Free some MiB there, and it starts."

#: Bytes that are free on a disk which is as good as full.
_NEARLY_NONE: Final = 2**20

#: What a client is told when the database is not open.
CLOSED = "The service is starting or stopping. Try again in a moment."

#: What passes, or is for the operator to mend (https://www.sqlite.org/rescode.html).
_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)

_log = Logger()


class Begin(enum.Enum):
    """How a transaction begins."""

    #: One statement, which is a transaction by itself.
    ALONE = ""
    READ = "BEGIN"
    #: Takes the write lock at once: it is waited for here, and not half-way through, where SQLite
    #: would refuse instead of waiting.
    WRITE = "BEGIN IMMEDIATE"


ALONE, READ, WRITE = Begin.ALONE, Begin.READ, Begin.WRITE


@attrs.define(eq=False)
class Database:
    """The database at ``path``; every method blocks, and all are called on one thread.

    :ivar path: the file; once open, without symbolic links.
    :ivar durable: whether a commit waits for the disk.
    :ivar schema: where the migrations are.
    """

    path: Path
    durable: bool
    schema: Traversable
    _lock: int | None = attrs.field(init=False, default=None)
    _connection: sqlite3.Connection | None = attrs.field(init=False, default=None)

    def open(self) -> None:
        """Take the lock, connect, bring the schema up to date. After a failure nothing is held.

        :raises StoreUnusable: that cannot be done; says why.
        """
        try:
            self._open()
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StoreUnusable(_FULL.format(path=self.path)) from error
            raise StoreUnusable(
                f"The database {self.path} cannot be opened: {error.filename or self.path}: {error.strerror}. "
                "Name a folder with --data-dir that the daemon's user can write to."
            ) from error
        except sqlite3.Error as error:
            raise StoreUnusable(_refusal(self.path, error)) from error
        finally:
            if self._connection is None:
                self.close()

    def close(self) -> None:
        """Give back what is held: the lock last, so that nobody opens what is still being closed."""
        connection, self._connection = self._connection, None
        lock, self._lock = self._lock, None
        try:
            if connection is not None:
                connection.close()
        finally:
            if lock is not None:
                os.close(lock)

    def run(self, begin: Begin, transaction: Transaction[T]) -> T:
        """Run ``transaction`` from its beginning to its commit, or leave no trace of it.

        :raises InsufficientStorage: there is no room on the disk.
        :raises Unavailable: the database is closed, locked or away.
        """
        if self._connection is None:
            raise Unavailable(CLOSED)
        try:
            if begin is Begin.ALONE:
                return _result(self._connection, transaction)
            with _committed(self._connection):
                self._connection.execute(begin.value)
                return _result(self._connection, transaction)
        except sqlite3.Error as error:
            told = for_clients(error, begin)
            if told is None:
                raise
            _log.error("the database {path} refused: {reason}", path=str(self.path), reason=str(error))
            raise told from error

    def _open(self) -> None:
        # A link to a database is the same database and must have the same lock.
        self.path = Path(os.path.realpath(self.path))
        _make_folder(self.path.parent, durable=self.durable)
        self._lock = _locked(self.path)
        _make_file(self.path)
        # isolation_level=None: the module begins no transactions of its own.
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT, isolation_level=None, cached_statements=_STATEMENTS
        )
        try:
            connection.row_factory = sqlite3.Row
            steps = self._missing(connection)
            self._set_up(connection)
            migrations.announce(steps, str(self.path))
            for step in steps:
                _apply(connection, step)
            self._make_room(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _missing(self, connection: sqlite3.Connection) -> list[Migration]:
        """Return the steps that the schema lacks. Only looks: what is not ours, or too new, is left as it is."""
        tables = {row["name"] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and "schema_version" not in tables:
            raise StoreUnusable(
                f"The database {self.path} belongs to another program. Nothing was changed. "
                "Name another file in --records."
            )
        version = connection.execute(sql.VERSION).fetchone()["version"] if tables else 0
        return migrations.missing(migrations.load(self.schema), version, f"The database {self.path}")

    def _set_up(self, connection: sqlite3.Connection) -> None:
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()["journal_mode"]
        if mode != "wal":
            raise StoreUnusable(
                f"The database {self.path} cannot have a write-ahead log where it lies: its journal mode "
                f"stays {mode!r}. Put it on a local disk."
            )
        connection.execute("PRAGMA synchronous = FULL" if self.durable else "PRAGMA synchronous = OFF")
        connection.execute("PRAGMA foreign_keys = ON")

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """Give the log and the database room in advance: on a full disk, downloads must still be noted.

        The log is overwritten from its beginning once it was written back, and the database grows only when no
        page of it is free.  So what is written and deleted here is room that nobody else can take.
        """
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
        size = ROOM * int(connection.execute("PRAGMA page_size").fetchone()["page_size"])
        try:
            with _committed(connection):
                connection.execute(WRITE.value)
                connection.execute(sql.MAKE_ROOM)
                connection.execute(sql.FILL_ROOM, {"size": size})
            connection.execute(sql.LEAVE_ROOM)
            connection.execute("PRAGMA wal_checkpoint(RESTART)")
        except sqlite3.OperationalError as error:
            # What is there can be downloaded all the same, as long as it goes.
            _log.warn("the database {path} has little room: {reason}", path=str(self.path), reason=str(error))


# -- the file --------------------------------------------------------------------------------------


def _make_folder(folder: Path, *, durable: bool) -> None:
    """Make ``folder``, and those above it that are missing, so that they survive a power cut."""
    if folder.is_dir():
        return
    _make_folder(folder.parent, durable=durable)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, "it is a file, and no folder", str(folder)) from error
    if durable:
        parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def _locked(path: Path) -> int:
    """Return a descriptor that holds the lock beside ``path``; the file stays, only the lock ends."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise StoreUnusable(
            f"Another filedropd uses the database {path}. Stop that one, or give this one a --data-dir of its own."
        ) from error
    except OSError:
        os.close(lock)
        raise
    return lock


def _make_file(path: Path) -> None:
    """Make the database's file, for ourselves alone; those that SQLite puts beside it take its mode.

    Only where it is missing, and under the lock: to close a descriptor of a database that is open in
    this process would take SQLite's own locks away (POSIX locks are the process's, not the descriptor's).
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


# -- statements ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _committed(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit the transaction that is begun within, or leave no trace of it."""
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After some errors (a full disk) SQLite has rolled back by itself.
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def _result(connection: sqlite3.Connection, transaction: Transaction[T]) -> T:
    """Execute what ``transaction`` yields, and return what it returns."""
    try:
        step = next(transaction)
        while True:
            step = transaction.send(_executed(connection, step))
    except StopIteration as end:
        result: T = end.value
        return result


def _executed(connection: sqlite3.Connection, step: Asked) -> Any:
    """Execute one step and return its rows, or several of them.

    Each statement waits for its turn among the program's threads: what comes together goes in as few as can be.
    """
    match step:
        case Keyed(statement, keys):
            of: dict[bytes, list[sqlite3.Row]] = {key: [] for key in keys}
            for row in connection.execute(sql.of_so_many(statement, len(keys)), keys).fetchall():
                of[row[sql.key_column(statement)]].append(row)
            return list(of.values())
        case Many(steps):
            for statement, rows in sql.gathered(steps):
                connection.executemany(sql.without_rows(statement), rows)
            return None
        case Deciding(statement, rows):
            return connection.executemany(sql.without_rows(statement), rows).rowcount == len(rows)
        case (statement, values):
            return connection.execute(sql.without_locks(statement), values).fetchall()


def _apply(connection: sqlite3.Connection, step: Migration) -> None:
    """Apply ``step`` and note its version, both or neither."""
    with _committed(connection):
        # executescript() commits what is open before it runs: the script itself must begin.
        connection.executescript(f"{WRITE.value};\n{sql.CREATE_VERSIONS};\n{step.script}")
        connection.execute(sql.ADD_VERSION, {"version": step.version})


# -- errors ----------------------------------------------------------------------------------------


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 where the error is not SQLite's but the module's."""
    extended: int = getattr(error, "sqlite_errorcode", 0)
    return extended & 0xFF


def for_clients(error: sqlite3.Error, begin: Begin) -> FiledropError | None:
    """Return what a client is told of ``error``, or ``None`` where it is a bug or a damaged database."""
    code = _code(error)
    # A disk that cannot be written is as good as a full one: the upload is not kept.
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and begin is WRITE):
        return InsufficientStorage(NO_ROOM)
    return Unavailable() if code in _PASSING else None


def _refusal(path: Path, error: sqlite3.Error) -> str:
    """Return the words in which an operator is told that SQLite does not open ``path``."""
    code = _code(error)
    if code == sqlite3.SQLITE_NOTADB:
        return f"{path} is not a SQLite database. Nothing was changed. Name another file in --records."
    if code == sqlite3.SQLITE_CORRUPT:
        return (
            f"The database {path} is damaged ({error}). "
            "Restore it from a backup, or try the .recover command of the sqlite3 program."
        )
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return f"The database {path} is locked by another program. Stop that one and start again."
    # SQLite's own words for a full disk may be "disk I/O error".
    if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN} and _is_full(path.parent):
        return _FULL.format(path=path)
    return f"The database {path} cannot be opened: {error}."


def _is_full(folder: Path) -> bool:
    """Tell whether the disk that ``folder`` is on has hardly a byte left, as far as that can be told."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _NEARLY_NONE
