use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Database, Error, Pool};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// The timeout for returning a connection to its pool, which pings it.
const RETURN_TIMEOUT: Duration = Duration::from_millis(1_500);

/// A connection that is borrowed from a pool. `Drop` closes it unless it was returned.
#[derive(Debug)]
pub(crate) struct Pooled<D: Database> {
    connection: Option<PoolConnection<D>>,
    /// Whether someone had left the connection inside a transaction. It can have other state, for example a
    /// lock, and is closed.
    pub(crate) is_left: bool,
    /// The pool spawns a task to close the connection, and `Drop` can run on a thread without a runtime.
    runtime: Handle,
}

impl<D: Database> Pooled<D> {
    /// Borrows a connection.
    pub(crate) async fn acquire(pool: &Pool<D>) -> Result<Self, Error> {
        let connection = Some(pool.acquire().await?);
        Ok(Self { connection, is_left: false, runtime: Handle::current() })
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
