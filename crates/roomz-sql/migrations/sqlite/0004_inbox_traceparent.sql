-- SQLite cannot add a column only if it is missing: when this runs again, its last statement fails with `duplicate column name`.
INSERT INTO roomz_migrations (version) VALUES (4) ON CONFLICT DO NOTHING;

-- The trace context of the request that delivered the event (W3C), if it had one.
ALTER TABLE roomz_inbox ADD COLUMN traceparent TEXT;
