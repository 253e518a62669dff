use std::error::Error;
use std::fmt;

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use roomz_webhook::{Rejection, RejectionKind, Skipped};

/// Rejection of [`WebhookEvent`](crate::WebhookEvent).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventRejection {
    /// 500: the layer is not in front of the route.
    MissingLayer(MissingLayer),
    /// 200: the event has another type than the handler takes, or its data cannot be read as that type.
    OtherEvent(OtherEvent),
}

impl EventRejection {
    /// Returns the status of the response.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::MissingLayer(rejection) => rejection.status(),
            Self::OtherEvent(rejection) => rejection.status(),
        }
    }

    /// Returns the body of the response.
    #[must_use]
    pub fn body_text(&self) -> String {
        match self {
            Self::MissingLayer(rejection) => rejection.body_text(),
            Self::OtherEvent(rejection) => rejection.body_text(),
        }
    }
}

impl From<MissingLayer> for EventRejection {
    fn from(rejection: MissingLayer) -> Self {
        Self::MissingLayer(rejection)
    }
}

impl IntoResponse for EventRejection {
    fn into_response(self) -> Response {
        match self {
            Self::MissingLayer(rejection) => rejection.into_response(),
            Self::OtherEvent(rejection) => rejection.into_response(),
        }
    }
}

impl fmt::Display for EventRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingLayer(rejection) => rejection.fmt(f),
            Self::OtherEvent(rejection) => rejection.fmt(f),
        }
    }
}

impl Error for EventRejection {}

/// Rejection 500: the request has no verified delivery.
///
/// The layer is not in front of the route, or the layer has another path
/// ([`with_path`](roomz_webhook::WebhookLayerBuilder::with_path)).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MissingLayer;

impl MissingLayer {
    const REJECTION: Rejection = Rejection::new(RejectionKind::MissingLayer);

    /// Returns the status of the response: 500.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        RejectionKind::MissingLayer.status()
    }

    /// Returns the body of the response: a problem (RFC 9457) as JSON.
    #[must_use]
    pub fn body_text(&self) -> String {
        Self::REJECTION.body_text()
    }
}

impl IntoResponse for MissingLayer {
    fn into_response(self) -> Response {
        tracing::error!(detail = %self, "webhook layer missing");
        Self::REJECTION.into_response()
    }
}

impl fmt::Display for MissingLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::REJECTION.fmt(f)
    }
}

impl Error for MissingLayer {}

/// Rejection 200: the event has another type than the handler takes, or its data cannot be read as that type.
///
/// The event is acknowledged, and the handler does not run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OtherEvent;

impl OtherEvent {
    /// Returns the status of the response: 200, because anything but a 2xx is a failed delivery for ROOMZ.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        StatusCode::OK
    }

    /// Returns the body of the response.
    #[must_use]
    pub fn body_text(&self) -> String {
        Skipped::Ignored.body_text().to_owned()
    }
}

impl IntoResponse for OtherEvent {
    fn into_response(self) -> Response {
        Skipped::Ignored.into_response::<Body>()
    }
}

impl fmt::Display for OtherEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the event has another type than this handler takes, or its data cannot be read as that type",
        )
    }
}

impl Error for OtherEvent {}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// As in axum, `body_text` is the body that is sent.
    #[tokio::test]
    async fn sends_body_text() {
        for rejection in [EventRejection::MissingLayer(MissingLayer), EventRejection::OtherEvent(OtherEvent)]
        {
            let (status, text) = (rejection.status(), rejection.body_text());
            let response = rejection.into_response();
            assert_eq!(response.status(), status);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, text);
        }
    }
}
