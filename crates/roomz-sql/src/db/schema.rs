//! The tables: the SQL scripts that create them, the history of those that were applied, and the tests of
//! `connect`.

use std::time::Duration;

use roomz_webhook::store::{ConnectError, ConnectErrorKind, Fingerprint};
use sqlx::Error;
use sqlx_core::transaction::TransactionManager as _;

use crate::db::dialect::Dialect;
use crate::db::driver::{Driver, Protocol};
use crate::db::error::connect_error;
use crate::db::settings::Settings;
use crate::db::value::Value;

/// The same table as in the scripts, to read it before they run.
const CREATE_HISTORY: &str =
    "CREATE TABLE IF NOT EXISTS roomz_migrations (version BIGINT NOT NULL PRIMARY KEY, checksum TEXT)";
const READ_HISTORY: &str = "SELECT version, checksum FROM roomz_migrations ORDER BY version";
/// The pause before the lock is tried again while another instance migrates.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// A row of `roomz_migrations`: the version, and the checksum if `connect` ran the script.
type Applied = (i64, Option<String>);

/// Compares the migrations, runs those that are missing, and tests the tables.
pub(crate) async fn check_and_migrate<D: Driver>(
    connection: &mut D::Connection,
    protocol: &Protocol,
    settings: &Settings,
) -> Result<(), ConnectError> {
    let (product, show_version, min_version) = D::VERSION;
    let rows = settings.execute(D::script(connection, show_version.to_owned())).await?;
    let version = rows.first().map_or(Ok(""), |row| row.text(0)).map_err(connect_error)?;
    require_version(product, version, min_version)?;
    settings.within(D::check(connection)).await?;
    match settings.within(test::<D>(connection, protocol, settings)).await {
        Err(error) if settings.migrations && error.kind() == ConnectErrorKind::InvalidSchema => {
            migrate::<D>(connection, settings).await?;
            settings.within(test::<D>(connection, protocol, settings)).await
        }
        result => result,
    }
}

/// Compares the migrations, and executes every statement in a transaction that it rolls back.
async fn test<D: Driver>(
    connection: &mut D::Connection,
    protocol: &Protocol,
    settings: &Settings,
) -> Result<(), ConnectError> {
    compare(&read_history::<D>(connection).await.map_err(connect_error)?, D::MIGRATIONS)?;
    D::begin(connection, D::BEGIN).await.map_err(connect_error)?;
    let tested = execute_tests::<D>(connection, &protocol.in_transaction(), settings).await;
    D::TransactionManager::rollback(connection).await.map_err(connect_error)?;
    tested.map_err(connect_error)
}

async fn execute_tests<D: Driver>(
    connection: &mut D::Connection,
    protocol: &Protocol,
    settings: &Settings,
) -> Result<(), Error> {
    for (statement, rows) in (settings.tests)(D::DIALECT) {
        let rows: Vec<&[Value]> = rows.iter().map(Vec::as_slice).collect();
        for statement in std::iter::once(statement).chain(statement.otherwise.as_deref()) {
            D::fetch(connection, protocol, statement, &rows).await?;
        }
    }
    D::script(connection, settings.test_script.to_owned()).await.map(drop)
}

/// Runs the scripts in one transaction. Only the wait for another instance that migrates has no timeout.
async fn migrate<D: Driver>(connection: &mut D::Connection, settings: &Settings) -> Result<(), ConnectError> {
    settings.execute(D::begin(connection, D::BEGIN)).await?;
    while !settings.execute(D::lock_migrations(connection)).await? {
        tokio::time::sleep(LOCK_INTERVAL).await;
    }
    if D::DIALECT == Dialect::Postgres {
        // A migration may wait for as long as the connect timeout.
        settings.execute(D::script(connection, settings.set_timeouts("LOCAL"))).await?;
    }
    settings.execute(D::script(connection, CREATE_HISTORY.to_owned())).await?;
    let history = settings.execute(read_history::<D>(connection)).await?;
    for (version, script) in missing(&history, D::MIGRATIONS)? {
        // A checksum is hexadecimal.
        let script = format!(
            "{script}\nUPDATE roomz_migrations SET checksum = '{}' WHERE version = {version} AND checksum IS NULL",
            checksum(script)
        );
        let applied = settings.execute(D::script(connection, script)).await;
        // A script for SQLite that runs again: its last statement adds a column that exists.
        if !applied.as_ref().is_err_and(|error| format!("{error:?}").contains("duplicate column name")) {
            applied?;
        }
    }
    settings.execute(D::TransactionManager::commit(connection)).await
}

async fn read_history<D: Driver>(connection: &mut D::Connection) -> Result<Vec<Applied>, Error> {
    let rows = D::script(connection, READ_HISTORY.to_owned()).await?;
    let applied = |row: &crate::db::value::Row| {
        Ok((row.number(0)?, if row.is_null(1) { None } else { Some(row.text(1)?.to_owned()) }))
    };
    rows.iter().map(applied).collect()
}

/// Returns the scripts to run: those that the history lacks, or all if it lacks none and a table was dropped.
fn missing<'a>(history: &[Applied], scripts: &[&'a str]) -> Result<Vec<(i64, &'a str)>, ConnectError> {
    let all = (1_i64..).zip(scripts.iter().copied());
    let newest = history.iter().map(|(version, _)| *version).max().unwrap_or_default();
    if all.clone().all(|(version, _)| version < newest) {
        let message = format!(
            "migration {newest} of roomz-sql was applied by a newer version, whose tables this version cannot use; update \
             this instance"
        );
        return Err(ConnectError::new(ConnectErrorKind::Unsupported, message));
    }
    let is_applied = |version| history.iter().any(|(applied, _)| *applied == version);
    let missing: Vec<_> = all.clone().filter(|(version, _)| !is_applied(*version)).collect();
    Ok(if missing.is_empty() { all.collect() } else { missing })
}

/// The first 128 bits of the script's SHA-256, in hexadecimal.
fn checksum(script: &str) -> String {
    format!("{:032x}", u128::from_be_bytes(Fingerprint::of(script.as_bytes()).to_bytes()))
}

/// Compares the applied scripts with the scripts of this version.
///
/// During a rolling update, a newer instance may have applied more scripts: this instance ignores them.
fn compare(history: &[Applied], scripts: &[&str]) -> Result<(), ConnectError> {
    for (version, script) in (1_i64..).zip(scripts) {
        let Some((_, applied)) = history.iter().find(|(applied, _)| *applied == version) else {
            let message = format!(
                "migration {version} of roomz-sql was not applied; run the scripts of this version, or use \
                 `with_migrations(true)`"
            );
            return Err(ConnectError::new(ConnectErrorKind::InvalidSchema, message));
        };
        let expected = checksum(script);
        if let Some(applied) = applied.as_deref().filter(|applied| *applied != expected) {
            let message = format!(
                "migration {version} of roomz-sql was applied with other contents (checksum {applied:?}, expected \
                 {expected:?}); use the version of roomz-sql that created the tables, or create them again"
            );
            return Err(ConnectError::new(ConnectErrorKind::Unsupported, message));
        }
    }
    Ok(())
}

fn require_version(product: &'static str, found: &str, min: (u32, u32)) -> Result<(), ConnectError> {
    let mut numbers = found.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let found_numbers = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found_numbers < min {
        let message =
            format!("{product} version {found:?} is not supported; use {}.{} or later", min.0, min.1);
        return Err(ConnectError::new(ConnectErrorKind::Unsupported, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_versions_by_number() {
        for (found, min) in
            [("15.18 (Debian 15.18-0+deb12u1)", (13, 0)), ("13beta1", (13, 0)), ("3.51.3", (3, 42))]
        {
            assert!(require_version("a database", found, min).is_ok(), "{found}");
        }
        for (found, min) in [("9.6.24", (13, 0)), ("12.22", (13, 0)), ("3.9.2", (3, 42)), ("", (3, 42))] {
            assert!(require_version("a database", found, min).is_err(), "{found}");
        }
    }
}
