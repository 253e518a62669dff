use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::time::timeout;

use crate::settings::Settings;
use crate::store::StoreError;

/// Asks the store, for as long as it may take. A store that panics has failed: what depends on it must still be said
/// and settled.
pub(crate) async fn ask<T>(
    settings: &Settings,
    operation: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match timeout(settings.store_timeout, AssertUnwindSafe(operation).catch_unwind()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(StoreError::unavailable("the store panicked")),
        Err(_) => Err(StoreError::timed_out()),
    }
}
