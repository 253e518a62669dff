use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt as _, TryFutureExt as _};

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
