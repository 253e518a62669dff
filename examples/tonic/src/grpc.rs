//! A gRPC service that streams the presence changes that the webhook receives.

use std::pin::Pin;

use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

/// The code that `build.rs` generates.
#[allow(
    dead_code,
    missing_docs,
    unused_qualifications,
    unreachable_pub,
    missing_debug_implementations,
    clippy::all,
    clippy::restriction,
    clippy::pedantic
)]
pub mod generated {
    include!(concat!(env!("OUT_DIR"), "/example.Presence.rs"));
}

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

/// The changes, for all watching clients. `send` fails when there is none.
pub type Changes = broadcast::Sender<PresenceChange>;

/// Changes that a slow client can be behind. One that falls further behind gets the status `DATA_LOSS`.
pub const CHANGES_BUFFERED: usize = 1024;

type Answer<T> = Result<Response<T>, Status>;

/// The service.
pub struct Watcher(pub Changes);

#[tonic::async_trait]
impl generated::presence_server::Presence for Watcher {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<PresenceChange, Status>> + Send>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Answer<Self::WatchStream> {
        let changes = BroadcastStream::new(self.0.subscribe());
        let too_slow = "the client was too slow and missed changes";
        let changes = changes.map(move |change| change.map_err(|_| Status::data_loss(too_slow)));
        Ok(Response::new(Box::pin(changes)))
    }
}
