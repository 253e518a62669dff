use std::fmt;
use std::time::Duration;

use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, IdempotencyStore, Owner, Settled, StoreError, async_trait,
};

use crate::builder::SqlStoreBuilder;
use crate::database::Database;
use crate::error::ConnectError;
use crate::pool::{Pool, Repeat, Value};
use crate::statements::{DONE, FREE, RUNNING};

/// How many rows one statement of a purge removes, so that it holds no lock for long.
const PURGE_BATCH: i64 = 1_000;

/// Claims in PostgreSQL or SQLite.
///
/// A clone is the same store on the same pool of connections.
#[derive(Clone)]
pub struct SqlStore {
    pool: Pool,
}

impl SqlStore {
    /// Connects to the database of a URL, or takes a pool of yours, with the default settings.
    ///
    /// ```no_run
    /// use roomz_sql::SqlStore;
    ///
    /// # async fn connect(pool: roomz_sql::sqlx::PgPool) -> Result<(), roomz_sql::ConnectError> {
    /// let postgres = SqlStore::connect("postgres://user:password@localhost/floors").await?;
    /// let sqlite = SqlStore::connect("sqlite:///var/lib/floors/claims.db").await?;
    /// let yours = SqlStore::connect(pool).await?;
    /// # drop((postgres, sqlite, yours));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`SqlStoreBuilder::connect`].
    pub async fn connect(database: impl Into<Database>) -> Result<Self, ConnectError> {
        Self::builder(database).connect().await
    }

    /// Begins a store on the database of a URL, or on a pool of yours.
    pub fn builder(database: impl Into<Database>) -> SqlStoreBuilder {
        SqlStoreBuilder::new(database.into())
    }

    pub(crate) const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Removes what has expired, in batches of 1 000 rows, and says how many it removed.
    ///
    /// Several instances may do so at once.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the database fails. What was removed until then stays removed.
    pub async fn purge(&self) -> Result<u64, StoreError> {
        let (statement, batch) = (self.pool.statements().purge, [Value::Number(PURGE_BATCH)]);
        let mut removed = 0;
        loop {
            match self.pool.ask(statement, &batch, Repeat::Harmless).await?.len() {
                0 => return Ok(removed),
                rows => removed += rows as u64,
            }
        }
    }

    /// [Purges](Self::purge) at once and after each interval, for as long as the future is polled: spawn it.
    ///
    /// A purge that fails is logged, and tried again after the interval.
    ///
    /// ```no_run
    /// # fn start(store: roomz_sql::SqlStore) {
    /// use std::time::Duration;
    ///
    /// tokio::spawn(store.clone().purge_every(Duration::from_secs(10 * 60)));
    /// # }
    /// ```
    pub async fn purge_every(self, interval: Duration) {
        loop {
            match self.purge().await {
                Ok(removed) => tracing::debug!(removed, "expired claims were removed"),
                Err(error) => {
                    let cause =
                        std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    tracing::warn!(cause, "expired claims could not be removed: {error}");
                }
            }
            tokio::time::sleep(interval.max(Duration::from_millis(1))).await;
        }
    }

    async fn settle(
        &self,
        statement: &'static str,
        key: &ClaimKey,
        owner: Owner,
        duration: Option<Duration>,
    ) -> Result<Settled, StoreError> {
        let (id, owner) = (id(key), owner.to_bytes());
        let values = [Value::Text(key.namespace()), Value::Bytes(&id), Value::Bytes(&owner)];
        let rows = match duration {
            // Repeated, it would be told that nobody holds the claim.
            None => self.pool.ask(statement, &values, Repeat::Never).await?,
            Some(duration) => {
                let [namespace, id, owner] = values;
                let values = [namespace, id, owner, Value::Number(millis(duration))];
                self.pool.ask(statement, &values, Repeat::Harmless).await?
            }
        };
        Ok(if rows.is_empty() { Settled::Lost } else { Settled::Applied })
    }
}

fn id(key: &ClaimKey) -> [u8; 16] {
    *key.id().as_uuid().as_bytes()
}

/// At least one: what expires in 0 ms has expired.
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
        let (lease, kept) = (millis(claim.lease), millis(claim.lease.max(claim.retention)));
        // Each further turn means that somebody moved between the two statements: what was taken is free again.
        loop {
            let values =
                [namespace, id, Value::Bytes(&owner), fingerprint, Value::Number(lease), Value::Number(kept)];
            let won = self.pool.ask(statements.claim, &values, Repeat::Harmless).await?;
            if let [(attempt, _, matches)] = won[..] {
                let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
                return Ok(Claim::new(ClaimState::claimed(attempt), matches));
            }
            let values = [namespace, id, fingerprint];
            let seen = self.pool.ask(statements.look, &values, Repeat::Harmless).await?;
            match seen[..] {
                [(DONE, _, matches)] => return Ok(Claim::new(ClaimState::Done, matches)),
                [(RUNNING, remaining @ 1.., matches)] => {
                    let remaining = Duration::from_millis(remaining.unsigned_abs());
                    return Ok(Claim::new(ClaimState::in_flight(remaining), matches));
                }
                [] | [(FREE | RUNNING, ..)] => {}
                _ => {
                    return Err(StoreError::unavailable(
                        "a newer version wrote a state that is not known here",
                    ));
                }
            }
        }
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.settle(self.pool.statements().renew, key, owner, Some(lease)).await
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        self.settle(self.pool.statements().complete, key, owner, Some(retention)).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.settle(self.pool.statements().release, key, owner, None).await
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").finish_non_exhaustive()
    }
}
