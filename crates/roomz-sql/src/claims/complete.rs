use roomz_webhook::Delivery;
use roomz_webhook::roomz_protocol::{EventId, debug_error_chain};

use crate::claims::statements::{COMPLETE, Statements, settlement};
use crate::connection::{SqlConnection, fetch};
use crate::db::driver::Driver as _;
use crate::db::error::is_invalid_schema;

/// Completes an event inside a transaction of its handler: the handler's effect and the completion are one
/// commit.
///
/// The transaction must be on the database in which the layer's [`SqlStore`](crate::SqlStore) keeps the
/// claims. The layer's own completion afterwards changes nothing.
///
/// Call this last, directly before the commit. If a statement fails after it and you ignore the error,
/// PostgreSQL aborts the transaction, and `commit` of sqlx 0.9 returns `Ok` but stores nothing: the handler
/// answers 2xx, the layer completes the event, and its effect is lost. Before it, the aborted transaction
/// makes this call fail. To go on after an error that you expect, such as a duplicate key, use
/// `ON CONFLICT DO NOTHING` or a savepoint (`begin` on the transaction). On SQLite, return each error: some
/// end the transaction, for example with `ON CONFLICT ROLLBACK`, and this call would then commit alone.
///
/// ```
/// use roomz_webhook::Delivery;
/// use sqlx::SqlitePool;
/// # use roomz_sql::SqlStore;
/// # use roomz_webhook::testing::TestEvent;
/// # use roomz_webhook::{Secret, WebhookBody, WebhookLayer};
/// # use tower::{BoxError, Layer as _, ServiceExt as _, service_fn};
///
/// async fn record(pool: &SqlitePool, delivery: &Delivery) -> Result<(), Box<dyn std::error::Error>> {
///     // With PostgreSQL: `pool.begin()`.
///     let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
///     sqlx::query("INSERT INTO visits (event_id) VALUES ($1)")
///         .bind(delivery.event().id.to_string())
///         .execute(&mut *transaction)
///         .await?;
///     roomz_sql::complete(&mut *transaction, delivery).await?;
///     transaction.commit().await?;
///     Ok(())
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let directory = tempfile::tempdir()?;
/// # let url = format!("sqlite://{}/claims.db", directory.path().display());
/// # let secret = Secret::new("the webhook secret")?;
/// # let layer = WebhookLayer::builder(secret.clone()).with_store(SqlStore::connect(&url).await?).build()?;
/// # let pool = SqlitePool::connect(&url).await?;
/// # sqlx::query("CREATE TABLE visits (event_id TEXT)").execute(&pool).await?;
/// # let of_handler = pool.clone();
/// # let service = layer.layer(service_fn(move |request: http::Request<WebhookBody>| {
/// #     let pool = of_handler.clone();
/// #     async move {
/// #         let delivery = request.extensions().get::<Delivery>().ok_or("the layer is missing")?;
/// #         record(&pool, delivery).await.map_err(|error| error.to_string())?;
/// #         Ok::<_, BoxError>(http::Response::new(String::new()))
/// #     }
/// # }));
/// # let event = TestEvent::busy();
/// # for _ in 0..2 {
/// #     let request = event.request::<http_body_util::Full<bytes::Bytes>>("/", &secret);
/// #     assert_eq!(service.clone().oneshot(request).await?.status(), 200);
/// # }
/// # assert_eq!(sqlx::query("SELECT * FROM visits").fetch_all(&pool).await?.len(), 1);
/// # Ok(())
/// # }
/// ```
///
/// If the process dies before the commit, the database rolls back both, and the redelivery runs the handler
/// again. If it dies after the commit, the redelivery is a duplicate and gets a 200.
///
/// # Locks and isolation
///
/// From this call until the commit, the claim's row is locked. Renewals of the lease and duplicates of the
/// event wait for it, at most for the store's timeout.
///
/// - **PostgreSQL**: use the isolation level `READ COMMITTED`, which is the default. With `REPEATABLE READ`
///   and `SERIALIZABLE`, a renewal after the first statement of the transaction makes this call fail with a
///   serialization error (`40001`).
/// - **SQLite**: begin the transaction with `begin_with("BEGIN IMMEDIATE")`. A transaction that reads before
///   it writes can otherwise fail because the store wrote meanwhile. The transaction locks the whole file:
///   until it ends, no other event is claimed. Call other services before it.
///
/// # Errors
///
/// Return the error, so that the transaction is rolled back and the delivery is not acknowledged.
///
/// - [`CompleteErrorKind::NoTransaction`]: the connection has no open transaction. Nothing was written.
/// - [`CompleteErrorKind::Lost`]: this attempt does not hold the claim. Nothing was written.
/// - [`CompleteErrorKind::Database`]: the database failed, or its table `roomz_claims` is missing, because
///   the layer keeps its claims elsewhere. The source is the `sqlx::Error`.
pub async fn complete<C: SqlConnection>(
    connection: &mut C,
    delivery: &Delivery,
) -> Result<(), CompleteError> {
    let error = |kind, source| CompleteError { id: delivery.event().id, kind, source };
    // Without a transaction, the completion would be committed here, and a crash could lose the effect.
    if !connection.is_in_transaction() {
        return Err(error(CompleteErrorKind::NoTransaction, None));
    }
    let statement = &Statements::of(C::Database::DIALECT).settle;
    let values = settlement(delivery.claim_key(), delivery.owner(), COMPLETE, delivery.retention());
    match fetch(connection, statement, &values).await {
        Ok(rows) if rows.is_empty() => Err(error(CompleteErrorKind::Lost, None)),
        Ok(_) => Ok(()),
        Err(source) => Err(error(CompleteErrorKind::Database, Some(source))),
    }
}

/// Why [`complete`] failed.
///
/// ```
/// use roomz_sql::CompleteError;
///
/// /// An error type of a handler needs a conversion for `?`.
/// enum HandlerError {
///     Database(sqlx::Error),
///     NotCompleted(CompleteError),
/// }
///
/// impl From<CompleteError> for HandlerError {
///     fn from(error: CompleteError) -> Self {
///         Self::NotCompleted(error)
///     }
/// }
/// ```
#[derive(thiserror::Error)]
#[error("cannot complete event {id}: {}", cause(*.kind, .source.as_ref()))]
pub struct CompleteError {
    id: EventId,
    kind: CompleteErrorKind,
    source: Option<sqlx::Error>,
}

/// The kind of a [`CompleteError`].
///
/// ```
/// use roomz_sql::{CompleteError, CompleteErrorKind};
///
/// /// A stale attempt is expected after a pause of the process. The other errors need attention.
/// fn needs_attention(error: &CompleteError) -> bool {
///     error.kind() != CompleteErrorKind::Lost
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CompleteErrorKind {
    /// The connection has no open transaction. Begin it with `begin` or `begin_with`: sqlx does not notice a
    /// `BEGIN` that is executed as a query.
    NoTransaction,
    /// This attempt does not hold the claim: its lease ended and another delivery took the event over, the
    /// claim expired, or the layer keeps its claims elsewhere. With
    /// [`with_fail_open`](roomz_webhook::WebhookLayerBuilder::with_fail_open), the store may have failed at
    /// the claim.
    Lost,
    /// The database failed, or has no table `roomz_claims`: the layer keeps its claims elsewhere.
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
        self.kind
    }
}

fn cause(kind: CompleteErrorKind, source: Option<&sqlx::Error>) -> &'static str {
    match kind {
        CompleteErrorKind::NoTransaction => {
            "the connection has no open transaction; begin one with `begin` of sqlx, and write the effect in it"
        }
        CompleteErrorKind::Lost => {
            "this attempt does not hold its claim in this database; roll back, and return an error. If this happens at \
             every delivery, give the layer `with_store(SqlStore…)` on the same database and `search_path`"
        }
        CompleteErrorKind::Database if source.is_some_and(is_invalid_schema) => {
            "the layer keeps its claims elsewhere, because the table `roomz_claims` is missing or different here; \
             give the layer `with_store(SqlStore…)` on the same database and `search_path`"
        }
        CompleteErrorKind::Database => {
            "the database failed; roll back, and return an error, so that the event is delivered again"
        }
    }
}

debug_error_chain!(CompleteError);
