use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use roomz_sql::internal::Pool;
use roomz_webhook::store::{ClaimKey, Owner};
use sqlx::{AssertSqlSafe, Error};
use tokio::time::timeout;

use crate::row::{EntryRow, TakenRow, id, key, millis};
use crate::statements::{self, DEAD, DONE, Statements, WAITING};
use crate::transaction::{Transaction, disabled_database};

/// The timeout of one transaction of the queue.
const TRANSACTION_TIMEOUT: Duration = Duration::from_millis(1_900);
/// How many rows one statement deletes.
const PURGE_ROWS: u32 = 100;

/// The table `roomz_inbox`. Each function is one transaction.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(crate) pool: Pool,
    statements: &'static Statements,
    /// Behind a pooler, a named statement would stay in a session of the server that other clients use, too.
    persistent: bool,
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
        in_time(async {
            let mut transaction = Transaction::begin(&$queue.pool).await?;
            let rows = with_connection!(&mut transaction, connection => $query.persistent($queue.persistent).fetch_all(connection).await?);
            transaction.commit().await?;
            Ok(rows)
        })
        .await
    };
}

/// A query whose first parameters are the key.
macro_rules! keyed {
    ($sql:expr, $key:expr) => {
        sqlx::query_as($sql).bind($key.namespace().to_owned()).bind(id($key))
    };
}

/// A query whose first parameters are the key and the owner.
macro_rules! owned {
    ($sql:expr, $key:expr, $owner:expr) => {
        keyed!($sql, $key).bind($owner.to_bytes().to_vec())
    };
}

/// After a timeout, the transaction is dropped, which closes its connection.
async fn in_time<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(TRANSACTION_TIMEOUT, work).await.unwrap_or(Err(Error::PoolTimedOut))
}

fn numbers(sql: &str, state: i64, limit: u32) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql.replace("{state}", &state.to_string()).replace("{limit}", &limit.to_string()))
}

impl Queue {
    /// `persistent`: whether a connection keeps its prepared statements.
    ///
    /// # Errors
    ///
    /// If roomz-sql has a feature that this crate lacks.
    pub(crate) fn new(pool: Pool, persistent: bool) -> Result<Self, Error> {
        let statements = match &pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => &statements::POSTGRES,
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(_) => &statements::SQLITE,
            #[allow(unreachable_patterns, reason = "another crate can enable a feature of roomz-sql")]
            _ => return Err(disabled_database()),
        };
        Ok(Self { pool, statements, persistent })
    }

    /// Adds events, and returns the keys of those that are new. They are durable.
    pub(crate) async fn insert(&self, events: &[(&ClaimKey, &Bytes)]) -> Result<HashSet<ClaimKey>, Error> {
        let rows: Vec<(String, Vec<u8>)> = in_time(async {
            let mut transaction = Transaction::begin(&self.pool).await?;
            let rows = match &mut transaction {
                #[cfg(feature = "postgres")]
                Transaction::Postgres(pooled) => {
                    let namespaces: Vec<_> =
                        events.iter().map(|(key, _)| key.namespace().to_owned()).collect();
                    let ids: Vec<_> = events.iter().map(|(key, _)| id(key)).collect();
                    let bodies: Vec<_> = events.iter().map(|(_, body)| body.to_vec()).collect();
                    let query =
                        sqlx::query_as(statements::INSERT_POSTGRES).bind(namespaces).bind(ids).bind(bodies);
                    query.persistent(self.persistent).fetch_all(pooled.connection()?).await?
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

    /// Takes events whose attempt is due, under a lease of this owner.
    pub(crate) async fn take(
        &self,
        owner: Owner,
        lease: Duration,
        limit: usize,
    ) -> Result<Vec<TakenRow>, Error> {
        let sql = || AssertSqlSafe(self.statements.take.replace("{limit}", &limit.to_string()));
        fetch!(self, sqlx::query_as(sql()).bind(owner.to_bytes().to_vec()).bind(millis(lease)))
    }

    /// Moves the end of the lease. Returns false if this owner does not hold the event.
    pub(crate) async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<bool, Error> {
        let rows: Vec<(i64,)> = fetch!(self, owned!(self.statements.renew, key, owner).bind(millis(lease)))?;
        Ok(!rows.is_empty())
    }

    /// Completes the event in a transaction of its own. Returns its age, or `None` if this owner does not hold the event.
    pub(crate) async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Option<Duration>, Error> {
        in_time(async {
            let mut transaction = Transaction::begin(&self.pool).await?;
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
            owned!(sql, key, owner).bind(millis(retention)).persistent(self.persistent).fetch_all(connection).await?
        });
        Ok(rows.first().map(|(age,)| Duration::from_millis(u64::try_from(*age).unwrap_or_default())))
    }

    /// Records a failed attempt. Returns false if this owner does not hold the event.
    pub(crate) async fn fail(
        &self,
        key: &ClaimKey,
        owner: Owner,
        failed: Failed,
        error: &str,
    ) -> Result<bool, Error> {
        let (state, due) = match failed {
            Failed::RetryAfter(pause) => (WAITING, pause),
            Failed::Dead { retention } => (DEAD, retention),
        };
        let rows: Vec<(i64,)> = fetch!(
            self,
            owned!(self.statements.fail, key, owner).bind(state).bind(millis(due)).bind(error.to_owned())
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
        let _: Vec<(i64,)> = fetch!(self, owned!(self.statements.give_back, key, owner).bind(attempts))?;
        Ok(())
    }

    /// Returns the events in this state that are due first.
    pub(crate) async fn list(&self, state: i64, limit: u32) -> Result<Vec<EntryRow>, Error> {
        fetch!(self, sqlx::query_as(numbers(self.statements.list, state, limit)))
    }

    /// Returns the events of a namespace in this state that are due first.
    pub(crate) async fn list_namespace(
        &self,
        namespace: &str,
        state: i64,
        limit: u32,
    ) -> Result<Vec<EntryRow>, Error> {
        let sql = || numbers(self.statements.list_namespace, state, limit);
        fetch!(self, sqlx::query_as(sql()).bind(namespace.to_owned()))
    }

    pub(crate) async fn get(&self, key: &ClaimKey) -> Result<Option<EntryRow>, Error> {
        let rows: Vec<EntryRow> = fetch!(self, keyed!(self.statements.get, key))?;
        Ok(rows.into_iter().next())
    }

    /// Makes a dead letter available again. Returns false if there is none.
    pub(crate) async fn retry(&self, key: &ClaimKey) -> Result<bool, Error> {
        let rows: Vec<(i64,)> = fetch!(self, keyed!(self.statements.retry, key))?;
        Ok(!rows.is_empty())
    }

    /// Ends a dead letter. Returns false if there is none.
    pub(crate) async fn discard(&self, key: &ClaimKey, retention: Duration) -> Result<bool, Error> {
        let rows: Vec<(i64,)> = fetch!(self, keyed!(self.statements.discard, key).bind(millis(retention)))?;
        Ok(!rows.is_empty())
    }

    pub(crate) async fn stats(&self) -> Result<StatsRow, Error> {
        let rows: Vec<StatsRow> = fetch!(self, sqlx::query_as(self.statements.stats))?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// Deletes a few rows whose retention is over, and returns how many.
    pub(crate) async fn purge(&self) -> Result<usize, Error> {
        let mut deleted = 0;
        for state in [DONE, DEAD] {
            let rows: Vec<(i64,)> =
                fetch!(self, sqlx::query_as(numbers(self.statements.purge, state, PURGE_ROWS)))?;
            deleted += rows.len();
        }
        Ok(deleted)
    }
}
