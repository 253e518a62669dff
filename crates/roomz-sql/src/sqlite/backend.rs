use std::time::Duration;

use roomz_webhook::store::{Claim, Settled};
use sqlx::query::QueryAs;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow};
use sqlx::{
    ConnectOptions as _, Connection as _, Error, FromRow, Sqlite as Sqlx, SqliteConnection, SqlitePool,
};

use crate::backend::{Backend, Execute, Failure};
use crate::operation::{ClaimOperation, Purge, Purged, Settlement};
use crate::pooled::Pooled;
use crate::single::{self, Row, Session, Value};
use crate::sqlite::batch;
use crate::statements::{SQLITE, Statements};

/// An SQLite database.
pub(crate) struct Sqlite {
    pub(crate) source: Source,
    pub(crate) return_timeout: Duration,
}

/// Where connections come from.
pub(crate) enum Source {
    Url(Box<SqliteConnectOptions>),
    /// A pool of the application. Each batch borrows a connection.
    Pool(SqlitePool),
}

/// What a worker holds.
pub(crate) enum Held {
    /// `None` after an error, which may have left a transaction open.
    Own(Option<Box<SqliteConnection>>),
    Pool(SqlitePool),
}

pub(crate) struct SqliteSession<'a>(pub(crate) &'a mut SqliteConnection);

impl Session for SqliteSession<'_> {
    fn statements(&self) -> &'static Statements {
        &SQLITE
    }

    async fn fetch(&mut self, sql: &'static str, values: Vec<Value<'_>>) -> Result<Vec<Row>, Error> {
        query(sql, values).fetch_all(&mut *self.0).await
    }
}

/// Creates a query with these parameters.
pub(crate) fn query<R: for<'r> FromRow<'r, SqliteRow>>(
    sql: &'static str,
    values: Vec<Value<'_>>,
) -> QueryAs<'static, Sqlx, R, SqliteArguments> {
    let mut query = sqlx::query_as(sql);
    for value in values {
        query = match value {
            Value::Text(text) => query.bind(text.to_owned()),
            Value::Bytes(bytes) => query.bind(bytes.to_vec()),
            Value::Number(number) => query.bind(number),
        };
    }
    query
}

impl Backend for Sqlite {
    type Connection = Held;

    async fn connect(&self, _open: usize) -> Result<Held, Error> {
        match &self.source {
            Source::Url(_) => Ok(Held::Own(Some(self.open().await?))),
            Source::Pool(pool) => Ok(Held::Pool(pool.clone())),
        }
    }

    /// A file needs no test.
    async fn ping(&self, _held: &mut Held) -> Result<(), Error> {
        Ok(())
    }

    fn abandon(&self, held: Held) {
        drop(held);
    }

    async fn close(&self, held: Held) {
        if let Held::Own(Some(connection)) = held {
            let _ = connection.close().await;
        }
    }

    fn classify(&self, error: &Error) -> Failure {
        match error {
            Error::Database(error) => {
                // The last byte holds the primary code.
                match error.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
                    Some(5) => Failure::Busy,
                    Some(6) => Failure::Locked,
                    _ => Failure::Rejected,
                }
            }
            Error::ColumnDecode { .. } | Error::Decode(_) | Error::Encode(_) => Failure::Rejected,
            _ => Failure::Broken,
        }
    }
}

impl Sqlite {
    async fn open(&self) -> Result<Box<SqliteConnection>, Error> {
        match &self.source {
            Source::Url(options) => options.connect().await.map(Box::new),
            Source::Pool(_) => Err(Error::PoolClosed),
        }
    }
}

/// Runs a function on a connection. Closes the connection after an error.
macro_rules! with_connection {
    ($self:ident, $held:ident, $connection:ident => $run:expr) => {
        match $held {
            Held::Own(own) => {
                let mut opened = match own.take() {
                    Some(connection) => connection,
                    None => $self.open().await?,
                };
                let $connection = &mut *opened;
                let result = $run.await;
                if result.is_ok() {
                    *own = Some(opened);
                }
                result
            }
            Held::Pool(pool) => {
                let mut pooled = Pooled::acquire(pool).await?;
                let $connection = pooled.connection()?;
                let result = $run.await;
                // A failed batch can leave its transaction open, so its connection is closed.
                if result.is_ok() {
                    pooled.release($self.return_timeout);
                }
                result
            }
        }
    };
}

impl Execute<ClaimOperation> for Sqlite {
    async fn execute(&self, held: &mut Held, claims: &[&ClaimOperation]) -> Result<Vec<Claim>, Error> {
        with_connection!(self, held, connection => claim(connection, claims))
    }
}

impl Execute<Settlement> for Sqlite {
    async fn execute(&self, held: &mut Held, settlements: &[&Settlement]) -> Result<Vec<Settled>, Error> {
        with_connection!(self, held, connection => settle(connection, settlements))
    }
}

impl Execute<Purge> for Sqlite {
    async fn execute(&self, held: &mut Held, _purges: &[&Purge]) -> Result<Vec<Purged>, Error> {
        with_connection!(self, held, connection => purge(connection))
    }
}

/// A single operation has its own statement, which takes less time.
async fn claim(connection: &mut SqliteConnection, claims: &[&ClaimOperation]) -> Result<Vec<Claim>, Error> {
    match claims {
        [one] => Ok(vec![single::claim(&mut SqliteSession(connection), one).await?]),
        _ if batch::accepts(claims) => batch::claim(connection, claims).await,
        _ => {
            one_by_one(connection, claims, async |session, one: &ClaimOperation| {
                single::claim(session, one).await
            })
            .await
        }
    }
}

async fn settle(
    connection: &mut SqliteConnection,
    settlements: &[&Settlement],
) -> Result<Vec<Settled>, Error> {
    match settlements {
        [one] => Ok(vec![single::settle(&mut SqliteSession(connection), one).await?]),
        _ if batch::accepts(settlements) => batch::settle(connection, settlements).await,
        _ => {
            one_by_one(connection, settlements, async |session, one: &Settlement| {
                single::settle(session, one).await
            })
            .await
        }
    }
}

async fn purge(connection: &mut SqliteConnection) -> Result<Vec<Purged>, Error> {
    Ok(vec![single::purge(&mut SqliteSession(connection)).await?])
}

/// Executes the operations in one transaction, each with its own statements.
async fn one_by_one<O, T>(
    connection: &mut SqliteConnection,
    operations: &[&O],
    run: impl AsyncFn(&mut SqliteSession<'_>, &O) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut outcomes = Vec::with_capacity(operations.len());
    for operation in operations {
        outcomes.push(run(&mut SqliteSession(&mut transaction), operation).await?);
    }
    transaction.commit().await?;
    Ok(outcomes)
}
