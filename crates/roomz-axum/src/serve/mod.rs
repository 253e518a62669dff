mod stream;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum_core::body::Body;
use axum_core::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use roomz_webhook::{WebhookLayer, shutdown_signal};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_service::Service;

use self::stream::{HANDLING, IDLE, TimedStream};
use crate::close_unrouted;

/// Longer than proxies and senders keep idle connections: .NET 60 s, many load balancers 60 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// The longest head. With hyper's default, each client can make the server hold 400 KB.
const HEAD_BYTES: usize = 64 * 1024;
/// The time for requests to finish after the shutdown began. Then their connections are closed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(6);
/// The time for handlers to finish whose client disconnected.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// The pause after a connection could not be accepted, for example because there are too many.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

type Signal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves an application over HTTP/1.1 until the process is asked to stop: Ctrl-C or SIGTERM.
///
/// `webhook` is the layer in the application, or a clone: the server announces its shutdown and drains it.
/// The signal handlers are installed by this call, before the server is awaited.
///
/// ```no_run
/// use axum::{Router, routing::post};
/// use roomz_axum::{Secret, WebhookEvent, WebhookLayer};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let webhook = WebhookLayer::new(Secret::from_env("ROOMZ_WEBHOOK_SECRET")?);
/// let app = Router::new().route("/webhooks/roomz", post(async |_: WebhookEvent| ()).layer(webhook.clone()));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// roomz_axum::serve(listener, app, webhook).await?;
/// # Ok(())
/// # }
/// ```
///
/// | limit | |
/// |---|---|
/// | the head of a request; a new connection without a request | 10 s; `axum::serve` has no limit |
/// | the length of a head | 64 KiB |
/// | a client that reads nothing of a response | 60 s |
/// | a connection between two requests | 90 s, longer than senders and load balancers keep one |
/// | after the signal, [`begin_shutdown`](WebhookLayer::begin_shutdown): requests are still accepted | 0 s; see [`with_shutdown_delay`](Serve::with_shutdown_delay) |
/// | then no new connection, and requests finish | 6 s |
/// | then handlers whose client disconnected finish | 3 s |
/// | a second signal | the server ends at once, with an error |
///
/// A 404 or 405 carries `Connection: close` ([`close_unrouted`]). The number of connections has no limit: set
/// one in your proxy or operating system. A connection takes at most 640 KiB while a body of 256 KiB arrives,
/// and 128 KiB otherwise. For TLS or HTTP/2, use a proxy, or copy the example `https`.
///
/// # Errors
///
/// [`io::Error`] when handlers did not finish in time, after a second signal, and when the signals cannot be
/// installed. Connections that are still in use after 6 s are closed and logged.
///
/// # Panics
///
/// When called outside a tokio runtime.
pub fn serve<S>(listener: TcpListener, app: S, webhook: WebhookLayer) -> Serve<S> {
    let shutdown = shutdown_signal().map(|signal| Box::pin(signal) as Signal);
    Serve { listener, app, webhook, shutdown, shutdown_delay: Duration::ZERO }
}

/// A server, created by [`serve()`]. Await it.
#[derive(derive_more::Debug)]
#[debug("Serve {{ listener: {listener:?}, .. }}")]
#[must_use = "a server does nothing until it is awaited"]
pub struct Serve<S> {
    listener: TcpListener,
    app: S,
    webhook: WebhookLayer,
    shutdown: io::Result<Signal>,
    shutdown_delay: Duration,
}

impl<S> Serve<S> {
    /// Sets the time in which the load balancer notices that this instance stops. Default: 0 s.
    ///
    /// Set it longer than the period of the readiness probe times its failures. Meanwhile deliveries are
    /// handled.
    pub fn with_shutdown_delay(mut self, delay: Duration) -> Self {
        self.shutdown_delay = delay;
        self
    }

    /// Sets the future that begins the shutdown, in place of Ctrl-C and SIGTERM.
    pub fn with_shutdown(mut self, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
        self.shutdown = Ok(Box::pin(shutdown));
        self
    }
}

impl<S> IntoFuture for Serve<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

async fn second_signal() -> io::Result<()> {
    shutdown_signal()?.await;
    shutdown_signal()?.await;
    Ok(())
}

impl<S> Serve<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    async fn run(self) -> io::Result<()> {
        let Self { listener, app, webhook, shutdown, shutdown_delay } = self;
        let shutdown = shutdown?;
        let stop = async {
            shutdown.await;
            webhook.begin_shutdown();
            sleep(shutdown_delay).await;
        };
        let served = async {
            Self::serve_until(stop, listener, app).await;
            timeout(DRAIN_TIMEOUT, webhook.drain()).await.map_err(|_| {
                let message =
                    "handlers were still running at shutdown; redelivered events run again once their leases end";
                io::Error::new(ErrorKind::TimedOut, message)
            })
        };
        tokio::select! {
            result = served => result,
            second = second_signal() => {
                second?;
                Err(io::Error::new(ErrorKind::Interrupted, "a second signal ended the shutdown"))
            }
        }
    }

    async fn serve_until(stop: impl Future<Output = ()>, listener: TcpListener, app: S) {
        let graceful = GracefulShutdown::new();
        // Dropping it closes the connections.
        let mut connections = JoinSet::new();
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT).max_buf_size(HEAD_BYTES);

        let is_gone = |error: &io::Error| {
            matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
        };
        let mut stop = pin!(stop);
        loop {
            let stream = tokio::select! {
                () = &mut stop => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    // The client is gone already.
                    Err(error) if is_gone(&error) => continue,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            // Answers are small.
            let _ = stream.set_nodelay(true);
            let (app, phase) = (app.clone(), Arc::default());
            let stream = TokioIo::new(TimedStream::new(stream, Arc::clone(&phase)));
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                phase.store(HANDLING, Ordering::Relaxed);
                let (mut app, phase) = (app.clone(), Arc::clone(&phase));
                async move {
                    poll_fn(|cx| app.poll_ready(cx)).await?;
                    let response = app.call(request.map(Body::new)).await;
                    phase.store(IDLE, Ordering::Relaxed);
                    response.map(close_unrouted)
                }
            });
            // An error affects only this connection, and its client notices it.
            connections.spawn(graceful.watch(builder.serve_connection(stream, service)));
            while connections.try_join_next().is_some() {}
        }
        drop(listener);
        if timeout(REQUEST_TIMEOUT, graceful.shutdown()).await.is_err() {
            // Their handlers go on, and `drain` waits for them.
            tracing::warn!("connections closed that were still in use at shutdown");
            connections.shutdown().await;
        }
    }
}
