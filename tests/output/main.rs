//! No answer, log line, `Debug` or error text holds a secret, an expected MAC or a body.

#![allow(clippy::unwrap_used, clippy::await_holding_lock)] // in helpers; a test may

use std::io;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use roomz_protocol::testing::signed_request;
use roomz_tests::{Fault, Op, Rig, Wire};
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Secret, WebhookLayer};
use tokio::io::AsyncWriteExt as _;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

static CAPTURED: LazyLock<Captured> = LazyLock::new(|| {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(captured.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    captured
});
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Everything down to TRACE, of every crate and every thread, of one test at a time. These tests have a process of
/// their own: what one thread has asked `tracing` for, another cannot be sure to be told.
fn capture() -> (&'static Captured, MutexGuard<'static, ()>) {
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    CAPTURED.0.lock().unwrap().clear();
    (&CAPTURED, guard)
}

const SECRET: &str = "secret-canary-5b1c";
const BODY: &str = "body-canary-77e2";

#[tokio::test(start_paused = true)]
async fn a_canary_in_secret_signature_and_body_is_in_no_output_at_trace() {
    let (log, _guard) = capture();
    let secret = Secret::new(SECRET).unwrap();
    let mut shown = Vec::new();
    let delivery_debug = Arc::new(Mutex::new(String::new()));
    let seen = delivery_debug.clone();
    let rig = Rig::with(
        |_| WebhookLayer::builder(secret.clone()).with_body_limit(4_000),
        move |delivery: roomz_webhook::Delivery| {
            *seen.lock().unwrap() += &format!("{delivery:?} {:?}", delivery.event());
            let status = if delivery.attempt() == 1 { 500 } else { 200 };
            std::future::ready(Ok(StatusCode::from_u16(status).unwrap()))
        },
    );
    let good = TestEvent::busy().with("note", BODY);
    let unknown = TestEvent::busy().with("data", BODY).with("note", BODY);
    let mut bodies = vec![
        good.body(),
        good.body(),
        good.body(),
        unknown.body(),
        format!("[{BODY:?}]").into_bytes(),
        format!("{{{BODY:?}:1").into_bytes(),
        format!("{{}} {BODY}").into_bytes(),
        good.clone().with("id", BODY).body(),
        good.clone().with("timestamp", BODY).body(),
        vec![b'x'; 5_000],
    ];
    bodies.push([BODY.as_bytes(), &[0xff]].concat());
    let mut macs = Vec::new();
    for body in &bodies {
        let signature = secret.sign(body).to_base64();
        let raw = STANDARD.decode(&signature).unwrap();
        macs.push(raw.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        macs.push(signature);
        let right = rig.send(signed_request("/", body.clone(), &secret)).await;
        shown.push(format!("{right:?}"));
        let forger = Secret::new("a guess").unwrap();
        let forged = rig.send(signed_request("/", body.clone(), &forger)).await;
        shown.push(format!("{forged:?} {:?}", forged.refusal));
    }
    shown.push(format!("{:?} {:?} {:?}", rig.layer, rig, WebhookLayer::builder(secret.clone())));
    shown.push(delivery_debug.lock().unwrap().clone());

    // Over a socket too, where hyper logs what it does.
    let wire = Wire::serve(rig.app()).await;
    for signing in [&secret, &Secret::new("a guess").unwrap()] {
        let body = String::from_utf8(TestEvent::busy().with("note", BODY).body()).unwrap();
        macs.push(secret.sign(body.as_bytes()).to_base64());
        let signature = signing.sign(body.as_bytes()).to_base64();
        let mut stream = wire.connect().await;
        let head = format!(
            "POST / HTTP/1.1\r\nhost: x\r\nroomz-signature: {signature}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        shown.push(Wire::answer(&mut stream).await);
    }
    drop(rig);

    let shown = shown.join("\n") + &log.text();
    assert!(shown.contains("refused") && shown.contains("given back"), "something was logged:\n{shown}");
    for canary in macs.iter().map(String::as_str).chain([SECRET, BODY]) {
        assert!(!shown.contains(canary), "{canary} is in:\n{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_in_type_or_status_can_inject_a_log_line() {
    let (log, _guard) = capture();
    let rig = Rig::new();
    rig.store.break_next(Op::Complete, Fault::Fails, 1);
    let evil = "\u{1b}[2J\r\nINFO all is well\u{202e}\u{2066}\u{0}".to_owned() + &"x".repeat(10_000);
    assert_eq!(rig.deliver(&TestEvent::presence(&evil).with_type(&evil)).await.status, 200);
    assert_eq!(rig.deliver(&TestEvent::presence(&evil)).await.status, 200);
    rig.layer.drain().await;
    let log = log.text();
    assert!(log.contains("accepted"), "{log}");
    for line in log.lines() {
        assert!(line.len() < 1_000 && !line.starts_with("INFO"), "{line}");
        assert!(line.chars().all(|c| (' '..='~').contains(&c) || c == '…'), "{line:?}");
    }
}

#[tokio::test]
async fn a_secret_that_stops_the_program_is_not_in_its_error() {
    let padded = format!("{SECRET} ");
    let error = Secret::new(&padded).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(SECRET));
}
