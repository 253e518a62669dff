//! The checks of a request, in their order.

mod body;
mod event;
mod head;
mod order;

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body::Frame;
use roomz_webhook::testing::TestEvent;
use tower::BoxError;

use crate::support::secret;

/// A body that panics when it is read.
struct Unread;

impl http_body::Body for Unread {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        panic!("the body was read");
    }
}

/// A request with a valid signature.
fn signed() -> Request<Body> {
    TestEvent::busy().request("/webhooks/roomz", &secret())
}

fn with_body(request: Request<Body>, body: Body) -> Request<Body> {
    request.map(|_| body)
}
