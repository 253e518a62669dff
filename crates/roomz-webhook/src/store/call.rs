use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::timeout;

use super::error::StoreError;

/// Calls the store with a timeout. A store that panics has failed: the delivery must still be answered and settled.
pub(crate) async fn call_store<T>(
    store_timeout: Duration,
    operation: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match timeout(store_timeout, AssertUnwindSafe(operation).catch_unwind()).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(_)) => Err(StoreError::unavailable("the store panicked")),
        Err(_) => Err(StoreError::timed_out()),
    }
}
