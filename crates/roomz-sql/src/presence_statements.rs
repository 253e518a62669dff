use crate::single::Value;

/// The statements of the table `roomz_presence`. Each returns rows of the type [`PresenceRow`].
pub(crate) struct PresenceStatements {
    /// Writes the row if the event is newer, and returns it.
    pub(crate) apply: &'static str,
    pub(crate) get: &'static str,
    /// Returns the changed rows, and the next point in the last column. Without changes, the other columns are NULL.
    pub(crate) changes: &'static str,
}

impl PresenceStatements {
    /// Returns each statement with values for a test on a random key.
    pub(crate) fn self_test(&self, key: [u8; 16]) -> [(&'static str, Vec<Value<'static>>); 3] {
        let (namespace, key, zero) = (Value::Text("roomz self-test"), Value::Bytes(key), Value::Number(0));
        [
            (self.apply, vec![namespace, key, Value::Text("Free"), zero, zero, key]),
            (self.get, vec![namespace, key]),
            (self.changes, vec![namespace, zero]),
        ]
    }
}

/// The workspace, the status, the seconds and nanoseconds of the timestamp, the event id, and a point in the changes.
pub(crate) type PresenceRow =
    (Option<Vec<u8>>, Option<String>, Option<i64>, Option<i64>, Option<Vec<u8>>, i64);

/// `change` is the number of the transaction. Transactions commit in another order than their numbers, so the next point is the
/// oldest transaction that still runs: rows after it are returned again, and none is skipped.
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES: PresenceStatements = PresenceStatements {
    apply: "INSERT INTO roomz_presence AS kept \
            (namespace, workspace_id, status, seconds, nanoseconds, event_id, change) \
            VALUES ($1, $2, $3, $4, CAST($5 AS BIGINT), $6, CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)) \
            ON CONFLICT (namespace, workspace_id) DO UPDATE SET \
              status = excluded.status, seconds = excluded.seconds, nanoseconds = excluded.nanoseconds, \
              event_id = excluded.event_id, change = excluded.change \
            WHERE (kept.seconds, kept.nanoseconds, kept.event_id) \
              < (excluded.seconds, excluded.nanoseconds, excluded.event_id) \
            RETURNING workspace_id, status, seconds, CAST(nanoseconds AS BIGINT), event_id, change",
    get: "SELECT workspace_id, status, seconds, CAST(nanoseconds AS BIGINT), event_id, change \
          FROM roomz_presence WHERE namespace = $1 AND workspace_id = $2",
    changes: "SELECT workspace_id, status, seconds, CAST(nanoseconds AS BIGINT), event_id, point.next \
              FROM (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) AS next) AS point \
              LEFT JOIN roomz_presence ON namespace = $1 AND change >= $2",
};

/// `change` is higher than that of every earlier write. SQLite has one writer at a time, so rows also become visible in this
/// order.
#[cfg(feature = "sqlite")]
pub(crate) const SQLITE: PresenceStatements = PresenceStatements {
    apply: "INSERT OR REPLACE INTO roomz_presence \
            (namespace, workspace_id, status, seconds, nanoseconds, event_id) \
            SELECT $1, $2, $3, $4, $5, $6 \
            WHERE NOT EXISTS (SELECT 1 FROM roomz_presence \
              WHERE namespace = $1 AND workspace_id = $2 AND (seconds, nanoseconds, event_id) >= ($4, $5, $6)) \
            RETURNING workspace_id, status, seconds, nanoseconds, event_id, change",
    get: "SELECT workspace_id, status, seconds, nanoseconds, event_id, change \
          FROM roomz_presence WHERE namespace = $1 AND workspace_id = $2",
    changes: "SELECT workspace_id, status, seconds, nanoseconds, event_id, point.next \
              FROM (SELECT coalesce(max(seq), 0) + 1 AS next FROM sqlite_sequence WHERE name = 'roomz_presence') AS point \
              LEFT JOIN roomz_presence ON namespace = $1 AND change >= $2",
};
