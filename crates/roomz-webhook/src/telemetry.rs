//! Every log line and every metric of the layer. None of them holds a secret, a signature or a body.
//!
//! Log messages are constant and have the target `roomz_webhook`; the variable part is in fields.

use std::error::Error;
use std::time::Duration;

use http::{Response, StatusCode};
use roomz_protocol::{Event, EventData, PresenceStatus};
use tokio::time::Instant;

use crate::error_chain::ErrorChain;
use crate::response::{Rejection, RejectionKind, Skipped};

#[cfg(feature = "metrics")]
use metrics::{counter, gauge, histogram};

/// Replaces the macros of the `metrics` crate when the feature is off. Labels are then not evaluated.
#[cfg(not(feature = "metrics"))]
mod disabled {
    pub(super) struct Disabled;
    impl Disabled {
        pub(super) fn increment(&self, _: impl Sized) {}
        pub(super) fn decrement(&self, _: impl Sized) {}
        pub(super) fn record(&self, _: impl Sized) {}
    }
    macro_rules! disabled {
        ($($ignored:tt)*) => {
            $crate::telemetry::disabled::Disabled
        };
    }
    pub(super) use {disabled as counter, disabled as gauge, disabled as histogram};
}
#[cfg(not(feature = "metrics"))]
use disabled::{counter, gauge, histogram};

const TARGET: &str = "roomz_webhook";

/// Without metrics, a time that only they record is not measured.
pub(crate) const METRICS_ENABLED: bool = cfg!(feature = "metrics");

/// A store operation, for logs and metric labels.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Claim,
    Renew,
    Complete,
    Release,
}

impl Operation {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Renew => "renew",
            Self::Complete => "complete",
            Self::Release => "release",
        }
    }
}

/// The span of everything from the claim on. `tenant` is the tenant's namespace, for a layer with tenants.
pub(crate) fn delivery_span(event: &Event, tenant: Option<&str>) -> tracing::Span {
    tracing::info_span!(
        target: TARGET, "roomz_webhook", event.id = %event.id, event.r#type = %event.event_type, tenant,
    )
}

/// Anybody can cause it, so it is below INFO. The rejection is logged next.
pub(crate) fn body_failed(error: &dyn Error) {
    tracing::debug!(target: TARGET, error = %ErrorChain(error), "body not readable");
}

/// Anybody can cause a lookup, so at most one failure per minute is an error, and the others are below INFO.
pub(crate) fn tenant_lookup_failed(is_error: bool, error: &dyn Error) {
    if is_error {
        tracing::error!(target: TARGET, error = %ErrorChain(error), "tenant lookup failed");
    } else {
        tracing::debug!(target: TARGET, error = %ErrorChain(error), "tenant lookup failed");
    }
    counter!("roomz_webhook_tenant_lookup_errors_total").increment(1);
}

/// Anybody can cause it, so it is below INFO. The answer is the same as for a wrong signature.
pub(crate) fn tenant_unknown() {
    tracing::debug!(target: TARGET, "tenant unknown");
}

pub(crate) fn nested_layers(namespace: &str) {
    tracing::error!(
        target: TARGET, namespace, hint = "remove one layer, or give them different namespaces",
        "nested webhook layers",
    );
}

/// `tenant` is the tenant's namespace, for a layer with tenants.
/// The value of the label `secret`.
pub(crate) const fn position(secret_index: usize) -> &'static str {
    match secret_index {
        0 => "0",
        1 => "1",
        2 => "2",
        _ => "3+",
    }
}

#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
pub(crate) fn verified(secret_index: usize, tenant: Option<&str>) {
    let position = position(secret_index);
    tracing::trace!(target: TARGET, secret = position, tenant, "signature verified");
    match tenant {
        Some(tenant) => {
            counter!("roomz_webhook_verified_total", "secret" => position, "tenant" => tenant.to_owned())
                .increment(1);
        }
        None => counter!("roomz_webhook_verified_total", "secret" => position).increment(1),
    }
}

pub(crate) fn event_age(age: Duration) {
    histogram!("roomz_webhook_event_age_seconds").record(age.as_secs_f64());
}

pub(crate) fn accepted(event: &Event, attempt: u32) {
    counter!("roomz_webhook_accepted_total").increment(1);
    if let EventData::Unknown(unknown) = &event.data {
        tracing::warn!(target: TARGET, attempt, reason = %unknown.reason(), "event has unknown data");
        counter!("roomz_webhook_unknown_total").increment(1);
    } else {
        tracing::debug!(target: TARGET, attempt, "event accepted");
    }
    if let EventData::WorkspacePresenceChanged(change) = &event.data
        && let PresenceStatus::Other(status) = &change.presence_status
    {
        tracing::warn!(target: TARGET, attempt, status = %status, "event has unknown status");
        counter!("roomz_webhook_unknown_status_total").increment(1);
    }
}

/// The handler answered 2xx. An extractor may have answered for it, with [`Skipped`].
pub(crate) fn completed<B>(response: &Response<B>) {
    match response.extensions().get() {
        Some(skipped) => self::skipped(*skipped),
        None => {
            tracing::info!(target: TARGET, status = response.status().as_u16(), "event handled");
            counter!("roomz_webhook_handled_total").increment(1);
        }
    }
}

pub(crate) fn skipped(skipped: Skipped) {
    tracing::info!(target: TARGET, reason = skipped.as_str(), "event skipped");
    counter!("roomz_webhook_skipped_total", "reason" => skipped.as_str()).increment(1);
}

pub(crate) fn released(reason: &'static str, status: Option<StatusCode>) {
    let status = status.map(|status| status.as_u16());
    tracing::warn!(target: TARGET, reason, status, "event released for a redelivery");
    counter!("roomz_webhook_released_total").increment(1);
}

/// At most once a minute, because anybody can cause it.
pub(crate) fn unsigned_requests_rejected(count: u64, last_reason: &'static str) {
    tracing::info!(
        target: TARGET, count, last_reason,
        hint = "number since the last such line; each one is logged at DEBUG, and counted in roomz_webhook_rejected_total",
        "unsigned requests rejected",
    );
}

/// Rejections that anybody can cause are below INFO, so that a flood of forged requests does not flood the log.
pub(crate) fn rejected(rejection: &Rejection) {
    let (reason, status) = (rejection.reason(), rejection.status().as_u16());
    match rejection.kind() {
        kind if kind.is_unauthenticated() => {
            tracing::debug!(target: TARGET, reason, status, detail = %rejection, "delivery rejected");
        }
        // The cause, where it needs action, is logged before, as an error or a warning.
        RejectionKind::InFlight
        | RejectionKind::StoreUnavailable
        | RejectionKind::ShuttingDown
        | RejectionKind::HandlerPanicked
        | RejectionKind::NestedLayers => {
            tracing::info!(target: TARGET, reason, status, detail = %rejection, "delivery rejected");
        }
        _ => tracing::warn!(target: TARGET, reason, status, detail = %rejection, "delivery rejected"),
    }
    counter!("roomz_webhook_rejected_total", "reason" => reason).increment(1);
}

pub(crate) fn id_reused() {
    tracing::warn!(target: TARGET, "event id received with another body");
    counter!("roomz_webhook_id_reused_total").increment(1);
}

pub(crate) fn claim_lost() {
    tracing::warn!(target: TARGET, hint = "the event may be handled twice", "claim lost");
    counter!("roomz_webhook_claims_lost_total").increment(1);
}

pub(crate) fn claim_taken_over() {
    tracing::warn!(target: TARGET, hint = "another delivery claimed or handled the event", "claim taken over");
}

pub(crate) fn claim_restored() {
    tracing::warn!(
        target: TARGET, hint = "the store lost it; a duplicate may have run meanwhile", "claim restored",
    );
    counter!("roomz_webhook_claims_restored_total").increment(1);
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
    counter!("roomz_webhook_evicted_early_total").increment(1);
}

pub(crate) fn store_error(operation: Operation, error: &dyn Error) {
    tracing::error!(
        target: TARGET, operation = operation.as_str(), error = %ErrorChain(error), "store operation failed",
    );
    count_store_error(operation);
}

/// A failed retry in the background. The first failure was logged as an error.
pub(crate) fn store_retry_failed(operation: Operation, error: &dyn Error) {
    tracing::debug!(
        target: TARGET, operation = operation.as_str(), error = %ErrorChain(error), "store retry failed",
    );
    count_store_error(operation);
}

/// At most once a minute, because each probe during an outage can cause it.
pub(crate) fn readiness_check_failed(count: u64, error: &dyn Error) {
    tracing::warn!(target: TARGET, count, error = %ErrorChain(error), "readiness check failed");
}

/// `error` is `None` if the settlement could not be tried, because too many were pending.
pub(crate) fn settlement_abandoned(operation: Operation, error: Option<&dyn Error>) {
    let consequence = match operation {
        Operation::Complete => "the event was handled; a redelivery runs the handler again",
        _ => "the event was not released; a redelivery runs when its lease ends",
    };
    let error =
        error.map_or("too many settlements are pending".into(), |error| ErrorChain(error).to_string());
    tracing::error!(
        target: TARGET, operation = operation.as_str(), error, consequence, "settlement abandoned",
    );
    counter!("roomz_webhook_settlements_abandoned_total", "operation" => operation.as_str()).increment(1);
}

/// Each delivery during an outage can cause it, and the outage itself is logged as an error.
pub(crate) fn unconfirmed_claim_abandoned() {
    tracing::debug!(target: TARGET, hint = "its lease ends it", "unconfirmed claim not released");
    counter!("roomz_webhook_settlements_abandoned_total", "operation" => Operation::Release.as_str())
        .increment(1);
}

/// Counts a settlement in the background until the guard is dropped.
pub(crate) fn settlement_pending() -> PendingGuard {
    gauge!("roomz_webhook_pending_settlements").increment(1.0);
    PendingGuard(())
}

pub(crate) struct PendingGuard(());

impl Drop for PendingGuard {
    fn drop(&mut self) {
        gauge!("roomz_webhook_pending_settlements").decrement(1.0);
    }
}

/// Logs a warning if it is dropped before [`settled`](Self::settled) is called: the runtime shut down while the handler ran.
pub(crate) struct UnsettledGuard {
    is_settled: bool,
}

impl UnsettledGuard {
    pub(crate) const fn new() -> Self {
        Self { is_settled: false }
    }

    pub(crate) fn settled(mut self) {
        self.is_settled = true;
    }
}

impl Drop for UnsettledGuard {
    fn drop(&mut self) {
        if !self.is_settled {
            tracing::warn!(
                target: TARGET,
                hint = "its runtime shut down; a redelivery can run the event after the lease ends",
                "handler cancelled",
            );
        }
    }
}

#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
fn count_store_error(operation: Operation) {
    counter!("roomz_webhook_store_errors_total", "operation" => operation.as_str()).increment(1);
}

/// Measures a store operation until the guard is dropped.
pub(crate) fn store_called(operation: Operation) -> StoreGuard {
    StoreGuard { start: METRICS_ENABLED.then(Instant::now), operation }
}

pub(crate) struct StoreGuard {
    start: Option<Instant>,
    #[cfg_attr(not(feature = "metrics"), allow(dead_code))]
    operation: Operation,
}

impl Drop for StoreGuard {
    fn drop(&mut self) {
        if let Some(start) = self.start {
            histogram!("roomz_webhook_store_seconds", "operation" => self.operation.as_str())
                .record(start.elapsed().as_secs_f64());
        }
    }
}

/// Counts a handler as in flight until the guard is dropped, which records its duration.
pub(crate) fn handler_started() -> HandlerGuard {
    gauge!("roomz_webhook_in_flight").increment(1.0);
    HandlerGuard { start: METRICS_ENABLED.then(Instant::now) }
}

pub(crate) struct HandlerGuard {
    start: Option<Instant>,
}

impl Drop for HandlerGuard {
    fn drop(&mut self) {
        gauge!("roomz_webhook_in_flight").decrement(1.0);
        if let Some(start) = self.start {
            histogram!("roomz_webhook_handling_seconds").record(start.elapsed().as_secs_f64());
        }
    }
}
