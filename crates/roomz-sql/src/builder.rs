use std::time::Duration;

use roomz_webhook::store::ConnectError;

use crate::claims::{self, SqlStore};
use crate::db::connect::{Database, connect};
use crate::db::dialect::Dialect;
use crate::db::settings::{Settings, permitted};
use crate::db::statement::Statement;
use crate::presence;

const PURGE_INTERVAL: Duration = Duration::from_secs(10 * 60);
const PURGE_INTERVAL_MIN: Duration = Duration::from_millis(1);

impl SqlStore {
    /// Connects to a database with the default settings.
    ///
    /// Accepts everything that names a database: a URL, a `sqlx::PgPool`, or a `sqlx::SqlitePool` (see
    /// [`Database`]).
    ///
    /// ```no_run
    /// use roomz_sql::SqlStore;
    ///
    /// # async fn connect(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
    /// let from_environment = SqlStore::connect(&std::env::var("DATABASE_URL")?).await?;
    /// let postgres = SqlStore::connect("postgres://user:password@localhost/floors").await?;
    /// let sqlite = SqlStore::connect("sqlite:///var/lib/floors/claims.db").await?;
    /// let sharing_a_pool = SqlStore::connect(pool).await?;
    /// # drop((from_environment, postgres, sqlite, sharing_a_pool));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`SqlStoreBuilder::connect`].
    pub async fn connect(database: impl Into<Database>) -> Result<Self, ConnectError> {
        Self::builder(database).connect().await
    }

    /// Creates a builder for a store on this database, with the default settings.
    ///
    /// ```no_run
    /// use roomz_sql::SqlStore;
    ///
    /// # async fn connect() -> Result<(), roomz_sql::ConnectError> {
    /// let store = SqlStore::builder("sqlite:claims.db").with_migrations(false).connect().await?;
    /// # drop(store);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(database: impl Into<Database>) -> SqlStoreBuilder {
        let (settings, purge_interval) = (Settings::new(tests), Some(PURGE_INTERVAL));
        SqlStoreBuilder { database: database.into(), settings, purge_interval }
    }
}

/// Builds a [`SqlStore`]. Every setting has a default.
///
/// ```no_run
/// use std::time::Duration;
/// use roomz_sql::SqlStore;
///
/// # async fn connect() -> Result<(), roomz_sql::ConnectError> {
/// let store = SqlStore::builder("postgres://user:password@localhost/floors")
///     .with_max_connections(4)
///     .with_response_timeout(Duration::from_millis(500))
///     .connect()
///     .await?;
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "call `connect` to get the store"]
pub struct SqlStoreBuilder {
    database: Database,
    settings: Settings,
    purge_interval: Option<Duration>,
}

impl SqlStoreBuilder {
    /// Sets whether `connect` creates missing tables. Default: `true`.
    ///
    /// With `false`, a missing table is an error: run [`POSTGRES_MIGRATIONS`](crate::POSTGRES_MIGRATIONS) or
    /// [`SQLITE_MIGRATIONS`](crate::SQLITE_MIGRATIONS) yourself. Several instances may
    /// create the tables at once. A user who may not create tables can connect once they exist, [with some
    /// permissions](crate#a-user-with-few-permissions).
    ///
    /// ```
    /// # use roomz_sql::SqlStore;
    /// let builder = SqlStore::builder("sqlite:claims.db").with_migrations(false);
    /// # drop(builder);
    /// ```
    pub const fn with_migrations(mut self, migrate: bool) -> Self {
        self.settings.migrations = migrate;
        self
    }

    /// Sets the maximum number of connections to PostgreSQL. Default: 2. Zero counts as 1.
    ///
    /// Each connection executes all operations that wait for it in one transaction, so few connections are
    /// faster than many. Raise it if a statement can take long, for example because the server is far away.
    /// No effect on SQLite, which has one writer.
    ///
    /// When commits hang (no synchronous standby), the server keeps executing statements of connections that
    /// timed out. The store counts them: it opens no further connection while their number reaches this
    /// maximum, except one for asking the server about them. This does not apply to poolers and existing
    /// pools, which have limits of their own.
    ///
    /// ```
    /// # use roomz_sql::SqlStore;
    /// let builder = SqlStore::builder("postgres://localhost/floors").with_max_connections(4);
    /// # drop(builder);
    /// ```
    pub fn with_max_connections(mut self, connections: u32) -> Self {
        self.settings.worker_connections = connections.max(1);
        self
    }

    /// Sets the timeout for each step of connecting, from 1 ms to 1 h. Default: 2 s.
    ///
    /// The steps are: logging in, checking the tables, creating them. Only the wait for another instance that
    /// creates them has no timeout.
    ///
    /// Raise it if the server is far away.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_sql::SqlStore;
    /// let builder = SqlStore::builder("postgres://localhost/floors").with_connect_timeout(Duration::from_secs(5));
    /// # drop(builder);
    /// ```
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = permitted(timeout);
        self
    }

    /// Sets the timeout for one reply of the database, from 1 ms to 1 h. Default: 1.5 s.
    ///
    /// Keep it below the layer's store timeout (2 s by default). A whole operation times out after 1.25 times
    /// this value, also on an existing pool.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_sql::SqlStore;
    /// let builder = SqlStore::builder("sqlite:claims.db").with_response_timeout(Duration::from_millis(500));
    /// # drop(builder);
    /// ```
    pub fn with_response_timeout(mut self, timeout: Duration) -> Self {
        self.settings.response_timeout = permitted(timeout);
        self
    }

    /// Sets the interval at which a background task deletes expired claims. Default: 10 min. `None` turns the
    /// task off.
    ///
    /// The task starts with `connect` and ends when the last clone of the store is dropped. It deletes 100
    /// rows at a time and then pauses for nine times as long, so that deliveries are not delayed. Turn it off
    /// only if you call [`purge`](SqlStore::purge) yourself. Without either, the table grows.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use roomz_sql::SqlStore;
    /// let builder = SqlStore::builder("sqlite:claims.db").with_purge_interval(Duration::from_secs(60 * 60));
    /// let without_purging = SqlStore::builder("sqlite:claims.db").with_purge_interval(None);
    /// # drop((builder, without_purging));
    /// ```
    pub fn with_purge_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.purge_interval = interval.into().map(|interval| interval.max(PURGE_INTERVAL_MIN));
        self
    }

    /// Connects, creates the table if it is missing, and checks that the store can use the database.
    ///
    /// The check runs every statement of the store in a transaction, and rolls it back.
    ///
    /// ```no_run
    /// use roomz_sql::{ConnectErrorKind, SqlStore};
    ///
    /// # async fn connect() {
    /// match SqlStore::builder("postgres://localhost/floors").connect().await {
    ///     Ok(store) => drop(store),
    ///     Err(error) if error.kind() == ConnectErrorKind::Unreachable => eprintln!("try again later: {error}"),
    ///     Err(error) => eprintln!("{error}"),
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if the URL is invalid, the server cannot be reached, the file cannot be opened
    /// or has another journal mode than `WAL`, the login is rejected, the connection cannot be encrypted as
    /// `sslmode` requires, the database is too old or has another encoding than `UTF8` and `SQL_ASCII`, a
    /// pooler rejects the parameter `options`, the table is missing, different or not writable, or another
    /// version of a migration was applied.
    pub async fn connect(self) -> Result<SqlStore, ConnectError> {
        let (workers, _) = connect(self.database, &self.settings).await?;
        Ok(SqlStore::new(workers, self.purge_interval))
    }
}

/// The statements of the claims and of the presence.
#[must_use]
pub fn tests(dialect: Dialect) -> Vec<&'static Statement> {
    claims::tests(dialect).into_iter().chain(presence::tests(dialect)).collect()
}
