use std::io;

/// Returns a future that completes when the process is asked to stop: Ctrl-C (SIGINT) or SIGTERM; on Windows,
/// Ctrl-C.
///
/// The signal handlers are installed by this call, before the future is polled. Pass the future to your
/// server's graceful shutdown, then call [`WebhookLayer::drain`](crate::WebhookLayer::drain).
///
/// While they are installed, a second signal does nothing, and a client that sends half a request keeps
/// `axum::serve` from returning. Put a timeout around the rest of the server's run:
///
/// ```no_run
/// # async fn run(listener: tokio::net::TcpListener, app: axum::Router, webhook: roomz_webhook::WebhookLayer)
/// # -> std::io::Result<()> {
/// use std::time::Duration;
/// use tokio::time::timeout;
///
/// let (stop, stopped) = tokio::sync::oneshot::channel();
/// let server = axum::serve(listener, app).with_graceful_shutdown(async { drop(stopped.await) });
/// let server = tokio::spawn(server.into_future());
/// roomz_webhook::shutdown_signal()?.await;
/// let _ = stop.send(());
/// let _ = timeout(Duration::from_secs(6), server).await;
/// let _ = timeout(Duration::from_secs(3), webhook.drain()).await;
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
