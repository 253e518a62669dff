//! The headers that both `send` and `replay` set.

use http::HeaderValue;
use roomz_protocol::Secret;

/// Signs the body. Never `None` in practice: base64 is always a valid header value.
pub(crate) fn signature_header(secret: &Secret, body: &[u8]) -> Option<HeaderValue> {
    HeaderValue::try_from(secret.sign(body).to_base64()).ok()
}

pub(crate) fn user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("roomz-cli/", env!("CARGO_PKG_VERSION")))
}
