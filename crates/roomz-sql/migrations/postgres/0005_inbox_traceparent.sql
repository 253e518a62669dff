-- The trace context of the request that delivered the event (W3C), if it had one.
ALTER TABLE roomz_inbox ADD COLUMN IF NOT EXISTS traceparent TEXT;

INSERT INTO roomz_migrations (version) VALUES (5) ON CONFLICT DO NOTHING;
