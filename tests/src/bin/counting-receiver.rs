//! A receiver that a test starts as a process, to attack it or to run it for an hour. It counts its runs and
//! the calls of its store.
//!
//! It prints its address, and then the id of each event that it handles. It exits when its standard input
//! closes, so that it ends with the test.

#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "only tests start it")]

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use bytes::Bytes;
use roomz_axum::{WebhookDelivery, WebhookLayer};
use roomz_redis::RedisStore;
use roomz_tests::counting::{ROTATION_OVERLAP, secret_of_rotation};
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, IdempotencyStore, MokaStore, Owner, Settled, StoreError, async_trait,
};
use roomz_webhook::{Secrets, SecretsHandle};
use tokio::net::TcpListener;

/// A store whose calls are counted.
#[derive(Clone)]
struct Counting(Arc<dyn IdempotencyStore>, Arc<AtomicUsize>);

impl Counting {
    fn count(&self) -> &dyn IdempotencyStore {
        self.1.fetch_add(1, Relaxed);
        &*self.0
    }
}

#[async_trait]
impl IdempotencyStore for Counting {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        self.count().claim(key, claim).await
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.count().renew(key, owner, lease).await
    }

    async fn complete(&self, key: &ClaimKey, owner: Owner, keep: Duration) -> Result<Settled, StoreError> {
        self.count().complete(key, owner, keep).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.count().release(key, owner).await
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let store: Arc<dyn IdempotencyStore> = match argument("--redis") {
        Some(url) => Arc::new(RedisStore::connect(&url).await.unwrap()),
        None => {
            let capacity = argument("--capacity").map_or(1_000_000, |text| text.parse().unwrap());
            Arc::new(MokaStore::builder().with_capacity(capacity).build())
        }
    };
    let (calls, secrets) = (Arc::new(AtomicUsize::new(0)), SecretsHandle::new(secret_of_rotation(0)));
    let mut builder = WebhookLayer::builder(secrets.clone()).with_store(Counting(store, calls.clone()));
    if argument("--redis").is_some() {
        // A server that is killed every 20 s must read all ids in less.
        let retention = Duration::from_mins(5);
        builder = builder.with_retention(retention).with_lease_ceiling(retention);
    }
    let webhook = builder.build().unwrap();
    let rotate = move |Path(newest): Path<u64>| {
        let accepted = (newest.saturating_sub(ROTATION_OVERLAP)..=newest).map(secret_of_rotation);
        secrets.set(Secrets::new(accepted).unwrap());
        std::future::ready(())
    };
    let counts = async move || {
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        format!("{} {tasks}", calls.load(Relaxed))
    };
    // More than the buffers of a connection hold.
    let page = Bytes::from(vec![b'x'; 16 * 1024 * 1024]);
    let app = Router::new()
        .route("/", post(handle).layer(webhook.clone()))
        .route("/counts", get(counts))
        .route("/page", get(async move || page.clone()))
        .route("/rotate/{newest}", get(rotate));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    if argument("--http2").is_some() {
        axum::serve(listener, app).await.unwrap();
    } else {
        roomz_axum::serve(listener, app, webhook).await.unwrap();
    }
}

/// The effect of the handler is one line on standard output.
async fn handle(WebhookDelivery(delivery): WebhookDelivery) {
    tokio::time::sleep(Duration::from_millis(2)).await;
    std::io::stdout().write_all(format!("{}\n", delivery.event().id).as_bytes()).unwrap();
}

/// The value of an argument. One without a value is its own.
fn argument(name: &str) -> Option<String> {
    let mut rest = std::env::args().skip_while(|argument| argument != name);
    let found = rest.next()?;
    Some(rest.next().unwrap_or(found))
}
