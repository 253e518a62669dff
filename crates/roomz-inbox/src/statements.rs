/// The statements of the table `roomz_inbox`. PostgreSQL and SQLite share the text, except for the clock and for skipping locked
/// rows. `{limit}` and `{state}` are replaced by numbers: with parameters, PostgreSQL could plan a scan of the whole table.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) take: &'static str,
    pub(crate) renew: &'static str,
    pub(crate) complete: &'static str,
    pub(crate) fail: &'static str,
    pub(crate) give_back: &'static str,
    pub(crate) list: &'static str,
    pub(crate) list_namespace: &'static str,
    pub(crate) get: &'static str,
    pub(crate) retry: &'static str,
    pub(crate) discard: &'static str,
    pub(crate) stats: &'static str,
    pub(crate) purge: &'static str,
}

/// A value of the column `state`.
pub(crate) const WAITING: i64 = 0;
/// A value of the column `state`.
pub(crate) const RUNNING: i64 = 1;
/// A value of the column `state`.
pub(crate) const DONE: i64 = 2;
/// A value of the column `state`.
pub(crate) const DEAD: i64 = 3;

/// Fails if the table or a column is missing, or if a permission is. It changes nothing.
pub(crate) const TEST: &str = "SELECT owner, attempt, earlier, received, body, error FROM roomz_inbox LIMIT 0; \
     INSERT INTO roomz_inbox (namespace, event_id, state, due, received, owner, attempt, earlier, body) \
       SELECT namespace, event_id, state, due, received, owner, attempt, earlier, body FROM roomz_inbox WHERE 0 = 1 \
       ON CONFLICT (namespace, event_id) DO NOTHING; \
     UPDATE roomz_inbox SET state = 0 WHERE 0 = 1; \
     DELETE FROM roomz_inbox WHERE 0 = 1";

macro_rules! entry_columns {
    () => {
        "namespace, event_id, CAST(state AS BIGINT), received, due, attempt, error, body"
    };
}

/// The conditions that only the owner of a running attempt meets.
macro_rules! is_owner {
    () => {
        " WHERE namespace = $1 AND event_id = $2 AND owner = $3 AND state = 1 "
    };
}

macro_rules! statements {
    (now: $now:literal, lock: $lock:literal, per_mille: $per_mille:literal) => {
        Statements {
            // An attempt is counted when it is taken, so that an event that ends its process reaches the maximum. The events that
            // ran with it are not taken together again, because their leases end at different times: up to a half later.
            // Otherwise all of them would reach the maximum.
            take: concat!(
                "WITH next AS (SELECT namespace AS next_namespace, event_id AS next_id FROM roomz_inbox \
                   WHERE state < 2 AND due <= ", $now, " ORDER BY due LIMIT {limit}", $lock, ") \
                 UPDATE roomz_inbox SET state = 1, owner = $1, attempt = attempt + 1, \
                   due = ", $now, " + $2 + $2 * ", $per_mille, " / 2000 \
                 FROM next WHERE namespace = next_namespace AND event_id = next_id \
                 RETURNING namespace, event_id, attempt, earlier, received, ", $now, " - received, body, error"
            ),
            renew: concat!(
                "UPDATE roomz_inbox SET due = ", $now, " + $4 + $4 * ", $per_mille, " / 2000", is_owner!(), "RETURNING due"
            ),
            // If the reply was lost and the owner completes again, this confirms the completion.
            complete: concat!(
                "UPDATE roomz_inbox SET state = 2, due = ", $now, " + $4, error = NULL \
                 WHERE namespace = $1 AND event_id = $2 AND owner = $3 AND state IN (1, 2) \
                 RETURNING ", $now, " - received"
            ),
            // If the reply was lost and the owner records the failure again, this confirms it.
            fail: concat!(
                "UPDATE roomz_inbox SET state = CAST($4 AS INTEGER), due = ", $now, " + $5, error = $6, attempt = $7 \
                 WHERE namespace = $1 AND event_id = $2 AND owner = $3 AND state IN (1, CAST($4 AS INTEGER)) RETURNING due"
            ),
            give_back: concat!(
                "UPDATE roomz_inbox SET state = 0, due = ", $now, ", attempt = attempt - $4", is_owner!(), "RETURNING due"
            ),
            list: concat!(
                "SELECT ", entry_columns!(), " FROM roomz_inbox WHERE state = {state} ORDER BY due LIMIT {limit}"
            ),
            list_namespace: concat!(
                "SELECT ", entry_columns!(), " FROM roomz_inbox WHERE state = {state} AND namespace = $1 \
                 ORDER BY due LIMIT {limit}"
            ),
            get: concat!("SELECT ", entry_columns!(), " FROM roomz_inbox WHERE namespace = $1 AND event_id = $2"),
            retry: concat!(
                "UPDATE roomz_inbox SET state = 0, due = ", $now, ", earlier = attempt \
                 WHERE namespace = $1 AND event_id = $2 AND state = 3 RETURNING due"
            ),
            discard: concat!(
                "UPDATE roomz_inbox SET state = 2, due = ", $now, " + $3 \
                 WHERE namespace = $1 AND event_id = $2 AND state = 3 RETURNING due"
            ),
            stats: concat!(
                "SELECT count(CASE WHEN state = 0 THEN 1 END), count(CASE WHEN state = 1 THEN 1 END), \
                   (SELECT count(*) FROM roomz_inbox WHERE state = 3), \
                   CAST(coalesce(", $now, " - min(received), 0) AS BIGINT) \
                 FROM roomz_inbox WHERE state < 2"
            ),
            purge: concat!(
                "DELETE FROM roomz_inbox WHERE (namespace, event_id) IN \
                 (SELECT namespace, event_id FROM roomz_inbox WHERE state = {state} AND due <= ", $now, " \
                  ORDER BY due LIMIT {limit}", $lock, ") RETURNING due"
            ),
        }
    };
}

#[cfg(feature = "postgres")]
pub(crate) const POSTGRES: Statements = statements! {
    now: "CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT)",
    lock: " FOR UPDATE SKIP LOCKED",
    per_mille: "CAST(random() * 1000 AS BIGINT)"
};

#[cfg(feature = "sqlite")]
pub(crate) const SQLITE: Statements = statements! {
    now: "CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER)",
    lock: "",
    per_mille: "abs(random() % 1000)"
};

/// Returns the event ids that were new. In the order of the key, so that two batches do not lock each other.
#[cfg(feature = "postgres")]
pub(crate) const INSERT_POSTGRES: &str = "WITH clock AS (SELECT CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT) AS now) \
     INSERT INTO roomz_inbox (namespace, event_id, state, due, received, owner, attempt, earlier, body) \
     SELECT n, i, 0, now, now, i, 0, 0, b \
     FROM clock, unnest(CAST($1 AS TEXT[]), CAST($2 AS BYTEA[]), CAST($3 AS BYTEA[])) AS event(n, i, b) ORDER BY n, i \
     ON CONFLICT (namespace, event_id) DO NOTHING RETURNING namespace, event_id";

/// The text in front of the rows.
#[cfg(feature = "sqlite")]
pub(crate) const INSERT_SQLITE: &str = "INSERT INTO roomz_inbox (namespace, event_id, state, due, received, owner, attempt, earlier, body) \
     SELECT column1, column2, 0, now, now, column2, 0, 0, column3 \
     FROM (SELECT CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER) AS now), (";

/// The text behind the rows.
#[cfg(feature = "sqlite")]
pub(crate) const INSERT_SQLITE_END: &str =
    ") WHERE TRUE ON CONFLICT (namespace, event_id) DO NOTHING RETURNING namespace, event_id";
