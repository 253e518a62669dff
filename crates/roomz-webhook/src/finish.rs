use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tracing::Instrument as _;

/// A future that ends, whatever its caller does: the caller polls it, and after a drop, a task does.
///
/// A task from the start would cost 7 % of the instructions of a delivery.
pub(crate) struct FinishOnDrop<T: 'static> {
    /// `None` after its end, and while it is polled: after a panic it is not polled again.
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    dropped: Arc<AtomicBool>,
    /// A drop can happen on a thread without a runtime.
    runtime: Handle,
}

impl<T> FinishOnDrop<T> {
    /// The function gets a future that is ready once the caller is gone.
    pub(crate) fn new<F>(future: impl FnOnce(CallerGone) -> F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        let dropped = Arc::new(AtomicBool::new(false));
        let future = Box::pin(future(CallerGone(Arc::clone(&dropped))));
        Self { future: Some(future), dropped, runtime: Handle::current() }
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
            self.dropped.store(true, Ordering::Relaxed);
            // The caller's span is kept when the layer's own span is disabled.
            drop(self.runtime.spawn(async move { drop(future.await) }.in_current_span()));
        }
    }
}

/// A part of the future of a [`FinishOnDrop`]: ready once the caller dropped that.
///
/// It needs no waker, because the task polls the future from the start.
pub(crate) struct CallerGone(Arc<AtomicBool>);

impl Future for CallerGone {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }
}
