//! Claims in a file: a restart forgets nothing. One process only, which redb enforces.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redb::{Database, ReadableTable as _, TableDefinition, WriteTransaction};
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, IdempotencyStore, Owner, Settled, StoreError,
};
use roomz_webhook::{Clock, SystemClock};

type Key<'a> = (&'a str, u128);
/// State, owner, fingerprint, attempt, end of the lease, end of the record (in ms since 1970).
type Record = (u8, [u8; 16], [u8; 16], u32, i64, i64);

const CLAIMS: TableDefinition<'_, Key<'_>, Record> = TableDefinition::new("claims");
const RUNNING: u8 = 0;
const FREE: u8 = 1;
const DONE: u8 = 2;

/// A store in a [redb] file.
///
/// Its time is the calendar's, the only one that goes on while the process is down: a jump of the system clock
/// moves leases.
#[derive(Clone, Debug)]
pub struct RedbStore {
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
}

impl RedbStore {
    /// Opens the file, or makes it, and removes what has expired.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, is no redb file, or is open in another process.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, redb::Error> {
        let store = Self { database: Arc::new(Database::create(path)?), clock: Arc::new(SystemClock::new()) };
        let now = store.now();
        let transaction = store.database.begin_write()?;
        transaction.open_table(CLAIMS)?.retain(|_, (.., expiry)| expiry > now)?;
        transaction.commit()?;
        Ok(store)
    }

    /// For tests: another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    /// Reads one record and writes what is decided, in one transaction. redb has one writer at a time, which makes
    /// it atomic; the disk is waited for on a thread that may wait.
    async fn change<T: Send + 'static>(
        &self,
        key: &ClaimKey,
        decide: impl FnOnce(Option<Record>, i64) -> (T, Option<Record>) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (database, key, clock) = (Arc::clone(&self.database), key.clone(), Arc::clone(&self.clock));
        let change = move || -> Result<T, redb::Error> {
            let transaction = database.begin_write()?;
            let now = clock.now().as_millisecond();
            let (answer, changed) = change_in(&transaction, &key, now, decide)?;
            // Without a change there is nothing to wait for the disk for.
            if changed {
                transaction.commit()?
            } else {
                transaction.abort()?
            }
            Ok(answer)
        };
        let done = tokio::task::spawn_blocking(change).await.map_err(StoreError::unavailable)?;
        done.map_err(StoreError::unavailable)
    }
}

fn change_in<T>(
    transaction: &WriteTransaction,
    key: &ClaimKey,
    now: i64,
    decide: impl FnOnce(Option<Record>, i64) -> (T, Option<Record>),
) -> Result<(T, bool), redb::Error> {
    let mut claims = transaction.open_table(CLAIMS)?;
    let key = (key.namespace(), key.id().as_uuid().as_u128());
    let found = claims.get(key)?.map(|record| record.value()).filter(|(.., expiry)| *expiry > now);
    let (answer, write) = decide(found, now);
    if let Some(record) = write {
        claims.insert(key, record)?;
    }
    Ok((answer, write.is_some()))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[async_trait]
impl IdempotencyStore for RedbStore {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        let (me, body) = (claim.owner.to_bytes(), claim.fingerprint.to_bytes());
        let (lease, retention) = (millis(claim.lease), millis(claim.retention));
        self.change(key, move |found, now| {
            let running = |fingerprint, attempt| {
                let expiry = now.saturating_add(retention.max(lease));
                let record = (RUNNING, me, fingerprint, attempt, now.saturating_add(lease), expiry);
                (Claim::new(ClaimState::claimed(attempt), fingerprint == body), Some(record))
            };
            let Some((state, owner, fingerprint, attempt, lease_end, _)) = found else {
                return running(body, 1);
            };
            match state {
                DONE => (Claim::new(ClaimState::Done, fingerprint == body), None),
                RUNNING if owner == me => running(fingerprint, attempt),
                RUNNING if lease_end > now => {
                    let remaining = Duration::from_millis(lease_end.abs_diff(now));
                    (Claim::new(ClaimState::in_flight(remaining), fingerprint == body), None)
                }
                _ => running(fingerprint, attempt.saturating_add(1)),
            }
        })
        .await
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.change(key, move |found, now| match found {
            Some((RUNNING, me, fingerprint, attempt, _, expiry)) if me == owner.to_bytes() => {
                let lease_end = now.saturating_add(millis(lease));
                let record = (RUNNING, me, fingerprint, attempt, lease_end, expiry.max(lease_end));
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
        self.change(key, move |found, now| match found {
            Some((RUNNING, me, fingerprint, attempt, lease_end, _)) if me == owner.to_bytes() => {
                let expiry = now.saturating_add(millis(retention));
                (Settled::Applied, Some((DONE, me, fingerprint, attempt, lease_end, expiry)))
            }
            // Our own completion, whose answer got lost.
            Some((DONE, me, ..)) if me == owner.to_bytes() => (Settled::Applied, None),
            _ => (Settled::Lost, None),
        })
        .await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.change(key, move |found, _| match found {
            Some((RUNNING, me, fingerprint, attempt, lease_end, expiry)) if me == owner.to_bytes() => {
                (Settled::Applied, Some((FREE, me, fingerprint, attempt, lease_end, expiry)))
            }
            _ => (Settled::Lost, None),
        })
        .await
    }
}
