//! A TLS server that gives up on clients that are slow to shake hands or to send a request's head, and that lets
//! requests end when it stops.
//!
//! It does not limit the number of connections: that is for the proxy in front, or the operating system.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::certificate::Current;

/// How long a client may take to shake hands.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send the head of a request, or keep a connection open between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests may take to end once the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(6);

/// Serves until `stop` resolves, then lets the requests that are under way end.
///
/// Fails when requests were still under way at the end of the stop time-out.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    certificate: Current,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut server = http1::Builder::new();
    // Without a timer hyper has no time-outs at all.
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let connections = GracefulShutdown::new();
    // Apart from the connections: there is no request in them yet, so none is waited for.
    let mut handshakes = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let acceptor = TlsAcceptor::from(certificate.borrow().clone());
                    handshakes.spawn(timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)));
                    continue;
                }
                Err(error) => {
                    // Most often too many open files: give connections the time to end.
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(shaken) = handshakes.join_next() => match shaken {
                Ok(Ok(Ok(stream))) => stream,
                Ok(Ok(Err(error))) => {
                    tracing::debug!("a handshake failed: {error}");
                    continue;
                }
                Ok(Err(_)) => {
                    tracing::debug!("a handshake took too long");
                    continue;
                }
                Err(error) => {
                    tracing::error!("a handshake ended: {error}");
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let service = TowerToHyperService::new(app.clone());
        let connection = connections.watch(server.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
        });
    }
    drop((listener, handshakes));
    timeout(STOP_TIMEOUT, connections.shutdown())
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "requests were still under way"))
}
