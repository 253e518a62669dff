//! What is done once, before a store is used.

use crate::error::ConnectError;

/// The tables as plain SQL, in the order in which the scripts are to be run, for a team with a migration tool of its own.
///
/// The same scripts are right for PostgreSQL and SQLite. A store that finds its tables runs none of them. It keeps what
/// it ran in the table `roomz_migrations`.
///
/// ```
/// assert!(roomz_sql::MIGRATIONS[0].contains("CREATE TABLE roomz_claims"));
/// ```
pub const MIGRATIONS: &[&str] = &[include_str!("../migrations/0001_claims.sql")];

/// What has been run. Kept apart from the application's own migrations.
pub(crate) const HISTORY: &str =
    "CREATE TABLE IF NOT EXISTS roomz_migrations (version BIGINT NOT NULL PRIMARY KEY)";

/// Runs the scripts that have not been run, in one transaction that others wait for.
///
/// While instances are being replaced, an old one may meet what a new one ran, and leaves it.
macro_rules! migrate {
    ($connection:expr, $begin:literal, $lock:expr) => {
        async {
            use sqlx::Executor as _;

            let mut transaction = $connection.begin_with($begin).await?;
            for statement in $lock {
                transaction.execute(statement).await?;
            }
            transaction.execute($crate::prepare::HISTORY).await?;
            let have: Vec<i64> = sqlx::query_scalar("SELECT version FROM roomz_migrations")
                .fetch_all(&mut *transaction)
                .await?;
            for (version, script) in (1_i64..).zip($crate::prepare::MIGRATIONS) {
                if !have.contains(&version) {
                    transaction.execute(*script).await?;
                    let insert = sqlx::query("INSERT INTO roomz_migrations (version) VALUES ($1)");
                    insert.bind(version).execute(&mut *transaction).await?;
                }
            }
            transaction.commit().await
        }
        .await
        .map_err($crate::error::ConnectError::from_sqlx)
    };
}
pub(crate) use migrate;

pub(crate) fn require_version(
    product: &'static str,
    found: &str,
    least: (u32, u32),
) -> Result<(), ConnectError> {
    let mut numbers = found.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let found_numbers = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found_numbers < least {
        return Err(ConnectError::too_old(product, found.to_owned(), least));
    }
    Ok(())
}

/// Does what a store does, in a transaction that is rolled back.
macro_rules! try_out {
    ($connection:expr, $begin:literal, $statements:expr) => {
        async {
            use $crate::pool::{Value, ask};

            let mut transaction = $connection.begin_with($begin).await?;
            let (bits, minute) = (roomz_webhook::store::Owner::random().to_bytes(), Value::Number(60_000));
            let key = [Value::Text("roomz try-out"), Value::Bytes(&bits), Value::Bytes(&bits)];
            let [namespace, id, owner] = key;
            for (statement, values) in [
                ($statements.claim, &[namespace, id, owner, owner, minute, minute][..]),
                ($statements.look, &key[..]),
                ($statements.renew, &[namespace, id, owner, minute][..]),
                ($statements.release, &key[..]),
                ($statements.complete, &[namespace, id, owner, minute][..]),
                ($statements.purge, &[Value::Number(0)][..]),
            ] {
                ask!(&mut *transaction, statement, values)?;
            }
            transaction.rollback().await
        }
        .await
        .map_err($crate::error::ConnectError::from_sqlx)
    };
}
pub(crate) use try_out;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_compared_number_by_number() {
        for (found, least) in
            [("15.18 (Debian 15.18-0+deb12u1)", (13, 0)), ("13beta1", (13, 0)), ("3.51.3", (3, 42))]
        {
            assert!(require_version("a database", found, least).is_ok(), "{found}");
        }
        for (found, least) in [("9.6.24", (13, 0)), ("12.22", (13, 0)), ("3.9.2", (3, 42)), ("", (3, 42))] {
            assert!(require_version("a database", found, least).is_err(), "{found}");
        }
    }
}
