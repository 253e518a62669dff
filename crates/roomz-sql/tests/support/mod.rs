#![allow(dead_code, reason = "each test binary uses a part")]

use roomz_webhook::store::Owner;

/// Returns 32 random hexadecimal digits.
pub(crate) fn random_hex() -> String {
    format!("{:032x}", u128::from_be_bytes(Owner::random().to_bytes()))
}

/// Returns the URL of an SQLite file in this directory.
pub(crate) fn sqlite_url(directory: &tempfile::TempDir) -> String {
    format!("sqlite://{}/claims.db", directory.path().display())
}
