use std::collections::HashSet;
use std::io::Write as _;
use std::sync::Mutex;

/// Reports that tests are skipped, and why: `skipped: {what}, because {why}`.
///
/// The line goes to standard error, past the output capture of the test runner, once per `what` and process. With
/// `ROOMZ_TESTS=complete`, the test fails instead.
pub fn skipped(what: &str, why: &str) {
    static REPORTED: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    assert!(
        std::env::var("ROOMZ_TESTS").as_deref() != Ok("complete"),
        "ROOMZ_TESTS=complete allows no skipped test, but skipped: {what}, because {why}"
    );
    if REPORTED.lock().unwrap().get_or_insert_default().insert(what.to_owned()) {
        let _ = writeln!(std::io::stderr(), "skipped: {what}, because {why}");
    }
}
