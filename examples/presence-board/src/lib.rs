//! The routes. What is shown is kept in `board.rs`, what is said about it in `report.rs`.

pub mod board;
pub mod demo;
mod events;
pub mod names;
mod page;
mod report;
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

/// The application. `figures` renders what the layer and the board count.
pub fn app(board: Board, webhook: WebhookLayer, figures: PrometheusHandle) -> Router {
    let deliveries = post(presence).layer(webhook).layer(map_response_with_state(board.clone(), count));
    Router::new()
        .route("/webhooks/roomz", deliveries)
        .route("/api/presence", get(|State(board): State<Board>| async move { Json(board.presence()) }))
        .route("/api/stats", get(|State(board): State<Board>| async move { Json(board.stats()) }))
        .route("/events", get(events::events))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(move || async move { render(&figures) }))
        .merge(page::routes())
        .with_state(board)
}

/// Runs once for each event. `Event` and not `Event<WorkspacePresenceChanged>`, so that the board shows what it
/// cannot read instead of passing it over.
async fn presence(State(board): State<Board>, WebhookEvent(event): WebhookEvent) {
    board.apply(&event);
}

/// Counts what did not come to the handler; the layer leaves word of it in the response.
async fn count(State(board): State<Board>, response: Response) -> Response {
    let said = response.extensions();
    if let Some(refusal) = said.get::<Rejection>() {
        board.refused(refusal.kind());
    } else if said.get() == Some(&Skipped::Duplicate) {
        board.duplicate();
    }
    response
}

fn render(figures: &PrometheusHandle) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], figures.render())
}
