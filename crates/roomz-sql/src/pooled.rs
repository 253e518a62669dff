use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Database, Error, Pool};
use tokio::time::timeout;

/// A connection that a batch borrows from a pool. `Drop` closes it unless it was returned.
#[derive(Debug)]
pub struct Pooled<D: Database>(Option<PoolConnection<D>>);

impl<D: Database> Pooled<D> {
    /// Borrows a connection.
    ///
    /// # Errors
    ///
    /// The error of the pool.
    pub async fn acquire(pool: &Pool<D>) -> Result<Self, Error> {
        Ok(Self(Some(pool.acquire().await?)))
    }

    /// Returns the connection.
    ///
    /// # Errors
    ///
    /// None while the value exists.
    pub fn connection(&mut self) -> Result<&mut D::Connection, Error> {
        self.0.as_deref_mut().ok_or(Error::PoolClosed)
    }

    /// Returns a healthy connection to its pool.
    pub fn release(mut self, return_timeout: Duration) {
        if let Some(mut connection) = self.0.take() {
            // The pool pings the connection before it takes it back, and would wait for the reply without a timeout.
            drop(tokio::spawn(timeout(return_timeout, connection.return_to_pool())));
        }
    }
}

impl<D: Database> Drop for Pooled<D> {
    fn drop(&mut self) {
        if let Some(mut connection) = self.0.take() {
            connection.close_on_drop();
        }
    }
}
