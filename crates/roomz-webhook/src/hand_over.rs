use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{Request, Response};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt as _};

use crate::ask::ask;
use crate::body::WebhookBody;
use crate::claim::Held;
use crate::layer::Receiver;
use crate::measure::{self, Operation};
use crate::store::Settled;

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
        // Unconstrained, because a handler that always finds something to do uses up the task's budget, and a timer
        // without budget is never set.
        never = tokio::task::unconstrained(keep_lease(receiver, held)) => match never {},
    }
}

async fn keep_lease(receiver: &Receiver, held: &Held) -> Infallible {
    let settings = &receiver.settings;
    let (start, whole) = (Instant::now(), settings.lease / 3);
    let after_an_error = Duration::from_secs(1).min(settings.lease / 10);
    let mut pause = whole;
    loop {
        sleep(pause).await;
        let left = settings.lease_ceiling.saturating_sub(start.elapsed());
        let lease = settings.lease.min(left);
        // Stores count in milliseconds.
        if lease < Duration::from_millis(1) {
            tracing::warn!(
                ceiling = ?settings.lease_ceiling,
                "the handler outlives the ceiling of its lease: a redelivery may run beside it from now on",
            );
            return std::future::pending().await;
        }
        pause = match ask(settings, settings.store.renew(&held.key, held.request.owner, lease)).await {
            Ok(Settled::Applied) => whole,
            Ok(Settled::Lost) => {
                if !held.unconfirmed {
                    tracing::warn!("the claim was taken over while the handler runs");
                }
                return std::future::pending().await;
            }
            Err(error) => {
                measure::store_error(Operation::Renew, &error);
                after_an_error
            }
        };
    }
}
