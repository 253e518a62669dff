//! Whole requests in memory, without a socket. Compare results within one run only.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use roomz_benches::{
    App, Deliveries, bare, by_hand, by_hand_moka, layer, layer_at_capacity, with_store, without_kit,
};
use roomz_webhook::store::CompactStore;
use tokio::runtime::Builder;
use tower::ServiceExt as _;

/// Requests that are created at once, outside the measured time.
const BATCH: u64 = 1_000;

fn request(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut deliveries = Deliveries::new();
    let mut group = c.benchmark_group("request");
    let mut measure = |name: &str, app: App, next: &mut dyn FnMut() -> http::Request<axum::body::Body>| {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut elapsed = Duration::ZERO;
                let mut rest = iterations;
                while rest > 0 {
                    let requests: Vec<_> = (0..rest.min(BATCH)).map(|_| next()).collect();
                    rest -= requests.len() as u64;
                    let app = app.clone();
                    // In a task, as in a server: waking the future of `block_on` costs more than waking a
                    // task.
                    let batch = async move {
                        let start = Instant::now();
                        for request in requests {
                            app.clone().oneshot(request).await.unwrap();
                        }
                        start.elapsed()
                    };
                    elapsed += runtime.block_on(runtime.spawn(batch)).unwrap();
                }
                elapsed
            });
        });
    };
    measure("bare", bare(), &mut || deliveries.next_event());
    measure("by_hand", by_hand(), &mut || deliveries.next_event());
    measure("by_hand_moka", by_hand_moka(), &mut || deliveries.next_event());
    measure("without_kit", without_kit(), &mut || deliveries.next_event());
    measure("layer/new", layer(), &mut || deliveries.next_event());
    measure("layer/new_compact", with_store(CompactStore::new()), &mut || deliveries.next_event());
    measure("layer/new_at_capacity", layer_at_capacity(), &mut || deliveries.next_event());
    measure("layer/duplicate", layer(), &mut || deliveries.duplicate());
    measure("layer/forged", layer(), &mut || deliveries.forged());
    group.finish();
}

criterion_group!(benches, request);
criterion_main!(benches);
