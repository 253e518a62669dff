//! Responses that the layer sends itself, and the response body type.

mod body;
mod rejection;
mod skipped;

use bytes::Bytes;
use http::Response;

pub use self::body::ResponseBody;
pub use self::rejection::{Rejection, RejectionKind};
pub use self::skipped::Skipped;

/// A response that the layer sends instead of the inner service's.
#[derive(Debug)]
pub(crate) enum EarlyResponse {
    Rejected(Rejection),
    Skipped(Skipped),
}

impl EarlyResponse {
    /// Returns whether the layer sends it before it has read the body to its end.
    pub(crate) fn is_before_end_of_body(&self) -> bool {
        let Self::Rejected(rejection) = self else { return false };
        rejection.kind().is_unauthenticated() && rejection.kind() != RejectionKind::SignatureMismatch
    }

    pub(crate) fn into_response<B>(self) -> Response<ResponseBody<B>> {
        let response: Response<Bytes> = match self {
            Self::Skipped(skipped) => skipped.into_response(),
            Self::Rejected(rejection) => rejection.into_response(),
        };
        response.map(ResponseBody::from_layer)
    }
}

impl<T: Into<Rejection>> From<T> for EarlyResponse {
    fn from(rejection: T) -> Self {
        Self::Rejected(rejection.into())
    }
}
