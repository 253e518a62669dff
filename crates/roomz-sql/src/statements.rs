/// The statements of a single operation. PostgreSQL and SQLite share the text, except for the clock and for skipping locked rows.
/// Every statement returns two integers and a boolean, so that one function executes them all.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) claim: &'static str,
    pub(crate) select: &'static str,
    pub(crate) renew: &'static str,
    pub(crate) complete: &'static str,
    pub(crate) release: &'static str,
    pub(crate) purge: &'static str,
}

/// A value of the column `state`.
pub(crate) const RUNNING: i64 = 0;
/// A value of the column `state`.
pub(crate) const FREE: i64 = 1;
/// A value of the column `state`.
pub(crate) const DONE: i64 = 2;

macro_rules! statements {
    (now: $now:literal, clock: $clock:literal, lock: $lock:literal) => {
        Statements {
            // Inserts the row or takes it over in one statement, which locks the row before it reads it. Returns no row if
            // another owner holds the claim. NOT EXISTS is an optimization: a duplicate takes no lock and writes nothing.
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
            select: concat!(
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
            // If the reply was lost and the owner completes again, this changes nothing and confirms the completion.
            // The claim set an expiry that is right for a completion with the same retention: see `SLACK`.
            complete: concat!(
                "UPDATE roomz_claims SET \
                   expires = CASE \
                     WHEN state = 0 AND expires - ", $now, " NOT BETWEEN $4 AND $4 + $4 / 1000 THEN ", $now, " + $4 \
                     ELSE expires END, \
                   state = 2 \
                 WHERE namespace = $1 AND event_id = $2 AND owner = $3 AND state IN (0, 2) AND expires > ", $now, " \
                 RETURNING attempt, lease_end, TRUE"
            ),
            // A second release would return no row, because nobody holds a released claim.
            release: concat!(
                "UPDATE roomz_claims SET state = 1 \
                 WHERE namespace = $1 AND event_id = $2 AND owner = $3 AND state = 0 AND expires > ", $now, " \
                 RETURNING attempt, lease_end, TRUE"
            ),
            // The inner SELECT locks the rows, so that none is claimed again before it is deleted. The limit is a literal: with
            // a parameter, the generic plan of PostgreSQL reads the whole table. With $1 = 0, nothing is deleted.
            purge: concat!(
                "DELETE FROM roomz_claims WHERE (namespace, event_id) IN \
                 (SELECT namespace, event_id FROM roomz_claims WHERE expires <= ", $now, " \
                 AND CAST($1 AS BIGINT) > 0 ORDER BY expires LIMIT 100", $lock, ") \
                 RETURNING attempt, lease_end, TRUE"
            ),
        }
    };
}

// `now` is the time at which the statement began, so that it has one value within the statement. `clock` is the current
// time: a lease starts when it is written, which is later than `now` if the statement waited for a lock.
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
