use std::time::Duration;

use roomz_webhook::store::StoreError;
use sqlx::pool::PoolConnection;
use sqlx::{Database, Error};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::statements::Statements;

/// Connections, and how long one operation may take with them.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) connections: Connections,
    pub(crate) limit: Duration,
}

/// The databases that are compiled in.
#[derive(Clone, Debug)]
pub(crate) enum Connections {
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
}

/// Does the same with either kind of pool.
macro_rules! with_pool {
    ($pool:expr, $inner:ident => $body:expr) => {
        match $pool {
            #[cfg(feature = "postgres")]
            $crate::pool::Connections::Postgres($inner) => $body,
            #[cfg(feature = "sqlite")]
            $crate::pool::Connections::Sqlite($inner) => $body,
        }
    };
}

/// A value of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Number(i64),
}

/// What every statement gives.
pub(crate) type Row = (i64, i64, bool);

/// Asks on this connection. All rows are read, also where there is one at most: only then has the statement been
/// committed.
macro_rules! ask {
    ($connection:expr, $statement:expr, $values:expr) => {{
        let mut query = sqlx::query_as::<_, $crate::pool::Row>($statement);
        for value in $values {
            query = match *value {
                $crate::pool::Value::Text(text) => query.bind(text),
                $crate::pool::Value::Bytes(bytes) => query.bind(bytes),
                $crate::pool::Value::Number(number) => query.bind(number),
            };
        }
        query.fetch_all($connection).await
    }};
}
pub(crate) use ask;

/// Whether an operation may be asked again when its connection broke. It may have been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// By its owner, it may.
    Harmless,
    /// A second time it would be answered otherwise.
    Never,
}

impl Pool {
    pub(crate) fn statements(&self) -> &'static Statements {
        match self.connections {
            #[cfg(feature = "postgres")]
            Connections::Postgres(_) => &crate::statements::POSTGRES,
            #[cfg(feature = "sqlite")]
            Connections::Sqlite(_) => &crate::statements::SQLITE,
        }
    }

    pub(crate) async fn ask(
        &self,
        statement: &'static str,
        values: &[Value<'_>],
        repeat: Repeat,
    ) -> Result<Vec<Row>, StoreError> {
        match timeout(self.limit, self.ask_until_answered(statement, values, repeat)).await {
            Ok(answer) => answer.map_err(StoreError::unavailable),
            Err(_) => Err(StoreError::timed_out()),
        }
    }

    async fn ask_until_answered(
        &self,
        statement: &'static str,
        values: &[Value<'_>],
        repeat: Repeat,
    ) -> Result<Vec<Row>, Error> {
        with_pool!(&self.connections, pool => {
            // After a restart of the server every connection is broken, each found out by its use.
            let mut tries_left = pool.options().get_max_connections() + 1;
            loop {
                let mut lent = Lent { connection: pool.acquire().await?, limit: self.limit, sound: false };
                let rows = ask!(&mut *lent.connection, statement, values);
                let broken = rows.as_ref().is_err_and(is_broken);
                lent.sound = !broken;
                drop(lent);
                if !broken || repeat == Repeat::Never || tries_left == 0 {
                    break rows;
                }
                tries_left -= 1;
            }
        })
    }
}

/// Whether another connection may do better: the server ended this one, or it leads to one that may not write any more.
fn is_broken(error: &Error) -> bool {
    match error {
        Error::Database(error) => error.code().is_some_and(|code| {
            code.len() == 5 && (code.starts_with("57P") || code.starts_with("08") || code == "25006")
        }),
        // What came cannot be read, which it will not be from another either.
        Error::ColumnDecode { .. } | Error::Decode(_) | Error::Encode(_) => false,
        _ => true,
    }
}

/// A connection that goes back to its pool when it answered, and is closed when it did not.
struct Lent<D: Database> {
    connection: PoolConnection<D>,
    limit: Duration,
    sound: bool,
}

impl<D: Database> Drop for Lent<D> {
    fn drop(&mut self) {
        match Handle::try_current() {
            // The pool asks whether the connection is well before it takes it back, and would wait for the answer
            // without end.
            Ok(runtime) if self.sound => {
                drop(runtime.spawn(timeout(self.limit, self.connection.return_to_pool())));
            }
            _ => self.connection.close_on_drop(),
        }
    }
}
