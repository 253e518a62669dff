use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use scopeguard::guard;
use tokio::runtime::Handle;
use tracing::Instrument as _;

/// The future of a request. Its caller polls it. After a drop, a task does, if it [must finish](must_finish).
///
/// A task from the start would cost 7 % of the instructions of a delivery.
#[derive(derive_more::Debug)]
#[debug("FinishOnDrop")]
pub struct FinishOnDrop<T: 'static> {
    /// `None` after its end, and while it is polled: after a panic it is not polled again.
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    /// Set when the future must finish. A drop can happen on a thread without a runtime.
    runtime: Option<Handle>,
}

thread_local! {
    /// Whether the future that this thread polls must finish.
    static MUST_FINISH: Cell<bool> = const { Cell::new(false) };
}

/// Lets the surrounding [`FinishOnDrop`] finish from now on, whatever its caller does.
pub(crate) fn must_finish() {
    MUST_FINISH.set(true);
}

impl<T> FinishOnDrop<T> {
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self { future: Some(Box::pin(future)), runtime: None }
    }
}

impl<T> Future for FinishOnDrop<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(mut future) = self.future.take() else { return Poll::Pending };
        // The future of another layer may poll this one: its value is restored, also after a panic.
        let outer = guard(MUST_FINISH.replace(false), |outer| MUST_FINISH.set(outer));
        let polled = future.as_mut().poll(cx);
        let must_finish = MUST_FINISH.get();
        drop(outer);
        if polled.is_pending() {
            if must_finish {
                self.runtime = Some(Handle::current());
            }
            self.future = Some(future);
        }
        polled
    }
}

impl<T> Drop for FinishOnDrop<T> {
    fn drop(&mut self) {
        if let (Some(future), Some(runtime)) = (self.future.take(), &self.runtime) {
            let finish = CALLER_GONE.scope((), async move { drop(future.await) });
            // The caller's span is kept when the layer's own span is disabled.
            drop(runtime.spawn(finish.in_current_span()));
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

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    use super::*;

    /// A middleware between two layers catches the panic of the inner one.
    #[tokio::test(start_paused = true)]
    async fn finishes_after_panic_of_inner_future() {
        let (finished, proceed) =
            (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        let (finish, wait) = (Arc::clone(&finished), Arc::clone(&proceed));
        let mut outer = FinishOnDrop::new(async move {
            must_finish();
            let mut inner = FinishOnDrop::new(async { std::panic::panic_any("the handler panicked") });
            let panicked =
                poll_fn(|cx| Poll::Ready(catch_unwind(AssertUnwindSafe(|| Pin::new(&mut inner).poll(cx)))));
            assert!(panicked.await.is_err());
            wait.notified().await;
            finish.notify_one();
        });
        let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut outer).poll(cx))).await;
        assert!(first.is_pending());
        drop(outer);
        proceed.notify_one();
        let finished = tokio::time::timeout(std::time::Duration::from_secs(60), finished.notified()).await;
        assert!(finished.is_ok(), "the dropped future goes on");
    }
}
