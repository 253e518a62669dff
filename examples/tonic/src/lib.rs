//! A gRPC service that streams the presence changes that the ROOMZ webhook receives on the same port.

mod grpc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::routing::post;
use roomz_axum::{WebhookEvent, WebhookLayer, WorkspacePresenceChanged, close_unrouted};
use tonic::service::Routes;

use crate::grpc::generated::presence_server::PresenceServer;
use crate::grpc::{CHANGES_BUFFERED, Changes, Watcher};
pub use crate::grpc::{PresenceChange, WatchRequest, generated::presence_client::PresenceClient};

/// Handles one event: sends the change to all watching clients.
async fn presence(
    State(changes): State<Changes>,
    WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>,
) {
    let change = PresenceChange {
        workspace_id: event.data.workspace_id.to_string(),
        status: event.data.presence_status.as_str().to_owned(),
    };
    // `send` fails when no client is watching, which is not an error.
    let _ = changes.send(change);
}

/// Creates both services. Serve them with `axum::serve`: tonic's own server answers a delivery 200 with
/// `grpc-status: 1` when its timeout, or that of a request header `grpc-timeout`, is over.
pub fn app(webhook: WebhookLayer) -> Router {
    app_with(webhook, |grpc| grpc)
}

/// Creates both services. `layers` adds layers to the gRPC routes only, such as `tonic_web::GrpcWebLayer`,
/// which would answer a delivery 400.
pub fn app_with(webhook: WebhookLayer, layers: impl FnOnce(Router) -> Router) -> Router {
    let changes = Changes::new(CHANGES_BUFFERED);
    let grpc = Routes::new(PresenceServer::new(Watcher(changes.clone())));
    let webhook = Router::new().route("/webhooks/roomz", post(presence).layer(webhook)).with_state(changes);
    layers(grpc.into_axum_router())
        .merge(webhook)
        .fallback(not_found)
        .layer(map_response(async |response| close_unrouted(response)))
}

/// Replaces tonic's answer to unknown paths, which is 200 with `grpc-status: 12`: ROOMZ would count a
/// delivery to a mistyped path as a success. A gRPC client reads the 404 as `UNIMPLEMENTED`, too.
async fn not_found() -> StatusCode {
    StatusCode::NOT_FOUND
}
