//! No response, log line, `Debug` output or error contains a secret, an expected MAC or a body.

#![allow(clippy::await_holding_lock, clippy::panic, clippy::unwrap_used, reason = "helpers of tests")]

#[allow(dead_code, unused_imports, reason = "the contract tests of the layer use the rest")]
#[path = "../../crates/roomz-webhook/tests/it/support/mod.rs"]
mod support;

mod capture;
mod stores;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use roomz_protocol::testing::signed_request;
use roomz_webhook::store::{IdempotencyStore as _, MokaStore, Settled};
use roomz_webhook::testing::{ManualClock, TestEvent};
use roomz_webhook::{Delivery, Secret, Skipped, WebhookLayer};
use tokio::io::AsyncWriteExt as _;

use crate::capture::{Captured, capture};
use crate::support::{Fault, FaultyStore, Op, TestReceiver, TestServer, TokioClock, read_response};

const SECRET: &str = "secret-canary-5b1c";
const BODY: &str = "body-canary-77e2";

/// Secret, MACs and bodies contain canaries. None of them appears in any output, down to TRACE.
#[tokio::test(start_paused = true)]
async fn never_outputs_secret_mac_or_body() {
    let (log, _guard) = capture();
    let secret = Secret::new(SECRET).unwrap();
    let mut outputs = Vec::new();
    let delivery_debug = Arc::new(Mutex::new(String::new()));
    let recorded = delivery_debug.clone();
    let receiver = TestReceiver::with(
        |_| WebhookLayer::builder(secret.clone()).with_body_limit(4_000),
        move |delivery: Delivery| {
            *recorded.lock().unwrap() += &format!("{delivery:?} {:?}", delivery.event());
            let status = if delivery.attempt() == 1 { 500 } else { 200 };
            std::future::ready(Ok(StatusCode::from_u16(status).unwrap()))
        },
    );
    let known = TestEvent::busy().with("note", BODY);
    let unknown = TestEvent::busy().with("data", BODY).with("note", BODY);
    let mut bodies = vec![
        known.body(),
        known.body(),
        known.body(),
        unknown.body(),
        format!("[{BODY:?}]").into_bytes(),
        format!("{{{BODY:?}:1").into_bytes(),
        format!("{{}} {BODY}").into_bytes(),
        known.clone().with("id", BODY).body(),
        known.clone().with("timestamp", BODY).body(),
        vec![b'x'; 5_000],
    ];
    bodies.push([BODY.as_bytes(), &[0xff]].concat());
    let mut macs = Vec::new();
    for body in &bodies {
        let signature = secret.sign(body).to_base64();
        let raw = STANDARD.decode(&signature).unwrap();
        macs.push(raw.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        macs.push(signature);
        let valid = receiver.send(signed_request("/", body.clone(), &secret)).await;
        outputs.push(format!("{valid:?}"));
        let forger = Secret::new("a guess").unwrap();
        let forged = receiver.send(signed_request("/", body.clone(), &forger)).await;
        outputs.push(format!("{forged:?} {:?}", forged.rejection));
    }
    outputs.push(format!("{:?} {:?} {:?}", receiver.layer, receiver, WebhookLayer::builder(secret.clone())));
    outputs.push(delivery_debug.lock().unwrap().clone());

    // Over a socket too, because hyper logs as well.
    let server = TestServer::start(receiver.service()).await;
    for signing in [&secret, &Secret::new("a guess").unwrap()] {
        let body = String::from_utf8(TestEvent::busy().with("note", BODY).body()).unwrap();
        macs.push(secret.sign(body.as_bytes()).to_base64());
        let signature = signing.sign(body.as_bytes()).to_base64();
        let mut stream = server.connect().await;
        let head = format!(
            "POST / HTTP/1.1\r\nhost: x\r\nroomz-signature: {signature}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        outputs.push(read_response(&mut stream).await);
    }
    drop(receiver);

    let output = outputs.join("\n") + &log.text();
    let is_warning = |line: &str| line.contains(" WARN ") && line.contains("roomz_webhook");
    assert!(log.text().contains("signature-mismatch"), "rejections are logged:\n{output}");
    assert!(log.text().lines().any(is_warning), "releases are logged:\n{output}");
    for canary in macs.iter().map(String::as_str).chain([SECRET, BODY]) {
        assert!(!output.contains(canary), "found {canary} in:\n{output}");
    }
}

#[tokio::test(start_paused = true)]
async fn event_text_cannot_inject_log_line() {
    let (log, _guard) = capture();
    let receiver = TestReceiver::new();
    receiver.store.inject(Op::Complete, Fault::Error, 1);
    let evil = "\u{1b}[2J\r\nINFO all is well\u{202e}\u{2066}\u{0}".to_owned() + &"x".repeat(10_000);
    assert_eq!(receiver.deliver(&TestEvent::presence(&evil).with_type(&evil)).await.status, 200);
    assert_eq!(receiver.deliver(&TestEvent::presence(&evil)).await.status, 200);
    receiver.layer.drain().await;
    let log = log.text();
    assert!(log.contains("accepted"), "{log}");
    for line in log.lines() {
        assert!(line.len() < 1_000 && !line.starts_with("INFO"), "{line}");
        assert!(line.chars().all(|c| (' '..='~').contains(&c) || c == '…'), "{line:?}");
    }
}

/// Anybody can cause a rejection of an unsigned request, so it is logged below INFO. Handled events and
/// duplicates have the same level, so that a healthy receiver does not look broken.
#[tokio::test(start_paused = true)]
async fn log_levels_fit_an_operator() {
    let (log, _guard) = capture();
    let receiver = TestReceiver::new();
    let event = TestEvent::busy();
    assert_eq!(receiver.deliver(&event).await.status, 200);
    assert_eq!(receiver.deliver(&event).await.status, 200);
    let forged = event.request("/", &Secret::new("a guess").unwrap());
    assert_eq!(receiver.send(forged).await.status, 401);
    let log = log.text();
    for (level, message) in [
        ("INFO", "event handled status=200"),
        ("INFO", "event skipped reason=\"duplicate\""),
        ("DEBUG", "delivery rejected reason=\"signature-mismatch\" status=401"),
    ] {
        let line = log.lines().find(|line| line.contains(message));
        let line = line.unwrap_or_else(|| panic!("no line contains {message:?}:\n{log}"));
        assert!(line.contains(level) && line.contains(" roomz_webhook: "), "{line}");
    }
}

/// A path that no request has is not overlooked, and requests of anybody do not fill the log.
#[tokio::test]
async fn path_that_never_matches_is_logged_once() {
    use tower::{ServiceBuilder, ServiceExt as _};

    let (log, _guard) = capture();
    let layer = WebhookLayer::builder(support::secret()).with_path("/hook").build().unwrap();
    let service = ServiceBuilder::new().layer(layer).service(tower::service_fn(
        async |_: http::Request<roomz_webhook::WebhookBody>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
        },
    ));
    for _ in 0..30 {
        let request = TestEvent::busy().request::<axum::body::Body>("/api/hook", &support::secret());
        assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 200);
    }
    let log = log.text();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("path never matched")).collect();
    let [line] = lines[..] else { panic!("{log}") };
    assert!(line.contains("WARN") && line.contains("path=\"/hook\" other_path=\"/api/hook\""), "{line}");
}

/// A flood of forged requests is one line per minute above DEBUG.
#[tokio::test(start_paused = true)]
async fn unsigned_requests_are_summarized() {
    let (log, _guard) = capture();
    let clock = TokioClock::new();
    let receiver = TestReceiver::with(|builder| builder.with_clock(clock), async |_| Ok(StatusCode::OK));
    let guess = Secret::new("a guess").unwrap();
    for round in 0..3 {
        for _ in 0..500 {
            assert_eq!(receiver.send(TestEvent::busy().request("/", &guess)).await.status, 401, "{round}");
        }
        tokio::time::advance(Duration::from_secs(60)).await;
    }
    let log = log.text();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("INFO") || line.contains("WARN")).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, count) in lines.iter().zip(["count=1 ", "count=500 ", "count=500 "]) {
        assert!(line.contains("unsigned requests rejected") && line.contains(count), "{line}");
    }
}

/// The first eviction before the end of the retention is logged, not each of them.
#[tokio::test]
async fn full_memory_store_warns_once() {
    let (log, _guard) = capture();
    let store = MokaStore::builder().with_capacity(10).build();
    let receiver =
        TestReceiver::with(|builder| builder.with_store(store.clone()), async |_| Ok(StatusCode::OK));
    for _ in 0..2_000 {
        assert_eq!(receiver.deliver(&TestEvent::busy()).await.status, 200);
    }
    assert!(store.evicted_early() > 1);
    let log = log.text();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("memory store full")).collect();
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings.iter().all(|line| line.contains("WARN") && line.contains("capacity=10")),
        "{warnings:?}"
    );
}

/// The runtime ends while a handler runs.
#[test]
fn cancelled_handler_is_logged() {
    let (log, _guard) = capture();
    let receiver = TestReceiver::with_handler(async |_| std::future::pending().await);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sender = receiver.clone();
        tokio::spawn(async move { sender.deliver(&TestEvent::busy()).await });
        while receiver.runs() == 0 {
            tokio::task::yield_now().await;
        }
    });
    drop(runtime);
    let log = log.text();
    assert!(log.contains("handler cancelled"), "{log}");
}

/// The claim is lost to another delivery, or only by the store.
#[tokio::test(start_paused = true)]
async fn lost_claim_is_logged() {
    for (is_taken_over, message) in [(false, "claim restored"), (true, "claim taken over")] {
        let (log, _guard) = capture();
        let receiver = TestReceiver::with_handler(async |_| {
            tokio::time::sleep(Duration::from_secs(50)).await;
            Ok(StatusCode::OK)
        });
        let event = TestEvent::busy();
        tokio::join!(receiver.deliver(&event), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            receiver.store.lose_data();
            if is_taken_over {
                receiver.deliver(&event).await;
            }
        });
        let log = log.text();
        assert!(log.lines().any(|line| line.contains("WARN") && line.contains(message)), "{log}");
        assert!(!log.contains("handler cancelled"), "every handler ended: {log}");
    }
}

/// The handler completes the event itself, as in a transaction of its own, and runs for several leases more.
/// Nothing was lost, also if the store fails when the layer finds out.
#[tokio::test(start_paused = true)]
async fn own_completion_is_not_a_lost_claim() {
    for (store_fails, status) in [(false, 200), (true, 200), (false, 500), (true, 500)] {
        let (log, _guard) = capture();
        let store = FaultyStore::new(MokaStore::builder().with_clock(TokioClock::new()).build());
        let layer = WebhookLayer::builder(support::secret()).with_store(store.clone()).build().unwrap();
        let of_handler = store.clone();
        let receiver = TestReceiver::with_layer(layer, store, move |delivery: Delivery| {
            let store = of_handler.clone();
            async move {
                let (key, owner, retention) = (delivery.claim_key(), delivery.owner(), delivery.retention());
                let settled = store.complete(key, owner, retention).await?;
                assert_eq!(settled, Settled::Applied);
                if store_fails {
                    store.inject(Op::Claim, Fault::Error, usize::MAX);
                }
                tokio::time::sleep(Duration::from_secs(200)).await;
                store.clear_faults();
                Ok(StatusCode::from_u16(status).unwrap())
            }
        });
        let event = TestEvent::busy();
        assert_eq!(receiver.deliver(&event).await.status, status);
        let duplicate = receiver.deliver(&event).await;
        receiver.layer.drain().await;
        let log = log.text();
        for message in ["claim taken over", "claim lost", "claim restored", "settlement abandoned"] {
            assert!(!log.contains(message), "{message}: {log}");
        }
        assert_eq!((receiver.runs(), duplicate.skipped), (1, Some(Skipped::Duplicate)));
    }
}

/// The cause of an unreadable body is logged for the operator. The response does not contain it.
#[tokio::test]
async fn body_failure_is_logged_at_debug() {
    let (log, _guard) = capture();
    let receiver = TestReceiver::new();
    let request = TestEvent::busy().request::<axum::body::Body>("/", &support::secret());
    let limited = request.map(|body| axum::body::Body::new(http_body_util::Limited::new(body, 100)));
    let response = receiver.send(limited).await;
    assert_eq!(response.status, 413);
    let log = log.text();
    let line = log.lines().find(|line| line.contains("body not readable")).unwrap();
    assert!(line.contains("DEBUG") && line.contains("length limit exceeded"), "{line}");
    assert!(!response.body.contains("length limit exceeded"));
}

#[tokio::test]
async fn logs_unknown_tenant() {
    use tower::{ServiceBuilder, ServiceExt as _};

    let (log, _guard) = capture();
    let handler = tower::service_fn(async |_: http::Request<roomz_webhook::WebhookBody>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
    });
    let tenants = WebhookLayer::builder_for_tenants(roomz_webhook::TenantMap::new()).build().unwrap();
    let service = ServiceBuilder::new().layer(tenants).service(handler);
    let request = TestEvent::busy().request::<axum::body::Body>("/", &support::secret());
    assert_eq!(service.oneshot(request).await.unwrap().status(), 401);
    let log = log.text();
    assert!(log.lines().any(|line| line.contains("DEBUG") && line.contains("tenant unknown")), "{log}");
}

/// Anybody can cause a lookup, so failures are logged as an error at most once a minute, also if some lookups
/// succeed.
#[tokio::test]
async fn failing_lookup_is_an_error_once_a_minute() {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tower::{ServiceBuilder, ServiceExt as _};

    #[derive(Clone, Default)]
    struct Failing(Arc<AtomicBool>);
    #[roomz_webhook::async_trait]
    impl roomz_webhook::TenantLookup for Failing {
        async fn lookup(
            &self,
            _: &http::request::Parts,
        ) -> Result<Option<roomz_webhook::Tenant>, Box<dyn std::error::Error + Send + Sync>> {
            if self.0.load(Ordering::SeqCst) { Ok(None) } else { Err("the database is down".into()) }
        }
    }

    let (log, _guard) = capture();
    let (lookup, clock) = (Failing::default(), ManualClock::new());
    let builder = WebhookLayer::builder_for_tenants(lookup.clone()).with_clock(clock.clone());
    let service = ServiceBuilder::new().layer(builder.build().unwrap()).service(tower::service_fn(
        async |_: http::Request<roomz_webhook::WebhookBody>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
        },
    ));
    for (is_up, status, pause) in
        [(false, 503, 0), (true, 401, 1), (false, 503, 1), (false, 503, 58), (false, 503, 1)]
    {
        lookup.0.store(is_up, Ordering::SeqCst);
        clock.advance(Duration::from_secs(pause));
        let request = TestEvent::busy().request::<axum::body::Body>("/", &support::secret());
        assert_eq!(service.clone().oneshot(request).await.unwrap().status(), status);
    }
    let log = log.text();
    let count = |level: &str, text: &str| {
        log.lines().filter(|line| line.contains(level) && line.contains(text)).count()
    };
    let line = "tenant lookup failed error=the database is down";
    assert_eq!((count("ERROR", line), count("DEBUG", line)), (2, 2), "{log}");
}

/// An operator disables this crate's log. The span of an outer layer is still around the handler.
#[tokio::test]
async fn handler_keeps_span_of_caller() {
    use tracing::Instrument as _;

    let (_, _guard) = capture();
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("info,roomz_webhook=off")
        .with_ansi(false)
        .with_writer(captured.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let receiver = TestReceiver::with_handler(async |_| {
        tracing::info!("in the handler");
        Ok(StatusCode::OK)
    });
    let span = tracing::info_span!("request", number = 7);
    async { receiver.deliver(&TestEvent::busy()).await }.instrument(span).await;
    assert!(captured.text().contains("request{number=7}: output: in the handler"), "{}", captured.text());
}

#[tokio::test]
async fn secret_error_omits_secret() {
    let padded = format!("{SECRET} ");
    let error = Secret::new(&padded).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(SECRET));
}
