//! The parts of a request without the layer: signature, event, fingerprint, secret.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use roomz_benches::secret;
use roomz_protocol::testing::TestEvent;
use roomz_protocol::{Event, Secret, Secrets, Signature};
use roomz_webhook::store::Fingerprint;

fn protocol(c: &mut Criterion) {
    let body = TestEvent::busy().body();
    let signature = secret().sign(&body);
    let text = signature.to_base64();
    let one = Secrets::from(secret());
    let two = Secrets::new([Secret::new("the new secret").unwrap(), secret()]).unwrap();

    let mut group = c.benchmark_group("protocol");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("signature", |b| b.iter(|| Signature::from_base64(black_box(text.as_bytes()))));
    group.bench_function("verify/one", |b| b.iter(|| one.verify(black_box(&body), &signature)));
    group.bench_function("verify/two", |b| b.iter(|| two.verify(black_box(&body), &signature)));
    group.bench_function("parse", |b| b.iter(|| Event::parse(black_box(&body))));
    group.bench_function("fingerprint", |b| b.iter(|| Fingerprint::of(black_box(&body))));
    group.bench_function("secret", |b| b.iter(|| Secret::new(black_box("the webhook secret"))));
    group.finish();
}

criterion_group!(benches, protocol);
criterion_main!(benches);
