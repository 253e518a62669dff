use std::time::Duration;

use roomz_sql::internal::Pooled;
use sqlx::{Database, Error, SqlSafeStr as _};
use sqlx_core::transaction::TransactionManager as _;
use tokio::time::timeout;

use crate::pool::Pool;

/// The timeout for a rollback, and for returning a connection to its pool, which pings it.
const RETURN_TIMEOUT: Duration = Duration::from_millis(1_500);

/// An open transaction with a connection of its own. `Drop` closes the connection, which rolls the transaction back.
#[derive(Debug)]
pub(crate) enum Transaction {
    #[cfg(feature = "postgres")]
    Postgres(Pooled<sqlx::Postgres>),
    #[cfg(feature = "sqlite")]
    Sqlite(Pooled<sqlx::Sqlite>),
}

/// A role or a database can have another isolation level as its default. A plan that PostgreSQL keeps with a prepared statement can
/// scan the whole table, if the table was small when the plan was made.
macro_rules! begin_postgres {
    ($settings:literal) => {
        concat!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL plan_cache_mode = force_custom_plan",
            $settings
        )
    };
}

impl Transaction {
    /// Begins the transaction of a handler.
    pub(crate) async fn begin(pool: &Pool) -> Result<Self, Error> {
        Self::begin_with(pool, begin_postgres!("")).await
    }

    /// Begins a transaction of the queue, which does not wait between its statements.
    ///
    /// PostgreSQL ends a statement that waits for a lock, and a transaction whose client disappeared, before the client's timeout.
    /// Otherwise each operation that timed out could leave a session and its locks on the server.
    pub(crate) async fn begin_brief(pool: &Pool) -> Result<Self, Error> {
        let begin = begin_postgres!(
            "; SET LOCAL statement_timeout = 1500; SET LOCAL idle_in_transaction_session_timeout = 1500"
        );
        Self::begin_with(pool, begin).await
    }

    #[cfg_attr(not(feature = "postgres"), allow(unused_variables))]
    async fn begin_with(pool: &Pool, postgres: &'static str) -> Result<Self, Error> {
        match pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres { pool, .. } => {
                let mut connection = Pooled::acquire(pool).await?;
                begin(&mut connection, postgres).await?;
                Ok(Self::Postgres(connection))
            }
            // A transaction that reads first could not write after another connection wrote.
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(pool) => {
                let mut connection = Pooled::acquire(pool).await?;
                begin(&mut connection, "BEGIN IMMEDIATE").await?;
                Ok(Self::Sqlite(connection))
            }
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

async fn begin<D: Database>(connection: &mut Pooled<D>, statement: &'static str) -> Result<(), Error> {
    D::TransactionManager::begin(connection.connection()?, Some(statement.into_sql_str())).await
}

async fn commit<D: Database>(mut connection: Pooled<D>) -> Result<(), Error> {
    D::TransactionManager::commit(connection.connection()?).await?;
    connection.release(RETURN_TIMEOUT);
    Ok(())
}

async fn rollback<D: Database>(mut connection: Pooled<D>) -> Result<(), Error> {
    let rolled_back = D::TransactionManager::rollback(connection.connection()?);
    timeout(RETURN_TIMEOUT, rolled_back).await.map_err(|_| Error::PoolTimedOut)??;
    connection.release(RETURN_TIMEOUT);
    Ok(())
}
