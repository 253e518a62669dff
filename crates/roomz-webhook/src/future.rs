use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::response::ResponseBody;

/// The response future of [`Webhook`](crate::Webhook).
///
/// Dropping it before the delivery is verified ends the request. From the claim on, the delivery has its own task: after
/// a drop, for example because the client disconnected, a running handler finishes and its claim is settled.
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

/// Polls the future once, and sets a timeout only if it is pending. A timer reads the clock, which costs more than a call of
/// the memory store.
pub(crate) async fn timeout_if_pending<F: Future>(
    duration: Duration,
    mut future: Pin<&mut F>,
) -> Result<F::Output, Elapsed> {
    if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        return Ok(output);
    }
    // Boxed, because most futures are ready at once, and each future that calls this one would have room for the timer.
    Box::pin(timeout(duration, future)).await
}
