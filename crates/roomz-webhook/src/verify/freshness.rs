use std::time::Duration;

use roomz_protocol::{CLOCK_SKEW, Event};

use crate::config::{Config, StalePolicy};
use crate::response::{EarlyResponse, Rejection, RejectionKind, Skipped};
use crate::telemetry;

const UNKNOWN_AGE: &str = "the field `timestamp` is missing or not an RFC 3339 date-time with an offset, so the \
                           event's age is unknown, and this receiver has a maximum age";

/// Check 8: the event's age, if a maximum is set. The metrics record the age in any case.
pub(crate) fn check(event: &Event, config: &Config) -> Result<(), EarlyResponse> {
    if config.max_age.is_none() && !telemetry::METRICS_ENABLED {
        return Ok(());
    }
    let age = event.timestamp.map(|timestamp| config.clock.now().duration_since(timestamp));
    if let Some(age) = age {
        telemetry::event_age(Duration::try_from(age).unwrap_or_default());
        if age.is_negative() && age.unsigned_abs() > CLOCK_SKEW {
            telemetry::timestamp_in_future();
        }
    }
    let Some((max_age, policy)) = config.max_age else { return Ok(()) };
    let rejection = match age.map(Duration::try_from) {
        None => Rejection::with_detail(RejectionKind::EventMalformed, UNKNOWN_AGE.to_owned()),
        Some(Ok(age)) if age > max_age => RejectionKind::EventTooOld.into(),
        Some(Err(_)) if age.is_some_and(|age| age.unsigned_abs() > CLOCK_SKEW) => {
            RejectionKind::EventTooNew.into()
        }
        Some(_) => return Ok(()),
    };
    Err(match policy {
        StalePolicy::Reject => rejection.into(),
        StalePolicy::Acknowledge => EarlyResponse::Skipped(Skipped::Stale),
    })
}
