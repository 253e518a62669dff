//! The program as Lambda runs it: a process that asks for invocations. What answers it here is an **emulator** of the
//! Lambda Runtime API, of two paths and no more; nothing of these tests ran in AWS.

mod event;

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use event::{HTTP_API, base64, plain, secret};
use roomz_axum::Secret;
use roomz_axum::testing::TestEvent;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

const VERSION: &str = "/2018-06-01/runtime";

/// An instance of the function: the program, and the emulator that it talks to. Killed when dropped.
struct Instance {
    process: Child,
    invocations: mpsc::Sender<Value>,
    answers: mpsc::Receiver<(String, Value)>,
    invoked: u32,
}

#[derive(Clone)]
struct Emulator {
    invocations: Arc<Mutex<mpsc::Receiver<Value>>>,
    answers: mpsc::Sender<(String, Value)>,
    next: Arc<Mutex<u32>>,
}

/// The program waits here for its next invocation.
async fn next(State(emulator): State<Emulator>) -> impl IntoResponse {
    let event = emulator.invocations.lock().await.recv().await.unwrap();
    let mut next = emulator.next.lock().await;
    *next += 1;
    let headers = [
        ("lambda-runtime-aws-request-id", format!("request-{next}")),
        ("lambda-runtime-deadline-ms", "4102444800000".to_owned()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-central-1:123456789012:function:roomz".to_owned(),
        ),
    ];
    (headers, event.to_string())
}

async fn response(State(emulator): State<Emulator>, Path(request): Path<String>, body: String) {
    emulator.answers.send((request, serde_json::from_str(&body).unwrap())).await.unwrap();
}

fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_lambda"));
    program
        .env("AWS_LAMBDA_FUNCTION_NAME", "roomz")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")
        .env("ROOMZ_WEBHOOK_SECRET", "the webhook secret")
        .env_remove("STORE")
        .env_remove("RUST_LOG");
    program
}

impl Instance {
    async fn start(store: Option<&str>) -> Self {
        let (invocations, to_do) = mpsc::channel(1);
        let (done, answers) = mpsc::channel(1);
        let emulator =
            Emulator { invocations: Arc::new(Mutex::new(to_do)), answers: done, next: Arc::default() };
        let api = Router::new()
            .route(&format!("{VERSION}/invocation/next"), get(next))
            .route(&format!("{VERSION}/invocation/{{request}}/response"), post(response))
            .with_state(emulator);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, api).await });
        let process = program()
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .envs(store.map(|url| ("STORE", url)))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process, invocations, answers, invoked: 0 }
    }

    /// Invokes the function, and gives the status and the `roomz-webhook-skipped` of its answer.
    async fn invoke(&mut self, event: Value) -> (u64, Value) {
        self.invocations.send(event).await.unwrap();
        self.invoked += 1;
        let answer = tokio::time::timeout(Duration::from_secs(30), self.answers.recv()).await;
        let (request, answer) = answer.expect("the program answers, and has not ended").unwrap();
        assert_eq!(request, format!("request-{}", self.invoked));
        (answer["statusCode"].as_u64().unwrap(), answer["headers"]["roomz-webhook-skipped"].clone())
    }

    #[cfg(unix)]
    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
    }

    /// Ends the instance, and gives what its handler printed.
    fn end(mut self) -> String {
        self.process.kill().unwrap();
        let mut printed = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        printed
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_signed_event_is_handled_its_duplicate_is_marked_and_a_forged_one_is_401() {
    let mut instance = Instance::start(None).await;
    let event = TestEvent::busy();
    assert_eq!(instance.invoke(base64(HTTP_API, &event, &secret())).await, (200, Value::Null));
    assert_eq!(instance.invoke(plain(HTTP_API, &event, &secret())).await, (200, json!("duplicate")));
    let forger = Secret::new("a guess").unwrap();
    assert_eq!(instance.invoke(plain(HTTP_API, &TestEvent::free(), &forger)).await, (401, Value::Null));
    let printed = instance.end();
    assert!(printed.lines().count() == 1 && printed.contains("Busy"), "{printed}");
}

#[tokio::test]
async fn instances_that_share_a_store_know_what_another_handled() {
    let Some(url) = roomz_tests::redis_url_or_skip() else { return };
    let event = plain(HTTP_API, &TestEvent::busy(), &secret());
    let mut first = Instance::start(Some(&url)).await;
    assert_eq!(first.invoke(event.clone()).await, (200, Value::Null));
    drop(first);
    let mut second = Instance::start(Some(&url)).await;
    assert_eq!(second.invoke(event).await, (200, json!("duplicate")));
}

/// What the README says about running without `STORE`.
#[tokio::test]
async fn instances_without_a_store_do_not_know_what_another_handled() {
    let event = plain(HTTP_API, &TestEvent::busy(), &secret());
    for _ in 0..2 {
        let mut instance = Instance::start(None).await;
        assert_eq!(instance.invoke(event.clone()).await, (200, Value::Null));
    }
}

#[test]
fn what_is_missing_is_an_error_of_one_line_that_says_what_to_set() {
    let mut outside = program();
    outside.env_remove("AWS_LAMBDA_RUNTIME_API");
    let mut without_secret = program();
    without_secret.env_remove("ROOMZ_WEBHOOK_SECRET");
    let mut wrong_store = program();
    wrong_store.env("STORE", "localhost");
    let mut no_store = program();
    no_store.env("STORE", "redis://127.0.0.1:1");
    for (mut program, part) in [
        (outside, "start this program in AWS Lambda"),
        (without_secret, "set it to the webhook secret from ROOMZ"),
        (wrong_store, "set STORE to redis://HOST:PORT"),
        (no_store, "set STORE to redis://HOST:PORT"),
    ] {
        let output = program.output().unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with("lambda: ") && error.contains(part), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

/// Frozen between two invocations, as Lambda does it, while the store closes its connections.
#[cfg(unix)]
#[tokio::test]
async fn a_connection_that_was_cut_while_the_instance_was_frozen_fails_no_delivery() {
    let Some(server) = roomz_tests::Server::redis(&[]) else {
        return roomz_tests::skipped(
            "a connection cut while frozen",
            "there is no `redis-server` on the PATH",
        );
    };
    let mut instance = Instance::start(Some(&format!("redis://{}", server.address()))).await;
    for _ in 0..3 {
        let event = plain(HTTP_API, &TestEvent::busy(), &secret());
        assert_eq!(instance.invoke(event.clone()).await, (200, Value::Null));
        assert_eq!(instance.invoke(event).await, (200, json!("duplicate")));
        instance.signal("STOP");
        assert!(server.redis_command("CLIENT KILL TYPE normal").starts_with(':'));
        instance.signal("CONT");
    }
}
