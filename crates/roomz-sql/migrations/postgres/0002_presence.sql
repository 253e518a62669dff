-- The latest presence of each workspace.
CREATE TABLE IF NOT EXISTS roomz_presence (
    namespace    TEXT    COLLATE "C" NOT NULL,
    workspace_id BYTEA   NOT NULL, -- 16 bytes
    status       TEXT    NOT NULL, -- `Free`, `Busy` or another text
    seconds      BIGINT  NOT NULL, -- the event's timestamp, in seconds since 1970
    nanoseconds  INTEGER NOT NULL, -- the fraction of the second
    event_id     BYTEA   NOT NULL, -- 16 bytes
    change       BIGINT  NOT NULL, -- the transaction that wrote the row
    PRIMARY KEY (namespace, workspace_id)
);

-- Finds the rows that changed since a point.
CREATE INDEX IF NOT EXISTS roomz_presence_change ON roomz_presence (namespace, change);

INSERT INTO roomz_migrations (version) VALUES (2) ON CONFLICT DO NOTHING;
