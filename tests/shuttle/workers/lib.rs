//! The workers of roomz-sql and their queue on Shuttle, with a database in memory.

mod db {
    #[path = "../../../../crates/roomz-sql/src/db/backoff.rs"]
    pub mod backoff;
    pub mod connections;
    #[path = "../../../../crates/roomz-sql/src/db/dialect.rs"]
    pub mod dialect;
    pub mod driver;
    #[path = "../../../../crates/roomz-sql/src/db/queue/mod.rs"]
    pub mod queue;
    pub mod settings;
    #[path = "../../../../crates/roomz-sql/src/db/statement.rs"]
    pub mod statement;
    #[path = "../../../../crates/roomz-sql/src/db/suspects.rs"]
    pub mod suspects;
    #[path = "../../../../crates/roomz-sql/src/db/value.rs"]
    pub mod value;
    #[path = "../../../../crates/roomz-sql/src/db/worker.rs"]
    pub mod worker;
}

use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use shuttle::rand::{Rng as _, thread_rng};
use sqlx::Error;
use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::db::connections::Connections;
use crate::db::dialect::Dialect;
use crate::db::driver::{Driver, Failure};
use crate::db::queue::{Failed, Operation};
use crate::db::settings::Settings;
use crate::db::statement::{Lane, Statement};
use crate::db::suspects::Suspects;
use crate::db::value::{Row, Value};
use crate::db::worker::Workers;

const CALLERS: usize = 4;
const OPERATIONS: usize = 2;
const TIMEOUT: Duration = Duration::from_secs(5);

static STATEMENTS: LazyLock<[Statement; 3]> = LazyLock::new(|| {
    [Lane::First, Lane::Normal, Lane::Background].map(|lane| {
        let statement = Statement::batched(Dialect::Sqlite, "", &["namespace", "event_id"]);
        Statement { lane, ..statement }
    })
});

fn one_in(count: u32) -> bool {
    thread_rng().gen_ratio(1, count)
}

/// Counts how often each operation was executed.
#[derive(Default)]
struct Database {
    executed: [AtomicUsize; CALLERS * OPERATIONS],
    in_background: AtomicUsize,
    /// Whether also those errors occur after which the workers wait.
    is_busy: bool,
    workers_ended: Notify,
}

struct OfTest;

impl Driver for OfTest {
    const DIALECT: Dialect = Dialect::Sqlite;

    fn classify(error: &Error) -> Failure {
        match error {
            Error::PoolTimedOut => Failure::Busy,
            Error::PoolClosed => Failure::Locked,
            Error::Decode(_) => Failure::Rejected,
            _ => Failure::Broken,
        }
    }
}

impl Database {
    async fn open(&self) -> Result<(), Error> {
        yield_now().await;
        if self.is_busy && one_in(6) { Err(Error::WorkerCrashed) } else { Ok(()) }
    }

    async fn execute(&self, statement: &'static Statement, rows: &[&[Value]]) -> Result<Vec<Row>, Error> {
        let is_background = statement.lane == Lane::Background;
        let _running = is_background.then(|| Background::begin(&self.in_background));
        yield_now().await;
        let error = match thread_rng().gen_range(0..12) {
            0 => Some(Error::WorkerCrashed),
            1 => Some(Error::Decode("rejected".into())),
            2 if self.is_busy => Some(Error::PoolTimedOut),
            3 if self.is_busy => Some(Error::PoolClosed),
            _ => None,
        };
        if let Some(error) = error {
            return Err(error);
        }
        for row in rows {
            self.executed[row[1].as_number().unwrap() as usize].fetch_add(1, SeqCst);
        }
        // The reply is lost.
        if one_in(8) {
            Err(Error::WorkerCrashed)
        } else {
            Ok(rows.iter().map(|row| Row(row.to_vec())).collect())
        }
    }
}

/// A batch of the background lane, until its worker gives it up.
struct Background<'a>(&'a AtomicUsize);

impl<'a> Background<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        assert_eq!(count.fetch_add(1, SeqCst), 0, "two batches of the background lane run");
        Self(count)
    }
}

impl Drop for Background<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Callers, some of whom give up, and workers whose connections break: each caller gets an outcome, an
/// operation that must not be repeated is not, and the workers end.
pub async fn workers_answer_every_caller(is_busy: bool) {
    let database = Arc::new(Database { is_busy, ..Database::default() });
    let connections = Connections::<OfTest> {
        database: Arc::clone(&database),
        max: 2,
        suspects: Suspects::default(),
        driver: PhantomData,
    };
    let settings = Settings { connect_timeout: TIMEOUT, response_timeout: TIMEOUT };
    let workers = Arc::new(Workers::spawn(connections, &settings));
    let callers = (0..CALLERS).map(|caller| {
        let (workers, database) = (Arc::clone(&workers), Arc::clone(&database));
        tokio::spawn(async move {
            for number in (caller * OPERATIONS..).take(OPERATIONS) {
                let values = vec![Value::from("roomz"), Value::from(number as i64)];
                let statement = &STATEMENTS[thread_rng().gen_range(0..3)];
                let is_retry_safe = one_in(2);
                let outcome = workers.execute(Operation { statement, values: values.clone(), is_retry_safe });
                let outcome = if one_in(4) {
                    tokio::select! { biased; outcome = outcome => Some(outcome), () = yield_now() => None }
                } else {
                    Some(outcome.await)
                };
                let executed = database.executed[number].load(SeqCst);
                match outcome {
                    Some(Ok(rows)) => {
                        assert!(executed > 0, "an operation that was not executed has succeeded");
                        assert!(
                            matches!(&rows[..], [row] if row.0 == values),
                            "the row of another operation"
                        );
                    }
                    Some(Err(Failed::TimedOut)) => assert!(is_busy),
                    Some(Err(Failed::RuntimeEnded)) => panic!("the runtime has not ended"),
                    Some(Err(Failed::Database(_))) | None => {}
                }
                assert!(is_retry_safe || executed <= 1, "an operation was repeated");
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("a caller panicked");
    }
    drop(workers);
    database.workers_ended.notified().await;
}
