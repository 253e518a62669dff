//! A store with its claims in a redb file. The claims survive a restart. Only one process can open the file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, ReadableTable as _, TableDefinition, WriteTransaction};
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, IdempotencyStore, Owner, Settled, StoreError, async_trait,
};
use roomz_webhook::{Clock, SystemClock};

/// Namespace and event id.
type Key<'a> = (&'a str, u128);
/// State, owner, fingerprint, attempt, end of the lease, expiry. Times are in milliseconds since 1970.
type Record = (u8, [u8; 16], [u8; 16], u32, i64, i64);

const CLAIMS: TableDefinition<'_, Key<'_>, Record> = TableDefinition::new("claims");

// The values of the state.
const RUNNING: u8 = 0;
const RELEASED: u8 = 1;
const DONE: u8 = 2;

/// A store in a [redb] file.
///
/// It uses the system clock, because a monotonic clock does not survive a restart. If the system clock jumps,
/// leases end earlier or later.
///
/// It has no limit. A store that has one never evicts a live claim: it keeps live claims outside a cache that
/// evicts, and returns `StoreError::full()` when there are too many.
#[derive(Clone, Debug)]
pub struct RedbStore {
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
}

impl RedbStore {
    /// Opens or creates the file, and deletes expired claims.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, is not a redb file, or is open in another process.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, redb::Error> {
        let store = Self { database: Arc::new(Database::create(path)?), clock: Arc::new(SystemClock) };
        let now = store.now();
        let transaction = store.database.begin_write()?;
        transaction.open_table(CLAIMS)?.retain(|_, (.., expiry)| expiry > now)?;
        transaction.commit()?;
        Ok(store)
    }

    /// Replaces the system clock, for tests.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    /// Reads the record of a key and writes the record that `decide` returns, in one transaction.
    ///
    /// This is atomic, because redb allows one write transaction at a time. It runs on a blocking thread,
    /// because a commit waits for the disk.
    async fn update<T: Send + 'static>(
        &self,
        key: &ClaimKey,
        decide: impl FnOnce(Option<Record>, i64) -> (T, Option<Record>) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (database, key, clock) = (Arc::clone(&self.database), key.clone(), Arc::clone(&self.clock));
        let update = move || -> Result<T, redb::Error> {
            let transaction = database.begin_write()?;
            // Read the time after the wait for other writers.
            let now = clock.now().as_millisecond();
            let (result, changed) = update_in(&transaction, &key, now, decide)?;
            // Without a change, `abort` avoids the wait for the disk.
            if changed {
                transaction.commit()?
            } else {
                transaction.abort()?
            }
            Ok(result)
        };
        let done = tokio::task::spawn_blocking(update).await.map_err(StoreError::unavailable)?;
        done.map_err(StoreError::unavailable)
    }
}

/// Returns the result of `decide`, and whether it wrote a record.
fn update_in<T>(
    transaction: &WriteTransaction,
    key: &ClaimKey,
    now: i64,
    decide: impl FnOnce(Option<Record>, i64) -> (T, Option<Record>),
) -> Result<(T, bool), redb::Error> {
    let mut claims = transaction.open_table(CLAIMS)?;
    let key = (key.namespace(), key.id().as_uuid().as_u128());
    let found = claims.get(key)?.map(|record| record.value()).filter(|(.., expiry)| *expiry > now);
    let (result, write) = decide(found, now);
    if let Some(record) = write {
        claims.insert(key, record)?;
    }
    Ok((result, write.is_some()))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[async_trait]
impl IdempotencyStore for RedbStore {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        let (owner, body) = (claim.owner.to_bytes(), claim.fingerprint.to_bytes());
        let (lease, retention) = (millis(claim.lease), millis(claim.retention));
        self.update(key, move |found, now| {
            let claimed = |fingerprint, attempt| {
                let expiry = now.saturating_add(retention.max(lease));
                let record = (RUNNING, owner, fingerprint, attempt, now.saturating_add(lease), expiry);
                (Claim::new(ClaimState::claimed(attempt), fingerprint == body), Some(record))
            };
            let Some((state, current_owner, fingerprint, attempt, lease_end, _)) = found else {
                return claimed(body, 1);
            };
            match state {
                DONE => (Claim::new(ClaimState::Done, fingerprint == body), None),
                // The layer repeats a claim when it did not receive the reply.
                RUNNING if current_owner == owner => claimed(fingerprint, attempt),
                RUNNING if lease_end > now => {
                    let remaining = Duration::from_millis(lease_end.abs_diff(now));
                    (Claim::new(ClaimState::in_flight(remaining), fingerprint == body), None)
                }
                _ => claimed(fingerprint, attempt.saturating_add(1)),
            }
        })
        .await
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.update(key, move |found, now| match found {
            Some((RUNNING, current_owner, fingerprint, attempt, _, expiry))
                if current_owner == owner.to_bytes() =>
            {
                let lease_end = now.saturating_add(millis(lease));
                let record = (RUNNING, current_owner, fingerprint, attempt, lease_end, expiry.max(lease_end));
                (Settled::Applied, Some(record))
            }
            _ => (Settled::Lost, None),
        })
        .await
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        self.update(key, move |found, now| match found {
            Some((RUNNING, current_owner, fingerprint, attempt, lease_end, _))
                if current_owner == owner.to_bytes() =>
            {
                let expiry = now.saturating_add(millis(retention));
                (Settled::Applied, Some((DONE, current_owner, fingerprint, attempt, lease_end, expiry)))
            }
            // The layer repeats a completion when it did not receive the reply.
            Some((DONE, current_owner, ..)) if current_owner == owner.to_bytes() => (Settled::Applied, None),
            _ => (Settled::Lost, None),
        })
        .await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.update(key, move |found, _| match found {
            Some((RUNNING, current_owner, fingerprint, attempt, lease_end, expiry))
                if current_owner == owner.to_bytes() =>
            {
                (Settled::Applied, Some((RELEASED, current_owner, fingerprint, attempt, lease_end, expiry)))
            }
            _ => (Settled::Lost, None),
        })
        .await
    }
}
