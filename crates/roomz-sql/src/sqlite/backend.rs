use std::time::Duration;

use roomz_webhook::store::{Claim, Settled};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Error, SqliteConnection, SqlitePool};

use crate::backend::{Backend, Execute, Failure};
use crate::operation::{ClaimOperation, Purge, Settlement};
use crate::pooled::Pooled;
use crate::single::{self, Row, Session, Value};
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

pub(crate) enum Link {
    Own(Box<SqliteConnection>),
    Pool(SqlitePool),
}

pub(crate) struct SqliteSession<'a>(pub(crate) &'a mut SqliteConnection);

impl Session for SqliteSession<'_> {
    fn statements(&self) -> &'static Statements {
        &SQLITE
    }

    async fn fetch(&mut self, sql: &'static str, values: Vec<Value<'_>>) -> Result<Vec<Row>, Error> {
        let mut query = sqlx::query_as::<_, Row>(sql);
        for value in values {
            query = match value {
                Value::Text(text) => query.bind(text.to_owned()),
                Value::Bytes(bytes) => query.bind(bytes.to_vec()),
                Value::Number(number) => query.bind(number),
            };
        }
        query.fetch_all(&mut *self.0).await
    }
}

impl Backend for Sqlite {
    type Connection = Link;

    async fn connect(&self, _open: usize) -> Result<Link, Error> {
        match &self.source {
            Source::Url(options) => Ok(Link::Own(Box::new(options.connect().await?))),
            Source::Pool(pool) => Ok(Link::Pool(pool.clone())),
        }
    }

    /// A file needs no test.
    async fn ping(&self, _link: &mut Link) -> Result<(), Error> {
        Ok(())
    }

    fn abandon(&self, link: Link) {
        drop(link);
    }

    async fn close(&self, link: Link) {
        if let Link::Own(connection) = link {
            let _ = connection.close().await;
        }
    }

    fn classify(&self, error: &Error) -> Failure {
        match error {
            Error::Database(_) | Error::ColumnDecode { .. } | Error::Decode(_) | Error::Encode(_) => {
                Failure::Rejected
            }
            _ => Failure::Broken,
        }
    }
}

/// Runs a function on the connection of a link.
macro_rules! on_link {
    ($self:ident, $link:ident, $connection:ident => $run:expr) => {
        match $link {
            Link::Own($connection) => $run.await,
            Link::Pool(pool) => {
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
    async fn execute(&self, link: &mut Link, claims: &[&ClaimOperation]) -> Result<Vec<Claim>, Error> {
        on_link!(self, link, connection => batch(connection, claims, async |session, claim: &ClaimOperation| {
            single::claim(session, claim).await
        }))
    }
}

impl Execute<Settlement> for Sqlite {
    async fn execute(&self, link: &mut Link, settlements: &[&Settlement]) -> Result<Vec<Settled>, Error> {
        on_link!(self, link, connection => batch(connection, settlements, async |session, one: &Settlement| {
            single::settle(session, one).await
        }))
    }
}

impl Execute<Purge> for Sqlite {
    async fn execute(&self, link: &mut Link, purges: &[&Purge]) -> Result<Vec<u64>, Error> {
        on_link!(self, link, connection => batch(connection, purges, async |session, _: &Purge| {
            single::purge(session).await
        }))
    }
}

/// Executes the operations in one transaction. A single operation is its own transaction.
async fn batch<O, T>(
    connection: &mut SqliteConnection,
    operations: &[&O],
    run: impl AsyncFn(&mut SqliteSession<'_>, &O) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    if let [operation] = operations {
        return Ok(vec![run(&mut SqliteSession(connection), operation).await?]);
    }
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut outcomes = Vec::with_capacity(operations.len());
    for operation in operations {
        outcomes.push(run(&mut SqliteSession(&mut transaction), operation).await?);
    }
    transaction.commit().await?;
    Ok(outcomes)
}
