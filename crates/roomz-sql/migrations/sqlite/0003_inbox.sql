-- One row for each event in the inbox.
CREATE TABLE IF NOT EXISTS roomz_inbox (
    namespace       TEXT     NOT NULL,
    event_id        BLOB     NOT NULL, -- 16 bytes
    state           INTEGER  NOT NULL, -- 0 waiting, 1 running, 2 done, 3 dead
    -- Milliseconds since 1970, by the system clock. Waiting: the time of the next attempt. Running: the end of the lease.
    -- Done or dead: the time at which the row is deleted.
    due             INTEGER  NOT NULL,
    received        INTEGER  NOT NULL, -- milliseconds since 1970, by the system clock
    owner           BLOB     NOT NULL, -- 16 bytes, of the last attempt
    attempt         INTEGER  NOT NULL, -- attempts so far
    earlier         INTEGER  NOT NULL, -- attempts that do not count towards the maximum, because a dead letter was retried
    body            BLOB     NOT NULL, -- the signed bytes
    error           TEXT,              -- why the last failed attempt failed
    traceparent     TEXT               -- the W3C trace context of the request that delivered the event, if it had one
);

CREATE UNIQUE INDEX IF NOT EXISTS roomz_inbox_id ON roomz_inbox (namespace, event_id);
-- Finds the next events.
CREATE INDEX IF NOT EXISTS roomz_inbox_open ON roomz_inbox (due) WHERE state < 2;
-- Finds the rows to delete.
CREATE INDEX IF NOT EXISTS roomz_inbox_done ON roomz_inbox (due) WHERE state = 2;
-- Finds the dead letters.
CREATE INDEX IF NOT EXISTS roomz_inbox_dead ON roomz_inbox (due) WHERE state = 3;

INSERT INTO roomz_migrations (version) VALUES (3) ON CONFLICT DO NOTHING;
