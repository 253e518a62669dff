use axum_core::extract::FromRequestParts;
use http::request::Parts;

use crate::rejection::MissingLayer;

/// Extracts the verified delivery: the event, its raw bytes, the attempt, and which secret matched.
///
/// ```
/// use roomz_axum::WebhookDelivery;
///
/// async fn archive(WebhookDelivery(delivery): WebhookDelivery) {
///     println!("{} bytes, attempt {}", delivery.body().len(), delivery.attempt());
/// }
/// ```
#[allow(clippy::exhaustive_structs, reason = "taken apart in a handler's arguments")]
#[derive(Clone, Debug)]
pub struct WebhookDelivery(pub roomz_webhook::Delivery);

impl<S: Send + Sync> FromRequestParts<S> for WebhookDelivery {
    type Rejection = MissingLayer;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MissingLayer> {
        of(parts).cloned().map(Self)
    }
}

pub(crate) fn of(parts: &Parts) -> Result<&roomz_webhook::Delivery, MissingLayer> {
    parts.extensions.get().ok_or(MissingLayer)
}
