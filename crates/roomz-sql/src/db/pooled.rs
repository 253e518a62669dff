use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Database, Error, Pool};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

/// The timeout for returning a connection to its pool, which pings it.
const RETURN_TIMEOUT: Duration = Duration::from_millis(1_500);

/// An SQLite file has one writer. Those of this process take turns in memory, because SQLite would let them
/// sleep. It keeps the connection of handlers between their transactions: a pool would ping it each time.
pub(crate) type Writer<D> = Arc<Mutex<Option<Pooled<D>>>>;

/// A connection that is borrowed from a pool. `Drop` closes it unless it was returned.
#[derive(Debug)]
pub(crate) struct Pooled<D: Database> {
    connection: Option<PoolConnection<D>>,
    /// Whether someone had left the connection inside a transaction. It can have other state, for example a
    /// lock, and is closed.
    pub(crate) is_left: bool,
    /// Whether the commit hook of a handler's connection lets it commit.
    pub(crate) may_commit: Arc<AtomicBool>,
    /// The locks of the writer and of the handlers, held until the transaction ends.
    pub(crate) turn: Option<(OwnedMutexGuard<Option<Self>>, OwnedMutexGuard<()>)>,
    /// The pool spawns a task to close the connection, and `Drop` can run on a thread without a runtime.
    runtime: Handle,
}

impl<D: Database> Pooled<D> {
    /// Borrows a connection.
    pub(crate) async fn acquire(pool: &Pool<D>) -> Result<Self, Error> {
        let connection = Some(pool.acquire().await?);
        let (runtime, may_commit) = (Handle::current(), Arc::default());
        Ok(Self { connection, is_left: false, may_commit, turn: None, runtime })
    }

    /// Returns the connection. It exists while the value does.
    pub(crate) fn connection(&mut self) -> Result<&mut D::Connection, Error> {
        self.connection.as_deref_mut().ok_or(Error::PoolClosed)
    }

    /// Returns a healthy connection to its pool.
    pub(crate) fn release(mut self) {
        if self.is_left {
            return;
        }
        // Unless the handler removed the commit hook, and with it the other owner of the permission.
        if let Some((mut kept, _)) = self.turn.take_if(|_| Arc::strong_count(&self.may_commit) > 1) {
            *kept = Some(self);
            return;
        }
        if let Some(mut connection) = self.connection.take() {
            // The pool pings the connection before it takes it back, and would wait for the reply without a
            // timeout.
            let _context = self.runtime.enter();
            drop(tokio::spawn(timeout(RETURN_TIMEOUT, connection.return_to_pool())));
        }
    }
}

impl<D: Database> Drop for Pooled<D> {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.close_on_drop();
            let _context = self.runtime.enter();
            drop(connection);
        }
    }
}
