//! Load in a closed loop.

use std::time::Instant;

use crate::services::secret;
use roomz_protocol::testing::{TestEvent, signed_request};
use roomz_webhook::Webhook;
use tower::ServiceExt as _;

use axum::body::Body;
use http::{Request, StatusCode};
use roomz_inbox::Endpoint;

/// A signed delivery of a new event, and its id.
pub(crate) fn delivery() -> (String, Request<Body>) {
    let event = TestEvent::busy();
    let body = event.body();
    let id = roomz_protocol::Event::parse(&body).unwrap().id.to_string();
    (id, signed_request("/", body, &secret()))
}

/// Delivers to the endpoint behind the layer, in this process. Panics unless the event is new and durable.
pub(crate) async fn deliver(receiver: Webhook<Endpoint>, request: Request<Body>) {
    let response = receiver.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
}

/// Runs these workers until the time is over, and returns the operations per second. Each starts its next
/// operation when the last one ended, and returns how many it did.
pub(crate) async fn closed_loop<W, F>(workers: Vec<W>) -> f64
where
    W: FnOnce(Instant) -> F,
    F: Future<Output = u32> + Send + 'static,
{
    let start = Instant::now();
    let tasks: Vec<_> = workers.into_iter().map(|worker| tokio::spawn(worker(start))).collect();
    let mut count = 0;
    for task in tasks {
        count += task.await.unwrap();
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}
