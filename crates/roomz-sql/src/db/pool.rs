use std::any::Any;
use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roomz_webhook::store::async_trait;
use sqlx::pool::PoolOptions;
use sqlx::{Connection as _, Error};
use sqlx_core::transaction::TransactionManager as _;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::db::dialect::Dialect;
use crate::db::driver::{Driver, Protocol};
use crate::db::error::no_reply;
use crate::db::pooled::{Pooled, Writer};
use crate::db::statement::Statement;
use crate::db::suspects::Suspects;
use crate::db::value::{Row, Value};

/// How long a handler waits for a connection. On SQLite it waits for the other handlers.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// The timeout for the reply to a `BEGIN` or a `ROLLBACK`. An SQLite pool waits for up to 5 s for another
/// process.
const REPLY_TIMEOUT: Duration = Duration::from_secs(6);

/// The connections for the transactions of handlers.
#[derive(Clone, derive_more::Debug)]
#[debug("Pool")]
pub struct Pool {
    /// Begins a transaction, on either database.
    begin: Arc<dyn Fn() -> Beginning + Send + Sync>,
    suspects: Arc<Suspects>,
    pub dialect: Dialect,
    /// Whether a commit waits until it is durable.
    pub is_durable: bool,
}

type Beginning = Pin<Box<dyn Future<Output = Result<Box<dyn Transaction>, Error>> + Send>>;

/// An open transaction with a connection of its own. `Drop` closes the connection, which rolls the
/// transaction back.
#[async_trait]
pub trait Transaction: fmt::Debug + Send {
    /// Executes the last statement, and commits. Without a row, it fails and nothing is committed.
    async fn commit(
        self: Box<Self>,
        statement: &'static Statement,
        values: &[Value],
    ) -> Result<Vec<Row>, Error>;

    /// Rolls back and returns the connection to its pool.
    async fn rollback(self: Box<Self>) -> Result<(), Error>;

    /// Returns the connection of sqlx.
    fn connection(&mut self) -> Result<&mut (dyn Any + Send), Error>;
}

impl Pool {
    /// Transactions begin with this text.
    pub(crate) fn new<D: Driver>(
        pool: sqlx::Pool<D>,
        text: &str,
        suspects: Arc<Suspects>,
        writer: Option<Writer<D>>,
    ) -> Self {
        let text: Arc<str> = format!("{text}{}", D::BEGIN_HANDLER).into();
        // One handler at a time waits for the lock of the writer: the queue must not wait behind all of them.
        let writer = writer.map(|writer| (Arc::default(), writer));
        let begin = move || begin(pool.clone(), Arc::clone(&text), writer.clone());
        Self { begin: Arc::new(begin), suspects, dialect: D::DIALECT, is_durable: true }
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Result<Box<dyn Transaction>, Error> {
        let since = Instant::now();
        match (self.begin)().await {
            // Now the pool replaces each connection that is older than this failure.
            Err(Error::Io(_) | Error::Database(_)) => {
                self.suspect(since);
                (self.begin)().await
            }
            result => result,
        }
    }

    /// Replaces each connection without a reply since then before its next use, unless the pool is of the
    /// application.
    pub fn suspect(&self, since: Instant) {
        self.suspects.add(since);
    }
}

/// The options of a pool that replaces suspect connections.
pub(crate) fn pool_options<D: Driver>(max_connections: u32, suspects: &Arc<Suspects>) -> PoolOptions<D> {
    let suspects = Arc::clone(suspects);
    PoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(move |_, metadata| {
            let last_reply = Instant::now().checked_sub(metadata.idle_for);
            let is_suspect = last_reply.is_none_or(|last_reply| suspects.contains(last_reply));
            Box::pin(ready(Ok(!is_suspect)))
        })
}

type Turns<D> = (Arc<Mutex<()>>, Writer<D>);

fn begin<D: Driver>(pool: sqlx::Pool<D>, text: Arc<str>, turns: Option<Turns<D>>) -> Beginning {
    Box::pin(async move {
        let mut turn = None;
        if let Some((handlers, writer)) = turns {
            let both = async {
                let handler = handlers.lock_owned().await;
                (writer.lock_owned().await, handler)
            };
            turn = Some(timeout(ACQUIRE_TIMEOUT, both).await.map_err(|_| Error::PoolTimedOut)?);
        }
        let mut pooled = match turn.as_mut().and_then(|(kept, _)| kept.take()) {
            Some(kept) => kept,
            None => {
                let mut pooled = Pooled::acquire(&pool).await?;
                pooled.may_commit = D::commit_permission(pooled.connection()?).await?;
                pooled
            }
        };
        pooled.turn = turn;
        let connection = pooled.connection()?;
        let begun = timeout(REPLY_TIMEOUT, D::begin(connection, &text)).await;
        pooled.is_left = begun.map_err(|_| no_reply())??;
        pooled.may_commit.store(false, Ordering::SeqCst);
        Ok(Box::new(pooled) as Box<dyn Transaction>)
    })
}

#[async_trait]
impl<D: Driver> Transaction for Pooled<D> {
    async fn commit(
        mut self: Box<Self>,
        statement: &'static Statement,
        values: &[Value],
    ) -> Result<Vec<Row>, Error> {
        let connection = Self::connection(&mut self)?;
        if D::TransactionManager::get_transaction_depth(connection) > 1 {
            // sqlx may have sent the end of a savepoint without waiting for it.
            connection.ping().await?;
        }
        // Savepoints that the handler forgot.
        while D::TransactionManager::get_transaction_depth(connection) > 1 {
            D::TransactionManager::commit(connection).await?;
        }
        let end = Protocol::InTransaction(D::END_HANDLER);
        let rows = D::fetch(connection, &end, statement, &[values]).await?;
        if rows.is_empty() {
            return Err(Error::RowNotFound);
        }
        // Everything that the handler sent has been executed.
        self.may_commit.store(true, Ordering::SeqCst);
        D::TransactionManager::commit(Self::connection(&mut self)?).await?;
        self.release();
        Ok(rows)
    }

    async fn rollback(mut self: Box<Self>) -> Result<(), Error> {
        let connection = Self::connection(&mut self)?;
        let rolled_back = D::TransactionManager::rollback(connection);
        timeout(REPLY_TIMEOUT, rolled_back).await.map_err(|_| no_reply())??;
        // Otherwise the handler forgot a savepoint, and the connection is closed.
        if D::TransactionManager::get_transaction_depth(connection) == 0 {
            self.may_commit.store(true, Ordering::SeqCst);
            self.release();
        }
        Ok(())
    }

    fn connection(&mut self) -> Result<&mut (dyn Any + Send), Error> {
        let connection = Self::connection(self)?;
        if D::TransactionManager::get_transaction_depth(connection) == 0 {
            return Err(Error::Protocol("the transaction of the handler has ended".into()));
        }
        Ok(connection)
    }
}
