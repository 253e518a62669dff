use std::error::Error;
use std::fmt;

use roomz_webhook::Delivery;
use roomz_webhook::roomz_protocol::EventId;
use roomz_webhook::store::Settled;

use crate::connection::SqlConnection;
use crate::operation::{Settlement, SettlementKind};

/// Completes an event inside a transaction of its handler: the handler's effect and the completion are one commit.
///
/// The transaction must be on the database in which the layer's [`SqlStore`](crate::SqlStore) keeps the claims. Call this
/// last, directly before the commit. The layer's own completion afterwards changes nothing.
///
/// ```no_run
/// # #[cfg(feature = "postgres")]
/// use roomz_webhook::Delivery;
///
/// # #[cfg(feature = "postgres")]
/// async fn record(pool: &sqlx::PgPool, delivery: &Delivery) -> Result<(), Box<dyn std::error::Error>> {
///     let mut transaction = pool.begin().await?;
///     sqlx::query("INSERT INTO visits (event_id) VALUES ($1)")
///         .bind(delivery.event().id.to_string())
///         .execute(&mut *transaction)
///         .await?;
///     roomz_sql::complete(&mut *transaction, delivery).await?;
///     transaction.commit().await?;
///     Ok(())
/// }
/// ```
///
/// If the process dies before the commit, the database rolls back both, and the redelivery runs the handler again. If it dies
/// after the commit, the redelivery is a duplicate and gets a 200.
///
/// From this call until the commit, the claim's row is locked. Renewals of the lease and duplicates wait for it, at most for
/// the store's timeout. With the isolation levels `REPEATABLE READ` and `SERIALIZABLE` of PostgreSQL, a renewal after the first
/// statement of the transaction makes this call fail with a serialization error (`40001`); the default `READ COMMITTED` has no
/// such failures. On SQLite, begin the transaction with `begin_with("BEGIN IMMEDIATE")`: a transaction that reads before
/// it writes can otherwise fail because the store wrote meanwhile.
///
/// # Errors
///
/// Return the error, so that the transaction is rolled back and the delivery is not acknowledged.
///
/// - [`CompleteErrorKind::Lost`]: this attempt does not hold the claim. Nothing was written.
/// - [`CompleteErrorKind::Database`]: the database failed. The source is the `sqlx::Error`.
pub async fn complete<C: SqlConnection>(
    connection: &mut C,
    delivery: &Delivery,
) -> Result<(), CompleteError> {
    let claim = delivery.claim();
    let completion = Settlement::new(claim.key(), claim.owner(), SettlementKind::Complete, claim.retention());
    match connection.settle(&completion).await {
        Ok(Settled::Applied) => Ok(()),
        Ok(_) => Err(CompleteError { id: claim.key().id(), source: None }),
        Err(error) => Err(CompleteError { id: claim.key().id(), source: Some(error) }),
    }
}

/// Why [`complete`] failed.
pub struct CompleteError {
    id: EventId,
    source: Option<sqlx::Error>,
}

/// The kind of a [`CompleteError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CompleteErrorKind {
    /// This attempt does not hold the claim: its lease ended and another delivery took the event over, the claim expired, or the
    /// layer keeps its claims elsewhere. With [`FailOpen`](roomz_webhook::StoreFailurePolicy::FailOpen), the store may have
    /// failed at the claim.
    Lost,
    /// The database failed.
    Database,
}

impl CompleteError {
    /// Returns the kind.
    ///
    /// ```
    /// use roomz_sql::{CompleteError, CompleteErrorKind};
    ///
    /// fn is_stale(error: &CompleteError) -> bool {
    ///     error.kind() == CompleteErrorKind::Lost
    /// }
    /// ```
    #[must_use]
    pub const fn kind(&self) -> CompleteErrorKind {
        match self.source {
            None => CompleteErrorKind::Lost,
            Some(_) => CompleteErrorKind::Database,
        }
    }
}

impl fmt::Display for CompleteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            None => write!(
                f,
                "cannot complete event {}: this attempt does not hold its claim in this database; roll back, and return an \
                 error. If this happens at every delivery, let the layer's `SqlStore` use the same database",
                self.id
            ),
            Some(_) => write!(
                f,
                "cannot complete event {}: the database failed; roll back, and return an error, so that the event is \
                 delivered again",
                self.id
            ),
        }
    }
}

impl fmt::Debug for CompleteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompleteError").field("id", &self.id).field("source", &self.source).finish()
    }
}

impl Error for CompleteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}
