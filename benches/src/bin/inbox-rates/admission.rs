//! Admission: deliveries to the endpoint behind the layer, without a worker.

use std::time::{Duration, Instant};

use roomz_benches::{median, secret};
use roomz_inbox::{Endpoint, Inbox};
use roomz_webhook::{Webhook, WebhookLayer};
use tower::Layer as _;

use crate::bare::{Bare, execute};
use crate::load::{Rate, closed_loop, deliver, delivery, millis};

const ROUNDS: usize = 5;
const DURATION: Duration = Duration::from_secs(2);

/// Compares the inbox with the bare insert, and returns the highest admission rate.
pub(crate) async fn compare(name: &str, url: &str) -> f64 {
    let inbox = Inbox::connect(url).await.unwrap();
    let bare = Bare::create(url).await;
    let mut peaks = Vec::new();
    for concurrency in [1, 32] {
        let (mut rates, mut medians) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (alone, ours) = (bare.insert(concurrency, DURATION).await, admit(&inbox, concurrency).await);
            println!("{name}, {concurrency} concurrent: bare insert {}; inbox {}", text(&alone), text(&ours));
            rates.push(ours.per_second / alone.per_second);
            medians.push(ours.latencies.percentile(0.5) / alone.latencies.percentile(0.5));
            peaks.push(ours.per_second);
            execute(url, "DELETE FROM roomz_inbox").await;
            execute(url, "DELETE FROM bare_inbox").await;
        }
        println!(
            "{name}, {concurrency} concurrent, inbox ÷ bare insert: rate {:.2}, median latency {:.2}",
            median(&mut rates),
            median(&mut medians)
        );
    }
    peaks.into_iter().fold(0.0, f64::max)
}

pub(crate) fn receiver(inbox: &Inbox) -> Webhook<Endpoint> {
    WebhookLayer::builder(secret()).build().unwrap().layer(inbox.endpoint())
}

/// Delivers new events for some time.
async fn admit(inbox: &Inbox, concurrency: usize) -> Rate {
    let receiver = receiver(inbox);
    let worker = || {
        let receiver = receiver.clone();
        move |start: Instant| async move {
            let mut latencies = Vec::new();
            while start.elapsed() < DURATION {
                let ((_, request), began) = (delivery(), Instant::now());
                deliver(receiver.clone(), request).await;
                latencies.push(millis(began.elapsed()));
            }
            latencies
        }
    };
    closed_loop((0..concurrency).map(|_| worker()).collect()).await
}

fn text(rate: &Rate) -> String {
    let latency = |part| rate.latencies.percentile(part);
    format!("{:.0} per second, p50 {:.2} ms, p99 {:.2} ms", rate.per_second, latency(0.5), latency(0.99))
}
