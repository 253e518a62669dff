use std::convert::Infallible;
use std::future::poll_fn;
use std::time::Duration;

use http::{Request, Response};
use roomz_protocol::Event;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};
use tower_service::Service;

use super::held::HeldClaim;
use super::reclaim::{Reclaimed, reclaim};
use crate::body::WebhookBody;
use crate::panic::{Panicked, catch_panic};
use crate::response::RejectionKind;
use crate::state::Shared;
use crate::store::{Settled, StoreError, call_store};
use crate::telemetry::{self, Operation};

/// Check 10: runs the inner service, and renews the claim's lease while it waits to start and while it runs.
///
/// The outer error is the rejection for an inner service that did not start, or that panicked.
pub(crate) async fn run<S, B>(
    shared: &Shared,
    held: &HeldClaim,
    event: &Event,
    service: S,
    request: Request<WebhookBody>,
) -> Result<Result<Response<B>, S::Error>, RejectionKind>
where
    S: Service<Request<WebhookBody>, Response = Response<B>>,
{
    let handler = async {
        let _permit = start_permit(shared).await?;
        telemetry::accepted(event, held.attempt);
        let _guard = telemetry::handler_started();
        let response = catch_panic(call_when_ready(service, request)).await;
        response.map_err(|Panicked| RejectionKind::HandlerPanicked)
    };
    tokio::select! {
        // The handler is polled first: one that completes at once costs no timer.
        biased;
        outcome = handler => outcome,
        // Unconstrained, because a handler that is always busy uses up the task's budget, and without budget the renewal
        // timer would never be polled.
        never = tokio::task::unconstrained(renew_lease(shared, held)) => match never {},
    }
}

/// Waits while as many handlers run as the limit allows, for at most the duplicate wait.
async fn start_permit(shared: &Shared) -> Result<Option<SemaphorePermit<'_>>, RejectionKind> {
    let permit = match &shared.handler_permits {
        None => None,
        Some(permits) => tokio::select! {
            permit = timeout(shared.config.duplicate_wait, permits.acquire()) => match permit {
                Ok(permit) => permit.ok(),
                Err(_) => return Err(RejectionKind::Overloaded),
            },
            () = shared.draining.started() => return Err(RejectionKind::ShuttingDown),
        },
    };
    if shared.draining.is_active() { Err(RejectionKind::ShuttingDown) } else { Ok(permit) }
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
    let renew_interval = config.lease / 3;
    let retry_interval = Duration::from_secs(1).min(config.lease / 10);
    // Counted from the claim, because the handler may have blocked its thread since then.
    let mut next = held.claimed_at + renew_interval;
    loop {
        sleep_until(next).await;
        let called_at = Instant::now();
        let lease = config.lease.min(config.lease_ceiling.saturating_sub(held.claimed_at.elapsed()));
        // Stores count in milliseconds.
        if lease < Duration::from_millis(1) {
            telemetry::lease_ceiling_reached(config.lease_ceiling);
            return std::future::pending().await;
        }
        next = match renew(shared, held, lease).await {
            Ok(true) => called_at + renew_interval,
            Ok(false) => {
                telemetry::claim_taken_over();
                return std::future::pending().await;
            }
            Err(error) => {
                telemetry::store_error(Operation::Renew, &error);
                Instant::now() + retry_interval
            }
        };
    }
}

/// Renews the lease, or claims the event again if the store lost the claim. Returns whether the claim is held.
async fn renew(shared: &Shared, held: &HeldClaim, lease: Duration) -> Result<bool, StoreError> {
    let config = &shared.config;
    let renewal = || config.store.renew(&held.key, held.request.owner, lease);
    if call_store(config.store_timeout, renewal).await? == Settled::Applied {
        return Ok(true);
    }
    let is_held = reclaim(shared, held, lease).await? == Reclaimed::Held;
    // An unconfirmed claim may never have been written, so the store did not lose it.
    if is_held && !held.unconfirmed {
        telemetry::claim_restored();
    }
    Ok(is_held)
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
