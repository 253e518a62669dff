//! Every log line and every metric of the layer. None of them holds a secret, a signature or a body.
//!
//! Log messages are constant and have the target `roomz_webhook`; the variable part is in fields.

mod log_interval;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "no_metrics.rs"]
mod metrics;

use std::error::Error;
use std::time::Duration;

use http::{Response, StatusCode};
use roomz_protocol::{Event, EventData, PresenceStatus, error_chain};
use scopeguard::{ScopeGuard, guard};
use tokio::time::Instant;

pub(crate) use self::log_interval::LogInterval;
#[cfg(feature = "metrics")]
pub use self::metrics::HISTOGRAM_BUCKETS;
use self::metrics::{add_to_gauge, count, count_by, record};
pub(crate) use self::metrics::{register, register_secrets};
use crate::response::{Rejection, RejectionKind, Skipped};

const TARGET: &str = "roomz_webhook";

/// Without metrics, a time that only they record is not measured.
pub(crate) const METRICS_ENABLED: bool = cfg!(feature = "metrics");

/// The span of everything from the claim on. `tenant` is the tenant's namespace, for a layer with tenants.
pub(crate) fn delivery_span(event: &Event, tenant: Option<&str>) -> tracing::Span {
    tracing::info_span!(
        target: TARGET, "roomz_webhook", event.id = %event.id, event.r#type = %event.event_type, tenant,
    )
}

/// Anybody can cause it, so it is below INFO. The rejection is logged next.
pub(crate) fn body_failed(error: &dyn Error) {
    tracing::debug!(target: TARGET, error = %error_chain(error), "body not readable");
}

/// Anybody can cause a lookup, so at most one failure per minute is an error, and the others are below INFO.
pub(crate) fn tenant_lookup_failed(is_error: bool, error: &dyn Error) {
    if is_error {
        tracing::error!(target: TARGET, error = %error_chain(error), "tenant lookup failed");
    } else {
        tracing::debug!(target: TARGET, error = %error_chain(error), "tenant lookup failed");
    }
    count("roomz_webhook_tenant_lookup_errors_total");
}

/// Anybody can cause it, so it is below INFO. The answer is the same as for a wrong signature.
pub(crate) fn tenant_unknown() {
    tracing::debug!(target: TARGET, "tenant unknown");
}

/// `tenant` is the tenant's namespace, for a layer with tenants.
pub(crate) fn verified(secret_position: usize, tenant: Option<&str>) {
    tracing::trace!(target: TARGET, secret_position, tenant, "signature verified");
    metrics::count_verified(secret_position, tenant);
}

pub(crate) fn event_age(age: Duration) {
    record("roomz_webhook_event_age_seconds", None, age);
}

/// Once per layer. `other` is from a request that anybody can send, so it is escaped and cut.
pub(crate) fn path_never_matched(path: &str, other: &str) {
    tracing::warn!(
        target: TARGET, path, other_path = other.escape_default().take(64).collect::<String>(),
        hint = "10 requests with a signature header passed unverified; set `with_path` to the path as the layer sees it, without the \
                prefix that a router removes (`nest`), or put the layer on the webhook's route",
        "path never matched",
    );
}

pub(crate) fn timestamp_in_future() {
    count("roomz_webhook_future_timestamps_total");
}

pub(crate) fn accepted(event: &Event, attempt: u32) {
    count("roomz_webhook_accepted_total");
    if let EventData::Unknown(unknown) = &event.data {
        tracing::warn!(target: TARGET, attempt, reason = %unknown.reason(), "event has unknown data");
        count("roomz_webhook_unknown_total");
    } else {
        tracing::debug!(target: TARGET, attempt, "event accepted");
    }
    if let EventData::WorkspacePresenceChanged(change) = &event.data
        && let PresenceStatus::Other(status) = &change.presence_status
    {
        tracing::warn!(target: TARGET, attempt, status = %status, "event has unknown status");
        count("roomz_webhook_unknown_status_total");
    }
}

/// The handler answered 2xx. An extractor may have answered for it, with [`Skipped`].
pub(crate) fn completed<B>(response: &Response<B>) {
    match response.extensions().get() {
        Some(skipped) => self::skipped(*skipped),
        None => {
            tracing::info!(target: TARGET, status = response.status().as_u16(), "event handled");
            count("roomz_webhook_handled_total");
        }
    }
}

pub(crate) fn skipped(skipped: Skipped) {
    tracing::info!(target: TARGET, reason = skipped.as_str(), "event skipped");
    count_by("roomz_webhook_skipped_total", "reason", skipped.as_str());
}

pub(crate) fn released(reason: &'static str, status: Option<StatusCode>) {
    let status = status.map(|status| status.as_u16());
    tracing::warn!(target: TARGET, reason, status, "event released for a redelivery");
    count("roomz_webhook_released_total");
}

/// At most once a minute, because anybody can cause it.
pub(crate) fn unsigned_requests_rejected(count: u64, last_reason: &'static str) {
    tracing::info!(
        target: TARGET, count, last_reason,
        hint = "number since the last such line; each one is logged at DEBUG, and counted in roomz_webhook_rejected_total",
        "unsigned requests rejected",
    );
}

/// Rejections that anybody can cause are below INFO, so that a flood of forged requests does not flood the
/// log.
pub(crate) fn rejected(rejection: &Rejection) {
    let (reason, status) = (rejection.kind().as_str(), rejection.status().as_u16());
    match rejection.kind() {
        kind if kind.is_unauthenticated() => {
            tracing::debug!(target: TARGET, reason, status, detail = %rejection, "delivery rejected");
        }
        // The cause, where it needs action, is logged before, as an error or a warning.
        RejectionKind::InFlight
        | RejectionKind::StoreUnavailable
        | RejectionKind::ShuttingDown
        | RejectionKind::HandlerPanicked => {
            tracing::info!(target: TARGET, reason, status, detail = %rejection, "delivery rejected");
        }
        _ => tracing::warn!(target: TARGET, reason, status, detail = %rejection, "delivery rejected"),
    }
    count_by("roomz_webhook_rejected_total", "reason", reason);
}

pub(crate) fn id_reused() {
    tracing::warn!(target: TARGET, "event id received with another body");
    count("roomz_webhook_id_reused_total");
}

pub(crate) fn claim_lost() {
    tracing::warn!(target: TARGET, hint = "the event may be handled twice", "claim lost");
    count("roomz_webhook_claims_lost_total");
}

pub(crate) fn claim_taken_over() {
    tracing::warn!(target: TARGET, hint = "another delivery claimed or handled the event", "claim taken over");
}

pub(crate) fn claim_restored() {
    tracing::warn!(
        target: TARGET, hint = "the store lost it; a duplicate may have run meanwhile", "claim restored",
    );
    count("roomz_webhook_claims_restored_total");
}

pub(crate) fn secret_has_copied_syntax() {
    tracing::warn!(
        target: TARGET,
        hint = "if ROOMZ shows the secret without quotation marks, `NAME=` in front or `;` behind, remove them",
        "webhook secret looks copied with the syntax of a file",
    );
}

pub(crate) fn lease_ceiling_reached(ceiling: Duration) {
    tracing::warn!(
        target: TARGET, ?ceiling, hint = "a redelivery may run beside the handler", "lease ceiling reached",
    );
}

/// Logs the first eviction of a store only.
pub(crate) fn evicted_early(is_first: bool, capacity: u64) {
    if is_first {
        tracing::warn!(
            target: TARGET, capacity,
            hint = "ids are evicted before their retention ends; raise the capacity or shorten the retention",
            "memory store full",
        );
    }
    count("roomz_webhook_evicted_early_total");
}

pub(crate) fn store_error(operation: &'static str, error: &dyn Error) {
    tracing::error!(
        target: TARGET, operation, error = %error_chain(error), "store operation failed",
    );
    count_by("roomz_webhook_store_errors_total", "operation", operation);
}

/// A failed retry in the background. The first failure was logged as an error.
pub(crate) fn store_retry_failed(operation: &'static str, error: &dyn Error) {
    tracing::debug!(
        target: TARGET, operation, error = %error_chain(error), "store retry failed",
    );
    count_by("roomz_webhook_store_errors_total", "operation", operation);
}

/// At most once a minute, because each probe during an outage can cause it.
pub(crate) fn readiness_check_failed(count: u64, error: &dyn Error) {
    tracing::warn!(target: TARGET, count, error = %error_chain(error), "readiness check failed");
}

/// `error` is `None` if the settlement could not be tried, because too many were pending.
pub(crate) fn settlement_abandoned(operation: &'static str, error: Option<&dyn Error>) {
    let consequence = match operation {
        "complete" => "the event was handled; a redelivery runs the handler again",
        _ => "the event was not released; a redelivery runs when its lease ends",
    };
    let error = error.map_or("too many settlements are pending".into(), error_chain);
    tracing::error!(
        target: TARGET, operation, error, consequence, "settlement abandoned",
    );
    count_by("roomz_webhook_settlements_abandoned_total", "operation", operation);
}

/// Each delivery during an outage can cause it, and the outage itself is logged as an error.
pub(crate) fn unconfirmed_claim_abandoned() {
    tracing::debug!(target: TARGET, hint = "its lease ends it", "unconfirmed claim not released");
    count_by("roomz_webhook_settlements_abandoned_total", "operation", "release");
}

/// Counts a settlement in the background until the guard is dropped.
pub(crate) fn settlement_pending() -> impl Send {
    count_until_drop("roomz_webhook_pending_settlements")
}

/// Measures a store operation until the guard is dropped.
pub(crate) fn store_called(operation: &'static str) -> impl Send {
    time_until_drop("roomz_webhook_store_seconds", Some(operation))
}

/// Counts a handler as in flight and measures it until the guards are dropped.
pub(crate) fn handler_started() -> impl Send {
    (count_until_drop("roomz_webhook_in_flight"), time_until_drop("roomz_webhook_handling_seconds", None))
}

fn count_until_drop(gauge: &'static str) -> impl Send {
    add_to_gauge(gauge, 1.0);
    guard(gauge, |gauge| add_to_gauge(gauge, -1.0))
}

fn time_until_drop(histogram: &'static str, operation: Option<&'static str>) -> impl Send {
    guard(METRICS_ENABLED.then(Instant::now), move |start| {
        if let Some(start) = start {
            record(histogram, operation, start.elapsed());
        }
    })
}

/// Logs a warning if the guard is dropped before `ScopeGuard::into_inner`: the runtime shut down while the
/// handler ran.
pub(crate) fn handler_cancelled_until_settled() -> ScopeGuard<(), impl FnOnce(())> {
    guard((), |()| {
        tracing::warn!(
            target: TARGET,
            hint = "its runtime shut down; a redelivery can run the event after the lease ends",
            "handler cancelled",
        );
    })
}
