use std::error::Error;
use std::fmt;

use axum_core::response::{IntoResponse, Response};
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
