-- Several daemons on one database: which of them runs a transfer, and until when each says that it lives.

CREATE TABLE daemons (
    name  TEXT             NOT NULL PRIMARY KEY,
    -- Renewed while the daemon lives; from then on it is taken for dead, and its transfers for cut off.
    lease DOUBLE PRECISION NOT NULL
);

ALTER TABLE transfers ADD COLUMN daemon TEXT NOT NULL DEFAULT '';
