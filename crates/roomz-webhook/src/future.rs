use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use tokio::runtime::Handle;

use crate::response::ResponseBody;

/// The response future of [`Webhook`](crate::Webhook).
///
/// Dropping it before the delivery is verified ends the request. Dropping it afterwards, because the client disconnected,
/// moves the rest to a background task: a verified event is still handled and settled.
#[must_use = "futures do nothing unless polled"]
#[allow(clippy::type_complexity)]
pub struct ResponseFuture<B, E>(Pin<Box<dyn Future<Output = Result<Response<ResponseBody<B>>, E>> + Send>>);

impl<B, E> ResponseFuture<B, E> {
    pub(crate) fn new(
        response: impl Future<Output = Result<Response<ResponseBody<B>>, E>> + Send + 'static,
    ) -> Self {
        Self(Box::pin(response))
    }
}

impl<B, E> Future for ResponseFuture<B, E> {
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<B, E> fmt::Debug for ResponseFuture<B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Runs a future to completion even when this wrapper is dropped: the rest is then spawned as a task.
///
/// While the caller polls it, no task is created.
pub(crate) struct RunToCompletion<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    rest: Option<Pin<Box<F>>>,
}

impl<F> RunToCompletion<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    pub(crate) fn new(future: F) -> Self {
        Self { rest: Some(Box::pin(future)) }
    }
}

impl<F> Future for RunToCompletion<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out while it is polled, so that `drop` does not spawn a future that panicked.
        let Some(mut rest) = self.rest.take() else { return Poll::Pending };
        let poll = rest.as_mut().poll(cx);
        if poll.is_pending() {
            self.rest = Some(rest);
        }
        poll
    }
}

impl<F> Drop for RunToCompletion<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        // Without a runtime the process is ending. The event is claimed again when its lease ends.
        if let (Some(rest), Ok(runtime)) = (self.rest.take(), Handle::try_current()) {
            drop(runtime.spawn(async move {
                rest.await;
            }));
        }
    }
}
