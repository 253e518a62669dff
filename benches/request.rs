//! Whole requests in memory, without a socket. Compare results within one run only.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use roomz_benches::{App, Deliveries, bare, by_hand, layer, layer_at_capacity};
use tokio::runtime::Builder;
use tower::ServiceExt as _;

fn request(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut deliveries = Deliveries::new();
    let mut group = c.benchmark_group("request");
    let mut measure = |name: &str, app: App, next: &mut dyn FnMut() -> http::Request<axum::body::Body>| {
        group.bench_function(name, |bencher| {
            bencher.to_async(&runtime).iter_batched(
                &mut *next,
                |request| app.clone().oneshot(request),
                BatchSize::SmallInput,
            );
        });
    };
    measure("bare", bare(), &mut || deliveries.next_event());
    measure("by_hand", by_hand(), &mut || deliveries.next_event());
    measure("layer/new", layer(), &mut || deliveries.next_event());
    measure("layer/new_at_capacity", layer_at_capacity(), &mut || deliveries.next_event());
    measure("layer/duplicate", layer(), &mut || deliveries.duplicate());
    measure("layer/forged", layer(), &mut || deliveries.forged());
    group.finish();
}

criterion_group!(benches, request);
criterion_main!(benches);
