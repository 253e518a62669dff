//! Uses a secret in every way that the layer has, drops it, and lets a test read its memory.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "only tests start it")]

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bytes::Bytes;
use http::Request;
use roomz_axum::WebhookLayer;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Secret, Secrets, SecretsHandle};
use tower::ServiceExt as _;

/// Deliveries that the layer verifies, one after the other.
const DELIVERIES: usize = 20;

// One thread, so that there is one stack.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let path = std::env::args().nth(1).unwrap();
    let secret = Secret::from_file(path).unwrap();
    let (first, other) = (Secret::new("another secret").unwrap(), Secret::new("a third secret").unwrap());
    let mut secrets = Secrets::from(first);
    // The list of secrets is reallocated.
    for _ in 0..10 {
        secrets.extend([secret.clone()]);
    }
    let handle = SecretsHandle::new(secrets);
    let webhook = WebhookLayer::new(handle.clone());
    let app = Router::new().route("/", post(async || ()).layer(webhook));
    for number in 0..DELIVERIES {
        let request: Request<Vec<u8>> = TestEvent::busy().request("/", &secret);
        let request = request.map(|body| match number % 2 {
            0 => Body::from(body),
            _ => Body::new(InFrames(body.chunks(64).map(Bytes::copy_from_slice).rev().collect())),
        });
        // On the heap, like the task of a connection.
        let response = tokio::spawn(app.clone().oneshot(request)).await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
    }
    wait_for_line("held");
    handle.set(other);
    drop((secret, app));
    wait_for_line("dropped");
}

fn wait_for_line(state: &str) {
    println!("{state}");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// A body in several frames, the last first.
struct InFrames(Vec<Bytes>);

impl http_body::Body for InFrames {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.pop().map(|data| Ok(http_body::Frame::data(data))))
    }
}
