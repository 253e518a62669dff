//! The program as a process, on SQLite and PostgreSQL.

#![cfg(unix)] // the tests stop the program with a signal

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use roomz_axum::roomz_webhook::WebhookBody;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Delivery, Event, Secret, WebhookLayer};
use roomz_inbox::Inbox;
use roomz_tests::postgres_url_or_skip;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tower::{Layer as _, ServiceExt as _, service_fn};

const SECRET: &str = "demo-secret";
const TIMEOUT: Option<Duration> = Some(Duration::from_secs(30));

/// The running program. `Drop` kills it.
struct Program {
    process: Child,
    output: BufReader<ChildStdout>,
    address: String,
}

fn command(database: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inbox"));
    command.env("ROOMZ_WEBHOOK_SECRET", SECRET).env("LISTEN", "127.0.0.1:0").env("RUST_LOG", "warn");
    command.env("DATABASE_URL", database);
    command
}

impl Program {
    fn start(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://").unwrap().to_owned();
        Self { process, output, address }
    }

    /// Sends a delivery, and returns the head of the response.
    fn deliver(&self, event: &TestEvent) -> String {
        let (secret, body) = (Secret::new(SECRET).unwrap(), event.body());
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(TIMEOUT).unwrap();
        write!(
            stream,
            "POST /webhooks/roomz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nroomz-signature: {}\r\n\
             content-length: {}\r\n\r\n",
            secret.sign(&body).to_base64(),
            body.len()
        )
        .unwrap();
        stream.write_all(&body).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    /// Waits for the next line of the handler.
    fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    /// Sends SIGTERM, waits for a successful exit, and returns the lines that were not read.
    fn stop(mut self) -> String {
        let kill = Command::new("kill").arg("-TERM").arg(self.process.id().to_string()).status().unwrap();
        assert!(kill.success());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.process.wait().unwrap().success());
        rest
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn id(event: &TestEvent) -> String {
    Event::parse(&event.body()).unwrap().id.to_string()
}

fn sqlite_url(directory: &TempDir) -> String {
    format!("sqlite://{}/inbox.db", directory.path().display())
}

/// A new database on the PostgreSQL server of the tests.
async fn postgres_url() -> Option<String> {
    let url = postgres_url_or_skip()?;
    let name = format!("example_{}", id(&TestEvent::busy()).replace('-', ""));
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    Some(format!("{}/{name}", url.rsplit_once('/').unwrap().0))
}

/// The columns of all rows, except for the time, which is compared with the clock of the database.
async fn rows(url: &str) -> Vec<(String, String, String)> {
    const ROWS: &str =
        "SELECT event_id, workspace_id, status FROM presence_log WHERE handled_at <= CURRENT_TIMESTAMP";
    if url.starts_with("sqlite") {
        let mut connection = SqliteConnection::connect(url).await.unwrap();
        sqlx::query_as(ROWS).fetch_all(&mut connection).await.unwrap()
    } else {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::query_as(ROWS).fetch_all(&mut connection).await.unwrap()
    }
}

/// Puts an event into the inbox, as a process that then ended.
async fn enqueue(url: &str, event: &TestEvent) {
    let inbox = Inbox::connect(url).await.unwrap();
    let secret = Secret::new(SECRET).unwrap();
    let request = event.request::<axum::body::Body>("/", &secret);
    let service =
        WebhookLayer::new(secret).layer(service_fn(move |request: axum::http::Request<WebhookBody>| {
            let inbox = inbox.clone();
            async move {
                inbox.enqueue(request.extensions().get::<Delivery>().unwrap()).await?;
                Ok::<_, roomz_inbox::InboxError>(axum::response::Response::new(String::new()))
            }
        }));
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
}

async fn handles_each_event_once(url: &str) {
    let event = TestEvent::busy();
    let mut program = Program::start(command(url));
    let response = program.deliver(&event);
    assert!(response.starts_with("HTTP/1.1 202 "), "{response}");
    let line = program.next_line();
    assert!(line.contains(&id(&event)), "{line}");
    let response = program.deliver(&event);
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(response.contains("roomz-webhook-skipped: duplicate"), "{response}");
    assert_eq!(program.stop(), "");
    let first = rows(url).await;
    assert_eq!(first.len(), 1);
    assert_eq!((&first[0].0, first[0].2.as_str()), (&id(&event), "Busy"));

    // After a restart, the event is still a duplicate, and an event that waits in the inbox is handled.
    let waiting = TestEvent::free();
    enqueue(url, &waiting).await;
    let mut program = Program::start(command(url));
    assert!(program.next_line().contains(&id(&waiting)));
    let response = program.deliver(&event);
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert_eq!(program.stop(), "");
    let second = rows(url).await;
    assert_eq!(second.len(), 2, "{second:?}");
    assert!(second.contains(&first[0]) && second.iter().any(|row| row.2 == "Free"), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_each_event_once_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    handles_each_event_once(&sqlite_url(&directory)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_each_event_once_on_postgres() {
    let Some(url) = postgres_url().await else { return };
    handles_each_event_once(&url).await;
}

/// Two instances start at once on a new database, share its events, and run each once.
#[tokio::test(flavor = "multi_thread")]
async fn two_instances_share_inbox() {
    let directory = tempfile::tempdir().unwrap();
    for url in [Some(sqlite_url(&directory)), postgres_url().await].into_iter().flatten() {
        let starts =
            [command(&url), command(&url)].map(|command| std::thread::spawn(|| Program::start(command)));
        let programs = starts.map(|start| start.join().unwrap());
        let events: [TestEvent; 10] = std::array::from_fn(|_| TestEvent::busy());
        for (index, event) in events.iter().enumerate() {
            let response = programs[index % 2].deliver(event);
            assert!(response.starts_with("HTTP/1.1 202 "), "{response}");
            // The other instance has not seen the event, but the inbox has.
            let response = programs[(index + 1) % 2].deliver(event);
            assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        }
        let lines: String = programs.map(Program::stop).concat();
        let rest = Inbox::connect(&url).await.unwrap().stats().await.unwrap().waiting;
        assert_eq!(lines.lines().count() + usize::try_from(rest).unwrap(), events.len(), "{lines}");
        assert_eq!(rows(&url).await.len(), lines.lines().count(), "{url}");
    }
}

/// Runs the program with a wrong setting. It must print one line to standard error and nothing else.
fn error_of(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let error = String::from_utf8(stderr).unwrap();
    assert!(!status.success() && stdout.is_empty(), "{error}");
    assert!(error.starts_with("inbox: ") && error.lines().count() == 1, "{error}");
    error
}

#[test]
fn wrong_setting_is_named_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let folder = format!("sqlite://{}", directory.path().display());
    let text = directory.path().join("text");
    std::fs::write(&text, "this is not a database, but it is long enough to be read").unwrap();
    for (database, problem) in [
        ("", "the scheme is missing"),
        ("mysql://user:canary@localhost/floors", "unknown scheme"),
        ("postgres://user:canary@127.0.0.1:1/floors", "cannot reach the database"),
        ("sqlite:///no/such/directory/inbox.db", "cannot open the SQLite file"),
        (&folder, "cannot open the SQLite file"),
        (&format!("sqlite://{}", text.display()), "cannot open the SQLite file"),
        ("sqlite::memory:", "it is in memory"),
    ] {
        let error = error_of(&mut command(database));
        assert!(error.starts_with("inbox: DATABASE_URL: ") && error.contains(problem), "{database}: {error}");
        assert!(!error.contains("canary"), "{error}");
    }
    let url = sqlite_url(&directory);
    let error = error_of(command(&url).env_remove("ROOMZ_WEBHOOK_SECRET"));
    assert!(error.contains("ROOMZ_WEBHOOK_SECRET is not set"), "{error}");
    let error = error_of(command(&url).env("LISTEN", "nowhere"));
    assert!(error.contains("\"nowhere\"") && error.contains("set LISTEN"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_database_is_named_error() {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = sqlite_url(&directory);
    drop(Inbox::connect(&sqlite).await.unwrap());
    let error = error_of(&mut command(&format!("{sqlite}?mode=ro")));
    assert!(error.starts_with("inbox: DATABASE_URL: ") && error.contains("does not permit"), "{error}");
    let Some(postgres) = postgres_url().await else { return };
    let read_only = format!("{postgres}?options=-c%20default_transaction_read_only%3Don");
    let error = error_of(&mut command(&read_only));
    assert!(error.starts_with("inbox: DATABASE_URL: ") && error.contains("does not permit"), "{error}");
}
