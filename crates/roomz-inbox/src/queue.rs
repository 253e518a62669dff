use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use roomz_webhook::store::{ClaimKey, Owner};
use sqlx::{AssertSqlSafe, Error, FromRow as _};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::context::TokioContext;

use crate::pool::Pool;
use crate::row::{EntryRow, TakenRow, id, key, millis};
use crate::statements::{self, DEAD, DONE, Statements, WAITING};
use crate::transaction::Transaction;

/// The timeout of one transaction of the queue.
const TRANSACTION_TIMEOUT: Duration = Duration::from_millis(1_900);
/// How many rows one statement deletes.
const PURGE_ROWS: u32 = 100;

/// The table `roomz_inbox`. Each function is one transaction.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(crate) pool: Pool,
    statements: &'static Statements,
    /// Whether a prepared statement can be used again. Through a pooler, another client can use its name.
    keeps_statements: bool,
    /// The runtime of the connections. The caller can be on another executor.
    runtime: Handle,
}

/// The numbers of events by state, and the age of the oldest one that is not done, in milliseconds.
pub(crate) type StatsRow = (i64, i64, i64, i64);

/// What becomes of an event after a failed attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failed {
    RetryAfter(Duration),
    Dead { retention: Duration },
}

/// Runs an expression on the connection of a transaction.
macro_rules! with_connection {
    ($transaction:expr, $connection:ident => $run:expr) => {
        match $transaction {
            #[cfg(feature = "postgres")]
            Transaction::Postgres(pooled) => {
                let $connection = pooled.connection()?;
                $run
            }
            #[cfg(feature = "sqlite")]
            Transaction::Sqlite(pooled) => {
                let $connection = pooled.connection()?;
                $run
            }
        }
    };
}

/// Executes a query in a transaction of its own, and returns all rows. The query has another type for each database.
macro_rules! fetch {
    ($queue:expr, $query:expr) => {
        in_time(&$queue.runtime, async {
            let mut transaction = Transaction::begin_brief(&$queue.pool).await?;
            let rows = with_connection!(&mut transaction, connection => {
                $query.fetch_all(connection).await?
            });
            transaction.commit().await?;
            Ok(rows)
        })
        .await
    };
}

/// A query whose first parameters are the key.
macro_rules! keyed {
    ($queue:expr, $sql:expr, $key:expr) => {
        sqlx::query_as($sql)
            .persistent($queue.keeps_statements)
            .bind($key.namespace().to_owned())
            .bind(id($key))
    };
}

/// A query whose first parameters are the key and the owner.
macro_rules! owned {
    ($queue:expr, $sql:expr, $key:expr, $owner:expr) => {
        keyed!($queue, $sql, $key).bind($owner.to_bytes().to_vec())
    };
}

/// After a timeout, the transaction is dropped, which closes its connection.
async fn in_time<T>(runtime: &Handle, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let work = async { timeout(TRANSACTION_TIMEOUT, work).await.unwrap_or(Err(Error::PoolTimedOut)) };
    TokioContext::new(work, runtime.clone()).await
}

fn numbers(sql: &str, state: i64, limit: u32) -> AssertSqlSafe<String> {
    // SQLite uses an index with a condition only if the statement contains the same condition.
    let is_open = if state < DONE { " AND state < 2" } else { "" };
    AssertSqlSafe(sql.replace("{state}", &format!("{state}{is_open}")).replace("{limit}", &limit.to_string()))
}

impl Queue {
    pub(crate) fn new(pool: Pool) -> Self {
        let (statements, keeps_statements) = match &pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres { keeps_statements, .. } => (&statements::POSTGRES, *keeps_statements),
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(_) => (&statements::SQLITE, true),
        };
        Self { pool, statements, keeps_statements, runtime: Handle::current() }
    }

    /// Adds events, and returns the keys of those that are new. They are durable.
    pub(crate) async fn insert(&self, events: &[(&ClaimKey, &Bytes)]) -> Result<HashSet<ClaimKey>, Error> {
        let rows: Vec<(String, Vec<u8>)> = in_time(&self.runtime, async {
            let mut transaction = Transaction::begin_brief(&self.pool).await?;
            let rows = match &mut transaction {
                #[cfg(feature = "postgres")]
                Transaction::Postgres(pooled) => {
                    let namespaces: Vec<_> =
                        events.iter().map(|(key, _)| key.namespace().to_owned()).collect();
                    let ids: Vec<_> = events.iter().map(|(key, _)| id(key)).collect();
                    let bodies: Vec<_> = events.iter().map(|(_, body)| body.to_vec()).collect();
                    let query = sqlx::query_as(statements::INSERT_POSTGRES)
                        .persistent(self.keeps_statements)
                        .bind(namespaces)
                        .bind(ids)
                        .bind(bodies);
                    query.fetch_all(pooled.connection()?).await?
                }
                #[cfg(feature = "sqlite")]
                Transaction::Sqlite(pooled) => {
                    let mut query = sqlx::QueryBuilder::new(statements::INSERT_SQLITE);
                    query.push_values(events, |mut row, (key, body)| {
                        row.push_bind(key.namespace().to_owned()).push_bind(id(key)).push_bind(body.to_vec());
                    });
                    query.push(statements::INSERT_SQLITE_END);
                    query.build_query_as().persistent(false).fetch_all(pooled.connection()?).await?
                }
            };
            transaction.commit().await?;
            Ok(rows)
        })
        .await?;
        rows.iter().map(|(namespace, id)| key(namespace, id)).collect()
    }

    /// Takes events whose attempt is due, under a lease of this owner. A row that cannot be read does not fail the others.
    pub(crate) async fn take(
        &self,
        owner: Owner,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<Result<TakenRow, Error>>, Error> {
        let sql = || AssertSqlSafe(self.statements.take.replace("{limit}", &limit.to_string()));
        let owner = owner.to_bytes().to_vec();
        fetch!(
            self,
            sqlx::query(sql())
                .persistent(self.keeps_statements)
                .bind(owner.clone())
                .bind(millis(lease))
                .map(|row| TakenRow::from_row(&row))
        )
    }

    /// Moves the end of the lease. Returns false if this owner does not hold the event.
    pub(crate) async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<bool, Error> {
        let rows: Vec<(i64,)> =
            fetch!(self, owned!(self, self.statements.renew, key, owner).bind(millis(lease)))?;
        Ok(!rows.is_empty())
    }

    /// Completes the event in a transaction of its own. Returns its age, or `None` if this owner does not hold the event.
    pub(crate) async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Option<Duration>, Error> {
        in_time(&self.runtime, async {
            let mut transaction = Transaction::begin_brief(&self.pool).await?;
            let age = self.complete_in(&mut transaction, key, owner, retention).await?;
            transaction.commit().await?;
            Ok(age)
        })
        .await
    }

    /// Completes the event in the transaction of its handler.
    pub(crate) async fn complete_in(
        &self,
        transaction: &mut Transaction,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Option<Duration>, Error> {
        let sql = self.statements.complete;
        let rows: Vec<(i64,)> = with_connection!(transaction, connection => {
            owned!(self, sql, key, owner).bind(millis(retention)).fetch_all(connection).await?
        });
        Ok(rows.first().map(|(age,)| Duration::from_millis(u64::try_from(*age).unwrap_or_default())))
    }

    /// Records a failed attempt, and the number of attempts. Returns false if this owner does not hold the event.
    pub(crate) async fn fail(
        &self,
        key: &ClaimKey,
        owner: Owner,
        failed: Failed,
        attempts: u32,
        error: &str,
    ) -> Result<bool, Error> {
        let (state, due) = match failed {
            Failed::RetryAfter(pause) => (WAITING, pause),
            Failed::Dead { retention } => (DEAD, retention),
        };
        let rows: Vec<(i64,)> = fetch!(
            self,
            owned!(self, self.statements.fail, key, owner)
                .bind(state)
                .bind(millis(due))
                .bind(error.to_owned())
                .bind(i64::from(attempts))
        )?;
        Ok(!rows.is_empty())
    }

    /// Makes the event available again at once. An attempt whose handler did not start does not count.
    pub(crate) async fn give_back(
        &self,
        key: &ClaimKey,
        owner: Owner,
        has_started: bool,
    ) -> Result<(), Error> {
        let attempts = i64::from(!has_started);
        let _: Vec<(i64,)> =
            fetch!(self, owned!(self, self.statements.give_back, key, owner).bind(attempts))?;
        Ok(())
    }

    /// Returns the events in this state that are due first.
    pub(crate) async fn list(&self, state: i64, limit: u32) -> Result<Vec<EntryRow>, Error> {
        fetch!(
            self,
            sqlx::query_as(numbers(self.statements.list, state, limit)).persistent(self.keeps_statements)
        )
    }

    /// Returns the events of a namespace in this state that are due first.
    pub(crate) async fn list_namespace(
        &self,
        namespace: &str,
        state: i64,
        limit: u32,
    ) -> Result<Vec<EntryRow>, Error> {
        let sql = || numbers(self.statements.list_namespace, state, limit);
        fetch!(self, sqlx::query_as(sql()).persistent(self.keeps_statements).bind(namespace.to_owned()))
    }

    pub(crate) async fn get(&self, key: &ClaimKey) -> Result<Option<EntryRow>, Error> {
        let rows: Vec<EntryRow> = fetch!(self, keyed!(self, self.statements.get, key))?;
        Ok(rows.into_iter().next())
    }

    /// Makes a dead letter available again. Returns false if there is none.
    pub(crate) async fn retry(&self, key: &ClaimKey) -> Result<bool, Error> {
        let rows: Vec<(i64,)> = fetch!(self, keyed!(self, self.statements.retry, key))?;
        Ok(!rows.is_empty())
    }

    /// Ends a dead letter. Returns false if there is none.
    pub(crate) async fn discard(&self, key: &ClaimKey, retention: Duration) -> Result<bool, Error> {
        let rows: Vec<(i64,)> =
            fetch!(self, keyed!(self, self.statements.discard, key).bind(millis(retention)))?;
        Ok(!rows.is_empty())
    }

    /// Not a prepared statement: PostgreSQL would keep the first plan of a statement without parameters. If the table was
    /// small then, each later call would read the whole table. The same holds for `purge`.
    pub(crate) async fn stats(&self) -> Result<StatsRow, Error> {
        let rows: Vec<StatsRow> = fetch!(self, sqlx::query_as(self.statements.stats).persistent(false))?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// Deletes a few rows whose retention is over, and returns how many.
    pub(crate) async fn purge(&self) -> Result<usize, Error> {
        let mut deleted = 0;
        for state in [DONE, DEAD] {
            let rows: Vec<(i64,)> = fetch!(
                self,
                sqlx::query_as(numbers(self.statements.purge, state, PURGE_ROWS)).persistent(false)
            )?;
            deleted += rows.len();
        }
        Ok(deleted)
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use roomz_sql::internal;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    /// A reply can be lost, and the worker then records the outcome again.
    #[tokio::test]
    async fn outcome_can_be_recorded_again() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/inbox.db", directory.path().display());
        let pool = internal::open(url.into(), true, 1, HOUR, "").await.unwrap();
        let queue = Queue::new(pool.try_into().unwrap());
        let key = ClaimKey::new("roomz".into(), "e6ae112e-2af3-4d72-894b-03435d7afde4".parse().unwrap());
        queue.insert(&[(&key, &Bytes::from_static(b"body"))]).await.unwrap();
        let take = async || {
            let owner = Owner::random();
            assert_eq!(queue.take(owner, HOUR, 1).await.unwrap().len(), 1);
            owner
        };
        let (retry, dead) = (Failed::RetryAfter(Duration::ZERO), Failed::Dead { retention: HOUR });

        let first = take().await;
        for _ in 0..2 {
            assert!(queue.fail(&key, first, retry, 1, "failed").await.unwrap());
        }
        let second = take().await;
        assert!(!queue.fail(&key, first, retry, 1, "stale").await.unwrap());
        for _ in 0..2 {
            assert!(queue.fail(&key, second, dead, 2, "dead").await.unwrap());
        }
        // A person retries it. The late repetition does not end it again.
        assert!(queue.retry(&key).await.unwrap());
        assert!(!queue.fail(&key, second, dead, 2, "dead").await.unwrap());

        let third = take().await;
        for _ in 0..2 {
            assert!(queue.complete(&key, third, HOUR).await.unwrap().is_some());
        }
        assert!(!queue.fail(&key, third, dead, 3, "dead").await.unwrap());
        assert!(queue.complete(&key, second, HOUR).await.unwrap().is_none());
    }
}
