use std::time::Duration;

use roomz_sql::internal::{Pool, Pooled};
use sqlx::{Database, Error, SqlSafeStr as _};
use sqlx_core::transaction::TransactionManager as _;

/// The timeout for returning a connection to its pool, which pings it.
const RETURN_TIMEOUT: Duration = Duration::from_millis(1_500);

/// An open transaction with a connection of its own. `Drop` closes the connection, which rolls the transaction back.
#[derive(Debug)]
pub(crate) enum Transaction {
    #[cfg(feature = "postgres")]
    Postgres(Pooled<sqlx::Postgres>),
    #[cfg(feature = "sqlite")]
    Sqlite(Pooled<sqlx::Sqlite>),
}

impl Transaction {
    pub(crate) async fn begin(pool: &Pool) -> Result<Self, Error> {
        match pool {
            // A role or a database can have another default.
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => {
                let mut connection = Pooled::acquire(pool).await?;
                begin(&mut connection, "BEGIN ISOLATION LEVEL READ COMMITTED").await?;
                Ok(Self::Postgres(connection))
            }
            // A transaction that reads first could not write after another connection wrote.
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(pool) => {
                let mut connection = Pooled::acquire(pool).await?;
                begin(&mut connection, "BEGIN IMMEDIATE").await?;
                Ok(Self::Sqlite(connection))
            }
            #[allow(unreachable_patterns, reason = "another crate can enable a feature of roomz-sql")]
            _ => Err(disabled_database()),
        }
    }

    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => commit(connection).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => commit(connection).await,
        }
    }

    /// Rolls back and returns the connection to its pool.
    pub(crate) async fn rollback(self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => rollback(connection).await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => rollback(connection).await,
        }
    }
}

/// The error for a database whose feature of this crate is not enabled.
pub(crate) fn disabled_database() -> Error {
    Error::Configuration(
        "this database needs the feature `postgres` or `sqlite` of roomz-inbox; enable it".into(),
    )
}

async fn begin<D: Database>(connection: &mut Pooled<D>, statement: &'static str) -> Result<(), Error> {
    D::TransactionManager::begin(connection.connection()?, Some(statement.into_sql_str())).await
}

async fn commit<D: Database>(mut connection: Pooled<D>) -> Result<(), Error> {
    D::TransactionManager::commit(connection.connection()?).await?;
    connection.release(RETURN_TIMEOUT);
    Ok(())
}

async fn rollback<D: Database>(mut connection: Pooled<D>) -> Result<(), Error> {
    D::TransactionManager::rollback(connection.connection()?).await?;
    connection.release(RETURN_TIMEOUT);
    Ok(())
}
