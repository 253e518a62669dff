use std::time::Duration;

use roomz_webhook::store::ConnectError;
use tokio::time::timeout;

use crate::db::dialect::Dialect;
use crate::db::error::{connect_error, no_reply};
use crate::db::statement::Statement;

pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_millis(1_500);
const MIN_TIMEOUT: Duration = Duration::from_millis(1);
const MAX_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Returns the timeout, or the nearest one that is permitted.
pub fn permitted(timeout: Duration) -> Duration {
    timeout.clamp(MIN_TIMEOUT, MAX_TIMEOUT)
}

/// The settings of connecting.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether missing tables are created.
    pub migrations: bool,
    /// The most connections to PostgreSQL that execute statements of the layer.
    pub worker_connections: u32,
    /// The most connections to PostgreSQL for transactions of handlers. 0 if there are no handlers.
    pub handler_connections: u32,
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
    /// The statements that `connect` executes in a transaction that it rolls back.
    pub tests: fn(Dialect) -> Vec<&'static Statement>,
    /// Statements that `connect` executes after the tests.
    pub test_script: &'static str,
}

impl Settings {
    pub fn new(tests: fn(Dialect) -> Vec<&'static Statement>) -> Self {
        Self {
            migrations: true,
            worker_connections: 2,
            handler_connections: 0,
            connect_timeout: Duration::from_secs(2),
            response_timeout: RESPONSE_TIMEOUT,
            tests,
            test_script: "",
        }
    }

    /// Fails if a step of connecting takes longer than its timeout.
    pub(crate) async fn within<T>(
        &self,
        step: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        timeout(self.connect_timeout, step).await.unwrap_or_else(|_| Err(connect_error(no_reply())))
    }

    /// The same for a step that is executed by the database.
    pub(crate) async fn execute<T>(
        &self,
        step: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, ConnectError> {
        self.within(async { step.await.map_err(connect_error) }).await
    }
}
