//! Runs the program, and receivers for it.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use roomz_axum::{Secret, WebhookEvent, WebhookLayer};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const SECRET: &str = "the webhook secret";

/// The exit code and the output of the program.
#[derive(Debug)]
pub(crate) struct RunOutput {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl RunOutput {
    /// Asserts that the program failed with this code and one line on standard error that contains these
    /// parts.
    #[track_caller]
    pub(crate) fn assert_fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.stderr.starts_with("roomz: ") && self.stderr.ends_with('\n'), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing in {self:?}");
        }
    }

    /// Asserts exit code 0 and nothing on standard error.
    #[track_caller]
    pub(crate) fn assert_succeeds(&self) -> &Self {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The number in a row of the table, two spaces or more behind the label.
    #[track_caller]
    pub(crate) fn row(&self, label: &str) -> u64 {
        let rows =
            self.stdout.lines().filter_map(|line| line.trim_start().strip_prefix(label)?.strip_prefix("  "));
        let mut numbers = rows.filter_map(|rest| rest.split_whitespace().next()?.parse().ok());
        numbers.next().unwrap_or_else(|| panic!("no row {label:?} in {}", self.stdout))
    }
}

impl From<Output> for RunOutput {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The program without a secret in the environment. `RUST_LOG` is set because it must not change the output.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomz"));
    command.env_remove("ROOMZ_WEBHOOK_SECRET").env_remove("NO_COLOR").env("RUST_LOG", "trace");
    command.stdin(Stdio::null());
    command
}

/// The program with [`SECRET`] in the environment.
pub(crate) fn command_with_secret() -> Command {
    let mut command = command();
    command.env("ROOMZ_WEBHOOK_SECRET", SECRET);
    command
}

pub(crate) fn run(arguments: &[&str]) -> RunOutput {
    run_command(command().args(arguments), b"")
}

pub(crate) fn run_with_secret(arguments: &[&str]) -> RunOutput {
    run_command(command_with_secret().args(arguments), b"")
}

/// Runs a command to its end. Standard input stays closed if `input` is empty.
pub(crate) fn run_command(command: &mut Command, input: &[u8]) -> RunOutput {
    let pipes = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = if input.is_empty() { pipes } else { pipes.stdin(Stdio::piped()) }.spawn().unwrap();
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).unwrap();
    }
    child.wait_with_output().unwrap().into()
}

/// Reports a test that is skipped because the machine lacks something.
pub(crate) fn skip(test: &str, reason: &str) {
    roomz_tests::skipped(test, reason);
}

/// A temporary directory.
pub(crate) struct TestDir(TempDir);

impl TestDir {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        path_text(&self.path(name))
    }
}

pub(crate) fn path_text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A request as a [`TestReceiver`] received it.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedRequest {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl ReceivedRequest {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn signature(&self) -> &str {
        self.headers["roomz-signature"].to_str().unwrap()
    }
}

/// A receiver on a free port; it stops when dropped.
pub(crate) struct TestReceiver {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<ReceivedRequest>>>,
    handled: Arc<Mutex<HashMap<String, u32>>>,
    _runtime: tokio::runtime::Runtime,
}

impl TestReceiver {
    /// A receiver with the webhook layer, as users build it.
    pub(crate) fn with_layer() -> Self {
        let handled = Arc::<Mutex<HashMap<String, u32>>>::default();
        let by_handler = Arc::clone(&handled);
        let handler = move |WebhookEvent(event): WebhookEvent| {
            let handled = Arc::clone(&by_handler);
            async move { *handled.lock().unwrap().entry(event.id.to_string()).or_default() += 1 }
        };
        let webhook = WebhookLayer::builder(Secret::new(SECRET).unwrap()).build().unwrap();
        Self::serve(Router::new().route("/hook", post(handler).layer(webhook)), handled)
    }

    /// A receiver that responds with the result of a function of the request and its index, from 0.
    pub(crate) fn responding<R: IntoResponse>(
        respond: impl Fn(usize, ReceivedRequest) -> R + Clone + Send + Sync + 'static,
    ) -> Self {
        let count = Arc::new(Mutex::new(0));
        let handler = move |headers: HeaderMap, body: Bytes| {
            let (count, respond) = (Arc::clone(&count), respond.clone());
            async move {
                let index = {
                    let mut count = count.lock().unwrap();
                    *count += 1;
                    *count - 1
                };
                respond(index, ReceivedRequest { headers, body })
            }
        };
        Self::serve(Router::new().fallback(handler), Arc::default())
    }

    fn serve(app: Router, handled: Arc<Mutex<HashMap<String, u32>>>) -> Self {
        let requests = Arc::<Mutex<Vec<ReceivedRequest>>>::default();
        let recorded = Arc::clone(&requests);
        let app = app.layer(from_fn(move |request: Request, next: Next| {
            let recorded = Arc::clone(&recorded);
            async move {
                let (head, body) = request.into_parts();
                let Ok(body) = to_bytes(body, usize::MAX).await else {
                    return StatusCode::BAD_REQUEST.into_response();
                };
                let received = ReceivedRequest { headers: head.headers.clone(), body: body.clone() };
                recorded.lock().unwrap().push(received);
                next.run(Request::from_parts(head, Body::from(body))).await
            }
        }));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { url, requests, handled, _runtime: runtime }
    }

    pub(crate) fn requests(&self) -> Vec<ReceivedRequest> {
        self.requests.lock().unwrap().clone()
    }

    /// How often the handler ran, by event id.
    pub(crate) fn handled(&self) -> HashMap<String, u32> {
        self.handled.lock().unwrap().clone()
    }
}

/// A problem+json response.
pub(crate) fn problem(status: u16, reason: &str) -> Response {
    let body = serde_json::json!({ "status": status, "reason": reason }).to_string();
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "application/problem+json")], body).into_response()
}

/// A running `roomz listen`.
pub(crate) struct ListenProcess {
    pub(crate) url: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl ListenProcess {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_command(&mut command_with_secret(), arguments)
    }

    pub(crate) fn start_command(command: &mut Command, arguments: &[&str]) -> Self {
        let command = command.args(["listen", "--listen", "127.0.0.1:0"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first_line = String::new();
        stdout.read_line(&mut first_line).unwrap();
        let url = first_line
            .trim()
            .strip_prefix("listening on ")
            .and_then(|text| text.strip_suffix(" (every path)"));
        let url = url.map(|url| format!("{url}/hook"));
        Self { url: url.unwrap_or_default(), child, stdout }
    }

    /// Stops the process with a signal and returns its output without the first line.
    pub(crate) fn stop(mut self, signal: &str) -> RunOutput {
        let killed = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        let output = self.child.wait_with_output().unwrap();
        RunOutput {
            code: output.status.code().unwrap_or(-1),
            stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
