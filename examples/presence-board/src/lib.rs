//! The router and the webhook handler. `board.rs` holds the state, `messages.rs` the JSON that clients
//! receive.

pub mod board;
pub mod board_metrics;
#[cfg(feature = "stores")]
mod dead_letters;
pub mod deliveries;
pub mod demo;
mod events;
#[cfg(feature = "stores")]
pub mod inbox;
mod messages;
pub mod names;
#[cfg(not(feature = "stores"))]
pub mod no_stores;
mod page;
#[cfg(feature = "stores")]
pub mod presence;
pub mod store;
pub mod store_check;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use roomz_axum::{Rejection, Skipped, WebhookDelivery, WebhookLayer, WorkspacePresenceChanged};

use crate::board::Board;
use crate::deliveries::{DeliveryLog, Handled};
use crate::store::SharedPresence;

/// The application. `metrics` renders the metrics of the layer and of the board.
pub fn app(
    board: Board,
    presence: Option<SharedPresence>,
    webhook: WebhookLayer,
    metrics: PrometheusHandle,
) -> Router {
    let log = DeliveryLog::new(board.names());
    let handler = post(handle_event).with_state((board.clone(), presence));
    let deliveries = handler
        .layer(webhook.clone())
        .layer(from_fn_with_state(log.clone(), DeliveryLog::record))
        .layer(map_response_with_state(board.clone(), record_unhandled));
    Router::new()
        .route("/webhooks/roomz", deliveries)
        .route("/api/presence", get(|State(board): State<Board>| async move { Json(board.presence()) }))
        .route("/api/names", get(names_file))
        .route("/api/stats", get(|State(board): State<Board>| async move { Json(board.stats()) }))
        .route("/events", get(events::events))
        .route("/readyz", get(async move || readyz(webhook).await))
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/metrics",
            get(async move |State(board): State<Board>| board_metrics::scrape(&metrics, &board)),
        )
        .merge(page::routes())
        .with_state(board)
        .merge(log.routes())
}

/// Runs for each event. It takes events of all types, so that the board also shows events of unknown types.
///
/// With a store in SQL, the presence is kept before it is shown. If that fails, ROOMZ delivers the event
/// again.
async fn handle_event(
    State((board, presence)): State<(Board, Option<SharedPresence>)>,
    WebhookDelivery(delivery): WebhookDelivery,
) -> (Extension<Handled>, StatusCode) {
    let typed = delivery.event().typed::<WorkspacePresenceChanged>();
    let workspace = typed.as_ref().map(|event| event.data.workspace_id);
    let handled = Extension(Handled { event: delivery.event().id, workspace });
    if let (Some(presence), Some(event)) = (presence, typed)
        && let Err(error) = presence.record(&delivery, &event).await
    {
        tracing::error!(%error, "cannot keep the presence");
        return (handled, StatusCode::SERVICE_UNAVAILABLE);
    }
    board.apply(delivery.event());
    (handled, StatusCode::OK)
}

/// Records deliveries that did not reach the handler. The layer puts the reason into the response's
/// extensions.
async fn record_unhandled(State(board): State<Board>, response: Response) -> Response {
    let extensions = response.extensions();
    if !extensions.get().is_some_and(|rejection: &Rejection| rejection.kind().is_unauthenticated()) {
        board_metrics::delivery_received();
    }
    if let Some(rejection) = extensions.get::<Rejection>() {
        board.record_rejection(rejection.kind());
    } else if extensions.get() == Some(&Skipped::Duplicate) {
        board.record_duplicate();
    }
    response
}

/// The names file that the page offers for download.
async fn names_file(State(board): State<Board>) -> ([(HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, "application/json")], board.names_file())
}

/// Answers a readiness probe: 503 from the beginning of a shutdown on, and while the store is unavailable.
async fn readyz(webhook: WebhookLayer) -> Result<&'static str, (StatusCode, String)> {
    let unavailable = |rejection: Rejection| (rejection.status(), format!("{rejection}\n"));
    webhook.check_ready().await.map(|()| "ready\n").map_err(unavailable)
}
