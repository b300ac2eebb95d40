-- Claims that outlive their connections, transfers under them, and what the owner is told.
--
-- Tables whose constraints change are made anew: SQLite cannot change one.  What an earlier version
-- left is kept as what it was for its recipients: a copy that was delivered stays one, bytes that a
-- broken download acknowledged stay handed out, and a download that the last stop cut off is presumed
-- to have arrived, as that version had it.

CREATE TABLE drops_now (
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
    -- Claims that hold a copy: open, covered, suspended.
    live           BIGINT           NOT NULL CHECK (live >= 0),
    -- Claims that count as delivered, and whose recipients may still come back.
    presumed       BIGINT           NOT NULL CHECK (presumed BETWEEN 0 AND delivered),
    -- How many claims were ever opened; a claim's number is taken from here.
    opened         BIGINT           NOT NULL,
    -- How many events there are; an event's number is taken from here.
    touches        BIGINT           NOT NULL,
    created_at     DOUBLE PRECISION NOT NULL,
    expires_at     DOUBLE PRECISION NOT NULL,
    state          TEXT             NOT NULL CHECK (state IN ('available', 'gone', 'purged')),
    reason         TEXT             CHECK (reason IN ('delivered', 'expired', 'revoked', 'abandoned')),
    gone_at        DOUBLE PRECISION,
    due_at         DOUBLE PRECISION NOT NULL,
    purge_attempts BIGINT           NOT NULL CHECK (purge_attempts >= 0),
    -- Grows with every change to the drop, its claims or its transfers: whoever writes names the one that he read.
    revision       BIGINT           NOT NULL DEFAULT 0,
    -- Copies handed out and copies on their way are never more than were allowed.
    CHECK (delivered + live <= downloads),
    -- What is gone has a reason and a time; what is there has neither.
    CHECK ((state = 'available') = (reason IS NULL)),
    CHECK ((state = 'available') = (gone_at IS NULL))
);

INSERT INTO drops_now (key, owner_key, blob, name, content_type, size, password, downloads, delivered, live, presumed,
                       opened, touches, created_at, expires_at, state, reason, gone_at, due_at, purge_attempts)
SELECT key, owner_key, blob, name, content_type, size, password, downloads, delivered, 0, 0,
       opened, 0, created_at, expires_at, state, reason, gone_at, due_at, purge_attempts
FROM drops;

CREATE TABLE claims_now (
    id             TEXT             NOT NULL PRIMARY KEY,
    -- The drop's claims in the order in which they were opened; the index of UNIQUE serves that, too.
    "drop"         BLOB             NOT NULL REFERENCES drops_now (key),
    number         BIGINT           NOT NULL,
    -- Which of the drop's copies it holds or held.
    copy           BIGINT           NOT NULL CHECK (copy >= 0),
    -- A keyed hash of the address and the program that opened it; erased with the drop's bytes.
    recipient      BLOB             CHECK (length(recipient) = 32),
    opened_at      DOUBLE PRECISION NOT NULL,
    state          TEXT             NOT NULL
        CHECK (state IN ('open', 'covered', 'suspended', 'presumed', 'delivered', 'lapsed')),
    -- Sets of bytes, as filedropd.spans writes them: handed out once or more often; twice or more often; ….
    sent           TEXT             NOT NULL,
    confirmed      TEXT             NOT NULL,
    until          DOUBLE PRECISION NOT NULL,
    lapses         BIGINT           NOT NULL CHECK (lapses >= 0),
    ended_at       DOUBLE PRECISION,
    UNIQUE ("drop", number),
    CHECK ((state IN ('open', 'covered', 'suspended')) = (ended_at IS NULL))
);

-- A claim is a copy now: of one that was delivered in parts, the last part stays, as the whole that it completed.
-- An empty file has one byte to hand over, its head.
INSERT INTO claims_now (id, "drop", number, copy, recipient, opened_at, state, sent, confirmed, until, lapses, ended_at)
SELECT claims.id, claims."drop", claims.number, 0, NULL, claims.opened_at,
       CASE WHEN claims.state = 'delivered' THEN 'delivered' ELSE 'lapsed' END,
       CASE WHEN claims.state = 'open' AND claims.length > 0
                THEN claims.first || '-' || (claims.first + claims.length - 1)
            WHEN claims.state = 'open' AND drops.size = 0 THEN '0-0'
            WHEN claims.state = 'delivered' AND drops.size > 0 THEN '0-' || (drops.size - 1)
            WHEN claims.state = 'delivered' THEN '0-0'
            WHEN claims.acknowledged > 0 THEN claims.first || '-' || (claims.first + claims.acknowledged - 1)
            ELSE '' END,
       CASE WHEN claims.state = 'delivered' AND drops.size > 0 THEN '0-' || (drops.size - 1)
            WHEN claims.state = 'delivered' THEN '0-0'
            WHEN claims.acknowledged > 0 THEN claims.first || '-' || (claims.first + claims.acknowledged - 1)
            ELSE '' END,
       claims.opened_at, 0, COALESCE(claims.ended_at, claims.opened_at)
FROM claims JOIN drops ON drops.key = claims."drop"
WHERE claims.state <> 'delivered'
   OR drops.delivered > (SELECT COUNT(*) FROM claims AS later
                         WHERE later."drop" = claims."drop" AND later.number > claims.number
                           AND later.state = 'delivered');

DROP TABLE claims;
DROP TABLE drops;
ALTER TABLE drops_now RENAME TO drops;
ALTER TABLE claims_now RENAME TO claims;

-- What the reaper asks: the most overdue first, and when the next one is due.
CREATE INDEX drops_due ON drops (due_at, key);

-- What runs, and what settled by quiet alone while its connection stands. A row is deleted when it has ended.
CREATE TABLE transfers (
    id             TEXT             NOT NULL PRIMARY KEY,
    "drop"         BLOB             NOT NULL REFERENCES drops (key),
    claim          TEXT             NOT NULL REFERENCES claims (id),
    first          BIGINT           NOT NULL CHECK (first >= 0),
    length         BIGINT           NOT NULL CHECK (length >= 1),
    -- How many bytes from the first may have been sent: written down before they are.
    reserved       BIGINT           NOT NULL CHECK (reserved BETWEEN 1 AND length),
    acknowledged   BIGINT           NOT NULL CHECK (acknowledged BETWEEN 0 AND length),
    settled        BIGINT           NOT NULL CHECK (settled IN (0, 1))
);

CREATE INDEX transfers_drop ON transfers ("drop", id);
-- What refers to a claim that is to be deleted.
CREATE INDEX transfers_claim ON transfers (claim);

-- What the owner is told.
CREATE TABLE events (
    "drop"         BLOB             NOT NULL REFERENCES drops (key),
    number         BIGINT           NOT NULL,
    at             DOUBLE PRECISION NOT NULL,
    touch          TEXT             NOT NULL,
    claim          BIGINT,
    "offset"       BIGINT,
    who            TEXT,
    PRIMARY KEY ("drop", number)
);
