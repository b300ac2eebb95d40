"""Every statement that is sent to a database, once.

SQLite and PostgreSQL share them: standard SQL, and ``RETURNING``, which both have.  Placeholders are
``:name``.  ``drop`` is a word of SQL's own and stands in quotes.  Rows come back by column name, so
``*`` is safe whatever a later migration adds.

What is done with them, and in which order, is in :mod:`filedropd.records.transactions`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeVar

# -- the schema's version --------------------------------------------------------------------------

#: One row for each migration that was applied; the latest is the schema's version.
CREATE_VERSIONS = "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)"

VERSION = "SELECT COALESCE(MAX(version), 0) AS version FROM schema_version"

ADD_VERSION = "INSERT INTO schema_version (version) VALUES (:version)"

#: Changes nothing, and is written all the same.
TOUCH_VERSION = "UPDATE schema_version SET version = version"

# -- room in advance -------------------------------------------------------------------------------

#: A table that lives for a moment; after a crash in that moment it is there.
MAKE_ROOM = "CREATE TABLE IF NOT EXISTS room (bytes BLOB NOT NULL)"

FILL_ROOM = "INSERT INTO room (bytes) VALUES (zeroblob(:size))"

LEAVE_ROOM = "DROP TABLE room"

# -- drops -----------------------------------------------------------------------------------------

INSERT_DROP = """
    INSERT INTO drops (key, owner_key, blob, name, content_type, size, sha256, password, downloads, delivered, live,
                       presumed, opened, touches, created_at, expires_at, state, reason, gone_at, due_at, purge_attempts)
    VALUES (:key, :owner_key, :blob, :name, :content_type, :size, :sha256, :password, :downloads, :delivered, :live,
            :presumed, :opened, :touches, :created_at, :expires_at, :state, :reason, :gone_at, :due_at, :purge_attempts)
"""

FIND_DROP = "SELECT * FROM drops WHERE key = :key"

PAGE = "SELECT * FROM drops WHERE key > :after ORDER BY key LIMIT :limit"

#: The drop that a transaction is going to change: nobody else changes it until that ends.
LOCK_DROP = FIND_DROP + " FOR UPDATE"

#: Likewise, if nobody else has it now.
TAKE_DROP = LOCK_DROP + " SKIP LOCKED"

HAS_BLOB = "SELECT 1 AS found FROM drops WHERE blob = :blob AND state <> 'purged'"

#: The key breaks a tie, so that it is always the same ones.  What another transaction has locked it is about to
#: change: it is left to whoever that is.
TAKE_DUE = """
    UPDATE drops SET due_at = :until, revision = revision + 1
    WHERE key IN (SELECT key FROM drops WHERE due_at <= :now ORDER BY due_at, key LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING *
"""

NEXT_DUE = "SELECT MIN(due_at) AS due_at FROM drops"

#: Another revision, too: who has read the drop before must not make it what it was then.
PURGED = """
    UPDATE drops SET state = 'purged', due_at = :forget_at, revision = revision + 1
    WHERE key = :key AND state = 'gone'
    RETURNING key
"""

PURGE_FAILED = """
    UPDATE drops SET due_at = :retry_at, purge_attempts = purge_attempts + 1, revision = revision + 1
    WHERE key = :key AND state = 'gone'
"""

#: What would tell who had it goes with the bytes.
ERASE_RECIPIENTS = """
    UPDATE claims SET recipient = NULL WHERE "drop" = :key AND recipient IS NOT NULL
    AND EXISTS (SELECT 1 FROM drops WHERE key = :key AND state = 'purged')
"""

#: What refers to a drop goes first.
FORGET = tuple(
    f"DELETE FROM {table} WHERE \"drop\" IN (SELECT key FROM drops WHERE key = :key AND state = 'purged')"  # noqa: S608 - our own names
    for table in ("events", "transfers", "claims")
)

FORGET_DROP = "DELETE FROM drops WHERE key = :key AND state = 'purged'"

# -- a drop with its claims and transfers ----------------------------------------------------------

CLAIMS = 'SELECT * FROM claims WHERE "drop" = :key ORDER BY number'

#: In the order in which they began, as far as the claims' does not matter.
TRANSFERS = 'SELECT * FROM transfers WHERE "drop" = :key ORDER BY id'

EVENTS = 'SELECT * FROM events WHERE "drop" = :key ORDER BY number'

#: The drops of which a transfer runs, or settled by quiet alone, and the daemons that run them.
INTERRUPTED = 'SELECT DISTINCT "drop", daemon FROM transfers ORDER BY "drop"'

#: The one statement that decides: of all that read one revision, one writes.  No row: somebody else did.
CHANGE_DROP = """
    UPDATE drops SET delivered = :delivered, live = :live, presumed = :presumed, opened = :opened, touches = :touches,
                     state = :state, reason = :reason, gone_at = :gone_at, due_at = :due_at, revision = revision + 1
    WHERE key = :key AND revision = :revision
    RETURNING revision
"""

INSERT_CLAIM = """
    INSERT INTO claims (id, "drop", number, copy, recipient, opened_at, state, sent, confirmed, until, lapses, ended_at)
    VALUES (:id, :drop, :number, :copy, :recipient, :opened_at, :state, :sent, :confirmed, :until, :lapses, :ended_at)
"""

CHANGE_CLAIM = """
    UPDATE claims SET copy = :copy, state = :state, sent = :sent, confirmed = :confirmed, until = :until,
                      lapses = :lapses, ended_at = :ended_at
    WHERE id = :id
"""

DELETE_CLAIM = "DELETE FROM claims WHERE id = :id"

INSERT_TRANSFER = """
    INSERT INTO transfers (id, "drop", claim, daemon, first, length, reserved, acknowledged, settled)
    VALUES (:id, :drop, :claim, :daemon, :first, :length, :reserved, :acknowledged, :settled)
"""

CHANGE_TRANSFER = """
    UPDATE transfers SET reserved = :reserved, acknowledged = :acknowledged, settled = :settled WHERE id = :id
"""

DELETE_TRANSFER = "DELETE FROM transfers WHERE id = :id"

INSERT_EVENT = """
    INSERT INTO events ("drop", number, at, touch, claim, "offset", who)
    VALUES (:drop, :number, :at, :touch, :claim, :offset, :who)
"""

# -- daemons ---------------------------------------------------------------------------------------

LEASE_DAEMON = """
    INSERT INTO daemons (name, lease) VALUES (:name, :until) ON CONFLICT (name) DO UPDATE SET lease = :until
"""

RELEASE_DAEMON = "DELETE FROM daemons WHERE name = :name"

DAEMONS_ALIVE = "SELECT name FROM daemons WHERE lease > :now"

#: What died long ago is not worth a row.
FORGET_DAEMONS = "DELETE FROM daemons WHERE lease <= :now"

#: PostgreSQL alone: what daemons tell each other.
NOTIFY = "SELECT pg_notify('filedropd', word) AS told FROM unnest(CAST(:words AS text[])) AS word"

LISTEN = "LISTEN filedropd"

# -- several at once --------------------------------------------------------------------------------

#: The order in which statements on several drops are gathered: what refers to something comes after it, and goes before it.
_IN_ORDER = (
    INSERT_DROP,
    INSERT_CLAIM,
    CHANGE_CLAIM,
    DELETE_TRANSFER,
    DELETE_CLAIM,
    INSERT_TRANSFER,
    CHANGE_TRANSFER,
    INSERT_EVENT,
    PURGED,
    ERASE_RECIPIENTS,
)

T = TypeVar("T")


def gathered(steps: Iterable[tuple[str, T]]) -> list[tuple[str, list[T]]]:
    """Return each statement with all its values: one that stands for ``steps``, of each drop in their order."""
    of: dict[str, list[T]] = {}
    for statement, values in steps:
        of.setdefault(statement, []).append(values)
    return sorted(of.items(), key=lambda item: _IN_ORDER.index(item[0]))


# -- dialects --------------------------------------------------------------------------------------

_LOCKS = re.compile(r" FOR UPDATE( SKIP LOCKED)?")
_RETURNING = re.compile(r"\s*RETURNING .*$")
_KEY_COLUMN = re.compile(r'"?(\w+)"? = :key')


@lru_cache(maxsize=256)
def without_locks(statement: str) -> str:
    """Return ``statement`` for SQLite, which has one writer and no locks on rows."""
    return _LOCKS.sub("", statement)


@lru_cache(maxsize=256)
def without_rows(statement: str) -> str:
    """Return ``statement`` for SQLite, of which it is enough to know how many rows it changed."""
    return _RETURNING.sub("", without_locks(statement))


@lru_cache(maxsize=1024)
def of_so_many(statement: str, count: int) -> str:
    """Return ``statement``, which is on one ``:key``, for SQLite and ``count`` keys, given in their order."""
    return without_locks(statement).replace("= :key", f"IN ({', '.join('?' * count)})")


@lru_cache(maxsize=256)
def key_column(statement: str) -> str:
    """Return the column by which ``statement``, which is on one ``:key``, finds its rows."""
    (column,) = _KEY_COLUMN.findall(statement)
    return str(column)


@lru_cache(maxsize=256)
def of_several(statement: str) -> str:
    """Return ``statement``, which is on one ``:key``, for PostgreSQL and all the ``:keys`` at once."""
    return statement.replace("= :key", "= ANY(CAST(:keys AS BYTEA[]))")
