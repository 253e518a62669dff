//! The whole layer with a real server that is stopped, killed, restarted, full, or demoted.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::routing::post;
use axum::{Router, http::StatusCode};
use roomz_axum::{Rejection, RejectionKind, Secret, WebhookEvent, WebhookLayer};
use roomz_redis::RedisStore;
use roomz_tests::proxy::{Network, Proxy};
use roomz_tests::{Server, poll};
use roomz_webhook::store::{
    ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner, Settled, StoreError,
};
use roomz_webhook::testing::TestEvent;
use tower::ServiceExt as _;

const STORE_TIMEOUT: Duration = Duration::from_millis(500);
const MINUTE: Duration = Duration::from_secs(60);

struct TestReceiver {
    app: Router,
    secret: Secret,
}

impl TestReceiver {
    async fn with_server(server: &Server) -> Self {
        Self::with_url(&format!("redis://127.0.0.1:{}", server.port())).await
    }

    async fn with_url(url: &str) -> Self {
        let store = RedisStore::builder(url).with_timeout(STORE_TIMEOUT / 2).connect().await.unwrap();
        let secret = Secret::new("the webhook secret").unwrap();
        let builder = WebhookLayer::builder(secret.clone()).with_store(store);
        let layer = builder.with_store_timeout(STORE_TIMEOUT).build().unwrap();
        let app = Router::new().route("/", post(async |_: WebhookEvent| "handled").layer(layer));
        Self { app, secret }
    }

    /// Delivers the event once. Returns the status and whether it was a duplicate.
    ///
    /// Panics if the response takes longer than the timeouts of the store allow.
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

    /// Delivers until the status is 200, like a sender that retries. Returns whether it was a duplicate.
    async fn deliver_until_accepted(&self, event: &TestEvent) -> bool {
        let start = Instant::now();
        loop {
            match self.deliver(event).await {
                (StatusCode::OK, duplicate) => return duplicate,
                (status, _) => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE),
            }
            assert!(start.elapsed() < Duration::from_secs(30), "the receiver did not recover within 30 s");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn connect(server: &Server) -> RedisStore {
    RedisStore::connect(format!("redis://127.0.0.1:{}", server.port())).await.unwrap()
}

pub(crate) fn new_key() -> ClaimKey {
    let id = format!("{:032x}", u128::from_be_bytes(Owner::random().to_bytes()));
    ClaimKey::new("roomz".into(), id.parse().unwrap())
}

pub(crate) async fn claim(
    store: &RedisStore,
    key: &ClaimKey,
    owner: Owner,
) -> Result<ClaimState, StoreError> {
    let request = ClaimRequest::new(owner, Fingerprint::of(b"{}"), MINUTE, MINUTE * 10);
    store.claim(key, &request).await.map(|claim| claim.state)
}

#[tokio::test]
async fn stopped_server_gives_503_until_it_continues() {
    let Some(server) = Server::redis_or_skip(&[]) else { return };
    let receiver = TestReceiver::with_server(&server).await;
    let (before, during) = (TestEvent::busy(), TestEvent::busy());
    assert_eq!(receiver.deliver(&before).await, (StatusCode::OK, false));
    server.signal("STOP");
    for event in [&before, &during] {
        assert_eq!(receiver.deliver(event).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    server.signal("CONT");
    assert!(receiver.deliver_until_accepted(&before).await, "the claim survived");
    assert!(!receiver.deliver_until_accepted(&during).await, "the handler runs now");
    assert_eq!(receiver.deliver(&during).await, (StatusCode::OK, true));
}

#[tokio::test]
async fn killed_server_gives_503_until_restarted() {
    let Some(server) = Server::redis_or_skip(&[]) else { return };
    let receiver = TestReceiver::with_server(&server).await;
    assert_eq!(receiver.deliver(&TestEvent::busy()).await, (StatusCode::OK, false));
    let port = server.port();
    drop(server);
    let event = TestEvent::busy();
    for _ in 0..3 {
        assert_eq!(receiver.deliver(&event).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
    // The new server has neither the claims nor the scripts.
    let _restarted = Server::redis_on(port, &[]).unwrap();
    assert!(!receiver.deliver_until_accepted(&event).await);
    assert_eq!(receiver.deliver(&event).await, (StatusCode::OK, true));
}

/// While the server is down, another program gets its port and answers in HTTP.
#[tokio::test]
async fn reconnects_after_reply_of_other_program() {
    let Some(server) = Server::redis_or_skip(&[]) else { return };
    let receiver = TestReceiver::with_server(&server).await;
    let port = server.port();
    drop(server);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let (answered, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let other = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            answered.send(()).unwrap();
        }
    });
    let event = TestEvent::busy();
    while answers.try_recv().is_err() {
        assert_eq!(receiver.deliver(&event).await.0, 503);
    }
    assert_eq!(receiver.deliver(&event).await.0, 503);
    other.abort();
    drop(other.await);
    let _restarted = Server::redis_on(port, &[]).unwrap();
    assert!(!receiver.deliver_until_accepted(&event).await);
}

#[tokio::test]
async fn server_killed_before_completion_keeps_response() {
    let Some(server) = Server::redis_or_skip(&[]) else { return };
    let server = std::sync::Arc::new(std::sync::Mutex::new(Some(server)));
    let url = format!("redis://127.0.0.1:{}", server.lock().unwrap().as_ref().unwrap().port());
    let store = RedisStore::builder(&url).with_timeout(STORE_TIMEOUT / 2).connect().await.unwrap();
    let secret = Secret::new("the webhook secret").unwrap();
    let builder = WebhookLayer::builder(secret.clone()).with_store(store);
    let layer = builder.with_store_timeout(STORE_TIMEOUT).build().unwrap();
    let server_to_kill = server.clone();
    let handler = async move |_: WebhookEvent| drop(server_to_kill.lock().unwrap().take());
    let app = Router::new().route("/", post(handler).layer(layer));
    let receiver = TestReceiver { app, secret };
    let event = TestEvent::busy();
    assert_eq!(
        receiver.deliver(&event).await,
        (StatusCode::OK, false),
        "the response of the handler is kept"
    );
    assert_eq!(
        receiver.deliver(&event).await,
        (StatusCode::OK, true),
        "this process remembers the completion"
    );
}

#[tokio::test]
async fn full_server_gives_503_and_loses_no_claim() {
    let full = ["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"];
    let Some(server) = Server::redis_or_skip(&full) else { return };
    let receiver = TestReceiver::with_server(&server).await;
    let first = TestEvent::busy();
    assert_eq!(receiver.deliver(&first).await, (StatusCode::OK, false));
    let mut accepted = 0;
    loop {
        match receiver.deliver(&TestEvent::busy()).await.0 {
            StatusCode::OK => accepted += 1,
            status => break assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE),
        }
        assert!(accepted < 100_000, "the server is not full after {accepted} events");
    }
    assert!(accepted > 100, "{accepted}");
    assert_eq!(receiver.deliver(&first).await, (StatusCode::OK, true), "the first event is still known");
}

/// A handler runs for two leases while the server has no free memory. Its claim is renewed and completed, and
/// a receiver that starts afterwards knows the event.
#[tokio::test]
async fn full_server_settles_running_claims() {
    let Some(server) = Server::redis_or_skip(&["--maxmemory-policy", "noeviction"]) else { return };
    let url = format!("redis://127.0.0.1:{}", server.port());
    let receiver = async |is_slow: bool| {
        let store = RedisStore::builder(&url).with_timeout(STORE_TIMEOUT / 2).connect().await.unwrap();
        let secret = Secret::new("the webhook secret").unwrap();
        let builder =
            WebhookLayer::builder(secret.clone()).with_store(store).with_store_timeout(STORE_TIMEOUT);
        // A full server must not fail open.
        let builder = builder.with_fail_open();
        let layer =
            builder.with_lease(STORE_TIMEOUT * 3).with_duplicate_wait(Duration::ZERO).build().unwrap();
        let handler = async move |_: WebhookEvent| {
            if is_slow {
                tokio::time::sleep(STORE_TIMEOUT * 6).await;
            }
        };
        TestReceiver { app: Router::new().route("/", post(handler).layer(layer)), secret }
    };
    let (slow, fast) = (receiver(true).await, receiver(false).await);
    let (event, failing) = (TestEvent::busy(), TestEvent::busy());
    let run = async {
        let request = event.request::<Body>("/", &slow.secret);
        slow.app.clone().oneshot(request).await.unwrap().status()
    };
    let (status, ()) = tokio::join!(run, async {
        tokio::time::sleep(STORE_TIMEOUT / 2).await;
        assert_eq!(server.redis_command("CONFIG SET maxmemory 1"), "+OK");
        tokio::time::sleep(STORE_TIMEOUT * 4).await;
        // Longer than the lease after the claim: it was renewed.
        let duplicate = fast.app.clone().oneshot(event.request::<Body>("/", &fast.secret)).await.unwrap();
        let rejection = duplicate.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.kind(), RejectionKind::InFlight);
        assert_eq!(
            fast.deliver(&failing).await.0,
            StatusCode::SERVICE_UNAVAILABLE,
            "a new claim needs memory"
        );
    });
    assert_eq!(status, StatusCode::OK);
    let restarted = receiver(false).await;
    assert_eq!(restarted.deliver(&event).await, (StatusCode::OK, true), "the completion was recorded");
}

#[tokio::test]
async fn replaces_silent_connection() {
    let Some(server) = Server::redis_or_skip(&[]) else { return };
    let proxy = Proxy::start(server.address()).await;
    let receiver = TestReceiver::with_url(&format!("redis://{}", proxy.address())).await;
    let event = TestEvent::busy();
    // The connection may be older than the timeouts.
    tokio::time::sleep(STORE_TIMEOUT).await;
    proxy.set(Network::Blackholes);
    assert_eq!(receiver.deliver(&event).await.0, StatusCode::SERVICE_UNAVAILABLE);
    proxy.set(Network::Forwards);
    assert!(!receiver.deliver_until_accepted(&event).await);
}

#[tokio::test]
async fn closed_idle_connection_costs_no_delivery() {
    let Some(server) = Server::redis_or_skip(&[]) else { return };
    let receiver = TestReceiver::with_server(&server).await;
    for _ in 0..100 {
        assert_eq!(server.redis_command("CLIENT KILL TYPE normal"), ":1");
        assert_eq!(receiver.deliver(&TestEvent::busy()).await, (StatusCode::OK, false));
    }
}

/// Long before its connection counts as silent.
#[tokio::test]
async fn next_operation_connects_again() {
    let Some(mut server) = Server::redis_or_skip(&[]) else { return };
    let builder = RedisStore::builder(format!("redis://{}", server.address()));
    let store = builder.with_timeout(MINUTE).connect().await.unwrap();
    server.kill();
    for _ in 0..2 {
        assert!(claim(&store, &new_key(), Owner::random()).await.is_err());
    }
    server.restart();
    assert_eq!(claim(&store, &new_key(), Owner::random()).await.unwrap(), ClaimState::claimed(1));
}

#[tokio::test]
async fn reconnects_when_server_is_demoted() {
    let Some(server) = Server::redis_or_skip(&[]) else { return };
    let receiver = TestReceiver::with_server(&server).await;
    // Like a failover that leaves the old master running as a replica. `CLIENT ID` counts all connections, so
    // that a gap shows that the store opened a new one.
    let newest_client_id =
        || server.redis_command("CLIENT ID").trim_start_matches(':').parse::<u64>().unwrap();
    assert_eq!(server.redis_command("REPLICAOF 127.0.0.1 1"), "+OK");
    let (first_id, start, mut own_connections) = (newest_client_id(), Instant::now(), 0);
    while newest_client_id() == first_id + own_connections + 1 {
        own_connections += 1;
        assert_eq!(receiver.deliver(&TestEvent::busy()).await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert!(start.elapsed() < Duration::from_secs(20), "the store did not reconnect within 20 s");
    }
}

/// A server that accepts no writes must not report a lost claim: a replica may not know the owner yet, and a
/// readiness check must fail where a claim fails.
#[tokio::test]
async fn lost_claim_needs_writes() {
    let Some(server) = Server::redis_or_skip(&[]) else { return };
    let store = connect(&server).await;
    let (unknown, held) = (new_key(), new_key());
    let _ = claim(&store, &held, Owner::random()).await.unwrap();
    for key in [&unknown, &held] {
        let renew = async || store.renew(key, Owner::random(), MINUTE).await;
        assert_eq!(renew().await.unwrap(), Settled::Lost);
        assert_eq!(server.redis_command("CONFIG SET min-replicas-to-write 1"), "+OK");
        assert!(renew().await.is_err(), "no writes without a replica");
        assert_eq!(server.redis_command("CONFIG SET min-replicas-to-write 0"), "+OK");
        assert_eq!(server.redis_command("CONFIG SET maxmemory 1"), "+OK");
        assert_eq!(renew().await.unwrap(), Settled::Lost, "needs no memory");
        assert_eq!(server.redis_command("CONFIG SET maxmemory 0"), "+OK");
    }
    assert_eq!(server.redis_command(&format!("EXISTS roomz:roomz:{}", unknown.id())), ":0");
    assert_eq!(server.redis_command(&format!("PERSIST roomz:roomz:{}", held.id())), ":1");
    assert_eq!(store.renew(&held, Owner::random(), MINUTE).await.unwrap(), Settled::Lost);
    assert_eq!(server.redis_command(&format!("PTTL roomz:roomz:{}", held.id())), ":-1", "nothing is written");
}

/// A duplicate is a duplicate even if the server refuses writes.
#[tokio::test]
async fn refused_writes_do_not_hide_done_event() {
    let Some(server) = Server::redis_or_skip(&[]) else { return };
    let store = connect(&server).await;
    let (done, owner) = (new_key(), Owner::random());
    let _ = claim(&store, &done, owner).await.unwrap();
    assert_eq!(store.complete(&done, owner, MINUTE).await.unwrap(), Settled::Applied);
    let assert_done = async |reason: &str| {
        assert_eq!(claim(&store, &done, Owner::random()).await.unwrap(), ClaimState::Done, "{reason}");
        assert!(claim(&store, &new_key(), Owner::random()).await.is_err(), "{reason}");
    };
    for (refuse, accept) in [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    ] {
        assert_eq!(server.redis_command(refuse), "+OK");
        assert_done(refuse).await;
        assert_eq!(server.redis_command(accept), "+OK");
    }
    // The server cannot replace a directory by its snapshot.
    let directory = server.redis_text("CONFIG GET dir");
    std::fs::create_dir(format!("{}/dump.rdb", directory.lines().nth(1).unwrap())).unwrap();
    assert_eq!(server.redis_cli(&["CONFIG", "SET", "save", "3600 1"]), "OK\n");
    let _: String = server.redis_text("BGSAVE");
    poll("the failed snapshot", || server.redis_text("INFO persistence").contains("last_bgsave_status:err"));
    assert_done("no snapshots").await;
}

/// The record of a claim does not grow, so a full server can change it.
#[tokio::test]
async fn full_server_changes_known_claims() {
    let Some(server) = Server::redis_or_skip(&["--maxmemory-policy", "noeviction"]) else { return };
    let store = connect(&server).await;
    let (key, owner, next) = (new_key(), Owner::random(), Owner::random());
    assert_eq!(claim(&store, &key, owner).await.unwrap(), ClaimState::claimed(1));
    assert_eq!(server.redis_command("CONFIG SET maxmemory 1"), "+OK");
    assert_eq!(claim(&store, &key, owner).await.unwrap(), ClaimState::claimed(1), "the reply was lost");
    // The renewal before the lease ceiling is shorter than the lease.
    assert_eq!(store.renew(&key, owner, MINUTE / 2).await.unwrap(), Settled::Applied);
    for _ in 0..2 {
        assert_eq!(store.release(&key, owner).await.unwrap(), Settled::Applied, "also if the reply was lost");
    }
    assert_eq!(claim(&store, &key, next).await.unwrap(), ClaimState::claimed(2));
    assert_eq!(store.complete(&key, next, MINUTE).await.unwrap(), Settled::Applied);
    assert_eq!(claim(&store, &key, owner).await.unwrap(), ClaimState::Done);
    assert!(claim(&store, &new_key(), owner).await.is_err(), "a new event needs memory");
}

/// In its last millisecond, a key has a time to live of 0.
#[tokio::test]
async fn release_succeeds_until_record_expires() {
    let Some(server) = Server::redis_or_skip(&[]) else { return };
    let store = connect(&server).await;
    let millisecond = Duration::from_millis(1);
    for _ in 0..5_000 {
        let (key, owner) = (new_key(), Owner::random());
        let request = ClaimRequest::new(owner, Fingerprint::of(b"{}"), millisecond, millisecond);
        let _ = store.claim(&key, &request).await.unwrap();
        let _: Settled = store.release(&key, owner).await.unwrap();
    }
}

#[tokio::test]
async fn retries_rejected_login() {
    let with_password = |port, password| Server::redis_on(port, &["--requirepass", password]).unwrap();
    let Some(server) = Server::redis_or_skip(&["--requirepass", "right"]) else { return };
    let port = server.port();
    let receiver = TestReceiver::with_url(&format!("redis://:right@127.0.0.1:{port}")).await;
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
