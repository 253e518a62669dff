pub(crate) mod database;
pub(crate) mod receiver;

use std::time::Duration;

use roomz_sql::{ConnectError, ConnectErrorKind, SqlStore};
use roomz_tests::postgres_url_or_skip;
use roomz_webhook::store::Owner;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);

/// Returns 32 random hexadecimal digits.
pub(crate) fn random_hex() -> String {
    format!("{:032x}", u128::from_be_bytes(Owner::random().to_bytes()))
}

/// Returns the URL of an SQLite file in this directory.
pub(crate) fn sqlite_url(directory: &tempfile::TempDir) -> String {
    format!("sqlite://{}/claims.db", directory.path().display())
}

/// Returns the error of connecting to this URL.
pub(crate) async fn connect_error(url: &str) -> (ConnectErrorKind, String) {
    kind_and_text(&SqlStore::builder(url).with_connect_timeout(CONNECT_TIMEOUT).connect().await.unwrap_err())
}

/// Returns the kind of the error, and everything that it prints.
pub(crate) fn kind_and_text(error: &ConnectError) -> (ConnectErrorKind, String) {
    let source = std::error::Error::source(error).map(|source| format!("{source} {source:?}"));
    (error.kind(), format!("{error} {error:?} {source:?}"))
}

/// Creates a database on the server that all tests share, and returns its URL.
pub(crate) async fn new_database() -> Option<String> {
    new_database_with("").await
}

/// Like [`new_database`], with these options of `CREATE DATABASE`.
pub(crate) async fn new_database_with(options: &str) -> Option<String> {
    let url = postgres_url_or_skip()?;
    let name = format!("test_{}", random_hex());
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let create = AssertSqlSafe(format!("CREATE DATABASE {name} {options}"));
    connection.execute(create).await.unwrap();
    Some(format!("{}/{name}", url.rsplit_once('/').unwrap().0))
}
