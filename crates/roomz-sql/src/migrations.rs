//! The SQL scripts that create the tables, and the history of those that were applied.

use roomz_webhook::store::{ConnectError, ConnectErrorKind, Fingerprint};

/// The SQL scripts that create the tables in PostgreSQL, in the order to run them.
///
/// `connect` runs the missing ones by default. To run them with your own migration tool, turn that off with
/// [`with_migrations(false)`](crate::SqlStoreBuilder::with_migrations). Each script can be run again, and records its
/// version in the table `roomz_migrations`, which `connect` compares.
///
/// ```
/// assert!(roomz_sql::POSTGRES_MIGRATIONS[0].contains("CREATE TABLE IF NOT EXISTS roomz_claims"));
/// ```
#[cfg(feature = "postgres")]
pub const POSTGRES_MIGRATIONS: &[&str] = &[
    include_str!("../migrations/postgres/0001_claims.sql"),
    include_str!("../migrations/postgres/0002_presence.sql"),
    include_str!("../migrations/postgres/0003_inbox.sql"),
    include_str!("../migrations/postgres/0004_claims_fillfactor.sql"),
];

/// The SQL scripts that create the tables in SQLite, in the order to run them.
///
/// Like the scripts for PostgreSQL, with the types of SQLite.
///
/// ```
/// assert!(roomz_sql::SQLITE_MIGRATIONS[0].contains("CREATE TABLE IF NOT EXISTS roomz_claims"));
/// ```
#[cfg(feature = "sqlite")]
pub const SQLITE_MIGRATIONS: &[&str] = &[
    include_str!("../migrations/sqlite/0001_claims.sql"),
    include_str!("../migrations/sqlite/0002_presence.sql"),
    include_str!("../migrations/sqlite/0003_inbox.sql"),
];

/// A row of `roomz_migrations`: the version, and the checksum if `connect` ran the script.
pub(crate) type Applied = (i64, Option<String>);

pub(crate) const READ_HISTORY: &str =
    "SELECT CAST(version AS BIGINT), checksum FROM roomz_migrations ORDER BY version";

/// Reads the history.
macro_rules! read_history {
    ($connection:expr) => {
        async {
            let rows = sqlx::raw_sql($crate::migrations::READ_HISTORY).fetch_all(&mut *$connection).await?;
            rows.iter().map(sqlx::FromRow::from_row).collect::<Result<Vec<$crate::migrations::Applied>, _>>()
        }
        .await
        .map_err($crate::sqlx_error::connect_error)
    };
}
pub(crate) use read_history;

/// The same table as in the scripts, to read it before they run.
pub(crate) const CREATE_HISTORY: &str =
    "CREATE TABLE IF NOT EXISTS roomz_migrations (version BIGINT NOT NULL PRIMARY KEY, checksum TEXT)";

/// Runs the missing scripts, and records their checksums.
macro_rules! run {
    ($connection:expr, $scripts:expr) => {
        async {
            let connection = $connection;
            let create = sqlx::raw_sql($crate::migrations::CREATE_HISTORY);
            create.execute(&mut *connection).await.map_err(connect_error)?;
            let history = $crate::migrations::read_history!(connection)?;
            for (version, script) in $crate::migrations::missing(&history, $scripts)? {
                sqlx::raw_sql(script).execute(&mut *connection).await.map_err(connect_error)?;
                sqlx::query(
                    "UPDATE roomz_migrations SET checksum = $1 WHERE version = $2 AND checksum IS NULL",
                )
                .persistent(false)
                .bind($crate::migrations::checksum(script))
                .bind(version)
                .execute(&mut *connection)
                .await
                .map_err(connect_error)?;
            }
            Ok::<_, roomz_webhook::store::ConnectError>(())
        }
        .await
    };
}
pub(crate) use run;

/// Returns the scripts to run: those that the history lacks, or all if it lacks none and a table was dropped.
pub(crate) fn missing<'a>(
    history: &[Applied],
    scripts: &[&'a str],
) -> Result<Vec<(i64, &'a str)>, ConnectError> {
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
pub(crate) fn checksum(script: &str) -> String {
    format!("{:032x}", u128::from_be_bytes(Fingerprint::of(script.as_bytes()).to_bytes()))
}

/// Compares the applied scripts with the scripts of this version.
///
/// During a rolling update, a newer instance may have applied more scripts: this instance ignores them.
pub(crate) fn compare(history: &[Applied], scripts: &[&str]) -> Result<(), ConnectError> {
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

pub(crate) fn require_version(
    product: &'static str,
    found: &str,
    min: (u32, u32),
) -> Result<(), ConnectError> {
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
