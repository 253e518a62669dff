//! A gRPC service that streams the presence changes that the ROOMZ webhook receives on the same port.

use std::pin::Pin;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::routing::post;
use roomz_axum::{WebhookEvent, WebhookLayer, WorkspacePresenceChanged, close_unrouted};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// The code that `build.rs` generates.
#[allow(
    missing_docs,
    unused_qualifications,
    unreachable_pub,
    missing_debug_implementations,
    clippy::all,
    clippy::restriction,
    clippy::pedantic
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/example.Presence.rs"));
}
pub use generated::presence_client::PresenceClient;
use generated::presence_server::{Presence, PresenceServer};

/// The request for a stream of changes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchRequest {}

/// One presence change.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PresenceChange {
    /// The workspace's id.
    #[prost(string, tag = "1")]
    pub workspace_id: String,
    /// `Free`, `Busy`, or another text from ROOMZ.
    #[prost(string, tag = "2")]
    pub status: String,
}

type Changes = broadcast::Sender<PresenceChange>;

/// Changes that a slow client can be behind. A client that falls further behind gets the status `DATA_LOSS`.
const CHANGES_BUFFERED: usize = 1024;

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

struct Watcher(Changes);

#[tonic::async_trait]
impl Presence for Watcher {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<PresenceChange, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let changes = BroadcastStream::new(self.0.subscribe());
        let changes = changes.map(|change| {
            change.map_err(|_| Status::data_loss("the client was too slow and missed changes"))
        });
        Ok(Response::new(Box::pin(changes)))
    }
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
