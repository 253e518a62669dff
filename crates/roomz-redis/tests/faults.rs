//! A real server that stops, dies, comes back, and fills up, behind the whole layer.

#![allow(clippy::unwrap_used)] // in helpers; a test may

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::routing::post;
use axum::{Router, http::StatusCode};
use roomz_axum::{Secret, WebhookEvent, WebhookLayer};
use roomz_redis::RedisStore;
use roomz_tests::proxy::{Network, Proxy};
use roomz_tests::{Server, redis_url};
use roomz_webhook::testing::TestEvent;
use tower::ServiceExt as _;

const STORE_TIMEOUT: Duration = Duration::from_millis(500);

struct Receiver {
    app: Router,
    secret: Secret,
}

impl Receiver {
    async fn on(server: &Server) -> Self {
        Self::at(&format!("redis://127.0.0.1:{}", server.port())).await
    }

    async fn at(url: &str) -> Self {
        let builder = RedisStore::builder(url).with_connect_timeout(STORE_TIMEOUT);
        let store = builder.with_response_timeout(STORE_TIMEOUT / 2).connect().await.unwrap();
        let secret = Secret::new("the webhook secret").unwrap();
        let builder = WebhookLayer::builder(secret.clone()).with_store(store);
        let layer = builder.with_store_timeout(STORE_TIMEOUT).build().unwrap();
        let app = Router::new().route("/", post(async |_: WebhookEvent| "handled").layer(layer));
        Self { app, secret }
    }

    /// The status, and whether it was a duplicate. No answer may take longer than the store may, and a little.
    async fn deliver(&self, event: &TestEvent) -> (StatusCode, bool) {
        let start = Instant::now();
        let request = event.request::<Body>("/", &self.secret);
        let response = self.app.clone().oneshot(request).await.unwrap();
        assert!(start.elapsed() < STORE_TIMEOUT * 6, "{:?}", start.elapsed());
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            assert!(response.headers().contains_key("retry-after"));
        }
        (response.status(), response.headers().contains_key("roomz-webhook-skipped"))
    }

    /// Delivers as a sender that tries again, until it is accepted.
    async fn deliver_until_accepted(&self, event: &TestEvent) -> bool {
        let start = Instant::now();
        loop {
            match self.deliver(event).await {
                (StatusCode::OK, duplicate) => return duplicate,
                (status, _) => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE),
            }
            assert!(start.elapsed() < Duration::from_secs(30), "it does not recover");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_stopped_server_is_503_in_time_and_works_when_it_goes_on() {
    let Some(server) = Server::redis(&[]) else { return drop(redis_url()) };
    let receiver = Receiver::on(&server).await;
    let (before, during) = (TestEvent::busy(), TestEvent::busy());
    assert_eq!(receiver.deliver(&before).await, (StatusCode::OK, false));
    server.signal("STOP");
    for event in [&before, &during] {
        assert_eq!(receiver.deliver(event).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    server.signal("CONT");
    assert!(receiver.deliver_until_accepted(&before).await, "still known");
    assert!(!receiver.deliver_until_accepted(&during).await, "handled now");
    assert_eq!(receiver.deliver(&during).await, (StatusCode::OK, true));
}

#[tokio::test]
async fn a_killed_server_is_503_and_its_successor_is_found() {
    let Some(server) = Server::redis(&[]) else { return drop(redis_url()) };
    let receiver = Receiver::on(&server).await;
    assert_eq!(receiver.deliver(&TestEvent::busy()).await, (StatusCode::OK, false));
    let port = server.port();
    drop(server);
    let event = TestEvent::busy();
    for _ in 0..3 {
        assert_eq!(receiver.deliver(&event).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    // It has forgotten everything, the scripts too.
    let _successor = Server::redis_on(port, &[]).unwrap();
    assert!(!receiver.deliver_until_accepted(&event).await);
    assert_eq!(receiver.deliver(&event).await, (StatusCode::OK, true));
}

#[tokio::test]
async fn a_server_that_dies_between_claim_and_completion_does_not_change_the_answer() {
    let Some(server) = Server::redis(&[]) else { return drop(redis_url()) };
    let server = std::sync::Arc::new(std::sync::Mutex::new(Some(server)));
    let url = format!("redis://127.0.0.1:{}", server.lock().unwrap().as_ref().unwrap().port());
    let store = RedisStore::builder(&url).with_response_timeout(STORE_TIMEOUT / 2).connect().await.unwrap();
    let secret = Secret::new("the webhook secret").unwrap();
    let builder = WebhookLayer::builder(secret.clone()).with_store(store);
    let layer = builder.with_store_timeout(STORE_TIMEOUT).build().unwrap();
    let victim = server.clone();
    let handler = async move |_: WebhookEvent| drop(victim.lock().unwrap().take());
    let app = Router::new().route("/", post(handler).layer(layer));
    let receiver = Receiver { app, secret };
    let event = TestEvent::busy();
    assert_eq!(receiver.deliver(&event).await, (StatusCode::OK, false), "the answer stands");
    assert_eq!(receiver.deliver(&event).await, (StatusCode::OK, true), "and this process knows it");
}

#[tokio::test]
async fn a_full_server_is_503_and_forgets_nothing() {
    let full = ["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"];
    let Some(server) = Server::redis(&full) else { return drop(redis_url()) };
    let receiver = Receiver::on(&server).await;
    let first = TestEvent::busy();
    assert_eq!(receiver.deliver(&first).await, (StatusCode::OK, false));
    let mut accepted = 0;
    loop {
        match receiver.deliver(&TestEvent::busy()).await.0 {
            StatusCode::OK => accepted += 1,
            status => break assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE),
        }
        assert!(accepted < 100_000, "it never fills up");
    }
    assert!(accepted > 100, "{accepted}");
    assert_eq!(receiver.deliver(&first).await, (StatusCode::OK, true), "what it knows it still says");
}

#[tokio::test]
async fn a_connection_that_the_network_forgets_is_replaced() {
    let Some(server) = Server::redis(&[]) else { return drop(redis_url()) };
    let proxy = Proxy::start(server.address()).await;
    let receiver = Receiver::at(&format!("redis://{}", proxy.address())).await;
    let event = TestEvent::busy();
    proxy.set(Network::Forgets);
    assert_eq!(receiver.deliver(&event).await.0, StatusCode::SERVICE_UNAVAILABLE);
    proxy.set(Network::Passes);
    assert!(!receiver.deliver_until_accepted(&event).await);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_it_was_idle_costs_no_delivery() {
    let Some(server) = Server::redis(&[]) else { return drop(redis_url()) };
    let receiver = Receiver::on(&server).await;
    for _ in 0..100 {
        assert_eq!(server.redis_command("CLIENT KILL TYPE normal"), ":1");
        assert_eq!(receiver.deliver(&TestEvent::busy()).await, (StatusCode::OK, false));
    }
}

#[tokio::test]
async fn a_server_that_may_not_write_any_more_is_looked_for_anew() {
    let Some(server) = Server::redis(&[]) else { return drop(redis_url()) };
    let receiver = Receiver::on(&server).await;
    // As after a fail-over whose old master is still there: the address may lead to another one by now.
    let id_of_newest = || server.redis_command("CLIENT ID").trim_start_matches(':').parse::<u64>().unwrap();
    assert_eq!(server.redis_command("REPLICAOF 127.0.0.1 1"), "+OK");
    let (before, start, mut ours) = (id_of_newest(), Instant::now(), 0);
    while id_of_newest() == before + ours + 1 {
        ours += 1;
        assert_eq!(receiver.deliver(&TestEvent::busy()).await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert!(start.elapsed() < Duration::from_secs(20), "the same connection for ever");
    }
}

#[tokio::test]
async fn a_login_that_is_refused_for_a_while_is_tried_again() {
    let with_password = |port, password| Server::redis_on(port, &["--requirepass", password]).unwrap();
    let Some(server) = Server::redis(&["--requirepass", "right"]) else { return drop(redis_url()) };
    let port = server.port();
    let receiver = Receiver::at(&format!("redis://:right@127.0.0.1:{port}")).await;
    drop(server);
    let server = with_password(port, "other");
    let event = TestEvent::busy();
    for _ in 0..3 {
        assert_eq!(receiver.deliver(&event).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    drop(server);
    let _server = with_password(port, "right");
    assert!(!receiver.deliver_until_accepted(&event).await);
}
