use std::time::Duration;

use roomz_protocol::Event;

use crate::answer::{Answer, Skipped};
use crate::measure;
use crate::refusal::{Rejection, RejectionKind};
use crate::settings::{Settings, StalePolicy};

/// Check 8: the event's age, when a maximum is set. Its age is measured in any case.
pub(crate) fn check(event: &Event, settings: &Settings) -> Result<(), Answer> {
    let age = settings.clock.now().duration_since(event.timestamp);
    measure::age(Duration::try_from(age).unwrap_or_default());
    let Some(max_age) = settings.max_age else { return Ok(()) };
    let kind = match Duration::try_from(age) {
        Ok(age) if age > max_age => RejectionKind::EventTooOld,
        Err(_) if age.unsigned_abs() > settings.clock_skew => RejectionKind::EventTooNew,
        _ => return Ok(()),
    };
    Err(match settings.stale_policy {
        StalePolicy::Reject => Rejection::new(kind).into(),
        StalePolicy::Acknowledge => Skipped::Stale.into(),
    })
}
