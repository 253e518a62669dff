-- A completion writes a second version of the row. With space for it in the same page, it writes no index entries.
ALTER TABLE roomz_claims SET (fillfactor = 50);

INSERT INTO roomz_migrations (version) VALUES (4) ON CONFLICT DO NOTHING;
