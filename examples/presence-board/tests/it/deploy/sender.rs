//! Sends deliveries at a constant rate, whatever the answers, and counts the statuses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use roomz_axum::testing::TestEvent;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::support::program::secret;

/// Deliveries per second.
const RATE: u32 = 1_000;
/// Deliveries in flight. More would reach the limit of connections of nginx when the machine is slow.
const MAX_IN_FLIGHT: usize = 100;

/// How often each result occurred: a status, or the error of the connection.
pub(crate) type Results = BTreeMap<String, usize>;

/// A sender that runs until it is stopped.
pub(crate) struct Sender {
    stopped: Arc<AtomicBool>,
    task: JoinHandle<Results>,
}

impl Sender {
    /// Starts sending new events to `/webhooks/roomz` at this address.
    pub(crate) fn start(address: &str) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        Self { stopped: Arc::clone(&stopped), task: tokio::spawn(send(stopped, address.to_owned())) }
    }

    /// Waits for the last answers and returns all results.
    pub(crate) async fn stop(self) -> Results {
        self.stopped.store(true, Ordering::SeqCst);
        self.task.await.unwrap()
    }
}

async fn send(stopped: Arc<AtomicBool>, address: String) -> Results {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let (secret, url) = (secret(), format!("http://{address}/webhooks/roomz"));
    let mut timer = interval(Duration::from_secs(1) / RATE);
    timer.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut deliveries = JoinSet::new();
    let permits = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    while !stopped.load(Ordering::SeqCst) {
        timer.tick().await;
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        let request =
            TestEvent::busy().request::<Vec<u8>>(&url, &secret).map(|body| Full::new(Bytes::from(body)));
        let response = client.request(request);
        deliveries.spawn(async move {
            let _permit = permit;
            match response.await {
                Ok(response) => {
                    let status = response.status();
                    response
                        .into_body()
                        .collect()
                        .await
                        .map_or_else(|error| error.to_string(), |_| status.to_string())
                }
                Err(error) => error.to_string(),
            }
        });
    }
    let mut results = Results::new();
    for result in deliveries.join_all().await {
        *results.entry(result).or_default() += 1;
    }
    results
}
