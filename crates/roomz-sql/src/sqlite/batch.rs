//! The statements that execute several operations.
//!
//! Each operation is an element of a JSON array. The 16-byte values of all operations are concatenated, because reading them
//! from JSON takes longer.

use std::fmt::Write as _;

use roomz_webhook::store::{Claim, ClaimKey, Settled};
use sqlx::{Error, SqliteConnection};

use crate::operation::{ClaimOperation, Operation, Settlement, id};
use crate::outcomes::{BatchRow, OpenClaims, settled};

macro_rules! now {
    () => {
        "CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER)"
    };
}

/// The 16-byte value of the current operation.
macro_rules! bytes {
    ($parameter:literal) => {
        concat!("substr(", $parameter, ", n.key * 16 + 1, 16)")
    };
}

/// The single claim, for each element of the array.
const CLAIM: &str = concat!(
    "INSERT INTO roomz_claims \
     (namespace, event_id, state, owner, fingerprint, attempt, lease_end, expires) \
     SELECT new.namespace, new.event_id, 0, new.owner, new.fingerprint, 1, ",
    now!(),
    " + new.lease, ",
    now!(),
    " + new.retention \
     FROM (SELECT n.value ->> 0 AS namespace, ",
    bytes!("$2"),
    " AS event_id, ",
    bytes!("$3"),
    " AS owner, ",
    bytes!("$4"),
    " AS fingerprint, n.value ->> 1 AS lease, n.value ->> 2 AS retention FROM json_each($1) n) AS new \
     WHERE NOT EXISTS (SELECT 1 FROM roomz_claims o \
       WHERE o.namespace = new.namespace AND o.event_id = new.event_id AND o.expires > ",
    now!(),
    " \
       AND (o.state = 2 OR (o.state = 0 AND o.owner <> new.owner AND o.lease_end > ",
    now!(),
    "))) \
     ON CONFLICT (namespace, event_id) DO UPDATE SET \
       state = 0, \
       owner = excluded.owner, \
       fingerprint = CASE WHEN roomz_claims.expires <= ",
    now!(),
    " THEN excluded.fingerprint ELSE roomz_claims.fingerprint END, \
       attempt = CASE WHEN roomz_claims.expires <= ",
    now!(),
    " THEN 1 \
         WHEN roomz_claims.state = 0 AND roomz_claims.owner = excluded.owner \
         THEN roomz_claims.attempt ELSE roomz_claims.attempt + 1 END, \
       lease_end = excluded.lease_end, \
       expires = excluded.expires \
     WHERE roomz_claims.expires <= ",
    now!(),
    " \
       OR roomz_claims.state = 1 \
       OR (roomz_claims.state = 0 AND roomz_claims.owner = excluded.owner) \
       OR (roomz_claims.state = 0 AND roomz_claims.lease_end <= ",
    now!(),
    ") \
     RETURNING namespace, event_id, 0, attempt, fingerprint"
);

/// `CROSS JOIN` and the sign of `expires` make SQLite search each key in the primary key. Without them, it would read all rows
/// that have not expired if ANALYZE last ran while the table was small.
const SELECT: &str = concat!(
    "SELECT c.namespace, c.event_id, c.state, c.lease_end - ",
    now!(),
    ", c.fingerprint \
     FROM json_each($1) n CROSS JOIN roomz_claims c \
     WHERE c.namespace = n.value ->> 0 AND c.event_id = ",
    bytes!("$2"),
    " AND +c.expires > ",
    now!()
);

/// Operation 0 renews, 1 completes, 2 releases. A completion that is repeated changes nothing and is confirmed.
///
/// An upsert of rows that exist, because `UPDATE … FROM` cannot have a `CROSS JOIN` with the table that it updates.
const SETTLE: &str = concat!(
    "INSERT INTO roomz_claims \
     (namespace, event_id, state, owner, fingerprint, attempt, lease_end, expires) \
     SELECT c.namespace, c.event_id, \
       CASE new.operation WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE 0 END, \
       c.owner, c.fingerprint, c.attempt, \
       CASE new.operation WHEN 0 THEN ",
    now!(),
    " + new.duration ELSE c.lease_end END, \
       CASE WHEN new.operation = 0 THEN max(c.expires, ",
    now!(),
    " + new.duration) \
         WHEN new.operation = 1 AND c.state = 0 AND c.expires - ",
    now!(),
    " NOT BETWEEN new.duration AND new.duration + new.duration / 1000 THEN ",
    now!(),
    " + new.duration \
         ELSE c.expires END \
     FROM (SELECT n.value ->> 0 AS namespace, ",
    bytes!("$2"),
    " AS event_id, ",
    bytes!("$3"),
    " AS owner, n.value ->> 1 AS operation, n.value ->> 2 AS duration FROM json_each($1) n) AS new \
     CROSS JOIN roomz_claims c \
     WHERE c.namespace = new.namespace AND c.event_id = new.event_id AND c.owner = new.owner \
       AND (c.state = 0 OR (c.state = 2 AND new.operation = 1)) AND +c.expires > ",
    now!(),
    " \
     ON CONFLICT (namespace, event_id) DO UPDATE SET \
       state = excluded.state, lease_end = excluded.lease_end, expires = excluded.expires \
     RETURNING namespace, event_id, 0, attempt, fingerprint"
);

/// Whether the statements of a batch can execute these operations. Older versions, such as 3.42, end a JSON text at NUL.
pub(crate) fn accepts<O: Operation>(operations: &[&O]) -> bool {
    operations.iter().filter_map(|one| one.key()).all(|key| !key.namespace().contains('\0'))
}

pub(crate) async fn claim(
    connection: &mut SqliteConnection,
    claims: &[&ClaimOperation],
) -> Result<Vec<Claim>, Error> {
    let mut open = OpenClaims::new(claims);
    // The loop repeats only if a row became free between the two statements.
    while !open.is_empty() {
        let owners = concat(open.iter().map(|claim| claim.owner.to_bytes()));
        let fingerprints = concat(open.iter().map(|claim| claim.fingerprint.to_bytes()));
        let values = vec![ids(&open), owners, fingerprints];
        open.record_claimed(fetch(connection, CLAIM, elements(&open), values).await?)?;
        if !open.is_empty() {
            let values = vec![ids(&open)];
            open.record_found(fetch(connection, SELECT, elements(&open), values).await?)?;
        }
    }
    Ok(open.into_outcomes())
}

pub(crate) async fn settle(
    connection: &mut SqliteConnection,
    settlements: &[&Settlement],
) -> Result<Vec<Settled>, Error> {
    let elements = json(settlements.iter().map(|one| (&one.key, one.kind as i64, one.duration_ms)));
    let ids = concat(settlements.iter().map(|one| id(&one.key)));
    let owners = concat(settlements.iter().map(|one| one.owner.to_bytes()));
    let rows = fetch(connection, SETTLE, elements, vec![ids, owners]).await?;
    Ok(settled(settlements, &rows))
}

fn elements(claims: &OpenClaims<'_>) -> String {
    json(claims.iter().map(|claim| (&claim.key, claim.lease_ms, claim.retention_ms)))
}

fn ids(claims: &OpenClaims<'_>) -> Vec<u8> {
    concat(claims.iter().map(|claim| id(&claim.key)))
}

fn concat(values: impl Iterator<Item = [u8; 16]>) -> Vec<u8> {
    values.flatten().collect()
}

/// Returns all rows: a statement is committed only after its last row.
async fn fetch(
    connection: &mut SqliteConnection,
    sql: &'static str,
    elements: String,
    values: Vec<Vec<u8>>,
) -> Result<Vec<BatchRow>, Error> {
    let query = sqlx::query_as(sql).bind(elements);
    values.into_iter().fold(query, |query, value| query.bind(value)).fetch_all(connection).await
}

/// Returns an array with an element `[namespace, number, number]` for each operation.
fn json<'a>(operations: impl Iterator<Item = (&'a ClaimKey, i64, i64)>) -> String {
    let mut json = String::from("[");
    for (index, (key, first, second)) in operations.enumerate() {
        if index > 0 {
            json.push(',');
        }
        json.push_str("[\"");
        for char in key.namespace().chars() {
            match char {
                '"' | '\\' => json.extend(['\\', char]),
                '\0'..' ' => {
                    let _ = write!(json, "\\u{:04x}", u32::from(char));
                }
                _ => json.push(char),
            }
        }
        let _ = write!(json, "\",{first},{second}]");
    }
    json.push(']');
    json
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

    use super::*;
    use crate::migrations::SQLITE_MIGRATIONS;

    /// An application that runs ANALYZE while the table is small keeps these statistics when it is large.
    #[tokio::test]
    async fn searches_keys_with_any_statistics() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for script in SQLITE_MIGRATIONS {
            connection.execute(*script).await.unwrap();
        }
        // Creates the table of the statistics.
        connection.execute("ANALYZE").await.unwrap();
        for rows in [1, 2, 5, 30, 1_000, 1_000_000] {
            let statistics = format!(
                "DELETE FROM sqlite_stat1; \
                 INSERT INTO sqlite_stat1 VALUES ('roomz_claims', 'roomz_claims', '{rows} {rows} 1'), \
                 ('roomz_claims', 'roomz_claims_expires', '{rows} 1'); \
                 ANALYZE sqlite_schema"
            );
            connection.execute(AssertSqlSafe(statistics)).await.unwrap();
            for statement in [CLAIM, SELECT, SETTLE] {
                let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
                let plan: Vec<(i64, i64, i64, String)> =
                    sqlx::query_as(explain).fetch_all(&mut connection).await.unwrap();
                let steps: Vec<_> = plan.iter().map(|(.., step)| step.as_str()).collect();
                assert!(steps[0].starts_with("SCAN n "), "{rows} rows: {steps:?}");
                let by_key = |step: &&str| step.ends_with(" USING PRIMARY KEY (namespace=? AND event_id=?)");
                assert!(steps.iter().any(by_key), "{rows} rows: {steps:?}");
            }
        }
    }

    #[test]
    fn json_escapes_namespaces() {
        let id = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let key = ClaimKey::new("a\"b\\c\n\u{1f}é😀".into(), id);
        let expected = r#"[["a\"b\\c\u000a\u001fé😀",-1,2],["a\"b\\c\u000a\u001fé😀",3,4]]"#;
        assert_eq!(json([(&key, -1, 2), (&key, 3, 4)].into_iter()), expected);
    }
}
