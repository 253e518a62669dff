use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::body::ResponseBody;
use super::rejection::{Rejection, RejectionKind};
use super::skipped::Skipped;

/// A response that the layer sends instead of the inner service's.
#[derive(Debug)]
pub(crate) enum EarlyResponse {
    Rejected { rejection: Rejection, retry_after: Option<HeaderValue> },
    Skipped(Skipped),
}

impl EarlyResponse {
    /// A rejection. A 503 has `Retry-After`, rounded up to whole seconds, at least one.
    pub(crate) fn rejected(kind: RejectionKind, retry_after: Duration) -> Self {
        let seconds = retry_after.as_secs_f64().ceil() as u64;
        let is_503 = kind.status() == StatusCode::SERVICE_UNAVAILABLE;
        Self::Rejected {
            rejection: Rejection::new(kind),
            retry_after: is_503.then(|| HeaderValue::from(seconds.max(1))),
        }
    }

    pub(crate) fn into_response<B>(self) -> Response<ResponseBody<B>> {
        let response: Response<Bytes> = match self {
            Self::Skipped(skipped) => skipped.into_response(),
            Self::Rejected { rejection, retry_after } => {
                let mut response: Response<Bytes> = rejection.into_response();
                if let Some(retry_after) = retry_after {
                    response.headers_mut().insert(header::RETRY_AFTER, retry_after);
                }
                response
            }
        };
        response.map(ResponseBody::from_layer)
    }
}

impl From<Rejection> for EarlyResponse {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected { rejection, retry_after: None }
    }
}

impl From<RejectionKind> for EarlyResponse {
    fn from(kind: RejectionKind) -> Self {
        Rejection::new(kind).into()
    }
}

impl From<Skipped> for EarlyResponse {
    fn from(skipped: Skipped) -> Self {
        Self::Skipped(skipped)
    }
}
