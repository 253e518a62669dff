use http::header::CONNECTION;
use http::{HeaderValue, Response, StatusCode};

/// Adds `Connection: close` to a 404 or 405, for an HTTP/1 server behind a proxy.
///
/// A router answers such a request without reading its body. hyper then closes the connection without saying
/// so, and a proxy that keeps connections may lose the delivery that it sends next. [`WebhookLayer`] closes
/// announced on its own routes; this function does it for a 404 or 405 of all others.
///
/// ```
/// use axum::{Router, middleware::map_response, routing::get};
///
/// let app: Router = Router::new().route("/healthz", get(async || "ok\n"));
/// // Last, so that it covers all routes and the fallback.
/// let app = app.layer(map_response(async |response| roomz_axum::close_unrouted(response)));
/// # drop(app);
/// ```
///
/// [`WebhookLayer`]: crate::WebhookLayer
#[must_use]
pub fn close_unrouted<B>(mut response: Response<B>) -> Response<B> {
    if matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
