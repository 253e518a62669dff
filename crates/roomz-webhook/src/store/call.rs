use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use super::error::StoreError;
use crate::call::{Panicked, catch_panic, timeout_if_pending};
use crate::telemetry::{self, Operation};

/// Calls the store with a timeout. A store that panics has failed: the delivery must still be answered and
/// settled.
pub(crate) async fn call_store<T, F>(
    store_timeout: Duration,
    operation: Operation,
    call: impl FnOnce() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    // The closure is called inside the future, so that a panic before the store returns its future is caught
    // too.
    let call = pin!(catch_panic(async { call().await }));
    let _guard = telemetry::store_called(operation);
    match timeout_if_pending(store_timeout, call).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(Panicked)) => Err(StoreError::unavailable("the store panicked")),
        Err(_) => Err(StoreError::timed_out()),
    }
}
