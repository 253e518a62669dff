use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};

use crate::builder::SqlStoreBuilder;
use crate::error::{ConnectError, ConnectErrorKind};
use crate::pool::Pool;
use crate::prepare;
use crate::statements::POSTGRES;

/// Two instances that create a table at once fail even with IF NOT EXISTS. The number is ours alone, at random.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7236718392205847142)";

impl SqlStoreBuilder {
    pub(crate) async fn open_postgres(&self, url: &str) -> Result<Pool, ConnectError> {
        let options = PgConnectOptions::from_str(url).map_err(ConnectError::from_sqlx)?;
        // This connection has no time limit: others may be migrating. It also says more than a pool why it fails.
        let mut connection = tokio::time::timeout(self.connect_timeout, PgConnection::connect_with(&options))
            .await
            .map_err(|_| ConnectError::new(ConnectErrorKind::Unreachable))?
            .map_err(ConnectError::from_sqlx)?;
        self.prepare_postgres(&mut connection).await?;
        let _ = connection.close().await;

        let limit = format!("{}ms", self.response_timeout.as_millis().max(1));
        let options = options.application_name("roomz").options([
            ("statement_timeout", limit.as_str()),
            ("default_transaction_isolation", "read committed"),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(self.max_connections)
            .acquire_timeout(self.response_timeout)
            // A broken connection is found out by its use and replaced; asking first would double the round trips.
            .test_before_acquire(false)
            .connect_with(options)
            .await
            .map_err(ConnectError::from_sqlx)?;
        Ok(Pool::Postgres(pool))
    }

    pub(crate) async fn take_postgres(&self, pool: PgPool) -> Result<Pool, ConnectError> {
        let mut connection = pool.acquire().await.map_err(ConnectError::from_sqlx)?;
        self.prepare_postgres(&mut connection).await?;
        drop(connection);
        Ok(Pool::Postgres(pool))
    }

    async fn prepare_postgres(&self, connection: &mut PgConnection) -> Result<(), ConnectError> {
        let version: String = sqlx::query_scalar("SHOW server_version")
            .fetch_one(&mut *connection)
            .await
            .map_err(ConnectError::from_sqlx)?;
        prepare::require_version("PostgreSQL", &version, (13, 0))?;
        match prepare::try_out!(connection, "BEGIN ISOLATION LEVEL READ COMMITTED", POSTGRES) {
            Err(error) if self.migrations && error.kind() == &ConnectErrorKind::Schema => {
                prepare::migrate!(connection, "BEGIN ISOLATION LEVEL READ COMMITTED", [LOCK])?;
                prepare::try_out!(connection, "BEGIN ISOLATION LEVEL READ COMMITTED", POSTGRES)
            }
            result => result,
        }
    }
}
