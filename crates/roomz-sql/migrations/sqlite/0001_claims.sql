-- One row for each event.
CREATE TABLE IF NOT EXISTS roomz_claims (
    namespace   TEXT     NOT NULL,
    event_id    BLOB     NOT NULL, -- 16 bytes
    state       INTEGER  NOT NULL, -- 0 running, 1 free, 2 done
    owner       BLOB     NOT NULL, -- 16 bytes
    fingerprint BLOB     NOT NULL, -- 16 bytes, of the first body
    attempt     INTEGER  NOT NULL,
    lease_end   INTEGER  NOT NULL, -- milliseconds since 1970, by the system clock
    expires     INTEGER  NOT NULL, -- milliseconds since 1970, by the system clock
    PRIMARY KEY (namespace, event_id)
) WITHOUT ROWID;

-- Finds the expired rows that a purge deletes.
CREATE INDEX IF NOT EXISTS roomz_claims_expires ON roomz_claims (expires);

-- The scripts that were applied. `connect` compares them with its own; it writes the checksums.
CREATE TABLE IF NOT EXISTS roomz_migrations (
    version  INTEGER NOT NULL PRIMARY KEY,
    checksum TEXT
);

INSERT INTO roomz_migrations (version) VALUES (1) ON CONFLICT DO NOTHING;
