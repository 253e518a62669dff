//! The tables: the SQL scripts that create them, the history of those that were applied, and the tests of
//! `connect`.

use std::collections::BTreeMap;
use std::time::Duration;

use roomz_webhook::store::{ConnectError, ConnectErrorKind, Fingerprint};
use sqlx::Error;
use sqlx_core::transaction::TransactionManager as _;

use crate::db::dialect::Dialect;
use crate::db::driver::{Driver, Protocol, first_row};
use crate::db::error::connect_error;
use crate::db::settings::Settings;

/// The same table as in the scripts, to read it before they run.
const CREATE_HISTORY: &str =
    "CREATE TABLE IF NOT EXISTS roomz_migrations (version BIGINT NOT NULL PRIMARY KEY, checksum TEXT)";
const READ_HISTORY: &str = "SELECT version, checksum FROM roomz_migrations ORDER BY version";
/// The pause before the lock is tried again while another instance migrates.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// The rows of `roomz_migrations`: the versions, each with its checksum if `connect` ran the script.
type History = BTreeMap<i64, Option<String>>;

/// Compares the migrations, runs those that are missing, and tests the tables.
pub(crate) async fn check_and_migrate<D: Driver>(
    connection: &mut D::Connection,
    settings: &Settings,
) -> Result<(), ConnectError> {
    let (product, show_version, min_version) = D::VERSION;
    let row = settings.execute(first_row::<D>(connection, show_version)).await?;
    require_version(product, row.text(0).map_err(connect_error)?, min_version)?;
    settings.within(D::check(connection)).await?;
    match settings.within(test::<D>(connection, settings)).await {
        Err(error) if settings.migrations && error.kind() == ConnectErrorKind::InvalidSchema => {
            migrate::<D>(connection, settings).await?;
            settings.within(test::<D>(connection, settings)).await
        }
        result => result,
    }
}

/// Compares the migrations, and executes every statement in a transaction that it rolls back.
async fn test<D: Driver>(connection: &mut D::Connection, settings: &Settings) -> Result<(), ConnectError> {
    compare(&read_history::<D>(connection).await.map_err(connect_error)?, D::MIGRATIONS)?;
    begin::<D>(connection, settings).await?;
    let tested = execute_tests::<D>(connection, settings).await;
    D::TransactionManager::rollback(connection).await.map_err(connect_error)?;
    tested.map_err(connect_error)
}

/// Begins a transaction whose statements may wait for as long as the connect timeout: another instance may be
/// migrating.
async fn begin<D: Driver>(connection: &mut D::Connection, settings: &Settings) -> Result<(), ConnectError> {
    settings.execute(D::begin(connection, D::BEGIN)).await?;
    if D::DIALECT == Dialect::Sqlite {
        return Ok(());
    }
    let timeout = settings.connect_timeout.as_millis();
    let set_timeouts = format!("SET LOCAL lock_timeout = {timeout}; SET LOCAL statement_timeout = {timeout}");
    settings.execute(D::script(connection, &set_timeouts)).await.map(drop)
}

async fn execute_tests<D: Driver>(connection: &mut D::Connection, settings: &Settings) -> Result<(), Error> {
    for statement in (settings.tests)(D::DIALECT) {
        for count in 1..=1 + usize::from(statement.many.is_some()) {
            let rows: Vec<_> = (0..count).map(|_| statement.test_row()).collect();
            let rows: Vec<_> = rows.iter().map(Vec::as_slice).collect();
            for statement in std::iter::once(statement).chain(statement.otherwise.as_deref()) {
                D::fetch(connection, &Protocol::InTransaction(""), statement, &rows).await?;
            }
        }
    }
    D::script(connection, settings.test_script).await.map(drop)
}

/// Runs the scripts in one transaction. Only the wait for another instance that migrates has no timeout.
async fn migrate<D: Driver>(connection: &mut D::Connection, settings: &Settings) -> Result<(), ConnectError> {
    begin::<D>(connection, settings).await?;
    while settings.execute(first_row::<D>(connection, D::LOCK_MIGRATIONS)).await?.number(0).ok() == Some(0) {
        tokio::time::sleep(LOCK_INTERVAL).await;
    }
    settings.execute(D::script(connection, CREATE_HISTORY)).await?;
    let history = settings.execute(read_history::<D>(connection)).await?;
    for (version, script) in missing(&history, D::MIGRATIONS)? {
        // A checksum is hexadecimal.
        let script = format!(
            "{script}\nUPDATE roomz_migrations SET checksum = '{}' WHERE version = {version}",
            checksum(script)
        );
        settings.execute(D::script(connection, &script)).await?;
    }
    settings.execute(D::TransactionManager::commit(connection)).await
}

async fn read_history<D: Driver>(connection: &mut D::Connection) -> Result<History, Error> {
    let rows = D::script(connection, READ_HISTORY).await?;
    rows.iter().map(|row| Ok((row.number(0)?, row.text(1).ok().map(str::to_owned)))).collect()
}

/// Returns the scripts to run: those that the history lacks, or all if it lacks none and a table was dropped.
fn missing<'a>(history: &History, scripts: &[&'a str]) -> Result<Vec<(i64, &'a str)>, ConnectError> {
    let all: Vec<_> = (1..).zip(scripts.iter().copied()).collect();
    let newest = history.last_key_value().map_or(0, |(version, _)| *version);
    if all.last().is_some_and(|(version, _)| *version < newest) {
        let message = format!(
            "migration {newest} of roomz-sql was applied by a newer version, whose tables this version cannot use; update \
             this instance"
        );
        return Err(ConnectError::new(ConnectErrorKind::Unsupported, message));
    }
    let is_missing = |(version, _): &(i64, &str)| !history.contains_key(version);
    let missing: Vec<_> = all.iter().copied().filter(is_missing).collect();
    Ok(if missing.is_empty() { all } else { missing })
}

/// The first 128 bits of the script's SHA-256, in hexadecimal.
fn checksum(script: &str) -> String {
    format!("{:032x}", u128::from_be_bytes(Fingerprint::of(script.as_bytes()).to_bytes()))
}

/// Compares the applied scripts with the scripts of this version.
///
/// During a rolling update, a newer instance may have applied more scripts: this instance ignores them.
fn compare(history: &History, scripts: &[&str]) -> Result<(), ConnectError> {
    for (version, script) in (1..).zip(scripts) {
        let expected = checksum(script);
        let (kind, problem) = match history.get(&version) {
            Some(Some(applied)) if *applied != expected => (
                ConnectErrorKind::Unsupported,
                format!(
                    "applied with other contents (checksum {applied:?}, expected {expected:?}); use the version of \
                     roomz-sql that created the tables, or create them again"
                ),
            ),
            Some(_) => continue,
            None => (
                ConnectErrorKind::InvalidSchema,
                "not applied; run the scripts of this version, or use `with_migrations(true)`".to_owned(),
            ),
        };
        return Err(ConnectError::new(kind, format!("migration {version} of roomz-sql was {problem}")));
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
