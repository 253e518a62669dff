use http::StatusCode;
use roomz_webhook::Rejection;

use super::forward::Forwarded;
use crate::escape::escape_truncated;
use crate::event_text::describe;
use crate::output::{DIM_STYLE, ERROR_STYLE, SUCCESS_STYLE, format_duration};
use crate::saved_delivery::SavedDelivery;

/// A longer body is cut on the terminal.
const MAX_BODY_CHARS: usize = 2_000;

/// The result of verifying a signature; `None` when there is no secret to verify it with.
pub(super) type Check = Option<Result<(), Rejection>>;

/// Formats a delivery on three lines: the request, the event, the body. All received text is escaped.
pub(super) fn format_delivery(
    delivery: &SavedDelivery,
    check: &Check,
    status: StatusCode,
    forwarded: Option<Forwarded>,
) -> String {
    let check = match check {
        None => "not verified (no secret)".to_owned(),
        Some(Ok(())) => format!("{SUCCESS_STYLE}verified{SUCCESS_STYLE:#}"),
        Some(Err(rejection)) => format!("{ERROR_STYLE}NOT VERIFIED{ERROR_STYLE:#}: {rejection}"),
    };
    let answer = match forwarded {
        None => "answered".to_owned(),
        Some(Forwarded::Answered(_)) => "the receiver answered".to_owned(),
        Some(Forwarded::Failed) => format!("{ERROR_STYLE}not forwarded{ERROR_STYLE:#}, answered"),
    };
    let after = match forwarded {
        Some(Forwarded::Answered(elapsed)) => format!(" in {}", format_duration(elapsed.as_micros())),
        _ => String::new(),
    };
    format!(
        "{} POST {} {check}, {answer} {}{after}\n  {}\n  {DIM_STYLE}{}{DIM_STYLE:#}\n",
        delivery.received,
        escape_truncated(&delivery.path, 200),
        status.as_u16(),
        escape_truncated(&describe(&delivery.body), 500),
        escape_truncated(&String::from_utf8_lossy(&delivery.body), MAX_BODY_CHARS),
    )
}
