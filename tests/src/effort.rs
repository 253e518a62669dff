use std::collections::HashSet;
use std::io::Write as _;
use std::sync::Mutex;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Reports that tests are skipped, and why: `skipped: {what}, because {why}`.
///
/// The line goes to standard error, past the output capture of the test runner, once per `what` and process.
/// With `ROOMZ_TESTS=complete` or `long`, the test fails instead.
pub fn skipped(what: &str, why: &str) {
    assert!(
        !matches!(std::env::var("ROOMZ_TESTS").as_deref(), Ok("complete" | "long")),
        "ROOMZ_TESTS allows no skipped test, but skipped: {what}, because {why}"
    );
    not_permitted(what, why);
}

/// Reports tests that are skipped because the environment forbids something to every user, such as mounting
/// in a container.
///
/// Unlike [`skipped`], it does not fail with `ROOMZ_TESTS=complete`: no installation can change it.
pub fn not_permitted(what: &str, why: &str) {
    static REPORTED: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    if REPORTED.lock().unwrap().get_or_insert_default().insert(what.to_owned()) {
        let _ = writeln!(std::io::stderr(), "skipped: {what}, because {why}");
    }
}

/// The number of rounds of a test: many with `ROOMZ_TESTS=long`, few otherwise.
pub fn rounds(few: usize, many: usize) -> usize {
    if std::env::var("ROOMZ_TESTS").as_deref() == Ok("long") { many } else { few }
}

/// Waits until few other scenarios run: five, or one beside much other load.
///
/// Scenarios use real time, and most of it they wait. Their own load is below the limit.
pub async fn few_at_a_time() -> SemaphorePermit<'static> {
    static SCENARIOS: Semaphore = Semaphore::const_new(6);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Option<f64> = load.split(' ').next().and_then(|load| load.parse().ok());
    let is_idle = load.is_some_and(|load| load < 12.0);
    SCENARIOS.acquire_many(if is_idle { 1 } else { 3 }).await.unwrap()
}
