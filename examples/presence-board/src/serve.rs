//! A server that gives up on clients that are slow to send a request's head, and that lets requests end when it stops.
//!
//! `axum::serve` is shorter, but sets no limit to the head. Neither limits the number of connections: that is for the
//! proxy in front, or the operating system.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

/// How long a client may take to send the head of a request, or keep a connection open between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests may take to end once the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(6);

/// Serves until `stop` resolves, then lets the requests that are under way end.
///
/// Fails when requests were still under way at the end of the stop time-out.
pub async fn serve(listener: TcpListener, app: Router, stop: impl Future<Output = ()>) -> io::Result<()> {
    let mut server = http1::Builder::new();
    // Without a timer hyper has no time-outs at all.
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Most often too many open files: give connections the time to end.
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
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
    drop(listener);
    tokio::time::timeout(STOP_TIMEOUT, connections.shutdown())
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "requests were still under way"))
}
