use http::StatusCode;
use roomz_protocol::SIGNATURE_HEADER;

use super::signature_check::SignatureCheck;
use crate::escape::escape_truncated;
use crate::event_text::describe;
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
        escape_truncated(&describe(&delivery.body), 500),
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
