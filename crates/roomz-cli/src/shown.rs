//! How `listen` shows a delivery.

use http::StatusCode;
use roomz_protocol::{Event, EventData, SIGNATURE_HEADER, Secrets, Signature};
use serde_json::{Value, json};

use crate::out::{BAD, FAINT, GOOD};
use crate::saved::Saved;
use crate::text::safe_start;

/// How much of a body is shown.
const BODY: usize = 2_000;

/// What is to be said of a signature; the reasons are those of `roomz-webhook`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Verified,
    /// There is no secret to verify with.
    Unverified,
    Missing,
    Repeated,
    /// With what is wrong.
    Malformed(String),
    Mismatch,
}

impl Verdict {
    pub(crate) fn of(secrets: Option<&Secrets>, saved: &Saved) -> Self {
        let Some(secrets) = secrets else { return Self::Unverified };
        let mut values = saved.headers.get_all(SIGNATURE_HEADER).iter();
        let Some(value) = values.next() else { return Self::Missing };
        if values.next().is_some() {
            return Self::Repeated;
        }
        match Signature::from_base64(value.as_bytes()) {
            Err(error) => Self::Malformed(error.to_string()),
            Ok(signature) if secrets.verify(&saved.body, &signature).is_ok() => Self::Verified,
            Ok(_) => Self::Mismatch,
        }
    }

    /// What a receiver would answer.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Verified | Self::Unverified => StatusCode::OK,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    pub(crate) const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Verified | Self::Unverified => None,
            Self::Missing => Some("signature-missing"),
            Self::Repeated => Some("signature-repeated"),
            Self::Malformed(_) => Some("signature-malformed"),
            Self::Mismatch => Some("signature-mismatch"),
        }
    }

    /// `true`, `false`, or `null` without a secret.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Unverified => Value::Null,
            verdict => json!(*verdict == Self::Verified),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Verified => format!("{GOOD}verified{GOOD:#}"),
            Self::Unverified => "not verified (no secret)".to_owned(),
            Self::Missing => format!("{BAD}NOT VERIFIED{BAD:#}: there is no header {SIGNATURE_HEADER}"),
            Self::Repeated => {
                format!("{BAD}NOT VERIFIED{BAD:#}: there are several headers {SIGNATURE_HEADER}")
            }
            Self::Malformed(error) => format!("{BAD}NOT VERIFIED{BAD:#}: {error}"),
            Self::Mismatch => {
                format!("{BAD}NOT VERIFIED{BAD:#}: the signature is not that of the body under this secret")
            }
        }
    }
}

/// Three lines: the delivery, the event, the body. Nothing in them can control a terminal.
pub(crate) fn shown(saved: &Saved, verdict: &Verdict, status: StatusCode) -> String {
    let event = match Event::parse(&saved.body) {
        Err(error) => format!("no event: {error}"),
        Ok(event) => match &event.data {
            EventData::WorkspacePresenceChanged(change) => format!(
                "event {} of {}: workspace {} is {}",
                event.id, event.timestamp, change.workspace_id, change.presence_status
            ),
            EventData::Unknown(unknown) => {
                format!(
                    "event {} of {}: {}, {}",
                    event.id,
                    event.timestamp,
                    event.event_type,
                    unknown.reason()
                )
            }
            _ => format!("event {} of {}: {}", event.id, event.timestamp, event.event_type),
        },
    };
    let body = String::from_utf8_lossy(&saved.body);
    format!(
        "{} {} {} {}, answered {}\n  {}\n  {FAINT}{}{FAINT:#}\n",
        saved.received,
        saved.method,
        safe_start(&saved.path, 200),
        verdict.text(),
        status.as_u16(),
        safe_start(&event, 500),
        safe_start(&body, BODY),
    )
}
