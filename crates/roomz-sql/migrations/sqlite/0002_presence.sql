-- The latest presence of each workspace.
CREATE TABLE IF NOT EXISTS roomz_presence (
    -- A changed row gets a new number, which is higher than all before. AUTOINCREMENT does not reuse those of deleted rows.
    change       INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace    TEXT    NOT NULL,
    workspace_id BLOB    NOT NULL, -- 16 bytes
    status       TEXT    NOT NULL, -- `Free`, `Busy` or another text
    seconds      INTEGER NOT NULL, -- the event's timestamp, in seconds since 1970
    nanoseconds  INTEGER NOT NULL, -- the fraction of the second
    event_id     BLOB    NOT NULL, -- 16 bytes
    UNIQUE (namespace, workspace_id)
);

INSERT INTO roomz_migrations (version) VALUES (2) ON CONFLICT DO NOTHING;
