//! The HTTP server: closes connections whose request header is slow, and shuts down within a time limit.
//!
//! `axum::serve` needs fewer lines but has no header timeout. Limit the number of connections in the proxy in front of
//! the server, or in the operating system.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum_server::{Handle, Server};
use tokio::net::TcpListener;

/// Time to receive a request header, and to wait for the next request on an idle connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for open requests to finish during shutdown. Connections that are still open after it are closed.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(6);

/// Serves HTTP/1.1 until `shutdown` completes, then waits up to six seconds for open requests.
///
/// A handler that runs longer finishes in the background: wait for it with `WebhookLayer::drain`.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let handle = Handle::new();
    // `http1_only`, because the detection of HTTP/2 would wait for the first bytes without a timeout.
    let mut server = Server::<SocketAddr>::from_listener(listener)
        .http1_only()
        .handle(handle.clone())
        .accept_error_handler(|_, error| tracing::warn!(%error, "cannot accept a connection"));
    server.http_builder().http1().header_read_timeout(HEADER_TIMEOUT);
    tokio::spawn(async move {
        shutdown.await;
        tracing::info!(connections = handle.connection_count(), "shutting down");
        handle.graceful_shutdown(Some(SHUTDOWN_TIMEOUT));
    });
    server.serve(app.into_make_service()).await
}
