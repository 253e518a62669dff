use http::StatusCode;
use roomz_protocol::SIGNATURE_HEADER;
use serde_json::{Value, json};

use super::forward::Forwarded;
use super::signature_check::SignatureCheck;
use crate::escape::{escape_json, escape_truncated};
use crate::event_text::describe;
use crate::output::{DIM_STYLE, ERROR_STYLE, SUCCESS_STYLE, format_duration};
use crate::saved_delivery::SavedDelivery;

/// A longer body is cut on the terminal.
const MAX_BODY_CHARS: usize = 2_000;

/// Formats a delivery on three lines: the request, the event, the body. All received text is escaped.
pub(super) fn format_delivery(
    delivery: &SavedDelivery,
    check: &SignatureCheck,
    status: StatusCode,
    forwarded: Option<&Forwarded>,
) -> String {
    let body = String::from_utf8_lossy(&delivery.body);
    format!(
        "{} {} {} {}, {}\n  {}\n  {DIM_STYLE}{}{DIM_STYLE:#}\n",
        delivery.received,
        delivery.method,
        escape_truncated(&delivery.path, 200),
        format_check(check),
        format_answer(status, forwarded),
        escape_truncated(&describe(&delivery.body), 500),
        escape_truncated(&body, MAX_BODY_CHARS),
    )
}

/// Formats a delivery as one JSON object on one line.
pub(super) fn format_json(
    delivery: &SavedDelivery,
    status: StatusCode,
    forwarded: Option<&Forwarded>,
) -> String {
    let mut object = delivery.to_json();
    let result = match forwarded {
        None => Value::Null,
        Some(Forwarded::Answered(elapsed)) => {
            json!({ "status": status.as_u16(), "seconds": elapsed.as_secs_f64() })
        }
        Some(Forwarded::Failed(cause)) => json!({ "error": cause }),
    };
    if let Some(object) = object.as_object_mut().filter(|_| !result.is_null()) {
        object.insert("forwarded".to_owned(), result);
    }
    escape_json(&object.to_string()) + "\n"
}

fn format_answer(status: StatusCode, forwarded: Option<&Forwarded>) -> String {
    let status = status.as_u16();
    match forwarded {
        None => format!("answered {status}"),
        Some(Forwarded::Answered(elapsed)) => {
            format!("the receiver answered {status} in {}", format_duration(elapsed.as_micros()))
        }
        Some(Forwarded::Failed(_)) => {
            format!("{ERROR_STYLE}not forwarded{ERROR_STYLE:#}, answered {status}")
        }
    }
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
