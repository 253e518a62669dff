mod connect;
mod text;
mod url;

use roomz_webhook::store::{ConnectError, ConnectErrorKind};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgRow, PgSeverity};
use sqlx::{AssertSqlSafe, Error, PgConnection, Postgres, Row as _, TypeInfo as _, ValueRef as _};

use crate::db::dialect::Dialect;
use crate::db::driver::{Driver, Failure, Protocol, first_row};
use crate::db::error::connect_error;
use crate::db::statement::{ON_PRIMARY, Statement};
use crate::db::value::{Row, Value};

pub(crate) use self::connect::connect;
pub use self::connect::postgres_options;

/// The SQL scripts that create the tables in PostgreSQL, in the order to run them.
///
/// `connect` runs the missing ones by default. To run them with your own migration tool, turn that off with
/// [`with_migrations(false)`](crate::SqlStoreBuilder::with_migrations). Each script can be run again, and
/// records its version in the table `roomz_migrations`, which `connect` compares.
///
/// ```
/// assert!(roomz_sql::POSTGRES_MIGRATIONS[0].contains("CREATE TABLE IF NOT EXISTS roomz_claims"));
/// ```
pub const POSTGRES_MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/postgres/0001_claims.sql"),
    include_str!("../../../migrations/postgres/0002_presence.sql"),
    include_str!("../../../migrations/postgres/0003_inbox.sql"),
    include_str!("../../../migrations/postgres/0004_claims_fillfactor.sql"),
];

/// What decides which table a statement finds, and whether it may. Not `synchronous_commit`, which an
/// administrator changes for all sessions while a standby is missing.
const SETTINGS: &str =
    "SELECT name, current_setting(name) FROM unnest(ARRAY['role', 'search_path']) AS setting (name)";
impl Driver for Postgres {
    const DIALECT: Dialect = Dialect::Postgres;
    const VERSION: (&'static str, &'static str, (u32, u32)) = ("PostgreSQL", "SHOW server_version", (13, 0));
    const MIGRATIONS: &'static [&'static str] = POSTGRES_MIGRATIONS;
    /// The isolation level is set because a role or database can have another default. In a transaction that
    /// someone left open, BEGIN is only a warning; but it began before this message, and the division by zero
    /// fails.
    const BEGIN: &'static str = "BEGIN ISOLATION LEVEL READ COMMITTED; \
                                 SELECT 1 WHERE 1 / CAST(now() = statement_timestamp() AS INTEGER) = 0";
    /// The setting ends with the transaction.
    const BEGIN_HANDLER: &'static str = " OR set_config('roomz.handler', 'begun', true) IS NULL; \
                                         SELECT 1 FROM roomz_inbox WHERE false FOR UPDATE";
    const END_HANDLER: &'static str = "";
    /// Isolation level after a query, transaction aborted, division by zero, read-only transaction.
    const LEFT: &'static [&'static str] = &["25001", "25P02", "22012", "25006"];

    const SESSION: &'static str = "RESET default_transaction_read_only; \
         SELECT CAST(pid AS BIGINT), CAST(extract(epoch FROM backend_start) * 1000000 AS BIGINT), \
           pg_is_in_recovery() OR CAST(current_setting('default_transaction_read_only') AS BOOLEAN) \
         FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    const ACTIVE: &'static str = "SELECT CAST(pid AS BIGINT), \
         CAST(extract(epoch FROM backend_start) * 1000000 AS BIGINT) FROM pg_stat_activity WHERE state <> 'idle'";
    /// Without a lock, two instances that create a table at once fail even with IF NOT EXISTS. The number is
    /// random.
    const LOCK_MIGRATIONS: &'static str = "SELECT pg_try_advisory_xact_lock(7236718392205847142)";

    async fn fetch(
        connection: &mut PgConnection,
        protocol: &Protocol,
        statement: &'static Statement,
        rows: &[&[Value]],
    ) -> Result<Vec<Row>, Error> {
        let sql = if rows.len() == 1 { Some(&statement.one) } else { statement.many.as_ref() };
        let sql = sql.ok_or(Error::RowNotFound)?;
        let columns: Vec<Vec<&Value>> = (0..statement.columns.len())
            .map(|column| rows.iter().filter_map(|row| row.get(column)).collect())
            .collect();
        let ((begin, commit), is_prepared) = (protocol.frame(), matches!(protocol, Protocol::Prepared));
        if !is_prepared && !statement.is_confidential {
            // One message, and thus one round trip.
            let text = format!("{begin}{}{commit}", text::inline(sql, &columns));
            return Self::script(connection, &text).await;
        }
        if !begin.is_empty() {
            Self::script(connection, begin).await?;
        }
        // Without a name, a statement needs no session: the transaction stays in one session of the server.
        let mut query = sqlx::query(sql.as_str()).persistent(is_prepared);
        for values in columns {
            query = match values[..] {
                [Value::Null] => query.bind(None::<&str>),
                [Value::Text(text)] => query.bind(&**text),
                [Value::Bytes(bytes)] => query.bind(bytes.as_slice()),
                [Value::Number(number)] => query.bind(*number),
                [Value::Number(_), ..] => {
                    query.bind(values.iter().map(|value| value.as_number()).collect::<Vec<_>>())
                }
                [Value::Bytes(_), ..] => {
                    query.bind(values.iter().map(|value| value.as_bytes()).collect::<Vec<_>>())
                }
                _ => query.bind(values.iter().map(|value| value.as_text()).collect::<Vec<_>>()),
            };
        }
        let rows = query.fetch_all(&mut *connection).await?;
        if !commit.is_empty() {
            Self::script(connection, commit).await?;
        }
        rows.iter().map(decode).collect()
    }

    async fn settings(connection: &mut PgConnection) -> Result<String, Error> {
        let rows = Self::script(connection, SETTINGS).await?;
        let mut text = " OR set_config('bytea_output', 'hex', true) IS NULL \
                        OR set_config('client_encoding', 'UTF8', true) IS NULL"
            .to_owned();
        for Row(name_and_value) in &rows {
            let columns: Vec<_> = name_and_value.iter().map(|value| vec![value]).collect();
            text += &text::inline(" OR set_config($1, $2, true) IS NULL", &columns);
        }
        Ok(text)
    }

    /// Undoes a `SET default_transaction_read_only` of the session, and not that of a database or role, with
    /// which an administrator stops writes.
    async fn roll_back(connection: &mut PgConnection) -> Result<(), Error> {
        Self::script(connection, "ROLLBACK; RESET default_transaction_read_only").await.map(drop)
    }

    async fn script(connection: &mut PgConnection, text: &str) -> Result<Vec<Row>, Error> {
        // Safe: values are inlined as numbers and hexadecimal digits only.
        sqlx::raw_sql(AssertSqlSafe(format!("{ON_PRIMARY}{text}")))
            .fetch_all(connection)
            .await?
            .iter()
            .map(decode)
            .collect()
    }

    /// In another encoding, one text outside of it would make a statement fail for all rows of its batch.
    /// `SQL_ASCII` stores any bytes.
    async fn check(connection: &mut PgConnection) -> Result<(), ConnectError> {
        let row = first_row::<Self>(connection, "SHOW server_encoding").await.map_err(connect_error)?;
        let encoding = row.text(0).map_err(connect_error)?;
        if ["UTF8", "SQL_ASCII"].contains(&encoding) {
            return Ok(());
        }
        let message = format!(
            "the database has the encoding {encoding}, which cannot store every text; use a database that was created \
             with ENCODING 'UTF8'"
        );
        Err(ConnectError::new(ConnectErrorKind::Unsupported, message))
    }

    /// The first query after a timeout of the session gets such an error, for example 25P03.
    fn is_fatal(error: &dyn DatabaseError) -> bool {
        let severity = error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity);
        matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic))
    }

    fn classify_code(code: &str) -> Failure {
        match code {
            // Lock not available, deadlock.
            "55P03" | "40P01" => Failure::Locked,
            // Serialization failure.
            "40001" => Failure::Busy,
            // A prepared statement is unknown, or does not fit the table any more. The server is read-only
            // now: after a failover, a new connection leads to the primary server.
            "0A000" | "26000" | "25006" => Failure::Broken,
            _ if code.len() == 5 && (code.starts_with("57P") || code.starts_with("08")) => Failure::Broken,
            _ => Failure::Rejected,
        }
    }
}

fn decode(row: &PgRow) -> Result<Row, Error> {
    let decode = |column| {
        let value = row.try_get_raw(column)?;
        if value.is_null() {
            return Ok(Value::Null);
        }
        Ok(match value.type_info().name() {
            "INT8" => Value::Number(row.try_get(column)?),
            "INT4" => Value::Number(row.try_get::<i32, _>(column)?.into()),
            "INT2" => Value::Number(row.try_get::<i16, _>(column)?.into()),
            "BOOL" => Value::Number(row.try_get::<bool, _>(column)?.into()),
            "BYTEA" => Value::Bytes(row.try_get(column)?),
            _ => Value::Text(row.try_get::<&str, _>(column)?.into()),
        })
    };
    (0..row.len()).map(decode).collect::<Result<_, Error>>().map(Row)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use sqlx::Connection as _;

    use super::*;

    #[test]
    fn codes_are_classified() {
        for (failure, codes) in [
            (Failure::Locked, &["55P03", "40P01"][..]),
            (Failure::Busy, &["40001"]),
            (Failure::Broken, &["0A000", "26000", "25006", "57P01", "57P05", "08006", "08P01"]),
            (Failure::Rejected, &["57014", "23505", "42P01", "08", "57P", ""]),
        ] {
            assert!(codes.iter().all(|code| Postgres::classify_code(code) == failure), "{failure:?}");
        }
    }

    /// Not by its code: the first query after the timeout gets a database error.
    #[tokio::test]
    async fn ended_session_is_broken() {
        let Some(url) = roomz_tests::postgres_url_or_skip() else { return };
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let begin = "SET application_name = ended; SET idle_in_transaction_session_timeout = 1; BEGIN";
        drop(Postgres::script(&mut connection, begin).await.unwrap());
        let mut admin = PgConnection::connect(&url).await.unwrap();
        let open = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'ended'";
        while !Postgres::script(&mut admin, open).await.unwrap().is_empty() {}
        let error = Postgres::script(&mut connection, "SELECT 1").await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("25P03"));
        assert_eq!(Postgres::classify(&error), Failure::Broken);
        assert_eq!(Postgres::classify_code("25P03"), Failure::Rejected);
    }
}
