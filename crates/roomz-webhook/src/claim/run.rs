use std::convert::Infallible;
use std::future::poll_fn;
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response};
use tokio::time::{Instant, sleep_until};
use tower_service::Service;

use super::held::HeldClaim;
use super::reclaim::{Reclaimed, reclaim};
use crate::body::WebhookBody;
use crate::call::{Panicked, catch_panic};
use crate::delivery::Delivery;
use crate::response::RejectionKind;
use crate::state::Shared;
use crate::store::{OwnerUpdate, Settled, StoreError};
use crate::telemetry;

/// Check 10: runs the inner service, and renews the claim's lease while it waits to start and while it runs.
///
/// The outer error is the rejection for an inner service that did not start, or that panicked.
pub(crate) async fn run<S, B>(
    shared: &Shared,
    delivery: &Delivery,
    claimed_at: Instant,
    service: S,
    head: Box<Parts>,
) -> Result<Result<Response<B>, S::Error>, RejectionKind>
where
    S: Service<Request<WebhookBody>, Response = Response<B>>,
{
    let handler = async {
        let _guards = telemetry::handler_started();
        let handled = catch_panic(call_when_allowed(shared, delivery, service, head)).await;
        handled.unwrap_or_else(|Panicked| Err(RejectionKind::HandlerPanicked))
    };
    tokio::select! {
        // The handler is polled first: one that completes at once costs no timer.
        biased;
        outcome = handler => outcome,
        // Unconstrained, because a handler that is always busy uses up the task's budget, and without budget
        // the renewal timer would never be polled.
        never = tokio::task::unconstrained(renew_lease(shared, delivery.held(), claimed_at)) => match never {},
    }
}

/// Waits until the service is ready, then calls it, unless `drain` runs or the claim was lost meanwhile.
async fn call_when_allowed<S, B>(
    shared: &Shared,
    delivery: &Delivery,
    mut service: S,
    mut head: Box<Parts>,
) -> Result<Result<Response<B>, S::Error>, RejectionKind>
where
    S: Service<Request<WebhookBody>, Response = Response<B>>,
{
    let ready = tokio::select! {
        biased;
        ready = poll_fn(|cx| service.poll_ready(cx)) => ready,
        () = shared.draining.started() => return Err(RejectionKind::ShuttingDown),
    };
    if shared.draining.is_active() {
        return Err(RejectionKind::ShuttingDown);
    }
    // Another delivery of the event runs or was handled while this one waited to start.
    let held = delivery.held();
    if held.is_lost() || shared.unrecorded.get(&held.key).is_some() {
        return Err(RejectionKind::InFlight);
    }
    telemetry::accepted(delivery.event(), held.attempt());
    match ready {
        Ok(()) => {
            head.extensions.insert(delivery.clone());
            let body = WebhookBody::from(delivery.body().clone());
            Ok(call(service, Request::from_parts(*head, body)).await)
        }
        Err(error) => Ok(Err(error)),
    }
}

/// Waits until the service is ready, then calls it. `Webhook::poll_ready` does not poll the inner service.
pub(crate) async fn call_when_ready<S, R>(mut service: S, request: R) -> Result<S::Response, S::Error>
where
    S: Service<R>,
{
    poll_fn(|cx| service.poll_ready(cx)).await?;
    call(service, request).await
}

/// Calls a service that is ready. It may hold a permit or a connection, so it is dropped before the response
/// is awaited.
fn call<S: Service<R>, R>(mut service: S, request: R) -> S::Future {
    service.call(request)
}

async fn renew_lease(shared: &Shared, held: &HeldClaim, claimed_at: Instant) -> Infallible {
    let config = &shared.config;
    let renew_interval = config.lease / 3;
    let retry_interval = Duration::from_secs(1).min(config.lease / 10);
    // Counted from the claim, because the handler may have blocked its thread since then.
    let mut next = claimed_at + renew_interval;
    loop {
        // The timer and the renewal are boxed, because few handlers run that long.
        Box::pin(sleep_until(next)).await;
        let called_at = Instant::now();
        let lease = config.lease.min(config.lease_ceiling.saturating_sub(claimed_at.elapsed()));
        // Stores count in milliseconds.
        if lease.as_millis() == 0 {
            telemetry::lease_ceiling_reached(config.lease_ceiling);
            held.set_lost();
            return std::future::pending().await;
        }
        next = match Box::pin(renew(shared, held, lease)).await {
            Ok(Reclaimed::Held { .. }) => called_at + renew_interval,
            // The handler completed the event, for example in its own transaction, and still runs.
            Ok(Reclaimed::Completed) => return std::future::pending().await,
            Ok(Reclaimed::InFlight | Reclaimed::Done | Reclaimed::OtherBody) => {
                telemetry::claim_taken_over();
                held.set_lost();
                return std::future::pending().await;
            }
            Err(error) => {
                telemetry::store_error("renew", &error);
                Instant::now() + retry_interval
            }
        };
    }
}

/// Renews the lease, or claims the event again if the store lost the claim.
async fn renew(shared: &Shared, held: &HeldClaim, lease: Duration) -> Result<Reclaimed, StoreError> {
    let config = &shared.config;
    let renewal = OwnerUpdate::Renew { lease };
    if !held.is_unconfirmed()
        && config.store.update(&held.key, held.request.owner, renewal).await? == Settled::Applied
    {
        return Ok(Reclaimed::Held { attempt: held.attempt() });
    }
    let reclaimed = reclaim(shared, held, lease).await?;
    // The claim of a delivery that failed open may never have been written. A higher attempt means that
    // others had the claim meanwhile. In both cases, the store did not lose it.
    if matches!(reclaimed, Reclaimed::Held { attempt } if attempt <= held.attempt()) && !held.failed_open() {
        telemetry::claim_restored();
    }
    Ok(reclaimed)
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
