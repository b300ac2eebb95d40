-- Drops and claims.
--
-- One text for SQLite and PostgreSQL: standard SQL, but for BLOB, which PostgreSQL calls BYTEA.
-- A column is named as the attribute of filedropd.model that it holds; the words of a state and of a
-- reason are the values of its enumerations.  Times are seconds since the epoch, sizes and offsets
-- are bytes.  The constraints say again what the code keeps: what they refuse is a bug.

CREATE TABLE drops (
    -- SHA-256 of the link's token: what is stored here opens nothing.
    key            BLOB             NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    -- SHA-256 of the owner's token.
    owner_key      BLOB             NOT NULL CHECK (length(owner_key) = 32),
    -- Unique, because deleting one drop's bytes must never delete another's; the index serves has_blob.
    blob           TEXT             NOT NULL UNIQUE,
    name           TEXT             NOT NULL,
    content_type   TEXT             NOT NULL,
    size           BIGINT           NOT NULL CHECK (size >= 0),
    password       TEXT,
    downloads      BIGINT           NOT NULL CHECK (downloads >= 1),
    delivered      BIGINT           NOT NULL CHECK (delivered BETWEEN 0 AND downloads),
    live           BIGINT           NOT NULL CHECK (live >= 0),
    created_at     DOUBLE PRECISION NOT NULL,
    expires_at     DOUBLE PRECISION NOT NULL,
    state          TEXT             NOT NULL CHECK (state IN ('available', 'gone', 'purged')),
    reason         TEXT             CHECK (reason IN ('delivered', 'expired', 'revoked')),
    gone_at        DOUBLE PRECISION,
    due_at         DOUBLE PRECISION NOT NULL,
    purge_attempts BIGINT           NOT NULL CHECK (purge_attempts >= 0),
    -- How many claims were ever opened; a claim's number is taken from here.
    opened         BIGINT           NOT NULL DEFAULT 0,
    -- Copies handed out and copies on their way are never more than were allowed.
    CHECK (delivered + live <= downloads),
    -- What is gone has a reason and a time; what is there has neither.
    CHECK ((state = 'available') = (reason IS NULL)),
    CHECK ((state = 'available') = (gone_at IS NULL))
);

-- What the reaper asks: the most overdue first, and when the next one is due.
CREATE INDEX drops_due ON drops (due_at, key);

CREATE TABLE claims (
    id             TEXT             NOT NULL PRIMARY KEY,
    -- The drop's claims in the order in which they were opened; the index of UNIQUE serves that, too.
    "drop"         BLOB             NOT NULL REFERENCES drops (key),
    number         BIGINT           NOT NULL,
    first          BIGINT           NOT NULL CHECK (first >= 0),
    length         BIGINT           NOT NULL CHECK (length >= 0),
    opened_at      DOUBLE PRECISION NOT NULL,
    state          TEXT             NOT NULL CHECK (state IN ('open', 'part', 'delivered', 'broken')),
    acknowledged   BIGINT           NOT NULL CHECK (acknowledged BETWEEN 0 AND length),
    ended_at       DOUBLE PRECISION,
    UNIQUE ("drop", number),
    CHECK ((state = 'open') = (ended_at IS NULL))
);

-- What a daemon asks once at its start: the claims that a crash left open, of which there are few.
CREATE INDEX claims_open ON claims (id) WHERE state = 'open';
