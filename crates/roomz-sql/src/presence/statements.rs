use std::sync::LazyLock;

use crate::db::dialect::Dialect;
use crate::db::statement::Statement;

/// The statements of the table `roomz_presence`. Those that read return the workspace, the status, the
/// seconds and nanoseconds of the timestamp, the event id, and a point in the changes.
#[derive(Debug)]
pub(crate) struct Statements {
    /// Writes the row if the event is newer, or if the kept one is later than `latest`, and then returns a
    /// row.
    pub(crate) apply: Statement,
    pub(crate) get: Statement,
    /// Returns the changed rows. The last columns are the next point, its history, and the number of the
    /// first change, which is 0 for all rows. Without changes, the other columns are NULL.
    pub(crate) changes: Statement,
}

/// `change` is the number of the transaction.
const APPLY_POSTGRES: &str = "INSERT INTO roomz_presence AS kept \
     (namespace, workspace_id, status, seconds, nanoseconds, event_id, change) \
     VALUES ({namespace}, {workspace}, {status}, {seconds}, CAST({nanoseconds} AS BIGINT), {event}, \
       CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)) \
     ON CONFLICT (namespace, workspace_id) DO UPDATE SET \
       status = excluded.status, seconds = excluded.seconds, nanoseconds = excluded.nanoseconds, \
       event_id = excluded.event_id, change = excluded.change \
     WHERE (kept.seconds, kept.nanoseconds, kept.event_id) \
       < (excluded.seconds, excluded.nanoseconds, excluded.event_id) \
       OR (kept.seconds > {latest} AND (kept.seconds, kept.nanoseconds, kept.event_id) \
       <> (excluded.seconds, excluded.nanoseconds, excluded.event_id)) \
     RETURNING 1";

/// `change` is higher than that of every earlier write.
const APPLY_SQLITE: &str = "INSERT OR REPLACE INTO roomz_presence \
     (namespace, workspace_id, status, seconds, nanoseconds, event_id) \
     SELECT {namespace}, {workspace}, {status}, {seconds}, {nanoseconds}, {event} \
     WHERE NOT EXISTS (SELECT 1 FROM roomz_presence WHERE namespace = {namespace} AND workspace_id = {workspace} \
       AND (seconds, nanoseconds, event_id) >= ({seconds}, {nanoseconds}, {event}) \
       AND (seconds <= {latest} OR (seconds, nanoseconds, event_id) = ({seconds}, {nanoseconds}, {event}))) \
     RETURNING 1";

const GET: &str = "SELECT workspace_id, status, seconds, nanoseconds, event_id, change \
     FROM roomz_presence WHERE namespace = {namespace} AND workspace_id = {workspace}";

/// Begins at 0 if the history is another one, or if its numbers went back.
const CHANGES: &str = "SELECT workspace_id, status, seconds, nanoseconds, event_id, point.next, point.history, point.start \
     FROM (SELECT server.next, server.history, \
         CASE WHEN server.history = {history} AND server.next >= {since} THEN {since} ELSE 0 END AS start \
       FROM (SELECT {server_next} AS next, {file} + {server_history} AS history) AS server) AS point \
     LEFT JOIN roomz_presence ON namespace = {namespace} AND change >= point.start";

/// Transactions commit in another order than their numbers, so the next point is the oldest transaction that
/// still runs: rows after it are returned again, and none is skipped.
const NEXT_POSTGRES: &str = "CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)";

/// The start of the server, and the file of the table. A failover leads to a server that started at another
/// time, a restore of the whole database stops the server, and a restore of the table creates another file.
const HISTORY_POSTGRES: &str = "(CAST(extract(epoch FROM pg_postmaster_start_time()) * 1000000 AS BIGINT) \
     # CAST(pg_relation_filenode('roomz_presence') AS BIGINT))";

/// SQLite has one writer at a time, so rows become visible in the order of their numbers.
const NEXT_SQLITE: &str =
    "(SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'roomz_presence')";

/// The backup functions of SQLite raise it when they overwrite an open database.
const HISTORY_SQLITE: &str = "(SELECT schema_version FROM pragma_schema_version)";

static STATEMENTS: LazyLock<[Statements; 2]> = LazyLock::new(|| {
    let new = |dialect, apply, next, history| Statements {
        apply: Statement::single(
            dialect,
            apply,
            &["namespace", "workspace", "status", "seconds", "nanoseconds", "event", "latest"],
        ),
        get: Statement::single(dialect, GET, &["namespace", "workspace"]),
        changes: Statement::single(
            dialect,
            &CHANGES.replace("{server_next}", next).replace("{server_history}", history),
            &["namespace", "since", "history", "file"],
        ),
    };
    [
        new(Dialect::Postgres, APPLY_POSTGRES, NEXT_POSTGRES, HISTORY_POSTGRES),
        new(Dialect::Sqlite, APPLY_SQLITE, NEXT_SQLITE, HISTORY_SQLITE),
    ]
});

impl Statements {
    /// Returns the statements in the SQL of a database.
    pub(crate) fn of(dialect: Dialect) -> &'static Self {
        let [postgres, sqlite] = &*STATEMENTS;
        if dialect == Dialect::Postgres { postgres } else { sqlite }
    }
}

/// The statements that `connect` executes.
pub(crate) fn tests(dialect: Dialect) -> [&'static Statement; 3] {
    let Statements { apply, get, changes } = Statements::of(dialect);
    [apply, get, changes]
}
