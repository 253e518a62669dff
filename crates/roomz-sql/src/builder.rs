use std::time::Duration;

use crate::database::{Database, Source};
use crate::error::{ConnectError, ConnectErrorKind};
use crate::pool::Pool;
use crate::store::SqlStore;

const LEAST: Duration = Duration::from_millis(1);
const MOST: Duration = Duration::from_secs(60 * 60);

/// Collects the settings of a [`SqlStore`].
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
    pub(crate) migrations: bool,
    pub(crate) max_connections: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
}

impl SqlStoreBuilder {
    pub(crate) const fn new(database: Database) -> Self {
        Self {
            database,
            migrations: true,
            max_connections: 10,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_millis(1_500),
        }
    }

    /// Whether a missing table is created at connecting. Default: yes. With `false` it is an error; run
    /// [`MIGRATIONS`](crate::MIGRATIONS) then.
    ///
    /// Several instances may do so at once. A user who may not create tables can connect when they are there.
    pub const fn with_migrations(mut self, migrate: bool) -> Self {
        self.migrations = migrate;
        self
    }

    /// How many connections to PostgreSQL are kept at most, at least one. Default: 10. SQLite has one writer, so that one
    /// connection is all it gets; a pool of yours has its own number.
    ///
    /// While the server ends no commit, as without a synchronous standby, its own limits do not apply to those whose
    /// connection was given up: more of its processes may then wait than there are connections.
    pub fn with_max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// How long connecting may take, from a millisecond to an hour. Default: 2 s. Migrations may take longer.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.clamp(LEAST, MOST);
        self
    }

    /// How long the database may take for one answer, and a connection to become free, from a millisecond to an hour.
    /// Default: 1.5 s, which is within the layer's store time-out (2 s). An operation that takes a quarter longer in all
    /// is given up, also on a pool of yours.
    pub fn with_response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout.clamp(LEAST, MOST);
        self
    }

    /// Connects, creates the table if it is missing, and sees that the database does what a store needs.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] for a URL or a scheme that cannot be used, a server that cannot be reached, a file that cannot be
    /// opened, a refused login, a database that is too old or behind an unfit pooler, a pool that asks for more than
    /// `READ COMMITTED`, a missing or changed table, or one that cannot be written.
    pub async fn connect(mut self) -> Result<SqlStore, ConnectError> {
        let source = std::mem::replace(&mut self.database.0, Source::Url(String::new()));
        let connections = match source {
            Source::Url(url) => match url.split_once(':').map(|(scheme, _)| scheme) {
                #[cfg(feature = "postgres")]
                Some("postgres" | "postgresql") => self.open_postgres(&url).await?,
                #[cfg(feature = "sqlite")]
                Some("sqlite") => self.open_sqlite(&url).await?,
                _ => return Err(ConnectError::new(ConnectErrorKind::Scheme)),
            },
            #[cfg(feature = "postgres")]
            Source::Postgres(pool) => self.take_postgres(pool).await?,
            #[cfg(feature = "sqlite")]
            Source::Sqlite(pool) => self.take_sqlite(pool).await?,
        };
        Ok(SqlStore::new(Pool { connections, limit: self.response_timeout * 5 / 4 }))
    }
}
