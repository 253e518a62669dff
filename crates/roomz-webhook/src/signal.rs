use std::io;

/// Returns a future that completes when the process is asked to stop: Ctrl-C (SIGINT) or SIGTERM; on Windows,
/// Ctrl-C.
///
/// The signal handlers are installed by this call, before the future is polled. Pass the future to your
/// server's graceful shutdown, then call [`WebhookLayer::drain`](crate::WebhookLayer::drain).
///
/// While they are installed, a second signal does nothing. A client that sends half a request keeps
/// `axum::serve` from returning, and `drain` waits for handlers and for results that the store has not
/// recorded: give both a timeout, as `roomz_axum::serve` does.
///
/// ```no_run
/// # async fn run(listener: tokio::net::TcpListener, app: axum::Router, webhook: roomz_webhook::WebhookLayer)
/// # -> std::io::Result<()> {
/// axum::serve(listener, app).with_graceful_shutdown(roomz_webhook::shutdown_signal()?).await?;
/// tokio::time::timeout(std::time::Duration::from_secs(3), webhook.drain()).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`io::Error`] when a signal handler cannot be installed.
///
/// # Panics
///
/// When called outside a tokio runtime.
#[cfg(unix)]
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Returns a future that completes when the process is asked to stop: Ctrl-C.
///
/// # Errors
///
/// [`io::Error`] when the handler cannot be installed.
///
/// # Panics
///
/// When called outside a tokio runtime.
#[cfg(windows)]
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
