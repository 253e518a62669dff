//! Receivers on a NATS server, and what the server has stored.

#![allow(dead_code, reason = "each test file uses a part")]

use std::net::TcpListener;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::stream::Config;
use axum::Router;
use axum::body::Body;
use axum::http::header;
use nats::broker::{Broker, STREAM};
use roomz_axum::testing::TestEvent;
use roomz_axum::{Event, Secret, WebhookLayer};
use roomz_tests::Server;
use tower::ServiceExt as _;

pub fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}

/// A server and a connection to it, or `None` if the tests are skipped.
pub async fn server_and_broker() -> Option<(Server, Broker)> {
    let server = Server::nats_or_skip("")?;
    let broker = Broker::connect(&server.nats_url(), None).await.unwrap();
    Some((server, broker))
}

/// Three servers, and a stream with a replica on each, or `None` if the tests are skipped.
pub async fn cluster() -> Option<[Server; 3]> {
    let listeners: [_; 3] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let addresses = listeners.map(|listener| listener.local_addr().unwrap());
    let routes = addresses.map(|address| format!("\"nats://{address}\"")).join(", ");
    let mut servers = Vec::new();
    for address in addresses {
        servers.push(Server::nats_or_skip(&format!(
            "server_name: \"{address}\"\ncluster {{ name: test, listen: \"{address}\", routes: [{routes}] }}"
        ))?);
    }
    let servers: [_; 3] = servers.try_into().unwrap();
    // The servers need a moment to elect a leader.
    eventually("a stream with three replicas", async || {
        let Ok(broker) = Broker::connect(&servers[0].nats_url(), None).await else { return false };
        let config = broker.stream().cached_info().config.clone();
        let config = Config { num_replicas: 3, ..config };
        if broker.context().update_stream(config).await.is_err() {
            return false;
        }
        let stream = broker.context().get_stream(STREAM).await.unwrap();
        let cluster = stream.cached_info().cluster.clone().unwrap();
        cluster.leader.is_some()
            && cluster.replicas.len() == 2
            && cluster.replicas.iter().all(|replica| replica.current)
    })
    .await;
    Some(servers)
}

/// A receiver that remembers nothing, as after a restart.
pub fn new_receiver(broker: &Broker) -> Router {
    nats::app(WebhookLayer::new(secret()), broker.clone())
}

#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

pub async fn deliver(receiver: &Router, event: &TestEvent) -> Answer {
    let request = event.request::<Body>("/webhooks/roomz", &secret());
    let response = receiver.clone().oneshot(request).await.unwrap();
    let retry_after = response.headers().get(header::RETRY_AFTER);
    Answer {
        status: response.status().as_u16(),
        retry_after: retry_after.map(|value| value.to_str().unwrap().to_owned()),
    }
}

/// Delivers an event until it is accepted. Returns the statuses.
pub async fn deliver_until_accepted(receiver: &Router, event: &TestEvent) -> Vec<u16> {
    let mut statuses = Vec::new();
    let start = Instant::now();
    loop {
        let answer = deliver(receiver, event).await;
        statuses.push(answer.status);
        if answer.is_success() {
            return statuses;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "never accepted: {statuses:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn id(event: &TestEvent) -> String {
    Event::parse(&event.body()).unwrap().id.to_string()
}

/// A message of the stream.
#[derive(Debug)]
pub struct Stored {
    pub subject: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Every message of the stream with this name, as the server has it: none if there is no stream yet.
pub async fn stored_in(broker: &Broker, stream: &str) -> Vec<Stored> {
    let Ok(stream) = broker.context().get_stream(stream).await else { return Vec::new() };
    let state = &stream.cached_info().state;
    let mut stored = Vec::new();
    // An empty stream begins at 0 or 1, by the version of the server.
    for sequence in state.first_sequence.max(1)..=state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let (subject, body) = (message.subject.to_string(), message.payload.to_vec());
        stored.push(Stored { subject, headers: message.headers, body });
    }
    assert_eq!(stored.len() as u64, state.messages);
    stored
}

/// The ids of the stored events, sorted.
pub async fn stored_ids(broker: &Broker) -> Vec<String> {
    let stored = stored_in(broker, STREAM).await;
    let mut ids: Vec<_> =
        stored.iter().map(|message| Event::parse(&message.body).unwrap().id.to_string()).collect();
    ids.sort();
    ids
}

/// Waits until a condition is true.
pub async fn eventually(what: &str, mut is_true: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_true().await {
        assert!(start.elapsed() < Duration::from_secs(30), "after 30 s, not yet: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
