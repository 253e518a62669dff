use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{Request, Response};
use tokio::time::{Instant, sleep};
use tower_service::Service;

use super::held::HeldClaim;
use crate::body::WebhookBody;
use crate::state::Shared;
use crate::store::{Settled, call_store};
use crate::telemetry::{self, Operation};

/// The handler panicked. The panic hook received its message, which may hold anything and is not repeated here.
pub(crate) struct HandlerPanicked;

/// Check 10: runs the inner service, and renews the claim's lease while it runs.
pub(crate) async fn run<S, B>(
    shared: &Shared,
    held: &HeldClaim,
    service: S,
    request: Request<WebhookBody>,
) -> Result<Result<Response<B>, S::Error>, HandlerPanicked>
where
    S: Service<Request<WebhookBody>, Response = Response<B>>,
{
    let _guard = telemetry::handler_started();
    let handler = AssertUnwindSafe(call_when_ready(service, request)).catch_unwind();
    tokio::select! {
        // The handler is polled first: one that completes at once costs no timer.
        biased;
        outcome = handler => outcome.map_err(|_| HandlerPanicked),
        // Unconstrained, because a handler that is always busy uses up the task's budget, and without budget the renewal
        // timer would never be polled.
        never = tokio::task::unconstrained(renew_lease(shared, held)) => match never {},
    }
}

/// Waits until the service is ready, then calls it. `Webhook::poll_ready` does not poll the inner service.
pub(crate) async fn call_when_ready<S, R>(mut service: S, request: R) -> Result<S::Response, S::Error>
where
    S: Service<R>,
{
    poll_fn(|cx| service.poll_ready(cx)).await?;
    let response = service.call(request);
    // A service may hold a permit or a connection: it is not kept while the response is awaited.
    drop(service);
    response.await
}

async fn renew_lease(shared: &Shared, held: &HeldClaim) -> Infallible {
    let config = &shared.config;
    let start = Instant::now();
    let renew_interval = config.lease / 3;
    let retry_interval = Duration::from_secs(1).min(config.lease / 10);
    let mut interval = renew_interval;
    loop {
        sleep(interval).await;
        let lease = config.lease.min(config.lease_ceiling.saturating_sub(start.elapsed()));
        // Stores count in milliseconds.
        if lease < Duration::from_millis(1) {
            telemetry::lease_ceiling_reached(config.lease_ceiling);
            return std::future::pending().await;
        }
        let renewal = config.store.renew(&held.key, held.request.owner, lease);
        interval = match call_store(config.store_timeout, renewal).await {
            Ok(Settled::Applied) => renew_interval,
            Ok(Settled::Lost) => {
                // An unconfirmed claim may never have been written.
                if !held.unconfirmed {
                    telemetry::claim_taken_over();
                }
                return std::future::pending().await;
            }
            Err(error) => {
                telemetry::store_error(Operation::Renew, &error);
                retry_interval
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A service may hold a permit, which must be free while the response is awaited.
    #[tokio::test]
    async fn drops_service_before_response() {
        let permit = Arc::new(());
        let held = Arc::downgrade(&permit);
        let service = tower::service_fn(move |(): ()| {
            let _permit = &permit;
            let held = held.clone();
            async move { Ok::<_, Infallible>(held.upgrade().is_none()) }
        });
        assert!(call_when_ready(service, ()).await.unwrap());
    }
}
