use std::error::Error;
use std::fmt;

use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use roomz_webhook::{Rejection, RejectionKind, Skipped};

/// Rejection of [`WebhookEvent`](crate::WebhookEvent) and [`WebhookDelivery`](crate::WebhookDelivery).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebhookRejection {
    /// 500: the request has no verified delivery. The layer is not in front of the route, or it has another
    /// path ([`with_path`](roomz_webhook::WebhookLayerBuilder::with_path)).
    MissingLayer,
    /// 200: the event has another type than the handler takes, or its data cannot be read as that type. The
    /// event is acknowledged, because anything but a 2xx is a failed delivery for ROOMZ, and the handler does
    /// not run.
    OtherEvent,
}

impl WebhookRejection {
    const MISSING_LAYER: Rejection = Rejection::new(RejectionKind::MissingLayer);

    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MissingLayer => Self::MISSING_LAYER.status(),
            Self::OtherEvent => StatusCode::OK,
        }
    }

    /// Returns the body of the response: a problem (RFC 9457) as JSON, or why the event was skipped.
    #[must_use]
    pub fn body_text(&self) -> String {
        match self {
            Self::MissingLayer => Self::MISSING_LAYER.body_text(),
            Self::OtherEvent => Skipped::Ignored.body_text(),
        }
    }
}

impl IntoResponse for WebhookRejection {
    fn into_response(self) -> Response {
        match self {
            Self::MissingLayer => {
                tracing::error!(detail = %self, "webhook layer missing");
                Self::MISSING_LAYER.into_response()
            }
            Self::OtherEvent => Skipped::Ignored.into_response(),
        }
    }
}

impl fmt::Display for WebhookRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingLayer => Self::MISSING_LAYER.fmt(f),
            Self::OtherEvent => f.write_str(
                "the event has another type than this handler takes, or its data cannot be read as that type",
            ),
        }
    }
}

impl Error for WebhookRejection {}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// As in axum, `body_text` is the body that is sent.
    #[tokio::test]
    async fn sends_body_text() {
        for rejection in [WebhookRejection::MissingLayer, WebhookRejection::OtherEvent] {
            let (status, text) = (rejection.status(), rejection.body_text());
            let response = rejection.into_response();
            assert_eq!(response.status(), status);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, text);
        }
    }
}
