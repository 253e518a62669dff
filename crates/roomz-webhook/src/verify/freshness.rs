use std::time::Duration;

use roomz_protocol::Event;

use crate::config::{CLOCK_SKEW, Config, StalePolicy};
use crate::response::{EarlyResponse, RejectionKind, Skipped};
use crate::telemetry;

/// Check 8: the event's age, if a maximum is set. The metrics record the age in any case.
pub(crate) fn check(event: &Event, config: &Config) -> Result<(), EarlyResponse> {
    if config.max_age.is_none() && !telemetry::METRICS_ENABLED {
        return Ok(());
    }
    let age = config.clock.now().duration_since(event.timestamp);
    telemetry::event_age(Duration::try_from(age).unwrap_or_default());
    let Some((max_age, policy)) = config.max_age else { return Ok(()) };
    let kind = match Duration::try_from(age) {
        Ok(age) if age > max_age => RejectionKind::EventTooOld,
        Err(_) if age.unsigned_abs() > CLOCK_SKEW => RejectionKind::EventTooNew,
        _ => return Ok(()),
    };
    Err(match policy {
        StalePolicy::Reject => kind.into(),
        StalePolicy::Acknowledge => EarlyResponse::Skipped(Skipped::Stale),
    })
}
