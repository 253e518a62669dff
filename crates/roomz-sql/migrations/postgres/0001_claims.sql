-- One row for each event.
CREATE TABLE IF NOT EXISTS roomz_claims (
    -- With another collation, an update of the operating system's library could change the order of the index.
    namespace   TEXT     COLLATE "C" NOT NULL,
    event_id    BYTEA    NOT NULL, -- 16 bytes
    state       SMALLINT NOT NULL, -- 0 running, 1 free, 2 done
    owner       BYTEA    NOT NULL, -- 16 bytes
    fingerprint BYTEA    NOT NULL, -- 16 bytes, of the first body
    attempt     BIGINT   NOT NULL,
    lease_end   BIGINT   NOT NULL, -- milliseconds since 1970, by the database's clock
    expires     BIGINT   NOT NULL, -- milliseconds since 1970, by the database's clock
    PRIMARY KEY (namespace, event_id)
);

-- Finds the expired rows that a purge deletes.
CREATE INDEX IF NOT EXISTS roomz_claims_expires ON roomz_claims (expires);

-- The scripts that were applied. `connect` compares them with its own; it writes the checksums.
CREATE TABLE IF NOT EXISTS roomz_migrations (
    version  BIGINT NOT NULL PRIMARY KEY,
    checksum TEXT
);

INSERT INTO roomz_migrations (version) VALUES (1) ON CONFLICT DO NOTHING;
