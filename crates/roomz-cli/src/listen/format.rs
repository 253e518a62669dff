use http::StatusCode;
use roomz_protocol::{Event, EventData, SIGNATURE_HEADER};

use super::signature_check::SignatureCheck;
use crate::escape::escape_truncated;
use crate::output::{DIM_STYLE, ERROR_STYLE, SUCCESS_STYLE};
use crate::saved_delivery::SavedDelivery;

/// A longer body is cut on the terminal.
const MAX_BODY_CHARS: usize = 2_000;

/// Formats a delivery on three lines: the request, the event, the body. All received text is escaped.
pub(super) fn format_delivery(
    delivery: &SavedDelivery,
    check: &SignatureCheck,
    status: StatusCode,
) -> String {
    let body = String::from_utf8_lossy(&delivery.body);
    format!(
        "{} {} {} {}, answered {}\n  {}\n  {DIM_STYLE}{}{DIM_STYLE:#}\n",
        delivery.received,
        delivery.method,
        escape_truncated(&delivery.path, 200),
        format_check(check),
        status.as_u16(),
        escape_truncated(&format_event(&delivery.body), 500),
        escape_truncated(&body, MAX_BODY_CHARS),
    )
}

fn format_check(check: &SignatureCheck) -> String {
    let problem = match check {
        SignatureCheck::Verified => return format!("{SUCCESS_STYLE}verified{SUCCESS_STYLE:#}"),
        SignatureCheck::NotVerified => return "not verified (no secret)".to_owned(),
        SignatureCheck::Missing => format!("the header {SIGNATURE_HEADER} is missing"),
        SignatureCheck::Repeated => format!("there is more than one header {SIGNATURE_HEADER}"),
        SignatureCheck::Malformed(error) => error.clone(),
        SignatureCheck::Mismatch => "the signature does not match the body and this secret".to_owned(),
    };
    format!("{ERROR_STYLE}NOT VERIFIED{ERROR_STYLE:#}: {problem}")
}

fn format_event(body: &[u8]) -> String {
    match Event::parse(body) {
        Err(error) => format!("not an event: {error}"),
        Ok(event) => match &event.data {
            EventData::WorkspacePresenceChanged(change) => format!(
                "event {} of {}: workspace {} is {}",
                event.id, event.timestamp, change.workspace_id, change.presence_status
            ),
            EventData::Unknown(unknown) => format!(
                "event {} of {}: {}, {}",
                event.id,
                event.timestamp,
                event.event_type,
                unknown.reason()
            ),
            _ => format!("event {} of {}: {}", event.id, event.timestamp, event.event_type),
        },
    }
}
