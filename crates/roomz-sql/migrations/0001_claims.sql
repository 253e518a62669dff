-- One row for each event: who runs it, or that it is done. For PostgreSQL and SQLite alike.
CREATE TABLE roomz_claims (
    namespace   TEXT     NOT NULL,
    event_id    BYTEA    NOT NULL, -- 16 bytes
    state       SMALLINT NOT NULL, -- 0 running, 1 free, 2 done
    owner       BYTEA    NOT NULL, -- 16 bytes
    fingerprint BYTEA    NOT NULL, -- 16 bytes, of the first body
    attempt     BIGINT   NOT NULL,
    lease_end   BIGINT   NOT NULL, -- milliseconds since 1970, by the database's clock
    expires     BIGINT   NOT NULL, -- likewise
    PRIMARY KEY (namespace, event_id)
);

-- For removing what has expired.
CREATE INDEX roomz_claims_expires ON roomz_claims (expires);
