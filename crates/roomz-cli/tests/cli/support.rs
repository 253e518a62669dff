//! Runs the program, and receivers for it.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
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

/// What a run of the program printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Whether it failed with this code and one line that has these parts.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.starts_with("roomz: ") && self.err.ends_with('\n'), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not in {self:?}");
        }
    }

    #[track_caller]
    pub(crate) fn succeeds(&self) -> &Self {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The number in a row of the table.
    #[track_caller]
    pub(crate) fn row(&self, label: &str) -> u64 {
        let rows = self.out.lines().filter_map(|line| line.trim_start().strip_prefix(label));
        let mut numbers = rows.filter_map(|rest| rest.split_whitespace().next()?.parse().ok());
        numbers.next().unwrap_or_else(|| panic!("no row {label:?} in {}", self.out))
    }
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomz"));
    command.env_remove("ROOMZ_WEBHOOK_SECRET").env_remove("NO_COLOR").env("RUST_LOG", "trace");
    command.stdin(Stdio::null());
    command
}

pub(crate) fn roomz(arguments: &[&str]) -> Ran {
    finish(command().args(arguments), b"")
}

/// With the secret in the environment.
pub(crate) fn with_secret(arguments: &[&str]) -> Ran {
    finish(command().env("ROOMZ_WEBHOOK_SECRET", SECRET).args(arguments), b"")
}

pub(crate) fn finish(command: &mut Command, input: &[u8]) -> Ran {
    let pipes = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = if input.is_empty() { pipes } else { pipes.stdin(Stdio::piped()) }.spawn().unwrap();
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A directory with files.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The name of a new file that holds these bytes.
    pub(crate) fn with(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        text(&self.path(name))
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A delivery as a receiver saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn signature(&self) -> &str {
        self.headers["roomz-signature"].to_str().unwrap()
    }
}

/// A receiver on a port of its own, until it is dropped.
pub(crate) struct Receiver {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    handled: Arc<Mutex<HashMap<String, u32>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Receiver {
    /// One that is built as users build theirs.
    pub(crate) fn real() -> Self {
        let handled = Arc::<Mutex<HashMap<String, u32>>>::default();
        let by_handler = Arc::clone(&handled);
        let handler = move |WebhookEvent(event): WebhookEvent| {
            let handled = Arc::clone(&by_handler);
            async move { *handled.lock().unwrap().entry(event.id.to_string()).or_default() += 1 }
        };
        let webhook = WebhookLayer::builder(Secret::new(SECRET).unwrap()).build().unwrap();
        Self::serving(Router::new().route("/hook", post(handler).layer(webhook)), handled)
    }

    /// One that answers the delivery of this number, from 0, as the function says.
    pub(crate) fn answering<R: IntoResponse>(
        answer: impl Fn(usize, Seen) -> R + Clone + Send + Sync + 'static,
    ) -> Self {
        let count = Arc::new(Mutex::new(0));
        let handler = move |headers: HeaderMap, body: Bytes| {
            let (count, answer) = (Arc::clone(&count), answer.clone());
            async move {
                let number = std::mem::replace(&mut *count.lock().unwrap(), 0);
                *count.lock().unwrap() = number + 1;
                answer(number, Seen { headers, body })
            }
        };
        Self::serving(Router::new().fallback(handler), Arc::default())
    }

    fn serving(app: Router, handled: Arc<Mutex<HashMap<String, u32>>>) -> Self {
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let watching = Arc::clone(&seen);
        let app = app.layer(from_fn(move |request: Request, next: Next| {
            let seen = Arc::clone(&watching);
            async move {
                let (head, body) = request.into_parts();
                let Ok(body) = to_bytes(body, usize::MAX).await else {
                    return StatusCode::BAD_REQUEST.into_response();
                };
                seen.lock().unwrap().push(Seen { headers: head.headers.clone(), body: body.clone() });
                next.run(Request::from_parts(head, Body::from(body))).await
            }
        }));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { url, seen, handled, _runtime: runtime }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How often the handler ran for each event.
    pub(crate) fn handled(&self) -> HashMap<String, u32> {
        self.handled.lock().unwrap().clone()
    }
}

/// A problem as receivers answer it.
pub(crate) fn problem(status: u16, reason: &str) -> Response {
    let body = serde_json::json!({ "status": status, "reason": reason }).to_string();
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "application/problem+json")], body).into_response()
}

/// `roomz listen`, until it is stopped.
pub(crate) struct Listening {
    pub(crate) url: String,
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Listening {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::run(command().env("ROOMZ_WEBHOOK_SECRET", SECRET), arguments)
    }

    pub(crate) fn run(command: &mut Command, arguments: &[&str]) -> Self {
        let command = command.args(["listen", "--listen", "127.0.0.1:0", "--path", "/hook"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut hello = String::new();
        out.read_line(&mut hello).unwrap();
        let url = hello.trim().strip_prefix("listening on ").map(|url| format!("{url}/hook"));
        Self { url: url.unwrap_or_default(), child, out }
    }

    /// Everything it printed after its first line.
    pub(crate) fn stop(mut self, signal: &str) -> Ran {
        let killed = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let mut out = String::new();
        self.out.read_to_string(&mut out).unwrap();
        let output = self.child.wait_with_output().unwrap();
        Ran { code: output.status.code().unwrap_or(-1), out, err: String::from_utf8(output.stderr).unwrap() }
    }
}
