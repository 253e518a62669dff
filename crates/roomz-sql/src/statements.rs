/// What is asked of a database: one text for PostgreSQL and SQLite, which differ in how they tell the time and pass over
/// locked rows. Each gives rows of two numbers and a truth, so that one function asks them all.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) claim: &'static str,
    pub(crate) look: &'static str,
    pub(crate) renew: &'static str,
    pub(crate) complete: &'static str,
    pub(crate) release: &'static str,
    pub(crate) purge: &'static str,
}

/// `state` of a row.
pub(crate) const RUNNING: i64 = 0;
/// `state` of a row.
pub(crate) const FREE: i64 = 1;
/// `state` of a row.
pub(crate) const DONE: i64 = 2;

macro_rules! statements {
    (now: $now:literal, clock: $clock:literal, lock: $lock:literal) => {
        Statements {
            // Insert or take over, in one statement: the row is locked before it is looked at. No row comes back when
            // somebody else has it. NOT EXISTS decides nothing; it spares a duplicate the lock, and with it the disk.
            claim: concat!(
                "INSERT INTO roomz_claims \
                 (namespace, event_id, state, owner, fingerprint, attempt, lease_end, expires) \
                 SELECT $1, $2, 0, $3, $4, 1, ", $now, " + $5, ", $now, " + $6 \
                 WHERE NOT EXISTS (SELECT 1 FROM roomz_claims \
                   WHERE namespace = $1 AND event_id = $2 AND expires > ", $now, " \
                   AND (state = 2 OR (state = 0 AND owner <> $3 AND lease_end > ", $now, "))) \
                 ON CONFLICT (namespace, event_id) DO UPDATE SET \
                   state = 0, \
                   owner = excluded.owner, \
                   fingerprint = CASE WHEN roomz_claims.expires <= ", $now, " \
                     THEN excluded.fingerprint ELSE roomz_claims.fingerprint END, \
                   attempt = CASE WHEN roomz_claims.expires <= ", $now, " THEN 1 \
                     WHEN roomz_claims.state = 0 AND roomz_claims.owner = excluded.owner \
                     THEN roomz_claims.attempt ELSE roomz_claims.attempt + 1 END, \
                   lease_end = ", $clock, " + $5, \
                   expires = ", $clock, " + $6 \
                 WHERE roomz_claims.expires <= ", $now, " \
                   OR roomz_claims.state = 1 \
                   OR (roomz_claims.state = 0 AND roomz_claims.owner = excluded.owner) \
                   OR (roomz_claims.state = 0 AND roomz_claims.lease_end <= ", $now, ") \
                 RETURNING attempt, lease_end, fingerprint = $4"
            ),
            look: concat!(
                "SELECT CAST(state AS BIGINT), lease_end - ", $now, ", fingerprint = $3 FROM roomz_claims \
                 WHERE namespace = $1 AND event_id = $2 AND expires > ", $now
            ),
            renew: concat!(
                "UPDATE roomz_claims SET \
                   lease_end = ", $now, " + $4, \
                   expires = CASE WHEN expires < ", $now, " + $4 THEN ", $now, " + $4 ELSE expires END \
                 WHERE namespace = $1 AND event_id = $2 AND owner = $3 AND state = 0 AND expires > ", $now, " \
                 RETURNING attempt, lease_end, TRUE"
            ),
            // A completion that is repeated because its reply got lost changes nothing and is confirmed.
            complete: concat!(
                "UPDATE roomz_claims SET \
                   expires = CASE WHEN state = 0 THEN ", $now, " + $4 ELSE expires END, \
                   state = 2 \
                 WHERE namespace = $1 AND event_id = $2 AND owner = $3 AND state IN (0, 2) AND expires > ", $now, " \
                 RETURNING attempt, lease_end, TRUE"
            ),
            release: concat!(
                "UPDATE roomz_claims SET state = 1 \
                 WHERE namespace = $1 AND event_id = $2 AND owner = $3 AND state = 0 AND expires > ", $now, " \
                 RETURNING attempt, lease_end, TRUE"
            ),
            // What is chosen is locked, so that it cannot be claimed anew before it is removed.
            purge: concat!(
                "DELETE FROM roomz_claims WHERE (namespace, event_id) IN \
                 (SELECT namespace, event_id FROM roomz_claims WHERE expires <= ", $now, " \
                 ORDER BY expires LIMIT $1", $lock, ") \
                 RETURNING attempt, lease_end, TRUE"
            ),
        }
    };
}

// `now` is the time at which the statement began, so that it is the same wherever the statement asks for it. A lease is
// counted from the time at which it is written, which is later when the row was locked.
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES: Statements = statements! {
    now: "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT)",
    clock: "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    lock: " FOR UPDATE SKIP LOCKED"
};

#[cfg(feature = "sqlite")]
pub(crate) const SQLITE: Statements = statements! {
    now: "CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER)",
    clock: "CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER)",
    lock: ""
};
