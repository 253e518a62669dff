//! The program as a process that requests invocations, as in Lambda. An **emulator** provides the two paths
//! of the Lambda Runtime API that it needs; these tests did not run in AWS.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::event::{HTTP_API, base64, plain, secret};
use axum::Router;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use roomz_axum::Secret;
use roomz_axum::testing::TestEvent;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

const API_VERSION: &str = "/2018-06-01/runtime";

/// An instance of the function: the program and its emulator. `Drop` kills the program.
struct Instance {
    process: Child,
    invocations: mpsc::Sender<Value>,
    responses: mpsc::Receiver<(String, Value)>,
    invocation_count: u32,
}

#[derive(Clone)]
struct Emulator {
    invocations: Arc<Mutex<mpsc::Receiver<Value>>>,
    responses: mpsc::Sender<(String, Value)>,
    invocation_count: Arc<Mutex<u32>>,
}

/// Waits for an invocation and sends it to the program.
async fn next_invocation(State(emulator): State<Emulator>) -> impl IntoResponse {
    let event = emulator.invocations.lock().await.recv().await.unwrap();
    let mut count = emulator.invocation_count.lock().await;
    *count += 1;
    let headers = [
        ("lambda-runtime-aws-request-id", format!("request-{count}")),
        ("lambda-runtime-deadline-ms", "4102444800000".to_owned()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-central-1:123456789012:function:roomz".to_owned(),
        ),
    ];
    (headers, event.to_string())
}

/// Receives the program's response to an invocation.
async fn invocation_response(State(emulator): State<Emulator>, Path(request): Path<String>, body: String) {
    emulator.responses.send((request, serde_json::from_str(&body).unwrap())).await.unwrap();
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
        let (invocations, invocation_receiver) = mpsc::channel(1);
        let (response_sender, responses) = mpsc::channel(1);
        let emulator = Emulator {
            invocations: Arc::new(Mutex::new(invocation_receiver)),
            responses: response_sender,
            invocation_count: Arc::default(),
        };
        let api = Router::new()
            .route(&format!("{API_VERSION}/invocation/next"), get(next_invocation))
            .route(&format!("{API_VERSION}/invocation/{{request}}/response"), post(invocation_response))
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
        Self { process, invocations, responses, invocation_count: 0 }
    }

    /// Invokes the function. Returns the status and the header `roomz-webhook-skipped` of the response.
    async fn invoke(&mut self, event: Value) -> (u64, Value) {
        self.invocations.send(event).await.unwrap();
        self.invocation_count += 1;
        let received = tokio::time::timeout(Duration::from_secs(30), self.responses.recv()).await;
        let (request, response) = received.expect("the program did not respond within 30 s").unwrap();
        assert_eq!(request, format!("request-{}", self.invocation_count));
        (response["statusCode"].as_u64().unwrap(), response["headers"]["roomz-webhook-skipped"].clone())
    }

    #[cfg(unix)]
    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
    }

    /// Kills the instance. Returns the output of its handler.
    fn kill(mut self) -> String {
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
async fn accepts_only_signed_events() {
    let mut instance = Instance::start(None).await;
    let event = TestEvent::busy();
    assert_eq!(instance.invoke(base64(HTTP_API, &event, &secret())).await, (200, Value::Null));
    assert_eq!(instance.invoke(plain(HTTP_API, &event, &secret())).await, (200, json!("duplicate")));
    let other_secret = Secret::new("a guess").unwrap();
    assert_eq!(instance.invoke(plain(HTTP_API, &TestEvent::free(), &other_secret)).await, (401, Value::Null));
    let printed = instance.kill();
    assert!(printed.lines().count() == 1 && printed.contains("Busy"), "{printed}");
}

#[tokio::test]
async fn instances_with_store_share_claims() {
    let Some(url) = roomz_tests::redis_url_or_skip() else { return };
    let event = plain(HTTP_API, &TestEvent::busy(), &secret());
    let mut first = Instance::start(Some(&url)).await;
    assert_eq!(first.invoke(event.clone()).await, (200, Value::Null));
    drop(first);
    let mut second = Instance::start(Some(&url)).await;
    assert_eq!(second.invoke(event).await, (200, json!("duplicate")));
}

/// Checks the README's warning about running without `STORE`.
#[tokio::test]
async fn instances_without_store_do_not_share_claims() {
    let event = plain(HTTP_API, &TestEvent::busy(), &secret());
    for _ in 0..2 {
        let mut instance = Instance::start(None).await;
        assert_eq!(instance.invoke(event.clone()).await, (200, Value::Null));
    }
}

#[test]
fn startup_errors_are_readable() {
    let mut outside_lambda = program();
    outside_lambda.env_remove("AWS_LAMBDA_RUNTIME_API");
    let mut without_secret = program();
    without_secret.env_remove("ROOMZ_WEBHOOK_SECRET");
    let mut invalid_store = program();
    invalid_store.env("STORE", "localhost");
    let mut unreachable_store = program();
    unreachable_store.env("STORE", "redis://127.0.0.1:1");
    for (mut program, part) in [
        (outside_lambda, "start this program in AWS Lambda"),
        (without_secret, "set it to the webhook secret from ROOMZ"),
        (invalid_store, "STORE: invalid Redis URL: the scheme is missing; use redis://HOST:PORT"),
        (unreachable_store, "STORE: the Redis server 127.0.0.1:1 is not reachable; check that it runs"),
    ] {
        let output = program.output().unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with("lambda: ") && error.contains(part), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

/// Freezes the instance between two invocations, like Lambda. The store closes its connections meanwhile.
#[cfg(unix)]
#[tokio::test]
async fn reconnects_to_store_after_freeze() {
    let Some(server) = roomz_tests::Server::redis(&[]) else {
        return roomz_tests::skipped(
            "the test of a connection that is closed during a freeze",
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
