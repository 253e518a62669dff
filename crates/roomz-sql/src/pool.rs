use sqlx::pool::PoolConnection;
use sqlx::{Database, Error};

use crate::statements::Statements;

/// The databases that are compiled in.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
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
            $crate::pool::Pool::Postgres($inner) => $body,
            #[cfg(feature = "sqlite")]
            $crate::pool::Pool::Sqlite($inner) => $body,
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

impl Pool {
    pub(crate) fn statements(&self) -> &'static Statements {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => &crate::statements::POSTGRES,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => &crate::statements::SQLITE,
        }
    }

    /// Asks, and asks again on another connection where that is sure to be harmless: every operation may be repeated by
    /// its owner.
    pub(crate) async fn ask(&self, statement: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        with_pool!(self, pool => {
            // After a restart of the server every connection is broken, each found out by its use.
            let mut tries_left = pool.options().get_max_connections() + 1;
            loop {
                let mut lent = Lent::from(pool.acquire().await?);
                let rows = ask!(&mut *lent.connection, statement, values);
                lent.sound = matches!(rows, Ok(_) | Err(Error::Database(_)));
                drop(lent);
                match rows {
                    Err(error) if tries_left > 0 && is_passing(&error) => tries_left -= 1,
                    rows => break rows,
                }
            }
        })
    }
}

fn is_passing(error: &Error) -> bool {
    match error {
        Error::Io(_) => true,
        // Serialization failure, deadlock (where the user's pool asks for more than READ COMMITTED); the server ends.
        Error::Database(error) => {
            matches!(error.code().as_deref(), Some("40001" | "40P01" | "57P01" | "57P02" | "57P03"))
        }
        _ => false,
    }
}

/// A connection that is closed unless it answered: the pool would wait for a silent one without end.
struct Lent<D: Database> {
    connection: PoolConnection<D>,
    sound: bool,
}

impl<D: Database> From<PoolConnection<D>> for Lent<D> {
    fn from(connection: PoolConnection<D>) -> Self {
        Self { connection, sound: false }
    }
}

impl<D: Database> Drop for Lent<D> {
    fn drop(&mut self) {
        if !self.sound {
            self.connection.close_on_drop();
        }
    }
}
