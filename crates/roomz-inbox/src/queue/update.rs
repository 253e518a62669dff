use std::time::Duration;

use roomz_sql::db::value::Value;
use roomz_webhook::store::{ClaimKey, Owner};

use crate::queue::row::millis;
use crate::queue::statements::{DEAD, DONE, RUNNING, WAITING};

/// What the owner of a running event does with it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OwnerUpdate<'a> {
    Renew {
        lease: Duration,
    },
    Complete {
        retention: Duration,
    },
    RetryAfter {
        pause: Duration,
        error: &'a str,
    },
    Dead {
        retention: Duration,
        error: &'a str,
    },
    /// Makes the event available again at once.
    GiveBack,
}

impl OwnerUpdate<'_> {
    pub(super) fn values(self, key: &ClaimKey, owner: Owner, attempts: u32) -> Vec<Value> {
        let (state, delay, error) = match self {
            // Events that ran together do not run together again when their leases end.
            Self::Renew { lease } => (RUNNING, lease.mul_f64(rand::random_range(1.0..=1.5)), None),
            Self::Complete { retention } => (DONE, retention, None),
            Self::RetryAfter { pause, error } => (WAITING, pause, Some(error)),
            Self::Dead { retention, error } => (DEAD, retention, Some(error)),
            Self::GiveBack => (WAITING, Duration::ZERO, None),
        };
        let [namespace, id] = Value::key(key);
        vec![
            namespace,
            id,
            Value::from(&owner.to_bytes()),
            state.into(),
            millis(delay).into(),
            i64::from(attempts).into(),
            error.map_or(Value::Null, Value::from),
        ]
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    use roomz_sql::db::connect::connect;
    use roomz_sql::db::dialect::Dialect;
    use roomz_sql::db::settings::Settings;
    use roomz_sql::db::statement::Statement;

    use super::*;
    use crate::queue::Queue;

    const HOUR: Duration = Duration::from_hours(1);

    /// An event with a 202 is durable, whatever a handler did on the connection of SQLite before.
    #[tokio::test]
    async fn handlers_leave_commits_synced() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/inbox.db", directory.path().display());
        let settings = Settings { handler_connections: 1, ..Settings::new(roomz_sql::tests) };
        let (workers, pool) = connect(url.into(), &settings).await.unwrap();
        let queue = Queue::new(workers, pool);
        let level = Box::new(Statement::single(Dialect::Sqlite, "PRAGMA synchronous", &[]));
        let level: &'static Statement = Box::leak(level);
        for end in ["commit", "commit of a stale attempt", "rollback", "unsynced", "drop", "error"] {
            let mut transaction = queue.pool.begin().await.unwrap();
            let connection: &mut sqlx::SqliteConnection =
                transaction.connection().unwrap().downcast_mut().unwrap();
            let of_handler: i64 =
                sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await.unwrap();
            assert_eq!(of_handler, 1, "{end}");
            match end {
                "commit" => {
                    let values =
                        ["roomz".into(), Value::Bytes(vec![0; 16]), Value::Bytes(vec![]), Value::Null];
                    transaction.commit(&queue.statements.insert, &values).await.unwrap();
                }
                "commit of a stale attempt" => {
                    let key =
                        ClaimKey::new("stale".into(), roomz_webhook::roomz_protocol::Uuid::nil().into());
                    queue.commit(transaction, &key, Owner::random(), HOUR).await.unwrap_err();
                }
                "rollback" => transaction.rollback().await.unwrap(),
                "unsynced" => {
                    let unsynced = "ROLLBACK; PRAGMA synchronous = OFF; BEGIN";
                    sqlx::raw_sql(unsynced).execute(&mut *connection).await.unwrap();
                    transaction.rollback().await.unwrap();
                }
                "drop" => drop(transaction),
                _ => {
                    sqlx::raw_sql("SELECT 1; fail").execute(&mut *connection).await.unwrap_err();
                    transaction.rollback().await.unwrap();
                }
            }
            let rows = queue.execute(level, Vec::new()).await.unwrap();
            assert_eq!(rows.first().unwrap().number(0).unwrap(), 2, "{end}");
        }
    }
}
