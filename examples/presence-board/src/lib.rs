//! The router and the webhook handler. `board.rs` holds the state, `messages.rs` the JSON that clients receive.

pub mod board;
pub mod demo;
mod events;
mod messages;
pub mod names;
mod page;
pub mod serve;
pub mod store;

use axum::extract::State;
use axum::http::header;
use axum::middleware::map_response_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use roomz_axum::{Rejection, Skipped, WebhookEvent, WebhookLayer};

use crate::board::Board;

/// The application. `metrics` renders the metrics of the layer and of the board.
pub fn app(board: Board, webhook: WebhookLayer, metrics: PrometheusHandle) -> Router {
    let deliveries =
        post(handle_event).layer(webhook).layer(map_response_with_state(board.clone(), record_unhandled));
    Router::new()
        .route("/webhooks/roomz", deliveries)
        .route("/api/presence", get(|State(board): State<Board>| async move { Json(board.presence()) }))
        .route("/api/stats", get(|State(board): State<Board>| async move { Json(board.stats()) }))
        .route("/events", get(events::events))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(move || async move { render(&metrics) }))
        .merge(page::routes())
        .with_state(board)
}

/// Runs once for each event. It takes `WebhookEvent` and not `WebhookEvent<WorkspacePresenceChanged>`, so that the
/// board also shows events of unknown types.
async fn handle_event(State(board): State<Board>, WebhookEvent(event): WebhookEvent) {
    board.apply(&event);
}

/// Records deliveries that did not reach the handler. The layer puts the reason into the response's extensions.
async fn record_unhandled(State(board): State<Board>, response: Response) -> Response {
    let extensions = response.extensions();
    if let Some(rejection) = extensions.get::<Rejection>() {
        board.record_rejection(rejection.kind());
    } else if extensions.get() == Some(&Skipped::Duplicate) {
        board.record_duplicate();
    }
    response
}

fn render(metrics: &PrometheusHandle) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}
