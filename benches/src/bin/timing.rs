//! Does the time of a verification tell where a signature differs, or which tenants exist?
//!
//! `cargo run --release -p roomz-benches --bin timing`. As dudect does: two classes of inputs, in random
//! order, and Welch's t of their times, without the slowest 10 and 1 %. The first row is a control: a
//! comparison that leaks.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark that prints a table"
)]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use roomz_protocol::testing::{TestEvent, signed_request};
use roomz_protocol::{Secret, Secrets, Signature};
use roomz_webhook::{Tenant, TenantMap, WebhookBody, WebhookLayer};
use tower::{Layer as _, ServiceExt as _, service_fn};

const MEASUREMENTS: usize = 400_000;
/// The shares of the measurements that are kept, the fastest ones.
const KEPT: [f64; 2] = [0.9, 0.99];

fn main() {
    let measurements = std::env::args().nth(1).map_or(MEASUREMENTS, |count| count.parse().unwrap());
    println!(
        "{:<62} {:>8} {:>8} {:>9}",
        format!("t of {measurements} times, of the fastest"),
        "90 %",
        "99 %",
        "ns (90 %)"
    );

    let secret = Secret::new("the webhook secret").unwrap();
    let expected = [7_u8; 64];
    let [early, late] = [0, 63].map(|at| {
        let mut bytes = expected;
        bytes[at] = 0;
        bytes
    });
    print("control: byte by byte, ends at the first difference", measurements, |is_late| {
        let found = if is_late { late } else { early };
        move || found.iter().zip(black_box(&expected)).all(|(a, b)| black_box(a) == b)
    });

    let body = TestEvent::busy().body();
    let secrets = Secrets::from(secret.clone());
    let signature = signed_request::<Vec<u8>>("/", body.clone(), &secret);
    let text = signature.headers()[roomz_protocol::SIGNATURE_HEADER].as_bytes();
    // One bit of the first character, and of the last one that has no padding bits.
    let [early, late] = [0, 84].map(|at| {
        let mut text = text.to_vec();
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        Signature::from_base64(&text).unwrap()
    });
    print("verify: signature differs in its first or last byte", measurements, |is_late| {
        // A copy, so that both classes have the same address.
        let signature = if is_late { late.clone() } else { early.clone() };
        let (secrets, body) = (&secrets, &body);
        move || secrets.verify(black_box(body), black_box(&signature)).is_ok()
    });
    let other = Secret::new("another secret").unwrap().sign(&body);
    print("verify: signature differs in its last byte or everywhere", measurements, |is_other| {
        let signature = if is_other { other.clone() } else { late.clone() };
        let (secrets, body) = (&secrets, &body);
        move || secrets.verify(black_box(body), black_box(&signature)).is_ok()
    });

    let tenants = TenantMap::new();
    tenants.insert("/hooks/known", Tenant::new("known", secret.clone()).unwrap()).unwrap();
    let layer = WebhookLayer::builder_for_tenants(tenants).build().unwrap();
    let service = layer.layer(service_fn(async |_: Request<WebhookBody>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let guess = Secret::new("a guess").unwrap();
    print("layer: wrong signature of a known or of an unknown tenant", measurements, |is_unknown| {
        let path = if is_unknown { "/hooks/other" } else { "/hooks/known" };
        let request =
            signed_request::<Vec<u8>>(path, body.clone(), &guess).map(|body| Full::new(Bytes::from(body)));
        let call = service.clone().oneshot(request);
        let runtime = &runtime;
        move || runtime.block_on(call).unwrap().status() == 401
    });
}

/// Measures two classes in random order and prints their t values. `prepare` creates the call that is
/// measured.
fn print<F: FnOnce() -> bool>(name: &str, measurements: usize, prepare: impl Fn(bool) -> F) {
    let mut times: Vec<(u128, bool)> = (0..measurements)
        .map(|_| {
            let class = rand::random();
            let call = prepare(class);
            let start = Instant::now();
            black_box(call());
            (start.elapsed().as_nanos(), class)
        })
        .collect();
    times.sort_unstable();
    let t = KEPT.map(|share| {
        let kept = &times[..(times.len() as f64 * share) as usize];
        welch([false, true].map(|class| {
            kept.iter().filter(|(_, of)| *of == class).map(|(time, _)| *time as f64).collect::<Vec<_>>()
        }))
    });
    let mean = |class| {
        let of_class = times[..times.len() * 9 / 10].iter().filter(|(_, of)| *of == class);
        of_class.clone().map(|(time, _)| *time as f64).sum::<f64>() / of_class.count() as f64
    };
    let difference = mean(false) - mean(true);
    println!("{name:<62} {:>8.1} {:>8.1} {difference:>9.1}", t[0], t[1]);
}

/// Welch's t of two samples.
fn welch(samples: [Vec<f64>; 2]) -> f64 {
    let [first, second] = samples.map(|sample| {
        let count = sample.len() as f64;
        let mean = sample.iter().sum::<f64>() / count;
        let variance = sample.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    (first.0 - second.0) / (first.1 + second.1).sqrt()
}
