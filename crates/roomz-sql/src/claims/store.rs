use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, IdempotencyStore, Owner, Settled, StoreError, async_trait,
};
use tokio::task::AbortHandle;

use crate::claims::operation;
use crate::claims::statements::{COMPLETE, RELEASE, RENEW, Statements};
use crate::db::purge;
use crate::db::queue::{Failed, Operation};
use crate::db::value::{Row, Value};
use crate::db::worker::Workers;

/// The pause after a failed purge, unless the interval is shorter.
const PURGE_RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// The rounds of a claim. Another program may write a text as the end of a lease: such a row would never end
/// them.
const MAX_ROUNDS: usize = 20;

/// A store that keeps claims in PostgreSQL or SQLite.
///
/// Create one with [`connect`](Self::connect), or with [`builder`](Self::builder) to change settings. A clone
/// shares the connections. They belong to the tokio runtime that called `connect`, and close when the last
/// clone is dropped. A background task deletes expired claims until then.
#[derive(Clone)]
pub struct SqlStore {
    inner: Arc<Inner>,
    /// Ends the background task when the last clone is dropped.
    _purge: Option<Arc<PurgeTask>>,
}

struct Inner {
    workers: Workers,
    statements: &'static Statements,
}

impl Inner {
    async fn execute(&self, operation: Operation) -> Result<Vec<Row>, StoreError> {
        self.workers.execute(operation).await.map_err(store_error)
    }

    async fn settle(
        &self,
        key: &ClaimKey,
        owner: Owner,
        operation: i64,
        duration: Duration,
    ) -> Result<Settled, StoreError> {
        let operation = Operation {
            statement: &self.statements.settle,
            values: operation::settlement(key, owner, operation, duration).to_vec(),
            // A second release would report `Lost`, because nobody holds a released claim.
            is_retry_safe: operation != RELEASE,
        };
        let rows = self.execute(operation).await?;
        Ok(if rows.is_empty() { Settled::Lost } else { Settled::Applied })
    }
}

fn store_error(failed: Failed) -> StoreError {
    match failed {
        Failed::Database(error) => StoreError::unavailable(error),
        Failed::RuntimeEnded => StoreError::unavailable(
            "the tokio runtime of the store was shut down; call `SqlStore::connect` on a runtime that lives as long as the store",
        ),
        Failed::TimedOut => StoreError::timed_out(),
    }
}

impl SqlStore {
    pub(crate) fn new(workers: Workers, purge_interval: Option<Duration>) -> Self {
        let statements = Statements::of(workers.dialect());
        let inner = Arc::new(Inner { workers, statements });
        let purge = purge_interval.map(|interval| {
            let task = tokio::spawn(purge_every(Arc::clone(&inner), interval));
            Arc::new(PurgeTask(task.abort_handle()))
        });
        Self { inner, _purge: purge }
    }

    /// Deletes all expired claims, and returns how many it deleted.
    ///
    /// The store does this by itself every 10 min; see
    /// [`with_purge_interval`](crate::SqlStoreBuilder::with_purge_interval). It deletes 100 rows at a time
    /// and then pauses for nine times as long. Several instances may purge at once.
    ///
    /// ```no_run
    /// # async fn purge(store: roomz_sql::SqlStore) -> Result<(), roomz_webhook::store::StoreError> {
    /// let deleted = store.purge().await?;
    /// # drop(deleted);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the database fails. Batches that were deleted before stay deleted.
    pub async fn purge(&self) -> Result<u64, StoreError> {
        purge(&self.inner).await
    }
}

/// Aborts the task when it is dropped.
struct PurgeTask(AbortHandle);

impl Drop for PurgeTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn purge_every(inner: Arc<Inner>, interval: Duration) {
    loop {
        let mut pause = interval;
        match purge(&inner).await {
            Ok(deleted) => tracing::debug!(deleted, "expired claims deleted"),
            Err(error) => {
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(%error, cause, "deleting expired claims failed");
                pause = pause.min(PURGE_RETRY_INTERVAL);
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn purge(inner: &Inner) -> Result<u64, StoreError> {
    let delete_batch = || async {
        let (statement, values) = (&inner.statements.purge, vec![Value::Number(1)]);
        inner.execute(Operation { statement, values, is_retry_safe: true }).await.map(|rows| rows.len())
    };
    purge::purge(delete_batch).await
}

#[async_trait]
impl IdempotencyStore for SqlStore {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        // Repeats only if the row became free between the two statements of the claim.
        for _ in 0..MAX_ROUNDS {
            let operation = Operation {
                statement: &self.inner.statements.claim,
                values: operation::claim(key, claim).to_vec(),
                is_retry_safe: true,
            };
            let rows = self.inner.execute(operation).await?;
            if let Some(row) = rows.first()
                && let Some(claim) =
                    operation::outcome(row, claim.fingerprint).map_err(StoreError::unavailable)?
            {
                return Ok(claim);
            }
        }
        Err(StoreError::unavailable("a row of `roomz_claims` contradicts itself; correct or delete it"))
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.inner.settle(key, owner, RENEW, lease).await
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        self.inner.settle(key, owner, COMPLETE, retention).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.inner.settle(key, owner, RELEASE, Duration::ZERO).await
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").finish_non_exhaustive()
    }
}
