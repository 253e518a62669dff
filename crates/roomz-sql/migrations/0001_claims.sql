-- One row for each event. The same SQL is valid for PostgreSQL and SQLite.
CREATE TABLE roomz_claims (
    namespace   TEXT     NOT NULL,
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
CREATE INDEX roomz_claims_expires ON roomz_claims (expires);
