//! The checks and migrations that run once, when a store connects.

use roomz_webhook::store::{ConnectError, ConnectErrorKind};

/// The SQL scripts that create the tables, in the order to run them.
///
/// `connect` runs them by default. To run them with your own migration tool, turn that off with
/// [`with_migrations(false)`](crate::SqlStoreBuilder::with_migrations). The same scripts are valid for PostgreSQL and
/// SQLite. A store that finds its tables runs no script. It records the scripts it ran in the table `roomz_migrations`.
///
/// ```
/// assert!(roomz_sql::MIGRATIONS[0].contains("CREATE TABLE roomz_claims"));
/// ```
pub const MIGRATIONS: &[&str] = &[include_str!("../migrations/0001_claims.sql")];

/// The table of applied scripts, separate from the application's migrations.
pub(crate) const HISTORY: &str =
    "CREATE TABLE IF NOT EXISTS roomz_migrations (version BIGINT NOT NULL PRIMARY KEY)";

/// Runs the scripts that were not applied yet, in one transaction that other instances wait for.
///
/// An old instance ignores scripts that a newer instance applied during a rolling update.
macro_rules! migrate {
    ($connection:expr, $begin:literal, $lock:expr) => {
        async {
            use sqlx::Executor as _;

            let mut transaction = $connection.begin_with($begin).await?;
            for statement in $lock {
                transaction.execute(statement).await?;
            }
            transaction.execute($crate::prepare::HISTORY).await?;
            let applied: Vec<i64> = sqlx::query_scalar("SELECT version FROM roomz_migrations")
                .fetch_all(&mut *transaction)
                .await?;
            for (version, script) in (1_i64..).zip($crate::prepare::MIGRATIONS) {
                if !applied.contains(&version) {
                    transaction.execute(*script).await?;
                    let insert = sqlx::query("INSERT INTO roomz_migrations (version) VALUES ($1)");
                    insert.bind(version).execute(&mut *transaction).await?;
                }
            }
            transaction.commit().await
        }
        .await
        .map_err($crate::sqlx_error::connect_error)
    };
}
pub(crate) use migrate;

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

/// Runs every statement of the store in a transaction, and rolls it back.
macro_rules! self_test {
    ($connection:expr, $begin:literal, $statements:expr) => {
        async {
            use $crate::pool::{Value, execute};

            let mut transaction = $connection.begin_with($begin).await?;
            let (bits, minute) = (roomz_webhook::store::Owner::random().to_bytes(), Value::Number(60_000));
            let key = [Value::Text("roomz self-test"), Value::Bytes(&bits), Value::Bytes(&bits)];
            let [namespace, id, owner] = key;
            for (statement, values) in [
                ($statements.claim, &[namespace, id, owner, owner, minute, minute][..]),
                ($statements.select, &key[..]),
                ($statements.renew, &[namespace, id, owner, minute][..]),
                ($statements.release, &key[..]),
                ($statements.complete, &[namespace, id, owner, minute][..]),
                ($statements.purge, &[Value::Number(0)][..]),
            ] {
                execute!(&mut *transaction, statement, values)?;
            }
            transaction.rollback().await
        }
        .await
        .map_err($crate::sqlx_error::connect_error)
    };
}
pub(crate) use self_test;

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
