use std::time::Duration;

use roomz_sql::db::backoff::Backoff;
use tower_service::Service;

use crate::error::BoxError;
use crate::job::Job;
use roomz_webhook::roomz_protocol::Payload;

/// A service that a worker can run.
pub(crate) trait Handler<T: Payload>:
    Service<Job<T>, Response = (), Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static
{
}

impl<S, T: Payload> Handler<T> for S where
    S: Service<Job<T>, Response = (), Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + 'static
{
}

/// The settings of a worker.
#[derive(Clone, Debug)]
pub(crate) struct WorkerSettings {
    pub(crate) concurrency: usize,
    pub(crate) lease: Duration,
    pub(crate) handler_timeout: Duration,
    pub(crate) max_attempts: u32,
    pub(crate) max_age: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) poll_interval: Duration,
    pub(crate) dead_letter_retention: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            concurrency: 10,
            lease: Duration::from_secs(60),
            handler_timeout: Duration::from_secs(5 * 60),
            max_attempts: 25,
            max_age: Duration::from_secs(3 * 24 * 60 * 60),
            backoff: Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60 * 60) },
            poll_interval: Duration::from_millis(500),
            dead_letter_retention: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}
