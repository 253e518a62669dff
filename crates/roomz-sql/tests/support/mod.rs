#![allow(dead_code, reason = "each test binary uses a part")]

use roomz_tests::{Server, postgres_url};
use roomz_webhook::store::Owner;

/// Starts a PostgreSQL server with these settings. `None`, after the tests are reported as skipped, if there is no
/// `postgres` here.
pub(crate) fn start_postgres(settings: &[&str]) -> Option<Server> {
    let server = Server::postgres(settings);
    if server.is_none() {
        // Reports what is skipped, or fails if the run must be complete.
        postgres_url();
    }
    server
}

/// Returns 32 random hexadecimal digits.
pub(crate) fn random_hex() -> String {
    format!("{:032x}", u128::from_be_bytes(Owner::random().to_bytes()))
}

/// Returns the URL of an SQLite file in this directory.
pub(crate) fn sqlite_url(directory: &tempfile::TempDir) -> String {
    format!("sqlite://{}/claims.db", directory.path().display())
}
