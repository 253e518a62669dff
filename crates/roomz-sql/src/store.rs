use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, IdempotencyStore, Owner, Settled, StoreError, async_trait,
};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::operation::{ClaimOperation, Purge, Settlement, SettlementKind};
use crate::queue::Queued;
use crate::worker::Workers;

/// The shortest pause between two batches of a purge.
const PURGE_PAUSE_MIN: Duration = Duration::from_millis(10);
/// The pause after a batch is this many times as long as the batch.
const PURGE_PAUSE_FACTOR: u32 = 9;

/// The pause after a failed purge, unless the interval is shorter.
const PURGE_RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// A store that keeps claims in PostgreSQL or SQLite.
///
/// Create one with [`connect`](Self::connect), or with [`builder`](Self::builder) to change settings. A clone shares the
/// connections. They belong to the tokio runtime that called `connect`, and close when the last clone is dropped. A
/// background task deletes expired claims until then.
#[derive(Clone)]
pub struct SqlStore {
    inner: Arc<Inner>,
    /// Ends the background task when the last clone is dropped.
    _purge: Option<Arc<PurgeTask>>,
}

struct Inner {
    workers: Workers,
    operation_timeout: Duration,
}

impl Inner {
    /// Waits until a worker executed the operation. A caller that gives up does not cancel the other operations of the batch.
    async fn execute<O: Queued>(&self, operation: O) -> Result<O::Outcome, StoreError> {
        let outcome = self.workers.queue().push(operation);
        match timeout(self.operation_timeout, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(StoreError::unavailable(
                "the tokio runtime of the store was shut down; call `SqlStore::connect` on a runtime that lives as long as \
                 the store",
            )),
            Err(_) => Err(StoreError::timed_out()),
        }
    }
}

impl SqlStore {
    pub(crate) fn new(
        workers: Workers,
        operation_timeout: Duration,
        purge_interval: Option<Duration>,
    ) -> Self {
        let inner = Arc::new(Inner { workers, operation_timeout });
        let purge = purge_interval.map(|interval| {
            let task = tokio::spawn(purge_every(Arc::clone(&inner), interval));
            Arc::new(PurgeTask(task.abort_handle()))
        });
        Self { inner, _purge: purge }
    }

    /// Deletes all expired claims, and returns how many it deleted.
    ///
    /// The store does this by itself every 10 min; see
    /// [`with_purge_interval`](crate::SqlStoreBuilder::with_purge_interval). It deletes 100 rows at a time and then pauses for
    /// nine times as long. Several instances may purge at once.
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
    let mut deleted = 0;
    loop {
        let purged = inner.execute(Purge).await?;
        if purged.rows == 0 {
            return Ok(deleted);
        }
        deleted += purged.rows;
        let pause = purged.duration * PURGE_PAUSE_FACTOR;
        tokio::time::sleep(pause.max(PURGE_PAUSE_MIN)).await;
    }
}

#[async_trait]
impl IdempotencyStore for SqlStore {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        self.inner.execute(ClaimOperation::new(key, claim)).await
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.inner.execute(Settlement::new(key, owner, SettlementKind::Renew, lease)).await
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        self.inner.execute(Settlement::new(key, owner, SettlementKind::Complete, retention)).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.inner.execute(Settlement::new(key, owner, SettlementKind::Release, Duration::ZERO)).await
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").finish_non_exhaustive()
    }
}
