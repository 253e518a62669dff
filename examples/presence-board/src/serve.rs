//! An HTTP server with a header timeout and a graceful shutdown. `axum::serve` has no header timeout.
//!
//! It does not limit the number of connections. Set that limit in your proxy or operating system.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::middleware::map_response;
use axum_server::{Handle, Server};
use tokio::net::TcpListener;

/// Time for a client to send the head of a request. It also limits how long a connection stays idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for requests to finish after the shutdown signal. After it, their connections are closed.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(6);

/// Serves `app` until `shutdown` completes, then waits for the requests in flight.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = app.layer(map_response(async |response| roomz_axum::close_unrouted(response)));
    let handle = Handle::new();
    // `http1_only`, because the detection of HTTP/2 would wait for the first bytes without a timeout.
    let mut server = Server::<SocketAddr>::from_listener(listener)
        .handle(handle.clone())
        .http1_only()
        .accept_error_handler(|_, error| tracing::warn!(%error, "cannot accept a connection"));
    server.http_builder().http1().header_read_timeout(HEADER_TIMEOUT);
    tokio::spawn(async move {
        shutdown.await;
        tracing::info!(connections = handle.connection_count(), "shutting down");
        handle.graceful_shutdown(Some(SHUTDOWN_TIMEOUT));
    });
    server.serve(app.into_make_service()).await
}
