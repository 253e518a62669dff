use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{Request, Response};
use tokio::time::{Instant, sleep, timeout};
use tower::{Service, ServiceExt as _};

use crate::body::WebhookBody;
use crate::claim::Held;
use crate::layer::Receiver;
use crate::measure::{self, Operation};
use crate::store::{Settled, StoreError};

/// The handler panicked. What it said went to the panic hook; it may hold anything and is not repeated.
pub(crate) struct Panicked;

/// Check 10: runs the service, and keeps the claim's lease alive while it runs.
pub(crate) async fn run<S, B>(
    receiver: &Receiver,
    held: &Held,
    service: S,
    request: Request<WebhookBody>,
) -> Result<Result<Response<B>, S::Error>, Panicked>
where
    S: Service<Request<WebhookBody>, Response = Response<B>>,
{
    let _running = measure::running();
    // `oneshot` waits until the service is ready, which a caller of ours may have forgotten to do.
    let handler = AssertUnwindSafe(async move { service.oneshot(request).await }).catch_unwind();
    tokio::select! {
        // A handler that is done at once costs no timer.
        biased;
        outcome = handler => outcome.map_err(|_| Panicked),
        never = keep_lease(receiver, held) => match never {},
    }
}

async fn keep_lease(receiver: &Receiver, held: &Held) -> Infallible {
    let settings = &receiver.settings;
    let start = Instant::now();
    loop {
        sleep(settings.lease / 3).await;
        let left = settings.lease_ceiling.saturating_sub(start.elapsed());
        let lease = settings.lease.min(left);
        if lease == Duration::ZERO {
            tracing::warn!(
                event.id = %held.key.id(),
                ceiling = ?settings.lease_ceiling,
                "the handler outlives the ceiling of its lease: a redelivery may run beside it from now on",
            );
            return std::future::pending().await;
        }
        let renewal = settings.store.renew(&held.key, held.owner, lease);
        match timeout(settings.store_timeout, renewal).await.unwrap_or_else(|_| Err(StoreError::timed_out()))
        {
            Ok(Settled::Applied) => {}
            Ok(Settled::Lost) => {
                tracing::warn!(event.id = %held.key.id(), "the claim was taken over while the handler runs");
                return std::future::pending().await;
            }
            Err(error) => measure::store_error(Operation::Renew, &error),
        }
    }
}
