//! Load in a closed loop, and latencies.

use std::time::{Duration, Instant};

use roomz_benches::secret;
use roomz_protocol::testing::{TestEvent, signed_request};
use roomz_webhook::Webhook;
use tower::ServiceExt as _;

use axum::body::Body;
use http::{Request, StatusCode};
use roomz_inbox::Endpoint;

/// Latencies in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<f64>);

/// The result of a closed loop.
#[derive(Debug)]
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    pub(crate) latencies: Latencies,
}

impl Latencies {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The smallest value that this part of all values does not exceed.
    pub(crate) fn percentile(&self, part: f64) -> f64 {
        let index = ((self.0.len() as f64 * part) as usize).min(self.0.len().saturating_sub(1));
        self.0.get(index).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

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

/// Runs these workers until the time is over. Each starts its next operation when the last one ended, and
/// returns the latencies.
pub(crate) async fn closed_loop<W, F>(workers: Vec<W>) -> Rate
where
    W: FnOnce(Instant) -> F,
    F: Future<Output = Vec<f64>> + Send + 'static,
{
    let start = Instant::now();
    let tasks: Vec<_> = workers.into_iter().map(|worker| tokio::spawn(worker(start))).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let per_second = latencies.len() as f64 / start.elapsed().as_secs_f64();
    Rate { per_second, latencies: Latencies::of(latencies) }
}
