//! Calls of code that may panic or take too long: the handler, the store and the lookup of tenants.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::{FutureExt as _, TryFutureExt as _};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// A future panicked. The panic hook received its message, which may hold anything and is not repeated here.
#[derive(Debug)]
pub(crate) struct Panicked;

/// Runs a future and catches a panic in it, and a panic in the `Drop` of the panic's payload.
pub(crate) fn catch_panic<F: Future>(future: F) -> impl Future<Output = Result<F::Output, Panicked>> {
    AssertUnwindSafe(future).catch_unwind().map_err(|payload| {
        if let Err(second) = std::panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            // The payload of the second panic could panic as well.
            std::mem::forget(second);
        }
        Panicked
    })
}

/// Polls the future once, and sets a timeout only if it is pending. A timer reads the clock, which costs more
/// than a call of the memory store.
pub(crate) async fn timeout_if_pending<F: Future>(
    duration: Duration,
    mut future: Pin<&mut F>,
) -> Result<F::Output, Elapsed> {
    if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        return Ok(output);
    }
    // Boxed, because most futures are ready at once, and each future that calls this one would have room for
    // the timer.
    Box::pin(timeout(duration, future)).await
}
