//! What is counted and logged. Everything that is said about a request is said here, and none of it holds a secret, a
//! signature or a body.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::time::Duration;

use http::Response;
use roomz_protocol::{Event, EventData};
use tokio::time::Instant;

use crate::answer::Skipped;
use crate::refusal::Rejection;
use crate::store::StoreError;

#[cfg(feature = "metrics")]
use metrics::{counter, gauge, histogram};

/// Without the feature nothing is counted and the labels are not evaluated.
#[cfg(not(feature = "metrics"))]
mod off {
    pub(super) struct Off;
    impl Off {
        pub(super) fn increment(&self, _: impl Sized) {}
        pub(super) fn decrement(&self, _: impl Sized) {}
        pub(super) fn record(&self, _: impl Sized) {}
    }
    macro_rules! off {
        ($($ignored:tt)*) => {
            $crate::measure::off::Off
        };
    }
    pub(super) use {off as counter, off as gauge, off as histogram};
}
#[cfg(not(feature = "metrics"))]
use off::{counter, gauge, histogram};

/// An operation of the store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Claim,
    Renew,
    Complete,
    Release,
}

impl Operation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Renew => "renew",
            Self::Complete => "complete",
            Self::Release => "release",
        }
    }
}

pub(crate) fn verified(secret: usize) {
    let position = match secret {
        0 => "0",
        1 => "1",
        2 => "2",
        _ => "3+",
    };
    tracing::trace!(secret = position, "verified");
    counter!("roomz_webhook_verified_total", "secret" => position).increment(1);
}

pub(crate) fn age(age: Duration) {
    histogram!("roomz_webhook_event_age_seconds").record(age.as_secs_f64());
}

pub(crate) fn accepted(event: &Event, attempt: u32) {
    counter!("roomz_webhook_accepted_total").increment(1);
    if let EventData::Unknown(unknown) = &event.data {
        tracing::warn!(attempt, "accepted, without a type for its data: {}", unknown.reason());
        counter!("roomz_webhook_unknown_total").increment(1);
    } else {
        tracing::debug!(attempt, "accepted");
    }
}

pub(crate) fn handled<B>(response: &Response<B>) {
    match response.extensions().get() {
        Some(skipped) => self::skipped(*skipped),
        None => {
            tracing::debug!(status = response.status().as_u16(), "handled");
            counter!("roomz_webhook_handled_total").increment(1);
        }
    }
}

pub(crate) fn skipped(skipped: Skipped) {
    tracing::info!(why = skipped.as_str(), "skipped");
    counter!("roomz_webhook_skipped_total", "why" => skipped.as_str()).increment(1);
}

pub(crate) fn released(why: &dyn fmt::Display) {
    tracing::warn!("given back for a redelivery: the handler {why}");
    counter!("roomz_webhook_released_total").increment(1);
}

pub(crate) fn rejected(rejection: &Rejection) {
    tracing::info!(
        status = rejection.status().as_u16(),
        reason = rejection.reason(),
        "rejected: {rejection}"
    );
    counter!("roomz_webhook_rejected_total", "reason" => rejection.reason()).increment(1);
}

pub(crate) fn id_reused() {
    tracing::warn!("the event's id is known with another body");
    counter!("roomz_webhook_id_reused_total").increment(1);
}

pub(crate) fn lost() {
    tracing::warn!("the claim was taken over before it was settled: the event may be handled twice");
    counter!("roomz_webhook_lost_total").increment(1);
}

pub(crate) fn evicted_early() {
    counter!("roomz_webhook_evicted_early_total").increment(1);
}

pub(crate) fn store_error(operation: Operation, error: &StoreError) {
    tracing::error!(operation = operation.as_str(), "{}", with_causes(error));
    count_store_error(operation);
}

/// One more failure of what is tried again in the background.
pub(crate) fn store_error_again(operation: Operation, error: &StoreError) {
    tracing::debug!(operation = operation.as_str(), "{}", with_causes(error));
    count_store_error(operation);
}

/// The last failure of what was tried again in the background.
pub(crate) fn gave_up(operation: Operation, error: &StoreError) {
    let then = match operation {
        Operation::Complete => "handled, but the store does not know it: a redelivery is handled again",
        _ => "not given back: the event is free when its lease ends",
    };
    tracing::error!(operation = operation.as_str(), "gave up, {then}: {}", with_causes(error));
    count_store_error(operation);
}

#[cfg_attr(not(feature = "metrics"), allow(unused_variables))]
fn count_store_error(operation: Operation) {
    counter!("roomz_webhook_store_errors_total", "operation" => operation.as_str()).increment(1);
}

fn with_causes(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// Counts a handler as running until dropped, and then records for how long it ran.
pub(crate) fn running() -> Running {
    gauge!("roomz_webhook_in_flight").increment(1.0);
    Running { start: Instant::now() }
}

pub(crate) struct Running {
    start: Instant,
}

impl Drop for Running {
    fn drop(&mut self) {
        gauge!("roomz_webhook_in_flight").decrement(1.0);
        histogram!("roomz_webhook_handling_seconds").record(self.start.elapsed().as_secs_f64());
    }
}
