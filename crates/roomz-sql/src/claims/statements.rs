//! The rule of a claim, in SQL, the parameters of the statements, and what their rows mean. Each statement
//! stands once, for both databases, and for one and many operations.

use std::sync::LazyLock;
use std::time::Duration;

use roomz_webhook::store::{Claim, ClaimKey, ClaimRequest, ClaimState, Fingerprint, Owner};
use sqlx::Error;

use crate::db::dialect::Dialect;
use crate::db::statement::{Lane, Statement, Update};
use crate::db::value::{Row, Value};

/// A value of the column `state`.
const RUNNING: i64 = 0;
/// A value of the column `state`.
const FREE: i64 = 1;
/// A value of the column `state`.
const DONE: i64 = 2;
/// In the place of the state, in the rows that a claim wrote.
const CLAIMED: i64 = -1;

/// The parameter `operation` of [`Statements::settle`].
pub(crate) const RENEW: i64 = 0;
/// The parameter `operation` of [`Statements::settle`].
pub(crate) const COMPLETE: i64 = 1;
/// The parameter `operation` of [`Statements::settle`].
pub(crate) const RELEASE: i64 = 2;

/// A claim sets an expiry that is later by this part of the retention, 10 min of 7 days. A completion within
/// this time keeps it: the column is in an index, and PostgreSQL writes no index entries for a row whose
/// indexed columns stay the same.
const SLACK: u32 = 1000;

/// Inserts the row or takes it over in one statement, which locks the row before it reads it. Returns no row
/// if another owner holds the claim. NOT EXISTS is an optimization: a duplicate takes no lock and writes
/// nothing.
const CLAIM: &str = "INSERT INTO roomz_claims AS c \
     (namespace, event_id, state, owner, fingerprint, attempt, lease_end, expires) \
     SELECT {namespace}, {event_id}, 0, {owner}, {fingerprint}, 1, {now} + {lease}, {now} + {retention} {from} \
     WHERE NOT EXISTS (SELECT 1 FROM roomz_claims o \
       WHERE o.namespace = {any}{namespace}{/any} AND o.event_id = {event_id} AND +o.expires > {now} \
       AND (o.state = 2 OR (o.state = 0 AND o.owner <> {owner} AND o.lease_end > {now}))) \
     {order} \
     ON CONFLICT (namespace, event_id) DO UPDATE SET \
       state = 0, \
       owner = excluded.owner, \
       fingerprint = CASE WHEN c.expires <= {now} THEN excluded.fingerprint ELSE c.fingerprint END, \
       attempt = CASE WHEN c.expires <= {now} THEN 1 \
         WHEN c.state = 0 AND c.owner = excluded.owner THEN c.attempt ELSE c.attempt + 1 END, \
       lease_end = excluded.lease_end, expires = excluded.expires \
     WHERE c.expires <= {now} \
       OR c.state = 1 \
       OR (c.state = 0 AND c.owner = excluded.owner) \
       OR (c.state = 0 AND c.lease_end <= {now}) \
     RETURNING namespace, event_id, -1, attempt, fingerprint";

/// Reads the state of a row that a claim did not get, because it was done or ran. CROSS JOIN makes SQLite
/// search each key in the primary key. Without it, it would read all rows if ANALYZE last ran while the table
/// was small.
const FIND: &str = "SELECT c.namespace, c.event_id, c.state, c.lease_end - {now}, c.fingerprint \
     FROM {and} roomz_claims c \
     WHERE c.namespace = {any}{namespace}{/any} AND c.event_id = {event_id}";

/// Operation 0 renews, 1 completes, 2 releases.
///
/// If the reply was lost and the owner completes again, this confirms the completion and never shortens the
/// retention. The claim set an expiry that is right for a completion with the same retention: see `SLACK`. A
/// second release returns no row, because nobody holds a released claim.
const SETTLE: Update<'_> = Update {
    table: "roomz_claims",
    set: &[
        ("state", "CASE {operation} WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE 0 END"),
        ("lease_end", "CASE c.state WHEN 0 THEN {now} + {duration} ELSE c.lease_end END"),
        (
            "expires",
            "CASE WHEN c.expires < {now} + {duration} OR ({operation} = 1 AND c.state = 0 \
               AND c.expires > {now} + {duration} + {duration} / 1000) THEN {now} + {duration} \
             ELSE c.expires END",
        ),
    ],
    kept: &[("owner", "c.owner"), ("fingerprint", "c.fingerprint"), ("attempt", "c.attempt")],
    condition: "c.owner = {owner} AND (c.state = 0 OR (c.state = 2 AND {operation} = 1)) AND +c.expires > {now}",
    returning: "attempt",
};

/// Deletes one batch of expired rows. The inner SELECT locks the rows, so that none is claimed again before
/// it is deleted. The limit is a literal: with a parameter, the generic plan of PostgreSQL reads the whole
/// table. If `enabled` is 0, nothing is deleted.
const PURGE: &str = "DELETE FROM roomz_claims WHERE ({row}) IN \
     (SELECT {row} FROM roomz_claims WHERE expires <= {now} AND CAST({enabled} AS BIGINT) > 0 \
      ORDER BY expires LIMIT 100 {skip_locked}) \
     RETURNING attempt";

#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) claim: Statement,
    pub(crate) settle: Statement,
    pub(crate) purge: Statement,
}

static STATEMENTS: LazyLock<[Statements; 2]> =
    LazyLock::new(|| [Dialect::Postgres, Dialect::Sqlite].map(Statements::new));

impl Statements {
    /// Returns the statements in the SQL of a database.
    pub(crate) fn of(dialect: Dialect) -> &'static Self {
        let [postgres, sqlite] = &*STATEMENTS;
        if dialect == Dialect::Postgres { postgres } else { sqlite }
    }

    fn new(dialect: Dialect) -> Self {
        let columns = ["namespace", "event_id", "owner", "fingerprint", "lease", "retention"];
        let find = Statement::batched(dialect, FIND, &["namespace", "event_id"]);
        let settled = ["namespace", "event_id", "owner", "operation", "duration"];
        Self {
            claim: Statement::batched(dialect, CLAIM, &columns).or_else(find),
            settle: Statement::update(dialect, &SETTLE, &settled).in_lane(Lane::First),
            purge: Statement::single(dialect, PURGE, &["enabled"]).in_lane(Lane::Background),
        }
    }
}

/// The parameters of a claim.
pub(crate) fn claim(key: &ClaimKey, request: &ClaimRequest) -> Vec<Value> {
    let retention = request.retention.saturating_add(request.retention / SLACK);
    let [namespace, id] = Value::key(key);
    vec![
        namespace,
        id,
        Value::from(&request.owner.to_bytes()),
        Value::from(&request.fingerprint.to_bytes()),
        Value::Number(millis(request.lease)),
        Value::Number(millis(request.lease.max(retention))),
    ]
}

/// The parameters of a renewal, a completion or a release.
pub(crate) fn settlement(key: &ClaimKey, owner: Owner, operation: i64, duration: Duration) -> Vec<Value> {
    let [namespace, id] = Value::key(key);
    vec![namespace, id, Value::from(&owner.to_bytes()), operation.into(), millis(duration).into()]
}

/// Returns the outcome of a claim, or `None` if the row is free now.
pub(crate) fn outcome(row: &Row, fingerprint: Fingerprint) -> Result<Option<Claim>, Error> {
    let state = match (row.number(2)?, row.number(3)?) {
        (CLAIMED, attempt) => ClaimState::claimed(u32::try_from(attempt).unwrap_or(u32::MAX)),
        (DONE, _) => ClaimState::Done,
        (RUNNING, remaining @ 1..) => ClaimState::in_flight(Duration::from_millis(remaining.unsigned_abs())),
        (FREE | RUNNING, _) => return Ok(None),
        // Another claim would find the same state, so the loop would never end.
        _ => return Err(Error::Decode(
            "unknown claim state in `roomz_claims`; a newer version of roomz-sql wrote it: update this instance".into(),
        )),
    };
    Ok(Some(Claim::new(state, row.bytes(4)? == fingerprint.to_bytes())))
}

/// At least 1, because a row that expires in 0 ms has expired.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).clamp(1, 1 << 50)
}

/// The statements that `connect` executes.
pub(crate) fn tests(dialect: Dialect) -> [&'static Statement; 3] {
    let Statements { claim, settle, purge } = Statements::of(dialect);
    [claim, settle, purge]
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqliteConnection};

    use super::*;
    use crate::SQLITE_MIGRATIONS;

    /// An application that runs ANALYZE while the table is small keeps these statistics when it is large.
    #[tokio::test]
    async fn searches_keys_with_any_statistics() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for script in SQLITE_MIGRATIONS {
            connection.execute(*script).await.unwrap();
        }
        // Creates the table of the statistics.
        connection.execute("ANALYZE").await.unwrap();
        let Statements { claim, settle, .. } = Statements::of(Dialect::Sqlite);
        let find = claim.otherwise.as_deref().unwrap();
        for rows in [1, 2, 5, 30, 1_000, 1_000_000] {
            let statistics = format!(
                "DELETE FROM sqlite_stat1; \
                 INSERT INTO sqlite_stat1 VALUES ('roomz_claims', 'roomz_claims', '{rows} {rows} 1'), \
                 ('roomz_claims', 'roomz_claims_expires', '{rows} 1'); \
                 ANALYZE sqlite_schema"
            );
            connection.execute(AssertSqlSafe(statistics)).await.unwrap();
            for statement in [claim, find, settle] {
                let row = format!("({})", vec!["?"; statement.columns.len()].join(","));
                let many = statement.many.as_ref().unwrap().replace("{values}", &format!("{row},{row}"));
                for text in [&statement.one, &many] {
                    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
                    let plan: Vec<(i64, i64, i64, String)> =
                        sqlx::query_as(explain).fetch_all(&mut connection).await.unwrap();
                    let steps: Vec<_> = plan.iter().map(|(.., step)| step.as_str()).collect();
                    let scans_table = |step: &&str| {
                        ["SCAN c", "SCAN o"]
                            .iter()
                            .any(|scan| *step == *scan || step.starts_with(&format!("{scan} ")))
                    };
                    assert!(!steps.iter().any(scans_table), "{rows} rows: {steps:?}");
                    if statement.one.starts_with("INSERT") || text.contains("CROSS JOIN") {
                        let by_key =
                            |step: &&str| step.ends_with(" USING PRIMARY KEY (namespace=? AND event_id=?)");
                        assert!(steps.iter().any(by_key), "{rows} rows: {steps:?}");
                    }
                }
            }
        }
    }
}

#[cfg(all(test, feature = "postgres"))]
mod postgres_tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

    use super::*;
    use crate::POSTGRES_MIGRATIONS;

    /// An ANALYZE beside one large insert leaves a table with pages and without rows in the statistics.
    #[tokio::test]
    async fn searches_keys_with_any_statistics() {
        let Some(server) = roomz_tests::Server::postgres_or_skip(&["autovacuum=off"]) else { return };
        let mut connection = PgConnection::connect(&server.postgres_url()).await.unwrap();
        for script in POSTGRES_MIGRATIONS {
            connection.execute(sqlx::raw_sql(*script)).await.unwrap();
        }
        let fill = "INSERT INTO roomz_claims SELECT '', decode(md5(CAST(i AS TEXT)), 'hex'), 2, '', '', 1, 0, \
                      4000000000000 FROM generate_series(1, 10000) i; \
                    SET plan_cache_mode = force_generic_plan; \
                    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off";
        connection.execute(sqlx::raw_sql(fill)).await.unwrap();
        let Statements { claim, settle, purge } = Statements::of(Dialect::Postgres);
        for statistics in [
            "reltuples = -1, relpages = 0",
            "reltuples = 0, relpages = 900",
            "reltuples = 10000, relpages = 200",
        ] {
            let statistics =
                format!("UPDATE pg_class SET {statistics} WHERE oid = CAST('roomz_claims' AS regclass)");
            connection.execute(sqlx::raw_sql(AssertSqlSafe(statistics.clone()))).await.unwrap();
            for statement in [claim, claim.otherwise.as_deref().unwrap(), settle, purge] {
                for (text, suffix) in [(Some(&statement.one), ""), (statement.many.as_ref(), "[]")] {
                    let Some(text) = text else { continue };
                    let types = statement.columns.iter().map(|column| match column.as_str() {
                        "namespace" => "TEXT",
                        "event_id" | "owner" | "fingerprint" => "BYTEA",
                        _ => "BIGINT",
                    });
                    let types: Vec<_> = types.map(|name| format!("{name}{suffix}")).collect();
                    let nulls = vec!["NULL"; types.len()].join(", ");
                    let prepare = format!("PREPARE s ({}) AS {text}", types.join(", "));
                    connection.execute(sqlx::raw_sql(AssertSqlSafe(prepare))).await.unwrap();
                    let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE s ({nulls})"));
                    let plan: Vec<String> =
                        sqlx::query_scalar(explain).fetch_all(&mut connection).await.unwrap();
                    connection.execute("DEALLOCATE s").await.unwrap();
                    // A purge finds rows by their expiry, and then by their place.
                    let has_condition = |line: &String| {
                        line.contains("Cond: ((namespace = ") && line.contains("event_id = ")
                            || line.contains("TID Cond: (ctid = ")
                            || line.contains("Index Cond: (expires <= ")
                    };
                    let is_scan =
                        |line: &String| line.contains(" on roomz_claims ") && line.contains(" Scan ");
                    let scans = plan.iter().filter(|line| is_scan(line)).count();
                    let searches =
                        plan.windows(2).filter(|two| is_scan(&two[0]) && has_condition(&two[1])).count();
                    // Two statements that lock several rows do not wait for each other.
                    let sorts = plan.iter().any(|line| line.contains("Sort Key: new"));
                    let locks_many =
                        suffix == "[]" && [claim, settle].iter().any(|lock| std::ptr::eq(*lock, statement));
                    assert_eq!(sorts, locks_many, "{statistics}:\n{}", plan.join("\n"));
                    assert!(scans > 0 && scans == searches, "{statistics}:\n{}", plan.join("\n"));
                }
            }
        }
    }
}
