//! The trace context of a delivery reaches the handler of its event.

use crate::support::{TestDatabase, WAIT, on_both, receiver};
use http_body_util::Full;
use roomz_inbox::{Inbox, Job};
use roomz_tests::secret;
use roomz_webhook::testing::TestEvent;
use tokio::sync::mpsc;
use tower::{ServiceExt as _, service_fn};

on_both! {
    trace_context_reaches_each_attempt
    invalid_trace_context_is_dropped
}

const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Delivers an event with these headers `traceparent`.
async fn deliver(inbox: &Inbox, headers: Vec<&str>) {
    let mut request = TestEvent::busy().request::<Vec<u8>>("/", &secret());
    for header in &headers {
        request.headers_mut().append("traceparent", header.as_bytes().try_into().unwrap());
    }
    let answer = receiver(inbox).oneshot(request.map(|body| Full::new(body.into()))).await.unwrap();
    assert_eq!(answer.status(), 202, "{headers:?}");
}

/// Runs each event twice, and returns its attempt and what the handler got.
async fn run(inbox: &Inbox, calls: usize) -> Vec<(u32, Option<String>)> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let service = service_fn(move |job: Job| {
        let _ = sender.send((job.attempt(), job.traceparent().map(str::to_owned)));
        std::future::ready(if job.attempt() == 1 { Err("again") } else { Ok(()) })
    });
    let worker = inbox
        .worker(service)
        .with_backoff(std::time::Duration::ZERO, std::time::Duration::ZERO)
        .with_poll_interval(crate::support::POLL)
        .start();
    let mut seen = Vec::new();
    while seen.len() < calls {
        seen.push(tokio::time::timeout(WAIT, receiver.recv()).await.unwrap().unwrap());
    }
    worker.shutdown(WAIT).await;
    seen.sort();
    seen
}

async fn trace_context_reaches_each_attempt(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    // Events that are inserted together have their own.
    let other = VALID.replace("01", "00");
    tokio::join!(deliver(&inbox, vec![]), deliver(&inbox, vec![VALID]), deliver(&inbox, vec![&other]));
    let expected = |attempt| [None, Some(other.clone()), Some(VALID.into())].map(|trace| (attempt, trace));
    assert_eq!(run(&inbox, 6).await, [expected(1), expected(2)].concat());
}

async fn invalid_trace_context_is_dropped(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let changed = [
        "",
        &VALID[..52],
        &VALID.to_uppercase(),
        &VALID.replace("0a", "xa"),
        &VALID.replace("0a", "\u{e4}"),
        &VALID.replace("-01", "01-"),
        &format!("{VALID}-00"),
        &VALID.replacen("00", "ff", 1),
        &VALID.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
        &VALID.replace("b7ad6b7169203331", &"0".repeat(16)),
        &"0".repeat(8_000),
    ];
    for header in changed {
        deliver(&inbox, vec![header]).await;
    }
    deliver(&inbox, vec![VALID, VALID]).await;
    assert!(run(&inbox, 24).await.iter().all(|(_, trace)| trace.is_none()));
}
