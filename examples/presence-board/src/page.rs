//! The page's files, compiled into the binary, and their security headers.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::{Html, Response};
use axum::routing::{MethodRouter, get};

use crate::board::Board;

/// Allows the page's own files only: no inline code, nothing from other origins, no text that becomes markup.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// The files, by path.
macro_rules! files {
    ($($name:literal: $content_type:expr),+ $(,)?) => {
        [$((concat!("/", $name), $content_type, include_str!(concat!("../page/", $name)))),+]
    };
}

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const FILES: [(&str, &str, &str); 15] = files! {
    "announcements.js": JAVASCRIPT,
    "app.js": JAVASCRIPT,
    "connection.js": JAVASCRIPT,
    "dead-letters.js": JAVASCRIPT,
    "deliveries.js": JAVASCRIPT,
    "dom.js": JAVASCRIPT,
    "find-delivery.js": JAVASCRIPT,
    "icon.svg": "image/svg+xml",
    "layout.js": JAVASCRIPT,
    "selection.js": JAVASCRIPT,
    "style.css": CSS,
    "support.js": JAVASCRIPT,
    "time.js": JAVASCRIPT,
    "views.css": CSS,
    "workspaces.js": JAVASCRIPT,
};

/// The page before its data.
const INDEX: &str = include_str!("../page/index.html");
/// The place of the snapshot. A browser does not run a script of this type, so the policy permits it.
const SNAPSHOT: &str = r#"<script type="application/json" id="snapshot">"#;

pub fn routes() -> Router<Board> {
    FILES
        .iter()
        .fold(Router::new().route("/", get(index)), |router, &(path, content_type, text)| {
            router.route(path, asset(content_type, text))
        })
        .layer(map_response(set_headers))
}

/// The page with a snapshot, so that it shows the building before the stream of changes is open.
async fn index(State(board): State<Board>) -> Html<String> {
    let snapshot = board.subscribe().map(|(snapshot, _)| snapshot).unwrap_or_default();
    // Nothing in it ends the script.
    let snapshot = snapshot.replace('<', "\\u003c");
    Html(INDEX.replacen(SNAPSHOT, &format!("{SNAPSHOT}{snapshot}"), 1))
}

fn asset(content_type: &'static str, text: &'static str) -> MethodRouter<Board> {
    get(move || async move { ([(header::CONTENT_TYPE, content_type)], text) })
}

async fn set_headers(mut response: Response) -> Response {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Without it a page that is loaded after an update could run the old script.
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
