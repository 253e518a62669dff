//! Several tenants with their own secrets, and secrets that are replaced while the layer runs.

use std::error::Error;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use roomz_webhook::store::MokaStore;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{
    Delivery, RejectionKind, Secret, Secrets, SecretsHandle, Skipped, Tenant, TenantLookup, TenantMap,
    WebhookLayer, async_trait,
};
use tokio::time::Instant;
use tower::BoxError;

use crate::support::{FaultyStore, TestReceiver, TokioClock};

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn two_tenants() -> TenantMap {
    let tenants = TenantMap::new();
    for name in ["acme", "globex"] {
        let tenant = Tenant::new(name, secret(&format!("the secret of {name}"))).unwrap();
        tenants.insert(&format!("/webhooks/{name}"), tenant).unwrap();
    }
    tenants
}

/// A receiver with these tenants, whose handler returns 200.
fn receiver(lookup: impl TenantLookup) -> TestReceiver {
    let store = FaultyStore::new(MokaStore::builder().with_clock(TokioClock::new()).build());
    let layer = WebhookLayer::builder_for_tenants(lookup).with_store(store.clone());
    TestReceiver::with_layer(layer.build().unwrap(), store, async |_| Ok(StatusCode::OK))
}

fn delivery(event: &TestEvent, tenant: &str, signed_by: &str) -> Request<Body> {
    event.request(&format!("/webhooks/{tenant}"), &secret(&format!("the secret of {signed_by}")))
}

/// The same event id of two tenants is two events.
#[tokio::test]
async fn each_tenant_has_its_secret_and_claims() {
    let receiver = receiver(two_tenants());
    let event = TestEvent::busy();
    for tenant in ["acme", "globex"] {
        assert_eq!(receiver.send(delivery(&event, tenant, tenant)).await.skipped, None);
        let duplicate = receiver.send(delivery(&event, tenant, tenant)).await;
        assert_eq!(duplicate.skipped, Some(Skipped::Duplicate));
    }
    let crossed = receiver.send(delivery(&TestEvent::busy(), "acme", "globex")).await;
    assert_eq!(crossed.outcome(), (401, "signature-mismatch".into()));
    assert_eq!(receiver.runs(), 2);
}

#[tokio::test]
async fn delivery_has_namespace_of_tenant() {
    let store = FaultyStore::new(MokaStore::new());
    let layer = WebhookLayer::builder_for_tenants(two_tenants()).with_store(store.clone()).build().unwrap();
    let receiver = TestReceiver::with_layer(layer, store, async |delivery: Delivery| {
        let is_expected = delivery.namespace() == "globex";
        Ok(if is_expected { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR })
    });
    assert_eq!(receiver.send(delivery(&TestEvent::busy(), "globex", "globex")).await.status, 200);
}

/// The response to an unknown tenant equals the one to a wrong signature, and its body is read just as far.
#[tokio::test]
async fn unknown_tenant_gets_same_401() {
    let receiver = receiver(two_tenants());
    let event = TestEvent::busy();
    let mut seen: Vec<(StatusCode, HeaderMap, String, usize)> = Vec::new();
    for tenant in ["acme", "nobody"] {
        let frames_read = Arc::new(AtomicUsize::new(0));
        let counter = frames_read.clone();
        let frames: Vec<_> = event.body().chunks(10).map(Bytes::copy_from_slice).collect();
        let body = Body::from_stream(stream::iter(frames.into_iter().map(move |frame| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok::<_, BoxError>(frame)
        })));
        let (head, _) = delivery(&event, tenant, "nobody").into_parts();
        let response = receiver.send(Request::from_parts(head, body)).await;
        assert_eq!(
            response.rejection.map(|rejection| rejection.kind()),
            Some(RejectionKind::SignatureMismatch)
        );
        seen.push((response.status, response.headers, response.body, frames_read.load(Ordering::SeqCst)));
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].3 > 10, "the whole body is read");
    assert_eq!(receiver.store.total_calls(), 0);
}

#[derive(Clone, Copy)]
enum Failure {
    Error,
    Hang,
    Panic,
}

#[async_trait]
impl TenantLookup for Failure {
    async fn lookup(&self, _: &Parts) -> Result<Option<Tenant>, Box<dyn Error + Send + Sync>> {
        match self {
            Self::Error => Err("the database is down".into()),
            Self::Hang => pending().await,
            Self::Panic => panic!("in the lookup"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failed_lookup_fails_closed() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    for (failure, duration) in [(Failure::Error, 0), (Failure::Hang, 2), (Failure::Panic, 0)] {
        let receiver = receiver(failure);
        let start = Instant::now();
        let response = receiver.send(delivery(&TestEvent::busy(), "acme", "acme")).await;
        assert_eq!(response.outcome(), (503, "tenant-lookup-failed".into()));
        assert_eq!(response.headers[header::RETRY_AFTER], "5");
        assert_eq!(start.elapsed(), Duration::from_secs(duration));
        assert_eq!((receiver.runs(), receiver.store.total_calls()), (0, 0));
    }
    let metrics = recorder.snapshotter().snapshot().into_vec();
    let failed =
        metrics.iter().find(|(key, ..)| key.key().name() == "roomz_webhook_tenant_lookup_errors_total");
    assert_eq!(failed.map(|(.., value)| value), Some(&DebugValue::Counter(3)));
}

/// A request that the head already rejects causes no lookup.
#[tokio::test]
async fn lookup_runs_after_head_checks() {
    #[derive(Clone, Default)]
    struct Counting(Arc<AtomicUsize>);
    #[async_trait]
    impl TenantLookup for Counting {
        async fn lookup(&self, _: &Parts) -> Result<Option<Tenant>, Box<dyn Error + Send + Sync>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(None)
        }
    }
    let lookup = Counting::default();
    let receiver = receiver(lookup.clone());
    let mut unsigned = delivery(&TestEvent::busy(), "acme", "acme");
    unsigned.headers_mut().insert("roomz-signature", HeaderValue::from_static("x"));
    assert_eq!(receiver.send(unsigned).await.outcome(), (401, "signature-malformed".into()));
    assert_eq!(lookup.0.load(Ordering::SeqCst), 0);
    assert_eq!(receiver.send(delivery(&TestEvent::busy(), "acme", "acme")).await.status, 401);
    assert_eq!(lookup.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn tenants_change_while_layer_runs() {
    let tenants = two_tenants();
    let receiver = receiver(tenants.clone());
    assert!(tenants.remove("/webhooks/acme"));
    assert_eq!(receiver.send(delivery(&TestEvent::busy(), "acme", "acme")).await.status, 401);
    let acme = || Tenant::new("acme", secret("the secret of acme")).unwrap();
    tenants.insert("/webhooks/acme", acme()).unwrap();
    assert_eq!(receiver.send(delivery(&TestEvent::busy(), "acme", "acme")).await.status, 200);
    tenants.replace_all([("/webhooks/acme", acme()), ("no path", acme())]).unwrap_err();
    assert_eq!(receiver.send(delivery(&TestEvent::busy(), "globex", "globex")).await.status, 200);
    tenants.replace_all([("/webhooks/acme", acme())]).unwrap();
    assert_eq!(receiver.send(delivery(&TestEvent::busy(), "globex", "globex")).await.status, 401);
    assert_eq!(receiver.send(delivery(&TestEvent::busy(), "acme", "acme")).await.status, 200);
}

#[test]
fn invalid_tenant_is_an_error() {
    assert!(Tenant::new("", secret("s")).unwrap_err().to_string().contains("it is empty"));
    let error = TenantMap::new().insert("/{tenant}", Tenant::new("a", secret("s")).unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("the path is \"/{tenant}\""), "{error}");
    let error =
        WebhookLayer::builder_for_tenants(TenantMap::new()).with_namespace("staging").build().unwrap_err();
    assert!(error.to_string().contains("each tenant has its own namespace"), "{error}");
}

/// Two senders never stop while the secret is rotated: one signs with the old secret until both are valid,
/// then with the new one. No delivery is rejected.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rotation_under_load_rejects_nothing() {
    let handle = SecretsHandle::new(secret("generation 0"));
    let store = FaultyStore::new(MokaStore::new());
    let layer = WebhookLayer::builder(handle.clone()).with_store(store.clone()).build().unwrap();
    let receiver = TestReceiver::with_layer(layer, store, async |_| Ok(StatusCode::OK));
    // The secret that ROOMZ signs with.
    let generation = Arc::new(tokio::sync::RwLock::new(0));
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let (receiver, generation) = (receiver.clone(), generation.clone());
            tokio::spawn(async move {
                for _ in 0..500 {
                    let generation = generation.read().await;
                    let signed_by = secret(&format!("generation {generation}"));
                    let response = receiver.send(TestEvent::busy().request("/", &signed_by)).await;
                    assert_eq!(response.outcome(), (200, String::new()));
                }
            })
        })
        .collect();
    for next in 1..200 {
        let (old, new) = (secret(&format!("generation {}", next - 1)), secret(&format!("generation {next}")));
        handle.set(Secrets::new([new.clone(), old.clone()]).unwrap());
        *generation.write().await = next;
        handle.set(new);
    }
    for sender in senders {
        sender.await.unwrap();
    }
    let old = receiver.send(TestEvent::busy().request("/", &secret("generation 0"))).await;
    assert_eq!(old.status, 401, "the old secret is no longer valid");
    assert_eq!(receiver.runs(), 4_000);
}
