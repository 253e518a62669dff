//! The page: three files in the binary, and the rules by which a browser takes them.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{MethodRouter, get};

/// Nothing inline, nothing from elsewhere, and no text that becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("../page/index.html")))
        .route("/app.js", file("text/javascript; charset=utf-8", include_str!("../page/app.js")))
        .route("/style.css", file("text/css; charset=utf-8", include_str!("../page/style.css")))
        .route("/icon.svg", file("image/svg+xml", include_str!("../page/icon.svg")))
        .layer(map_response(rules))
}

fn file<S: Clone + Send + Sync + 'static>(kind: &'static str, text: &'static str) -> MethodRouter<S> {
    get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
}

async fn rules(mut response: Response) -> Response {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A display that reconnects after an update shall not run the old script.
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
