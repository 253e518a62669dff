use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};

use crate::builder::SqlStoreBuilder;
use crate::error::{ConnectError, ConnectErrorKind};
use crate::pool::Connections;
use crate::prepare;
use crate::statements::POSTGRES;

/// Two instances that create a table at once fail even with IF NOT EXISTS. The number is ours alone, at random.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7236718392205847142)";

/// What a URL may set. Of any other parameter sqlx would log the value, which may be a password.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

impl SqlStoreBuilder {
    pub(crate) async fn open_postgres(&self, url: &str) -> Result<Connections, ConnectError> {
        if !parameters(url).all(|key| PARAMETERS.contains(&key) || key.starts_with("options[")) {
            return Err(ConnectError::new(ConnectErrorKind::Url));
        }
        let options = PgConnectOptions::from_str(url).map_err(ConnectError::from_sqlx)?;
        // This connection has no time limit: others may be migrating. It also says more than a pool why it fails.
        let mut connection = tokio::time::timeout(self.connect_timeout, PgConnection::connect_with(&options))
            .await
            .map_err(|_| ConnectError::new(ConnectErrorKind::Unreachable))?
            .map_err(ConnectError::from_sqlx)?;
        self.prepare_postgres(&mut connection).await?;
        let _ = connection.close().await;

        let limit = format!("{}ms", self.response_timeout.as_millis());
        let named = options.get_application_name().is_some();
        let options = if named { options } else { options.application_name("roomz") };
        let options = options.options([
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
        Ok(Connections::Postgres(pool))
    }

    pub(crate) async fn take_postgres(&self, pool: PgPool) -> Result<Connections, ConnectError> {
        let mut connection = pool.acquire().await.map_err(ConnectError::from_sqlx)?;
        let isolation: String = sqlx::query_scalar("SHOW default_transaction_isolation")
            .fetch_one(&mut *connection)
            .await
            .map_err(ConnectError::from_sqlx)?;
        if isolation != "read committed" {
            return Err(ConnectError::new(ConnectErrorKind::Isolation));
        }
        self.prepare_postgres(&mut connection).await?;
        drop(connection);
        Ok(Connections::Postgres(pool))
    }

    async fn prepare_postgres(&self, connection: &mut PgConnection) -> Result<(), ConnectError> {
        let version: String = sqlx::query_scalar("SHOW server_version")
            .fetch_one(&mut *connection)
            .await
            .map_err(ConnectError::from_sqlx)?;
        prepare::require_version("PostgreSQL", &version, (13, 0))?;
        match self.try_out_postgres(connection).await {
            Err(error) if self.migrations && error.kind() == &ConnectErrorKind::Schema => {
                prepare::migrate!(connection, "BEGIN ISOLATION LEVEL READ COMMITTED", [LOCK])?;
                self.try_out_postgres(connection).await
            }
            result => result,
        }
    }

    /// Somebody may hold a lock on the table.
    async fn try_out_postgres(&self, connection: &mut PgConnection) -> Result<(), ConnectError> {
        tokio::time::timeout(self.connect_timeout, async {
            prepare::try_out!(connection, "BEGIN ISOLATION LEVEL READ COMMITTED", POSTGRES)
        })
        .await
        .unwrap_or_else(|_| Err(ConnectError::new(ConnectErrorKind::Unreachable)))
    }
}

/// The names of a URL's parameters.
fn parameters(url: &str) -> impl Iterator<Item = &str> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    query.split('&').filter_map(|pair| pair.split('=').next()).filter(|key| !key.is_empty())
}
