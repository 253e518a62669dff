use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roomz_protocol::{EventId, Uuid};
use tokio::sync::Mutex;

use crate::config::{Config, StoreFailurePolicy};
use crate::log_interval::LogInterval;
use crate::store::{ClaimKey, Owner, StoreError, call_store};
use crate::telemetry::{self, Operation};

/// The result of a check of the store is used for this long, so that frequent probes do not load the store.
const REUSE: Duration = Duration::from_secs(1);

/// Why [`WebhookLayer::check_ready`](crate::WebhookLayer::check_ready) failed. The text reveals nothing about the store.
///
/// ```
/// use roomz_webhook::NotReady;
///
/// assert_eq!(NotReady::ShuttingDown.to_string(), "shutting down");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReady {
    /// [`begin_shutdown`](crate::WebhookLayer::begin_shutdown) was called, or [`drain`](crate::WebhookLayer::drain) runs.
    ShuttingDown,
    /// The store failed, or exceeded the store timeout. The log line `readiness check failed` has the cause.
    StoreUnavailable,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ShuttingDown => "shutting down",
            Self::StoreUnavailable => {
                "store unavailable; the log line `readiness check failed` has the cause"
            }
        })
    }
}

impl Error for NotReady {}

/// Whether a layer's shutdown has begun, and the last result of a check of its store.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    shutting_down: AtomicBool,
    /// Locked while a check runs: concurrent probes wait for its result.
    last_check: Mutex<Option<Check>>,
    failures: LogInterval,
}

#[derive(Clone, Copy, Debug)]
struct Check {
    time: Duration,
    succeeded: bool,
}

impl Readiness {
    pub(crate) fn begin_shutdown(&self) {
        self.shutting_down.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::SeqCst)
    }

    /// Returns whether the store can be used, from a check that is at most [`REUSE`] old.
    pub(crate) async fn is_store_available(&self, config: &Config) -> bool {
        // Deliveries are then handled without the store too.
        if config.store_failure_policy == StoreFailurePolicy::FailOpen {
            return true;
        }
        let mut last = self.last_check.lock().await;
        if let Some(check) = *last
            && config.clock.monotonic().saturating_sub(check.time) < REUSE
        {
            return check.succeeded;
        }
        let result = check_store(config).await;
        let time = config.clock.monotonic();
        *last = Some(Check { time, succeeded: result.is_ok() });
        if let Err(error) = &result
            && let Some(count) = self.failures.count(time)
        {
            telemetry::readiness_check_failed(count, error);
        }
        result.is_ok()
    }
}

/// Renews a claim that does not exist: it changes nothing, and fails where a claim would fail, also on a read-only server.
async fn check_store(config: &Config) -> Result<(), StoreError> {
    let key = ClaimKey::new(Arc::clone(&config.namespace), EventId::from(Uuid::from_u128(rand::random())));
    let renew = || config.store.renew(&key, Owner::random(), config.lease);
    call_store(config.store_timeout, Operation::Renew, renew).await.map(drop)
}
