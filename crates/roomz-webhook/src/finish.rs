use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tracing::Instrument as _;

/// A future that ends, whatever its caller does: the caller polls it, and after a drop, a task does.
///
/// A task from the start would cost 7 % of the instructions of a delivery.
pub(crate) struct FinishOnDrop<T: 'static> {
    /// `None` after its end, and while it is polled: after a panic it is not polled again.
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    /// A drop can happen on a thread without a runtime.
    runtime: Handle,
}

impl<T> FinishOnDrop<T> {
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self { future: Some(Box::pin(future)), runtime: Handle::current() }
    }
}

impl<T> Future for FinishOnDrop<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(mut future) = self.future.take() else { return Poll::Pending };
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            self.future = Some(future);
        }
        polled
    }
}

impl<T> Drop for FinishOnDrop<T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            let finish = CALLER_GONE.scope((), async move { drop(future.await) });
            // The caller's span is kept when the layer's own span is disabled.
            drop(self.runtime.spawn(finish.in_current_span()));
        }
    }
}

tokio::task_local! {
    /// Set in the task that finishes the future of a [`FinishOnDrop`] after its drop.
    static CALLER_GONE: ();
}

/// Waits until the caller of the surrounding [`FinishOnDrop`] dropped it.
///
/// It needs no waker, because the task polls the future from the start.
pub(crate) async fn caller_gone() {
    poll_fn(|_| if CALLER_GONE.try_with(|()| ()).is_ok() { Poll::Ready(()) } else { Poll::Pending }).await;
}
