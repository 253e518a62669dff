mod connect;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use roomz_webhook::store::{ConnectError, ConnectErrorKind};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Error, Row as _, Sqlite, SqliteConnection, TypeInfo as _, ValueRef as _};

use crate::db::dialect::Dialect;
use crate::db::driver::{Driver, Failure, Protocol};
use crate::db::error::connect_error;
use crate::db::statement::Statement;
use crate::db::value::{Row, Value};

pub(crate) use self::connect::connect;
pub use self::connect::sqlite_options;

/// The SQL scripts that create the tables in SQLite, in the order to run them.
///
/// Like the scripts for PostgreSQL, with the types of SQLite.
///
/// ```
/// assert!(roomz_sql::SQLITE_MIGRATIONS[0].contains("CREATE TABLE IF NOT EXISTS roomz_claims"));
/// ```
pub const SQLITE_MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_claims.sql"),
    include_str!("../../../migrations/sqlite/0002_presence.sql"),
    include_str!("../../../migrations/sqlite/0003_inbox.sql"),
];

/// A database in memory or in a temporary file has no name.
const FILE: &str = "SELECT file FROM pragma_database_list WHERE name = 'main' AND file <> ''";

impl Driver for Sqlite {
    const DIALECT: Dialect = Dialect::Sqlite;
    const VERSION: (&'static str, &'static str, (u32, u32)) = ("SQLite", "SELECT sqlite_version()", (3, 42));
    const MIGRATIONS: &'static [&'static str] = SQLITE_MIGRATIONS;
    /// A transaction that reads first could not write after another connection wrote.
    const BEGIN: &'static str = "PRAGMA query_only = 0; BEGIN IMMEDIATE";
    const BEGIN_HANDLER: &'static str = "; SAVEPOINT roomz_handler";
    const END_HANDLER: &'static str = "RELEASE roomz_handler; ";
    /// The code of many errors. A statement that fails again has no effect either.
    const LEFT: &'static [&'static str] = &["1"];

    const SESSION: &'static str = "SELECT 0, 0, 0";
    const ACTIVE: &'static str = "SELECT 0, 0 WHERE 0";
    /// The transaction holds the write lock of the file.
    const LOCK_MIGRATIONS: &'static str = "SELECT 1";

    async fn fetch(
        connection: &mut SqliteConnection,
        protocol: &Protocol,
        statement: &'static Statement,
        rows: &[&[Value]],
    ) -> Result<Vec<Row>, Error> {
        let (begin, commit) = protocol.frame();
        let query = match rows {
            [_] if begin.is_empty() => sqlx::query(statement.one.as_str()),
            [_] => sqlx::query(AssertSqlSafe(format!("{begin}{}{commit}", statement.one))),
            _ => {
                let text = statement.many.as_ref().ok_or(Error::RowNotFound)?;
                // Without names: SQLite would search the name of each parameter among all of them.
                let row = format!("({})", vec!["?"; statement.columns.len()].join(","));
                let values = vec![row.as_str(); rows.len()].join(",");
                let text = text.replace("{values}", &values);
                sqlx::query(AssertSqlSafe(format!("{begin}{text}{commit}"))).persistent(false)
            }
        };
        let values = rows.iter().flat_map(|row| row.iter().take(statement.columns.len()));
        let query = values.fold(query, |query, value| match value {
            Value::Null => query.bind(None::<i64>),
            Value::Text(text) => query.bind(&**text),
            Value::Bytes(bytes) => query.bind(bytes.as_slice()),
            Value::Number(number) => query.bind(*number),
        });
        query.fetch_all(connection).await?.iter().map(decode).collect()
    }

    async fn roll_back(connection: &mut SqliteConnection) -> Result<(), Error> {
        match Self::script(connection, "ROLLBACK").await {
            // No transaction is open: SQLite ended it itself, or it did not begin.
            Err(Error::Database(error)) if error.code().as_deref() == Some("1") => Ok(()),
            rolled_back => rolled_back.map(drop),
        }
    }

    async fn script(connection: &mut SqliteConnection, text: &str) -> Result<Vec<Row>, Error> {
        sqlx::raw_sql(AssertSqlSafe(text.to_owned()))
            .fetch_all(connection)
            .await?
            .iter()
            .map(decode)
            .collect()
    }

    /// With `ON CONFLICT ROLLBACK`, a full disk and others, SQLite ends a transaction when a statement fails.
    async fn commit_permission(connection: &mut SqliteConnection) -> Result<Arc<AtomicBool>, Error> {
        let may_commit = Arc::new(AtomicBool::new(true));
        let permission = Arc::clone(&may_commit);
        connection.lock_handle().await?.set_commit_hook(move || permission.load(Ordering::SeqCst));
        Ok(may_commit)
    }

    /// A database in memory or in a temporary file is lost when its connection closes.
    async fn check(connection: &mut SqliteConnection) -> Result<(), ConnectError> {
        if Self::script(connection, FILE).await.map_err(connect_error)?.is_empty() {
            let message =
                "invalid SQLite database: it is in memory; use a file, for example sqlite:claims.db";
            return Err(ConnectError::new(ConnectErrorKind::InvalidUrl, message));
        }
        Ok(())
    }

    /// The time at which the file was created.
    async fn file_identity(connection: &mut SqliteConnection) -> Result<i64, Error> {
        let rows = Self::script(connection, FILE).await?;
        let file = rows.first().map_or(Ok(""), |row| row.text(0))?;
        let created = std::fs::metadata(file).and_then(|metadata| metadata.created()).ok();
        let nanoseconds =
            created.and_then(|created| created.duration_since(UNIX_EPOCH).ok()).map(|age| age.as_nanos());
        Ok(nanoseconds.and_then(|nanoseconds| i64::try_from(nanoseconds).ok()).unwrap_or_default())
    }

    fn classify_code(code: &str) -> Failure {
        // The last byte holds the primary code.
        match code.parse::<u32>().map(|code| code & 0xff) {
            Ok(5) => Failure::Busy,
            Ok(6) => Failure::Locked,
            // The file is read-only, unreadable, corrupt, gone, or another file: it is opened again.
            Ok(8 | 10 | 11 | 14 | 26) => Failure::Broken,
            _ => Failure::Rejected,
        }
    }
}

fn decode(row: &SqliteRow) -> Result<Row, Error> {
    let decode = |column| {
        let value = row.try_get_raw(column)?;
        if value.is_null() {
            return Ok(Value::Null);
        }
        Ok(match value.type_info().name() {
            "INTEGER" | "BOOLEAN" => Value::Number(row.try_get_unchecked(column)?),
            "BLOB" => Value::Bytes(row.try_get_unchecked(column)?),
            // The text can be invalid. Then only this row is unreadable.
            _ => match row.try_get_unchecked::<&str, _>(column) {
                Ok(text) => Value::Text(text.into()),
                Err(_) => Value::Bytes(row.try_get_unchecked(column)?),
            },
        })
    };
    (0..row.len()).map(decode).collect::<Result<_, Error>>().map(Row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_classified() {
        for (failure, codes) in [
            (Failure::Broken, &["8", "10", "11", "14", "26", "522", "778", "1546"][..]),
            (Failure::Busy, &["5", "261", "517"]),
            (Failure::Locked, &["6", "262"]),
            (Failure::Rejected, &["1", "13", "19", "2067"]),
        ] {
            assert!(codes.iter().all(|code| Sqlite::classify_code(code) == failure), "{failure:?}");
        }
    }

    /// Another connection reads the same row.
    #[test]
    fn unreadable_row_breaks_no_connection() {
        assert_eq!(Sqlite::classify(&Error::Decode("no number".into())), Failure::Rejected);
        assert_eq!(Sqlite::classify(&Error::PoolTimedOut), Failure::Broken);
    }
}
