//! The databases and the inbox.

use std::panic::{set_hook, take_hook};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roomz_inbox::{EventData, Inbox, InboxState, Job};
use roomz_webhook::store::IdempotencyStore;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Secret, SecretsHandle, Tenant, TenantMap, WebhookLayer};
use tokio::time::{sleep, timeout};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::capture::capture;
use crate::{BODY, SECRET};

/// The databases, and an inbox whose handler fails and panics until the event is a dead letter.
#[tokio::test]
async fn stores_and_inbox_output_no_secret_or_body() {
    let (log, _guard) = capture();
    let outputs = Arc::new(Mutex::new(Vec::new()));
    let (of_panics, of_jobs) = (outputs.clone(), outputs.clone());
    let default_hook = take_hook();
    set_hook(Box::new(move |panic| {
        of_panics.lock().unwrap().push(panic.to_string());
        default_hook(panic);
    }));

    let secret = Secret::new(SECRET).unwrap();
    let (directory, event) = (tempfile::tempdir().unwrap(), TestEvent::busy().with("note", BODY));
    let url = format!("sqlite://{}", directory.path().join("claims").display());
    let mut stores: Vec<Arc<dyn IdempotencyStore>> =
        vec![Arc::new(roomz_sql::SqlStore::connect(&url).await.unwrap())];
    if let Some(url) = roomz_tests::redis_url_or_skip() {
        stores.push(Arc::new(roomz_redis::RedisStore::connect(&url).await.unwrap()));
    }
    let inbox =
        Inbox::connect(format!("sqlite://{}", directory.path().join("inbox").display())).await.unwrap();
    for store in stores {
        let handle = SecretsHandle::new(secret.clone());
        let layer = WebhookLayer::builder(handle.clone()).with_store(store).build().unwrap();
        let tenant = Tenant::new("acme", secret.clone()).unwrap();
        let tenants = TenantMap::new();
        tenants.insert("/acme", tenant.clone()).unwrap();
        outputs.lock().unwrap().push(format!("{layer:?} {handle:?} {tenant:?} {tenants:?}"));
        let request = event.request("/", &secret).map(|body: Vec<u8>| http_body_util::Full::from(body));
        assert!(layer.layer(inbox.endpoint()).oneshot(request).await.unwrap().status().is_success());
    }
    let service = service_fn(move |job: Job<EventData>| {
        of_jobs.lock().unwrap().push(format!("{job:?}"));
        async move {
            assert!(job.attempt() > 1, "the first attempt panics");
            Err::<(), roomz_inbox::BoxError>("the second attempt fails".into())
        }
    });
    let worker = inbox
        .worker(service)
        .with_max_attempts(2)
        .with_backoff(Duration::from_millis(1), Duration::from_millis(1))
        .with_poll_interval(Duration::from_millis(10))
        .start();
    let dead = timeout(Duration::from_secs(60), async {
        loop {
            match inbox.list(InboxState::Dead, 1).await.unwrap().pop() {
                Some(dead) => break dead,
                None => sleep(Duration::from_millis(10)).await,
            }
        }
    });
    let dead = dead.await.expect("the second attempt ends in a dead letter");
    drop(take_hook());
    assert_eq!(dead.body.to_vec(), event.body());
    outputs.lock().unwrap().push(format!("{dead:?} {inbox:?} {worker:?} {:?}", secret.sign(b"")));
    worker.shutdown(Duration::from_secs(60)).await;

    let output = outputs.lock().unwrap().join("\n") + &log.text();
    for expected in ["the first attempt panics", "the second attempt fails", " TRACE "] {
        assert!(output.contains(expected), "no {expected} in:\n{output}");
    }
    for canary in [SECRET, BODY, &secret.sign(&event.body()).to_base64()] {
        assert!(!output.contains(canary), "found {canary} in:\n{output}");
    }
}
