use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, IdempotencyStore, Owner, Settled, StoreError, async_trait,
};

use tokio::task::AbortHandle;

use crate::pool::{Pool, Value};
use crate::statements::{DONE, FREE, RUNNING, Statement};

/// The shortest pause between two batches of a purge.
const PURGE_PAUSE_MIN: Duration = Duration::from_millis(10);
/// The pause after a batch is this many times as long as the batch.
const PURGE_PAUSE_FACTOR: u32 = 9;

/// A store that keeps claims in PostgreSQL or SQLite.
///
/// Create one with [`connect`](Self::connect), or with [`builder`](Self::builder) to change settings. A clone shares the
/// connections. A background task deletes expired claims until the last clone is dropped.
#[derive(Clone)]
pub struct SqlStore {
    pool: Pool,
    /// Ends the background task when it is dropped.
    _purge: Option<Arc<PurgeTask>>,
}

impl SqlStore {
    pub(crate) fn new(pool: Pool, purge_interval: Option<Duration>) -> Self {
        let purge = purge_interval.map(|interval| {
            let task = tokio::spawn(purge_every(pool.clone(), interval));
            Arc::new(PurgeTask(task.abort_handle()))
        });
        Self { pool, _purge: purge }
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
        purge(&self.pool).await
    }

    async fn settle(&self, statement: Statement, values: &[Value<'_>]) -> Result<Settled, StoreError> {
        let rows = self.pool.execute(statement, values).await?;
        Ok(if rows.is_empty() { Settled::Lost } else { Settled::Applied })
    }
}

/// Aborts the task when it is dropped.
struct PurgeTask(AbortHandle);

impl Drop for PurgeTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn purge_every(pool: Pool, interval: Duration) {
    loop {
        match purge(&pool).await {
            Ok(deleted) => tracing::debug!(deleted, "expired claims deleted"),
            Err(error) => {
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(%error, cause, "deleting expired claims failed");
            }
        }
        tokio::time::sleep(interval).await;
    }
}

async fn purge(pool: &Pool) -> Result<u64, StoreError> {
    let mut deleted = 0;
    loop {
        let start = Instant::now();
        match pool.execute(pool.statements().purge, &[Value::Number(1)]).await?.len() {
            0 => return Ok(deleted),
            rows => deleted += rows as u64,
        }
        let pause = start.elapsed() * PURGE_PAUSE_FACTOR;
        tokio::time::sleep(pause.max(PURGE_PAUSE_MIN)).await;
    }
}

fn id(key: &ClaimKey) -> [u8; 16] {
    *key.id().as_uuid().as_bytes()
}

/// At least 1, because a row that expires in 0 ms has expired.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).clamp(1, 1 << 50)
}

#[async_trait]
impl IdempotencyStore for SqlStore {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        let statements = self.pool.statements();
        let (id, owner, fingerprint) = (id(key), claim.owner.to_bytes(), claim.fingerprint.to_bytes());
        let (namespace, id, fingerprint) =
            (Value::Text(key.namespace()), Value::Bytes(&id), Value::Bytes(&fingerprint));
        let (lease, retention) = (millis(claim.lease), millis(claim.lease.max(claim.retention)));
        // The loop repeats only if the row became free between the two statements.
        loop {
            let values = [
                namespace,
                id,
                Value::Bytes(&owner),
                fingerprint,
                Value::Number(lease),
                Value::Number(retention),
            ];
            let claimed = self.pool.execute(statements.claim, &values).await?;
            if let [(attempt, _, matches)] = claimed[..] {
                let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
                return Ok(Claim::new(ClaimState::claimed(attempt), matches));
            }
            let values = [namespace, id, fingerprint];
            let row = self.pool.execute(statements.select, &values).await?;
            match row[..] {
                [(DONE, _, matches)] => return Ok(Claim::new(ClaimState::Done, matches)),
                [(RUNNING, remaining @ 1.., matches)] => {
                    let remaining = Duration::from_millis(remaining.unsigned_abs());
                    return Ok(Claim::new(ClaimState::in_flight(remaining), matches));
                }
                [] | [(FREE | RUNNING, ..)] => {}
                // Another claim would find the same state, so the loop would never end.
                _ => {
                    return Err(StoreError::unavailable(
                        "unknown claim state in `roomz_claims`; a newer version of roomz-sql wrote it: update this instance",
                    ));
                }
            }
        }
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        let (id, owner, lease) = (id(key), owner.to_bytes(), Value::Number(millis(lease)));
        let values = [Value::Text(key.namespace()), Value::Bytes(&id), Value::Bytes(&owner), lease];
        self.settle(self.pool.statements().renew, &values).await
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        let (id, owner, retention) = (id(key), owner.to_bytes(), Value::Number(millis(retention)));
        let values = [Value::Text(key.namespace()), Value::Bytes(&id), Value::Bytes(&owner), retention];
        self.settle(self.pool.statements().complete, &values).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        let (id, owner) = (id(key), owner.to_bytes());
        let values = [Value::Text(key.namespace()), Value::Bytes(&id), Value::Bytes(&owner)];
        self.settle(self.pool.statements().release, &values).await
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").finish_non_exhaustive()
    }
}
