use std::sync::Arc;
use std::time::Duration;

use roomz_webhook::roomz_protocol::error_chain;
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, IdempotencyStore, Owner, Settled, StoreError, async_trait,
};
use tokio::task::JoinSet;

use crate::claims::statements::{self, COMPLETE, RELEASE, RENEW, Statements, outcome, settlement};
use crate::db::purge;
use crate::db::queue::{Failed, Operation};
use crate::db::value::Value;
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
#[derive(Clone, derive_more::Debug)]
#[debug("SqlStore")]
pub struct SqlStore {
    workers: Arc<Workers>,
    /// Aborts the background task when the last clone is dropped.
    _purge: Arc<JoinSet<()>>,
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
        let (workers, mut tasks) = (Arc::new(workers), JoinSet::new());
        if let Some(interval) = purge_interval {
            tasks.spawn(purge_every(Arc::clone(&workers), interval));
        }
        Self { workers, _purge: Arc::new(tasks) }
    }

    async fn settle(
        &self,
        key: &ClaimKey,
        owner: Owner,
        operation: i64,
        duration: Duration,
    ) -> Result<Settled, StoreError> {
        let operation = Operation {
            statement: &Statements::of(self.workers.dialect()).settle,
            values: settlement(key, owner, operation, duration),
            // A second release would report `Lost`, because nobody holds a released claim.
            is_retry_safe: operation != RELEASE,
        };
        let rows = self.workers.execute(operation).await.map_err(store_error)?;
        Ok(if rows.is_empty() { Settled::Lost } else { Settled::Applied })
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
        purge(&self.workers).await
    }
}

async fn purge_every(workers: Arc<Workers>, interval: Duration) {
    loop {
        let mut pause = interval;
        match purge(&workers).await {
            Ok(deleted) => tracing::debug!(deleted, "expired claims deleted"),
            Err(error) => {
                tracing::warn!(error = %error_chain(&error), "deleting expired claims failed");
                pause = pause.min(PURGE_RETRY_INTERVAL);
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn purge(workers: &Workers) -> Result<u64, StoreError> {
    let delete_batch = || async {
        let (statement, values) = (&Statements::of(workers.dialect()).purge, vec![Value::Number(1)]);
        let operation = Operation { statement, values, is_retry_safe: true };
        workers.execute(operation).await.map(|rows| rows.len())
    };
    purge::purge(delete_batch).await.map_err(store_error)
}

#[async_trait]
impl IdempotencyStore for SqlStore {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        // Repeats only if the row became free between the two statements of the claim.
        for _ in 0..MAX_ROUNDS {
            let operation = Operation {
                statement: &Statements::of(self.workers.dialect()).claim,
                values: statements::claim(key, claim),
                is_retry_safe: true,
            };
            let rows = self.workers.execute(operation).await.map_err(store_error)?;
            if let Some(row) = rows.first()
                && let Some(claim) = outcome(row, claim.fingerprint).map_err(StoreError::unavailable)?
            {
                return Ok(claim);
            }
        }
        Err(StoreError::unavailable("a row of `roomz_claims` contradicts itself; correct or delete it"))
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.settle(key, owner, RENEW, lease).await
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        self.settle(key, owner, COMPLETE, retention).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.settle(key, owner, RELEASE, Duration::ZERO).await
    }
}
