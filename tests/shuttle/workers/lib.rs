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
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
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

/// Fails to compile if `std` is not replaced.
const _: fn(std::sync::Mutex<()>) -> shuttle::sync::Mutex<()> = |mutex| mutex;

/// One for each lane. For the rows that those of the normal lane do not return, `FIND` is executed.
static STATEMENTS: LazyLock<[Statement; 3]> = LazyLock::new(|| {
    let statement = |text| Statement::batched(Dialect::Sqlite, text, &["namespace", "event_id", "number"]);
    [Lane::First, Lane::Normal, Lane::Background].map(|lane| match lane {
        Lane::Normal => statement("").or_else(statement(FIND)),
        _ => Statement { lane, ..statement("") },
    })
});
const FIND: &str = "find";

pub fn one_in(count: u32) -> bool {
    thread_rng().gen_ratio(1, count)
}

/// Lets other tasks run, fewer than `max` times.
pub async fn yields(max: usize) {
    for _ in 0..thread_rng().gen_range(0..max) {
        yield_now().await;
    }
}

#[derive(Default)]
struct Database {
    /// How often each operation was executed.
    executed: [AtomicUsize; CALLERS * OPERATIONS],
    /// The operations that waited alone for a lock. They move to the background lane.
    locked: [AtomicBool; CALLERS * OPERATIONS],
    /// The batches of the background lane that run.
    in_background: AtomicUsize,
    /// Whether also those errors occur after which the workers wait.
    is_busy: bool,
    workers_ended: Notify,
}

struct TestDriver;

impl Driver for TestDriver {
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
        let numbers: Vec<_> = rows.iter().map(|row| row[2].as_number().unwrap() as usize).collect();
        let is_background = statement.lane == Lane::Background
            || numbers.iter().any(|number| self.locked[*number].load(SeqCst));
        let _running = is_background.then(|| Background::begin(&self.in_background));
        yield_now().await;
        match thread_rng().gen_range(0..12) {
            0 => return Err(Error::WorkerCrashed),
            1 => return Err(Error::Decode("rejected".into())),
            2 if self.is_busy => return Err(Error::PoolTimedOut),
            3 if self.is_busy => {
                if let [number] = numbers[..] {
                    self.locked[number].store(true, SeqCst);
                }
                return Err(Error::PoolClosed);
            }
            _ => {}
        }
        let is_find = statement.one == FIND;
        for number in numbers.iter().filter(|_| !is_find) {
            self.executed[*number].fetch_add(1, SeqCst);
        }
        yield_now().await;
        match thread_rng().gen_range(0..12) {
            // The reply is lost, or it cannot be read.
            0 => return Err(Error::WorkerCrashed),
            1 => return Err(Error::Decode("rejected".into())),
            _ => {}
        }
        let mut rows: Vec<_> = rows.iter().map(|row| Row(row.to_vec())).collect();
        rows.retain(|_| statement.otherwise.is_none() || one_in(2));
        rows.sort_by_cached_key(|_| thread_rng().gen_range(0..100));
        Ok(rows)
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
pub async fn run_schedule(is_busy: bool) {
    let database = Arc::new(Database { is_busy, ..Database::default() });
    let connections = Connections::<TestDriver> {
        database: Arc::clone(&database),
        max: 2,
        suspects: Suspects::default(),
        driver: PhantomData,
    };
    let settings = Settings { connect_timeout: TIMEOUT, response_timeout: TIMEOUT };
    let workers = Arc::new(Workers::spawn(connections, &settings));
    let statements: [_; CALLERS * OPERATIONS] =
        std::array::from_fn(|_| &STATEMENTS[thread_rng().gen_range(0..3)]);
    // Of the product's operations, claims have a second statement, and a claim may be repeated.
    let is_retry_safe = statements.map(|statement| statement.otherwise.is_some() || one_in(2));
    let callers = (0..CALLERS).map(|caller| {
        let (workers, database) = (Arc::clone(&workers), Arc::clone(&database));
        tokio::spawn(async move {
            for number in (caller * OPERATIONS..).take(OPERATIONS) {
                // Two callers have the same keys.
                let key = number % (CALLERS * OPERATIONS / 2);
                let values = vec![Value::from("roomz"), Value::from(key as i64), Value::from(number as i64)];
                let statement = statements[number];
                let operation =
                    Operation { statement, values: values.clone(), is_retry_safe: is_retry_safe[number] };
                let outcome = workers.execute(operation);
                let outcome = if one_in(4) {
                    tokio::select! { biased; () = yields(8) => None, outcome = outcome => Some(outcome) }
                } else {
                    Some(outcome.await)
                };
                match outcome {
                    Some(Ok(rows)) => {
                        let is_executed = database.executed[number].load(SeqCst) > 0;
                        assert!(is_executed, "an operation that was not executed has succeeded");
                        assert!(
                            matches!(&rows[..], [row] if row.0 == values),
                            "the row of another operation"
                        );
                    }
                    Some(Err(Failed::TimedOut)) => assert!(is_busy, "no timeout ends"),
                    Some(Err(Failed::RuntimeEnded)) => panic!("the runtime has not ended"),
                    Some(Err(Failed::Database(_))) | None => {}
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("a caller panicked");
    }
    drop(workers);
    database.workers_ended.notified().await;
    for (number, executed) in database.executed.iter().enumerate() {
        assert!(is_retry_safe[number] || executed.load(SeqCst) <= 1, "an operation was repeated");
    }
}
