"""Every statement that is sent to a database, once.

SQLite and PostgreSQL share them: standard SQL, and ``RETURNING``, which both have.  Placeholders are
``:name``.  ``drop`` is a word of SQL's own and stands in quotes.  Rows come back by column name, so
``*`` is safe whatever a later migration adds.

What is done with them, and in which order, is in :mod:`filedropd.records.transactions`.
"""

from __future__ import annotations

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
    INSERT INTO drops (key, owner_key, blob, name, content_type, size, password, downloads, delivered, live,
                       created_at, expires_at, state, reason, gone_at, due_at, purge_attempts)
    VALUES (:key, :owner_key, :blob, :name, :content_type, :size, :password, :downloads, :delivered, :live,
            :created_at, :expires_at, :state, :reason, :gone_at, :due_at, :purge_attempts)
"""

FIND_DROP = "SELECT * FROM drops WHERE key = :key"

HAS_BLOB = "SELECT 1 AS found FROM drops WHERE blob = :blob AND state <> 'purged'"

#: The key breaks a tie, so that the order is always the same.
DUE = "SELECT * FROM drops WHERE due_at <= :now ORDER BY due_at, key LIMIT :limit"

NEXT_DUE = "SELECT MIN(due_at) AS due_at FROM drops"

END_DROP = """
    UPDATE drops SET state = 'gone', reason = :reason, gone_at = :now, due_at = :now
    WHERE key = :key AND state = 'available'
    RETURNING *
"""

PURGED = "UPDATE drops SET state = 'purged', due_at = :forget_at WHERE key = :key AND state = 'gone'"

PURGE_FAILED = """
    UPDATE drops SET due_at = :retry_at, purge_attempts = purge_attempts + 1 WHERE key = :key AND state = 'gone'
"""

#: The claims go first: they refer to the drop.
FORGET_CLAIMS = """
    DELETE FROM claims WHERE "drop" IN (SELECT key FROM drops WHERE key = :key AND state = 'purged')
"""

FORGET_DROP = "DELETE FROM drops WHERE key = :key AND state = 'purged'"

# -- copies: what a claim takes of its drop, and gives back ----------------------------------------

#: The one statement that decides who gets a copy. No row: nobody does.
TAKE_COPY = """
    UPDATE drops SET live = live + 1, opened = opened + 1
    WHERE key = :key AND state = 'available' AND expires_at > :now AND delivered + live < downloads
    RETURNING *
"""

#: A claim that was never sent anything gives its copy back.
RETURN_COPY = "UPDATE drops SET live = live - 1 WHERE key = :key"

#: A claim ended; ``copies`` of it were delivered (0 or 1).  An available drop whose last copy that
#: was is gone; one that is gone for another reason keeps it.
FREE_COPY = """
    UPDATE drops SET
        live = live - 1,
        delivered = delivered + :copies,
        state = CASE WHEN state = 'available' AND delivered + :copies >= downloads THEN 'gone' ELSE state END,
        reason = CASE WHEN state = 'available' AND delivered + :copies >= downloads THEN 'delivered' ELSE reason END,
        gone_at = CASE WHEN state = 'available' AND delivered + :copies >= downloads THEN :now ELSE gone_at END,
        due_at = CASE WHEN state = 'available' AND delivered + :copies >= downloads THEN :now ELSE due_at END
    WHERE key = :key
    RETURNING *
"""

# -- claims ----------------------------------------------------------------------------------------

INSERT_CLAIM = """
    INSERT INTO claims (id, "drop", number, first, length, opened_at, state, acknowledged, ended_at)
    VALUES (:id, :drop, :number, :first, :length, :opened_at, :state, :acknowledged, :ended_at)
"""

CLAIMS = 'SELECT * FROM claims WHERE "drop" = :key ORDER BY number'

#: Changes nothing and locks the drop's row: claims of one drop end one after the other, so that each
#: sees the parts of those before it.
LOCK_DROP_OF = """
    UPDATE drops SET live = live WHERE key = (SELECT "drop" FROM claims WHERE id = :id AND state = 'open')
    RETURNING *
"""

OPEN_CLAIM = "SELECT * FROM claims WHERE id = :id AND state = 'open'"

OPEN_CLAIMS = "SELECT * FROM claims WHERE state = 'open' ORDER BY opened_at, \"drop\", number"

PARTS = "SELECT * FROM claims WHERE \"drop\" = :key AND state = 'part'"

END_CLAIM = """
    UPDATE claims SET state = :state, acknowledged = :acknowledged, ended_at = :ended_at
    WHERE id = :id AND state = 'open'
"""

#: What the parts of a drop become once they cover it.
DELIVER_PARTS = "UPDATE claims SET state = 'delivered' WHERE \"drop\" = :key AND state = 'part'"

RELEASE_CLAIM = "DELETE FROM claims WHERE id = :id AND state = 'open'"
