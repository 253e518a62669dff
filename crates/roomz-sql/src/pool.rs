use std::time::Duration;

use roomz_webhook::store::StoreError;
use sqlx::pool::PoolConnection;
use sqlx::{Database, Error};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::statements::{Statement, Statements};

/// A pool of connections, and the timeout of one operation.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) connections: Connections,
    pub(crate) operation_timeout: Duration,
}

/// The pool of a database that is compiled in.
#[derive(Clone, Debug)]
pub(crate) enum Connections {
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
}

/// Runs the same code with either type of pool.
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

/// A parameter of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Number(i64),
}

/// The row type of every statement.
pub(crate) type Row = (i64, i64, bool);

/// Executes a statement on a connection. Fetches all rows, even of a statement that returns at most one, because the
/// statement is committed only after its last row.
macro_rules! execute {
    ($connection:expr, $statement:expr, $values:expr) => {{
        let mut query = sqlx::query_as::<_, $crate::pool::Row>($statement.sql);
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
pub(crate) use execute;

impl Pool {
    pub(crate) fn statements(&self) -> &'static Statements {
        match self.connections {
            #[cfg(feature = "postgres")]
            Connections::Postgres(_) => &crate::statements::POSTGRES,
            #[cfg(feature = "sqlite")]
            Connections::Sqlite(_) => &crate::statements::SQLITE,
        }
    }

    pub(crate) async fn execute(
        &self,
        statement: Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        match timeout(self.operation_timeout, self.execute_with_retry(statement, values)).await {
            Ok(rows) => rows.map_err(StoreError::unavailable),
            Err(_) => Err(StoreError::timed_out()),
        }
    }

    async fn execute_with_retry(
        &self,
        statement: Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Error> {
        with_pool!(&self.connections, pool => {
            // After a restart of the server, every connection in the pool is broken, and only its use shows it.
            let mut retries_left = pool.options().get_max_connections() + 1;
            loop {
                let connection = pool.acquire().await?;
                let mut pooled = PooledConnection {
                    connection: None,
                    runtime: Handle::current(),
                    return_timeout: self.operation_timeout,
                    healthy: false,
                };
                let connection = pooled.connection.insert(connection);
                let rows = execute!(&mut **connection, statement, values);
                let broken = rows.as_ref().is_err_and(is_broken);
                pooled.healthy = !broken;
                drop(pooled);
                if !broken || !statement.retry_safe || retries_left == 0 {
                    break rows;
                }
                retries_left -= 1;
            }
        })
    }
}

/// Whether a new connection can help: the server closed this one, or the connection leads to a server that is read-only
/// now.
fn is_broken(error: &Error) -> bool {
    match error {
        Error::Database(error) => error.code().is_some_and(|code| {
            code.len() == 5 && (code.starts_with("57P") || code.starts_with("08") || code == "25006")
        }),
        // The same row from another connection cannot be decoded either.
        Error::ColumnDecode { .. } | Error::Decode(_) | Error::Encode(_) => false,
        _ => true,
    }
}

/// A connection that `Drop` returns to its pool if it is healthy, and closes otherwise.
struct PooledConnection<D: Database> {
    connection: Option<PoolConnection<D>>,
    /// The future that owns this may be dropped on a thread without a runtime, and the pool spawns a task then.
    runtime: Handle,
    return_timeout: Duration,
    healthy: bool,
}

impl<D: Database> Drop for PooledConnection<D> {
    fn drop(&mut self) {
        let _guard = self.runtime.enter();
        let Some(mut connection) = self.connection.take() else { return };
        if self.healthy {
            // The pool pings the connection before it takes it back, and would wait for the reply without a timeout.
            drop(self.runtime.spawn(timeout(self.return_timeout, connection.return_to_pool())));
        } else {
            connection.close_on_drop();
        }
    }
}
