//! A server with TLS: timeouts for the TLS handshake and the head, and a graceful shutdown.
//!
//! It does not limit the number of connections. Set that limit in your operating system.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::middleware::map_response;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use tokio::net::TcpListener;

/// Time for a client to finish the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a client to send the head of a request. It also limits how long a connection stays idle, so it is
/// longer than senders keep an idle connection (.NET 60 s): one that closes takes a delivery with it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(90);
/// Time for requests to finish after the shutdown signal. After it, their connections are closed.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(6);

/// Serves `app` until `shutdown` completes, then waits for the requests in flight, but not for TLS
/// handshakes.
///
/// # Errors
///
/// [`io::ErrorKind::TimedOut`] if requests are still in flight 6 s after `shutdown`.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    tls: RustlsConfig,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let app = app.layer(map_response(async |response| roomz_axum::close_unrouted(response)));
    let handle = Handle::new();
    // `http1_only`, because the detection of HTTP/2 would wait for the first bytes without a timeout.
    let mut server = Server::<SocketAddr>::from_listener(listener)
        .acceptor(RustlsAcceptor::new(tls).handshake_timeout(HANDSHAKE_TIMEOUT))
        .handle(handle.clone())
        .http1_only()
        .accept_error_handler(|client, error| match client {
            Some(client) => tracing::debug!(%client, %error, "TLS handshake failed"),
            None => tracing::warn!(%error, "cannot accept a connection"),
        });
    server.http_builder().http1().header_read_timeout(HEADER_TIMEOUT);

    let mut server = pin!(server.serve(app.into_make_service()));
    tokio::select! {
        result = &mut server => return result,
        () = shutdown => {}
    }
    // With `graceful_shutdown(Some(SHUTDOWN_TIMEOUT))`, the server would also return `Ok` after the timeout.
    handle.graceful_shutdown(None);
    tokio::time::timeout(SHUTDOWN_TIMEOUT, server).await.unwrap_or_else(|_| {
        handle.shutdown();
        Err(io::Error::new(io::ErrorKind::TimedOut, "requests were still in flight at shutdown"))
    })
}
