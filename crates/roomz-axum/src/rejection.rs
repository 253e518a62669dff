use std::error::Error;
use std::fmt;

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use roomz_webhook::Skipped;

/// Rejection of [`Event`](crate::Event).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventRejection {
    /// 500: the layer is not in front of the route.
    MissingLayer(MissingLayer),
    /// 200: the event is of another type than the handler takes, or its data could not be read as that type.
    OtherEvent(OtherEvent),
}

impl EventRejection {
    /// The status of the response.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::MissingLayer(rejection) => rejection.status(),
            Self::OtherEvent(rejection) => rejection.status(),
        }
    }

    /// What was wrong.
    #[must_use]
    pub fn body_text(&self) -> String {
        self.to_string()
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

/// 500: there is no verified delivery in the request, because the layer is not in front of the route, or was told
/// another path.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MissingLayer;

impl MissingLayer {
    /// 500.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }

    /// What was wrong, and how to mend it.
    #[must_use]
    pub fn body_text(&self) -> String {
        self.to_string()
    }
}

impl IntoResponse for MissingLayer {
    fn into_response(self) -> Response {
        tracing::error!("{self}");
        // The text is a constant without characters that JSON escapes.
        let text = format!(
            r#"{{"type":"about:blank","title":"Internal Server Error","status":500,"detail":"{self}","reason":"missing-layer"}}"#
        );
        let json = HeaderValue::from_static("application/problem+json");
        (self.status(), [(header::CONTENT_TYPE, json)], text).into_response()
    }
}

impl fmt::Display for MissingLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no verified delivery: put `roomz_webhook::WebhookLayer` in front of this route; if it has a path \
             (`with_path`), let it be this route's as the layer sees it, without the prefix of a `nest`",
        )
    }
}

impl Error for MissingLayer {}

/// 200: the event is of another type than the handler takes, or its data could not be read as that type. It is
/// acknowledged and the handler does not run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OtherEvent;

impl OtherEvent {
    /// 200: for ROOMZ anything but a 2xx is a failed delivery.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        StatusCode::OK
    }

    /// What was the matter.
    #[must_use]
    pub fn body_text(&self) -> String {
        self.to_string()
    }
}

impl IntoResponse for OtherEvent {
    fn into_response(self) -> Response {
        Skipped::Ignored.into_response::<Body>()
    }
}

impl fmt::Display for OtherEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event is of another type than this handler takes, or its data could not be read")
    }
}

impl Error for OtherEvent {}
