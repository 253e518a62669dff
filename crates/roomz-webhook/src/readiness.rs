use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roomz_protocol::{EventId, Uuid};
use tokio::sync::Mutex;

use crate::config::Config;
use crate::store::{ClaimKey, Owner, OwnerUpdate, StoreError};
use crate::telemetry::{self, LogInterval};

/// The result of a check of the store is used for this long, so that frequent probes do not load the store.
const REUSE: Duration = Duration::from_secs(1);

/// Whether a layer's shutdown has begun, and the last result of a check of its store.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    shutting_down: AtomicBool,
    /// Locked while a check runs: concurrent probes wait for its result.
    ///
    /// When it ended, and whether it succeeded.
    last_check: Mutex<Option<(Duration, bool)>>,
    failures: LogInterval,
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
        if config.fails_open {
            return true;
        }
        let mut last = self.last_check.lock().await;
        if let Some((time, succeeded)) = *last
            && config.clock.monotonic().saturating_sub(time) < REUSE
        {
            return succeeded;
        }
        let result = check_store(config).await;
        let time = config.clock.monotonic();
        if let Err(error) = &result
            && let Some(count) = self.failures.count(time)
        {
            telemetry::readiness_check_failed(count, error);
        }
        last.insert((time, result.is_ok())).1
    }
}

/// Renews a claim that does not exist: it changes nothing, and fails where a claim would fail, also on a
/// read-only server.
async fn check_store(config: &Config) -> Result<(), StoreError> {
    let key = ClaimKey::new(Arc::clone(&config.namespace), EventId::from(Uuid::from_u128(rand::random())));
    let renewal = OwnerUpdate::Renew { lease: config.lease };
    config.store.update(&key, Owner::random(), renewal).await.map(drop)
}
