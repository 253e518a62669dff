//! A receiver that a test starts as a process. Its handler completes each event in the transaction of its
//! effect, and kills or stops the process at a step of it.
//!
//! It prints its address to standard output. It exits when its standard input closes, so that it ends with
//! the test.

#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "only tests start it")]

use std::io::Read as _;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use roomz_axum::{WebhookDelivery, WebhookLayer};
use roomz_sql::{PresenceTable, SqlStore, complete};
use roomz_tests::secret;
use roomz_tests::transactions::{Fault, LEASE, STORE_TIMEOUT, Step};
use roomz_webhook::{Delivery, WorkspacePresenceChanged};
use rustix::process::{Signal, getpid, kill_process};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};
use tokio::net::TcpListener;
use tower::BoxError;

/// The longest time until a signal stops the process.
const STOP_DELAY_MAX: Duration = Duration::from_secs(1);

struct Handler {
    pool: Pool,
    fault: Fault,
    /// How many handlers have reached the step of the fault.
    reached: AtomicUsize,
}

enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

#[tokio::main]
async fn main() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let mut arguments = std::env::args().skip(1);
    let (url, fault) = (arguments.next().unwrap(), arguments.next().unwrap());
    let layer = WebhookLayer::builder(secret())
        .with_store(SqlStore::connect(url.as_str()).await.unwrap())
        .with_store_timeout(STORE_TIMEOUT)
        .with_lease(LEASE)
        .build()
        .unwrap();
    let fault = Fault::from_argument(&fault);
    let handler = Handler { pool: Pool::connect(&url).await, fault, reached: AtomicUsize::new(0) };
    let app = Router::new().route("/", post(handle).layer(layer)).with_state(Arc::new(handler));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    axum::serve(listener, app).await.unwrap();
}

impl Pool {
    async fn connect(url: &str) -> Self {
        if url.starts_with("postgres") {
            // Without it, the locks of a process that is stopped in its transaction block the next attempt.
            let timeout = [("idle_in_transaction_session_timeout", "1s")];
            let options = PgConnectOptions::from_str(url).unwrap().options(timeout);
            return Self::Postgres(PgPool::connect_with(options).await.unwrap());
        }
        let options = SqliteConnectOptions::from_str(url).unwrap();
        let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        Self::Sqlite(SqlitePoolOptions::new().connect_with(options).await.unwrap())
    }
}

async fn handle(
    State(handler): State<Arc<Handler>>,
    WebhookDelivery(delivery): WebhookDelivery,
) -> StatusCode {
    match handler.handle(&delivery).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The same code for both databases, whose types differ.
macro_rules! record {
    ($handler:ident, $delivery:ident, $begin:expr) => {{
        $handler.reach(Step::Begin);
        let mut transaction = $begin.await?;
        $handler.reach(Step::Insert);
        let insert = sqlx::query("INSERT INTO effects (event_id) VALUES ($1)");
        insert.bind($delivery.event().id.to_string()).execute(&mut *transaction).await?;
        $handler.reach(Step::Apply);
        if let Some(event) = $delivery.event().typed::<WorkspacePresenceChanged>() {
            PresenceTable::default().apply(&mut *transaction, &event).await?;
        }
        $handler.reach(Step::Complete);
        complete(&mut *transaction, $delivery).await?;
        $handler.reach(Step::Commit);
        transaction.commit().await?;
        $handler.reach(Step::Respond);
        Ok(())
    }};
}

impl Handler {
    async fn handle(&self, delivery: &Delivery) -> Result<(), BoxError> {
        match &self.pool {
            Pool::Postgres(pool) => record!(self, delivery, pool.begin()),
            Pool::Sqlite(pool) => record!(self, delivery, pool.begin_with("BEGIN IMMEDIATE")),
        }
    }

    /// Kills or stops the process if this is the step of the fault.
    fn reach(&self, step: Step) {
        let (signal, after, delay) = match self.fault {
            Fault::Kill { at, after, delay } if at == step => (Signal::KILL, after, delay),
            Fault::Stop { at } if at == step => (Signal::STOP, 0, Duration::ZERO),
            _ => return,
        };
        if self.reached.fetch_add(1, Ordering::SeqCst) != after {
            return;
        }
        let send = move || kill_process(getpid(), signal).unwrap();
        if delay.is_zero() {
            send();
            // Another thread may take the signal, so this one must not go on until the process is stopped.
            return std::thread::sleep(STOP_DELAY_MAX);
        }
        let start = Instant::now();
        std::thread::spawn(move || {
            // A thread that sleeps would wake up too late.
            while start.elapsed() < delay {
                std::hint::spin_loop();
            }
            send();
        });
    }
}
